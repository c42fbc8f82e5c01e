// SPDX-License-Identifier: MIT
//! The messages of both pipelines, in one queue.

use std::sync::mpsc;

use anyhow::Context;
use gst::prelude::*;

/// Which pipeline a message is from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Side {
    Publisher,
    Subscriber,
}

/// Where the messages go.
pub(crate) type Events = mpsc::Sender<(Side, gst::Message)>;

/// Sends every message of the pipeline to `events`.
pub(crate) fn forward(pipeline: &gst::Pipeline, side: Side, events: &Events) -> anyhow::Result<()> {
    let events = events.clone();
    let bus = pipeline.bus().context("get the pipeline's bus")?;
    bus.set_sync_handler(move |_, message| {
        // At the end of the demo nobody listens any more.
        let _ = events.send((side, message.clone()));
        gst::BusSyncReply::Drop
    });
    Ok(())
}

/// The text of an error in one line, with the cause that the element gives.
pub(crate) fn describe(error: &gst::message::Error) -> String {
    let element = error.src().map(|source| source.name());
    let element = element.as_deref().unwrap_or("GStreamer");
    let debug = error.debug();
    // Its other lines are places in the source code.
    let cause = debug.as_deref().and_then(|debug| debug.lines().nth(1));
    match cause {
        Some(cause) => format!("{element}: {} ({cause})", error.error()),
        None => format!("{element}: {}", error.error()),
    }
}
