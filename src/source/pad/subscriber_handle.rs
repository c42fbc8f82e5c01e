// SPDX-License-Identifier: MIT
//! A pad's way to the subscriber.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use tokio::sync::mpsc::UnboundedSender;

use crate::{
    element::sync::SendOrDrop,
    source::message::{Control, PadIndex},
};

/// Tells the subscriber what downstream wishes and refuses; its clones count the wishes together.
#[derive(Clone)]
pub(super) struct SubscriberHandle {
    index: PadIndex,
    control: UnboundedSender<Control>,
    wishes: Arc<AtomicU32>,
}

impl SubscriberHandle {
    pub(super) fn new(index: PadIndex, control: UnboundedSender<Control>) -> Self {
        Self {
            index,
            control,
            wishes: Arc::default(),
        }
    }

    pub(super) fn send(&self, control: impl FnOnce(PadIndex) -> Control) {
        self.control.send_or_drop(control(self.index));
    }

    /// Sends a wish of downstream, with a number of its own.
    pub(super) fn send_wish(&self, control: impl FnOnce(PadIndex, u32) -> Control) {
        let wish = self.wishes.fetch_add(1, Ordering::AcqRel) + 1;
        self.send(|index| control(index, wish));
    }

    /// The number of the newest wish.
    pub(super) fn newest_wish(&self) -> u32 {
        self.wishes.load(Ordering::Acquire)
    }
}
