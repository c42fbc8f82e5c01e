//! Frames that are dropped for a while: whoever waits for them is told why, once.

use std::{fmt, time::Duration};

use tokio::time::Instant;

/// How long frames may be dropped, without one that is shown, until that is told.
const PATIENCE: Duration = Duration::from_secs(1);

/// Why frames are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Downstream took what was before them too slowly.
    Late,
    /// Their timestamps are out of range.
    Time,
    /// What they refer to was lost.
    KeyFrame,
    /// Their timestamps are of another epoch than those of the other tracks.
    Epoch,
    /// They belong before the start, or before what was shown.
    Before,
    /// Their container cannot be read.
    Container,
    /// Their groups break off on the way.
    Broken,
}

impl Cause {
    const ALL: [Self; 7] = [
        Self::Late,
        Self::Time,
        Self::KeyFrame,
        Self::Epoch,
        Self::Before,
        Self::Container,
        Self::Broken,
    ];
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Late => {
                "downstream takes them too slowly; a queue or a faster downstream would help"
            }
            Self::Time => "their timestamps are beyond 2^63 ns; the publisher has to send others",
            Self::KeyFrame => {
                "what they refer to was lost; the next key frame ends that, and more of them would \
                 end it sooner"
            }
            Self::Epoch => {
                "their timestamps are more than a second ahead of those of the other tracks; the \
                 publisher has to stamp all its tracks by one clock"
            }
            Self::Before => {
                "they are older than what is shown now; the publisher has to stamp all its tracks by \
                 one clock, or a greater latency may help"
            }
            Self::Container => "their container cannot be read",
            Self::Broken => {
                "their groups break off before they have come; the relay refuses them, or the network \
                 is too slow for them"
            }
        })
    }
}

/// The drops of one track since a frame was shown last.
#[derive(Debug, Default)]
pub(crate) struct Drops {
    since: Option<Instant>,
    /// When the last one was.
    last: Option<Instant>,
    told: [bool; Cause::ALL.len()],
}

impl Drops {
    /// Takes in that a frame is dropped for this cause; whether that is to be told now.
    pub(crate) fn add(&mut self, cause: Cause, now: Instant) -> bool {
        // What came long before is another matter.
        let last = self.last.replace(now);
        if last.is_some_and(|last| now - last > PATIENCE) {
            self.since = None;
        }
        let since = *self.since.get_or_insert(now);
        now - since >= PATIENCE && !std::mem::replace(&mut self.told[cause as usize], true)
    }

    /// A frame is shown.
    pub(crate) fn end(&mut self) {
        if self.since.is_some() {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_that_lasts_a_second_is_told_once_until_a_frame_is_shown() {
        let start = Instant::now();
        let mut drops = Drops::default();
        for round in 0..2_u32 {
            for cause in Cause::ALL {
                let told = (0..400_u32).filter(|tick| {
                    let now =
                        start + Duration::from_secs(100) * round + Duration::from_millis(5) * *tick;
                    drops.add(cause, now)
                });
                assert_eq!(told.count(), 1, "{cause}");
            }
            drops.end();
        }
    }

    #[test]
    fn drops_among_frames_that_are_shown_are_not_told() {
        let start = Instant::now();
        let mut drops = Drops::default();
        for tick in 0..1000_u32 {
            let now = start + Duration::from_millis(20) * tick;
            assert!(!drops.add(Cause::KeyFrame, now));
            if tick % 40 == 0 {
                drops.end();
            }
        }
    }
}
