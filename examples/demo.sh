#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Publishes a clip through a MoQ relay, plays it back and shows how well that goes.
# Installs and builds what it needs; the options are those of `demo --help`.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=../.ci/setup.sh
source "$root/.ci/setup.sh"

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
