#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Records a live broadcast again and again with the GStreamer of another system, and counts whole files.
#
#   tests/matrix.sh ROOT PLUGIN URL BROADCAST [RUNS]
#
# ROOT is that system's root folder ("/" for this one) with gstreamer1.0-tools, -plugins-base, -good,
# -bad and -libav, such as `debootstrap trixie ROOT` and apt-get make it; PLUGIN is a libgstmoq.so that
# was built on the oldest of them; BROADCAST on the relay at URL has H.264 video and Opus audio. A recording
# is whole when it ends without an error and each of its tracks plays. Not a part of CI: it needs root.
set -u
[ $# -ge 4 ] || { sed -n '4,11s/^# \{0,1\}//p' "$0"; exit 2; }
root=$1 plugin=$2 url=$3 broadcast=$4 runs=${5:-40}
folder=$(mktemp -d "$root/tmp/matrix.XXXXXX")
trap 'rm -rf "$folder"' EXIT
cp "$plugin" "$folder/libgstmoq.so"
inside=/tmp/${folder##*/}
gst() { GST_PLUGIN_PATH=$inside GST_REGISTRY=$inside/registry timeout 60 chroot "$root" gst-launch-1.0 "$@" 2>&1; }
gst --version | sed -n 2p
gst fakesrc num-buffers=0 ! fakesink >/dev/null # fills the registry
whole=0
for ((run = 0; run < runs; run++)); do
    case $((run % 4)) in
    0) parsers="h264parse opusparse" muxer=matroskamux demuxer=matroskademux ;;
    1) parsers="identity identity" muxer=matroskamux demuxer=matroskademux ;;
    2) parsers="h264parse opusparse" muxer=mp4mux demuxer=qtdemux ;;
    3) parsers="identity identity" muxer=mp4mux demuxer=qtdemux ;;
    esac
    read -r video audio <<<"$parsers"
    sleep "$(printf '0.%03d' $((RANDOM % 1000)))" # joins at any point of a group
    GST_PLUGIN_PATH=$inside GST_REGISTRY=$inside/registry timeout --foreground -s INT -k 20 3 chroot "$root" \
        gst-launch-1.0 -e moqsrc name=m url="$url" broadcast="$broadcast" tls-disable-verify=true \
        m.video_0 ! queue ! "$video" ! mux.video_0 m.audio_0 ! queue ! "$audio" ! mux.audio_0 \
        "$muxer" name=mux ! filesink location="$inside/file" >"$folder/log" 2>&1
    played=$(gst -v filesrc location="$inside/file" ! "$demuxer" name=d \
        d.video_0 ! queue ! h264parse ! fakesink name=v silent=false d.audio_0 ! queue ! opusparse ! fakesink name=a silent=false)
    frames=$(grep -c 'GstFakeSink:v: last-message = .\?chain' <<<"$played")
    packets=$(grep -c 'GstFakeSink:a: last-message = .\?chain' <<<"$played")
    if grep -q '^ERROR' "$folder/log" || grep -q '^ERROR' <<<"$played" || [ "$frames" -lt 15 ] || [ "$packets" -lt 25 ]; then
        echo "run $run, $video $audio $muxer: $frames frames, $packets packets: $(tail -n 6 "$folder/log" | tr '\n' ' ' | cut -c1-600)"
    else
        whole=$((whole + 1))
    fi
done
echo "$whole of $runs recordings are whole"
[ "$whole" = "$runs" ]
