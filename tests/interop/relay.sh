# SPDX-License-Identifier: MIT
# moq-relay alone: each codec in each container, read by each catalog, on each version of MoQ.
source "$(dirname "$0")/common.bash"
[ "${1:-}" != install ] || { crate moq-relay "$RELAY_VERSION"; exit; }

moq_relay relay
CODECS="h264 h265 vp8 vp9 av1 aac opus"
for container in legacy loc cmaf; do
    publish "publish-$container" "$url" "$container.hang" "$container" "$CODECS"
    for catalog in hang msf; do
        log=receive-$container-$catalog
        receive "$log" "$url" "$container.hang" 5 2 catalog-format=$catalog || true
        received_rows "$log" 5 2 moq-relay "$RELAY_VERSION" "moqsink to moqsrc" WebTransport "$(negotiated m "$log")" "$catalog" "$container"
    done
    stop "$job"
done
for version in moq-lite-0{1..6} moq-transport-{14..22}; do
    publish "publish-$version" "$url" "$version.hang" legacy "h264 opus" "moq-versions=$version" || true
    receive "receive-$version" "$url" "$version.hang" 1 1 "moq-versions=$version" || true
    received_rows "receive-$version" 1 1 moq-relay "$RELAY_VERSION" "moqsink to moqsrc" WebTransport "$(negotiated m "receive-$version")" hang legacy
    stop "$job"
done
for scheme in moqt moql; do
    publish "publish-$scheme" "$scheme://127.0.0.1:$port/" "$scheme.hang" legacy "h264 opus" "tls-fingerprint=$fingerprint"
    receive "receive-$scheme" "$scheme://127.0.0.1:$port/" "$scheme.hang" 1 1 "tls-fingerprint=$fingerprint" || true
    received_rows "receive-$scheme" 1 1 moq-relay "$RELAY_VERSION" "moqsink to moqsrc" "QUIC ($scheme:)" "$(negotiated m "receive-$scheme")" hang legacy
    stop "$job"
done
publish publish-ws "ws://127.0.0.1:$port/" ws.hang legacy "h264 opus"
receive receive-ws "ws://127.0.0.1:$port/" ws.hang 1 1 || true
received_rows receive-ws 1 1 moq-relay "$RELAY_VERSION" "moqsink to moqsrc" WebSocket "$(negotiated m receive-ws)" hang legacy
