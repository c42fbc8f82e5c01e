# SPDX-License-Identifier: MIT
# Gateways of moq-cli: RTMP and SRT come in to moqsrc, and what moqsink publishes is seen by HLS, RTMP and SRT.
source "$(dirname "$0")/common.bash"
VERSION=0.14.10
[ "${1:-}" != install ] || { crate moq-relay "$RELAY_VERSION"; crate moq-cli "$VERSION"; install_packages ffmpeg; exit; }

moq_relay relay
cli() { exec moq --connect-websocket-enabled=false --connect "$url" --broadcast "$@"; }
# The clip as an encoder such as OBS pushes it.
push() {
    exec ffmpeg -v error -re -f lavfi -i testsrc2=s=320x240:r=25:d=60 -f lavfi -i sine=440:r=48000:d=60 -pix_fmt yuv420p \
        -c:v libx264 -preset veryfast -bf 2 -g 25 -c:a aac "$@"
}
# ffmpeg gives up at once while nobody listens yet.
push_retrying() {
    for _ in {1..20}; do
        (push "$@") || true
        sleep 0.3
    done
}

gateway=$(free_port)
background rtmp-in cli rtmp.hang import rtmp --listen "127.0.0.1:$gateway"
server=$job
background rtmp-push push_retrying -f flv "rtmp://127.0.0.1:$gateway/live/key"
receive rtmp-received "$url" rtmp.hang 1 1 || true
received_rows rtmp-received 1 1 moq-cli "$VERSION" "RTMP push, \`moq import rtmp\`, to moqsrc" WebTransport "$(negotiated m rtmp-received)" hang ""
pkill -P "$job" || true
stop "$job" "$server"

gateway=$(free_port)
background srt-in cli srt.hang import srt --listen "127.0.0.1:$gateway"
server=$job
background srt-push push_retrying -f mpegts "srt://127.0.0.1:$gateway?streamid=key"
receive srt-received "$url" srt.hang 1 1 || true
received_rows srt-received 1 1 moq-cli "$VERSION" "SRT push (TS), \`moq import srt\`, to moqsrc" WebTransport "$(negotiated m srt-received)" hang ""
pkill -P "$job" || true
stop "$job" "$server"

# read_back LOG DIRECTION CONTAINER URL [CAUSE]: what ffmpeg decodes from a gateway.
read_back() {
    local log=$1 codec what count ok
    # shellcheck disable=SC2317 # until_true calls it
    pull() {
        timeout --foreground 20 ffmpeg -v error -y -i "$2" -t 2.5 -map 0:v -map 0:a -c copy -f matroska "$WORK/$1.mkv" >"$WORK/$1.log" 2>&1 </dev/null
        decodes "$WORK/$1.mkv" v
    }
    until_true $((WAIT / 2)) pull "$log" "$4" || true
    for codec in h264 aac; do
        what=$(kind $codec)
        count=$(decoded "$WORK/$log.mkv" "${what:0:1}")
        if [ "${count:-0}" -ge "$WANTED" ]; then ok=ok; else ok=$log; fi
        row moq-cli "$VERSION" "$2" WebTransport moq-lite-06 hang "$3" $codec "${count:-0} frames" $ok "${5:-}"
    done
}
for container in legacy cmaf; do
    publish "publish-$container" "$url" "$container.hang" $container "h264 aac"
    publisher=$job

    gateway=$(free_port)
    background "hls-$container" cli "$container.hang" export hls --listen "127.0.0.1:$gateway"
    read_back "hls-read-$container" "moqsink to \`moq export hls\`" $container "http://127.0.0.1:$gateway/$container.hang/master.m3u8" \
        "moq-hls 0.5.19 serves renditions whose catalog lists an archive, a timeline track; moqsink lists none"
    stop "$job"

    gateway=$(free_port)
    background "rtmp-$container" cli "$container.hang" export rtmp --listen "127.0.0.1:$gateway"
    read_back "rtmp-read-$container" "moqsink to \`moq export rtmp\`" $container "rtmp://127.0.0.1:$gateway/live/key" \
        "$([ $container = legacy ] || echo "its FLV export takes no CMAF")"
    stop "$job"

    gateway=$(free_port)
    background "srt-$container" cli "$container.hang" export srt --listen "127.0.0.1:$gateway"
    read_back "srt-read-$container" "moqsink to \`moq export srt\`" $container \
        "srt://127.0.0.1:$gateway?streamid=%23!::r=key,m=request" \
        "it refuses the call of ffmpeg 5.1.9 without a reason, with and without m=request in the stream ID"
    stop "$job" "$publisher"
done
