#!/bin/bash
# SPDX-License-Identifier: MIT
# GStreamer 1.22.0 (Debian 12): x265enc, libde265dec (plugins-bad). 90 frames
# of 30 fps go in, each when the one before was taken and 60 ms have passed.
# Expected: the LATENCY query says how many frames a codec holds, so that a
#   live pipeline waits long enough for them.
# Seen: x265enc says 5 frames and holds 27 with its defaults (x264enc says 46
#   and holds 46); libde265dec says 0 and holds 2 of a stream without B-frames.
. "$(dirname "$(readlink -f "$0")")/common.bash"
need_gst; need_gi
cat >held.py <<'P'
import sys, time
import gi
gi.require_version('Gst', '1.0')
gi.require_version('GstApp', '1.0')
from gi.repository import Gst, GstApp
Gst.init(None)
FRAME = Gst.SECOND // 30

def feed(element, caps, buffers):
    p = Gst.parse_launch(f'appsrc name=s is-live=true format=time ! {element} name=e ! appsink name=o sync=false async=false')
    src, out = p.get_by_name('s'), p.get_by_name('o')
    src.set_property('caps', caps)
    p.set_state(Gst.State.PLAYING)
    held = came = 0
    for n, buffer in enumerate(buffers, 1):
        src.emit('push-buffer', buffer)
        taken = time.time() + 10
        while src.get_property('current-level-buffers') and time.time() < taken:
            time.sleep(.001)
        end = time.time() + .06
        while time.time() < end:
            came += out.emit('try-pull-sample', 5 * Gst.MSECOND) is not None
        held = max(held, n - came)
    query = Gst.Query.new_latency()
    p.get_by_name('e').get_static_pad('src').query(query)
    p.set_state(Gst.State.NULL)
    return f'says {round(query.parse_latency()[1] / FRAME)}, holds {held}'

def raw():
    for n in range(90):
        b = Gst.Buffer.new_allocate(None, 160 * 120 * 3 // 2, None)
        b.memset(0, n * 7 % 250, 160 * 120)
        b.pts, b.duration = n * FRAME, FRAME
        yield b

def encoded(encoder):
    p = Gst.parse_launch(f'videotestsrc num-buffers=90 ! video/x-raw,format=I420,width=160,height=120,framerate=30/1 ! {encoder} ! appsink name=o sync=false')
    out = p.get_by_name('o')
    p.set_state(Gst.State.PLAYING)
    samples = list(iter(lambda: out.emit('pull-sample'), None))
    p.set_state(Gst.State.NULL)
    return samples[0].get_caps(), [s.get_buffer().copy() for s in samples]

I420 = Gst.Caps.from_string('video/x-raw,format=I420,width=160,height=120,framerate=30/1')
for encoder in 'x264enc', 'x265enc':
    print(encoder, feed(encoder, I420, raw()))
print('libde265dec', feed('libde265dec', *encoded('x265enc tune=zerolatency ! h265parse')))
P
got=$($PY held.py)
same "frames" "x264enc says 46, holds 46
x265enc says 5, holds 27
libde265dec says 0, holds 2" "$got"
seen "${got//$'\n'/; }"
