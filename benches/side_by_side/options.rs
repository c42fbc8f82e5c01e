// SPDX-License-Identifier: MIT
//! The command line.

use std::{
    fmt::Display,
    path::PathBuf,
    str::FromStr,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail};

use crate::{
    peer::Peer,
    proxy::Path,
    scenes::{Plan, Scene},
};

const HELP: &str = "\
Usage: side_by_side [OPTIONS] [PART]...

Parts, all but custom by default: rate, tracks, subscribers, network, memory (or the beginning of a
scene's name), highest, states, instructions, custom

Options:
  --quick            one round of 2 s of some scenes, in about 6 minutes
  --rounds N         how often each peer is measured (5)
  --seconds N        how long each time (4)
  --peers A,B        only these of library, ours, cmaf, direct, moq-gst, srt, rtp
  --minutes N        begin no round later (60)
  --target DIR       where the plugins are: DIR/release and DIR/moq-gst/release (target)
  --output DIR       where the results go (target/side-by-side)

The part custom:
  --mbit N, --fps N, --group N (frames), --tracks N, --subscribers N   the load (10, 60, 60, 1, 1)
  --delay MS, --loss PERCENT, --limit MBIT    the network in front of the relay (none)";

const PARTS: [&str; 8] = [
    "rate",
    "tracks",
    "subscribers",
    "network",
    "memory",
    "highest",
    "states",
    "instructions",
];
/// Quick ones leave out what takes longest.
const QUICK_PARTS: [&str; 6] = [
    "rate",
    "tracks",
    "subscribers",
    "network",
    "states",
    "instructions",
];

pub(crate) enum Part {
    /// The scenes whose names begin so.
    Scenes(String),
    /// The load of the command line.
    Custom,
    Highest,
    States,
    Instructions,
}

pub(crate) struct Options {
    pub(crate) plan: Plan,
    pub(crate) parts: Vec<Part>,
    pub(crate) custom: Scene,
    pub(crate) output: PathBuf,
}

impl Options {
    pub(crate) fn parse() -> anyhow::Result<Self> {
        let mut options = Self {
            plan: Plan {
                rounds: 5,
                measure: Duration::from_secs(4),
                quick: false,
                peers: Peer::ALL.into(),
                target: "target".into(),
                deadline: deadline(60),
            },
            parts: Vec::new(),
            custom: Scene::new("custom", &Peer::ALL, 10),
            output: "target/side-by-side".into(),
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            options.take(&argument, &mut arguments)?;
        }
        let plan = &mut options.plan;
        plan.target = plan.target.canonicalize().context("--target")?;
        options.custom.peers = plan.of(&options.custom.peers);
        let custom = &options.custom;
        let (network, several) = (
            custom.path.is_some(),
            custom.subscribers > 1 || custom.load.tracks > 1,
        );
        if network || several {
            // The others have no relay that could be at fault, or serve several.
            let fits = |peer: &Peer| peer.is_relayed() || (*peer == Peer::Direct && !network);
            options.custom.peers.retain(fits);
        }
        if options.parts.is_empty() {
            let all: &[&str] = if plan.quick { &QUICK_PARTS } else { &PARTS };
            options.parts = all.iter().map(|name| Part::named(name)).collect();
        }
        Ok(options)
    }

    fn take(
        &mut self,
        argument: &str,
        rest: &mut impl Iterator<Item = String>,
    ) -> anyhow::Result<()> {
        let (plan, custom) = (&mut self.plan, &mut self.custom);
        let load = &mut custom.load;
        let path = &mut custom.path;
        match argument {
            // cargo bench says so.
            "--bench" => {}
            "--help" => {
                println!("{HELP}");
                std::process::exit(0);
            }
            "--quick" => {
                plan.quick = true;
                plan.rounds = 1;
                plan.measure = Duration::from_secs(2);
            }
            "--rounds" => plan.rounds = value(argument, rest)?,
            "--seconds" => plan.measure = Duration::from_secs(value(argument, rest)?),
            "--peers" => {
                let names: String = value(argument, rest)?;
                let peers = names.split(',').map(|name| {
                    Peer::named(name).with_context(|| format!("unknown peer {name}\n{HELP}"))
                });
                plan.peers = peers.collect::<anyhow::Result<_>>()?;
            }
            "--minutes" => plan.deadline = deadline(value(argument, rest)?),
            "--target" => plan.target = value(argument, rest)?,
            "--output" => self.output = value(argument, rest)?,
            "--mbit" => load.bits = value::<u64>(argument, rest)? * 1_000_000,
            "--fps" => load.fps = value(argument, rest)?,
            "--group" => load.group = value(argument, rest)?,
            "--tracks" => load.tracks = value(argument, rest)?,
            "--subscribers" => custom.subscribers = value(argument, rest)?,
            "--delay" => {
                path.get_or_insert_default().delay = Duration::from_millis(value(argument, rest)?)
            }
            "--loss" => path.get_or_insert_default().loss = value::<f64>(argument, rest)? / 100.0,
            "--limit" => limit(path.get_or_insert_default(), value(argument, rest)?),
            other if other.starts_with('-') => bail!("unknown option {other}\n{HELP}"),
            part => self.parts.push(Part::named(part)),
        }
        Ok(())
    }
}

/// The value of an option.
fn value<T: FromStr<Err: Display>>(
    option: &str,
    rest: &mut impl Iterator<Item = String>,
) -> anyhow::Result<T> {
    let text = rest
        .next()
        .with_context(|| format!("{option} wants a value"))?;
    text.parse()
        .map_err(|err| anyhow!("{option} {text}: {err}"))
}

fn deadline(minutes: u64) -> Instant {
    Instant::now() + Duration::from_secs(minutes * 60)
}

/// So many Mbit/s, with a queue of 100 ms.
fn limit(path: &mut Path, mbit: f64) {
    let bits = mbit * 1e6;
    path.bandwidth = Some(bits as u64);
    path.queue = (bits / 8.0 / 10.0) as usize;
}

impl Part {
    fn named(name: &str) -> Self {
        match name {
            "custom" => Self::Custom,
            "highest" => Self::Highest,
            "states" => Self::States,
            "instructions" => Self::Instructions,
            scenes => Self::Scenes(scenes.to_owned()),
        }
    }
}
