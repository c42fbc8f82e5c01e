// SPDX-License-Identifier: MIT
//! Publishes one picture in three qualities, of which the network gets as many as it carries.
//!
//! The encoders follow the network (`rate-control`), all of them make their keyframes of the same pictures
//! (`rendition-group`), and each rests while nobody watches it (`demand`). Whenever the rates change they
//! are printed.
//!
//! Run it with `cargo run --release --example simulcast [URL [BROADCAST]]`; Ctrl-C ends it.

#[path = "demo/publishing.rs"]
mod publishing;

use std::env;

use anyhow::{Context, anyhow};
use gst::prelude::*;

/// Width, height, and part of the bit rate of each rendition; each has a pad of its own.
const RENDITIONS: [(u32, u32, u32); 3] = [(320, 180, 1), (640, 360, 3), (1280, 720, 8)];

fn main() -> anyhow::Result<()> {
    gst::init().context("initialize GStreamer")?;
    gstmoq::plugin_register_static().context("register the plugin")?;

    let mut args = env::args().skip(1);
    let url = args.next().unwrap_or("https://127.0.0.1:4443/".into());
    let broadcast = args.next().unwrap_or("simulcast.hang".into());
    let pipeline = build().context("build the pipeline")?;
    let sink = pipeline.by_name("moq").context("find moqsink")?;
    sink.set_property("url", &url);
    sink.set_property("broadcast", &broadcast);
    for pad in sink.sink_pads() {
        pad.connect_notify(Some("target-bitrate"), |pad, _| {
            let bits: u32 = pad.property("target-bitrate");
            println!("{}: {} kbit/s", pad.name(), bits / 1000);
        });
    }

    // Read back, because what the user gave may hold a token.
    let url = sink.property::<String>("url");
    println!("Publishing {broadcast} to {url}; Ctrl-C ends it.");
    let result = publishing::play(&pipeline);
    pipeline.set_state(gst::State::Null).context("stop")?;
    result
}

fn build() -> anyhow::Result<gst::Pipeline> {
    let mut line = String::from(
        "videotestsrc is-live=true pattern=ball ! \
           video/x-raw,format=I420,width=1280,height=720,framerate=30/1 ! tee name=tee ",
    );
    let mut settings = String::new();
    for (index, (width, height, share)) in RENDITIONS.iter().enumerate() {
        line += &format!(
            "tee. ! queue ! videoscale ! video/x-raw,width={width},height={height} ! \
               x264enc tune=zerolatency speed-preset=veryfast key-int-max=60 ! h264parse ! moq.sink_{index} "
        );
        settings += &format!(
            "sink_{index}::rendition-group=picture sink_{index}::bitrate-share={share} \
             sink_{index}::demand=upstream "
        );
    }
    let sink = "moqsink name=moq tls-disable-verify=true rate-control=encoder max-bitrate=4000000";
    gst::parse::launch(&format!("{line} {sink} {settings}"))?
        .downcast()
        .map_err(|_| anyhow!("the launch line is one element, not a pipeline"))
}
