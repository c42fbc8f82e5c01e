// SPDX-License-Identifier: MIT
//! Counters that both sides of a pad write without a lock.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows during a run.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The newest of a series of values, which may be unknown.
#[derive(Debug)]
pub(crate) struct AtomicGauge(AtomicU64);

impl AtomicGauge {
    /// Not a number; no value of ours has these bits.
    const UNKNOWN: u64 = u64::MAX;

    pub(crate) fn set(&self, value: impl Into<Option<f64>>) {
        let bits = value.into().map_or(Self::UNKNOWN, f64::to_bits);
        self.0.store(bits, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> Option<f64> {
        let bits = self.0.load(Ordering::Relaxed);
        (bits != Self::UNKNOWN).then(|| f64::from_bits(bits))
    }
}

impl Default for AtomicGauge {
    fn default() -> Self {
        Self(AtomicU64::new(Self::UNKNOWN))
    }
}
