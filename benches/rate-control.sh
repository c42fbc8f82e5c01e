#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Measures how an encoder follows a path whose capacity changes, with moqsink and with webrtcsink; `--help`
# lists the parts. Needs root. Installs and builds what it needs. The results go to target/rate-control.
# PLUGIN names a libgstmoq.so that is to be measured instead of the one that is built here.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=../.ci/setup.sh
source .ci/setup.sh

WEBRTC_VERSION=0.15.4

# Builds webrtcsink, webrtcsrc and their congestion control into target/webrtc.
build_webrtc() {
    mkdir -p target/webrtc/fetch/src
    cat >target/webrtc/fetch/Cargo.toml <<TOML
[package]
name = "fetch"
version = "0.0.0"
edition = "2024"

[dependencies]
gst-plugin-webrtc = { version = "=$WEBRTC_VERSION", default-features = false, features = ["rustls-ring"] }
gst-plugin-rtp = "=$WEBRTC_VERSION"

[workspace]
TOML
    touch target/webrtc/fetch/src/lib.rs
    cargo build --quiet --release --manifest-path target/webrtc/fetch/Cargo.toml --target-dir target/webrtc \
        --package gst-plugin-webrtc --package gst-plugin-rtp
}

[ "$(id -u)" -eq 0 ] || fail "Network namespaces and TUN devices need root."
require_rust
# The plugins' headers, ICE, and what makes the namespaces.
install_packages "${PACKAGES[@]}" libgstreamer-plugins-bad1.0-dev gstreamer1.0-nice iproute2
[ -c /dev/net/tun ] || fail "There is no /dev/net/tun. 'modprobe tun' may help; then run this again."

# The elements mean their own settings.
while read -r name; do
    unset "$name"
done < <(compgen -e MOQ_ || true)

# Where the benchmark looks for the plugins.
export CARGO_TARGET_DIR=$PWD/target

if [ -z "${PLUGIN:-}" ]; then
    say "Building this plugin (about 10 minutes on 2 cores the first time)"
    cargo build --quiet --release --locked
    PLUGIN=target/release/libgstmoq.so
fi

say "Building gst-plugin-webrtc $WEBRTC_VERSION (about 10 minutes on 2 cores the first time)"
build_webrtc

say "Building the benchmark (about 5 minutes on 2 cores the first time)"
cargo build --quiet --release --locked --bench rate_control
program=$(cargo build --quiet --release --locked --bench rate_control --message-format json |
    sed -n 's/.*"executable":"\([^"]*rate_control[^"]*\)".*/\1/p' | tail -n 1)

say "Measuring"
"$program" --plugin "$PLUGIN" "$@"
