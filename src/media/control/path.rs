// SPDX-License-Identifier: MIT
//! What a session's path carries, and how long media wait for it, by what its transport has counted.
//!
//! The transport says how much it has sent, not how much of what it was given waits. That follows from
//! what it was given and what it has sent, up to a constant: the least difference of the last seconds, at
//! which nothing waited. What waits in the network shows as a round trip above the shortest one.
//!
//! A keyframe waits for its turn on a path that is not full, too. Full is what never empties: the least of
//! an interval counts, as in CoDel (RFC 8289, section 3.2).

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// How long a queue has to stand before it counts; the pauses that BBR makes to measure the round trip
/// (200 ms, draft-ietf-ccwg-bbr, section 5.3.4.3) are shorter.
const STANDING: Duration = Duration::from_millis(400);
/// How long one has to be there to be more than the burst of a frame.
const BUILDING: Duration = Duration::from_millis(200);
/// The longest time over which the capacity is measured, and with more than [`LONG_DELAY`], where what was
/// before says least.
const CAPACITY_WINDOW: Duration = Duration::from_millis(800);
const SHORT_WINDOW: Duration = Duration::from_millis(500);
const LONG_DELAY: Duration = Duration::from_millis(150);
/// The shortest one.
const MIN_CAPACITY_WINDOW: Duration = Duration::from_millis(150);
/// The time over which rates are averaged.
const RATE_WINDOW: Duration = Duration::from_secs(1);
/// What waits for less may be a frame that has just come, and is under way by the next one.
const WAITS: Duration = Duration::from_millis(50);
/// How long the least surplus is remembered, to twice as long.
const SURPLUS_MEMORY: Duration = Duration::from_secs(5);
/// The same of the shortest round trip: routes change.
const RTT_MEMORY: Duration = Duration::from_secs(15);
/// After this long a queue that never emptied was none.
const MAX_FREEZE: Duration = Duration::from_secs(30);
/// What part of the capacity is so little that what waits would be gone at once.
const DROPPED: f64 = 0.8;
/// What part of it is so little that a queue of ours would become shorter,
const OTHERS: f64 = 0.9;
/// and within this time is gone.
const MAX_OTHER: Duration = Duration::from_secs(2);
/// With so much in the transport, it sends what the path carries.
const BACKLOG: Duration = Duration::from_millis(20);
/// So much longer does a round trip become in each second where more is sent than that.
const MIN_GROWTH: f64 = 0.02;
/// How many measurements stand for one, by the largest: losses are counted after what is sent for them.
/// With more than [`LONG_DELAY`] they are fewer.
const MEASUREMENTS: usize = 4;
const FEW_MEASUREMENTS: usize = 2;
/// What the smoothed round trip varies by without a reason.
const RTT_NOISE: Duration = Duration::from_millis(5);
/// What the surplus does, in bytes: a frame.
const SURPLUS_NOISE: u64 = 4000;
/// How much a measurement of the capacity counts beside those before, from which it differs by less than
/// [`OTHER_CAPACITY`] of them.
const MEASUREMENT_WEIGHT: f64 = 0.2;
const OTHER_CAPACITY: f64 = 0.3;
/// The least that a packet has beside media, in bytes: short header, stream frame and authentication tag
/// (RFC 9000, sections 17.3.1 and 19.8; RFC 9001, section 5.3). Too small is safe: the surplus then sinks
/// slowly instead of growing.
const PACKET_OVERHEAD: i64 = 30;

/// What was counted of a session up to one moment, in bytes where nothing else is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Media that the transport was given.
    pub(crate) given: u64,
    /// All that it has sent, repetitions and overhead included.
    pub(crate) sent: u64,
    /// Of that, what was lost and has to be sent again.
    pub(crate) lost: u64,
    /// In how many packets it was sent.
    pub(crate) packets: u64,
    /// Smoothed.
    pub(crate) rtt: Duration,
}

/// A path, from the beginning of its session on.
#[derive(Debug)]
pub(crate) struct Path {
    /// The oldest first.
    samples: VecDeque<Sample>,
    /// The least surplus of what was given over what was sent, in bytes.
    surplus: RecentMin<i64>,
    rtt: RecentMin<Duration>,
    /// Since when something has waited without a pause.
    waiting_since: Option<Instant>,
    /// Since when the queue has stood.
    standing_since: Option<Instant>,
    /// How it was when a queue began to stand in the network alone.
    other: Option<Sample>,
    capacity: Option<f64>,
    /// The last measurements of it.
    measured: VecDeque<f64>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    counts: Counts,
    /// How long what is given now has to wait.
    delay: Duration,
    /// In the transport alone.
    backlog: Duration,
}

/// How a path is doing; rates are in bits per second on the wire.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Condition {
    /// What it was asked to carry in the last second, with overhead.
    pub(crate) offered: f64,
    /// What it has carried in the last half of a second.
    pub(crate) carried: f64,
    /// What it can carry, measured when something last waited for it all the time.
    pub(crate) capacity: Option<f64>,
    /// How long what is given now has to wait, in the transport and in the network.
    pub(crate) delay: Duration,
    /// How long in the transport, which it may still be taken back from.
    pub(crate) backlog: Duration,
    /// The least delay of an interval: a queue that does not empty.
    pub(crate) standing: Duration,
    /// The same of a shorter interval: a queue that may become one.
    pub(crate) building: Duration,
    /// What part of the bytes on the wire is no media, 0 to 1.
    pub(crate) overhead: f64,
}

/// Where something waits.
#[derive(Debug)]
struct Queue {
    in_transport: Duration,
    in_network: Duration,
    /// As much was sent as was given.
    balanced: bool,
}

/// The least of the last seconds.
#[derive(Debug)]
struct RecentMin<T> {
    memory: Duration,
    current: Option<(Instant, T)>,
    before: Option<T>,
}

impl Path {
    pub(crate) fn new() -> Self {
        Self {
            samples: VecDeque::new(),
            surplus: RecentMin::new(SURPLUS_MEMORY),
            rtt: RecentMin::new(RTT_MEMORY),
            waiting_since: None,
            standing_since: None,
            other: None,
            capacity: None,
            measured: VecDeque::new(),
        }
    }

    /// Takes in what was counted up to `now`; `None` as long as that says nothing.
    pub(crate) fn update(&mut self, now: Instant, counts: Counts) -> Option<Condition> {
        let surplus = counts.surplus();
        // What a queue makes of them must not pass for the state without one.
        let frozen = self
            .standing_since
            .is_some_and(|since| now.saturating_duration_since(since) < MAX_FREEZE);
        let least_surplus = self.surplus.update(now, surplus, frozen);
        let least_rtt = self.rtt.update(now, counts.rtt, frozen);
        let waiting = surplus.saturating_sub(least_surplus).max(0) as f64 * 8.0;
        let in_network = counts.rtt.saturating_sub(least_rtt);
        let carried = self.rate(now, counts, RATE_WINDOW / 2).unwrap_or_default();
        let speed = self.capacity.unwrap_or_default().max(carried);
        let in_transport = match speed > 0.0 {
            true => Duration::from_secs_f64((waiting / speed).min(60.0)),
            false => Duration::ZERO,
        };
        let delay = in_transport + in_network;
        self.push(Sample {
            at: now,
            counts,
            delay,
            backlog: in_transport,
        });
        let waits = delay >= WAITS;
        self.waiting_since = waits.then(|| self.waiting_since.unwrap_or(now));
        if !waits {
            self.measured.clear();
        }
        let queue = Queue {
            in_transport,
            in_network,
            balanced: self.is_balanced(counts),
        };
        if let Some(measured) = self.measure(now, counts, &queue) {
            self.take_measurement(measured, queue.is_long());
        }
        self.notice_dropped(&queue, carried);
        self.notice_other_queue(now, counts, &queue);
        let standing = self.least_delay(now, STANDING);
        let stands = standing >= WAITS;
        self.standing_since = stands.then(|| self.standing_since.unwrap_or(now));
        let first = self.samples.front()?;
        let time = now.saturating_duration_since(first.at).as_secs_f64();
        if time < MIN_CAPACITY_WINDOW.as_secs_f64() {
            return None;
        }
        let given = counts.given.saturating_sub(first.counts.given) as f64 * 8.0 / time;
        let overhead = counts.overhead_since(first.counts);
        Some(Condition {
            offered: given / (1.0 - overhead),
            carried,
            capacity: self.capacity,
            delay,
            backlog: in_transport,
            standing,
            building: self.least_delay(now, BUILDING),
            overhead,
        })
    }

    /// What waited in the transport was taken back.
    pub(crate) fn take_back(&mut self) {
        // The newest measurement has least of the time before the queue.
        self.capacity = self.measured.back().copied().or(self.capacity);
        self.surplus.forget();
        self.begin_anew();
    }

    /// What the path has carried in the last `window`, in bits per second.
    fn rate(&self, now: Instant, counts: Counts, window: Duration) -> Option<f64> {
        let from = self.samples.iter().rev();
        let from = from
            .take_while(|sample| now.saturating_duration_since(sample.at) <= window)
            .last()?;
        let time = now.saturating_duration_since(from.at).as_secs_f64();
        let bytes = counts.net().saturating_sub(from.counts.net());
        (time > 0.0).then(|| bytes as f64 * 8.0 / time)
    }

    /// The capacity, if something has waited for it for long enough.
    ///
    /// What comes into a queue at the rate r makes it longer by r / c - 1 in each unit of time. Where the
    /// network's queue does not become longer, and the transport sends just what it is given, the rate is that
    /// of the encoder.
    fn measure(&self, now: Instant, counts: Counts, queue: &Queue) -> Option<f64> {
        let since = self.waiting_since?;
        let longest = match queue.is_long() {
            true => SHORT_WINDOW,
            false => CAPACITY_WINDOW,
        };
        let window = |sample: &&Sample| {
            sample.at >= since && now.saturating_duration_since(sample.at) <= longest
        };
        let from = self.samples.iter().find(window)?;
        let time = now.saturating_duration_since(from.at);
        if time < MIN_CAPACITY_WINDOW {
            return None;
        }
        let time = time.as_secs_f64();
        let rate = counts.net().saturating_sub(from.counts.net()) as f64 * 8.0 / time;
        let growth = (counts.rtt.as_secs_f64() - from.counts.rtt.as_secs_f64()) / time;
        let mut samples = self.samples.iter().filter(window);
        let sends_all_it_can = !queue.balanced && samples.all(|sample| sample.backlog >= BACKLOG);
        let full = sends_all_it_can || growth >= MIN_GROWTH;
        Some(rate / (1.0 + growth.clamp(-0.5, 4.0))).filter(|rate| full && *rate > 0.0)
    }

    fn take_measurement(&mut self, measured: f64, few: bool) {
        self.measured.push_back(measured);
        let count = if few { FEW_MEASUREMENTS } else { MEASUREMENTS };
        while self.measured.len() > count {
            self.measured.pop_front();
        }
        let measured = self.measured.iter().copied().fold(0.0, f64::max);
        self.capacity = Some(match self.capacity {
            Some(capacity) if (measured - capacity).abs() < OTHER_CAPACITY * capacity => {
                capacity + (measured - capacity) * MEASUREMENT_WEIGHT
            }
            _ => measured,
        });
    }

    /// Whether in the last second the transport has sent just what it was given.
    fn is_balanced(&self, counts: Counts) -> bool {
        self.samples.front().is_some_and(|first| {
            let sent = counts.net().saturating_sub(first.counts.net());
            let noise = SURPLUS_NOISE.max(sent / 20);
            counts.surplus().abs_diff(first.counts.surplus()) <= noise
        })
    }

    /// What waits in the transport is sent as fast as the path carries it. Where no more is sent than is
    /// given, and that is much less, what seems to wait was dropped: groups are that come too late.
    fn notice_dropped(&mut self, queue: &Queue, carried: f64) {
        let slow = self
            .capacity
            .is_some_and(|capacity| carried < DROPPED * capacity);
        let waits = queue.in_transport >= WAITS && queue.in_network < WAITS;
        if slow && waits && queue.balanced {
            self.take_back();
        }
    }

    /// A queue in the network that stays as it is while less is carried than the path can is none of ours:
    /// it is another route, or others' traffic.
    fn notice_other_queue(&mut self, now: Instant, counts: Counts, queue: &Queue) {
        let waits = queue.in_network >= WAITS && queue.in_transport < WAITS;
        let standing = self.least_delay(now, STANDING);
        let Some(begin) = self.other.filter(|_| waits) else {
            self.other = waits.then_some(Sample {
                at: now,
                counts,
                delay: standing,
                backlog: queue.in_transport,
            });
            return;
        };
        let time = now.saturating_duration_since(begin.at);
        if time < MAX_OTHER {
            return;
        }
        self.other = None;
        let bytes = counts.net().saturating_sub(begin.counts.net());
        let carried = bytes as f64 * 8.0 / time.as_secs_f64();
        let less = self
            .capacity
            .is_some_and(|capacity| carried < OTHERS * capacity);
        if less && standing + RTT_NOISE >= begin.delay {
            self.rtt.forget();
            self.begin_anew();
        }
    }

    /// There is no queue, whatever was counted before.
    fn begin_anew(&mut self) {
        (self.waiting_since, self.standing_since, self.other) = (None, None, None);
        self.measured.clear();
        self.samples.clear();
    }

    /// The least delay of the last `interval`, none before that much was seen.
    fn least_delay(&self, now: Instant, interval: Duration) -> Duration {
        let age = |sample: &Sample| now.saturating_duration_since(sample.at);
        let recent = self.samples.iter().rev();
        let recent = recent.take_while(|sample| age(sample) <= interval);
        let least = recent.map(|sample| sample.delay).min();
        let covered = self
            .samples
            .front()
            .is_some_and(|first| age(first) >= interval);
        least.filter(|_| covered).unwrap_or_default()
    }

    fn push(&mut self, sample: Sample) {
        self.samples.push_back(sample);
        let old = |first: &Sample| sample.at.saturating_duration_since(first.at) > RATE_WINDOW;
        while self.samples.front().is_some_and(old) {
            self.samples.pop_front();
        }
    }
}

impl Queue {
    fn is_long(&self) -> bool {
        self.in_transport + self.in_network >= LONG_DELAY
    }
}

impl Counts {
    /// What was sent without what has to be sent again.
    fn net(&self) -> u64 {
        self.sent.saturating_sub(self.lost)
    }

    /// What part of the bytes on the wire was no media, 0 to 1.
    fn overhead_since(&self, before: Self) -> f64 {
        let sent = self.net().saturating_sub(before.net()) as f64;
        let packets = self.packets.saturating_sub(before.packets) as f64;
        match sent > 0.0 {
            true => (packets * PACKET_OVERHEAD as f64 / sent).clamp(0.0, 0.3),
            false => 0.0,
        }
    }

    fn surplus(&self) -> i64 {
        let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let headers = signed(self.packets).saturating_mul(PACKET_OVERHEAD);
        let media = signed(self.net()).saturating_sub(headers);
        signed(self.given).saturating_sub(media)
    }
}

impl<T: Copy + Ord> RecentMin<T> {
    fn new(memory: Duration) -> Self {
        Self {
            memory,
            current: None,
            before: None,
        }
    }

    /// Takes in a value; a `frozen` one only if it is the least. Returns the least.
    fn update(&mut self, now: Instant, value: T, frozen: bool) -> T {
        let least = match self.current {
            Some((since, least)) if now.saturating_duration_since(since) >= self.memory => {
                if frozen {
                    self.current = Some((since, least.min(value)));
                } else {
                    self.before = Some(least);
                    self.current = Some((now, value));
                }
                least
            }
            Some((since, least)) => {
                self.current = Some((since, least.min(value)));
                least
            }
            None => {
                self.current = Some((now, value));
                value
            }
        };
        self.before.unwrap_or(least).min(least).min(value)
    }

    fn forget(&mut self) {
        (self.current, self.before) = (None, None);
    }
}
