#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Checks formatting, lints, tests and documentation.
# Installs and builds what it needs; arguments are passed to nextest.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=../.ci/setup.sh
source .ci/setup.sh

require_rust
install_packages "${PACKAGES[@]}"

if ! cargo fmt --version >/dev/null 2>&1 || ! cargo clippy --version >/dev/null 2>&1; then
    say "Installing rustfmt and clippy"
    command -v rustup >/dev/null || fail "rustfmt and clippy are missing, and so is rustup to install them."
    rustup component add rustfmt clippy
fi
if ! cargo nextest --version >/dev/null 2>&1; then
    say "Installing cargo-nextest (about 10 minutes on 2 cores)"
    cargo install --quiet cargo-nextest --locked
fi

# Relay and client read these; the tests mean their own settings.
while read -r name; do
    unset "$name"
done < <(compgen -e MOQ_ || true)

say "Checking the format"
cargo fmt --check

say "Linting (builds the dependencies, about 15 minutes on 2 cores the first time)"
cargo clippy --quiet --locked --all-targets -- -D warnings

# With fatal warnings a plugin of the system that warns while it is scanned would be blacklisted.
say "Scanning GStreamer's plugins"
gst-inspect-1.0 >/dev/null

say "Building the tests (about 15 minutes on 2 cores the first time)"
cargo nextest run --locked --no-run --cargo-quiet

say "Running the tests"
G_DEBUG=fatal_warnings cargo nextest run --locked --cargo-quiet "$@"

say "Running the examples of the documentation"
cargo test --quiet --locked --doc

say "Building the documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --quiet --locked --no-deps --document-private-items

say "All checks passed"
