// SPDX-License-Identifier: MIT
//! Publishes and plays through a relay while the network, the relay, the publisher and the application
//! do what they do in a year, and shows once a second what that costs.
//!
//! The elements take each of these lines of `gst-launch-1.0`, with a relay and a bad network between:
//!
//! ```sh
//! gst-launch-1.0 videotestsrc is-live=true ! video/x-raw,format=I420 ! x264enc tune=zerolatency ! h264parse ! moqsink url=... broadcast=soak
//! gst-launch-1.0 moqsrc url=... broadcast=soak ! fakesink sync=true
//! ```
//!
//! `cargo run --release --example soak -- --minutes 10`; `--seed N` draws other faults. It ends with
//! status 1 when media do not come back after a fault.

#[path = "../../tests/common/mod.rs"]
mod common;
mod faults;
mod meter;
mod scene;

use std::time::{Duration, Instant};

use anyhow::Context;

use faults::Fault;
use meter::Meter;
use scene::Scene;

/// Between two faults, so that each finds a quiet line.
const REST: Duration = Duration::from_secs(4);
/// How long media may take to come back.
const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> anyhow::Result<()> {
    if let Ok(port) = std::env::var(scene::RELAY_VARIABLE) {
        return scene::serve(port.parse().context("a port")?);
    }
    let (minutes, seed) = options()?;
    let mut random = fastrand::Rng::with_seed(seed);
    let mut scene = Scene::start()?;
    let mut meter = Meter::start();
    scene.wait_flow(&mut meter, PATIENCE, "the start")?;
    meter.begin();
    let end = Instant::now() + Duration::from_secs(60 * minutes);
    let mut recoveries = Vec::new();
    while Instant::now() < end {
        let fault = Fault::draw(&mut random);
        meter.state = fault.name().to_owned();
        fault.run(&mut scene, &mut random, &mut meter)?;
        meter.state = format!("after {}", fault.name());
        let took = scene.wait_flow(&mut meter, PATIENCE, fault.name())?;
        recoveries.push((fault, took));
        meter.state.clear();
        scene.pass(&mut meter, REST)?;
    }
    meter.summary();
    faults::summary(&recoveries);
    Ok(())
}

/// Minutes and seed.
fn options() -> anyhow::Result<(u64, u64)> {
    let (mut minutes, mut seed) = (10, 1);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments.next();
        let value = value.with_context(|| format!("{argument} wants a number"))?;
        let place = match argument.as_str() {
            "--minutes" => &mut minutes,
            "--seed" => &mut seed,
            _ => anyhow::bail!("--minutes N and --seed N are known, not {argument}"),
        };
        *place = value.parse().context(argument)?;
    }
    Ok((minutes, seed))
}
