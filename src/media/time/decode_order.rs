// SPDX-License-Identifier: MIT
//! Decode timestamps, which MoQ does not carry, from the decode order of presentation timestamps.

/// No codec holds back more (H.264, table A-1: a DPB has at most 16 frames).
const MAX_DEPTH: usize = 16;
/// The frame duration (ns) of a stream that does not tell; longer than usual, because MP4 files end as
/// much too early as the first decode time is too late.
const DEFAULT_FRAME_INTERVAL: i64 = 50_000_000;

/// Longer frames (ns) are of no stream that reorders.
const MAX_FRAME_INTERVAL: i64 = 1_000_000_000;

/// Gives each frame the least timestamp that is still to be presented.
///
/// With a reorder depth of n, the n+1 newest frames contain the one to be presented next; its time is the
/// newest frame's decode time. So decode times rise, none is after its presentation time, and no
/// frame waits.
#[derive(Debug)]
pub struct DecodeOrder {
    depth: usize,
    frame: i64,
    /// Timestamps that are not yet a decode time, ascending; at most `depth` between two frames.
    waiting: Vec<i64>,
    /// The first timestamp, and how many frames have passed while filling up.
    first: Option<(i64, usize)>,
    newest: i64,
}

impl Default for DecodeOrder {
    fn default() -> Self {
        Self {
            depth: 0,
            frame: DEFAULT_FRAME_INTERVAL,
            waiting: Vec::new(),
            first: None,
            newest: 0,
        }
    }
}

impl DecodeOrder {
    /// The duration of a frame (ns), where the stream tells.
    pub fn set_frame(&mut self, frame: i64) {
        self.frame = frame.clamp(0, MAX_FRAME_INTERVAL);
    }

    /// How far (ns) the decode time of the first frame is before its presentation time.
    pub fn lag(&self) -> i64 {
        self.depth as i64 * self.frame
    }

    /// The number of frames that precede a frame in decode order and follow it in presentation.
    pub fn set_depth(&mut self, depth: usize) {
        if self.first.is_none() {
            self.depth = depth.min(MAX_DEPTH);
        } else {
            self.raise(depth);
        }
    }

    /// Starts over at the next frame, at the same depth.
    pub fn reset(&mut self) {
        self.waiting.clear();
        self.first = None;
    }

    /// The decode time of the frame of timestamp `ts`, the next in decode order.
    pub fn next(&mut self, ts: i64) -> i64 {
        let (first, filled) = *self.first.get_or_insert((ts, 0));
        let reordered = ts < self.newest && filled > 0;
        self.newest = if filled > 0 { self.newest.max(ts) } else { ts };
        if reordered {
            let ahead = self.waiting.iter().filter(|&&other| other > ts).count();
            self.raise(ahead.max(1));
        }
        let place = self.waiting.partition_point(|&other| other <= ts);
        self.waiting.insert(place, ts);
        if self.waiting.len() <= self.depth {
            self.first = Some((first, filled + 1));
            let missing = (self.depth - filled.min(self.depth)) as i64;
            return (first - missing * self.frame).min(ts);
        }
        self.first = Some((first, filled.max(1)));
        self.waiting.remove(0)
    }

    fn raise(&mut self, depth: usize) {
        self.depth = self.depth.max(depth.min(MAX_DEPTH));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(depth: usize, order: &[i64]) -> Vec<i64> {
        let mut decode = DecodeOrder::default();
        decode.set_depth(depth);
        order
            .iter()
            .map(|ts| decode.next(ts * 1_000_000_000))
            .collect()
    }

    fn check(order: &[i64], times: &[i64]) {
        for (pair, ts) in times.windows(2).zip(&order[1..]) {
            assert!(pair[0] < pair[1], "{times:?} rises");
            assert!(pair[1] <= ts * 1_000_000_000, "{times:?} is not after {ts}");
        }
    }

    #[test]
    fn without_reordering_decode_time_is_presentation_time() {
        let order = [1, 2, 3, 4];
        assert_eq!(run(0, &order), order.map(|ts| ts * 1_000_000_000));
    }

    #[test]
    fn two_b_frames_rise_and_stay_before_presentation() {
        let order = [1, 4, 2, 3, 7, 5, 6, 10, 8, 9];
        check(&order, &run(1, &order));
        check(&order, &run(2, &order));
    }

    #[test]
    fn a_pyramid_rises_and_stays_before_presentation() {
        let order = [1, 9, 5, 3, 2, 4, 7, 6, 8, 17, 13, 11, 10, 12, 15, 14, 16];
        check(&order, &run(3, &order));
    }

    #[test]
    fn an_unknown_depth_is_learnt_from_the_stream() {
        let order = [1, 4, 2, 3, 7, 5, 6, 10, 8, 9, 13, 11, 12];
        let times = run(0, &order);
        check(&order[4..], &times[4..]);
    }
}
