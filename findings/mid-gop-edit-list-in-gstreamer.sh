#!/bin/bash
# SPDX-License-Identifier: MIT
# GStreamer 1.22.0 and ffmpeg 5.1.9 (Debian 12).
# `ffmpeg -ss 1.5 -c copy` of a file with a keyframe each second keeps the
# keyframe at 1.0 s and writes an edit list that starts 0.5 s later, mid-GOP.
# Expected: a remux with `qtdemux ! h264parse ! MUX` keeps the keyframe, as
#   the rest of the first GOP cannot be decoded without it.
# Seen: qtdemux sends 75 buffers, 13 of them before the segment's start. Muxers and sinks clip
#   those: 62 packets remain and the first 12 have lost their keyframe, so
#   Matroska decodes 50 frames where ffmpeg decodes 62 from the source. In
#   MPEG-TS none of the 62 decodes: h264parse put the parameter sets in front
#   of the clipped keyframe and never repeats them; with config-interval=-1
#   it is 50 again.
. "$(dirname "$(readlink -f "$0")")/common.bash"
need_gst; need_ffmpeg
ffmpeg -v error -f lavfi -i testsrc2=s=320x240:r=25:d=4 -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 25 -bf 0 a.mp4
ffmpeg -v error -ss 1.5 -i a.mp4 -c copy cut.mp4
sent=$(gst-launch-1.0 -v filesrc location=cut.mp4 ! qtdemux ! identity silent=false ! fakesink | grep -c 'identity0: last-message = chain')
remux() { # NAME PARSER MUXER
    gst-launch-1.0 -q filesrc location=cut.mp4 ! qtdemux ! $2 ! $3 ! filesink location="$1"
    echo "$(packets "$1") packets $(frames "$1") frames"
}
same "ffmpeg, the cut itself" "75 packets 62 frames" "$(packets cut.mp4) packets $(frames cut.mp4) frames"
same "buffers out of qtdemux" 75 "$sent"
same "Matroska" "62 packets 50 frames" "$(remux x.mkv h264parse matroskamux)"
same "MPEG-TS" "62 packets 0 frames" "$(remux x.ts h264parse mpegtsmux)"
same "MPEG-TS with config-interval=-1" "62 packets 50 frames" "$(remux y.ts 'h264parse config-interval=-1' mpegtsmux)"
seen "62 frames in the cut; remuxed by GStreamer 50 decode in Matroska, 0 in MPEG-TS, 50 with config-interval=-1"
