#!/bin/bash
# SPDX-License-Identifier: MIT
# ffmpeg 5.1.9 (Debian 12, 7:5.1.9-0+deb12u1).
# Expected: the WebVTT demuxer passes over STYLE and REGION blocks, as it does
#   over NOTE (WebVTT, section 4.1: all three may come before the first cue).
# Seen: at a STYLE or REGION block it ends: no cue at all, no message, exit
#   code 0. In the same file GStreamer's subparse finds both cues.
. "$(dirname "$(readlink -f "$0")")/common.bash"
need_gst; need_ffmpeg
cues=$'00:01.000 --> 00:02.000\none\n\n00:03.000 --> 00:04.000\ntwo\n'
printf 'WEBVTT\n\nNOTE\nnone\n\n%s' "$cues" >NOTE.vtt
printf 'WEBVTT\n\nSTYLE\n::cue { color: red }\n\n%s' "$cues" >STYLE.vtt
printf 'WEBVTT\n\nREGION\nid:low\nwidth:40%%\n\n%s' "$cues" >REGION.vtt
for block in NOTE:2 STYLE:0 REGION:0; do
    file=${block%:*}.vtt
    ffmpeg -v warning -i "$file" -y out.srt 2>messages && code=0 || code=$?
    same "exit code with $file" 0 "$code"
    same "messages with $file" "" "$(grep -v 'Output file is empty' messages || true)"
    same "cues of $file" "${block#*:}" "$(grep -c -e '-->' out.srt || true)"
    same "cues of $file in GStreamer" 2 "$(gst-launch-1.0 -v filesrc location="$file" ! subparse ! fakesink silent=false 2>&1 | grep -c 'chain.*dts')"
done
seen "NOTE 2 cues, STYLE 0, REGION 0"
