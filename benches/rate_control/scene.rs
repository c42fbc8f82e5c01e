// SPDX-License-Identifier: MIT
//! What is measured: a path, and the bounds of the encoder that sends over it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A path and the encoder's bounds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Scene {
    pub(crate) name: String,
    /// Seconds from the beginning, and bit/s from then on; the first is at 0.
    pub(crate) steps: Vec<(f64, f64)>,
    /// Seconds.
    pub(crate) end: f64,
    /// One way.
    pub(crate) delay: Duration,
    /// Each packet has up to this more, without a change of the order.
    pub(crate) jitter: Duration,
    /// What waits at most in front of the bottleneck, as time at the capacity of that moment.
    pub(crate) queue: Duration,
    pub(crate) bitrate: Bitrate,
}

/// Of the video encoder, in bit/s.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Bitrate {
    pub(crate) min: u32,
    /// Where it begins, and where it stays without rate control.
    pub(crate) start: u32,
    pub(crate) max: u32,
}

impl Scene {
    /// RFC 8867, section 5.1, for 120 s.
    pub(crate) fn rfc8867() -> Self {
        Self {
            name: "rfc8867".into(),
            steps: vec![(0.0, 1e6), (40.0, 2.5e6), (60.0, 0.6e6), (80.0, 1e6)],
            end: 120.0,
            delay: Duration::from_millis(50),
            jitter: Duration::from_millis(30),
            queue: Duration::from_millis(300),
            bitrate: Bitrate {
                min: 200_000,
                start: 800_000,
                max: 4_000_000,
            },
        }
    }

    /// Half of the capacity is gone, then there is four times as much.
    pub(crate) fn half() -> Self {
        Self {
            name: "half".into(),
            steps: vec![(0.0, 4e6), (15.0, 2e6), (35.0, 8e6)],
            end: 50.0,
            delay: Duration::from_millis(20),
            jitter: Duration::ZERO,
            queue: Duration::from_millis(100),
            bitrate: Bitrate {
                min: 200_000,
                start: 3_500_000,
                max: 8_000_000,
            },
        }
    }

    /// A path of its kind that takes less time.
    pub(crate) fn quick() -> Self {
        Self {
            name: "quick".into(),
            steps: vec![(0.0, 2e6), (12.0, 1e6), (24.0, 3e6)],
            end: 36.0,
            bitrate: Bitrate {
                min: 200_000,
                start: 1_600_000,
                max: 4_000_000,
            },
            ..Self::half()
        }
    }

    /// One capacity for ever, for the check of the path itself.
    pub(crate) fn constant(bits: f64) -> Self {
        Self {
            name: "constant".into(),
            steps: vec![(0.0, bits)],
            end: 10.0,
            ..Self::rfc8867()
        }
    }

    /// Bit/s after so many seconds.
    pub(crate) fn capacity(&self, at: f64) -> f64 {
        let step = self.steps.iter().rev().find(|(from, _)| *from <= at);
        step.or(self.steps.first()).map_or(f64::NAN, |step| step.1)
    }

    /// After how many seconds `bits` are through that begin at `from`.
    pub(crate) fn through(&self, from: f64, mut bits: f64) -> f64 {
        let mut at = from;
        for &(next, _) in self.steps.iter().filter(|(next, _)| *next > from) {
            let capacity = self.capacity(at);
            if bits <= (next - at) * capacity {
                break;
            }
            bits -= (next - at) * capacity;
            at = next;
        }
        at + bits / self.capacity(at)
    }

    /// Begin, end and capacity of each step.
    pub(crate) fn spans(&self) -> impl Iterator<Item = (f64, f64, f64)> + '_ {
        let ends = self.steps.iter().skip(1).map(|step| step.0);
        let ends = ends.chain([self.end]);
        self.steps
            .iter()
            .zip(ends)
            .map(|(&(from, bits), to)| (from, to, bits))
    }

    /// Begin and end of each step that has less than the one before it.
    pub(crate) fn falls(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        let pairs = self.spans().zip(self.spans().skip(1));
        let falls = pairs.filter(|(before, after)| after.2 < before.2);
        falls.map(|(_, after)| (after.0, after.1))
    }
}
