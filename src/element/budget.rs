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
        self.charge_untimed(bytes).at(time)
    }

    /// Takes the share of a frame of `bytes` whose time is not known yet; never waits.
    pub(crate) fn charge_untimed(self: &Arc<Self>, bytes: usize) -> Charge {
        self.take(&mut self.level(), bytes)
    }

    /// The same, unless more waits already than the budget allows.
    pub(crate) fn try_charge_untimed(self: &Arc<Self>, bytes: usize) -> Option<Charge> {
        let mut level = self.level();
        (!self.over(&level)).then(|| self.take(&mut level, bytes))
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

    /// Whether more waits than twice the budget.
    pub(crate) fn is_far_over(&self) -> bool {
        self.exceeds(&self.level(), 2)
    }

    /// Blocks until there is room or `cancelled` says so; [`Budget::wake`] makes it look again.
    pub(crate) fn wait(&self, cancelled: impl Fn() -> bool) {
        if !self.is_over() {
            return;
        }
        let _waiter = self.waiter();
        let level = self.level();
        let wait = |level: &mut Level| self.over(level) && !cancelled();
        drop(unpoisoned(self.blocking.wait_while(level, wait)));
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

    fn take(self: &Arc<Self>, level: &mut Level, bytes: usize) -> Charge {
        let bytes = bytes as u64;
        level.frames += 1;
        level.bytes += bytes;
        Charge {
            budget: self.clone(),
            bytes,
            time: None,
        }
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
        if level.timed == 0 {
            level.last_out = time;
            level.last_in = time;
        }
        level.timed += u64::from(self.time.is_none());
        level.last_in = level.last_in.max(time);
        drop(level);
        self.time = Some(time);
        self
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
        assert!(budget.is_over() && !budget.is_far_over());
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
        budget.wait(|| true);
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| budget.wait(|| false));
            drop(charge);
            waiter.join().expect("the waiter returns");
        });
    }
}
