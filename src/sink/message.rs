// SPDX-License-Identifier: MIT
//! The messages between pads, run and publisher, and the limits that both sides keep to.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use gst::{glib, prelude::*, subclass::prelude::*};
use moq_mux::Clock;

use super::{
    MoqSinkPad,
    rate_control::RateSettings,
    stats::{Counters, Quality},
};
use crate::{
    element::{
        app_queue::AppQueue,
        budget::{Budget, Charge},
    },
    media::{
        catalog::description::Description,
        format::{codec::Kind, rendition::Rendition},
    },
};

/// The library destroys a group at 8192 frames; it is closed before.
pub(crate) const MAX_GROUP_FRAMES: usize = 8000;
/// The library destroys a group at 32 MiB; it is closed before.
pub(crate) const MAX_GROUP_BYTES: usize = 24 << 20;

/// Identifies a pad within its element; pads that were requested earlier have smaller ones.
pub(crate) type PadId = u32;

/// What element and pads send to the publisher.
pub(crate) enum Message {
    /// Which wall-clock time MoQ time 0 is; comes before the first frame.
    Clock(Clock),
    /// How the bit rate is controlled from now on.
    Rate(RateSettings),
    Pad(PadId, PadMessage),
}

/// What happens on one pad, in order.
pub(crate) enum PadMessage {
    /// The pad exists.
    Open(PadHandle),
    /// A stream begins that can only be of this kind.
    ExpectedKind(Kind),
    /// New caps of this kind, after which nothing of the old stream is valid.
    Kind(Kind),
    /// The catalog entry of the frames that follow, and the track name that the user wants.
    Rendition(Box<Rendition>, Option<String>),
    /// The entry of the same track by parameter sets that changed in band: decoders read them.
    InBand(Box<Rendition>),
    Frame(Frame),
    /// What upstream says of the stream in tags.
    Describe(Box<Description>),
    /// Frames after this do not continue the ones before.
    Flush,
    /// The stream is over, until it goes on after all.
    Eos(gst::Seqnum),
    /// Another stream begins after an EOS.
    Restart,
    /// Nothing comes until the next caps, for this reason.
    Failed(String),
    /// Whether frames are dropped while nobody subscribes to the track.
    DropUnwatched(bool),
    /// How its tracks are sent, from now on.
    Track(TrackSettings),
    /// The pad was linked or unlinked.
    LinkChanged,
    /// The pad is gone.
    Release,
}

/// How a pad wants its tracks to be sent.
#[derive(Debug, Default, Clone)]
pub(crate) struct TrackSettings {
    /// Of the tracks that begin after this; `None` is that of the kind.
    pub(crate) priority: Option<u8>,
    /// How much audio one group holds.
    pub(crate) audio_group: Duration,
    /// The pad's part of the bit rate of all video.
    pub(crate) bitrate_share: f64,
    /// The picture of which it is one of several renditions.
    pub(crate) group: Option<String>,
}

/// One frame on its way to the publisher.
pub(crate) struct Frame {
    /// MoQ time in microseconds.
    pub(crate) timestamp: u64,
    /// How long it lasts, if its buffer says so.
    pub(crate) duration: Option<gst::ClockTime>,
    pub(crate) keyframe: bool,
    pub(crate) payload: Bytes,
    /// Its cue has no frame after this one.
    pub(crate) ends_cue: bool,
    /// Live input does not wait for the budget: it loses frames.
    pub(crate) live: bool,
    /// How much later than its running time a live frame came.
    pub(crate) transit: Option<gst::ClockTime>,
    /// Given back when the frame is written or dropped.
    pub(crate) _charge: Charge,
}

/// A pad as the publisher knows it.
pub(crate) struct PadHandle {
    pub(crate) pad: glib::WeakRef<MoqSinkPad>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) counters: Arc<Counters>,
}

/// What the publisher reports to a pad about its track.
#[derive(Debug)]
pub(crate) enum Report {
    /// Its frames go out under this name.
    Published(String),
    /// What was published before goes on under another name or in another format.
    RenditionChanged {
        track: String,
        caps: Option<gst::Caps>,
    },
    /// All of it was sent, and its end was published.
    Ended,
    /// Nothing is published until the next caps, for this reason.
    Failed(String),
    /// New caps came after a failure.
    Retrying,
    /// Frames were dropped for a reason that is new.
    Dropped(String),
    /// Something that harms no frame.
    Warning(String),
    /// Nothing is published until a keyframe comes, for this reason.
    Stalled(String),
    /// A keyframe has ended that.
    Flowing,
    /// Frames are dropped until a keyframe comes, or subscribers begin anew.
    NeedsKeyframe,
    /// Subscribers have come, or lost a group: a keyframe helps them if the open group is old.
    KeyframeHelps,
    /// Frames were dropped because the network did not carry them.
    Quality(Quality),
    /// Whether somebody subscribes to the track.
    Subscribed(bool),
    /// Whether frames are dropped because nobody does.
    Resting(bool),
}

impl Report {
    /// Reports of one subject supersede each other: the last of them says how it is now.
    fn subject(&self) -> Option<&'static str> {
        match self {
            Self::Stalled(_) | Self::Flowing => Some("stalled"),
            Self::NeedsKeyframe => Some("keyframe"),
            Self::KeyframeHelps => Some("keyframe helps"),
            Self::Quality(_) => Some("quality"),
            Self::Subscribed(_) => Some("subscribed"),
            Self::Resting(_) => Some("resting"),
            _ => None,
        }
    }
}

impl PadHandle {
    /// Hands `report` to the pad by way of the application's queue.
    pub(crate) fn report(&self, queue: &Arc<AppQueue>, report: Report) {
        let name = self.pad.upgrade().map(|pad| pad.name());
        let subject = name.zip(report.subject());
        let pad = self.pad.clone();
        let deliver = move |_: &gst::Element| {
            if let Some(pad) = pad.upgrade() {
                pad.imp().report(report);
            }
        };
        match subject {
            Some((pad, subject)) => queue.send_newest(format!("{pad} {subject}"), deliver),
            None => queue.send(deliver),
        }
    }
}
