// SPDX-License-Identifier: MIT
//! Ctrl-C as a message on a pipeline's bus, so that one loop sees everything that happens.

use std::{process, thread};

use anyhow::Context;
use gst::prelude::*;
use tokio::{runtime, signal};

/// The exit status of a program that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// Posts an application message at the first Ctrl-C; the second one exits at once.
pub(crate) fn on_bus_of(pipeline: &gst::Pipeline) -> anyhow::Result<()> {
    let bus = pipeline.bus().context("get the pipeline's bus")?;
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("prepare to hear Ctrl-C")?;
    thread::spawn(move || {
        if runtime.block_on(signal::ctrl_c()).is_ok() {
            let interrupt = gst::Structure::new_empty("interrupt");
            // A flushing bus belongs to a pipeline that has ended already.
            let _ = bus.post(gst::message::Application::new(interrupt));
            if runtime.block_on(signal::ctrl_c()).is_ok() {
                process::exit(INTERRUPTED);
            }
        }
    });
    Ok(())
}
