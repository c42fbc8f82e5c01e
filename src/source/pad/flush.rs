// SPDX-License-Identifier: MIT
//! A flush of a pad for a seek: begun by whoever seeks, ended by the pad's own thread.

use std::{
    sync::{Condvar, Mutex},
    time::{Duration, Instant},
};

use crate::element::sync::{lock, unpoisoned};

/// How long whoever seeks waits: GStreamer hands a SEEK to one sink after the other, and refuses it where the
/// pads on the way are flushed.
const MAX_WAIT: Duration = Duration::from_millis(500);

/// The FLUSH_START of a pad whose FLUSH_STOP is due.
#[derive(Debug, Default)]
pub(super) struct PendingFlush {
    /// The seqnum of both.
    seqnum: Mutex<Option<gst::Seqnum>>,
    ended: Condvar,
}

impl PendingFlush {
    /// Another one takes the place of what is pending.
    pub(super) fn begin(&self, seqnum: gst::Seqnum) {
        *lock(&self.seqnum) = Some(seqnum);
    }

    pub(super) fn seqnum(&self) -> Option<gst::Seqnum> {
        *lock(&self.seqnum)
    }

    /// FLUSH_STOP of this seqnum was pushed.
    pub(super) fn end(&self, seqnum: gst::Seqnum) {
        let mut pending = lock(&self.seqnum);
        if *pending == Some(seqnum) {
            *pending = None;
        }
        drop(pending);
        self.ended.notify_all();
    }

    /// Waits until none is pending, for a while.
    pub(super) fn wait(&self, begun: Instant) {
        let left = (begun + MAX_WAIT).saturating_duration_since(Instant::now());
        let pending = lock(&self.seqnum);
        let waited = self
            .ended
            .wait_timeout_while(pending, left, |pending| pending.is_some());
        drop(unpoisoned(waited));
    }
}
