# SPDX-License-Identifier: MIT
# @moq/watch in Chromium (the page examples/web): pictures that change, and sound.
source "$(dirname "$0")/common.bash"
source "$HERE/browser.bash"
[ "${1:-}" != install ] || { install_browser; exit; }
VERSION=$(page_version @moq/watch)

# watch_cell FROM URL BROADCAST CATALOG CONTAINER CODECS
watch_cell() {
    local log=watch-$3
    if drive "$log" watch "$WEB" "url=$2&broadcast=$3"; then ok=ok; else ok=$log; fi
    row @moq/watch "$VERSION" "moqsink$1 to Chromium" WebTransport "$MOQ" "$4" "$5" "${6// /, }" \
        "$([ $ok = ok ] && echo "10 pictures, sound" || echo "not both")" "$ok" "${CAUSES[$4 $5]:-${CAUSES[$6]:-}}"
}
CAUSES=(
    ["msf loc"]="its MSF reader takes every packaging but cmaf for legacy"
    ["h265 aac"]="this Chromium has no H.265"
)
moq_relay relay
MOQ=moq-lite-05
for container in legacy loc cmaf; do
    for codecs in "h264 aac" "vp8 opus" "vp9 opus" "av1 opus" "h265 aac"; do
        for catalog in hang msf; do
            [ "$catalog" = hang ] || [ "$codecs" = "h264 aac" ] || continue
            name=$container-${codecs// /-}.$catalog
            publish "publish-$name" "$url" "$name" "$container" "$codecs"
            watch_cell " by moq-relay" "$url" "$name" $catalog $container "$codecs"
            stop "$job"
        done
    done
done
listen=$(free_port)
publish publish-listen - listen.hang legacy "h264 opus" mode=listen "bind=127.0.0.1:$listen"
until_true 20 curl -sf "http://127.0.0.1:$listen/certificate.sha256"
watch_cell ", listening," "http://127.0.0.1:$listen/" listen.hang hang legacy "h264 opus"
