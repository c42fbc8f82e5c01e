// SPDX-License-Identifier: MIT
//! Locks and channels between GStreamer's threads and the session task.

use std::sync::{LockResult, Mutex, MutexGuard, PoisonError, mpsc};

use tokio::sync::mpsc::UnboundedSender;

/// Locks `mutex`, also after a panic of its last holder: nothing is left half changed under a lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    unpoisoned(mutex.lock())
}

/// What a lock or the wait of a condition variable gives, also after a panic.
pub(crate) fn unpoisoned<T>(result: LockResult<T>) -> T {
    result.unwrap_or_else(PoisonError::into_inner)
}

/// The sending half of an unbounded channel whose receiver may be gone.
pub(crate) trait SendOrDrop<T> {
    /// Sends `value`, or drops it: without a receiver the run is over, and nobody misses it.
    fn send_or_drop(&self, value: T);
}

impl<T> SendOrDrop<T> for UnboundedSender<T> {
    fn send_or_drop(&self, value: T) {
        let _ = self.send(value);
    }
}

impl<T> SendOrDrop<T> for mpsc::Sender<T> {
    fn send_or_drop(&self, value: T) {
        let _ = self.send(value);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_lock_outlives_the_panic_of_its_holder() {
        let mutex = Mutex::new(1);
        thread::scope(|scope| {
            let holder = scope.spawn(|| {
                let _guard = lock(&mutex);
                panic!("for the test");
            });
            assert!(holder.join().is_err());
        });
        assert!(mutex.is_poisoned());
        assert_eq!(*lock(&mutex), 1);
    }
}
