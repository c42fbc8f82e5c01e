// SPDX-License-Identifier: MIT
//! What was wrong with the readers of a track, and what of that is worth a warning.

use crate::source::message::TrackEnd;

/// What was wrong with the readers of a track, so that each warning is given once until frames come.
#[derive(Default)]
pub(super) struct Health {
    /// How many frames had come when the reader began.
    frames_before: u64,
    /// Readers in a row that broke off without a frame.
    broken: u32,
    /// There was a warning that the track is waited for.
    reported: bool,
    /// How many frames had come when there was a warning that no more come.
    silent_at: Option<u64>,
}

impl Health {
    /// Whether there is to be a warning of this `end` of a reader, after so many `frames` of the track.
    ///
    /// One that breaks off once, or while the broadcast is not `reachable`, goes with the broadcast.
    pub(super) fn is_problem(&mut self, end: &TrackEnd, frames: u64, reachable: bool) -> bool {
        if frames != self.frames_before {
            self.forget();
        }
        let problem = match end {
            TrackEnd::Lost(_) => {
                self.broken += u32::from(reachable);
                reachable && self.broken > 1
            }
            TrackEnd::Missing(_) | TrackEnd::Empty | TrackEnd::Panicked => true,
            TrackEnd::Finished | TrackEnd::Retired => false,
        };
        problem && !self.reported
    }

    /// Whether there is to be a warning now that the track is silent.
    pub(super) fn is_newly_silent(&mut self, frames: u64) -> bool {
        self.silent_at.replace(frames) != Some(frames)
    }

    /// A reader begins, after so many `frames` of the track.
    pub(super) fn begin(&mut self, frames: u64) {
        self.frames_before = frames;
    }

    /// Whether the warning that was due was given.
    pub(super) fn set_reported(&mut self, reported: bool) {
        self.reported = reported;
    }

    /// The broadcast begins anew: what broke off went with it.
    pub(super) fn forget_breaks(&mut self) {
        self.broken = 0;
    }

    /// Whatever was wrong with the track is over.
    pub(super) fn forget(&mut self) {
        self.broken = 0;
        self.reported = false;
    }
}
