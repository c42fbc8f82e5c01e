// SPDX-License-Identifier: MIT
//! Which rate a session gets: down at once where a queue stands, up while there is none.

use std::time::{Duration, Instant};

use super::path::Condition;

/// A queue that stands for this long is too much.
const MAX_STANDING: Duration = Duration::from_millis(80);
/// So is one that has this length for a shorter time,
const MAX_BUILDING: Duration = Duration::from_millis(150);
/// or this one at any moment: longer than the burst of a keyframe.
const MAX_DELAY: Duration = Duration::from_millis(350);
/// What is left of a queue when it counts as gone.
const DRAINED: Duration = Duration::from_millis(30);
/// What part of the capacity is used after a queue.
const HEADROOM: f64 = 0.9;
/// How fast a queue is to be gone.
const DRAIN_TIME: Duration = Duration::from_millis(800);
/// How much faster the rate grows each second: near the rate at which a queue stood,
const NEAR_GROWTH: f64 = 0.09;
/// at that rate,
const FULL_GROWTH: f64 = 0.07;
/// where none has stood yet,
const GROWTH: f64 = 0.15;
/// and beyond it, where the path has become wider.
const WIDER_GROWTH: f64 = 0.3;
/// From which part of that rate on the second and the last of these hold.
const FULL: f64 = 0.96;
const WIDER: f64 = 1.08;
/// With a queue shorter than this the rate grows,
const GROWS: Duration = Duration::from_millis(20);
/// with none, which is one shorter than this, it may be the wider path's,
const EMPTY: Duration = Duration::from_millis(15);
/// and with one that is longer it shrinks, by this part each second.
const SHRINKS: Duration = Duration::from_millis(30);
const SHRINKAGE: f64 = 0.12;
/// How many times what was carried the rate may be: beyond it nothing has been tried.
const MAX_UNTRIED: f64 = 1.2;
/// The longest time between two updates that counts as one.
const MAX_STEP: Duration = Duration::from_millis(500);
/// How soon what an encoder makes follows its rate.
const ENCODER_LAG: Duration = Duration::from_millis(1500);

/// The bounds of a rate in bits per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) min: u64,
    pub(crate) start: u64,
    pub(crate) max: u64,
}

/// The rate of one session in bits per second of media, from its beginning on.
#[derive(Debug)]
pub(crate) struct Rate {
    limits: Limits,
    target: f64,
    phase: Phase,
    /// The most that was carried in the last seconds, on the wire.
    tried: f64,
    /// How many times its rate an encoder makes; at least 1.
    excess: f64,
    updated: Option<Instant>,
    lowered: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    /// Nothing stands in the way.
    Growing,
    /// A queue stands, and is to be gone; it began at this rate, which was too much.
    Draining { from: f64 },
}

impl Limits {
    /// With `min` at most `max`, and `start` between them.
    pub(crate) fn new(min: u64, start: u64, max: u64) -> Self {
        let max = max.max(1);
        let min = min.min(max);
        Self {
            min,
            start: start.clamp(min, max),
            max,
        }
    }

    fn clamp(self, rate: f64) -> f64 {
        rate.clamp(self.min as f64, self.max as f64)
    }
}

impl Rate {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            target: limits.start as f64,
            phase: Phase::Growing,
            tried: 0.0,
            excess: 1.0,
            updated: None,
            lowered: None,
        }
    }

    pub(crate) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        self.target = limits.clamp(self.target);
    }

    pub(crate) fn target(&self) -> u64 {
        self.target.round() as u64
    }

    /// Takes in how the path is doing at `now`. Up to `trial` it may grow although nothing was tried:
    /// encoders that rest make nothing before.
    pub(crate) fn update(&mut self, now: Instant, path: &Condition, trial: Option<u64>) {
        let step = self
            .updated
            .replace(now)
            .map(|before| now.saturating_duration_since(before))
            .unwrap_or_default()
            .min(MAX_STEP);
        let media = 1.0 - path.overhead;
        self.learn_excess(now, path.offered * media, step);
        self.tried = path
            .carried
            .max(self.tried * (1.0 - 0.1 * step.as_secs_f64()));
        let stands = path.standing >= MAX_STANDING
            || path.building >= MAX_BUILDING
            || path.delay >= MAX_DELAY;
        if stands && self.phase == Phase::Growing {
            self.phase = Phase::Draining { from: self.target };
        } else if !stands && path.building < DRAINED {
            self.phase = Phase::Growing;
        }
        match (self.phase, path.capacity) {
            (Phase::Draining { from }, Some(capacity)) => self.drain(now, path, capacity, from),
            // Something waits, and nothing says yet for what.
            (Phase::Draining { .. }, None) => {}
            (Phase::Growing, _) => self.adapt(path, step, trial),
        }
        self.target = self.limits.clamp(self.target);
    }

    fn drain(&mut self, now: Instant, path: &Condition, capacity: f64, from: f64) {
        let excess = path.delay.saturating_sub(GROWS);
        let waiting = capacity * excess.as_secs_f64();
        let fits = HEADROOM * capacity - waiting / DRAIN_TIME.as_secs_f64();
        let target = fits.max(0.0) * (1.0 - path.overhead) / self.excess;
        // The capacity may be one of the past: what was too much is too much still.
        let target = target.min(from);
        if target < self.target {
            self.lowered = Some(now);
        }
        self.target = target;
    }

    /// Keeps to the capacity where that is known: a queue that begins to form says where it is.
    fn adapt(&mut self, path: &Condition, step: Duration, trial: Option<u64>) {
        let step = step.as_secs_f64();
        if path.building >= SHRINKS {
            self.target *= 1.0 - SHRINKAGE * step;
        }
        if path.building >= GROWS {
            return;
        }
        let media = (1.0 - path.overhead) / self.excess;
        let growth = match path
            .capacity
            .map(|capacity| self.target / (capacity * media))
        {
            None => GROWTH,
            // At once back to what is known to fit.
            Some(part) if part < HEADROOM => {
                self.target *= HEADROOM / part;
                NEAR_GROWTH
            }
            Some(part) if part < FULL => NEAR_GROWTH,
            Some(part) if part < WIDER || path.building >= EMPTY => FULL_GROWTH,
            Some(_) => WIDER_GROWTH,
        };
        let trial = trial.map_or(0.0, |rate| rate as f64);
        let untried = (MAX_UNTRIED * self.tried * media).max(trial);
        if self.target < untried {
            self.target = (self.target * (1.0 + growth * step)).min(untried);
        }
    }

    /// How far an encoder exceeds its rate, once it has had the time to follow it.
    fn learn_excess(&mut self, now: Instant, offered: f64, step: Duration) {
        let settled = self
            .lowered
            .is_none_or(|at| now.saturating_duration_since(at) >= ENCODER_LAG);
        if settled && self.target > 0.0 {
            let excess = (offered / self.target).clamp(1.0, 2.0);
            self.excess += (excess - self.excess) * (step.as_secs_f64() / 2.0).min(1.0);
        }
    }
}

#[cfg(test)]
mod tests;
