//! Fragments of one sample.

use bytes::{BufMut, Bytes, BytesMut};

use super::{DEPENDENT, INDEPENDENT, NON_SYNC, TRACK_ID};
use crate::media::decode_order::DecodeOrder;

/// Writes fragments of one sample each, for the init segments of [`init`](super::init).
///
/// (moq-mux's own writer takes presentation time for decode time, which goes back where pictures are
/// reordered; ISO/IEC 14496-12 section 8.8.12 wants the sum of all durations before.)
#[derive(Debug, Default)]
pub struct Fragments {
    /// Only pictures are reordered.
    order: Option<DecodeOrder>,
    decode_time: Option<u64>,
    sequence: u32,
}

impl Fragments {
    /// For sound, which is never reordered.
    pub fn sound() -> Self {
        Self::default()
    }

    /// For pictures: how many may be shown before one that comes earlier, and how long one lasts.
    pub fn pictures(depth: Option<u32>, frame: Option<gst::ClockTime>) -> Self {
        let mut order = DecodeOrder::default();
        order.set_depth(depth.unwrap_or_default() as usize);
        if let Some(frame) = frame.and_then(|frame| i64::try_from(frame.nseconds()).ok()) {
            order.set_frame(frame);
        }
        Self {
            order: Some(order),
            ..Self::default()
        }
    }

    /// Wraps the next sample in decode order, shown at `time` microseconds.
    pub fn wrap(&mut self, time: u64, key: bool, payload: &[u8]) -> Bytes {
        /// moof: mfhd, and traf with tfhd, tfdt and trun.
        const MOOF: u32 = 8 + 16 + TRAF;
        const TRAF: u32 = 8 + 16 + 20 + TRUN;
        const TRUN: u32 = 20 + 12;
        let (decode_time, offset) = self.decode_time(time);
        self.sequence = self.sequence.wrapping_add(1);
        let sync = key || self.order.is_none();
        let length = payload.len() as u32;

        let mut out = BytesMut::with_capacity(MOOF as usize + 8 + payload.len());
        begin(&mut out, MOOF, b"moof");
        begin(&mut out, 16, b"mfhd");
        out.put_u32(0);
        out.put_u32(self.sequence);
        begin(&mut out, TRAF, b"traf");
        begin(&mut out, 16, b"tfhd");
        // default-base-is-moof, which CMAF asks for (ISO/IEC 23000-19 section 7.5.14).
        out.put_u32(0x02_0000);
        out.put_u32(TRACK_ID);
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

    /// Forgets the order of the frames before: the next one does not continue them.
    pub fn restart(&mut self) {
        if let Some(order) = &mut self.order {
            order.reset();
        }
    }

    /// The decode time, which rises whenever it can, and the offset from there to `time`.
    fn decode_time(&mut self, time: u64) -> (u64, i32) {
        let micros = i64::try_from(time).unwrap_or(i64::MAX);
        let ordered = match &mut self.order {
            Some(order) => order.next(micros.saturating_mul(1000)).div_euclid(1000),
            None => micros,
        };
        let ordered = u64::try_from(ordered).unwrap_or(0);
        let next = self.decode_time.map_or(0, |last| last.saturating_add(1));
        let decode_time = ordered.max(next);
        let offset = i128::from(time) - i128::from(decode_time);
        let (decode_time, offset) = match i32::try_from(offset) {
            Ok(offset) => (decode_time, offset),
            // After a gap of half an hour: nothing before it can still be shown.
            Err(_) => (time, 0),
        };
        self.decode_time = Some(decode_time);
        (decode_time, offset)
    }
}

fn begin(out: &mut BytesMut, size: u32, kind: &[u8; 4]) {
    out.put_u32(size);
    out.put_slice(kind);
}
