// SPDX-License-Identifier: MIT
//! Publishes a camera that is paused, with its encoder, while nobody watches.
//!
//! The pad of `moqsink` tells upstream by the event `moq-demand` whether frames are needed
//! (`demand=upstream`). Here the application hears it and pauses the branch; with an element `valve` no code
//! is needed, but the camera goes on.
//!
//! Run it with `cargo run --release --example on_demand [URL [BROADCAST]]`; Ctrl-C ends it.

#[path = "demo/publishing.rs"]
mod publishing;

use std::env;

use anyhow::{Context, anyhow};
use gst::prelude::*;

/// What is paused: a bin with one source pad.
const CAMERA: &str = "videotestsrc is-live=true pattern=ball ! \
    video/x-raw,format=I420,width=1280,height=720,framerate=30/1 ! \
    x264enc tune=zerolatency key-int-max=60 bitrate=2000 ! h264parse";

fn main() -> anyhow::Result<()> {
    gst::init().context("initialize GStreamer")?;
    gstmoq::plugin_register_static().context("register the plugin")?;

    let mut args = env::args().skip(1);
    let url = args.next().unwrap_or("https://127.0.0.1:4443/".into());
    let broadcast = args.next().unwrap_or("on-demand.hang".into());
    let pipeline = build(&url, &broadcast).context("build the pipeline")?;

    println!("Publishing {broadcast}; Ctrl-C ends it.");
    let result = publishing::play(&pipeline);
    pipeline.set_state(gst::State::Null).context("stop")?;
    result
}

fn build(url: &str, broadcast: &str) -> anyhow::Result<gst::Pipeline> {
    let sink = gst::ElementFactory::make("moqsink")
        .property("url", url)
        .property("broadcast", broadcast)
        .property("tls-disable-verify", true)
        .build()?;
    let camera = gst::parse::bin_from_description(CAMERA, true)?;
    let pipeline = gst::Pipeline::new();
    pipeline.add_many([camera.upcast_ref(), &sink])?;
    let pad = sink.request_pad_simple("sink_0").context("a pad")?;
    pad.set_property_from_str("demand", "upstream");
    let source = camera.static_pad("src").context("the camera's pad")?;
    source.link(&pad).map_err(|err| anyhow!("link: {err}"))?;
    source.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
        let needed = info
            .event()
            .and_then(|event| event.structure())
            .filter(|structure| structure.name() == "moq-demand")
            .and_then(|structure| structure.get("subscribed").ok());
        if let Some(needed) = needed {
            println!(
                "{}",
                if needed {
                    "Somebody watches."
                } else {
                    "Nobody watches."
                }
            );
            // Not here, since a change of state may wait for what this thread does.
            camera.call_async(move |camera| set_running(camera, needed));
        }
        gst::PadProbeReturn::Ok
    });
    Ok(pipeline)
}

/// Lets the branch play, or pauses it, whatever the pipeline does meanwhile.
fn set_running(branch: &gst::Bin, runs: bool) {
    branch.set_locked_state(!runs);
    let changed = match runs {
        true => branch.sync_state_with_parent().is_ok(),
        false => branch.set_state(gst::State::Paused).is_ok(),
    };
    if !changed {
        eprintln!("The camera cannot change its state.");
    }
}
