#!/bin/bash
# SPDX-License-Identifier: MIT
# GStreamer 1.22.0 (Debian 12): audio encoders and their decoders.
# Input: 0.5 s of silence, then a tone; `ENC ! DEC`, timestamps as they come.
# Expected: the tone leaves with timestamp 0.5 s after each pair.
# Seen: within 1 ms with Opus, Vorbis and FLAC, which account for their delay.
#   21 ms late with avenc_aac, 33 ms late with voaacenc, 23 ms late with
#   lamemp3enc, 5 ms late with AC-3: the first packet has PTS 0 though it
#   starts with priming, and nothing (caps, meta, clipping) says so.
. "$(dirname "$(readlink -f "$0")")/common.bash"
need_gst; need_gi
cat >delay.py <<'P'
import math, struct, sys
import gi
gi.require_version('Gst', '1.0')
from gi.repository import Gst
Gst.init(None)

def late(codec):
    p = Gst.parse_launch('appsrc name=s format=time caps=audio/x-raw,format=S16LE,rate=48000,channels=1,layout=interleaved'
                         f' ! audioconvert ! {codec} ! audioconvert ! audio/x-raw,format=S16LE,channels=1,rate=48000 ! appsink name=k sync=false')
    s, k = p.get_by_name('s'), p.get_by_name('k')
    p.set_state(Gst.State.PLAYING)
    for i in range(100):
        d = [int(20000 * math.sin(2 * math.pi * j / 48)) if i >= 50 else 0 for j in range(480)]
        b = Gst.Buffer.new_wrapped(struct.pack('<480h', *d))
        b.pts, b.duration = i * 10 * Gst.MSECOND, 10 * Gst.MSECOND
        s.emit('push-buffer', b)
    s.emit('end-of-stream')
    at = None
    while (x := k.emit('pull-sample')):
        b = x.get_buffer()
        for j, v in enumerate(struct.unpack(f'<{b.get_size() // 2}h', b.extract_dup(0, b.get_size()))):
            if abs(v) > 8000 and at is None:
                at = b.pts / 1e6 + j / 48
    p.set_state(Gst.State.NULL)
    return int(at - 500)

print(*[f"{c.split()[0]} {late(c)}" for c in sys.argv[1:]], sep=', ')
P
r=$(nice -n 15 $PY delay.py "opusenc ! opusdec" "vorbisenc ! vorbisdec" "flacenc ! flacparse ! flacdec" "avenc_aac ! avdec_aac" "voaacenc ! avdec_aac" \
    "lamemp3enc ! mpegaudioparse ! mpg123audiodec" "avenc_ac3 ! avdec_ac3")
same "ms late" "opusenc 0, vorbisenc 0, flacenc 0, avenc_aac 21, voaacenc 33, lamemp3enc 23, avenc_ac3 5" "$r"
seen "ms late: $r"
