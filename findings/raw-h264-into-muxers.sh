#!/bin/bash
# SPDX-License-Identifier: MIT
# GStreamer 1.22.0 (Debian 12): h264parse and four muxers.
# Input: a raw H.264 byte stream of 100 frames with two B-frames and a frame
# rate in its parameter sets, `filesrc ! h264parse ! MUX ! filesink`.
# Expected: h264parse works out PTS, or every muxer reports the lack of it.
# Seen: 100 buffers with DTS and duration and without PTS. mp4mux fails
#   ("Buffer has no PTS"). matroskamux ends well with exit status 0 and a
#   file without one frame. mpegtsmux ends well too and writes the DTS as the
#   PTS: all packets are there, and presentation times of the decoded frames
#   step back. Decoding alone (`h264parse ! avdec_h264`) gets the times right.
. "$(dirname "$(readlink -f "$0")")/common.bash"
need_gst; need_ffmpeg
ffmpeg -v error -f lavfi -i testsrc2=s=64x64:r=25:d=4 -c:v libx264 -pix_fmt yuv420p -g 25 -bf 2 a.264
chain() { gst-launch-1.0 -v filesrc location=a.264 ! h264parse ! "$@" fakesink silent=false | grep 'fakesink0: last-message = chain'; }
back() { awk -F '[:, ]+' '{ t = $1 * 3600 + $2 * 60 + $3; if (NR > 1 && t <= p) n++; p = t } END { print NR, "times,", n + 0, "back" }'; }
mux() { gst-launch-1.0 -q filesrc location=a.264 ! h264parse ! "$1" ! filesink location="$2" >log 2>&1; echo $?; }
same "buffers without PTS and with DTS" 100 "$(chain | grep -c 'dts: 0:.*pts: none, duration: 0:00:00.04')"
same "decoded" "100 times, 0 back" "$(chain avdec_h264 ! | grep -o 'pts: [^,]*' | cut -c6- | back)"
[ "$(mux mp4mux x.mp4)" != 0 ] || gone "mp4mux takes it"
same "matroskamux exit status" 0 "$(mux matroskamux x.mkv)"
same "frames in Matroska" 0 "$(packets x.mkv)"
same "mpegtsmux exit status" 0 "$(mux mpegtsmux x.ts)"
same "packets in MPEG-TS" 100 "$(packets x.ts)"
ts=$(ffprobe -v quiet -show_entries frame=pts_time -of csv=p=0 x.ts | tr -d , | grep . | sed 's/^/0:0:/' | back)
case $ts in *" 0 back") gone "MPEG-TS times never step back: $ts";; esac
seen "100 buffers without PTS; mp4mux fails, matroskamux: exit 0 and 0 frames, mpegtsmux: exit 0 and $ts"
