// SPDX-License-Identifier: MIT
//! Where samples lie on the decode timeline, which has no overlaps.

use gst::ClockTime;

use super::ticks::Ticks;

/// A part of a frame's duration by which its time may be off, before the timeline follows: timestamps
/// are rounded, and capture jitters.
const TOLERANCE_PARTS: i64 = 4;
/// A part of a frame's duration that is left of it at least. (The decode times of reordered video are
/// before its first presentation time, and at the very start there is no time before that.)
const MIN_DURATION_PARTS: i64 = 8;
/// A longer pause of video is a gap.
const MAX_PAUSE: ClockTime = ClockTime::from_seconds(10);
/// What a frame of video lasts until something tells.
const DEFAULT_FRAME_INTERVAL: ClockTime = ClockTime::from_mseconds(33);

/// The decode timeline of one track, in ticks.
///
/// Each sample begins where the one before ended, as ISO/IEC 14496-12 section 8.8.12 wants it, or
/// later, but never earlier. What is off by less than a quarter of a frame stays on the grid; what is
/// off by more is caught up with by the duration of the sample.
///
/// A pause of video is no gap either: the sample after it begins where the one before ended, is presented
/// when it is due by its composition offset, and lasts for as long as the pause. (Media Source
/// Extensions, section "Coded frame processing", drop video up to the next keyframe when a decode time
/// is more than two durations after the one before.) Audio has no composition offset as long as it is
/// on the grid, so its pauses are gaps.
#[derive(Debug)]
pub(super) struct Timeline {
    ticks: Ticks,
    /// Pauses are bridged.
    bridges: bool,
    /// Where the sample before ended.
    end: Option<i64>,
    /// When the sample before should have been decoded.
    before: Option<i64>,
    /// How long a sample lasts by the steps so far.
    step: i64,
    /// The sample before was too far off to be caught up with.
    off: bool,
    /// The next sample does not continue the one before.
    cut: bool,
}

/// When a sample should be decoded and presented, and how long it lasts if something tells.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) decoded: i64,
    pub(super) shown: i64,
    pub(super) duration: Option<ClockTime>,
}

/// What a fragment says of its sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) decode_time: u64,
    pub(super) duration: u32,
    /// From decode time to presentation time.
    pub(super) offset: i32,
}

impl Timeline {
    pub(super) fn video(ticks: Ticks) -> Self {
        Self {
            ticks,
            bridges: true,
            end: None,
            before: None,
            step: ticks.lasting(DEFAULT_FRAME_INTERVAL),
            off: false,
            cut: false,
        }
    }

    pub(super) fn audio(ticks: Ticks) -> Self {
        Self {
            bridges: false,
            ..Self::video(ticks)
        }
    }

    /// What follows does not continue what came before.
    pub(super) fn cut(&mut self) {
        self.cut = true;
        self.before = None;
    }

    /// Places the next sample in decode order.
    pub(super) fn place(&mut self, wanted: Wanted) -> Placed {
        let Wanted { decoded, shown, .. } = wanted;
        let lasts = self.lasts(wanted);
        let tolerance = lasts / TOLERANCE_PARTS;
        let mut begin = self.begin(decoded, tolerance);
        let mut offset = shown - begin;
        // Audio is as it is decoded; what is not reordered is at most rounded otherwise.
        let on_grid = match self.bridges {
            true => i64::from(shown == decoded),
            false => tolerance,
        };
        if offset.abs() <= on_grid {
            offset = 0;
        }
        // After a leap of hours: nothing before it can still be shown.
        if offset > i64::from(i32::MAX) {
            (begin, offset) = (shown, 0);
        }
        let ahead = begin - decoded;
        self.off |= ahead.abs() > tolerance;
        let duration = match self.off {
            true => {
                let least = (lasts / MIN_DURATION_PARTS).max(1);
                self.off = lasts - ahead < least;
                (lasts - ahead).max(least)
            }
            false => lasts,
        };
        let duration = u32::try_from(duration).unwrap_or(u32::MAX);
        self.end = Some(begin + i64::from(duration));
        Placed {
            decode_time: begin.unsigned_abs(),
            duration,
            offset: i32::try_from(offset).unwrap_or(i32::MIN),
        }
    }

    /// Where a sample begins that should be decoded then; not before zero.
    fn begin(&mut self, decoded: i64, tolerance: i64) -> i64 {
        let cut = std::mem::take(&mut self.cut);
        let Some(end) = self.end else {
            return decoded.max(0);
        };
        let gap = decoded - end;
        let bridged = self.bridges && !cut && gap <= self.max_pause();
        match gap <= tolerance || bridged {
            true => end,
            false => decoded,
        }
    }

    /// How long a sample lasts, as far as one can know before the next one comes.
    fn lasts(&mut self, wanted: Wanted) -> i64 {
        let step = self.before.map(|before| wanted.decoded - before);
        self.before = Some(wanted.decoded);
        // No faster than twofold, so that a pause does not count as a rate.
        if let Some(step) = step.filter(|step| *step > 0) {
            self.step = step.min(2 * self.step).min(self.max_pause());
        }
        match wanted.duration {
            Some(duration) => self.ticks.lasting(duration).min(self.max_pause()),
            None => self.step,
        }
    }

    fn max_pause(&self) -> i64 {
        self.ticks.lasting(MAX_PAUSE)
    }
}
