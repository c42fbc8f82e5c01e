#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Measures which rendition moqsrc and shaka-player show on a path that changes; `--help` lists the options.
# Installs and builds what it needs. The results go to target/adaptive.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=../.ci/setup.sh
source .ci/setup.sh

SHAKA_VERSION=5.2.12
PLAYWRIGHT_VERSION=1.60.0

require_rust
install_packages "${PACKAGES[@]}" chromium nodejs npm

# The elements mean their own settings.
while read -r name; do
    unset "$name"
done < <(compgen -e MOQ_ || true)

say "Installing shaka-player $SHAKA_VERSION"
npm install --silent --no-audit --no-fund --prefix target/adaptive \
    "shaka-player@$SHAKA_VERSION" "playwright-core@$PLAYWRIGHT_VERSION"

say "Building the benchmark (about 10 minutes on 2 cores the first time)"
cargo build --quiet --release --locked --bench adaptive
program=$(cargo build --quiet --release --locked --bench adaptive --message-format json |
    sed -n 's/.*"executable":"\([^"]*adaptive[^"]*\)".*/\1/p' | tail -n 1)

say "Measuring"
"$program" "$@"
