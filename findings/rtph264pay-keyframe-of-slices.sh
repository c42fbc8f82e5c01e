#!/bin/bash
# SPDX-License-Identifier: MIT
# GStreamer 1.22.0 rtph264pay and rtph264depay (Debian 12), with x264enc, whose
# tune=zerolatency makes as many slices of a picture as it has threads.
# Expected: config-interval=-1 sends the parameter sets before each keyframe,
#   and as many access units come out as pictures go in.
# Seen: it sends them before each slice of a keyframe. A parameter set begins a
#   new access unit, so a keyframe of four slices arrives as four, of which each
#   decoder shows or drops three that are no whole picture. 5 pictures are 8
#   buffers after the depayloader; with one slice they are 5.
. "$(dirname "$(readlink -f "$0")")/common.bash"
need_gst; need_gi
cat >slices.py <<'P'
import gi
gi.require_version('Gst', '1.0')
from gi.repository import Gst
Gst.init(None)

def run(threads):
    p = Gst.parse_launch(
        'videotestsrc num-buffers=5 ! video/x-raw,format=I420,width=640,height=360,framerate=30/1'
        f' ! x264enc tune=zerolatency threads={threads} key-int-max=100 ! h264parse'
        ' ! rtph264pay config-interval=-1 ! rtph264depay'
        ' ! video/x-h264,stream-format=byte-stream,alignment=au ! appsink name=o sync=false')
    out = p.get_by_name('o')
    p.set_state(Gst.State.PLAYING)
    units = []
    for sample in iter(lambda: out.emit('pull-sample'), None):
        data = sample.get_buffer()
        data = data.extract_dup(0, data.get_size())
        starts = [i + 3 for i in range(len(data) - 3) if data[i:i + 3] == b'\0\0\1']
        units.append([data[i] & 31 for i in starts])
    p.set_state(Gst.State.NULL)
    keys = [unit for unit in units if 5 in unit]
    with_sets = all(7 in unit and 8 in unit for unit in keys)
    print(f'{threads} slices: {len(units)} buffers, {len(keys)} with a keyframe slice, parameter sets in each: {with_sets}', flush=True)

run(1)
run(4)
P
got=$($PY slices.py 2>/dev/null)
same "rtph264pay" "1 slices: 5 buffers, 1 with a keyframe slice, parameter sets in each: True
4 slices: 8 buffers, 4 with a keyframe slice, parameter sets in each: True" "$got"
seen "a keyframe of 4 slices leaves rtph264depay as 4 access units: $got"
