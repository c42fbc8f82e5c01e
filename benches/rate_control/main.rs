// SPDX-License-Identifier: MIT
//! How an encoder follows a path whose capacity changes: moqsink and moqsrc, and webrtcsink and webrtcsrc.
//!
//! `benches/rate-control.sh` sets up what this needs and calls it; `--help` says what it can do.

mod check;
mod job;
mod network;
mod options;
mod peer;
mod picture;
mod plot;
mod receive;
mod record;
mod report;
mod run;
mod scene;
mod send;

use job::{Job, Role};
use options::Options;

fn main() -> anyhow::Result<()> {
    match std::env::var("RATE_CONTROL_JOB") {
        Ok(job) => work(&serde_json::from_str(&job)?),
        Err(_) => run::run(&Options::parse()?),
    }
}

fn work(job: &Job) -> anyhow::Result<()> {
    match job.role {
        Role::Find => peer::find(job),
        Role::Send => send::run(job),
        Role::Receive => receive::run(job),
        Role::Encode => send::encode(),
        Role::SendDatagrams => check::send(job),
        Role::ReceiveDatagrams => check::receive(),
    }
}
