# SPDX-License-Identifier: MIT
# The Python package moq-rs, both ways.
source "$(dirname "$0")/common.bash"
VERSION=0.5.1
[ "${1:-}" != install ] || { crate moq-relay "$RELAY_VERSION"; python_package moq-rs "$VERSION"; exit; }

moq_relay relay
for container in legacy loc cmaf; do
    publish "publish-$container" "$url" "$container.hang" "$container" "h264 h265 vp9 aac opus"
    log=subscribe-$container
    timeout --foreground -k 5 "$WAIT" "$PYTHON" "$HERE/moq-rs.py" subscribe "$url" "$container.hang" "$WANTED" h264 h265 vp9 aac opus >"$WORK/$log.log" 2>&1 </dev/null || true
    for codec in h264 h265 vp9 aac opus; do
        count=$(sed -n "s/^$codec //p" "$WORK/$log.log" | tail -n 1)
        if [ "${count:-0}" -ge "$WANTED" ]; then ok=ok; else ok=$log; fi
        row moq-rs "$VERSION" "moqsink to Python" WebTransport moq-lite-06 hang "$container" $codec "${count:-0} frames" "$ok"
    done
    stop "$job"
done
ffmpeg -v error -y -f lavfi -i testsrc2=s=320x240:r=25:d=30 -f lavfi -i sine=440:r=48000:d=30 -pix_fmt yuv420p \
    -c:v libx264 -preset ultrafast -bf 2 -g 25 -c:a aac -f mp4 -movflags empty_moov+frag_every_frame+default_base_moof "$WORK/clip.mp4"
background publish timeout --foreground 60 "$PYTHON" "$HERE/moq-rs.py" publish "$url" python.hang "$WORK/clip.mp4"
receive receive "$url" python.hang 1 1 || true
received_rows receive 1 1 moq-rs "$VERSION" "Python (\`publish_container_stream\`) to moqsrc" WebTransport "$(negotiated m receive)" hang ""
