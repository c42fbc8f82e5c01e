// SPDX-License-Identifier: MIT
//! The command line.

use std::{fmt::Display, path::PathBuf, str::FromStr, time::Duration};

use anyhow::{Context, anyhow, bail};

use crate::{peer::Peer, scene::Scene};

const HELP: &str = "\
Usage: rate_control [OPTIONS] [PART]...

Needs root: it makes two network namespaces, rate-sender-PID and rate-receiver-PID.

Parts, the first three by default:
  check      the path itself, with UDP datagrams
  rfc8867    1, 2.5, 0.6, 1 Mbit/s from 0, 40, 60, 80 s until 120 s; 50 ms one way, 30 ms of jitter,
             300 ms of queue
  half       4, 2, 8 Mbit/s for 15, 20, 15 s; 20 ms one way, 100 ms of queue
  quick      2, 1, 3 Mbit/s for 12 s each, otherwise as half
  encode     what the encoder makes of the picture at several rates

Options:
  --quick          check and quick
  --peers A,B      only these of encoder, none, webrtcsink
  --rounds N       how often each is measured (1)
  --latency MS     how long a receiver waits for what is late (200)
  --plugin FILE    moqsink and moqsrc (target/release/libgstmoq.so)
  --webrtc DIR     where libgstrswebrtc.so and libgstrsrtp.so are (target/webrtc/release)
  --webrtcsink TEXT  more settings of webrtcsink, as gst-launch-1.0 takes them (none)
  --output DIR     where the results go (target/rate-control)";

pub(crate) enum Part {
    Check,
    Encode,
    Scene(Scene),
}

pub(crate) struct Options {
    pub(crate) parts: Vec<Part>,
    pub(crate) peers: Vec<Peer>,
    pub(crate) rounds: u32,
    pub(crate) latency: Duration,
    pub(crate) plugin: PathBuf,
    pub(crate) webrtc: PathBuf,
    pub(crate) output: PathBuf,
    /// More settings of webrtcsink.
    pub(crate) settings: String,
}

impl Options {
    pub(crate) fn parse() -> anyhow::Result<Self> {
        let mut options = Self {
            parts: Vec::new(),
            peers: Peer::ALL.into(),
            rounds: 1,
            latency: Duration::from_millis(200),
            plugin: "target/release/libgstmoq.so".into(),
            webrtc: "target/webrtc/release".into(),
            output: "target/rate-control".into(),
            settings: String::new(),
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            options.take(&argument, &mut arguments)?;
        }
        if options.parts.is_empty() {
            let all = ["check", "rfc8867", "half"];
            options.parts = all
                .map(Part::named)
                .into_iter()
                .collect::<anyhow::Result<_>>()?;
        }
        std::fs::create_dir_all(&options.output).context("--output")?;
        // Processes look for plugins there.
        options.output = options.output.canonicalize().context("--output")?;
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
            "--quick" => {
                let parts = ["check", "quick"].map(Part::named);
                self.parts = parts.into_iter().collect::<anyhow::Result<_>>()?;
            }
            "--peers" => {
                let names: String = value(argument, rest)?;
                let peers = names.split(',').map(|name| {
                    Peer::named(name).with_context(|| format!("unknown peer {name}\n{HELP}"))
                });
                self.peers = peers.collect::<anyhow::Result<_>>()?;
            }
            "--rounds" => self.rounds = value(argument, rest)?,
            "--latency" => self.latency = Duration::from_millis(value(argument, rest)?),
            "--plugin" => self.plugin = value(argument, rest)?,
            "--webrtc" => self.webrtc = value(argument, rest)?,
            "--webrtcsink" => self.settings = value(argument, rest)?,
            "--output" => self.output = value(argument, rest)?,
            other if other.starts_with('-') => bail!("unknown option {other}\n{HELP}"),
            part => self.parts.push(Part::named(part)?),
        }
        Ok(())
    }
}

impl Part {
    fn named(name: &str) -> anyhow::Result<Self> {
        Ok(match name {
            "check" => Self::Check,
            "encode" => Self::Encode,
            "rfc8867" => Self::Scene(Scene::rfc8867()),
            "half" => Self::Scene(Scene::half()),
            "quick" => Self::Scene(Scene::quick()),
            other => bail!("unknown part {other}\n{HELP}"),
        })
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
