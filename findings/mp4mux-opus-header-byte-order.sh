#!/bin/bash
# SPDX-License-Identifier: MIT
# GStreamer 1.22.0 mp4mux (Debian 12 plugins-good 1.22.0-5+deb12u4); read by
# ffmpeg 5.1.9 and Chromium 156.0.8078.108.
# Expected: Opus in MP4 plays the samples that went in, as the same packets in
#   Matroska do.
# Seen: the box dOps has the pre-skip and the sample rate in the byte order of
#   an Ogg header (0x3801 = 14337 for 312). ffmpeg and Chromium take them as
#   written and leave out the first 0.3 s of sound; Chromium's MSE refuses
#   fragments of it. qtdemux ignores the field: within GStreamer nothing is seen.
. "$(dirname "$(readlink -f "$0")")/common.bash"
need_gst; need_ffmpeg; need_chromium
encode="audiotestsrc num-buffers=100 ! audio/x-raw,rate=48000,channels=1 ! opusenc"
gst-launch-1.0 -q $encode ! mp4mux ! filesink location=o.mp4
gst-launch-1.0 -q $encode ! matroskamux ! filesink location=o.mkv
gst-launch-1.0 -q $encode ! mp4mux fragment-duration=500 ! filesink location=frag.mp4
ffmpeg -v error -f lavfi -i sine=duration=1:sample_rate=48000 -c:a libopus f.mp4
samples() { echo $(($(ffmpeg -v error -i "$1" -f s16le - | wc -c) / 2)); }
# The version, channels, pre-skip and sample rate of the box.
box() { $PY -c 'import sys; d = open(sys.argv[1], "rb").read(); i = d.find(b"dOps") + 4; print(d[i:i + 8].hex(" ", 2))' "$1"; }
same "dOps of ffmpeg" "0001 0138 0000 bb80" "$(box f.mp4)"
same "dOps of mp4mux" "0001 3801 80bb 0000" "$(box o.mp4)"
same "samples in Matroska" 102400 "$(samples o.mkv)"
same "samples in MP4" 88383 "$(samples o.mp4)"
same "Chromium's decoder" "88383 samples" "$(chromium_plays audio:o.mp4)"
same "MSE" "Error: append" "$(MIME='audio/mp4; codecs="opus"' chromium_plays mse:frag.mp4 2>&1 | grep -o 'Error: append')"
seen "ffmpeg and Chromium decode 88383 of 102400 samples, MSE refuses the fragments"
