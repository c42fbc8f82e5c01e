# SPDX-License-Identifier: MIT
# shaka-player, which reads MSF, in Chromium: pictures that it paints.
source "$(dirname "$0")/common.bash"
source "$HERE/browser.bash"
VERSION=5.2.12
[ "${1:-}" != install ] || { install_browser; npm_packages "shaka-player@$VERSION" playwright-core@1.60.0; exit; }

export NODE_PATH="$INTEROP/npm/node_modules"
moq_relay relay
# shaka_cell CONTAINER CODECS [CAUSE]
shaka_cell() {
    local log=$1-${2// /-} input page
    publish "publish-$log" "$url" "$log.msf" "$1" "$2"
    local publisher=$job
    exec {input}<> <(:)
    node "$ROOT/benches/adaptive/shaka.js" "https://127.0.0.1:$port/" "$log.msf" "${url}certificate.sha256" >"$WORK/$log.log" 2>&1 <&"$input" &
    page=$!
    JOBS+=("$page")
    enough() { [ "$(grep -c '^[0-9]' "$WORK/$log.log")" -ge "$WANTED" ]; }
    if until_true "$WAIT" enough; then ok=ok; else ok=$log; fi
    row shaka-player "$VERSION" "moqsink to Chromium" WebTransport moq-transport-16 msf "$1" "${2// /, }" \
        "$(grep -c '^[0-9]' "$WORK/$log.log" || true) frames" "$ok" "${3:-}"
    exec {input}<&-
    stop "$page" "$publisher"
}
shaka_cell cmaf "h264"
shaka_cell cmaf "h264 aac"
shaka_cell cmaf "h264-b aac"
shaka_cell cmaf "vp9 opus"
shaka_cell cmaf "av1"
shaka_cell cmaf "av1 opus"
WAIT=15
shaka_cell loc "h264 aac" "it reads the time of LOC-02 (property 0x06) and takes the number before the properties for a count; moq-loc 0.2.27 writes LOC-04 (0x10) and a length"
shaka_cell legacy "h264 aac" "it skips tracks whose packaging is legacy"
