#!/bin/bash
# SPDX-License-Identifier: MIT
# ffmpeg 5.1.9 (Debian 12).
# `ffmpeg -ss 1.5 -c copy` writes an MP4 whose edit list starts mid-GOP; that
# file is then copied once more into other layouts.
# Expected: each copy shows the same 62 frames; the 13 frames of pre-roll that
#   ffprobe flags as discarded stay out of sight or stay flagged.
# Seen: fragmented MP4 with empty_moov, Matroska and MPEG-TS lose the edit
#   list and show 75 frames: 0.52 s from before the cut are back, without a
#   warning. Fragmented MP4 with delay_moov writes the edit list, and ffmpeg's
#   own demuxer shows 75 frames of it all the same. Only plain MP4 shows 62.
. "$(dirname "$(readlink -f "$0")")/common.bash"
need_ffmpeg
ffmpeg -v error -f lavfi -i testsrc2=s=320x240:r=25:d=4 -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 25 -bf 0 a.mp4
ffmpeg -v error -ss 1.5 -i a.mp4 -c copy cut.mp4
copy() { # NAME FLAGS...
    local name=$1; shift
    ffmpeg -v warning -i cut.mp4 -c copy "$@" "$name" 2>log
    echo "$(frames "$name") frames, $(grep -c elst "$name" || true) edit list"
}
same "packets flagged for discarding" 13 "$(ffprobe -v error -show_entries packet=flags -of csv=p=0 cut.mp4 | grep -c D)"
same "the cut" "62 frames" "$(frames cut.mp4) frames"
same "plain MP4" "62 frames, 1 edit list" "$(copy p.mp4)"
same "empty_moov" "75 frames, 0 edit list" "$(copy e.mp4 -movflags frag_keyframe+empty_moov)"
same "delay_moov" "75 frames, 1 edit list" "$(copy d.mp4 -movflags frag_keyframe+delay_moov)"
same "Matroska" "75 frames, 0 edit list" "$(copy m.mkv)"
same "MPEG-TS" "75 frames, 0 edit list" "$(copy t.ts)"
seen "62 frames in the cut and in a plain MP4 copy; 75 in fragmented MP4 (empty_moov and delay_moov), Matroska and MPEG-TS"
