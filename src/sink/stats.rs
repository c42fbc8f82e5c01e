// SPDX-License-Identifier: MIT
//! What a request pad counts: its property `stats`, and its QOS messages.

use gst::prelude::*;

use super::MoqSinkPad;
use crate::element::{budget::Budget, bus::post, counter::Counter};

/// The counts of one pad during a run, in frames where nothing else is said.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) frames: Counter,
    pub(crate) bytes: Counter,
    pub(crate) groups: Counter,
    pub(crate) no_keyframe: Counter,
    pub(crate) no_timestamp: Counter,
    pub(crate) over_budget: Counter,
    pub(crate) refused: Counter,
    /// Nobody subscribed to the track.
    pub(crate) unwatched: Counter,
    /// There was no room for the rendition beside smaller ones.
    pub(crate) crowded_out: Counter,
    /// All frames of the groups that were given up, of which some may have arrived.
    pub(crate) too_old: Counter,
    pub(crate) groups_given_up: Counter,
    /// How often its timestamps stepped, and the stream went on where it was.
    pub(crate) resyncs: Counter,
}

/// As what a dropped buffer is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DropReason {
    NoKeyframe,
    NoTimestamp,
    OverBudget,
    Refused,
}

impl Counters {
    /// The structure `moq-pad-stats`; all fields are guint64.
    pub(crate) fn structure(&self, budget: &Budget) -> gst::Structure {
        let (bytes, time) = budget.waiting();
        gst::Structure::builder("moq-pad-stats")
            .field("frames", self.frames.get())
            .field("bytes", self.bytes.get())
            .field("groups", self.groups.get())
            .field("dropped-no-keyframe", self.no_keyframe.get())
            .field("dropped-no-timestamp", self.no_timestamp.get())
            .field("dropped-budget", self.over_budget.get())
            .field("dropped-refused", self.refused.get())
            .field("dropped-too-old", self.too_old.get())
            .field("dropped-unwatched", self.unwatched.get())
            .field("dropped-rendition", self.crowded_out.get())
            .field("groups-given-up", self.groups_given_up.get())
            .field("resyncs", self.resyncs.get())
            .field("queue-bytes", bytes)
            .field("queue-time", time.nseconds())
            .build()
    }

    pub(crate) fn of(&self, reason: DropReason) -> &Counter {
        match reason {
            DropReason::NoKeyframe => &self.no_keyframe,
            DropReason::NoTimestamp => &self.no_timestamp,
            DropReason::OverBudget => &self.over_budget,
            DropReason::Refused => &self.refused,
        }
    }

    /// What a QOS message says.
    pub(crate) fn quality(&self) -> Quality {
        Quality {
            dropped: self.over_budget.get() + self.too_old.get(),
            processed: self.frames.get(),
        }
    }
}

/// How many frames went out, and how many were dropped because the network could not carry them.
#[derive(Debug)]
pub(crate) struct Quality {
    dropped: u64,
    processed: u64,
}

impl Quality {
    pub(crate) fn post(&self, pad: &MoqSinkPad) {
        let Some(element) = pad.parent_element() else {
            return;
        };
        let message = gst::message::Qos::builder(true)
            .src(pad)
            .stats(
                gst::format::Buffers::from_u64(self.processed),
                gst::format::Buffers::from_u64(self.dropped),
            )
            .build();
        post(&element, message);
    }
}
