// SPDX-License-Identifier: MIT
//! The command line.

use std::{fmt::Display, path::PathBuf, str::FromStr, time::Duration};

use anyhow::{Context, anyhow, bail};

use crate::viewer::Player;

const HELP: &str = "\
Usage: adaptive [OPTIONS]

Options:
  --players A,B    only these of moqsrc, shaka
  --rounds N       how often each is measured, in alternation (1)
  --path A,B,C     the path's bandwidths one after another, in kbit/s (500,4000,1200)
  --seconds N      how long each lasts (30)
  --latency MS     moqsrc's latency (500)
  --node DIR       where shaka-player and playwright-core are installed (target/adaptive)
  --output DIR     where the results go (target/adaptive)";

pub(crate) struct Options {
    pub(crate) players: Vec<Player>,
    pub(crate) rounds: u32,
    /// Bits per second.
    pub(crate) steps: Vec<u64>,
    pub(crate) step: Duration,
    pub(crate) latency: u32,
    pub(crate) node: PathBuf,
    pub(crate) output: PathBuf,
}

impl Options {
    pub(crate) fn parse() -> anyhow::Result<Self> {
        let mut options = Self {
            players: Player::ALL.into(),
            rounds: 1,
            steps: [500, 4000, 1200].map(|kbit| kbit * 1000).into(),
            step: Duration::from_secs(30),
            latency: 500,
            node: "target/adaptive".into(),
            output: "target/adaptive".into(),
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            options.take(&argument, &mut arguments)?;
        }
        std::fs::create_dir_all(&options.output).context("--output")?;
        Ok(options)
    }

    fn take(
        &mut self,
        argument: &str,
        rest: &mut impl Iterator<Item = String>,
    ) -> anyhow::Result<()> {
        match argument {
            // cargo bench says so.
            "--bench" => {}
            "--help" => {
                println!("{HELP}");
                std::process::exit(0);
            }
            "--players" => self.players = list(argument, rest)?,
            "--rounds" => self.rounds = value(argument, rest)?,
            "--path" => {
                self.steps = list(argument, rest)?;
                self.steps.iter_mut().for_each(|kbit| *kbit *= 1000);
            }
            "--seconds" => self.step = Duration::from_secs(value(argument, rest)?),
            "--latency" => self.latency = value(argument, rest)?,
            "--node" => self.node = value(argument, rest)?,
            "--output" => self.output = value(argument, rest)?,
            other => bail!("unknown option {other}\n{HELP}"),
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
        .map_err(|err| anyhow!("{option} {text}: {err}\n{HELP}"))
}

/// The values of an option, separated by commas.
fn list<T: FromStr<Err: Display>>(
    option: &str,
    rest: &mut impl Iterator<Item = String>,
) -> anyhow::Result<Vec<T>> {
    let text: String = value(option, rest)?;
    let parse = |part: &str| {
        part.parse()
            .map_err(|err| anyhow!("{option} {part}: {err}\n{HELP}"))
    };
    text.split(',').map(parse).collect()
}
