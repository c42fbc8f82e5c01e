# SPDX-License-Identifier: MIT
# Shared by the findings; source it first. It makes a temporary folder, goes
# there, and removes it at the end.
set -eu
HERE=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
cd "$T"
export GST_DEBUG_NO_COLOR=1 GST_REGISTRY="$T/registry.bin" LC_ALL=C
PY=/usr/bin/python3

# need PACKAGE VERSION: a Debian package in exactly this version.
need() {
    [ "$(dpkg-query -W -f '${Version}' "$1" 2>/dev/null)" = "$2" ] && return
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --allow-downgrades "$1=$2" >/dev/null 2>&1 && return
    echo "NOT TRIED: $1 $2 cannot be installed here"
    exit 2
}
need_gst() {
    need gstreamer1.0-tools 1.22.0-2+deb12u1
    need gstreamer1.0-plugins-base 1.22.0-3+deb12u7
    need gstreamer1.0-plugins-good 1.22.0-5+deb12u4
    need gstreamer1.0-plugins-bad 1.22.0-4+deb12u8
    need gstreamer1.0-plugins-ugly 1.22.0-2+deb12u2
    need gstreamer1.0-libav 1.22.0-2
}
need_gi() {
    need python3-gi 3.42.2-3+b1
    need gir1.2-gstreamer-1.0 1.22.0-2+deb12u1
}
need_ffmpeg() { need ffmpeg 7:5.1.9-0+deb12u1; }
need_chromium() {
    need chromium 156.0.8078.108-1~deb12u1
    npm install --silent --no-audit --no-fund --prefix "$T" playwright-core@1.65.1 >/dev/null ||
        { echo "NOT TRIED: playwright-core 1.65.1 cannot be installed here"; exit 2; }
}

seen() { echo "SEEN: $*"; }
gone() { echo "NO LONGER SEEN: $*"; exit 1; }
# same WHAT EXPECTED GOT
same() { [ "$2" = "$3" ] || gone "$1: '${3//$'\n'/ / }', was '${2//$'\n'/ / }'"; }

# One line for each frame that ffmpeg decodes, and for each packet it reads.
frames() { ffprobe -v quiet -select_streams v -show_entries frame=pkt_size -of csv=p=0 "$1" | grep -c . || true; }
packets() { ffprobe -v quiet -select_streams v -show_entries packet=size -of csv=p=0 "$1" | grep -c . || true; }
chromium_plays() { T="$T" nice -n 15 node "$HERE/chromium.js" "$@"; }
