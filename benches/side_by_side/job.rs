// SPDX-License-Identifier: MIT
//! One process of a run: what it is to do, and how it says what it measured.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::{load::Load, peer::Peer, usage::Figures};

/// Stands before what a process has to say on its standard output.
const WORD: &str = "side-by-side ";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) role: Role,
    pub(crate) peer: Peer,
    pub(crate) url: String,
    pub(crate) broadcast: String,
    pub(crate) load: Load,
    pub(crate) subscribers: u32,
    /// How long media come before it is measured, and how long it is measured.
    pub(crate) settle: Duration,
    pub(crate) measure: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Role {
    Relay,
    Publish,
    View,
    /// Changes states and loads the plugin.
    States,
    /// Looks which plugin GStreamer finds, so that later processes find it in its registry.
    Check,
}

/// What a process says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Word {
    /// It is ready; a relay says where.
    Ready(String),
    /// The steady state begins: from now on it is measured.
    Measuring,
    Result(Figures),
}

impl Word {
    pub(crate) fn say(&self) -> anyhow::Result<()> {
        println!("\n{WORD}{}", serde_json::to_string(self)?);
        Ok(())
    }

    fn hear(line: &str) -> Option<Self> {
        serde_json::from_str(line.strip_prefix(WORD)?).ok()
    }
}

/// What a process is ordered, but for the end: that is the end of its input.
pub(crate) enum Order {
    /// Measure from now on.
    Measure,
}

/// The orders on standard input; disconnected at its end.
pub(crate) fn orders() -> mpsc::Receiver<Order> {
    let (sender, orders) = mpsc::channel();
    thread::spawn(move || {
        let lines = std::io::stdin().lock().lines();
        for _ in lines.map_while(Result::ok) {
            if sender.send(Order::Measure).is_err() {
                return;
            }
        }
    });
    orders
}

/// A process that is at work; killed when it is dropped.
pub(crate) struct Worker {
    child: Child,
    words: mpsc::Receiver<Word>,
    what: String,
}

/// How long a process may take to say something.
const PATIENCE: Duration = Duration::from_secs(60);

impl Worker {
    /// Starts `job`; `callgrind` names the file to which valgrind counts its instructions.
    pub(crate) fn start(
        job: &Job,
        target: &Path,
        callgrind: Option<&PathBuf>,
    ) -> anyhow::Result<Self> {
        let program = std::env::current_exe()?;
        let mut command = match callgrind {
            None => Command::new(&program),
            Some(file) => {
                let mut valgrind = Command::new("valgrind");
                valgrind
                    .arg("--tool=callgrind")
                    .arg(format!("--callgrind-out-file={}", file.display()))
                    .arg("-q")
                    .arg(&program);
                valgrind
            }
        };
        command
            .env("SIDE_BY_SIDE_JOB", serde_json::to_string(job)?)
            // Some peers log every session.
            .env("RUST_LOG", "error")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if let Some(folder) = job.peer.folder(target) {
            // The same element names: each plugin has a registry of its own.
            command
                .env("GST_REGISTRY", folder.join("registry"))
                .env("GST_PLUGIN_PATH", folder);
        }
        let mut child = command.spawn().context("another process")?;
        let output = child.stdout.take().context("its output")?;
        Ok(Self {
            child,
            words: words(output),
            what: format!("{:?} of {:?}", job.role, job.peer),
        })
    }

    pub(crate) fn ready(&self) -> anyhow::Result<String> {
        match self.words.recv_timeout(PATIENCE) {
            Ok(Word::Ready(text)) => Ok(text),
            other => bail!("{} is not ready: {other:?}", self.what),
        }
    }

    /// Waits until its steady state begins.
    pub(crate) fn measuring(&self) -> anyhow::Result<()> {
        match self.words.recv_timeout(PATIENCE) {
            Ok(Word::Measuring) => Ok(()),
            other => bail!("{} measures nothing: {other:?}", self.what),
        }
    }

    /// Has it measure from now on.
    pub(crate) fn measure(&mut self) -> anyhow::Result<()> {
        let input = self.child.stdin.as_mut().context("its input")?;
        Ok(input.write_all(b"measure\n")?)
    }

    /// What it measured, within `bound`.
    pub(crate) fn result(&self, bound: Duration) -> anyhow::Result<Figures> {
        loop {
            match self.words.recv_timeout(bound + PATIENCE) {
                Ok(Word::Measuring) => {}
                Ok(Word::Result(figures)) => return Ok(figures),
                other => bail!("{} has no result: {other:?}", self.what),
            }
        }
    }

    /// Tells it that it is enough, and takes what it measured.
    pub(crate) fn finish(mut self) -> anyhow::Result<Figures> {
        drop(self.child.stdin.take());
        self.result(PATIENCE)
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait(mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        while self.child.try_wait()?.is_none() {
            if begun.elapsed() > PATIENCE {
                bail!("{} does not end", self.what);
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// What a process says on its output.
fn words(output: ChildStdout) -> mpsc::Receiver<Word> {
    let (sender, words) = mpsc::channel();
    thread::spawn(move || {
        let lines = BufReader::new(output).lines().map_while(Result::ok);
        for word in lines.filter_map(|line| Word::hear(&line)) {
            if sender.send(word).is_err() {
                return;
            }
        }
    });
    words
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
