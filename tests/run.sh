#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Checks formatting, dependencies, lints, tests and documentation.
# Installs and builds what it needs; arguments are passed to nextest.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=../.ci/setup.sh
source .ci/setup.sh

require_rust
install_packages "${PACKAGES[@]}" chromium
require_node
install_npm_packages examples/web
install_npm_packages tests/browser

if ! cargo fmt --version >/dev/null 2>&1 || ! cargo clippy --version >/dev/null 2>&1; then
    say "Installing rustfmt and clippy"
    command -v rustup >/dev/null || fail "rustfmt and clippy are missing, and so is rustup to install them."
    rustup component add rustfmt clippy
fi
if ! cargo nextest --version >/dev/null 2>&1; then
    say "Installing cargo-nextest (about 10 minutes on 2 cores)"
    cargo install --quiet cargo-nextest --locked
fi
if ! cargo deny --version >/dev/null 2>&1; then
    say "Installing cargo-deny (about 2 minutes on 2 cores)"
    CARGO_PROFILE_DEV_DEBUG=0 cargo install --quiet cargo-deny --locked --debug
fi

# Relay and client read these; the tests mean their own settings.
while read -r name; do
    unset "$name"
done < <(compgen -e MOQ_ || true)

say "Checking the format"
cargo fmt --check

say "Checking the dependencies"
cargo deny --locked check licenses bans sources
if timeout 60 cargo deny fetch db >/dev/null 2>&1; then
    cargo deny --frozen check advisories
else
    say "The database of advisories is out of reach: they are not checked"
fi

say "Linting (checks the dependencies, about 5 minutes on 2 cores the first time)"
cargo clippy --quiet --locked --all-targets -- -D warnings

# With fatal warnings a plugin of the system that warns while it is scanned would be blacklisted.
say "Scanning GStreamer's plugins"
gst-inspect-1.0 >/dev/null

say "Building the tests (about 5 minutes on 2 cores the first time)"
cargo nextest run --locked --no-run --cargo-quiet

say "Running the tests"
G_DEBUG=fatal_warnings cargo nextest run --locked --cargo-quiet "$@"

say "Running the examples of the documentation"
cargo test --quiet --locked --doc

# With the examples, dependencies have the features of tests, for which they are checked already.
say "Building the documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --quiet --locked --no-deps --document-private-items --lib --examples

say "All checks passed"
