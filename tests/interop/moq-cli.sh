# SPDX-License-Identifier: MIT
# moq-cli: what moqsink publishes is exported to files, and files that ffmpeg makes are imported for moqsrc.
source "$(dirname "$0")/common.bash"
VERSION=0.14.10
[ "${1:-}" != install ] || { crate moq-relay "$RELAY_VERSION"; crate moq-cli "$VERSION"; exit; }

CAUSES=(
    ["fmp4 hang legacy vp9"]="moqsink announces after 500 ms without the tracks that have no frame until then; vp9enc needs up to 1 s, and the export gives nothing when a track comes later"
    ["fmp4 hang legacy opus"]="moqsink announces after 500 ms without the tracks that have no frame until then; vp9enc needs up to 1 s, and the export gives nothing when a track comes later"
    ["fmp4 msf cmaf h264-b"]="its MSF reader takes H.264 in CMAF for Annex B"
    ["fmp4 msf cmaf aac"]="the same, as the export ends"
    ["ts hang cmaf h264-b"]="its TS export takes no CMAF"
    ["ts hang cmaf aac"]="its TS export takes no CMAF"
    ["mkv hang cmaf h264-b"]="its MKV export takes no CMAF"
    ["mkv hang cmaf opus"]="its MKV export takes no CMAF"
)
moq_relay relay
# export FORMAT CATALOG CONTAINER CODECS: what `publish` publishes as $CONTAINER.
export_cell() {
    local format=$1 catalog=$2 container=$3 name=$4 log=export-$1-$2-$3-${4// /-} codec file count what
    file=$WORK/$log.$format
    publish "publish-$log" "$url" "$log" "$container" "$name"
    local publisher=$job
    background "$log" bash -c 'exec moq --connect-websocket-enabled=false --connect "$1" --broadcast "$2" export --catalog-format "$3" "$4" >"$5"' - "$url" "$log" "$catalog" "$format" "$file"
    local exporter=$job
    for codec in $name; do
        what=$(kind "$codec")
        if until_decoded "$file" "${what:0:1}"; then ok=ok; else ok=$log; fi
        count=$(decoded "$file" "${what:0:1}")
        row moq-cli "$VERSION" "moqsink to \`moq export $format\`" WebTransport moq-lite-06 "$catalog" "$container" \
            "${codec/-b/, B-frames}" "${count:-0} frames" "$ok" "${CAUSES[$format $catalog $container $codec]:-}"
    done
    stop "$exporter" "$publisher"
}
for container in legacy loc cmaf; do
    for catalog in hang msf; do
        export_cell fmp4 $catalog $container "h264-b aac"
    done
done
export_cell fmp4 hang legacy "vp9 opus"
export_cell fmp4 hang legacy "av1"
export_cell fmp4 hang legacy "h265"
for container in legacy cmaf; do
    export_cell ts hang $container "h264-b aac"
    export_cell mkv hang $container "h264-b opus"
done
export_cell ts hang legacy "h265 aac"

# import FORMAT CODECS FFMPEG_OPTIONS...
import_cell() {
    local format=$1 codecs=$2 log=import-$1-${2// /-}
    shift 2
    # Ends by itself, so that nothing stays behind.
    background "$log" bash -c 'url=$1 name=$2 format=$3; shift 3
        ffmpeg -v error -re -f lavfi -i testsrc2=s=320x240:r=25:d=40 -f lavfi -i sine=440:r=48000:d=40 -pix_fmt yuv420p \
            -g 25 -preset veryfast "$@" - | exec moq --connect-websocket-enabled=false --connect "$url" --broadcast "$name" import "$format"' - "$url" "$log" "$format" "$@"
    local importer=$job
    receive "receive-$log" "$url" "$log" 1 1 || true
    CAUSES=([h264]="${CAUSES[$format h264]:-}" [aac]="${CAUSES[$format aac]:-}" [h265]="${CAUSES[$format h265]:-}")
    received_rows "receive-$log" 1 1 moq-cli "$VERSION" "\`moq import $format\` to moqsrc" WebTransport \
        "$(negotiated m "receive-$log")" hang ""
    pkill -P "$importer" || true
    stop "$importer"
}
X264=(-c:v libx264 -bf 2 -c:a aac)
import_cell fmp4 "h264-b aac" "${X264[@]}" -f mp4 -movflags empty_moov+frag_every_frame+default_base_moof
import_cell ts "h264-b aac" "${X264[@]}" -f mpegts
import_cell flv "h264-b aac" "${X264[@]}" -f flv
import_cell fmp4 "h265 aac" -c:v libx265 -x265-params log-level=none -tag:v hvc1 -c:a aac -f mp4 -movflags empty_moov+frag_every_frame+default_base_moof
import_cell fmp4 "vp9 opus" -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -c:a libopus -strict -2 -f mp4 -movflags empty_moov+frag_every_frame+default_base_moof
