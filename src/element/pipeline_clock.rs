// SPDX-License-Identifier: MIT
//! The pipeline's clock while it plays.

use gst::prelude::*;

use crate::media::time::nanos::{clock_time, nanos};

/// The clock of the pipeline and the element's base time, for one stay in PLAYING.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PipelineClock {
    clock: Option<gst::Clock>,
    base_time: gst::ClockTime,
}

impl PipelineClock {
    /// What `element` was given before it went to PLAYING.
    pub(crate) fn of(element: &impl IsA<gst::Element>) -> Self {
        Self::new(element.clock(), element.base_time())
    }

    pub(crate) fn new(clock: Option<gst::Clock>, base_time: Option<gst::ClockTime>) -> Self {
        Self {
            clock,
            base_time: base_time.unwrap_or_default(),
        }
    }

    /// Without a clock time stands still: nothing is ever late.
    pub(crate) fn clock(&self) -> Option<&gst::Clock> {
        self.clock.as_ref()
    }

    /// The clock's time at running time 0.
    pub(crate) fn base_time(&self) -> gst::ClockTime {
        self.base_time
    }

    /// The clock's time.
    pub(crate) fn now(&self) -> gst::ClockTime {
        match &self.clock {
            Some(clock) => clock.time(),
            None => self.base_time,
        }
    }

    /// The running time, zero before the base time.
    pub(crate) fn running_time(&self) -> gst::ClockTime {
        self.now().saturating_sub(self.base_time)
    }

    /// The running time in ns, negative before the base time.
    pub(crate) fn signed_running_time(&self) -> i64 {
        nanos(self.now()).saturating_sub(nanos(self.base_time))
    }

    /// A wait until the running time of `running` ns; none without a clock.
    pub(crate) fn wait_id(&self, running: i64) -> Option<gst::SingleShotClockId> {
        let due = self.base_time.saturating_add(clock_time(running));
        Some(self.clock.as_ref()?.new_single_shot_id(due))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_time_is_negative_before_the_base_time_and_unsigned_zero() {
        gst::init().expect("GStreamer initializes");
        let clock = gst::SystemClock::obtain();
        let base_time = clock.time() + gst::ClockTime::from_seconds(3600);
        let early = PipelineClock::new(Some(clock), Some(base_time));
        let running = early.signed_running_time();
        assert!((-3_600_000_000_000..-3_500_000_000_000).contains(&running));
        assert_eq!(early.running_time(), gst::ClockTime::ZERO);
    }

    #[test]
    fn without_a_clock_time_stands_still() {
        let base_time = gst::ClockTime::SECOND;
        let still = PipelineClock::new(None, Some(base_time));
        assert_eq!(still.now(), base_time);
        assert_eq!(still.signed_running_time(), 0);
        assert!(still.wait_id(0).is_none());
    }
}
