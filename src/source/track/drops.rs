// SPDX-License-Identifier: MIT
//! Frames that are dropped for a while: each cause is reported once.

use std::time::Duration;

use tokio::time::Instant;

use crate::source::message::DropCause;

/// How long frames may be dropped, without one that is emitted, until that is reported.
const REPORT_TIMEOUT: Duration = Duration::from_secs(1);

/// The drops of one track since a frame was emitted last.
#[derive(Debug, Default)]
pub(super) struct Drops {
    since: Option<Instant>,
    /// When the last one was.
    last: Option<Instant>,
    /// Each cause once.
    reported: Vec<DropCause>,
}

impl Drops {
    /// Takes in that a frame is dropped for this cause; whether that is to be reported now.
    pub(super) fn add(&mut self, cause: DropCause, now: Instant) -> bool {
        // What came long before is another matter.
        let last = self.last.replace(now);
        if last.is_some_and(|last| now - last > REPORT_TIMEOUT) {
            self.since = None;
        }
        let since = *self.since.get_or_insert(now);
        let due = now - since >= REPORT_TIMEOUT && !self.reported.contains(&cause);
        if due {
            self.reported.push(cause);
        }
        due
    }

    /// A frame is emitted.
    pub(super) fn end(&mut self) {
        if self.since.is_some() {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_that_lasts_a_second_is_reported_once_until_a_frame_is_emitted() {
        let start = Instant::now();
        let mut drops = Drops::default();
        for round in 0..2_u32 {
            for cause in [
                DropCause::Late,
                DropCause::Undecodable,
                DropCause::BrokenOff,
            ] {
                let reported = (0..400_u32).filter(|tick| {
                    let now =
                        start + Duration::from_secs(100) * round + Duration::from_millis(5) * *tick;
                    drops.add(cause, now)
                });
                assert_eq!(reported.count(), 1, "{cause}");
            }
            drops.end();
        }
    }

    #[test]
    fn drops_among_frames_that_are_emitted_are_not_reported() {
        let start = Instant::now();
        let mut drops = Drops::default();
        for tick in 0..1000_u32 {
            let now = start + Duration::from_millis(20) * tick;
            assert!(!drops.add(DropCause::Undecodable, now));
            if tick % 40 == 0 {
                drops.end();
            }
        }
    }
}
