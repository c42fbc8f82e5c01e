# SPDX-License-Identifier: MIT
# Three moq-relays in a line with a dearer way around the middle one, which is killed: how long media stand still.
source "$(dirname "$0")/common.bash"
[ "${1:-}" != install ] || { crate moq-relay "$RELAY_VERSION"; exit; }

moq_relay first
publisher_url=$url first=$url
moq_relay middle --cluster-connect "$first"
middle=$url middle_job=$job
moq_relay last --cluster-connect "$middle,$first?cost=20"

publish publish "$publisher_url" cluster.hang legacy "h264 opus"
receive receive "$url" cluster.hang 1 1 || true
received_rows receive 1 1 "moq-relay, 3 in a cluster" "$RELAY_VERSION" "moqsink at one end, moqsrc at the other" WebTransport \
    "$(negotiated m receive)" hang legacy

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
WANTED=2000 WAIT=60
receive killed "$url" cluster.hang 1 1 &
receiver=$!
JOBS+=("$receiver")
flows() { [ "$(frames killed video_0)" -gt 25 ]; }
if until_true 20 flows; then
    kill -KILL "$middle_job"
    gap=$(largest_gap "$WORK/killed.video_0.raw" 15)
    ok=killed
    [ "$gap" -ge 5000 ] || ok=ok
else
    gap="nothing before that, -" ok=killed
fi
row "moq-relay, 3 in a cluster" "$RELAY_VERSION" "the same, the relay between them killed" WebTransport \
    "$(negotiated m killed)" hang legacy h264 "still for $gap ms" "$ok"
pkill -P "$receiver" || true
