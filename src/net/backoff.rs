// SPDX-License-Identifier: MIT
//! Growing pauses between attempts.

use std::time::Duration;

/// The pauses between attempts: each twice as long as the one before, up to the longest.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    shortest: Duration,
    longest: Duration,
    upcoming: Duration,
}

impl Backoff {
    pub(crate) fn new(shortest: Duration, longest: Duration) -> Self {
        Self {
            shortest,
            longest,
            upcoming: shortest,
        }
    }

    /// The pause before the next attempt.
    pub(crate) fn next_pause(&mut self) -> Duration {
        let pause = self.upcoming;
        self.upcoming = (pause * 2).min(self.longest);
        pause
    }

    /// The same with half of it random, so that many clients do not try in step; `random` is in 0..1.
    pub(crate) fn next_jittered(&mut self, random: f64) -> Duration {
        self.next_pause().mul_f64(0.5 + random / 2.0)
    }

    /// How long the next pause will be.
    pub(crate) fn upcoming(&self) -> Duration {
        self.upcoming
    }

    /// Begins with the shortest pause again.
    pub(crate) fn reset(&mut self) {
        self.upcoming = self.shortest;
    }

    /// What was tried has lasted this long: beyond the longest pause it was a success, and resets.
    pub(crate) fn reset_if_lasted(&mut self, lasted: Duration) -> bool {
        let success = lasted > self.longest;
        if success {
            self.reset();
        }
        success
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORTEST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(1);

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut backoff = Backoff::new(SHORTEST, LONGEST);
        let pauses = [100, 200, 400, 800, 1000, 1000].map(Duration::from_millis);
        for pause in pauses {
            assert_eq!(backoff.upcoming(), pause);
            assert_eq!(backoff.next_pause(), pause);
        }
        backoff.reset();
        assert_eq!(backoff.next_pause(), SHORTEST);
    }

    #[test]
    fn half_of_a_pause_is_random() {
        let drawn = [0.0, 0.5, 1.0].map(|random| {
            let mut backoff = Backoff::new(LONGEST, LONGEST);
            backoff.next_jittered(random)
        });
        assert_eq!(drawn, [LONGEST / 2, LONGEST.mul_f64(0.75), LONGEST]);
    }

    #[test]
    fn what_lasts_longer_than_the_longest_pause_was_a_success() {
        let mut backoff = Backoff::new(SHORTEST, LONGEST);
        backoff.next_pause();
        assert!(!backoff.reset_if_lasted(LONGEST));
        assert_eq!(backoff.upcoming(), SHORTEST * 2);
        assert!(backoff.reset_if_lasted(LONGEST + SHORTEST));
        assert_eq!(backoff.upcoming(), SHORTEST);
    }
}
