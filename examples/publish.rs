// SPDX-License-Identifier: MIT
//! Publishes a test video and a test tone, as this line does:
//!
//! ```sh
//! gst-launch-1.0 -e \
//!   videotestsrc is-live=true ! video/x-raw,format=I420,width=1280,height=720,framerate=30/1 ! \
//!     x264enc tune=zerolatency key-int-max=60 bitrate=2000 ! h264parse ! moq.sink_0 \
//!   audiotestsrc is-live=true ! audioconvert ! avenc_aac ! aacparse ! moq.sink_1 \
//!   moqsink name=moq url=https://127.0.0.1:4443/ broadcast=test.hang tls-disable-verify=true
//! ```
//!
//! Run it with `cargo run --release --example publish [URL [BROADCAST]]`; Ctrl-C ends it.

#[path = "demo/publishing.rs"]
mod publishing;

use std::env;

use anyhow::{Context, anyhow};
use gst::prelude::*;

fn main() -> anyhow::Result<()> {
    gst::init().context("initialize GStreamer")?;
    gstmoq::plugin_register_static().context("register the plugin")?;

    let pipeline = gst::parse::launch(
        "videotestsrc is-live=true ! video/x-raw,format=I420,width=1280,height=720,framerate=30/1 ! \
           x264enc tune=zerolatency key-int-max=60 bitrate=2000 ! h264parse ! moq.sink_0 \
         audiotestsrc is-live=true ! audioconvert ! avenc_aac ! aacparse ! moq.sink_1 \
         moqsink name=moq tls-disable-verify=true",
    )
    .context("build the pipeline")?
    .downcast::<gst::Pipeline>()
    .map_err(|_| anyhow!("the launch line is one element, not a pipeline"))?;

    let mut args = env::args().skip(1);
    let url = args.next().unwrap_or("https://127.0.0.1:4443/".into());
    let broadcast = args.next().unwrap_or("test.hang".into());
    let sink = pipeline.by_name("moq").context("find moqsink")?;
    sink.set_property("url", &url);
    sink.set_property("broadcast", &broadcast);

    // Read back, because what the user gave may hold a token.
    let url = sink.property::<String>("url");
    println!("Publishing {broadcast} to {url}; Ctrl-C ends it.");
    let result = publishing::play(&pipeline);
    pipeline.set_state(gst::State::Null).context("stop")?;
    result
}
