# SPDX-License-Identifier: MIT
# shaka-player, which reads MSF, in Chromium: pictures that it paints.
source "$(dirname "$0")/common.bash"
source "$HERE/browser.bash"
VERSION=5.2.12
[ "${1:-}" != install ] || { install_browser; npm_packages "shaka-player@$VERSION" playwright-core@1.60.0; exit; }

export NODE_PATH="$INTEROP/npm/node_modules"
moq_relay relay
# shaka_cell CONTAINER CODECS [CAUSE [late]]: the player is there first, or comes when moqsrc has got some.
shaka_cell() {
    local log=$1-${2// /-}${4:-} input page
    publish "publish-$log" "$url" "$log.msf" "$1" "$2"
    local publisher=$job
    [ -z "${4:-}" ] || receive "before-$log" "$url" "$log.msf" 1 0 catalog-format=msf || true
    exec {input}<> <(:)
    node "$ROOT/benches/adaptive/shaka.js" "https://127.0.0.1:$port/" "$log.msf" "${url}certificate.sha256" >"$WORK/$log.log" 2>&1 <&"$input" &
    page=$!
    JOBS+=("$page")
    enough() { [ "$(grep -c '^[0-9]' "$WORK/$log.log")" -ge "$WANTED" ]; }
    if until_true "$WAIT" enough; then ok=ok; else ok=$log; fi
    row shaka-player "$VERSION" "moqsink to Chromium${4:+, joining $4}" WebTransport moq-transport-16 msf "$1" "$(list ${2//-b/ (B-frames)})" \
        "$(grep -c '^[0-9]' "$WORK/$log.log" || true) frames" "$ok" "${3:-}"
    exec {input}<&-
    stop "$page" "$publisher"
}
shaka_cell cmaf "h264"
shaka_cell cmaf "h264 aac"
shaka_cell cmaf "h264-b aac" "playback often stands still near the live edge, not in every run; the video's fragments given to MSE by hand are one range and play at the full rate"
shaka_cell cmaf "vp9 opus" "moqsink announces after 500 ms without the tracks that have no frame until then, and it reads the first catalog alone; vp9enc needs about 1 s"
shaka_cell cmaf "av1"
shaka_cell cmaf "av1 opus"
WAIT=15
shaka_cell cmaf "h264 aac" "it subscribes to the catalog after the largest object and fetches none: what was written before it came does not reach it" late
shaka_cell loc "h264 aac" "it reads the time of LOC-02 (property 0x06) and takes the number before the properties for a count; moq-loc 0.2.27 writes LOC-04 (0x10) and a length"
shaka_cell legacy "h264 aac" "it skips tracks whose packaging is legacy"
