#!/bin/bash
# SPDX-License-Identifier: MIT
# GStreamer 1.22.0 ccconverter (Debian 12, plugins-bad 1.22.0-4+deb12u8).
# 60 CDPs at 30 fps, 33 ms each, are converted to other frame rates.
# Expected: one packet for each frame of the new rate, with its time and
#   duration: 120 at 60 fps, 16.7 ms apart; 50 at 25 fps, 40 ms apart.
# Seen: at 60 fps 120 packets in pairs of one PTS, each of 33 ms; at 25 fps 54
#   packets, the first at 33 ms, 0, 33 or 67 ms apart, of 33 ms. Only the caps
#   have the new rate.
. "$(dirname "$(readlink -f "$0")")/common.bash"
need_gst; need_gi
cat >cc.py <<'P'
import gi
gi.require_version('Gst', '1.0')
gi.require_version('GstApp', '1.0')
from gi.repository import Gst, GstApp
Gst.init(None)
CDP = 'closedcaption/x-cea-708,format=cdp,framerate='

def odd(byte):
    return byte | (0x80 if bin(byte).count('1') % 2 == 0 else 0)

def convert(rate):
    p = Gst.parse_launch('appsrc name=s format=time caps=closedcaption/x-cea-608,format=raw,field=0,framerate=30/1'
                         f' ! ccconverter ! {CDP}30/1 ! ccconverter ! {CDP}{rate} ! appsink name=o sync=false')
    p.set_state(Gst.State.PLAYING)
    for i in range(60):
        b = Gst.Buffer.new_wrapped(bytes([odd(65 + i % 26), odd(97 + i % 26)]))
        b.pts, b.duration = i * Gst.SECOND // 30, Gst.SECOND // 30
        p.get_by_name('s').emit('push-buffer', b)
    p.get_by_name('s').emit('end-of-stream')
    out = [s.get_buffer() for s in iter(lambda: p.get_by_name('o').emit('pull-sample'), None)]
    p.set_state(Gst.State.NULL)
    ms = lambda t: round(t / Gst.MSECOND)
    gaps = sorted({ms(b.pts - a.pts) for a, b in zip(out, out[1:])})
    return f'{len(out)} packets, first {ms(out[0].pts)}, apart {gaps}, of {sorted({ms(b.duration) for b in out})}'

for rate in '30/1', '60/1', '25/1':
    print(rate, convert(rate))
P
got=$($PY cc.py)
same "packets" "30/1 60 packets, first 0, apart [33], of [33]
60/1 120 packets, first 0, apart [0, 33], of [33]
25/1 54 packets, first 33, apart [0, 33, 67], of [33]" "$got"
seen "${got//$'\n'/; }"
