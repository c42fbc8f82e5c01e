#!/bin/bash
# SPDX-License-Identifier: MIT
# GStreamer 1.22.0 encoders (Debian 12: libx264 164, x265 3.5, openh264 2.3.1,
# libvpx 1.12, libaom 3.6). The bitrate is set to four times as much after half
# of the stream, in PLAYING, as a rate control does it.
# Expected: the encoder follows, and makes no keyframe for it; one that cannot
#   says so.
# Seen: x264enc and vp9enc do. x265enc and openh264enc begin anew with a
#   keyframe when it is set up here. avenc_aac, voaacenc and lamemp3enc go on as before without
#   a word. av1enc does too, and keeps to no bitrate from the start: its default
#   max-quantizer=0 is the best quality; with 63 it follows.
. "$(dirname "$(readlink -f "$0")")/common.bash"
need_gst; need_gi
cat >rate.py <<'P'
import gi
gi.require_version('Gst', '1.0')
from gi.repository import Gst
Gst.init(None)
VIDEO = ('videotestsrc pattern=zone-plate kx2=20 ky2=20 kt=1 num-buffers=240'
         ' ! video/x-raw,format=I420,width=160,height=120,framerate=30/1')
AUDIO = 'audiotestsrc wave=pink-noise num-buffers=240 samplesperbuffer=960 ! audio/x-raw,rate=48000,channels=2'

def run(source, encoder, name, low):
    p = Gst.parse_launch(f'{source} ! {encoder} name=e ! appsink name=o sync=false')
    e, out, came = p.get_by_name('e'), p.get_by_name('o'), [0]
    e.set_property(name, low)

    def count(_pad, _info):
        came[0] += 1
        if came[0] == 120:
            e.set_property(name, 4 * low)
        return Gst.PadProbeReturn.OK
    e.get_static_pad('sink').add_probe(Gst.PadProbeType.BUFFER, count)
    p.set_state(Gst.State.PLAYING)
    frames = [s.get_buffer() for s in iter(lambda: out.emit('pull-sample'), None)]
    p.set_state(Gst.State.NULL)
    half, quarter = len(frames) // 2, len(frames) // 4
    size = lambda part: sum(b.get_size() for b in part) / len(part)
    before, after = size(frames[quarter:half]), size(frames[half + quarter:])
    keys = sum(not b.has_flags(Gst.BufferFlags.DELTA_UNIT) for b in frames)
    said = 'follows' if after > 1.7 * before else 'goes on as before'
    print(encoder.split()[0], said + (', with a keyframe' if source is VIDEO and keys > 1 else ''), flush=True)

run(VIDEO, 'x264enc tune=zerolatency key-int-max=1000', 'bitrate', 100)
run(VIDEO, 'vp9enc deadline=1 cpu-used=8 keyframe-max-dist=1000 end-usage=cbr lag-in-frames=0', 'target-bitrate', 100000)
run(VIDEO, 'x265enc tune=zerolatency speed-preset=ultrafast key-int-max=1000', 'bitrate', 100)
run(VIDEO, 'openh264enc gop-size=1000 rate-control=bitrate', 'bitrate', 100000)
AV1 = 'av1enc cpu-used=8 usage-profile=realtime keyframe-max-dist=1000'
run(VIDEO, AV1, 'target-bitrate', 100)
run(VIDEO, AV1 + ' max-quantizer=63', 'target-bitrate', 100)
run(AUDIO, 'opusenc', 'bitrate', 32000)
run(AUDIO, 'avenc_aac', 'bitrate', 32000)
run(AUDIO, 'voaacenc', 'bitrate', 32000)
run(AUDIO, 'lamemp3enc target=bitrate', 'bitrate', 32)
P
got=$($PY rate.py 2>/dev/null)
same "encoders" "x264enc follows
vp9enc follows
x265enc follows, with a keyframe
openh264enc follows, with a keyframe
av1enc goes on as before
av1enc follows
opusenc follows
avenc_aac goes on as before
voaacenc goes on as before
lamemp3enc goes on as before" "$got"
seen "${got//$'\n'/; }"
