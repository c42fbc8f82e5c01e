#!/bin/bash
# SPDX-License-Identifier: MIT
# mp4mux 1.22.0 (Debian 12, gstreamer1.0-plugins-good 1.22.0-5+deb12u4).
# Video starts at 10.0 s, audio at 10.7 s, both go into mp4mux.
# Expected: in the file the audio is 0.7 s behind the video, whatever the
#   layout; fragments can say it in `tfdt`.
# Seen: the plain file says 0.7 s (an edit list). With fragment-duration=500
#   both tracks begin with tfdt 0 and there is no edit list: the sound plays
#   0.7 s too early. The other way round the video is 0.7 s too early.
. "$(dirname "$(readlink -f "$0")")/common.bash"
need_gst; need_ffmpeg
starts() { # VIDEO_MS AUDIO_MS FRAGMENT_MS
    gst-launch-1.0 -q mp4mux name=m fragment-duration="$3" ! filesink location=x.mp4 \
        videotestsrc num-buffers=75 timestamp-offset=$(($1 * 1000000)) ! video/x-raw,format=I420,width=64,height=64,framerate=25/1 \
        ! x264enc tune=zerolatency key-int-max=25 ! h264parse ! m. \
        audiotestsrc num-buffers=150 samplesperbuffer=960 timestamp-offset=$(($2 * 1000000)) ! audio/x-raw,rate=48000,channels=1 ! opusenc ! m.
    ffprobe -v error -show_entries packet=codec_type,pts_time -of csv=p=0 x.mp4 | awk -F, '!s[$1]++ { print $1, $2 }' | sort | xargs
}
same "plain file" "audio 0.700000 video 0.000000" "$(starts 10000 10700 0)"
same "fragments, audio late" "audio 0.000000 video 0.000000" "$(starts 10000 10700 500)"
same "fragments, video late" "audio 0.000000 video 0.000000" "$(starts 10700 10000 500)"
same "edit lists in the fragmented file" 0 "$(grep -c elst x.mp4 || true)"
seen "audio 0.7 s late: plain mp4 0.7 s, fragmented mp4 0.0 s, and the same with video late"
