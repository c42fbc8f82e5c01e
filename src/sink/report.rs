//! What the session task tells a pad, by way of the courier.

use gst::subclass::prelude::*;

use super::{
    counters::Quality,
    run::{Peer, Run},
};

/// News about a pad's track.
#[derive(Debug)]
pub(super) enum Report {
    /// Its frames go out under this name.
    Published(String),
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
