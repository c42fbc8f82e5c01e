// SPDX-License-Identifier: MIT
//! One process of a run: what it is to do, and how it says what it measured.

use std::{
    io::{BufRead, BufReader, Read},
    net::Ipv4Addr,
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::{
    peer::Peer,
    record::{Received, Sent},
    scene::Bitrate,
};

/// Stands before what a process has to say on its standard output.
const WORD: &str = "rate-control ";
/// How long a process may take to say something.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) role: Role,
    pub(crate) peer: Peer,
    pub(crate) bitrate: Bitrate,
    /// Of the sender, as the receiver reaches it.
    pub(crate) address: Ipv4Addr,
    /// What the receiver has to know of it: the fingerprint of its certificate, or its name.
    pub(crate) sender: String,
    /// How long the receiver waits for what is late.
    pub(crate) latency: Duration,
    /// More settings of webrtcsink.
    pub(crate) settings: String,
    /// Of the datagrams, in bit/s.
    pub(crate) datagrams: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Role {
    /// Looks whether GStreamer finds the elements, so that later processes find them in its registry.
    Find,
    Send,
    Receive,
    /// Measures what the encoder makes of the picture at several rates.
    Encode,
    SendDatagrams,
    ReceiveDatagrams,
}

/// What a process says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Word {
    /// It is ready; a sender says how it is known.
    Ready(String),
    /// The first frame has come.
    Receiving,
    Sent(Sent),
    Received(Received),
    /// When each datagram was sent and has come.
    Datagrams(Vec<(u64, u64)>),
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

/// Gives a word when the standard input ends, which is the order to end.
pub(crate) fn order_to_end() -> mpsc::Receiver<()> {
    let (sender, order) = mpsc::channel();
    thread::spawn(move || {
        // Whatever happens to the input, it is over.
        let _ = std::io::stdin().lock().read_to_end(&mut Vec::new());
        let _ = sender.send(());
    });
    order
}

/// CLOCK_MONOTONIC in nanoseconds, the same in all processes of a machine.
pub(crate) fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// A process that is at work; killed when it is dropped.
pub(crate) struct Worker {
    child: Child,
    words: mpsc::Receiver<Word>,
    what: String,
}

impl Worker {
    /// Starts `job`, with the plugins of this folder, in a network namespace of this name.
    pub(crate) fn start(job: &Job, folder: &PathBuf, namespace: &str) -> anyhow::Result<Self> {
        let mut child = Command::new("ip")
            .args(["netns", "exec", namespace])
            .arg(std::env::current_exe()?)
            .env("RATE_CONTROL_JOB", serde_json::to_string(job)?)
            .env("WEBRTCSINK_SIGNALLING_SERVER_LOG", "error")
            .env("GST_REGISTRY", folder.join("registry"))
            .env("GST_PLUGIN_PATH", folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("another process")?;
        let output = child.stdout.take().context("its output")?;
        Ok(Self {
            child,
            words: words(output),
            what: format!("{:?} of {:?}", job.role, job.peer),
        })
    }

    /// The next word.
    pub(crate) fn next(&self) -> anyhow::Result<Word> {
        match self.words.recv_timeout(PATIENCE) {
            Ok(word) => Ok(word),
            Err(RecvTimeoutError::Timeout) => bail!("{} says nothing", self.what),
            Err(RecvTimeoutError::Disconnected) => bail!("{} has ended", self.what),
        }
    }

    pub(crate) fn ready(&self) -> anyhow::Result<String> {
        match self.next()? {
            Word::Ready(text) => Ok(text),
            other => bail!("{} is not ready: {other:?}", self.what),
        }
    }

    /// Fails if the process ends before `until`.
    pub(crate) fn works_until(&self, until: Instant) -> anyhow::Result<()> {
        match self
            .words
            .recv_timeout(until.saturating_duration_since(Instant::now()))
        {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Err(RecvTimeoutError::Disconnected) => bail!("{} has ended", self.what),
            Ok(word) => bail!("{} says {word:?}", self.what),
        }
    }

    /// Tells it that it is enough, and takes what it measured.
    pub(crate) fn finish(mut self) -> anyhow::Result<Word> {
        drop(self.child.stdin.take());
        self.next()
    }
}

/// What a process says on its output.
fn words(output: ChildStdout) -> mpsc::Receiver<Word> {
    let (sender, words) = mpsc::channel();
    thread::spawn(move || {
        let lines = BufReader::new(output).lines().map_while(Result::ok);
        for line in lines.filter(|line| !line.is_empty()) {
            // What a library prints is none.
            let Some(word) = Word::hear(&line) else {
                eprintln!("{line}");
                continue;
            };
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
