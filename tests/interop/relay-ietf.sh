# SPDX-License-Identifier: MIT
# moq-relay-ietf, a relay that speaks moq-transport-18 alone.
source "$(dirname "$0")/common.bash"
VERSION=0.8.0
[ "${1:-}" != install ] || { crate moq-relay-ietf "$VERSION"; exit; }

relay_ietf relay
for container in legacy loc cmaf; do
    for scheme in https moqt; do
        log=$container-$scheme
        case $scheme in https) transport=WebTransport ;; *) transport="QUIC (moqt:)" ;; esac
        publish "publish-$log" "$scheme://localhost:$port/" "$log.hang" "$container" "h264 h265 vp8 aac opus" "tls-fingerprint=$fingerprint"
        for catalog in hang msf; do
            receive "receive-$log-$catalog" "$scheme://localhost:$port/" "$log.hang" 3 2 catalog-format=$catalog "tls-fingerprint=$fingerprint" || true
            received_rows "receive-$log-$catalog" 3 2 moq-relay-ietf "$VERSION" "moqsink to moqsrc" "$transport" \
                "$(negotiated m "receive-$log-$catalog")" "$catalog" "$container"
        done
        stop "$job"
    done
done
