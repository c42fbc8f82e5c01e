// SPDX-License-Identifier: MIT
//! What the subscriber knows of a track that is read, and can change about it.

use std::{
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use gst::ClockTime;
use moq_net::track;
use tokio::time::Instant;

use crate::{
    element::sync::lock,
    media::{control::rendition::Progress, time::nanos::nanos},
    source::playback::Playback,
};

/// Frames that are further apart than this are none of video or audio that is live.
const MAX_INTERVAL: Duration = Duration::from_millis(500);

/// How urgent a track is beside the others of its kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// Only what the others leave is for it.
    Trial,
    #[default]
    Normal,
    /// The picture waits for it.
    Urgent,
}

impl Urgency {
    /// The priority of a track that has this one by itself.
    pub(super) fn priority(self, normal: u8) -> u8 {
        match self {
            Self::Trial => normal.saturating_sub(10),
            Self::Normal => normal,
            Self::Urgent => normal.saturating_add(5),
        }
    }
}

/// One reading of a track, shared by its reader and the subscriber.
pub(crate) struct ReadingState(Mutex<State>);

struct State {
    since: Instant,
    urgency: Urgency,
    /// Once it is subscribed: its priority by itself, and the way to change it.
    control: Option<(u8, track::Control)>,
    bytes: u64,
    lost: u64,
    frames: u32,
    /// The first timestamp, the newest, and the running time at which that came.
    times: Option<(ClockTime, ClockTime, ClockTime)>,
}

impl ReadingState {
    pub(crate) fn new(urgency: Urgency) -> Self {
        Self(Mutex::new(State {
            since: Instant::now(),
            urgency,
            control: None,
            bytes: 0,
            lost: 0,
            frames: 0,
            times: None,
        }))
    }

    /// How it goes, with times since `epoch`; `least` is by how much the frames of the pad came after the edge of
    /// the timeline at best, in ns, and counts as in time.
    pub(crate) fn progress(
        &self,
        epoch: Instant,
        playback: &Playback,
        least: &mut i64,
    ) -> Progress {
        let state = self.state();
        let (since, bytes, lost) = (state.since - epoch, state.bytes, state.lost);
        let interval = state.interval();
        let times = state.times;
        drop(state);
        let behind = times.map(|(_, newest, arrived)| {
            let due = playback.timeline().edge(newest).unwrap_or(arrived);
            // The next one is due an interval after the newest.
            let idle = playback.clock.running_time().saturating_sub(arrived);
            let idle = Duration::from(idle).saturating_sub(interval);
            // The edge may be one of frames that came late, or of another track.
            let offset = nanos(arrived).saturating_sub(nanos(due));
            *least = offset.min(*least);
            Duration::from_nanos(offset.abs_diff(*least)) + idle
        });
        Progress {
            since,
            behind,
            bytes,
            lost,
        }
    }

    pub(crate) fn set_urgency(&self, urgency: Urgency) {
        let mut state = self.state();
        if state.urgency == urgency {
            return;
        }
        state.urgency = urgency;
        let control = state.control.clone();
        drop(state);
        if let Some((normal, control)) = control {
            let priority = urgency.priority(normal);
            // Refused only when the track is over.
            let _ = control.update(control.subscription().with_priority(priority));
        }
    }

    pub(super) fn urgency(&self) -> Urgency {
        self.state().urgency
    }

    /// It is subscribed, with the priority that it has by itself.
    pub(super) fn subscribed(&self, normal: u8, control: track::Control) {
        self.state().control = Some((normal, control));
    }

    /// A frame has come at this running time.
    pub(super) fn frame(&self, timestamp: ClockTime, bytes: usize, now: ClockTime) {
        let mut state = self.state();
        state.bytes += bytes as u64;
        state.frames = state.frames.saturating_add(1);
        let (first, newest, _) = state.times.unwrap_or((timestamp, timestamp, now));
        state.times = Some((first, newest.max(timestamp), now));
    }

    /// So many groups were given up, or broke off.
    pub(super) fn lose(&self, groups: u64) {
        self.state().lost += groups;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }
}

impl State {
    /// From frame to frame.
    fn interval(&self) -> Duration {
        let Some((first, newest, _)) = self.times else {
            return Duration::ZERO;
        };
        let span = Duration::from(newest.saturating_sub(first));
        (span / self.frames.saturating_sub(1).max(1)).min(MAX_INTERVAL)
    }
}
