// SPDX-License-Identifier: MIT
//! A track that is subscribed and gives nothing.
//!
//! A camera that is off and a muted microphone are silent, too, and no fault: a track is silent in this
//! sense only if no frame has come since it was subscribed, or none but what a cache had while the other
//! tracks of the broadcast are silent as well.

use std::time::Duration;

use moq_net::track;
use tokio::time::Instant;

use crate::source::message::Silence;

/// How long a track may give nothing until that is reported: a relay has answered and a publisher has
/// sent its latest group long before.
const REPORT_TIMEOUT: Duration = Duration::from_secs(4);
/// What comes for no longer than this was in a cache.
const MAX_CACHED_DURATION: Duration = Duration::from_millis(1500);

/// Watches the beginning of one subscription; by default none.
#[derive(Default)]
pub(super) struct SilenceWatch {
    /// The track, and when it is judged; `None` once it was.
    judged: Option<(track::Consumer, Instant)>,
    progress: Progress,
}

/// What has come of a track since it was subscribed.
#[derive(Debug, Default)]
struct Progress {
    answered: bool,
    /// Groups that have come, and whether anything in them was a frame.
    groups: u64,
    empty: bool,
    broken: bool,
    /// When the first frame came, and the newest.
    frames: Option<(Instant, Instant)>,
}

impl SilenceWatch {
    /// The watch over `track`, which is subscribed now.
    pub(super) fn over(track: track::Consumer) -> Self {
        Self {
            judged: Some((track, Instant::now() + REPORT_TIMEOUT)),
            ..Self::default()
        }
    }

    /// The relay has accepted the subscription.
    pub(super) fn answered(&mut self) {
        self.progress.answered = true;
    }

    /// A group has begun.
    pub(super) fn group(&mut self) {
        self.progress.groups += 1;
    }

    /// An empty frame or group has come.
    pub(super) fn empty(&mut self) {
        self.progress.empty = true;
    }

    /// A group has broken off, or cannot be read.
    pub(super) fn broken(&mut self) {
        self.progress.broken = true;
    }

    /// A frame has come.
    pub(super) fn frame(&mut self) {
        if self.judged.is_some() {
            let now = Instant::now();
            let (_, newest) = self.progress.frames.get_or_insert((now, now));
            *newest = now;
        }
    }

    /// When [`Self::judge`] is due, once.
    pub(super) fn due(&self) -> Option<Instant> {
        self.judged.as_ref().map(|(_, due)| *due)
    }

    /// What is wrong with the track, if it gives nothing.
    pub(super) fn judge(&mut self) -> Option<Silence> {
        let (track, _) = self.judged.take()?;
        self.progress.judge(track.latest())
    }
}

impl Progress {
    fn judge(&self, latest: Option<u64>) -> Option<Silence> {
        let cached = match self.frames {
            Some((first, newest)) if newest - first > MAX_CACHED_DURATION => return None,
            frames => frames.is_some(),
        };
        let reason = match (latest, self) {
            _ if cached => format!(
                "nothing came but what a cache had: the publisher sends nothing, or it counts its \
                 groups from 0 again, of which a relay passes on none up to number {}",
                latest.unwrap_or_default()
            ),
            (
                _,
                Self {
                    answered: false, ..
                },
            ) => "the subscription is not answered: the relay does \
                 not reach the publisher, or that does not serve the track"
                .into(),
            (_, Self { empty: true, .. }) => "nothing came but empty frames and groups".into(),
            (_, Self { broken: true, .. }) => "no group that came could be read".into(),
            (_, Self { groups: 1.., .. }) => "a group has begun without a frame".into(),
            (Some(latest), _) => format!(
                "the subscription is answered, and no group came: the newest one, number {latest}, \
                 is too old, and a relay passes on none before it if the publisher counts from 0 again"
            ),
            (None, _) => "the subscription is answered, and the publisher sends no group".into(),
        };
        Some(Silence { cached, reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(progress: Progress, latest: Option<u64>) -> String {
        let silence = progress.judge(latest).expect("it is silent");
        assert!(!silence.cached);
        silence.reason
    }

    #[test]
    fn each_stage_has_its_reason() {
        let unanswered = Progress::default();
        assert!(reason(unanswered, None).contains("not answered"));
        let answered = || Progress {
            answered: true,
            ..Progress::default()
        };
        assert!(reason(answered(), None).contains("sends no group"));
        assert!(reason(answered(), Some(7)).contains("number 7"));
        let mut empty = answered();
        empty.empty = true;
        assert!(reason(empty, Some(7)).contains("empty"));
        let mut open = answered();
        open.groups = 1;
        assert!(reason(open, Some(7)).contains("without a frame"));
    }

    #[test]
    fn frames_over_a_while_are_no_silence_and_those_of_a_cache_are_one() {
        let start = Instant::now();
        let frames = |last| Progress {
            answered: true,
            groups: 1,
            frames: Some((start, start + last)),
            ..Progress::default()
        };
        assert_eq!(frames(Duration::from_secs(3)).judge(Some(3)), None);
        let cached = frames(Duration::from_millis(100)).judge(Some(41));
        let cached = cached.expect("nothing came since");
        assert!(cached.cached && cached.reason.contains("up to number 41"));
    }
}
