#!/bin/bash
# SPDX-License-Identifier: MIT
# GStreamer 1.22.0 rtspsrc (Debian 12).
# Expected: a password in the URL stays out of what is meant for people, as the
#   error messages of rtspsrc, in which it has no place, have it.
# Seen: the PROGRESS message "connect" has the whole URL, which gst-launch-1.0
#   prints and applications show; with user-id and user-pw it has none.
. "$(dirname "$(readlink -f "$0")")/common.bash"
need_gst
shown() { timeout 20 gst-launch-1.0 rtspsrc "$@" ! fakesink 2>&1 | grep -c secret || true; }
# Nobody listens at port 1.
in_url=$(shown location=rtsp://user:secret@127.0.0.1:1/camera)
in_properties=$(shown location=rtsp://127.0.0.1:1/camera user-id=user user-pw=secret)
same "lines with the password, in the URL and in properties" "1 0" "$in_url $in_properties"
seen "$(timeout 20 gst-launch-1.0 rtspsrc location=rtsp://user:secret@127.0.0.1:1/camera ! fakesink 2>&1 | grep secret)"
