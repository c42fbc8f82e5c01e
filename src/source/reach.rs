// SPDX-License-Identifier: MIT
//! What of the broadcast can be played: answers SEEKING and DURATION queries.

use std::{
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

use gst::ClockTime;

use crate::{element::sync::lock, media::time::rewind::MIN_DISTANCE};

/// For how long what was found out is as good as new.
const FRESH_INTERVAL: Duration = Duration::from_secs(2);

/// The timestamps between which a seek goes; written by the subscriber, read by whoever queries.
#[derive(Debug, Default)]
pub(crate) struct Reach(Mutex<Option<Known>>);

#[derive(Debug, Clone, Copy)]
struct Known {
    oldest: ClockTime,
    newest: ClockTime,
    /// When the newest was that; nothing newer comes after an end.
    at: Instant,
    ended: bool,
}

impl Known {
    /// Time passes at both ends: a peer that keeps all is known to when it is looked at again.
    fn range(self) -> (ClockTime, ClockTime) {
        let passed = match self.ended {
            true => ClockTime::ZERO,
            false => ClockTime::try_from(self.at.elapsed()).unwrap_or_default(),
        };
        (self.oldest + passed, self.newest + passed)
    }
}

impl Reach {
    /// Which stream times can be sought, if any.
    pub(crate) fn seekable(&self) -> Option<(ClockTime, ClockTime)> {
        let (oldest, newest) = (*self.known())?.range();
        (oldest + MIN_DISTANCE <= newest).then_some((oldest, newest))
    }

    /// Answers a SEEKING query in TIME.
    pub(crate) fn answer_seeking(&self, query: &mut gst::query::Seeking) {
        match self.seekable() {
            Some((oldest, newest)) => query.set(true, oldest, newest),
            None => query.set(false, ClockTime::NONE, ClockTime::NONE),
        }
    }

    /// The stream time that is live, if it is known.
    pub(crate) fn live(&self) -> Option<ClockTime> {
        Some((*self.known())?.range().1)
    }

    /// How much there is of a broadcast that has ended.
    pub(crate) fn duration(&self) -> Option<ClockTime> {
        let known = (*self.known()).filter(|known| known.ended)?;
        Some(known.newest)
    }

    /// Whether it is worth while to find it out again.
    pub(crate) fn is_stale(&self) -> bool {
        let known = *self.known();
        known.is_none_or(|known| !known.ended && known.at.elapsed() > FRESH_INTERVAL)
    }

    /// At this moment this is what there is.
    pub(crate) fn set(&self, oldest: ClockTime, newest: ClockTime, at: Instant, ended: bool) {
        *self.known() = Some(Known {
            oldest,
            newest,
            at,
            ended,
        });
    }

    /// Nothing more comes.
    pub(crate) fn end(&self) {
        if let Some(known) = self.known().as_mut().filter(|known| !known.ended) {
            (known.oldest, known.newest) = known.range();
            known.ended = true;
        }
    }

    /// Nothing is known any more.
    pub(crate) fn forget(&self) {
        *self.known() = None;
    }

    fn known(&self) -> MutexGuard<'_, Option<Known>> {
        lock(&self.0)
    }
}
