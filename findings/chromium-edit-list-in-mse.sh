#!/bin/bash
# SPDX-License-Identifier: MIT
# Chromium 156.0.8078.108 (Debian 12), driven by playwright-core 1.65.1 (npm);
# the files are made by ffmpeg 5.1.9.
# `ffmpeg -ss 1.5 -c copy` of a file with a keyframe each second: the edit list
# starts 0.5 s after the first keyframe.
# Expected: Chromium shows the same frames whether the file is the source of a
#   <video> or its bytes go through MSE.
# Seen: the plain MP4 as a file plays 62 frames from 0.0 s. The fragmented one
#   (delay_moov) through MSE has frames before 0 dropped with the keyframe
#   among them, and so the rest of that GOP: buffered 0.5-2.5 s, 50 frames.
. "$(dirname "$(readlink -f "$0")")/common.bash"
need_ffmpeg; need_chromium
ffmpeg -v error -f lavfi -i testsrc2=s=320x240:r=25:d=4 -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 25 -bf 0 a.mp4
ffmpeg -v error -ss 1.5 -i a.mp4 -c copy plain.mp4
ffmpeg -v error -ss 1.5 -i a.mp4 -c copy -movflags frag_keyframe+delay_moov+default_base_moof frag.mp4
same "edit list in the fragmented file" 1 "$(grep -c elst frag.mp4)"
mapfile -t r < <(chromium_plays url:plain.mp4 mse:frag.mp4)
same "file" "ranges -; first 0; at 2.5; ended true; frames 62; error null" "${r[0]}"
same "MSE" "ranges 0.5-2.5; first 0.5; at 2.5; ended true; frames 50; error null" "${r[1]}"
seen "as a file 62 frames from 0.0 s, through MSE 50 frames from 0.5 s"
