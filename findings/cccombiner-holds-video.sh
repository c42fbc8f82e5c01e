#!/bin/bash
# SPDX-License-Identifier: MIT
# cccombiner 1.22.0 (Debian 12, gstreamer1.0-plugins-bad 1.22.0-4+deb12u8).
# 50 video frames at 25 fps go in at once, and captions at 0 and 1.0 s only.
# Expected: captions are sparse, so frames without one pass when they come;
#   at most the frames that wait for a caption with their own time are held.
# Seen: a linked caption pad holds all video. 0.7 s after the caption at 0 s no
#   frame has left, as nothing says that no caption comes. A GAP event
#   for 0.04-1.0 s lets 25 frames go, the caption at 1.0 s no further one, and
#   EOS on the caption pad the other 25.
. "$(dirname "$(readlink -f "$0")")/common.bash"
need_gst; need_gi
cat >cc.py <<'P'
import time
import gi
gi.require_version('Gst', '1.0')
from gi.repository import Gst
Gst.init(None)
MS = Gst.MSECOND
p = Gst.parse_launch('appsrc name=v format=time caps=video/x-raw,format=I420,width=64,height=64,framerate=25/1 ! cccombiner name=c'
                     ' ! fakesink name=k sync=false appsrc name=t format=time caps=closedcaption/x-cea-708,format=cc_data,framerate=25/1'
                     ' ! identity name=i ! c.caption')
video, text = p.get_by_name('v'), p.get_by_name('t')
left = [0]

def count(_pad, _info):
    left[0] += 1
    return Gst.PadProbeReturn.OK

def push(src, data, ms):
    b = Gst.Buffer.new_wrapped(data)
    b.pts, b.duration = ms * MS, 40 * MS
    src.emit('push-buffer', b)

def say(what):
    time.sleep(0.7)
    print(what, left[0])

p.get_by_name('k').get_static_pad('sink').add_probe(Gst.PadProbeType.BUFFER, count)
p.set_state(Gst.State.PLAYING)
for i in range(50):
    push(video, bytes(64 * 64 * 3 // 2), 40 * i)
push(text, bytes([0xfc, 0x94, 0x2c]), 0)
say('caption')
p.get_by_name('i').get_static_pad('src').push_event(Gst.Event.new_gap(40 * MS, 960 * MS))
say('GAP')
push(text, bytes([0xfc, 0x94, 0x2c]), 1000)
say('caption')
text.emit('end-of-stream')
say('EOS')
p.set_state(Gst.State.NULL)
P
r=$(nice -n 15 $PY cc.py | xargs)
same "frames out" "caption 0 GAP 25 caption 25 EOS 50" "$r"
seen "frames out after each event: $r"
