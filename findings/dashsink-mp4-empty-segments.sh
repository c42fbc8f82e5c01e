#!/bin/bash
# SPDX-License-Identifier: MIT
# GStreamer 1.22.0 dashsink (Debian 12).
# Expected: muxer=mp4 writes segments of target-duration, as muxer=ts does.
# Seen: the first segment of each track is whole; all later files, of audio one
#   for each buffer, have 0 bytes. No error or warning says so.
. "$(dirname "$(readlink -f "$0")")/common.bash"
need_gst
dash() {
    mkdir "$1"
    timeout -k 2 -s INT 12 gst-launch-1.0 -q -e videotestsrc is-live=true ! \
        video/x-raw,format=I420,width=320,height=240,framerate=30/1 ! \
        x264enc tune=zerolatency key-int-max=30 ! h264parse ! dash.video_0 \
        audiotestsrc is-live=true ! audioconvert ! avenc_aac ! aacparse ! dash.audio_0 \
        dashsink name=dash muxer="$1" target-duration=3 mpd-root-path="$T/$1"
}
for muxer in ts mp4; do
    { dash $muxer; } >log.$muxer 2>&1 &
done
wait
files() { find "$1" -name '*_0_*' -size "$2" | wc -l; }
ts="$(files ts +0) $(files ts 0)"
mp4="$(files mp4 +0) $(files mp4 0)"
[ "${ts% *}" -ge 6 ] && [ "${ts#* }" = 0 ] || gone "whole and empty segments with muxer=ts: $ts"
[ "${mp4% *}" = 2 ] && [ "${mp4#* }" -gt 50 ] || gone "whole and empty segments with muxer=mp4: $mp4"
! grep -iE 'error|warning' log.mp4 || gone "something is said about it"
seen "12 s in segments of 3 s, video and audio: muxer=ts writes ${ts% *} files, muxer=mp4 ${mp4% *} and ${mp4#* } of 0 bytes"
