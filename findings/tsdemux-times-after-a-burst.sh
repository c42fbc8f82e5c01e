#!/bin/bash
# SPDX-License-Identifier: MIT
# GStreamer 1.22.0 tsdemux (Debian 12), on live input as from srtsrc or udpsrc.
# Expected: when a sender delivers what it has stored up and then goes on in
#   real time, timestamps advance by 1 s a second.
# Seen: 3 s of a stream at once, then real time: the timestamps are ahead of
#   the clock, and for some 15 s they advance by 5 % less than they should; who
#   plays or publishes by them has sound and pictures 5 % too fast.
. "$(dirname "$(readlink -f "$0")")/common.bash"
need_gst; need_gi
gst-launch-1.0 -q audiotestsrc num-buffers=700 samplesperbuffer=1024 ! audio/x-raw,rate=44100 ! \
    audioconvert ! avenc_aac ! aacparse ! mpegtsmux alignment=1 ! filesink location=a.ts
cat >burst.py <<'P'
import sys, time
import gi
gi.require_version('Gst', '1.0')
from gi.repository import Gst
Gst.init(None)
burst = float(sys.argv[1])
data = open('a.ts', 'rb').read()
p = Gst.parse_launch('appsrc name=i is-live=true format=time do-timestamp=true caps=video/mpegts,systemstream=true,packetsize=188'
    ' ! tsdemux ! aacparse ! fakesink name=o sync=false async=false signal-handoffs=true')
times = []
clock = lambda: (p.get_clock().get_time() - p.get_base_time()) / 1e9
p.get_by_name('o').connect('handoff', lambda s, b, pad: times.append((clock(), b.pts / 1e9)))
p.set_state(Gst.State.PLAYING)
length = 700 * 1024 / 44100
start = time.monotonic()
for at in range(0, len(data), 188):
    wait = start + max(0, at / len(data) * length - burst) - time.monotonic()
    if wait > 0: time.sleep(wait)
    p.get_by_name('i').emit('push-buffer', Gst.Buffer.new_wrapped(data[at:at + 188]))
a, b = [next(t for t in times if t[0] > x) for x in (4, 10)]
p.set_state(Gst.State.NULL)
print(f'{(b[1] - a[1]) / (b[0] - a[0]):.2f}')
P
steady=$($PY burst.py 0 2>/dev/null) burst=$($PY burst.py 3 2>/dev/null)
same "steady" 1.00 "$steady"
case $burst in
0.9[3-7]) seen "from 4 to 10 s after the start, PTS advance by $steady s a second, after a burst of 3 s by $burst" ;;
*) gone "after a burst PTS advance by $burst s a second" ;;
esac
