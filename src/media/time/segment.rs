// SPDX-License-Identifier: MIT
//! When a buffer is due, by its segment and whatever times it has.

use super::nanos::nanos;

/// How much closer together frames are that only decoding needs: those of 60 fps come 1 ms apart, which
/// the time bases of all containers can tell.
const SQUEEZE_RATE: i64 = 16;
/// Frames that only decoding needs take no more than this (ns), however long their group is.
const MAX_LEAD: i64 = 500_000_000;

/// The stream of one pad, from one segment to the next.
#[derive(Debug, Default)]
pub struct Timing {
    segment: Option<gst::FormattedSegment<gst::ClockTime>>,
    /// The newest time in decode order, in the segment's own time.
    previous: Option<gst::ClockTime>,
    /// How long the newest frame lasts.
    step: Option<gst::ClockTime>,
    /// How much closer together the frames before the segment's start are published.
    squeeze: Option<i64>,
}

/// What the stream's format says about times.
#[derive(Debug, Clone, Copy, Default)]
pub struct Format {
    /// Decode order is presentation order.
    pub in_order: bool,
    /// How long this frame lasts.
    pub step: Option<gst::ClockTime>,
    /// Frames may refer to each other: those outside the segment are needed by those inside.
    pub refers: bool,
}

/// Running times of one buffer in ns, which lie before zero for what comes before the segment's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// When it is presented.
    pub presentation: i64,
    /// When it has to leave: at its decode time, so that a subscriber gets it in time.
    pub departure: i64,
    /// Its place in decode order: presentation time, or decode time where the two differ.
    pub order: i64,
    /// `order` is a decode time, or as good as one: it never goes back.
    pub is_ordered: bool,
    /// When it is presented, in stream time.
    pub position: Option<gst::ClockTime>,
    /// The buffer had no time of its own: it follows the one before.
    pub guessed: bool,
    /// It is not to be presented: others inside the segment refer to it.
    pub lead: bool,
}

/// Why a buffer cannot be published. Each text ends the sentence "A buffer was dropped: ...".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// No SEGMENT event came, or one that is not in time or cannot be counted in.
    #[error("no usable segment in time format came before it")]
    NoSegment,
    /// It has neither a PTS nor another time that may stand for it.
    #[error("it has no presentation time")]
    NoTime,
    /// Its segment cuts it off, as it should.
    #[error("it lies outside its segment")]
    Clipped,
}

impl Timing {
    /// A SEGMENT event came.
    pub fn set_segment(&mut self, segment: &gst::Segment) {
        let segment = segment.downcast_ref::<gst::ClockTime>().cloned();
        *self = Self {
            segment: segment.filter(is_usable),
            ..Self::default()
        };
    }

    /// A flush: the next buffer needs a segment of its own.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Whether the segment ends in SEGMENT_DONE rather than EOS.
    pub fn is_segment_seek(&self) -> bool {
        self.segment
            .as_ref()
            .is_some_and(|segment| segment.flags().contains(gst::SegmentFlags::SEGMENT))
    }

    /// The times of a buffer.
    ///
    /// # Errors
    ///
    /// Says why it cannot be published.
    pub fn times(
        &mut self,
        pts: Option<gst::ClockTime>,
        dts: Option<gst::ClockTime>,
        format: Format,
    ) -> Result<Times, TimeError> {
        let segment = self.segment.clone().ok_or(TimeError::NoSegment)?;
        let step = std::mem::replace(&mut self.step, format.step);
        let own = pts.or(dts.filter(|_| format.in_order));
        let guess = || match (self.previous, step.or(format.step)) {
            (Some(previous), Some(step)) => Some(previous.saturating_add(step)),
            (Some(_), None) => None,
            // The first one of them: whatever reorders later, it starts here.
            (None, step) => dts.filter(|_| step.is_some()),
        };
        let time = own.or_else(guess).ok_or(TimeError::NoTime)?;
        self.previous = Some(match (own, dts) {
            (Some(_), Some(dts)) => dts,
            _ => time,
        });
        let shown = running(&segment, time).ok_or(TimeError::NoSegment)?;
        let decoded = dts.and_then(|dts| running(&segment, dts));
        let start = segment.base().map_or(0, nanos);
        let lead = shown < start;
        if is_beyond(&segment, time)
            && !dts.is_some_and(|dts| format.refers && !is_beyond(&segment, dts))
        {
            return Err(TimeError::Clipped);
        }
        if lead && !format.refers {
            return Err(TimeError::Clipped);
        }
        let presentation = self.squeezed(shown, start);
        let decoded = decoded.map(|decoded| self.squeezed(decoded, start).min(presentation));
        Ok(Times {
            presentation,
            departure: decoded.unwrap_or(presentation),
            order: match format.in_order {
                true => presentation,
                false => decoded.unwrap_or(presentation),
            },
            is_ordered: decoded.is_some() || format.in_order,
            position: segment.to_stream_time(time),
            guessed: own.is_none(),
            lead,
        })
    }

    /// A running time, which comes closer to the `start` of the segment where it lies before it: such
    /// frames are passed quickly, in their order.
    fn squeezed(&mut self, running: i64, start: i64) -> i64 {
        let before = start.saturating_sub(running);
        if before <= 0 {
            return running;
        }
        let squeeze = *self
            .squeeze
            .get_or_insert_with(|| SQUEEZE_RATE.max(before / MAX_LEAD));
        start.saturating_sub(before / squeeze)
    }

    /// The running time of a time in the segment, in ns; what lies before the segment's start counts as
    /// its start.
    pub fn running_time(&self, time: gst::ClockTime) -> Option<i64> {
        let segment = self.segment.as_ref()?;
        let start = segment.base().map_or(0, nanos);
        Some(running(segment, time)?.max(start))
    }

    /// The stream time of a time in the segment.
    pub fn stream_time(&self, time: gst::ClockTime) -> Option<gst::ClockTime> {
        self.segment.as_ref()?.to_stream_time(time)
    }
}

/// Whether GStreamer can count in it: backwards it counts from the stop.
fn is_usable(segment: &gst::FormattedSegment<gst::ClockTime>) -> bool {
    segment.rate() > 0.0 || segment.stop() >= segment.offset().max(Some(gst::ClockTime::ZERO))
}

/// Whether the segment has ended before `time`.
fn is_beyond(segment: &gst::FormattedSegment<gst::ClockTime>, time: gst::ClockTime) -> bool {
    match segment.rate() > 0.0 {
        true => segment.stop().is_some_and(|stop| time >= stop),
        false => segment.start().is_some_and(|start| time < start),
    }
}

fn running(segment: &gst::FormattedSegment<gst::ClockTime>, time: gst::ClockTime) -> Option<i64> {
    Some(match segment.to_running_time_full(time)? {
        gst::Signed::Positive(time) => nanos(time),
        gst::Signed::Negative(time) => -nanos(time),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: gst::ClockTime = gst::ClockTime::SECOND;
    const S: i64 = 1_000_000_000;

    fn timing(start: u64) -> Timing {
        gst::init().expect("GStreamer initializes");
        let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
        segment.set_start(SECOND * start);
        let mut timing = Timing::default();
        timing.set_segment(segment.as_ref());
        timing
    }

    #[test]
    fn a_moved_segment_start_is_honoured() {
        let times = timing(10)
            .times(Some(SECOND * 12), Some(SECOND * 11), Format::default())
            .expect("a time");
        assert_eq!(times.presentation, 2 * S);
        assert_eq!(times.departure, S);
    }

    #[test]
    fn what_the_segment_cuts_off_is_clipped() {
        let audio = Format {
            in_order: true,
            ..Format::default()
        };
        let video = Format {
            refers: true,
            ..audio
        };
        let mut timing = timing(10);
        let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
        segment.set_start(SECOND * 10);
        segment.set_stop(SECOND * 20);
        timing.set_segment(segment.as_ref());
        for (time, format, clipped) in [
            (9, audio, true),
            (9, video, false),
            (10, audio, false),
            (19, audio, false),
            (20, audio, true),
            (20, video, true),
        ] {
            let times = timing.times(Some(SECOND * time), None, format);
            assert_eq!(
                times == Err(TimeError::Clipped),
                clipped,
                "{time} {times:?}"
            );
        }
        // Presented after the end, but decoded before others that are presented within.
        let times = timing.times(Some(SECOND * 20), Some(SECOND * 19), video);
        assert_eq!(times.map(|times| times.presentation), Ok(10 * S));
    }

    #[test]
    fn a_gap_before_the_segment_begins_with_it() {
        let timing = timing(10);
        assert_eq!(timing.running_time(SECOND * 8), Some(0));
        assert_eq!(timing.running_time(SECOND * 12), Some(2 * S));
    }

    #[test]
    fn what_decoding_needs_before_the_segment_comes_closely_before_its_start() {
        let format = Format {
            refers: true,
            ..Format::default()
        };
        for (first, lead) in [(98, 2_000 / 16), (10, 500)] {
            let mut timing = timing(100);
            let lead = lead * 1_000_000;
            let mut last = None;
            for ms in (first * 1000..=101_000).step_by(40) {
                let time = gst::ClockTime::from_mseconds(ms);
                let times = timing
                    .times(Some(time), Some(time), format)
                    .expect("a time");
                assert_eq!(times.lead, ms < 100_000);
                assert!(last.is_none_or(|last| last < times.presentation));
                assert!(times.presentation >= -lead);
                if ms >= 100_000 {
                    assert_eq!(times.presentation, (ms as i64 - 100_000) * 1_000_000);
                }
                last = Some(times.presentation);
            }
        }
    }

    #[test]
    fn the_time_of_day_is_a_running_time_like_any_other() {
        // Seconds since 1900.
        const NTP: u64 = 3_989_000_000;
        let times = timing(0).times(Some(SECOND * NTP), None, Format::default());
        assert_eq!(times.map(|times| times.presentation), Ok(NTP as i64 * S));
        let times = timing(0).times(Some(gst::ClockTime::MAX), None, Format::default());
        assert_eq!(times.map(|times| times.presentation), Ok(i64::MAX));
    }

    #[test]
    fn a_segment_without_an_end_cannot_be_played_backwards() {
        let mut timing = timing(0);
        let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
        segment.set_rate(-1.0);
        for stop in [None, Some(SECOND)] {
            segment.set_stop(stop);
            segment.set_offset(stop.map(|stop| stop * 2));
            timing.set_segment(segment.as_ref());
            let times = timing.times(Some(SECOND), None, Format::default());
            assert_eq!(times, Err(TimeError::NoSegment));
        }
        segment.set_stop(SECOND * 3);
        timing.set_segment(segment.as_ref());
        let times = timing.times(Some(SECOND), None, Format::default());
        assert_eq!(times.map(|times| times.presentation), Ok(0));
    }

    #[test]
    fn decoding_before_the_segment_means_to_leave_at_once() {
        let times = timing(10)
            .times(Some(SECOND * 10), Some(SECOND * 9), Format::default())
            .expect("a time");
        assert_eq!(times.presentation, 0);
        assert!(times.departure < 0);
    }

    #[test]
    fn decode_times_stand_in_only_where_nothing_is_reordered() {
        let in_order = Format {
            in_order: true,
            ..Format::default()
        };
        let times = timing(0).times(None, Some(SECOND), in_order);
        assert_eq!(times.expect("a time").presentation, S);
        let times = timing(0).times(None, Some(SECOND), Format::default());
        assert_eq!(times, Err(TimeError::NoTime));
    }

    #[test]
    fn a_frame_without_times_follows_the_one_before() {
        let format = Format {
            in_order: true,
            step: Some(SECOND),
            refers: false,
        };
        let mut timing = timing(0);
        timing.times(Some(SECOND), None, format).expect("a time");
        let short = Format {
            step: Some(SECOND / 2),
            ..format
        };
        for presentation in [2 * S, 2 * S + S / 2] {
            let times = timing.times(None, None, short).expect("a guess");
            assert_eq!(
                times.presentation, presentation,
                "the one before lasts so long"
            );
            assert!(times.guessed);
        }
    }

    #[test]
    fn without_a_segment_there_is_no_time() {
        let times = Timing::default().times(Some(SECOND), None, Format::default());
        assert_eq!(times, Err(TimeError::NoSegment));
    }
}
