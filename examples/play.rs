// SPDX-License-Identifier: MIT
//! Plays a broadcast with H.264 video and AAC audio, as this line does:
//!
//! ```sh
//! gst-launch-1.0 \
//!   moqsrc name=moq url=https://127.0.0.1:4443/ broadcast=test.hang tls-disable-verify=true \
//!   moq.video_0 ! queue ! avdec_h264 ! videoconvert ! autovideosink \
//!   moq.audio_0 ! queue ! avdec_aac ! audioconvert ! audioresample ! autoaudiosink
//! ```
//!
//! Run it with `cargo run --release --example play [URL [BROADCAST]]`; Ctrl-C ends it.

#[path = "demo/interrupt.rs"]
mod interrupt;

use std::env;

use anyhow::{Context, anyhow, bail};
use gst::prelude::*;

fn main() -> anyhow::Result<()> {
    gst::init().context("initialize GStreamer")?;
    gstmoq::plugin_register_static().context("register the plugin")?;

    let pipeline = gst::parse::launch(
        "moqsrc name=moq tls-disable-verify=true \
         moq.video_0 ! queue ! avdec_h264 ! videoconvert ! autovideosink \
         moq.audio_0 ! queue ! avdec_aac ! audioconvert ! audioresample ! autoaudiosink",
    )
    .context("build the pipeline")?
    .downcast::<gst::Pipeline>()
    .map_err(|_| anyhow!("the launch line is one element, not a pipeline"))?;

    let mut args = env::args().skip(1);
    let url = args.next().unwrap_or("https://127.0.0.1:4443/".into());
    let broadcast = args.next().unwrap_or("test.hang".into());
    let source = pipeline.by_name("moq").context("find moqsrc")?;
    source.set_property("url", &url);
    source.set_property("broadcast", &broadcast);

    // Read back, because what the user gave may hold a token.
    let url = source.property::<String>("url");
    println!("Playing {broadcast} from {url}; Ctrl-C ends it.");
    let result = play(&pipeline);
    pipeline.set_state(gst::State::Null).context("stop")?;
    result
}

/// Plays until the broadcast ends, an error, or Ctrl-C.
fn play(pipeline: &gst::Pipeline) -> anyhow::Result<()> {
    use gst::MessageView;

    interrupt::on_bus_of(pipeline)?;
    let bus = pipeline.bus().context("get the pipeline's bus")?;
    // The reason of a failure is the error on the bus.
    let _ = pipeline.set_state(gst::State::Playing);
    for message in bus.iter_timed(gst::ClockTime::NONE) {
        match message.view() {
            MessageView::Error(error) => bail!("{}", error.error()),
            MessageView::Eos(_) | MessageView::Application(_) => break,
            // The sinks come to know it only through the pipeline.
            MessageView::Latency(_) => pipeline.recalculate_latency().context("latency")?,
            _ => (),
        }
    }
    Ok(())
}
