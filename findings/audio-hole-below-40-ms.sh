#!/bin/bash
# SPDX-License-Identifier: MIT
# audiorate and audiomixer 1.22.0 (Debian 12, gstreamer1.0-plugins-base
# 1.22.0-3+deb12u7), with their default properties.
# Input: 3 s of 48 kHz audio in buffers of 10 ms with exact timestamps, a hole
# after 0.5 s, and a click 2.3 s after the hole.
# Expected: audiorate, made to give "a perfect stream", fills the hole, and
#   the click leaves with the timestamp it came with.
# Seen: a hole of 20 or 39 ms is never filled, and all that follows stays 20
#   or 39 ms early. 45 ms is filled. Both have a threshold of 40 ms, audiorate's
#   `tolerance` and audiomixer's `alignment-threshold`. After a second hole of
#   20 ms audiorate is 40 ms early for good; audiomixer catches up, at the
#   end of its `discont-wait` of 1 s. With a threshold of 1 ms every hole is filled.
. "$(dirname "$(readlink -f "$0")")/common.bash"
need_gst; need_gi
cat >hole.py <<'P'
import struct, sys
import gi
gi.require_version('Gst', '1.0')
from gi.repository import Gst
Gst.init(None)
MS = Gst.MSECOND

def early(element, holes):
    """By how many ms the click leaves too early."""
    p = Gst.parse_launch('appsrc name=s format=time caps=audio/x-raw,format=S16LE,rate=48000,channels=1,layout=interleaved'
                         f' ! {element} ! appsink name=k sync=false')
    s, k = p.get_by_name('s'), p.get_by_name('k')
    p.set_state(Gst.State.PLAYING)
    t, came, left = 0, None, None
    for i in range(300):
        t += holes.get(i, 0) * MS
        d = bytearray(960)
        if i == 280:
            d[0:2], came = struct.pack('<h', 30000), t
        b = Gst.Buffer.new_wrapped(bytes(d))
        b.pts, b.duration = t, 10 * MS
        t += b.duration
        s.emit('push-buffer', b)
    s.emit('end-of-stream')
    while (x := k.emit('pull-sample')):
        b = x.get_buffer()
        samples = struct.unpack(f'<{b.get_size() // 2}h', b.extract_dup(0, b.get_size()))
        for j, v in enumerate(samples):
            if v > 20000:
                left = b.pts + j * Gst.SECOND // 48000
    p.set_state(Gst.State.NULL)
    return round((came - left) / MS)

for e in sys.argv[1:]:
    print(e.split()[0], *[early(e, h) for h in ({50: 20}, {50: 39}, {50: 45}, {50: 20, 90: 20})])
P
r=$(nice -n 15 $PY hole.py audiorate audiomixer "audiorate tolerance=1000000" "audiomixer alignment-threshold=1000000 discont-wait=0")
same "ms early after holes of 20, 39, 45, 20 and 20 ms" "audiorate 20 39 0 40
audiomixer 20 39 0 0
audiorate 0 0 0 0
audiomixer 0 0 0 0" "$r"
seen "ms early after holes of 20, 39, 45, twice 20: audiorate 20 39 0 40, audiomixer 20 39 0 0; with a threshold of 1 ms: none"
