#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Compares this plugin with the MoQ crates alone, moq-gst, SRT and RTP; `--help` lists the parts.
# Installs and builds what it needs. The results go to target/side-by-side.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=../.ci/setup.sh
source .ci/setup.sh

OTHER=moq-gst
OTHER_VERSION=0.4.20

# Leaves the source of the other plugin in target/moq-gst/source.
fetch_other() {
    local folder=target/$OTHER source
    if [ -f "$folder/source/Cargo.toml" ]; then
        # Both plugins stand on the same versions of the MoQ crates.
        cp Cargo.lock "$folder/source/Cargo.lock"
        return
    fi
    mkdir -p "$folder/fetch/src"
    cat >"$folder/fetch/Cargo.toml" <<TOML
[package]
name = "fetch"
version = "0.0.0"
edition = "2024"

[dependencies]
$OTHER = "=$OTHER_VERSION"

[workspace]
TOML
    touch "$folder/fetch/src/lib.rs"
    cargo fetch --quiet --manifest-path "$folder/fetch/Cargo.toml"
    source=$(find "${CARGO_HOME:-$HOME/.cargo}/registry/src" -maxdepth 2 -name "$OTHER-$OTHER_VERSION" | head -n 1)
    [ -n "$source" ] || fail "cargo has fetched $OTHER $OTHER_VERSION to an unknown place."
    rm -rf "$folder/unpacked"
    cp -r "$source" "$folder/unpacked"
    # A package in the tree of another one is taken for a part of it.
    printf '\n[workspace]\n' >>"$folder/unpacked/Cargo.toml"
    cp Cargo.lock "$folder/unpacked/Cargo.lock"
    mv "$folder/unpacked" "$folder/source"
}

require_rust
install_packages "${PACKAGES[@]}" valgrind

# Relay and clients read these; the benchmark means its own settings.
while read -r name; do
    unset "$name"
done < <(compgen -e MOQ_ || true)

# Where the benchmark looks for the plugins.
export CARGO_TARGET_DIR=$PWD/target

say "Building this plugin (about 10 minutes on 2 cores the first time)"
cargo build --quiet --release --locked

say "Building $OTHER $OTHER_VERSION (about 10 minutes on 2 cores the first time)"
fetch_other
# With the settings of this one's release profile.
cargo build --quiet --release --manifest-path "target/$OTHER/source/Cargo.toml" --target-dir "target/$OTHER" \
    --config 'profile.release.lto="thin"' --config profile.release.strip=true

say "Building the benchmark (about 5 minutes on 2 cores the first time)"
cargo build --quiet --release --locked --bench side_by_side
program=$(cargo build --quiet --release --locked --bench side_by_side --message-format json |
    sed -n 's/.*"executable":"\([^"]*side_by_side[^"]*\)".*/\1/p' | tail -n 1)

say "Measuring"
"$program" "$@"
