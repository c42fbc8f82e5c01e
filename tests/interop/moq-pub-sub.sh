# SPDX-License-Identifier: MIT
# moq-pub and moq-sub by moq-relay-ietf.
source "$(dirname "$0")/common.bash"
PUB=0.10.0 SUB=0.5.0
[ "${1:-}" != install ] || { crate moq-relay-ietf 0.8.0; crate moq-pub "$PUB"; crate moq-sub "$SUB"; exit; }
cause="its catalog is the track .catalog of draft-wilaw-moq-catalogformat, neither hang nor MSF"

relay_ietf relay
at=https://localhost:$port/
# Both to each other, to see that they run here.
background clip bash -c 'ffmpeg -v error -re -f lavfi -i testsrc2=s=320x240:r=25:d=60 -an -pix_fmt yuv420p -c:v libx264 -preset ultrafast -g 25 \
    -f mp4 -movflags empty_moov+frag_every_frame+separate_moof+omit_tfhd_offset - | exec moq-pub --tls-disable-verify --name own "$1"' - "$at"
own() { timeout --foreground 10 moq-sub --tls-disable-verify --name own --catalog "$at" >"$WORK/own.mp4" 2>"$WORK/own.log"; decodes "$WORK/own.mp4" v; }
if until_true "$WAIT" own; then ok=ok; else ok=own; fi
row "moq-pub, moq-sub" "$PUB, $SUB" "one to the other" WebTransport moq-transport-18 "its own" cmaf h264 "$(decoded "$WORK/own.mp4" v) frames" "$ok"

WAIT=15 CAUSES=([video_0]="$cause")
receive receive "$at" own 1 0 catalog-format=msf "tls-fingerprint=$fingerprint" || true
received_rows receive 1 0 moq-pub "$PUB" "moq-pub to moqsrc" WebTransport moq-transport-18 msf cmaf
publish publish "$at" ours.msf cmaf "h264 aac" "tls-fingerprint=$fingerprint"
timeout --foreground "$WAIT" moq-sub --tls-disable-verify --name ours.msf --catalog "$at" >"$WORK/ours.mp4" 2>"$WORK/subscribe.log" </dev/null || true
if decodes "$WORK/ours.mp4" v; then ok=ok; else ok=subscribe; fi
count=$(decoded "$WORK/ours.mp4" v)
row moq-sub "$SUB" "moqsink to moq-sub" WebTransport moq-transport-18 msf cmaf h264 "${count:-0} frames" $ok "$cause"
