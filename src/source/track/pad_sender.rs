// SPDX-License-Identifier: MIT
//! The way of a track's frames into the channel of its pad.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
};

use gst::ClockTime;

use crate::{
    element::{
        budget::{Budget, Charge},
        sync::SendOrDrop,
    },
    source::{
        message::{Frame, MAX_QUEUE_TIME, Message, Opening},
        stats::Counters,
    },
};

/// The latest decode or presentation time that was sent to a pad, whoever read it.
#[derive(Debug, Default)]
pub(crate) struct Position(AtomicU64);

impl Position {
    fn get(&self) -> ClockTime {
        ClockTime::from_nseconds(self.0.load(Ordering::Relaxed))
    }

    /// Forgets a position beyond `time`.
    pub(crate) fn forget_beyond(&self, time: ClockTime) {
        if self.get() > time {
            self.0.store(0, Ordering::Relaxed);
        }
    }

    fn advance(&self, time: ClockTime) {
        self.0.fetch_max(time.nseconds(), Ordering::Relaxed);
    }
}

/// Sends the frames of a track to its pad, within the pad's budget.
#[derive(Clone)]
pub(crate) struct PadSender {
    messages: mpsc::Sender<Message>,
    budget: Arc<Budget>,
    counters: Arc<Counters>,
    position: Arc<Position>,
}

impl PadSender {
    pub(crate) fn new(
        messages: mpsc::Sender<Message>,
        budget: Arc<Budget>,
        counters: Arc<Counters>,
        position: Arc<Position>,
    ) -> Self {
        Self {
            messages,
            budget,
            counters,
            position,
        }
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Up to where frames were sent to the pad.
    pub(super) fn position(&self) -> ClockTime {
        self.position.get()
    }

    /// Counts a frame of `bytes` that was read.
    pub(super) fn count(&self, bytes: usize) {
        self.counters.frames.add(1);
        self.counters.bytes.add(bytes as u64);
    }

    /// The share of a frame of `bytes` whose time is not known yet, if there is room; sinks hold frames
    /// for `latency`, so that much more of them may wait.
    pub(super) fn try_charge(&self, bytes: usize, latency: ClockTime) -> Option<Charge> {
        self.budget.set_max_time(MAX_QUEUE_TIME + latency);
        self.budget.try_charge_untimed(bytes)
    }

    /// Waits for room, and takes the share of a frame of `bytes`.
    pub(super) fn charge(&self, bytes: usize) -> impl Future<Output = Charge> + use<> {
        let budget = self.budget.clone();
        async move {
            budget.room().await;
            budget.charge_untimed(bytes)
        }
    }

    /// The share of a part of a frame whose time is known; never waits.
    pub(super) fn charge_part(&self, bytes: usize, time: ClockTime) -> Charge {
        self.budget.charge(bytes, time)
    }

    pub(super) fn send(&self, frame: Frame) {
        self.position.advance(frame.dts.unwrap_or(frame.pts));
        self.messages.send_or_drop(Message::Frame(frame));
    }

    /// Says that another track follows.
    pub(super) fn open(&self, opening: Opening) {
        self.messages.send_or_drop(Message::Opening(opening));
    }

    /// Says that the text which is shown is over at `end`, if there is room.
    pub(super) fn clear_text(&self, end: ClockTime) {
        if let Some(charge) = self.budget.try_charge_untimed(0) {
            self.messages
                .send_or_drop(Message::Clear(end, charge.at(end)));
        }
    }
}
