// SPDX-License-Identifier: MIT
//! The least transit of the last seconds of one track.

use std::collections::VecDeque;

use crate::media::time::nanos::Nanos;

/// Length of one bucket; the step in which old transits are forgotten.
const BUCKET_INTERVAL: Nanos = 250_000_000;
/// How far back the least is looked for. Shorter follows a drift more closely, longer needs fewer
/// undelayed frames: 200 ppm add 2 ms in 10 s.
pub(super) const WINDOW_INTERVAL: Nanos = 10_000_000_000;

/// A sliding minimum over [`WINDOW_INTERVAL`], in steps of [`BUCKET_INTERVAL`].
#[derive(Debug, Default)]
pub(super) struct Transits {
    /// Start and least transit of each bucket, oldest first.
    buckets: VecDeque<(Nanos, Nanos)>,
}

impl Transits {
    pub(super) fn add(&mut self, transit: Nanos, now: Nanos) {
        self.forget_before(now - WINDOW_INTERVAL);
        match self.buckets.back_mut() {
            Some((start, least)) if now - *start < BUCKET_INTERVAL => *least = transit.min(*least),
            _ => self.buckets.push_back((now, transit)),
        }
    }

    /// Forgets what was seen before `time`.
    pub(super) fn forget_before(&mut self, time: Nanos) {
        while self.buckets.front().is_some_and(|(start, _)| *start < time) {
            self.buckets.pop_front();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// When the newest bucket began.
    pub(super) fn newest(&self) -> Option<Nanos> {
        self.buckets.back().map(|(start, _)| *start)
    }

    /// The least transit that is not forgotten.
    pub(super) fn least(&self) -> Option<Nanos> {
        self.buckets.iter().map(|(_, least)| *least).min()
    }
}
