// SPDX-License-Identifier: MIT
//! When silence becomes a gap, so that no pad holds up the others.
//!
//! A GAP fixes caps downstream: a parser that has seen no frame makes up its own, and a muxer refuses
//! those that follow. So at a start frames come first, and a GAP only when the track is silent.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use gst::ClockTime;

use crate::{
    media::format::codec::Kind,
    source::{playback::LatencyAnswer, stats::Counters},
};

/// After a first silence of the latency, how often a GAP says that there is still nothing.
const GAP_INTERVAL: Duration = Duration::from_millis(100);
/// How far ahead of the running time the gaps of text reach: an overlay holds each video frame until it
/// knows that no cue belongs to it, and a cue that comes for this span all the same is shown late.
const TEXT_AHEAD: ClockTime = ClockTime::from_mseconds(100);
/// The shortest silence of video and audio, whatever the latency.
const MIN_SILENCE: Duration = Duration::from_millis(50);
/// How long nothing of a track may arrive at a start before it is silent: the subscription takes a
/// round trip, and a long way has 300 ms of it.
const MIN_FIRST_SILENCE: Duration = Duration::from_millis(500);
/// How long nothing more of audio may arrive at a start once something did: no packet is that long, and
/// what came may be of a cache and too old to be shown.
const MIN_NEXT_SILENCE: Duration = Duration::from_millis(200);
/// How often it is looked at a start whether something has arrived: one that is noticed late would
/// lengthen the silence.
const START_INTERVAL: Duration = Duration::from_millis(50);
/// How long a track may have its first frame withheld though something of it arrives, as when it is
/// joined with the next group.
const MAX_START_DURATION: Duration = Duration::from_secs(10);

/// Says when the silence of a track is to be a gap.
pub(super) struct GapTimer {
    kind: Kind,
    latency: Arc<LatencyAnswer>,
    counters: Arc<Counters>,
    /// When silence becomes a gap.
    due: Instant,
    /// Nothing was pushed yet to who is linked since the wish of this number.
    start: Option<Start>,
    begun_for: u32,
}

/// The start of a pad, until its first frame or gap is pushed to whoever is linked then.
#[derive(Debug)]
struct Start {
    begun: Instant,
    /// What of the track had arrived when it was last looked at, and when something was new.
    arrived: u64,
    arrived_at: Instant,
    /// How long nothing may arrive, whatever the latency.
    silence: Duration,
    next_silence: Duration,
}

impl Start {
    fn new(now: Instant, arrived: u64, kind: Kind) -> Self {
        Self {
            begun: now,
            arrived,
            arrived_at: now,
            silence: MIN_FIRST_SILENCE,
            // Video may be of few frames a second.
            next_silence: match kind {
                Kind::Audio => MIN_NEXT_SILENCE,
                Kind::Video | Kind::Text | Kind::Data => MIN_FIRST_SILENCE,
            },
        }
    }

    /// When the pad counts as silent, now that so much of the track has `arrived`.
    fn silent_at(&mut self, now: Instant, arrived: u64, latency: Duration) -> Instant {
        if std::mem::replace(&mut self.arrived, arrived) != arrived {
            self.arrived_at = now;
            self.silence = self.next_silence;
        }
        let silence = latency.max(self.silence);
        let longest = self.begun + silence.max(MAX_START_DURATION);
        longest.min(self.arrived_at + silence)
    }
}

impl GapTimer {
    pub(super) fn new(kind: Kind, latency: Arc<LatencyAnswer>, counters: Arc<Counters>) -> Self {
        Self {
            kind,
            latency,
            counters,
            due: Instant::now(),
            start: None,
            begun_for: 0,
        }
    }

    /// Whoever is linked gets frames first.
    pub(super) fn begin(&mut self) {
        self.due = Instant::now();
        self.start =
            (!self.kind.is_sparse()).then(|| Start::new(self.due, self.arrived(), self.kind));
    }

    /// How long it takes until [`Self::is_silent`] is to be asked.
    pub(super) fn until_due(&self) -> Duration {
        self.due.saturating_duration_since(Instant::now())
    }

    /// Whether the silence is to be a gap now, for who is linked since `wish`.
    pub(super) fn is_silent(&mut self, wish: u32) -> bool {
        if std::mem::replace(&mut self.begun_for, wish) != wish {
            self.begin();
        }
        let (now, arrived, latency) = (Instant::now(), self.arrived(), self.latency.get());
        if let Some(start) = &mut self.start {
            let silent_at = start.silent_at(now, arrived, latency.into());
            if now < silent_at {
                self.due = silent_at.min(now + START_INTERVAL);
                return false;
            }
        }
        self.start = None;
        self.due = now + GAP_INTERVAL;
        true
    }

    /// A buffer goes to who is linked since `wish`.
    pub(super) fn end_start(&mut self, wish: u32) {
        (self.start, self.begun_for) = (None, wish);
    }

    /// A frame was pushed: silence begins now.
    pub(super) fn postpone(&mut self) {
        let silence = match self.kind.is_sparse() {
            true => GAP_INTERVAL,
            false => MIN_SILENCE.max(self.latency.get().into()),
        };
        self.due = Instant::now() + silence;
    }

    /// Up to where it is known at the running time `now` that nothing comes.
    pub(super) fn known_until(&self, now: ClockTime) -> ClockTime {
        match self.kind {
            Kind::Video | Kind::Audio => now.saturating_sub(self.latency.get()),
            Kind::Text => now + TEXT_AHEAD,
            Kind::Data => now,
        }
    }

    /// Counts what of the track has arrived, emitted or not.
    fn arrived(&self) -> u64 {
        (self.counters.frames.get()).saturating_add(self.counters.groups.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATENCY: Duration = Duration::from_millis(100);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_track_of_which_nothing_arrives_is_silent_after_the_latency_and_a_round_trip() {
        let now = Instant::now();
        for (latency, silent) in [
            (0, 500),
            (100, 500),
            (500, 500),
            (2000, 2000),
            (20_000, 20_000),
        ] {
            let mut start = Start::new(now, 7, Kind::Audio);
            for look in [0, 200, silent] {
                let silent_at = start.silent_at(now + ms(look), 7, ms(latency));
                assert_eq!(silent_at - now, ms(silent), "{latency} ms of latency");
            }
        }
    }

    #[test]
    fn audio_of_which_only_a_cache_has_some_is_silent_soon_after_that_came() {
        let now = Instant::now();
        let mut start = Start::new(now, 0, Kind::Audio);
        for (look, arrived, silent) in [(0, 0, 500), (50, 5, 250), (100, 5, 250)] {
            let silent_at = start.silent_at(now + ms(look), arrived, LATENCY);
            assert_eq!(silent_at - now, ms(silent), "at {look} ms");
        }
    }

    #[test]
    fn a_track_that_is_joined_with_the_next_group_is_not_silent_while_its_frames_arrive() {
        let now = Instant::now();
        let mut start = Start::new(now, 0, Kind::Video);
        for frame in 1..=100 {
            let at = now + ms(frame * 33);
            assert_eq!(start.silent_at(at, frame, LATENCY), at + ms(500));
        }
        let last = now + ms(100 * 33);
        assert_eq!(
            start.silent_at(last + ms(400), 100, LATENCY),
            last + ms(500)
        );
    }

    #[test]
    fn a_track_that_shows_nothing_for_long_is_silent_though_its_frames_arrive() {
        let now = Instant::now();
        let mut start = Start::new(now, 0, Kind::Video);
        let silent = (1..1000)
            .map(|frame| (frame * 33, frame))
            .find(|(at, frame)| {
                let at = now + ms(*at);
                at >= start.silent_at(at, *frame, LATENCY)
            });
        let at = silent.expect("it counts as silent some day").0;
        assert!((10_000..10_100).contains(&at), "{at}");
    }
}
