// SPDX-License-Identifier: MIT
//! Whether a pad's stream needs a keyframe, and when upstream is asked for one.

use std::time::Instant;

use crate::sink::message::{KEYFRAME_REQUEST_INTERVAL, MAX_GROUP_BYTES, MAX_GROUP_FRAMES};

/// From the start and whenever frames are lost, nothing passes before a keyframe; upstream is asked for
/// it at most once per [`KEYFRAME_REQUEST_INTERVAL`].
#[derive(Debug, Default)]
pub(super) struct KeyframeState {
    /// `None` while a keyframe is missing.
    group: Option<Group>,
    requested: Option<Instant>,
}

/// What was published since the last keyframe, that one included.
#[derive(Debug, Default)]
struct Group {
    frames: usize,
    bytes: usize,
    /// How full it is, in quarters of a group's limits.
    quarters: usize,
}

impl KeyframeState {
    /// Frames were or will be lost: what follows cannot be decoded before a keyframe.
    pub(super) fn lose(&mut self) {
        self.group = None;
    }

    pub(super) fn is_missing(&self) -> bool {
        self.group.is_none()
    }

    /// Counts a frame that is published; whether its group is so long that the next keyframe is due: at
    /// half of its limits, and again at three quarters.
    pub(super) fn publish(&mut self, keyframe: bool, bytes: usize) -> bool {
        if keyframe {
            self.group = None;
        }
        let group = self.group.get_or_insert_default();
        group.frames += 1;
        group.bytes += bytes;
        let quarters = (4 * group.frames / MAX_GROUP_FRAMES).max(4 * group.bytes / MAX_GROUP_BYTES);
        let crossed = std::mem::replace(&mut group.quarters, quarters) < quarters;
        crossed && matches!(quarters, 2 | 3)
    }

    /// Whether upstream is to be asked now; then it counts as asked.
    pub(super) fn request(&mut self, now: Instant) -> bool {
        let recent = self
            .requested
            .is_some_and(|at| now.saturating_duration_since(at) < KEYFRAME_REQUEST_INTERVAL);
        if !recent {
            self.requested = Some(now);
        }
        !recent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyframe_is_missing_from_the_start_and_after_a_loss() {
        let mut keyframes = KeyframeState::default();
        assert!(keyframes.is_missing());
        keyframes.publish(true, 1);
        assert!(!keyframes.is_missing());
        keyframes.lose();
        assert!(keyframes.is_missing());
    }

    #[test]
    fn one_is_due_at_half_and_at_three_quarters_of_a_group() {
        let mut keyframes = KeyframeState::default();
        let due: Vec<usize> = (1..MAX_GROUP_FRAMES)
            .filter(|frame| keyframes.publish(*frame == 1, 1))
            .collect();
        assert_eq!(due, [MAX_GROUP_FRAMES / 2, MAX_GROUP_FRAMES / 4 * 3]);
        assert!(!keyframes.publish(true, MAX_GROUP_BYTES / 4));
        assert!(
            keyframes.publish(false, MAX_GROUP_BYTES / 4),
            "by its bytes"
        );
    }

    #[test]
    fn requests_keep_their_interval() {
        let (mut keyframes, start) = (KeyframeState::default(), Instant::now());
        assert!(keyframes.request(start));
        assert!(!keyframes.request(start + KEYFRAME_REQUEST_INTERVAL / 2));
        assert!(keyframes.request(start + KEYFRAME_REQUEST_INTERVAL));
    }
}
