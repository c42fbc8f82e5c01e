//! What the session task tells a pad, by way of the courier.

use gst::{prelude::*, subclass::prelude::*};

use super::{
    MoqSinkPad,
    counters::Quality,
    run::{Peer, Run},
};

/// News about a pad's track.
#[derive(Debug)]
pub(super) enum Report {
    /// Its frames go out under this name.
    Published(String),
    /// What was published before goes on under another name or in another format.
    Changed {
        track: String,
        caps: Option<gst::Caps>,
    },
    /// All of it was sent and its end was told.
    Ended,
    /// Nothing is published until the next caps, for this reason.
    Failed(String),
    /// New caps came after a failure.
    Retries,
    /// Frames were dropped for a reason that is new.
    Dropped(String),
    /// Something that harms no frame.
    Warning(String),
    /// Nothing is published until a key frame comes, for this reason.
    Stalled(String),
    /// A key frame has ended that.
    Flows,
    /// Frames are dropped until a key frame comes.
    NeedsKeyFrame,
    /// Frames were dropped because the network did not carry them.
    Quality(Quality),
}

/// Has `report` taken to the pad of `peer`.
pub(super) fn send(run: &Run, peer: &Peer, report: Report) {
    let pad = peer.pad.clone();
    run.courier.send(move |_| {
        if let Some(pad) = pad.upgrade() {
            pad.imp().report(report);
        }
    });
}

/// Tells the application that viewers get another track, or another format, from a pad.
pub(super) fn post_changed(pad: &MoqSinkPad, track: &str, caps: Option<gst::Caps>) {
    let Some(element) = pad.parent_element() else {
        return;
    };
    let structure = gst::Structure::builder("moq-rendition-changed")
        .field("pad", pad.name())
        .field("track", track)
        .field_if_some("caps", caps)
        .build();
    let message = gst::message::Element::builder(structure)
        .src(&element)
        .build();
    // Refused only without a bus: then nobody asks.
    let _ = element.post_message(message);
}
