// SPDX-License-Identifier: MIT
//! Compares this plugin with the MoQ crates alone, with the crate moq-gst, with SRT and with RTP.
//!
//! `benches/side-by-side.sh` sets up the peers and calls this; `--help` says what it can leave out.

mod check;
mod compare;
mod instructions;
mod job;
mod library;
mod load;
mod measure;
mod options;
mod peer;
mod plot;
#[allow(dead_code)]
#[path = "../../tests/common/proxy.rs"]
mod proxy;
mod publish;
#[allow(dead_code)]
#[path = "../../tests/common/relay.rs"]
mod relay;
mod report;
mod scenes;
mod states;
mod usage;
mod view;

use job::{Job, Role, Word, orders};
use options::Options;
use relay::Relay;
use usage::Window;

fn main() -> anyhow::Result<()> {
    match std::env::var("SIDE_BY_SIDE_JOB") {
        Ok(job) => work(&serde_json::from_str(&job)?),
        Err(_) => compare::run(&Options::parse()?),
    }
}

fn work(job: &Job) -> anyhow::Result<()> {
    match job.role {
        Role::Relay => serve(),
        Role::Publish => publish::run(job),
        Role::View => view::run(job),
        Role::States => states::run(job),
        Role::Check => check::run(),
    }
}

/// A relay until the end of its input.
fn serve() -> anyhow::Result<()> {
    let orders = orders();
    let mut window = Window::idle();
    let relay = Relay::start()?;
    Word::Ready(relay.url()).say()?;
    for _ in orders {
        window.restart();
    }
    let (cpu, mut figures) = window.figures("relay");
    figures.insert("relay CPU ms".into(), cpu);
    Word::Result(figures).say()
}
