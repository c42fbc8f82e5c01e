//! Silence becomes gaps, so that no pad holds up the others.

use std::time::{Duration, Instant};

use gst::{ClockTime, prelude::*};

use super::Pusher;
use crate::media::codec::Kind;

/// After a first silence of the latency, how often a GAP says that there is still nothing.
const GAP_INTERVAL: Duration = Duration::from_millis(100);
/// How far ahead of the running time the gaps of text reach: an overlay holds each picture until it
/// knows that no cue belongs to it, and a cue that comes for this span all the same is shown late.
const TEXT_AHEAD: ClockTime = ClockTime::from_mseconds(100);
impl Pusher {
    /// Says that nothing has come up to now.
    pub(super) fn push_gap(&mut self, pad: &gst::Pad) {
        self.gap_due = Instant::now() + GAP_INTERVAL;
        let Some(clock) = &self.clock else { return };
        if self.ended {
            return;
        }
        let until = match self.kind {
            Kind::Video | Kind::Audio => clock.now().saturating_sub(self.latency.get()),
            Kind::Text => clock.now() + TEXT_AHEAD,
            Kind::Data => clock.now(),
        };
        let from = self.position.unwrap_or(until);
        if self.position.is_some() && until <= from {
            return;
        }
        if self.kind == Kind::Text && self.push_text(pad, from) {
            return;
        }
        let duration = until.saturating_sub(from);
        self.position = Some(from.max(until));
        pad.push_event(gst::event::Gap::builder(from).duration(duration).build());
    }

    /// How long nothing may come before a gap says so.
    pub(super) fn silence(&self) -> Duration {
        match self.kind.is_sparse() {
            true => GAP_INTERVAL,
            false => self.latency.get().into(),
        }
    }
}
