// SPDX-License-Identifier: MIT
//! A subscriber that takes every track of a broadcast.

use std::sync::mpsc;

use gst::prelude::*;

use super::{Packets, Relay, Running, media::moqsrc, pipeline::DEADLINE};

/// A pad of a subscriber as it was when it came, with what passes it.
pub(crate) struct Pad {
    pub(crate) name: String,
    pub(crate) track: String,
    pub(crate) mime: Option<String>,
    pub(crate) caps: String,
    pub(crate) packets: Packets,
}

impl Pad {
    fn of(pad: &gst::Pad) -> Self {
        Self {
            name: pad.name().into(),
            track: pad.property("track"),
            mime: pad.property("mime"),
            caps: pad.current_caps().expect("caps").to_string(),
            packets: Packets::of(pad),
        }
    }
}

/// A subscriber that takes every track, whenever it comes.
pub(crate) fn subscribe(relay: &Relay, broadcast: &str) -> (Running, mpsc::Receiver<Pad>) {
    let pipeline = gst::Pipeline::new();
    // What comes before the subscription's start is kept up to half the latency.
    let source = format!("{} latency=2000", moqsrc(&relay.url(), broadcast));
    let source = gst::parse::launch(&source).expect("moqsrc");
    pipeline.add(&source).expect("a name of its own");
    let (added, pads) = mpsc::channel();
    let weak = pipeline.downgrade();
    source.connect_pad_added(move |_, pad| {
        let Some(pipeline) = weak.upgrade() else {
            return;
        };
        let seen = Pad::of(pad);
        let sink = gst::ElementFactory::make("fakesink")
            .property("sync", false)
            .property("async", false)
            .build()
            .expect("fakesink");
        pipeline.add(&sink).expect("a name of its own");
        sink.sync_state_with_parent().expect("fakesink starts");
        pad.link(&sink.static_pad("sink").expect("a pad"))
            .expect("a fakesink takes everything");
        // Refused only after the test.
        let _ = added.send(seen);
    });
    let running = Running::new(pipeline);
    running.start();
    (running, pads)
}

pub(crate) fn wait_pads(pads: &mpsc::Receiver<Pad>, count: usize) -> Vec<Pad> {
    let mut found: Vec<Pad> = (0..count)
        .map(|_| pads.recv_timeout(DEADLINE).expect("a pad is added"))
        .collect();
    found.sort_by(|one, other| one.track.cmp(&other.track));
    found
}
