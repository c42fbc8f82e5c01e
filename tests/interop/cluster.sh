# SPDX-License-Identifier: MIT
# Three moq-relays in a line with a dearer way around the middle one, which is killed: how long media stand still.
source "$(dirname "$0")/common.bash"
[ "${1:-}" != install ] || { crate moq-relay "$RELAY_VERSION"; exit; }

# largest_gap FILE SECONDS: the longest time in ms for which the file does not grow.
largest_gap() {
    python3 - "$@" <<'P'
import os, sys, time
name, end = sys.argv[1], time.monotonic() + float(sys.argv[2])
size, grown, largest = os.path.getsize(name), time.monotonic(), 0
while time.monotonic() < end:
    time.sleep(0.01)
    now = time.monotonic()
    largest = max(largest, now - grown)
    if os.path.getsize(name) > size:
        size, grown = os.path.getsize(name), now
print(round(largest * 1000))
P
}

# cluster LABEL CAUSE RELAY_OPTION...
cluster() {
    local label=$1 cause=$2 first middle middle_job publisher receiver gap ok
    shift 2
    moq_relay "first-$label" "$@"
    first=$url
    moq_relay "middle-$label" --cluster-connect "$first" "$@"
    middle=$url middle_job=$job
    moq_relay "last-$label" --cluster-connect "$middle,$first?cost=20" "$@"
    publish "publish-$label" "$first" cluster.hang legacy "h264 opus"
    WANTED=50 WAIT=40
    receive "receive-$label" "$url" cluster.hang 1 1 || true
    received_rows "receive-$label" 1 1 "$PEER" "$RELAY_VERSION" "moqsink at one end, moqsrc at the other" WebTransport \
        "$(negotiated m "receive-$label")" hang legacy

    WANTED=2000 WAIT=60
    receive "killed-$label" "$url" cluster.hang 1 1 &
    receiver=$!
    JOBS+=("$receiver")
    flows() { [ "$(frames "killed-$label" video_0)" -gt 25 ]; }
    gap="nothing came before" ok=killed-$label
    if until_true 20 flows; then
        kill -KILL "$middle_job"
        gap=$(largest_gap "$WORK/killed-$label.video_0.raw" 20)
        [ "$gap" -ge 5000 ] || ok=ok
        gap="still for $gap ms"
    fi
    row "$PEER" "$RELAY_VERSION" "the same, the relay between them killed${*:+, \`$*\`}" WebTransport \
        "$(negotiated m "killed-$label")" hang legacy h264 "$gap" "$ok" "$cause"
    pkill -P "$receiver" || true
    stop "${JOBS[@]}"
}
PEER="moq-relay, 3 in a cluster"
cluster default "moq-relay takes a peer for gone after 10 s of silence (\`--quic-idle-timeout\`)"
cluster brisk "" --quic-idle-timeout 3s --quic-keep-alive 1s
