//! Trouble that comes again and again is told once a second.

use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_secs(1);
/// No more texts are told within the pause: each may be another one.
const MAX: usize = 32;

/// What was told a moment ago, and when.
#[derive(Default)]
pub(crate) struct Told(Vec<(String, Instant)>);

impl Told {
    /// Whether `text` is to be told now.
    pub(crate) fn is_due(&mut self, text: &str, now: Instant) -> bool {
        self.0
            .retain(|(_, at)| now.saturating_duration_since(*at) < PAUSE);
        let due = self.0.len() < MAX && self.0.iter().all(|(told, _)| told != text);
        if due {
            self.0.push((text.to_owned(), now));
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_has_its_turn_once_a_second() {
        let (mut told, start) = (Told::default(), Instant::now());
        assert!(told.is_due("one", start));
        assert!(told.is_due("other", start + PAUSE / 2));
        assert!(!told.is_due("one", start + PAUSE / 2));
        assert!(told.is_due("one", start + PAUSE));
        assert!(!told.is_due("other", start + PAUSE));
    }

    #[test]
    fn texts_that_are_all_different_are_bounded() {
        let (mut told, start) = (Told::default(), Instant::now());
        let due = (0..1000).filter(|n| told.is_due(&n.to_string(), start));
        assert_eq!(due.count(), MAX);
        assert!(told.is_due("later", start + PAUSE));
    }
}
