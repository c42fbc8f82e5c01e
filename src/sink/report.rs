//! What the session task tells a pad, by way of the application queue.

use gst::{prelude::*, subclass::prelude::*};

use super::{
    MoqSinkPad,
    run::{Peer, Run},
    stats::Quality,
};

/// News about a pad's track.
#[derive(Debug)]
pub(crate) enum Report {
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
pub(crate) fn send(run: &Run, peer: &Peer, report: Report) {
    let subject = match &report {
        // The last of them says how it is now.
        Report::Stalled(_) | Report::Flows => Some("stalled"),
        Report::NeedsKeyFrame => Some("key frame"),
        Report::Quality(_) => Some("quality"),
        _ => None,
    };
    let name = peer.pad.upgrade().map(|pad| pad.name());
    let pad = peer.pad.clone();
    let tell = move |_: &gst::Element| {
        if let Some(pad) = pad.upgrade() {
            pad.imp().report(report);
        }
    };
    match name.zip(subject) {
        Some((pad, subject)) => run.app_queue.send_newest(format!("{pad} {subject}"), tell),
        None => run.app_queue.send(tell),
    }
}

/// Tells the application that viewers get another track, or another format, from a pad.
pub(crate) fn post_changed(pad: &MoqSinkPad, track: &str, caps: Option<gst::Caps>) {
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
