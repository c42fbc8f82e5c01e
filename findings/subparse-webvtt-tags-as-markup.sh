#!/bin/bash
# SPDX-License-Identifier: MIT
# GStreamer 1.22.0 subparse and textrender (Debian 12).
# Expected: subparse declares pango-markup, so what WebVTT has beyond it (voice,
#   class, ruby, timestamps within a cue, named entities) is turned into it or
#   left out.
# Seen: voice, class and ruby tags stay, and Pango refuses the whole cue:
#   nothing is drawn, with a warning on the console only. Timestamps and
#   entities such as &nbsp; are escaped and shown as written.
. "$(dirname "$(readlink -f "$0")")/common.bash"
need_gst; need_gi
cat >cues.py <<'P'
import sys
import gi
gi.require_version('Gst', '1.0')
from gi.repository import Gst
Gst.init(None)

def samples(line):
    p = Gst.parse_launch(line + ' ! appsink name=o sync=false')
    p.set_state(Gst.State.PLAYING)
    out = list(iter(lambda: p.get_by_name('o').emit('pull-sample'), None))
    p.set_state(Gst.State.NULL)
    return out

for text in 'plain', '<v Ann>voice', '<c.loud>class</c>', '<ruby>a<rt>b</rt></ruby>', '<00:01.500>later', 'a&nbsp;b':
    with open('a.vtt', 'w') as f:
        f.write(f'WEBVTT\n\n00:01.000 --> 00:02.000\n{text}\n')
    cue = samples('filesrc location=a.vtt ! subparse')[0].get_buffer()
    image = samples('filesrc location=a.vtt ! subparse ! textrender ! video/x-raw,format=AYUV,width=160,height=60')[0].get_buffer()
    drawn = any(image.extract_dup(0, image.get_size())[::4])
    print(text, '|', cue.extract_dup(0, cue.get_size()).decode(), '|', 'drawn' if drawn else 'nothing')
P
got=$($PY cues.py 2>/dev/null)
same "cues" "plain | plain | drawn
<v Ann>voice | <v Ann>voice</v> | nothing
<c.loud>class</c> | <c.loud>class</c> | nothing
<ruby>a<rt>b</rt></ruby> | <ruby>a<rt>b</rt></ruby> | nothing
<00:01.500>later | &lt;00:01.500&gt;later | drawn
a&nbsp;b | a&amp;nbsp;b | drawn" "$got"
seen "${got//$'\n'/; }"
