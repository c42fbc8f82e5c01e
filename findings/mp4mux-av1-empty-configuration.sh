#!/bin/bash
# SPDX-License-Identifier: MIT
# GStreamer 1.22.0 av1parse and mp4mux (Debian 12); played by Chromium
# 156.0.8078.108.
# Expected: AV1 that av1parse has parsed gets an av1C box that says its profile
#   and level and begins with 0x81 (AV1 in ISO BMFF 1.2, section 2.3.3).
# Seen: av1parse gives no codec_data, and mp4mux writes five zero bytes. As a
#   file it plays, for demuxers look into the stream; Chromium's MSE refuses it.
. "$(dirname "$(readlink -f "$0")")/common.bash"
need_gst; need_chromium
gst-launch-1.0 -q videotestsrc num-buffers=30 ! video/x-raw,format=I420 ! av1enc cpu-used=8 usage-profile=realtime ! av1parse ! mp4mux fragment-duration=500 ! filesink location=a.mp4
same "av1C" "0000000d617631430000000000" "$($PY -c 'd = open("a.mp4", "rb").read(); i = d.find(b"av1C") - 4; print(d[i:i + d[i + 3]].hex())')"
same "as a file" "frames 30; error null" "$(chromium_plays url:a.mp4 | grep -o 'frames.*')"
same "MSE" "Error: append" "$(MIME='video/mp4; codecs="av01.0.00M.08"' chromium_plays mse:a.mp4 2>&1 | grep -o 'Error: append')"
seen "av1C is five zero bytes; 30 frames as a file, refused by MSE"
