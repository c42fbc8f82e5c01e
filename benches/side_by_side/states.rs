// SPDX-License-Identifier: MIT
//! What an element costs before media flow: loading its library, and changes of state.

use std::time::{Duration, Instant};

use anyhow::Context;
use gst::prelude::*;

use crate::{
    job::{Job, Word},
    usage::Figures,
};

/// How often each change is made; the first one also starts what the process shares.
pub(crate) const TIMES: u32 = 10;
/// Between the two: long enough for a session, where there is a relay.
pub(crate) const PAUSE: Duration = Duration::from_millis(100);

pub(crate) fn run(job: &Job) -> anyhow::Result<()> {
    gst::init()?;
    let feature = gst::ElementFactory::find("moqsink").context("no moqsink")?;
    let file = feature.plugin().and_then(|plugin| plugin.filename());
    let file = file.context("the plugin's file")?;
    let begun = Instant::now();
    let _loaded = feature.load()?;
    let load = begun.elapsed();
    let mut figures = Figures::from([
        ("load ms".into(), ms(load)),
        (
            "library MB".into(),
            std::fs::metadata(file)?.len() as f64 / 1e6,
        ),
    ]);
    for name in ["moqsink", "moqsrc"] {
        let (up, down) = change(name, job)?;
        figures.insert(format!("{name} READY to PAUSED ms"), ms(up));
        figures.insert(format!("{name} PAUSED to READY ms"), ms(down));
    }
    Word::Result(figures).say()
}

/// The longest change up and down.
fn change(name: &str, job: &Job) -> anyhow::Result<(Duration, Duration)> {
    let element = gst::ElementFactory::make(name)
        .property("url", &job.url)
        .property("broadcast", &job.broadcast)
        .property("tls-disable-verify", true)
        .build()?;
    element.set_state(gst::State::Ready)?;
    let (mut up, mut down) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..TIMES {
        let begun = Instant::now();
        element.set_state(gst::State::Paused)?;
        up = up.max(begun.elapsed());
        std::thread::sleep(PAUSE);
        let begun = Instant::now();
        element.set_state(gst::State::Ready)?;
        down = down.max(begun.elapsed());
    }
    element.set_state(gst::State::Null)?;
    Ok((up, down))
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
