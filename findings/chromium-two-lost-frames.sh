#!/bin/bash
# SPDX-License-Identifier: MIT
# Chromium 156.0.8078.108 (Debian 12), driven by playwright-core 1.65.1 (npm).
# 3 s of H.264 at 25 fps, a keyframe each second, no B-frames, one frame in
# each fragment, fed to MSE with some fragments left out.
# Expected: a hole in the middle of a GOP costs some damaged pictures until
#   the next keyframe, as with a decoder that is fed directly.
# Seen: one lost frame does no harm (one range, played to the end). With two
#   in a row the decode time steps by more than twice a frame's duration, so
#   MSE drops all that follows up to the next keyframe: the ranges are 0-1.24
#   and 2-3, and playback is still at 1.2 s when 4.5 s have passed. The same
#   with the two last frames before a keyframe: a hole of 80 ms stops it at
#   0.9 s.
. "$(dirname "$(readlink -f "$0")")/common.bash"
need_ffmpeg; need_chromium
ffmpeg -v error -f lavfi -i testsrc2=s=320x240:r=25:d=3 -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 25 -bf 0 \
    -movflags frag_every_frame+empty_moov+default_base_moof a.mp4
mse() { chromium_plays mse:a.mp4 mse:a.mp4:32 mse:a.mp4:32,33 mse:a.mp4:25 mse:a.mp4:24,25; }
mapfile -t r < <(mse | sed -E 's/ first [^;]*;//; s/ frames [^;]*;//')
same "nothing lost" "ranges 0-3; at 3; ended true; error null" "${r[0]}"
same "one lost" "ranges 0-3; at 3; ended true; error null" "${r[1]}"
same "two lost" "ranges 0-1.24 2-3; at 1.2; ended false; error null" "${r[2]}"
same "one lost before a keyframe" "ranges 0-3; at 3; ended true; error null" "${r[3]}"
same "two lost before a keyframe" "ranges 0-0.92 1-3; at 0.9; ended false; error null" "${r[4]}"
seen "one lost frame: plays to the end; two: ranges 0-1.24 2-3, stopped at 1.2 s; two before a keyframe: 0-0.92 1-3, stopped at 0.9 s"
