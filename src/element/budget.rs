// SPDX-License-Identifier: MIT
//! The byte and time budget that travels beside a channel.

use std::sync::{
    Arc, Condvar, Mutex, MutexGuard,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::Notify;

use super::sync::{lock, unpoisoned};

/// No more frames wait in one channel, however small they are: each costs a few hundred bytes itself.
const MAX_FRAMES: u64 = 32_768;

/// How much media may wait in a channel.
///
/// The channel itself never refuses: whoever finds the budget spent waits for room, or drops.
#[derive(Debug)]
pub(crate) struct Budget {
    /// In bytes; 0 means unlimited.
    max_bytes: u64,
    /// In ns, between the first and the last frame of the channel; 0 means unlimited.
    max_time: AtomicU64,
    level: Mutex<Level>,
    blocking: Condvar,
    asynchronous: Notify,
}

#[derive(Debug, Default)]
struct Level {
    frames: u64,
    /// Those of them whose time is known.
    timed: u64,
    bytes: u64,
    last_in: gst::ClockTime,
    last_out: gst::ClockTime,
    /// How many wait for room: without any, nobody is woken.
    waiters: u32,
}

/// One who waits for room, until it is dropped.
struct Waiter<'a>(&'a Budget);

/// One frame's share of a [`Budget`], given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Arc<Budget>,
    bytes: u64,
    time: Option<gst::ClockTime>,
}

impl Budget {
    pub(crate) fn new(max_bytes: u64, max_time: gst::ClockTime) -> Arc<Self> {
        Arc::new(Self {
            max_bytes,
            max_time: AtomicU64::new(max_time.nseconds()),
            level: Mutex::default(),
            blocking: Condvar::new(),
            asynchronous: Notify::new(),
        })
    }

    /// Allows another span between the first and the last frame; zero means unlimited.
    pub(crate) fn set_max_time(&self, max_time: gst::ClockTime) {
        self.max_time.store(max_time.nseconds(), Ordering::Relaxed);
    }

    /// Takes the share of a frame of `bytes` at `time`; never waits.
    pub(crate) fn charge(self: &Arc<Self>, bytes: usize, time: gst::ClockTime) -> Charge {
        self.take(&mut self.level(), bytes, Some(time))
    }

    /// The same, unless more than twice the budget waits; never waits.
    pub(crate) fn try_charge(
        self: &Arc<Self>,
        bytes: usize,
        time: gst::ClockTime,
    ) -> Option<Charge> {
        let mut level = self.level();
        let fits = !self.exceeds(&level, 2);
        fits.then(|| self.take(&mut level, bytes, Some(time)))
    }

    /// The same once there is room, for which it blocks until `cancelled` says so; [`Budget::wake`] makes
    /// it look again.
    pub(crate) fn wait_charge(
        self: &Arc<Self>,
        bytes: usize,
        time: gst::ClockTime,
        cancelled: impl Fn() -> bool,
    ) -> Option<Charge> {
        let mut level = self.level();
        if self.over(&level) {
            level.waiters += 1;
            let wait = |level: &mut Level| self.over(level) && !cancelled();
            level = unpoisoned(self.blocking.wait_while(level, wait));
            level.waiters -= 1;
            if self.over(&level) || cancelled() {
                return None;
            }
        }
        Some(self.take(&mut level, bytes, Some(time)))
    }

    /// Takes the share of a frame of `bytes` whose time is not known yet; never waits.
    pub(crate) fn charge_untimed(self: &Arc<Self>, bytes: usize) -> Charge {
        self.take(&mut self.level(), bytes, None)
    }

    /// The same, unless more waits already than the budget allows.
    pub(crate) fn try_charge_untimed(self: &Arc<Self>, bytes: usize) -> Option<Charge> {
        let mut level = self.level();
        (!self.over(&level)).then(|| self.take(&mut level, bytes, None))
    }

    fn take(
        self: &Arc<Self>,
        level: &mut Level,
        bytes: usize,
        time: Option<gst::ClockTime>,
    ) -> Charge {
        let bytes = bytes as u64;
        level.frames += 1;
        level.bytes += bytes;
        if let Some(time) = time {
            level.add(time);
        }
        Charge {
            budget: self.clone(),
            bytes,
            time,
        }
    }

    /// The bytes that wait, and the time between the first and the last frame.
    pub(crate) fn waiting(&self) -> (u64, gst::ClockTime) {
        let level = self.level();
        let time = match level.frames {
            0 => gst::ClockTime::ZERO,
            _ => level.last_in.saturating_sub(level.last_out),
        };
        (level.bytes, time)
    }

    /// Whether more waits than the budget allows; an empty channel is never over.
    pub(crate) fn is_over(&self) -> bool {
        self.over(&self.level())
    }

    /// The same for one who has a frame of the waiting in hand: alone it passes, however large it is.
    pub(crate) fn is_over_beside_one(&self) -> bool {
        let level = self.level();
        level.frames > 1 && self.over(&level)
    }

    /// Waits until there is room.
    pub(crate) async fn room(&self) {
        let _waiter = self.waiter();
        loop {
            let notified = self.asynchronous.notified();
            if !self.is_over() {
                return;
            }
            notified.await;
        }
    }

    /// Makes everyone who waits look again.
    pub(crate) fn wake(&self) {
        // Taken so that a waiter between its check and its wait cannot miss the signal.
        drop(self.level());
        self.blocking.notify_all();
        self.asynchronous.notify_waiters();
    }

    fn waiter(&self) -> Waiter<'_> {
        self.level().waiters += 1;
        Waiter(self)
    }

    fn over(&self, level: &Level) -> bool {
        self.exceeds(level, 1)
    }

    fn exceeds(&self, level: &Level, times: u64) -> bool {
        let time = match level.timed {
            0 => 0,
            _ => level.last_in.saturating_sub(level.last_out).nseconds(),
        };
        let max_time = self.max_time.load(Ordering::Relaxed);
        level.frames > 0
            && (level.frames / times > MAX_FRAMES
                || (self.max_bytes > 0 && level.bytes / times > self.max_bytes)
                || (max_time > 0 && time / times > max_time))
    }

    fn level(&self) -> MutexGuard<'_, Level> {
        lock(&self.level)
    }
}

impl Charge {
    /// The same share, of a frame at `time`.
    pub(crate) fn at(mut self, time: gst::ClockTime) -> Self {
        let mut level = self.budget.level();
        if self.time.is_none() {
            level.add(time);
        }
        level.last_in = level.last_in.max(time);
        drop(level);
        self.time = Some(time);
        self
    }

    /// Gives the share back as if the frame had never come: its time does not count as that of one that
    /// has left.
    pub(crate) fn cancel(mut self) {
        if self.time.take().is_some() {
            self.budget.level().timed -= 1;
        }
    }
}

impl Level {
    /// Counts a frame at `time`.
    fn add(&mut self, time: gst::ClockTime) {
        if self.timed == 0 {
            self.last_out = time;
            self.last_in = time;
        }
        self.timed += 1;
        self.last_in = self.last_in.max(time);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let mut level = self.budget.level();
        level.frames -= 1;
        level.bytes -= self.bytes;
        if let Some(time) = self.time {
            level.timed -= 1;
            level.last_out = level.last_out.max(time);
        }
        let awaited = level.waiters > 0;
        drop(level);
        if awaited {
            self.budget.wake();
        }
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.level().waiters -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_time_are_bounded_each_by_itself() {
        let bytes = Budget::new(100, gst::ClockTime::ZERO);
        let large = bytes.charge(1000, gst::ClockTime::ZERO);
        assert!(bytes.is_over() && !bytes.is_over_beside_one());
        drop(large);
        let first = bytes.charge(60, gst::ClockTime::ZERO);
        assert!(!bytes.is_over());
        let _second = bytes.charge(60, gst::ClockTime::from_seconds(9));
        assert!(bytes.is_over());
        drop(first);
        assert!(!bytes.is_over());

        let time = Budget::new(0, gst::ClockTime::SECOND);
        let first = time.charge(1 << 30, gst::ClockTime::from_seconds(5));
        let second = time.charge(1, gst::ClockTime::from_seconds(7));
        assert!(time.is_over());
        drop(first);
        assert!(time.is_over(), "2 s still separate the last two frames");
        drop(second);
        assert!(!time.is_over());
        let _after_an_outlier = time.charge(1, gst::ClockTime::from_seconds(1));
        assert!(!time.is_over(), "one frame alone spans no time");
    }

    #[test]
    fn frames_without_size_and_time_are_bounded_all_the_same() {
        let budget = Budget::new(0, gst::ClockTime::ZERO);
        let charge = || budget.charge(0, gst::ClockTime::ZERO);
        let mut charges: Vec<_> = (0..MAX_FRAMES).map(|_| charge()).collect();
        assert!(!budget.is_over());
        charges.push(charge());
        assert!(budget.is_over() && budget.try_charge(0, gst::ClockTime::ZERO).is_some());
    }

    #[test]
    fn frames_whose_time_is_not_known_count_by_their_bytes() {
        let budget = Budget::new(100, gst::ClockTime::SECOND);
        let held = budget.charge_untimed(101);
        assert!(budget.is_over());
        drop(held);
        let [first, second] = [50, 50].map(|bytes| budget.charge_untimed(bytes));
        assert!(!budget.is_over());
        let first = first.at(gst::ClockTime::from_seconds(7));
        let second = second.at(gst::ClockTime::from_seconds(9));
        assert!(budget.is_over(), "2 s lie between them");
        drop(first);
        drop(second);
        assert!(!budget.is_over());
    }

    #[test]
    fn a_waiter_is_let_go_by_room_and_by_cancelling() {
        let budget = Budget::new(1, gst::ClockTime::ZERO);
        let charge = budget.charge(2, gst::ClockTime::ZERO);
        let wait = |cancelled| budget.wait_charge(1, gst::ClockTime::ZERO, || cancelled);
        assert!(wait(true).is_none());
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| wait(false).is_some());
            drop(charge);
            assert!(waiter.join().expect("the waiter returns"));
        });
    }

    #[test]
    fn a_frame_that_never_left_leaves_the_time_of_the_others() {
        let budget = Budget::new(0, gst::ClockTime::SECOND);
        let _first = budget.charge(1, gst::ClockTime::ZERO);
        let _second = budget.charge(1, gst::ClockTime::from_seconds(2));
        budget.charge(1, gst::ClockTime::from_seconds(2)).cancel();
        assert!(budget.is_over(), "2 s still wait");
        assert_eq!(budget.waiting().0, 2);
    }

    #[test]
    fn nothing_is_taken_from_a_budget_that_is_spent_twice() {
        let budget = Budget::new(10, gst::ClockTime::ZERO);
        let [once, twice] = [20, 22].map(|bytes| {
            let _waiting = budget.charge(bytes, gst::ClockTime::ZERO);
            budget.try_charge(1, gst::ClockTime::ZERO).is_some()
        });
        assert!(once && !twice);
    }
}
