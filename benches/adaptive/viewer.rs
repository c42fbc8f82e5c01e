// SPDX-License-Identifier: MIT
//! The players: each says which picture it shows, how wide, and when.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    str::FromStr,
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, anyhow};

use crate::{
    common::{
        Proxy, Relay, Running,
        barcode::{Pictures, Shown},
        ladder,
    },
    options::Options,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Player {
    Moqsrc,
    Shaka,
}

impl Player {
    pub(crate) const ALL: [Self; 2] = [Self::Moqsrc, Self::Shaka];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Moqsrc => "moqsrc",
            Self::Shaka => "shaka",
        }
    }

    /// Starts to watch the broadcast behind the proxy.
    pub(crate) fn watch(
        self,
        proxy: &Proxy,
        relay: &Relay,
        broadcast: &str,
        options: &Options,
    ) -> anyhow::Result<Viewer> {
        match self {
            Self::Moqsrc => {
                let settings = format!("rendition-policy=adaptive latency={}", options.latency);
                let (pipeline, pictures, _) = ladder::watch(&proxy.url(), broadcast, &settings);
                Ok(Viewer::Pipeline(pipeline, pictures))
            }
            Self::Shaka => {
                let mut child = Command::new("node")
                    .arg("benches/adaptive/shaka.js")
                    .args([&proxy.url(), broadcast])
                    .arg(format!("http://{}/certificate.sha256", relay.addr()))
                    .env("NODE_PATH", options.node.join("node_modules"))
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .spawn()
                    .context("node")?;
                let lines = BufReader::new(child.stdout.take().context("its output")?).lines();
                let shown: Arc<Mutex<Vec<Shown>>> = Arc::default();
                let list = shown.clone();
                let reader = thread::spawn(move || {
                    for line in lines.map_while(Result::ok) {
                        match parse(&line) {
                            Some(picture) => list.lock().expect("no panic").push(picture),
                            None => eprintln!("shaka: {line}"),
                        }
                    }
                });
                Ok(Viewer::Browser(child, reader, shown))
            }
        }
    }
}

impl FromStr for Player {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> anyhow::Result<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|player| player.name() == name)
            .ok_or_else(|| anyhow!("unknown player"))
    }
}

/// A player that runs.
pub(crate) enum Viewer {
    Pipeline(Running, Pictures),
    Browser(Child, JoinHandle<()>, Arc<Mutex<Vec<Shown>>>),
}

impl Viewer {
    /// What it has shown.
    pub(crate) fn stop(self) -> anyhow::Result<Vec<Shown>> {
        match self {
            Self::Pipeline(pipeline, pictures) => {
                let shown = pictures.so_far();
                drop(pipeline);
                Ok(shown)
            }
            Self::Browser(mut child, reader, shown) => {
                // The end of its input ends it.
                drop(child.stdin.take());
                child.wait()?;
                reader.join().map_err(|_| anyhow!("the reader panicked"))?;
                let shown = shown.lock().expect("no panic");
                Ok(shown.clone())
            }
        }
    }
}

/// A line of the page: ms since the Unix epoch, width, number.
fn parse(line: &str) -> Option<Shown> {
    let mut words = line.split_whitespace();
    let at: f64 = words.next()?.parse().ok()?;
    let width = words.next()?.parse().ok()?;
    let number = words.next()?.parse().ok()?;
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs_f64(at / 1000.0);
    let ago = SystemTime::now().duration_since(at).unwrap_or_default();
    Some(Shown {
        number,
        width,
        at: Instant::now() - ago,
        pts: None,
    })
}
