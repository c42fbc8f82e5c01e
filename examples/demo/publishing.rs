// SPDX-License-Identifier: MIT
//! The main loop of a publisher.

#[path = "interrupt.rs"]
mod interrupt;

use anyhow::{Context, bail};
use gst::prelude::*;

/// How long the broadcast may take to end after Ctrl-C.
const END_BOUND: gst::ClockTime = gst::ClockTime::from_seconds(10);

/// Plays until the end, an error, or Ctrl-C, which ends the broadcast with EOS.
pub(crate) fn play(pipeline: &gst::Pipeline) -> anyhow::Result<()> {
    use gst::{MessageType::*, MessageView};

    interrupt::on_bus_of(pipeline)?;
    let bus = pipeline.bus().context("get the pipeline's bus")?;
    // The reason of a failure is the error on the bus.
    let _ = pipeline.set_state(gst::State::Playing);
    let mut patience = gst::ClockTime::NONE;
    while let Some(message) = bus.timed_pop_filtered(patience, &[Eos, Error, Application]) {
        match message.view() {
            MessageView::Application(_) => {
                println!("Ending the broadcast.");
                pipeline.send_event(gst::event::Eos::new());
                patience = Some(END_BOUND);
            }
            MessageView::Error(error) => bail!("{}", error.error()),
            _ => return Ok(()),
        }
    }
    bail!("the broadcast did not end within {END_BOUND}");
}
