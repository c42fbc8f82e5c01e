// SPDX-License-Identifier: MIT
//! Which rendition a receiver shows on a path that changes: moqsrc, and shaka-player in Chromium.
//!
//! `benches/adaptive.sh` sets up what this needs and calls it; `--help` says what it can do.

#[path = "../../tests/common/mod.rs"]
mod common;
mod options;
mod plot;
mod score;
mod viewer;

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use common::{
    Path, Proxy, Relay, Running,
    barcode::Pictures,
    init,
    ladder::{self, LADDER},
    media::moqsink,
    pipeline::wait_until,
};
use gst::prelude::*;

use options::Options;
use score::{Path as Step, Record, Score};
use viewer::Player;

/// One way.
const DELAY: Duration = Duration::from_millis(20);
/// What the bottleneck holds.
const QUEUE: Duration = Duration::from_millis(200);
/// Constant bit rate, a keyframe each second.
const ENCODER: &str = "tune=zerolatency vbv-buf-capacity=300";
const GROUP: u32 = 30;
const BROADCAST: &str = "adaptive.msf";

fn path(bits: u64) -> Path {
    Path {
        bandwidth: Some(bits),
        queue: (bits as f64 / 8.0 * QUEUE.as_secs_f64()) as usize,
        delay: DELAY,
        ..Path::default()
    }
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse()?;
    init();
    let mut scores = Vec::new();
    for round in 0..options.rounds {
        for player in &options.players {
            let record = measure(*player, &options)
                .with_context(|| format!("{}, round {round}", player.name()))?;
            let score = Score::of(&record);
            println!("{}, round {}: {score}", player.name(), round + 1);
            let name = format!("{}-{}.csv", player.name(), round + 1);
            fs::write(options.output.join(name), record.csv())?;
            scores.push((*player, record, score));
        }
    }
    let table = score::table(&scores);
    println!("\n{table}");
    fs::write(options.output.join("results.md"), table)?;
    let first = |player: Player| scores.iter().find(|(other, ..)| *other == player);
    let drawn: Vec<_> = Player::ALL.into_iter().filter_map(first).collect();
    plot::draw(&options.output.join("results.svg"), &drawn)
}

/// One player, from its start through all steps of the path.
fn measure(player: Player, options: &Options) -> anyhow::Result<Record> {
    let port = Relay::free_port()?;
    let relay = Relay::start_at(port)?;
    let publisher = publish(&relay.url());
    let captured = Pictures::of(
        &publisher
            .element("numbered")
            .static_pad("src")
            .context("a pad")?,
    );
    // Both find a broadcast that is live.
    wait_until("pictures are captured", Duration::from_secs(20), || {
        captured.so_far().len() > 3 * GROUP as usize
    });
    let proxy = Proxy::start(relay.addr(), path(options.steps[0]))?;
    let begin = Instant::now();
    let viewer = player.watch(&proxy, &relay, BROADCAST, options)?;
    let mut steps = Vec::new();
    for (place, bits) in (0..).zip(&options.steps) {
        proxy.set_path(path(*bits));
        steps.push(Step {
            from: begin.elapsed().as_secs_f64(),
            bits: *bits as f64,
        });
        let end = begin + (place + 1) * options.step;
        thread::sleep(end.saturating_duration_since(Instant::now()));
    }
    let (_, bytes) = proxy.delivered();
    let end = begin.elapsed().as_secs_f64();
    let shown = viewer.stop()?;
    let captured = captured.so_far();
    Ok(Record::new(begin, end, steps, &shown, &captured, bytes))
}

fn publish(url: &str) -> Running {
    let pads: String = (0..LADDER.len())
        .map(|place| format!(" sink_{place}::container=cmaf"))
        .collect();
    ladder::publish_to(
        &(moqsink(url, BROADCAST) + &pads),
        [GROUP; 3],
        ENCODER,
        ":nal-hrd=cbr",
    )
}
