#!/bin/bash
# SPDX-License-Identifier: MIT
# Chromium 156.0.8078.108 (Debian 12), driven by playwright-core 1.65.1 (npm);
# the file is made by ffmpeg 5.1.9 and its boxes changed by a few lines below.
# 3 s of H.264 at 25 fps, one frame in each fragment with its own tfdt; the
# sample duration stands in tfhd, only in trex, or is 0.
# Expected: with one frame in a fragment the next tfdt tells the duration, so
#   the value is of no use.
# Seen: trex is as good as tfhd (buffered 0-3 s). With 0 each fragment is
#   taken as 1 us long: 75 are appended without an error, the buffered ranges
#   are 0-0.000001, 1-1.000001 and 2-2.000001 (the keyframes alone).
#   ffmpeg reads the same file as 75 frames with the right times.
. "$(dirname "$(readlink -f "$0")")/common.bash"
need_ffmpeg; need_chromium
ffmpeg -v error -f lavfi -i testsrc2=s=320x240:r=25:d=3 -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 25 -bf 0 \
    -movflags frag_every_frame+empty_moov+default_base_moof tfhd.mp4
cat >durations.py <<'P'
import struct

def boxes(b):
    o = 0
    while o < len(b):
        n, kind = struct.unpack_from('>I4s', b, o)
        yield kind, b[o + 8:o + n]
        o += n

def moved(b, cut):
    """The boxes of b with tfhd's sample duration taken out and trun's offset mended."""
    out = b''
    for kind, p in boxes(b):
        if kind in (b'moof', b'traf'):
            p = moved(p, cut)
        elif kind == b'tfhd':
            flags, = struct.unpack_from('>I', p)
            assert flags & 8 and not flags & 3
            said.append(struct.unpack_from('>I', p, 8)[0])
            p = struct.pack('>I', flags & ~8) + p[4:8] + p[12:]
        elif kind == b'trun':
            assert struct.unpack_from('>I', p)[0] & 0x101 == 1
            p = p[:8] + struct.pack('>i', struct.unpack_from('>i', p, 8)[0] - cut) + p[12:]
        out += struct.pack('>I4s', 8 + len(p), kind) + p
    return out

said = []
none = moved(open('tfhd.mp4', 'rb').read(), 4)
at = none.index(b'trex') + 16
assert len(set(said)) == 1
open('none.mp4', 'wb').write(none)
open('trex.mp4', 'wb').write(none[:at] + struct.pack('>I', said[0]) + none[at + 4:])
P
$PY durations.py
same "ffmpeg's times without durations" "75 frames, last 2.960000" \
    "$(ffprobe -v error -show_entries frame=pts_time -of csv=p=0 none.mp4 | tr -d , | awk 'NF { n++; t = $1 } END { print n " frames, last " t }')"
mapfile -t r < <(chromium_plays mse:tfhd.mp4 mse:trex.mp4 mse:none.mp4 | sed 's/;.*error/; error/')
same "tfhd" "ranges 0-3; error null" "${r[0]}"
same "trex" "ranges 0-3; error null" "${r[1]}"
same "none" "ranges 0-0.000001 1-1.000001 2-2.000001; error null" "${r[2]}"
seen "duration in tfhd or trex: buffered 0-3 s; without: 0-0.000001 1-1.000001 2-2.000001, no error"
