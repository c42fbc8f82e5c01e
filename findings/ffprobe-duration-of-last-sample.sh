#!/bin/bash
# SPDX-License-Identifier: MIT
# ffprobe 5.1.9 (Debian 12).
# Fragmented MP4 with one frame in each fragment and a changing frame rate.
# Every tfhd says its frame's true duration: tfdt + duration is the next tfdt.
# Expected: ffprobe's packet durations are those of the file.
# Seen: it shows 40 ms, one frame at the stream's r_frame_rate, for frames
#   that the file says last 80 or 120 ms: the last sample of a fragment gets a
#   guess. Timestamps are right, and so are the durations of a plain copy.
. "$(dirname "$(readlink -f "$0")")/common.bash"
need_ffmpeg
ffmpeg -v error -f lavfi -i testsrc2=s=64x64:r=25:d=2 -vf "setpts='if(lt(N,10),N,10+(N-10)*2.5)/25/TB'" -vsync vfr -c:v libx264 -tune zerolatency \
    -pix_fmt yuv420p -g 10 -movflags frag_every_frame+empty_moov+default_base_moof a.mp4
ffmpeg -v error -i a.mp4 -c copy plain.mp4
cat >said.py <<'P'
import struct
d = open('a.mp4', 'rb').read()
scale, = struct.unpack_from('>I', d, d.index(b'mdhd') + 16)
out, i = [], d.find(b'tfhd')
while i >= 0:
    assert struct.unpack_from('>I', d, i + 4)[0] & 0xffffff == 0x20038
    out.append(struct.unpack_from('>I', d, i + 12)[0] / scale)
    i = d.find(b'tfhd', i + 4)
print(*[f'{x:.2f}' for x in out[8:14]])
P
shown() { ffprobe -v error -show_entries packet=duration_time -of csv=p=0 "$1" | sed -n 9,14p | awk '{ printf "%s%.2f", s, $1; s = " " }'; }
said=$($PY said.py)
same "the file" "0.04 0.04 0.08 0.12 0.08 0.12" "$said"
same "ffprobe" "0.04 0.04 0.04 0.04 0.04 0.04" "$(shown a.mp4)"
same "ffprobe on a plain copy" "$said" "$(shown plain.mp4)"
seen "the file says $said s, ffprobe shows $(shown a.mp4)"
