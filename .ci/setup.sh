# SPDX-License-Identifier: MIT
# What the demo and the tests need on a Debian machine; sourced by both.

# What the relay of the demo and the tests needs; the plugin alone is built with Cargo.toml's rust-version.
RUST_NEEDED=1.95
PACKAGES=(
    libgstreamer1.0-dev
    libgstreamer-plugins-base1.0-dev
    gstreamer1.0-tools
    gstreamer1.0-plugins-base
    gstreamer1.0-plugins-base-apps
    gstreamer1.0-plugins-good
    gstreamer1.0-plugins-bad
    gstreamer1.0-plugins-ugly
    gstreamer1.0-libav
    # Its demuxer reads what is published in fragments, in a test.
    ffmpeg
    # Pango's text overlay, and letters for it.
    gstreamer1.0-x
    fonts-dejavu-core
    # A network of its own for some tests.
    iproute2
    pkg-config
    cmake
    clang
    build-essential
)
# Windows and loudspeakers; without a display nobody sees or hears them.
DISPLAY_PACKAGES=(gstreamer1.0-gl gstreamer1.0-alsa gstreamer1.0-pulseaudio)
# What the bundler of the web pages needs.
NODE_NEEDED=18

say() {
    printf '==> %s\n' "$*"
}

fail() {
    printf '==> %s\n' "$*" >&2
    exit 1
}

# Ends with advice unless rustc is there and recent enough.
require_rust() {
    # A new shell may not have read what rustup wrote into the profile.
    PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
    if ! command -v rustc >/dev/null || ! command -v cargo >/dev/null; then
        fail "Rust $RUST_NEEDED or later is missing. Install it as https://rustup.rs says, then run this again."
    fi
    local found oldest
    if ! found=$(rustc --version); then
        fail "rustc does not run. 'rustup default stable' may help; then run this again."
    fi
    found=${found#rustc }
    found=${found%% *}
    oldest=$(printf '%s\n' "$RUST_NEEDED" "${found%%-*}" | sort -V | head -n 1)
    if [ "$oldest" != "$RUST_NEEDED" ]; then
        fail "Rust $RUST_NEEDED or later is needed, this is $found. Run 'rustup update stable', then run this again."
    fi
    say "Rust $found"
}

# Runs a command as root.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "Root is needed and sudo is missing. As root, run: $*"
    fi
}

# Installs those of the named Debian packages that are missing.
install_packages() {
    local package missing=()
    if ! command -v dpkg-query >/dev/null; then
        say "This is no Debian; what these packages hold must be there: $*"
        return
    fi
    for package in "$@"; do
        if ! dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed; then
            missing+=("$package")
        fi
    done
    if [ "${#missing[@]}" -eq 0 ]; then
        say "Debian packages: all there"
        return
    fi
    say "Installing Debian packages: ${missing[*]}"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# Installs Debian's Node.js and npm unless there are others, and ends with advice if they are too old.
require_node() {
    local found
    if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
        install_packages nodejs npm
    fi
    found=$(node --version) || fail "Node.js $NODE_NEEDED or later is missing, with npm."
    found=${found#v}
    [ "${found%%.*}" -ge "$NODE_NEEDED" ] || fail "Node.js $NODE_NEEDED or later is needed, this is $found."
    say "Node.js $found"
}

# Installs the npm packages that a folder's package-lock.json names, unless they are there.
install_npm_packages() {
    if [ "$1/package-lock.json" -nt "$1/node_modules/.package-lock.json" ]; then
        say "Installing npm packages for ${1##*/}"
        npm ci --prefix "$1" --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
    fi
}
