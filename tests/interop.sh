#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs this plugin against relays, tools, libraries and players of others, and prints a Markdown table of what works.
#
#   tests/interop.sh [NAME...]
#
# NAME is a file of tests/interop without its suffix (all by default). Each peer is installed by package name and
# version into target/interop (INTEROP=FOLDER: elsewhere), Rust ones from source, which takes minutes each.
# PLUGIN=FILE is a libgstmoq.so to take in place of a release build. Ends with 1 when a cell fails whose cause is
# not known. Logs stay in target/interop/logs. Not a part of CI.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=../.ci/setup.sh
source .ci/setup.sh

ALL=(relay cluster relay-ietf moq-cli moq-rs aiomoqt watch publish shaka moq-pub-sub gateways)
# How long one peer may take once it is installed, in seconds.
BOUND=900

export INTEROP=${INTEROP:-$PWD/target/interop}
mkdir -p "$INTEROP/logs" "$INTEROP/plugin"
{
    require_rust
    install_packages "${PACKAGES[@]}" curl openssl
    if [ -z "${PLUGIN:-}" ]; then
        say "Building the plugin"
        cargo build --quiet --release --locked
        PLUGIN=target/release/libgstmoq.so
    fi
} >&2
# A running program may have the one before in its memory.
cp --remove-destination "$PLUGIN" "$INTEROP/plugin/libgstmoq.so"
export GST_PLUGIN_PATH="$INTEROP/plugin" GST_REGISTRY="$INTEROP/registry" GST_DEBUG_NO_COLOR=1
# Relays and tools read these; the cells mean their own settings.
while read -r name; do
    unset "$name"
done < <(compgen -e MOQ_ || true)
version=$(gst-inspect-1.0 moq | awk '$1 == "Version" { print $2 }')

# Makes one row of neighbours that differ in codec and figure alone.
merged() {
    awk -F ' *[|] *' -v OFS=' | ' '
        function flush() { if (n) { sub(/^ *[|]/, "", row); print "| " a " | " codec " | " result " | " figure " | " cause " |"; fflush() } }
        !/^[|]/ { print; next }
        {
            head = $2 OFS $3 OFS $4 OFS $5 OFS $6 OFS $7 OFS $8
            if (n && head == a && $10 == result && $12 == cause) { codec = codec "; " $9; if ($11 != last) figure = figure "; " $11; last = $11; next }
            flush(); n = 1; a = head; codec = $9; result = $10; figure = last = $11; cause = $12
        }
        END { flush() }'
}

ROWS=$INTEROP/rows-$$
export UNKNOWN="$INTEROP/unknown-$$"
: >"$UNKNOWN"
[ $# -gt 0 ] || set -- "${ALL[@]}"
peer=
trap '[ -z "$peer" ] || { kill "$peer"; wait "$peer"; } 2>/dev/null' EXIT
trap 'exit 143' TERM INT
echo "Plugin $version, $(gst-launch-1.0 --version | sed -n 2p), $(date -u +%F)."
echo
echo "| peer | version | direction | transport | MoQ version | catalog | container | codec | result | figure | cause |"
echo "|---|---|---|---|---|---|---|---|---|---|---|"
for name in "$@"; do
    say "$name" >&2
    (bash "tests/interop/$name.sh" install) >&2 || { echo "| $name | | | | | | | | not run | | cannot be installed |"; continue; }
    # In the background, so that a signal reaches it.
    timeout -k 20 "$BOUND" bash "tests/interop/$name.sh" >"$ROWS" &
    peer=$!
    wait "$peer" || echo "$name: ended with $?" >>"$UNKNOWN"
    peer=
    merged <"$ROWS"
done
rm -f "$ROWS"
[ -s "$UNKNOWN" ] || rm "$UNKNOWN"
[ ! -e "$UNKNOWN" ] || { say "Fails, and the cause is not known:" >&2; cat "$UNKNOWN" >&2; exit 1; }
