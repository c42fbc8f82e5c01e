#!/bin/bash
# SPDX-License-Identifier: MIT
# aacparse and h265parse 1.22.0 (Debian 12, gstreamer1.0-plugins-good
# 1.22.0-5+deb12u4 and -bad 1.22.0-4+deb12u8).
# A GAP event comes before the first buffer, as sources send it to let a
# pipeline start; then ADTS AAC, or H.265 as a byte stream.
# Expected: the GAP passes, and the first caps tell what the stream is, as
#   they do without the GAP.
# Seen: the parser must send caps before the GAP and makes them up from what
#   downstream takes. aacparse says mpegversion=2, stream-format=raw, and
#   h265parse says stream-format=hvc1, both without codec_data; the right caps
#   (mpegversion=4 adts; byte-stream) follow with the first buffer.
. "$(dirname "$(readlink -f "$0")")/common.bash"
need_gst; need_gi
cat >gap.py <<'P'
import sys
import gi
gi.require_version('Gst', '1.0')
from gi.repository import Gst
Gst.init(None)

def packets(source):
    p = Gst.parse_launch(source + ' ! appsink name=k sync=false')
    p.set_state(Gst.State.PLAYING)
    out = []
    while (x := p.get_by_name('k').emit('pull-sample')):
        out.append(x)
    p.set_state(Gst.State.NULL)
    return out

def run(samples, parser, gap):
    p = Gst.parse_launch(f'appsrc name=s format=time ! identity name=i ! {parser} ! fakesink name=k sync=false async=false')
    s, out, first = p.get_by_name('s'), [], [gap]
    s.set_property('caps', samples[0].get_caps())

    def before(pad, info):
        if first[0]:
            first[0] = False
            pad.push_event(Gst.Event.new_gap(0, 20 * Gst.MSECOND))
        return Gst.PadProbeReturn.OK

    def event(_pad, info):
        e = info.get_event()
        if e.type == Gst.EventType.CAPS:
            c = e.parse_caps().get_structure(0)
            said = [str(c.get_value(f)) for f in ('mpegversion', 'stream-format') if c.has_field(f)]
            out.append(' '.join(said + ['codec_data'] * c.has_field('codec_data')))
        elif e.type == Gst.EventType.GAP:
            out.append('GAP')
        return Gst.PadProbeReturn.OK

    p.get_by_name('i').get_static_pad('src').add_probe(Gst.PadProbeType.BUFFER, before)
    p.get_by_name('k').get_static_pad('sink').add_probe(Gst.PadProbeType.EVENT_DOWNSTREAM, event)
    p.set_state(Gst.State.PLAYING)
    for x in samples:
        s.emit('push-buffer', x.get_buffer())
    s.emit('end-of-stream')
    p.get_bus().timed_pop_filtered(10 * Gst.SECOND, Gst.MessageType.EOS | Gst.MessageType.ERROR)
    p.set_state(Gst.State.NULL)
    return ', '.join(out)

aac = packets('audiotestsrc num-buffers=20 samplesperbuffer=1024 ! audio/x-raw,rate=48000,channels=1 ! avenc_aac ! aacparse ! audio/mpeg,stream-format=adts')
hevc = packets('videotestsrc num-buffers=10 ! video/x-raw,format=I420,width=64,height=64,framerate=25/1 ! x265enc ! h265parse ! video/x-h265,stream-format=byte-stream,alignment=au')
for samples, parser in ((aac, 'aacparse'), (hevc, 'h265parse')):
    print(parser, '|', run(samples, parser, False), '|', run(samples, parser, True))
P
same "parser | caps without a GAP | with one" "aacparse | 4 adts | 2 raw, GAP, 4 adts
h265parse | byte-stream | hvc1, GAP, byte-stream" "$(nice -n 15 $PY gap.py 2>/dev/null)"
seen "with a GAP first: aacparse says mpegversion 2 raw, then 4 adts; h265parse says hvc1, then byte-stream"
