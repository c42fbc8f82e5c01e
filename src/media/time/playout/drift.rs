// SPDX-License-Identifier: MIT
//! How far the publisher's clock runs away from ours.

use crate::media::time::nanos::Nanos;

/// Over less than this a drift of 100 ppm is no more than the jitter of a network.
const MIN_DRIFT_INTERVAL: Nanos = 30_000_000_000;

/// The way of the edge between two resyncs.
#[derive(Debug, Default)]
pub(super) struct Drift {
    first: Option<(Nanos, Nanos)>,
    last: (Nanos, Nanos),
}

impl Drift {
    /// Takes in the `offset` of the edge at `now`.
    pub(super) fn follow(&mut self, offset: Nanos, now: Nanos) {
        self.last = (offset, now);
        self.first.get_or_insert(self.last);
    }

    /// Parts per million, positive where the publisher's clock is the faster one.
    pub(super) fn ppm(&self) -> Option<f64> {
        let (offset, since) = self.first?;
        let (moved, elapsed) = (self.last.0 - offset, self.last.1 - since);
        (elapsed >= MIN_DRIFT_INTERVAL).then(|| -(moved as f64) * 1e6 / elapsed as f64)
    }
}
