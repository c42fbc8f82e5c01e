//! When a buffer is due, by its segment and whatever times it has.

/// The stream of one pad, from one segment to the next.
#[derive(Debug, Default)]
pub struct Timing {
    segment: Option<gst::FormattedSegment<gst::ClockTime>>,
    /// The newest time in decode order, in the segment's own time.
    previous: Option<gst::ClockTime>,
}

/// What the stream's format says about times.
#[derive(Debug, Clone, Copy, Default)]
pub struct Format {
    /// Decode order is presentation order.
    pub in_order: bool,
    /// How long each frame lasts.
    pub step: Option<gst::ClockTime>,
}

/// Running times of one buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// When it is shown.
    pub presentation: gst::ClockTime,
    /// When it has to leave: at its decode time, so that a viewer gets it in time.
    pub departure: gst::ClockTime,
    /// When it is shown, in stream time.
    pub position: Option<gst::ClockTime>,
    /// The buffer had no time of its own: it follows the one before.
    pub guessed: bool,
}

/// Why a buffer cannot be published. Each text ends the sentence "A buffer was dropped: ...".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Untimed {
    /// No SEGMENT event came, or one that is not in time or cannot be counted in.
    #[error("no usable segment in time format came before it")]
    NoSegment,
    /// It has neither a PTS nor another time that may stand for it.
    #[error("it has no presentation time")]
    NoTime,
    /// It lies before the start of the segment, or absurdly far behind it: there is no running time.
    #[error("it lies outside its segment")]
    OutsideSegment,
}

impl Timing {
    /// A SEGMENT event came.
    pub fn set_segment(&mut self, segment: &gst::Segment) {
        let segment = segment.downcast_ref::<gst::ClockTime>().cloned();
        self.segment = segment.filter(is_usable);
        self.previous = None;
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
    ) -> Result<Times, Untimed> {
        let segment = self.segment.as_ref().ok_or(Untimed::NoSegment)?;
        let own = pts.or(dts.filter(|_| format.in_order));
        let guess = |step| match self.previous {
            Some(previous) => Some(previous.saturating_add(step)),
            // The first one of them: whatever reorders later, it starts here.
            None => dts,
        };
        let time = own.or_else(|| guess(format.step?)).ok_or(Untimed::NoTime)?;
        self.previous = Some(match (own, dts) {
            (Some(_), Some(dts)) => dts,
            _ => time,
        });
        let presentation = running(segment, time).ok_or(Untimed::OutsideSegment)?;
        let departure = dts.and_then(|dts| running(segment, dts));
        Ok(Times {
            presentation,
            departure: match dts {
                // Decoded before the segment starts: it leaves at once.
                Some(_) => departure.unwrap_or_default().min(presentation),
                None => presentation,
            },
            position: segment.to_stream_time(time),
            guessed: own.is_none(),
        })
    }

    /// The running time of a time in the segment, unless it lies before zero.
    pub fn running_time(&self, time: gst::ClockTime) -> Option<gst::ClockTime> {
        running(self.segment.as_ref()?, time)
    }

    /// The stream time of a time in the segment.
    pub fn stream_time(&self, time: gst::ClockTime) -> Option<gst::ClockTime> {
        self.segment.as_ref()?.to_stream_time(time)
    }
}

/// No stream runs for 30 years: sums of times below this cannot overflow.
const MAX_RUNNING: gst::ClockTime = gst::ClockTime::from_nseconds(1 << 60);

/// Whether GStreamer can count in it: backwards it counts from the stop.
fn is_usable(segment: &gst::FormattedSegment<gst::ClockTime>) -> bool {
    segment.rate() > 0.0 || segment.stop() >= segment.offset().max(Some(gst::ClockTime::ZERO))
}

/// A running time before zero is none, nor is one beyond all reason.
fn running(
    segment: &gst::FormattedSegment<gst::ClockTime>,
    time: gst::ClockTime,
) -> Option<gst::ClockTime> {
    let running = segment.to_running_time_full(time)?.positive()?;
    Some(running).filter(|running| *running < MAX_RUNNING)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: gst::ClockTime = gst::ClockTime::SECOND;

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
        assert_eq!(times.presentation, SECOND * 2);
        assert_eq!(times.departure, SECOND);
    }

    #[test]
    fn what_lies_before_the_segment_is_dropped_and_not_clamped() {
        let times = timing(10).times(Some(SECOND * 9), None, Format::default());
        assert_eq!(times, Err(Untimed::OutsideSegment));
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
            assert_eq!(times, Err(Untimed::NoSegment));
        }
        segment.set_stop(SECOND * 3);
        timing.set_segment(segment.as_ref());
        let times = timing.times(Some(SECOND), None, Format::default());
        assert_eq!(
            times.map(|times| times.presentation),
            Ok(gst::ClockTime::ZERO)
        );
    }

    #[test]
    fn decoding_before_the_segment_means_to_leave_at_once() {
        let times = timing(10)
            .times(Some(SECOND * 10), Some(SECOND * 9), Format::default())
            .expect("a time");
        assert_eq!(times.departure, gst::ClockTime::ZERO);
    }

    #[test]
    fn decode_times_stand_in_only_where_nothing_is_reordered() {
        let in_order = Format {
            in_order: true,
            step: None,
        };
        let times = timing(0).times(None, Some(SECOND), in_order);
        assert_eq!(times.expect("a time").presentation, SECOND);
        let times = timing(0).times(None, Some(SECOND), Format::default());
        assert_eq!(times, Err(Untimed::NoTime));
    }

    #[test]
    fn a_frame_without_times_follows_the_one_before() {
        let format = Format {
            in_order: true,
            step: Some(SECOND),
        };
        let mut timing = timing(0);
        timing.times(Some(SECOND), None, format).expect("a time");
        let times = timing.times(None, None, format).expect("a guess");
        assert_eq!(times.presentation, SECOND * 2);
        assert!(times.guessed);
    }

    #[test]
    fn without_a_segment_there_is_no_time() {
        let times = Timing::default().times(Some(SECOND), None, Format::default());
        assert_eq!(times, Err(Untimed::NoSegment));
    }
}
