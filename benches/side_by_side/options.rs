//! The command line.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, bail};

use crate::scenes::Plan;

const HELP: &str = "\
Usage: side_by_side [OPTIONS] [PART]...

Parts, all by default: rate, tracks, subscribers, network (or the beginning of a scene's name),
highest, states, instructions

Options:
  --rounds N     how often each peer is measured (5)
  --seconds N    how long each time (5)
  --target DIR   where the plugins are: DIR/release and DIR/moq-gst/release (target)
  --output DIR   where the results go (target/side-by-side)";

pub(crate) enum Part {
    /// The scenes whose names begin so.
    Scenes(String),
    Highest,
    States,
    Instructions,
}

pub(crate) struct Options {
    pub(crate) plan: Plan,
    pub(crate) parts: Vec<Part>,
    pub(crate) output: PathBuf,
}

impl Options {
    pub(crate) fn parse() -> anyhow::Result<Self> {
        let mut options = Self {
            plan: Plan {
                rounds: 5,
                measure: Duration::from_secs(5),
                target: "target".into(),
            },
            parts: Vec::new(),
            output: "target/side-by-side".into(),
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || {
                arguments
                    .next()
                    .with_context(|| format!("{argument} wants a value"))
            };
            match argument.as_str() {
                // cargo bench says so.
                "--bench" => {}
                "--help" => {
                    println!("{HELP}");
                    std::process::exit(0);
                }
                "--rounds" => options.plan.rounds = value()?.parse()?,
                "--seconds" => options.plan.measure = Duration::from_secs(value()?.parse()?),
                "--target" => options.plan.target = value()?.into(),
                "--output" => options.output = value()?.into(),
                other if other.starts_with('-') => bail!("unknown option {other}\n{HELP}"),
                part => options.parts.push(Part::named(part)),
            }
        }
        options.plan.target = options.plan.target.canonicalize().context("--target")?;
        if options.parts.is_empty() {
            let all = [
                "rate",
                "tracks",
                "subscribers",
                "network",
                "highest",
                "states",
                "instructions",
            ];
            options.parts = all.map(Part::named).into();
        }
        Ok(options)
    }
}

impl Part {
    fn named(name: &str) -> Self {
        match name {
            "highest" => Self::Highest,
            "states" => Self::States,
            "instructions" => Self::Instructions,
            scenes => Self::Scenes(scenes.to_owned()),
        }
    }
}
