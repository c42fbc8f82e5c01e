// SPDX-License-Identifier: MIT
//! Bounds how often the same warning is given.

use std::time::{Duration, Instant};

/// Between two warnings of one key where these repeat.
const INTERVAL: Duration = Duration::from_secs(1);
/// No more keys are due within an interval: foreign input may make a new one each time.
const MAX_KEYS: usize = 64;

/// Which warnings are due, each known by a key: its text, or its cause where the text varies.
#[derive(Debug)]
pub(crate) struct WarnLimiter {
    repeats: bool,
    /// What was due within the interval, or ever where nothing repeats, and when.
    given: Vec<(String, Instant)>,
}

impl Default for WarnLimiter {
    /// Each key is due once a second.
    fn default() -> Self {
        Self {
            repeats: true,
            given: Vec::new(),
        }
    }
}

impl WarnLimiter {
    /// Each key is due once, until a reset.
    pub(crate) fn once() -> Self {
        Self {
            repeats: false,
            given: Vec::new(),
        }
    }

    /// Whether the warning of this `key` is due; then it counts as given.
    pub(crate) fn is_due(&mut self, key: &str, now: impl Into<Instant>) -> bool {
        let now = now.into();
        if self.repeats {
            self.given
                .retain(|(_, at)| now.saturating_duration_since(*at) < INTERVAL);
        }
        let due = self.given.len() < MAX_KEYS && self.given.iter().all(|(given, _)| given != key);
        if due {
            self.given.push((key.to_owned(), now));
        }
        due
    }

    /// Every key is due again.
    pub(crate) fn reset(&mut self) {
        self.given.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_is_due_once_a_second() {
        let (mut limiter, start) = (WarnLimiter::default(), Instant::now());
        assert!(limiter.is_due("one", start));
        assert!(limiter.is_due("other", start + INTERVAL / 2));
        assert!(!limiter.is_due("one", start + INTERVAL / 2));
        assert!(limiter.is_due("one", start + INTERVAL));
        assert!(!limiter.is_due("other", start + INTERVAL));
    }

    #[test]
    fn without_an_interval_a_key_is_due_once_until_a_reset() {
        let (mut limiter, start) = (WarnLimiter::once(), Instant::now());
        assert!(limiter.is_due("one", start));
        assert!(!limiter.is_due("one", start + INTERVAL * 1000));
        limiter.reset();
        assert!(limiter.is_due("one", start));
    }

    #[test]
    fn keys_that_are_all_different_are_bounded() {
        for mut limiter in [WarnLimiter::default(), WarnLimiter::once()] {
            let start = Instant::now();
            let due = (0..1000).filter(|n| limiter.is_due(&n.to_string(), start));
            assert_eq!(due.count(), MAX_KEYS);
            let later = limiter.is_due("later", start + INTERVAL);
            assert_eq!(later, limiter.repeats);
        }
    }
}
