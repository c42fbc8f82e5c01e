#!/bin/bash
# SPDX-License-Identifier: MIT
# opusenc and opusparse 1.22.0 (Debian 12, gstreamer1.0-plugins-base
# 1.22.0-3+deb12u7 and -bad 1.22.0-4+deb12u8).
# opusenc with frame-size=2.5, 5 and 20 on continuous 48 kHz audio.
# Expected: each packet lasts as long as its frame size says.
# Seen: the encoder's lookahead of 6.5 ms is taken off the first durations:
#   2.5 ms gives 0, 0, 1 and then 2.5 ms, so three packets have PTS 0;
#   5 ms gives 0, 3.5; 20 ms gives 13.5. opusparse puts 2.5 ms there but
#   keeps the later PTS, so behind it PTS run 0, 2.5, 5, 1, 3.5: back by 4 ms.
#   matroskamux stores the first six packets with one timestamp.
. "$(dirname "$(readlink -f "$0")")/common.bash"
need_gst; need_ffmpeg
chain() { # FIELD FRAME_SIZE [MORE]: the first 5 in ms
    gst-launch-1.0 -v audiotestsrc num-buffers=20 samplesperbuffer=480 ! audio/x-raw,rate=48000,channels=1 ! opusenc frame-size="$2" ! ${3:-} fakesink silent=false |
        grep 'fakesink0: last-message = chain' | grep -o "$1: [^,]*" | awk -F: 'NR < 6 { printf "%s%g", s, 1000 * $4; s = " " }'
}
same "durations of 2.5 ms frames" "0 0 1 2.5 2.5" "$(chain duration 2.5)"
same "durations of 5 ms frames" "0 3.5 5 5 5" "$(chain duration 5)"
same "durations of 20 ms frames" "13.5 20 20 20 20" "$(chain duration 20)"
same "PTS of 2.5 ms frames" "0 0 0 1 3.5" "$(chain pts 2.5)"
same "PTS behind opusparse" "0 2.5 5 1 3.5" "$(chain pts 2.5 'opusparse !')"
gst-launch-1.0 -q audiotestsrc num-buffers=20 samplesperbuffer=480 ! audio/x-raw,rate=48000,channels=1 ! opusenc frame-size=2.5 ! matroskamux ! filesink location=x.mka
m=$(ffprobe -v error -show_entries packet=pts -of csv=p=0 x.mka | tr -d , | sort -n | uniq -c | awk 'NR == 1 { print $1 }')
same "packets with the first timestamp in Matroska" 6 "$m"
seen "durations 0 0 1 2.5 ms; PTS behind opusparse 0 2.5 5 1 3.5 ms; $m packets with one timestamp in Matroska"
