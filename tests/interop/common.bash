# SPDX-License-Identifier: MIT
# Shared by the peers of interop.sh: installs packages, publishes and receives with the plugin, prints rows.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=../../.ci/setup.sh
source "$ROOT/.ci/setup.sh"
INTEROP=${INTEROP:-$ROOT/target/interop}
PATH="$INTEROP/bin:$PATH"
WORK="$INTEROP/logs/$(basename "$0" .sh)"
HERE="$ROOT/tests/interop"
mkdir -p "$WORK"
WANTED=50 # frames at the far end
WAIT=40   # seconds that they may take

JOBS=()
stop() {
    local job left=()
    for job in "${JOBS[@]}"; do
        [[ " $* " = *" $job "* ]] || left+=("$job")
    done
    JOBS=("${left[@]}")
    for job in "$@"; do
        kill "$job" 2>/dev/null || true
    done
    for job in "$@"; do
        # A program that does not end by itself is not waited for.
        timeout 5 tail --pid="$job" -f /dev/null || kill -KILL "$job" 2>/dev/null || true
        wait "$job" 2>/dev/null || true
    done
}
trap 'stop "${JOBS[@]}"' EXIT
trap 'exit 143' TERM INT

# background LOG COMMAND...: runs until stop_all; its id is in $job.
background() {
    local log=$1
    shift
    "$@" >"$WORK/$log.log" 2>&1 </dev/null &
    job=$!
    JOBS+=("$job")
}
# until_true SECONDS COMMAND...: waits for it, polling.
until_true() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.1
    done
}
free_port() {
    python3 -c '
import socket
while True:
    udp = socket.socket(type=socket.SOCK_DGRAM); udp.bind(("127.0.0.1", 0))
    tcp = socket.socket()
    try: tcp.bind(udp.getsockname())
    except OSError: continue
    print(udp.getsockname()[1]); break'
}

# crate NAME VERSION: installs the programs of a crate into $INTEROP/bin.
crate() {
    grep -qs "^\"$1 $2 " "$INTEROP/.crates.toml" && return
    say "Installing $1 $2 from crates.io (some minutes)"
    CARGO_TARGET_DIR="$INTEROP/build" cargo install --quiet --locked --root "$INTEROP" "$1" --version "$2"
}
# npm_packages NAME@VERSION...
npm_packages() {
    mkdir -p "$INTEROP/npm"
    npm install --prefix "$INTEROP/npm" --ignore-scripts --no-audit --no-fund --loglevel=error "$@" >/dev/null
}
# python_package NAME VERSION: into an environment of Python 3.12 or later.
python_package() {
    local python
    if [ ! -x "$INTEROP/python/bin/python" ]; then
        for python in python3 python3.14 python3.13 python3.12 "$HOME"/.pyenv/versions/3.1[2-9].*/bin/python3; do
            command -v "$python" >/dev/null || continue
            "$python" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null || continue
            "$python" -m venv "$INTEROP/python" && break
        done
        [ -x "$INTEROP/python/bin/python" ] || fail "Python 3.12 or later is missing."
    fi
    "$INTEROP/python/bin/pip" install --quiet --disable-pip-version-check "$1==$2"
}
PYTHON="$INTEROP/python/bin/python"

# moq_relay NAME [OPTION...]: starts moq-relay on a free port, which is in $port, its URL in $url.
RELAY_VERSION=0.17.10
moq_relay() {
    local log=$1
    shift
    port=$(free_port)
    url="http://127.0.0.1:$port/"
    background "$log" moq-relay --listen "127.0.0.1:$port" --listen-tls-generate localhost \
        --web-http-listen "127.0.0.1:$port" --auth-public '**' "$@"
    until_true 20 curl -sf "${url}certificate.sha256" || { echo "$log does not start" >&2; return 1; }
    fingerprint=$(curl -sf "${url}certificate.sha256")
}

# relay_ietf NAME: starts moq-relay-ietf on a free port, which is in $port; $fingerprint is that of its certificate.
relay_ietf() {
    port=$(free_port)
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 10 -subj /CN=localhost \
        -addext subjectAltName=DNS:localhost -keyout "$WORK/$1.key" -out "$WORK/$1.pem" 2>/dev/null
    fingerprint=$(openssl x509 -in "$WORK/$1.pem" -noout -fingerprint -sha256 | sed 's/.*=//')
    # "localhost" may be the address of IPv6.
    background "$1" moq-relay-ietf --bind "[::]:$port" --tls-cert "$WORK/$1.pem" --tls-key "$WORK/$1.key" \
        --coordinator-file "$WORK/$1.json"
    until_true 20 grep -qi listening "$WORK/$1.log" || { echo "$1 does not start" >&2; return 1; }
}

# The encoder of a codec, at the end of a tee named v or a.
encoder() {
    case $1 in
    h264) echo "x264enc tune=zerolatency key-int-max=25 bitrate=300 ! h264parse" ;;
    h264-b) echo "x264enc threads=1 bframes=2 b-adapt=false rc-lookahead=0 sync-lookahead=0 key-int-max=24 bitrate=300 ! h264parse" ;;
    h265) echo "x265enc tune=zerolatency key-int-max=25 bitrate=300 ! h265parse" ;;
    vp8) echo "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=25 target-bitrate=300000" ;;
    vp9) echo "vp9enc deadline=1 cpu-used=8 keyframe-max-dist=25 target-bitrate=300000 ! vp9parse" ;;
    av1) echo "av1enc usage-profile=realtime cpu-used=8 keyframe-max-dist=25 target-bitrate=300 ! av1parse" ;;
    aac) echo "avenc_aac ! aacparse" ;;
    opus) echo "opusenc ! opusparse" ;;
    mp3) echo "lamemp3enc ! mpegaudioparse" ;;
    flac) echo "flacenc ! flacparse" ;;
    esac
}
kind() {
    case $1 in
    h26* | vp* | av1) echo video ;;
    *) echo audio ;;
    esac
}

# What an element connects to, or nothing where it listens.
target() { [ "$1" = - ] || echo "url=$1"; }
# publish LOG URL BROADCAST CONTAINER CODECS [PROPERTY=VALUE...]: publishes a live test signal, one track for each
# codec and named after it, until it is stopped; returns when it is connected. Its id is in $job.
publish() {
    local log=$1 to=$2 broadcast=$3 container=$4 codecs=$5 pad=0 codec
    local line=("moqsink name=s $(target "$to") broadcast=$broadcast ${*:6}") branches=""
    for codec in $codecs; do
        line+=("sink_$pad::container=$container sink_$pad::track=$codec")
        if [ "$(kind "$codec")" = video ]; then
            branches+=" v. ! queue ! $(encoder "$codec") ! s.sink_$pad"
        else
            branches+=" a. ! queue ! audioconvert ! $(encoder "$codec") ! s.sink_$pad"
        fi
        pad=$((pad + 1))
    done
    case $branches in *" v. "*)
        line+=("videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=320,height=240,framerate=25/1 ! tee name=v") ;;
    esac
    case $branches in *" a. "*)
        line+=("audiotestsrc is-live=true ! audio/x-raw,rate=48000,channels=2 ! tee name=a") ;;
    esac
    # shellcheck disable=SC2086 # words are what is meant
    background "$log" gst-launch-1.0 -v ${line[*]} $branches
    if [ "$to" != - ]; then
        until_true 20 grep -q 'GstMoqSink:s: moq-version = moq' "$WORK/$log.log" || return 1
    fi
}
# negotiated LOG [ELEMENT]: the MoQ version that the log of gst-launch-1.0 has.
negotiated() { grep -o "$1: moq-version = moq[-a-z0-9]*" "$WORK/$2.log" | tail -n 1 | sed 's/.* = //'; }

# receive LOG URL BROADCAST NVIDEO NAUDIO [PROPERTY=VALUE...]: decodes $WANTED frames of each track; `frames PAD`
# tells how many came. A picture is scaled to 256 bytes, a packet of audio to one sample.
receive() {
    local log=$1 from=$2 broadcast=$3 line pad index
    line="moqsrc name=m $(target "$from") broadcast=$broadcast ${*:6}"
    rm -f "$WORK/$log".*.raw
    for ((index = 0; index < $4; index++)); do
        line+=" m.video_$index ! queue name=video_$index ! decodebin ! videoconvert ! videoscale ! video/x-raw,format=GRAY8,width=16,height=16"
        line+=" ! identity eos-after=$((WANTED + 1)) ! filesink buffer-mode=unbuffered location=$WORK/$log.video_$index.raw"
    done
    for ((index = 0; index < $5; index++)); do
        line+=" m.audio_$index ! queue name=audio_$index ! decodebin ! audioconvert ! audioresample ! audio/x-raw,format=S16LE,rate=8000,channels=1"
        line+=" ! identity eos-after=$((WANTED + 1)) ! filesink buffer-mode=unbuffered location=$WORK/$log.audio_$index.raw"
    done
    # shellcheck disable=SC2086
    timeout --foreground -k 5 "$WAIT" gst-launch-1.0 -v $line >"$WORK/$log.log" 2>&1 </dev/null
}
# What came by pad: frames of video, and ms of audio.
frames() { echo $(($(stat -c %s "$WORK/$1.$2.raw" 2>/dev/null || echo 0) / 256)); }
milliseconds() { echo $(($(stat -c %s "$WORK/$1.$2.raw" 2>/dev/null || echo 0) / 16)); }
# codec_of LOG PAD INDEX: the media type that a pad of moqsrc has, as one of the names above. Not every notification
# of caps is printed, so the decoder's count, too.
codec_of() {
    local caps
    caps=$(grep -E "Gst(Queue:$2|DecodeBin:decodebin$3)[./].*: caps = (video/x-(h26|vp|av)|audio/(mpeg|x-opus|x-flac))" "$WORK/$1.log" |
        head -n 1)
    case $caps in
    *x-h264*) echo h264 ;; *x-h265*) echo h265 ;; *x-vp8*) echo vp8 ;; *x-vp9*) echo vp9 ;; *x-av1*) echo av1 ;;
    *mpegversion=\(int\)4*) echo aac ;; *mpegversion=\(int\)1*) echo mp3 ;; *x-opus*) echo opus ;; *x-flac*) echo flac ;;
    *) echo "$2" ;;
    esac
}

# ffprobe's count of the decoded frames of the first video or audio stream of a file.
decoded() {
    { ffprobe -v error -select_streams "$2:0" -count_frames -show_entries stream=nb_read_frames -of csv=p=0 "$1" 2>/dev/null || true; } |
        head -n 1 | tr -dc 0-9
}

# until_decoded FILE KIND: waits until $WANTED frames of a stream can be decoded from what the file has so far.
decodes() {
    local count
    count=$(decoded "$@")
    [ "${count:-0}" -ge "$WANTED" ]
}
until_decoded() { until_true "$WAIT" decodes "$@"; }

# row PEER VERSION DIRECTION TRANSPORT MOQ CATALOG CONTAINER CODECS FIGURE OK [CAUSE]: OK is "ok" or the log to look
# into; CAUSE is what is known of why it fails.
row() {
    local result=fails cause=${11:-}
    if [ "${10}" = ok ]; then
        result=ok cause=""
    elif [ -z "$cause" ]; then
        echo "$1, $3, $4, $6, $7, $8: see $WORK/${10}.log" >>"${UNKNOWN:-/dev/stderr}"
    fi
    printf '| %s |' "$1"
    printf ' %s |' "${@:2:7}" "$result" "$9"
    printf ' %s |\n' "$cause"
}
# What is known of why a codec fails; for received_rows.
declare -A CAUSES=()
# received_rows LOG NVIDEO NAUDIO PEER VERSION DIRECTION TRANSPORT MOQ CATALOG CONTAINER: a row for the pads of
# `receive` that gave enough, and one for each other.
received_rows() {
    local log=$1 index pad codec good=() figures=() bad=()
    for ((index = 0; index < $2; index++)); do
        pad=video_$index codec=$(codec_of "$log" "$pad" $index) count=$(frames "$log" "$pad")
        [ "$count" -ge "$WANTED" ] && good+=("$codec") && figures+=("$count frames") && continue
        bad+=("$codec:$count frames")
    done
    for ((index = 0; index < $3; index++)); do
        pad=audio_$index codec=$(codec_of "$log" "$pad" $(($2 + index))) count=$(milliseconds "$log" "$pad")
        # Packets last 20 ms or more; the first may be shorter.
        [ "$count" -ge $((WANTED * 15)) ] && good+=("$codec") && figures+=("$count ms") && continue
        bad+=("$codec:$count ms")
    done
    [ ${#good[@]} -eq 0 ] || row "${@:4}" "$(list "${good[@]}")" "$(list "${figures[@]}")" ok
    for pad in "${bad[@]}"; do
        row "${@:4}" "${pad%%:*}" "${pad#*:}" "$log" "${CAUSES[${pad%%:*}]:-}"
    done
}
# The words with commas between them, equal neighbours once.
list() { printf '%s\n' "$@" | uniq | paste -sd, | sed 's/,/, /g'; }
