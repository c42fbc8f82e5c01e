// SPDX-License-Identifier: MIT
//! Whether the frames of a track arrive live, about as far apart as their timestamps are.
//!
//! What a cache had at the join comes at once, however old it is: its transit is its age, and says
//! nothing about the encoder or the route.

use std::collections::VecDeque;

use crate::media::time::nanos::Nanos;

/// Length of one span, over which the least transit is taken.
const SPAN_INTERVAL: Nanos = 100_000_000;
/// Spans are compared that begin this far apart at least: over less time, a backlog that comes a little
/// faster than real time looks like the jitter of a network.
const MIN_SPAN_DISTANCE: Nanos = 400_000_000;
/// The least transits of two such spans differ by no more than this part of the time between them if
/// what came was live.
const AGREEMENT_PARTS: Nanos = 10;
/// More spans than lie within [`MIN_SPAN_DISTANCE`] are not kept.
const MAX_SPANS: usize = 6;

/// One span of arrivals.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: Nanos,
    least: Nanos,
}

/// What the arrivals of one track show; a track that was live once stays it until it is reset.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Spans that are over, the oldest first.
    before: VecDeque<Span>,
    current: Option<Span>,
    live: bool,
}

impl Pace {
    /// Takes in the transit of a frame that arrived `now`; whether the track became live by it.
    pub(super) fn add(&mut self, transit: Nanos, now: Nanos) -> bool {
        if self.live {
            return false;
        }
        match &mut self.current {
            Some(span) if now - span.start < SPAN_INTERVAL => span.least = span.least.min(transit),
            current => {
                let start = Span {
                    start: now,
                    least: transit,
                };
                // The current span may be the first frames of a burst: it is judged when it is over.
                if let Some(over) = current.replace(start) {
                    self.judge(over);
                }
            }
        }
        self.live
    }

    pub(super) fn is_live(&self) -> bool {
        self.live
    }

    fn judge(&mut self, over: Span) {
        let apart = |before: &&Span| over.start - before.start >= MIN_SPAN_DISTANCE;
        let before = self.before.iter().rev().find(apart);
        self.live = before.is_some_and(|before| over.agrees_with(before));
        self.before.push_back(over);
        if self.before.len() > MAX_SPANS {
            self.before.pop_front();
        }
    }
}

impl Span {
    fn agrees_with(&self, before: &Self) -> bool {
        (self.least - before.least).abs() <= (self.start - before.start) / AGREEMENT_PARTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Nanos = 1_000_000;

    /// When the track is live that gets frames of these timestamps at these times, in ms.
    fn live_at(frames: impl IntoIterator<Item = (Nanos, Nanos)>) -> Option<Nanos> {
        let mut pace = Pace::default();
        let mut live = frames
            .into_iter()
            .filter(|(ts, now)| pace.add((now - ts) * MS, now * MS));
        live.next().map(|(_, now)| now)
    }

    #[test]
    fn live_frames_show_it_within_seven_tenths_of_a_second() {
        for interval in [20, 33, 40] {
            let frames = (0..50).map(|n| (n * interval, 5000 + n * interval + n % 3 * 5));
            let live = live_at(frames).expect("it is live");
            assert!(live <= 5700, "{interval}: {live}");
        }
    }

    #[test]
    fn live_frames_that_come_in_batches_are_live() {
        let frames = (0..60).map(|n| (n * 33, 5000 + n / 6 * 200));
        assert!(live_at(frames).is_some());
    }

    #[test]
    fn a_cached_burst_is_not_live_however_slowly_it_comes() {
        // Up to 85 % of real time, as a link carries that is a little faster than the track.
        for step in [0, 1, 5, 10, 20, 25, 28] {
            let frames = (0..60).map(|n| (n * 33, 5000 + n * step));
            assert_eq!(live_at(frames), None, "one each {step} ms");
        }
        // As the window of a congestion controller grows, with each round trip.
        for trip in [60, 130, 250] {
            let frames = (0..60_i32).map(|n| {
                let trips = 32 - (n / 5 + 1).leading_zeros();
                (Nanos::from(n) * 33, 5000 + Nanos::from(trips) * trip)
            });
            assert_eq!(live_at(frames), None, "one burst each {trip} ms");
        }
    }

    #[test]
    fn after_a_silence_the_first_live_frames_show_it() {
        let cached = (0..30).map(|n| (n * 33, 5000));
        let live = (0..30).map(|n| (9000 + n * 33, 10_000 + n * 33));
        let live = live_at(cached.chain(live)).expect("it is live");
        assert!((10_000..10_700).contains(&live), "{live}");
    }
}
