// SPDX-License-Identifier: MIT
//! Fragments of one sample.

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    DEPENDENT, INDEPENDENT, NON_SYNC, TRACK_ID,
    ticks::Ticks,
    timeline::{Placed, Timeline, Wanted},
};
use crate::media::{
    format::{
        duration,
        rendition::{Kind, Rendition},
    },
    time::decode_order::DecodeOrder,
};

/// Writes fragments of one sample each, for the init segment of [`init`](super::init).
///
/// Each says how long its sample lasts, which players and other muxers do not work out (and which is
/// in no default of the init segment, because they do not read that either).
///
/// (moq-mux's own writer takes presentation time for decode time, which goes back where video is
/// reordered; ISO/IEC 14496-12 section 8.8.12 wants the sum of all durations before.)
#[derive(Debug)]
pub struct Fragments {
    rendition: Rendition,
    ticks: Ticks,
    timeline: Timeline,
    /// Only video is reordered.
    order: Option<DecodeOrder>,
    sequence: u32,
}

impl Fragments {
    /// For the frames of `rendition`, of which `depth` may be presented before one that comes earlier.
    pub fn of(rendition: &Rendition, depth: Option<u32>) -> Self {
        let ticks = Ticks::of(rendition);
        let video = rendition.kind() == Kind::Video;
        let order = video.then(|| {
            let mut order = DecodeOrder::default();
            order.set_depth(depth.unwrap_or_default() as usize);
            let frame = duration::of(rendition, &[]);
            if let Some(frame) = frame.and_then(|frame| i64::try_from(frame.nseconds()).ok()) {
                order.set_frame(frame);
            }
            order
        });
        Self {
            rendition: rendition.clone(),
            ticks,
            timeline: match video {
                true => Timeline::video(ticks),
                false => Timeline::audio(ticks),
            },
            order,
            sequence: 0,
        }
    }

    /// Wraps the next sample in decode order, presented at `time` microseconds; `duration` is what its
    /// buffer says.
    ///
    /// It is known how long the sample lasts before the next one comes, so it does not wait: by the
    /// frame rate of the entry or the packet itself, else by `duration`, else by the steps so far.
    pub fn wrap(
        &mut self,
        time: u64,
        duration: Option<gst::ClockTime>,
        key: bool,
        payload: &[u8],
    ) -> Bytes {
        /// moof: mfhd, and traf with tfhd, tfdt and trun.
        const MOOF: u32 = 8 + 16 + TRAF;
        const TRAF: u32 = 8 + TFHD + 20 + TRUN;
        const TFHD: u32 = 20;
        const TRUN: u32 = 20 + 12;
        let duration = duration::of(&self.rendition, payload).or(duration);
        let Placed {
            decode_time,
            duration,
            offset,
        } = self.place(time, duration);
        self.sequence = self.sequence.wrapping_add(1);
        let sync = key || self.order.is_none();
        let length = payload.len() as u32;

        let mut out = BytesMut::with_capacity(MOOF as usize + 8 + payload.len());
        begin(&mut out, MOOF, b"moof");
        begin(&mut out, 16, b"mfhd");
        out.put_u32(0);
        out.put_u32(self.sequence);
        begin(&mut out, TRAF, b"traf");
        begin(&mut out, TFHD, b"tfhd");
        // default-base-is-moof, which CMAF asks for (ISO/IEC 23000-19 section 7.5.14), and the
        // duration.
        out.put_u32(0x02_0008);
        out.put_u32(TRACK_ID);
        out.put_u32(duration);
        begin(&mut out, 20, b"tfdt");
        out.put_u32(1 << 24);
        out.put_u64(decode_time);
        begin(&mut out, TRUN, b"trun");
        // Version 1 with data offset, sample size, sample flags and composition offset.
        out.put_u32(1 << 24 | 0xe01);
        out.put_u32(1);
        out.put_u32(MOOF + 8);
        out.put_u32(length);
        out.put_u32(if sync {
            INDEPENDENT
        } else {
            DEPENDENT | NON_SYNC
        });
        out.put_i32(offset);
        begin(&mut out, 8 + length, b"mdat");
        out.put_slice(payload);
        out.freeze()
    }

    /// What follows does not continue what came before.
    pub fn restart(&mut self) {
        self.timeline.cut();
        if let Some(order) = &mut self.order {
            order.reset();
        }
    }

    fn place(&mut self, time: u64, duration: Option<gst::ClockTime>) -> Placed {
        let shown = i64::try_from(u128::from(time) * 1000).unwrap_or(i64::MAX);
        let decoded = match &mut self.order {
            Some(order) => order.next(shown),
            None => shown,
        };
        self.timeline.place(Wanted {
            decoded: self.ticks.at(decoded.into()),
            shown: self.ticks.at(shown.into()),
            duration: duration.filter(|duration| !duration.is_zero()),
        })
    }
}

fn begin(out: &mut BytesMut, size: u32, kind: &[u8; 4]) {
    out.put_u32(size);
    out.put_slice(kind);
}
