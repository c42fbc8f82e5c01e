// SPDX-License-Identifier: MIT
//! The rate on a simulated path, whose transport takes losses for a sign of a full queue, as CUBIC does.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::media::control::path::{Counts, Path};

const STEP: Duration = Duration::from_millis(5);
const SAMPLE: Duration = Duration::from_millis(100);
const FRAME: Duration = Duration::from_millis(33);
const KEYFRAMES: u32 = 60;
/// How much the network's queue holds, in time.
const QUEUE: Duration = Duration::from_millis(300);
/// On the wire for each packet of that many bytes of media.
const PACKET: f64 = 1200.0;
const OVERHEAD: f64 = 38.0;

/// One session, its encoder and its path; sizes in bytes, rates in bits per second.
struct Simulation {
    now: Instant,
    begin: Instant,
    path: Path,
    rate: Rate,
    capacity: f64,
    /// Round trip without a queue.
    rtt: Duration,
    /// What the encoder makes of its rate.
    excess: f64,
    /// What its pictures need at most.
    most: f64,
    trial: Option<u64>,
    frames: u32,
    next_frame: Instant,
    next_sample: Instant,
    given: f64,
    sent: f64,
    packets: f64,
    /// Waits in the transport and in the network.
    unsent: f64,
    queued: f64,
    /// What is under way behind the queue, and when it is acknowledged.
    flying: VecDeque<(Instant, f64)>,
    /// What may be under way at a time, and when that was reduced last.
    window: f64,
    reduced: Instant,
    lost: f64,
    smoothed: Duration,
    log: Vec<(Duration, f64, Duration)>,
}

impl Simulation {
    fn new(limits: Limits, capacity: f64, rtt: Duration) -> Self {
        let now = Instant::now();
        Self {
            now,
            begin: now,
            path: Path::new(),
            rate: Rate::new(limits),
            capacity,
            rtt,
            excess: 1.0,
            most: f64::INFINITY,
            trial: None,
            frames: 0,
            next_frame: now,
            next_sample: now,
            given: 0.0,
            sent: 0.0,
            packets: 0.0,
            unsent: 0.0,
            queued: 0.0,
            flying: VecDeque::new(),
            window: 100_000.0,
            reduced: now,
            lost: 0.0,
            smoothed: rtt,
            log: Vec::new(),
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += STEP;
            self.encode();
            self.transmit();
            self.sample();
        }
    }

    fn encode(&mut self) {
        if self.now < self.next_frame {
            return;
        }
        self.next_frame += FRAME;
        let rate = (self.rate.target() as f64 * self.excess).min(self.most);
        // A keyframe is as large as four others.
        let weight = match self.frames % KEYFRAMES {
            0 => 4.0,
            _ => 1.0,
        };
        let mean = (f64::from(KEYFRAMES) + 3.0) / f64::from(KEYFRAMES);
        self.frames += 1;
        let bytes = rate * FRAME.as_secs_f64() / 8.0 * weight / mean;
        self.given += bytes;
        self.unsent += bytes * (PACKET + OVERHEAD) / PACKET;
    }

    fn transmit(&mut self) {
        let step = STEP.as_secs_f64();
        while let Some((at, _)) = self.flying.front().copied()
            && at <= self.now
        {
            self.flying.pop_front();
        }
        let flying: f64 = self.flying.iter().map(|(_, bytes)| bytes).sum();
        let room = (self.window - flying - self.queued).max(0.0);
        let sent = self.unsent.min(room);
        self.unsent -= sent;
        self.queued += sent;
        self.sent += sent;
        self.packets += sent / (PACKET + OVERHEAD);
        let lost = (self.queued - self.capacity * QUEUE.as_secs_f64() / 8.0).max(0.0);
        self.queued -= lost;
        self.unsent += lost;
        self.lost += lost;
        let rtt = self.rtt + Duration::from_secs_f64(self.queued * 8.0 / self.capacity);
        if lost > 0.0 && self.now >= self.reduced + rtt {
            self.window *= 0.7;
            self.reduced = self.now;
        }
        let growth = 10.0 * PACKET * step / rtt.as_secs_f64();
        self.window = (self.window + growth).clamp(10_000.0, 2_000_000.0);
        let delay = self.queued * 8.0 / self.capacity;
        let through = self.queued.min(self.capacity * step / 8.0);
        self.queued -= through;
        if through > 0.0 {
            self.flying.push_back((self.now + self.rtt, through));
        }
        let rtt = self.rtt.as_secs_f64() + delay;
        let smoothed = self.smoothed.as_secs_f64();
        self.smoothed = Duration::from_secs_f64(smoothed + (rtt - smoothed) / 8.0);
    }

    fn sample(&mut self) {
        if self.now < self.next_sample {
            return;
        }
        self.next_sample += SAMPLE;
        let counts = self.counts();
        if let Some(condition) = self.path.update(self.now, counts) {
            self.rate.update(self.now, &condition, self.trial);
        }
        let delay = (self.unsent + self.queued) * 8.0 / self.capacity;
        let since = self.now.saturating_duration_since(self.begin);
        let delay = Duration::from_secs_f64(delay);
        self.log.push((since, self.rate.target() as f64, delay));
    }

    fn counts(&self) -> Counts {
        Counts {
            given: self.given as u64,
            sent: self.sent as u64,
            lost: self.lost as u64,
            packets: self.packets as u64,
            rtt: self.smoothed,
        }
    }

    /// The mean of the rates from then on, and the bounds of nine tenths of them.
    fn rates(&self, from: Duration) -> (f64, f64, f64) {
        let rates = self.log.iter().filter(|(at, ..)| *at >= from);
        let mut rates: Vec<f64> = rates.map(|(_, rate, _)| *rate).collect();
        rates.sort_unstable_by(f64::total_cmp);
        let sum: f64 = rates.iter().sum();
        let quantile = |part: usize| rates[(rates.len() * part / 100).min(rates.len() - 1)];
        (sum / rates.len() as f64, quantile(5), quantile(95))
    }

    /// The delay that 99 of 100 samples keep to from then on.
    fn delay(&self, from: Duration) -> Duration {
        let delays = self.log.iter().filter(|(at, ..)| *at >= from);
        let mut delays: Vec<Duration> = delays.map(|(.., delay)| *delay).collect();
        delays.sort_unstable();
        delays[delays.len() * 99 / 100]
    }
}

fn secs(time: u64) -> Duration {
    Duration::from_secs(time)
}

fn limits() -> Limits {
    Limits::new(100_000, 2_000_000, 8_000_000)
}

/// Whether the rates from then on use the capacity, and nine tenths of them lie within 18 % of their middle.
fn assert_steady(simulation: &Simulation, from: Duration) {
    let (mean, low, high) = simulation.rates(from);
    let media = simulation.capacity * PACKET / (PACKET + OVERHEAD) / simulation.excess;
    let used = mean / media;
    assert!((0.8..1.0).contains(&used), "{used} of the capacity");
    let swing = (high - low) / (high + low);
    assert!(swing < 0.18, "{low} to {high}");
}

#[test]
fn a_path_that_narrows_and_opens_is_followed_within_seconds() {
    let mut simulation = Simulation::new(limits(), 4e6, Duration::from_millis(40));
    simulation.run(secs(60));
    assert_steady(&simulation, secs(20));
    simulation.capacity = 2e6;
    simulation.run(secs(30));
    assert_steady(&simulation, secs(64));
    let delay = simulation.delay(secs(63));
    assert!(delay < Duration::from_millis(250), "{delay:?}");
    simulation.capacity = 8e6;
    simulation.run(secs(6));
    let rate = simulation.rate.target();
    assert!(rate >= 3_000_000, "{rate}");
}

#[test]
fn a_capacity_of_the_past_raises_no_rate_while_a_queue_stands() {
    let mut rate = Rate::new(limits());
    let mut now = Instant::now();
    let path = Condition {
        offered: 2e6,
        carried: 1e6,
        capacity: Some(8e6),
        delay: Duration::from_millis(100),
        backlog: Duration::ZERO,
        standing: Duration::from_millis(90),
        building: Duration::from_millis(90),
        overhead: 0.0,
    };
    for _ in 0..20 {
        now += SAMPLE;
        rate.update(now, &path, None);
        assert!(rate.target() <= 2_000_000, "{}", rate.target());
    }
}

#[test]
fn an_encoder_that_exceeds_its_rate_gets_less() {
    let mut simulation = Simulation::new(limits(), 2e6, Duration::from_millis(40));
    simulation.excess = 1.5;
    simulation.run(secs(60));
    assert_steady(&simulation, secs(20));
}

#[test]
fn pictures_that_need_little_raise_nothing() {
    let mut simulation = Simulation::new(limits(), 20e6, Duration::from_millis(40));
    simulation.most = 300_000.0;
    simulation.run(secs(20));
    let rate = simulation.rate.target();
    assert_eq!(rate, 2_000_000, "nothing is known of what was not tried");
}

#[test]
fn what_rests_may_be_tried() {
    let mut simulation = Simulation::new(limits(), 20e6, Duration::from_millis(40));
    simulation.most = 300_000.0;
    simulation.trial = Some(3_000_000);
    simulation.run(secs(20));
    assert_eq!(simulation.rate.target(), 3_000_000);
}

#[test]
fn what_was_dropped_does_not_wait() {
    let mut simulation = Simulation::new(limits(), 4e6, Duration::from_millis(40));
    simulation.run(secs(30));
    simulation.capacity = 1e6;
    simulation.run(secs(1));
    // As a group that comes too late.
    simulation.unsent = 0.0;
    simulation.run(secs(30));
    assert_steady(&simulation, secs(40));
    let (mean, ..) = simulation.rates(secs(34));
    assert!(mean > 0.75e6, "{mean}");
}

#[test]
fn a_longer_way_is_no_queue_for_long() {
    let mut simulation = Simulation::new(limits(), 4e6, Duration::from_millis(20));
    simulation.run(secs(10));
    simulation.rtt = Duration::from_millis(120);
    simulation.run(secs(60));
    assert_steady(&simulation, secs(25));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_constant_path_is_used_and_never_exceeded_for_long(
        capacity in 500_000.0..20_000_000.0f64,
        rtt in 20u64..200,
        excess in 1.0..1.4f64,
    ) {
        let limits = Limits::new(50_000, 1_000_000, 50_000_000);
        let mut simulation = Simulation::new(limits, capacity, Duration::from_millis(rtt));
        simulation.excess = excess;
        simulation.run(secs(90));
        assert_steady(&simulation, secs(40));
        let delay = simulation.delay(secs(40));
        prop_assert!(delay < Duration::from_millis(1200), "{:?}", delay);
    }

    #[test]
    fn the_limits_hold_whatever_is_counted(
        counts in prop::collection::vec(
            (any::<u32>(), any::<u32>(), any::<u32>(), any::<u32>(), 0u64..2_000, 0u64..2_000),
            1..60,
        ),
        min in 1u64..10_000_000,
        start in 1u64..10_000_000,
        max in 1u64..10_000_000,
    ) {
        let limits = Limits::new(min, start, max);
        let (mut path, mut rate) = (Path::new(), Rate::new(limits));
        let mut now = Instant::now();
        for (given, sent, lost, packets, rtt, pause) in counts {
            now += Duration::from_millis(pause);
            let [given, sent, lost, packets] = [given, sent, lost, packets].map(u64::from);
            let rtt = Duration::from_millis(rtt);
            let counts = Counts { given, sent, lost, packets, rtt };
            if let Some(condition) = path.update(now, counts) {
                rate.update(now, &condition, None);
            }
            prop_assert!(rate.target() <= max.max(1) && rate.target() >= min.min(max));
        }
    }

    #[test]
    fn what_is_stale_changes_nothing(pause in 1_000u64..100_000) {
        let mut simulation = Simulation::new(limits(), 4e6, Duration::from_millis(40));
        simulation.run(secs(10));
        let before = simulation.rate.target();
        // Nothing was counted meanwhile: neither time nor an old figure is a reason.
        simulation.now += Duration::from_millis(pause);
        let counts = simulation.counts();
        if let Some(condition) = simulation.path.update(simulation.now, counts) {
            simulation.rate.update(simulation.now, &condition, None);
        }
        prop_assert_eq!(simulation.rate.target(), before);
    }
}
