// SPDX-License-Identifier: MIT
//! One received frame as a PNG file.

use std::path::Path;

use anyhow::{Context, anyhow, bail};
use gst::prelude::*;

/// How long writing one frame may take.
const BOUND: gst::ClockTime = gst::ClockTime::from_seconds(10);

/// Writes the frame to `file`.
pub(crate) fn write_png(frame: &gst::Sample, file: &Path) -> anyhow::Result<()> {
    let pipeline = gst::parse::launch(
        "appsrc name=in format=time ! videoconvert ! pngenc ! filesink name=file",
    )
    .context("build the PNG writer")?
    .downcast::<gst::Pipeline>()
    .map_err(|_| anyhow!("the PNG writer is no pipeline"))?;
    let location = file.to_str().context("the path is no UTF-8")?;
    pipeline
        .by_name("file")
        .context("the file sink")?
        .set_property("location", location);
    let input = pipeline
        .by_name("in")
        .and_downcast::<gst_app::AppSrc>()
        .context("the input")?;
    let written = write(&pipeline, &input, frame);
    pipeline.set_state(gst::State::Null).context("stop")?;
    written.with_context(|| format!("cannot write {}", file.display()))
}

fn write(
    pipeline: &gst::Pipeline,
    input: &gst_app::AppSrc,
    frame: &gst::Sample,
) -> anyhow::Result<()> {
    // The reason of a failure is the error on the bus.
    let _ = pipeline.set_state(gst::State::Playing);
    let _ = input.push_sample(frame);
    let _ = input.end_of_stream();
    let bus = pipeline.bus().context("get the pipeline's bus")?;
    let ends = [gst::MessageType::Eos, gst::MessageType::Error];
    match bus.timed_pop_filtered(BOUND, &ends) {
        Some(message) => match message.view() {
            gst::MessageView::Error(error) => bail!("{}", error.error()),
            _ => Ok(()),
        },
        None => bail!("it takes longer than {BOUND}"),
    }
}
