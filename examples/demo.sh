#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Publishes a clip through a MoQ relay, plays it back and shows how well that goes; or, with
# --browser, publishes a test signal that web browsers show, without a relay.
# Installs and builds what it needs; the other options are those of `demo --help`.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=../.ci/setup.sh
source "$root/.ci/setup.sh"

# Publishes to the browsers that open the page, until Ctrl-C.
publish_to_browsers() {
    local built=${CARGO_TARGET_DIR:-$root/target} plugins web line
    require_rust
    install_packages "${PACKAGES[@]}"
    require_node
    install_npm_packages "$root/examples/web"

    say "Building (about 10 minutes on 2 cores the first time)"
    cargo build --quiet --release --locked --manifest-path "$root/Cargo.toml" --lib
    rm -rf "$built/web"
    npm run --silent --prefix "$root/examples/web" build -- --log-level=warning --outdir="$built/web"

    printf -v plugins %q "$built/release"
    printf -v web %q "$built/web"
    line="GST_PLUGIN_PATH=$plugins gst-launch-1.0 -e \\
  videotestsrc is-live=true horizontal-speed=2 ! \\
    video/x-raw,format=I420,width=1280,height=720,framerate=30/1 ! timeoverlay ! \\
    x264enc tune=zerolatency key-int-max=60 bitrate=2000 ! h264parse ! moq.sink_0 \\
  audiotestsrc is-live=true wave=ticks ! audioconvert ! avenc_aac ! aacparse ! moq.sink_1 \\
  moqsink name=moq mode=listen broadcast=clip.hang web-root=$web"
    say "Running"
    printf '%s\n' "$line"
    say "Open http://localhost:4443/ in a browser on this machine. Ctrl-C ends it."
    eval "exec env $line"
}

if [ "${1:-}" = --browser ]; then
    [ $# -eq 1 ] || fail "--browser goes with no other option."
    publish_to_browsers
fi

require_rust
needed=("${PACKAGES[@]}")
if [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ]; then
    needed+=("${DISPLAY_PACKAGES[@]}")
fi
install_packages "${needed[@]}"

say "Building (about 15 minutes on 2 cores the first time)"
cargo build --quiet --release --locked --manifest-path "$root/Cargo.toml" --example demo

say "Running"
exec cargo run --quiet --release --locked --manifest-path "$root/Cargo.toml" --example demo -- "$@"
