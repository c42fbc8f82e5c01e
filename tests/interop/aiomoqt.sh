# SPDX-License-Identifier: MIT
# aiomoqt (Python, on picoquic): its own MSF subscriber and publisher, by moq-relay on several versions.
source "$(dirname "$0")/common.bash"
VERSION=0.13.3
[ "${1:-}" != install ] || { crate moq-relay "$RELAY_VERSION"; python_package aiomoqt "$VERSION"; exit; }

moq_relay relay
at=127.0.0.1:$port
loc="no two of these LOC are alike: moq-loc 0.2.27 has the time in the payload, behind the length of its properties; aiomoqt has it in the object's properties, and begins the payload with block 0x0A"
for container in cmaf loc; do
    publish "publish-$container" "$url" "$container.msf" "$container" "h264 aac"
    # One version shows how LOC fares.
    drafts="14 16 18 20 22"
    [ $container = cmaf ] || drafts=22
    for draft in $drafts; do
        for scheme in https moqt; do
            log=subscribe-$container-$scheme-$draft
            case $scheme in https) transport=WebTransport ;; *) transport="QUIC (moqt:)" ;; esac
            # Its own count of the frames that it could read.
            timeout --foreground -k 5 "$WAIT" "$PYTHON" -m aiomoqt.tools.sub_media "$scheme://$at/" --insecure --draft $draft -N "$container.msf" \
                -t 5 --out "$WORK/$log" >"$WORK/$log.log" 2>&1 </dev/null || true
            for codec in h264 aac; do
                count=$(sed -n "s/^ *$codec: \([0-9]*\) frames.*/\1/p" "$WORK/$log.log")
                if [ "$container" = cmaf ]; then
                    # What it wrote, decoded.
                    [ $codec = h264 ] && count=$(decoded "$WORK/$log/video.mp4" v) || count=$(decoded "$WORK/$log/audio.mp4" a)
                fi
                if [ "${count:-0}" -ge "$WANTED" ]; then ok=ok; else ok=$log; fi
                row aiomoqt "$VERSION" "moqsink to its subscriber" "$transport" "moq-transport-$draft" msf "$container" $codec "${count:-0} frames" "$ok" \
                    "$([ $container = loc ] && echo "$loc" || true)"
            done
        done
    done
    stop "$job"
done

# A fresh one: its publisher of version 14 closes its session when any other namespace ends at the relay.
moq_relay relay-2
at=127.0.0.1:$port
ffmpeg -v error -y -f lavfi -i testsrc2=s=320x240:r=25:d=4 -f lavfi -i sine=440:r=48000:d=4 -pix_fmt yuv420p \
    -c:v libx264 -preset ultrafast -g 25 -c:a aac "$WORK/clip.mp4"
for container in cmaf loc; do
    [ $container = cmaf ] || CAUSES=([video_0]="$loc" [audio_0]="$loc" [h264]="$loc" [aac]="$loc")
    drafts="14 16 18 20 22"
    [ $container = cmaf ] || drafts=22
    for draft in $drafts; do
        log=publish-$container-$draft
        background "$log" timeout --foreground 60 "$PYTHON" -m aiomoqt.tools.pub_media "https://$at/" --insecure --draft $draft -N "$log.msf" -t 50 \
            --mp4 "$WORK/clip.mp4" --loop --packaging $container --pub-ns
        [ $container = cmaf ] || WAIT=12
        receive "receive-$log" "$url" "$log.msf" 1 1 || true
        received_rows "receive-$log" 1 1 aiomoqt "$VERSION" "its publisher to moqsrc" WebTransport "moq-transport-$draft" msf $container
        stop "$job"
    done
done
# Without PUBLISH_NAMESPACE.
CAUSES=() WAIT=12
for draft in 16 18 22; do
    log=publish-bare-$draft
    background "$log" timeout --foreground 60 "$PYTHON" -m aiomoqt.tools.pub_media "https://$at/" --insecure --draft $draft -N "$log.msf" -t 50 \
        --mp4 "$WORK/clip.mp4" --loop --packaging cmaf
    receive "receive-$log" "$url" "$log.msf" 1 1 || true
    cause="moq-net 0.3.18, of moq-relay, refuses PUBLISH: a publisher has to use PUBLISH_NAMESPACE"
    CAUSES=([video_0]="$cause" [audio_0]="$cause")
    received_rows "receive-$log" 1 1 aiomoqt "$VERSION" "its publisher to moqsrc, by PUBLISH alone" WebTransport "moq-transport-$draft" msf cmaf
    stop "$job"
done
