//! One process of a run: what it is to do, and how it says what it measured.

use std::{
    io::Read,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
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
    /// How long it is measured, after the first second of media.
    pub(crate) measure: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Role {
    Relay,
    Publish,
    View,
    /// Changes states and loads the plugin.
    States,
}

/// What a process says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Word {
    /// It is ready; a relay says where.
    Ready(String),
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

/// Becomes true when standard input ends: the orchestrator wants no more.
pub(crate) fn end_of_input() -> Arc<AtomicBool> {
    let ended = Arc::new(AtomicBool::new(false));
    let flag = ended.clone();
    std::thread::spawn(move || {
        // However it ends.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        flag.store(true, Ordering::Release);
    });
    ended
}

/// A process that is at work; killed when it is dropped.
pub(crate) struct Worker {
    child: Child,
    words: std::sync::mpsc::Receiver<Word>,
    what: String,
}

/// How long a process may take to say something.
const PATIENCE: Duration = Duration::from_secs(60);

impl Worker {
    /// Starts `job`; `callgrind` names the file to which valgrind counts its instructions.
    pub(crate) fn start(
        job: &Job,
        target: &std::path::Path,
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
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if let Some(plugin) = job.peer.plugin(target) {
            let folder = plugin.parent().context("a folder")?;
            let registry = format!("side-by-side-{:?}.registry", job.peer);
            // The same element names: each plugin has a registry of its own.
            command
                .env("GST_PLUGIN_PATH", folder)
                .env("GST_REGISTRY", target.join(registry));
        }
        let mut child = command.spawn().context("another process")?;
        let output = child.stdout.take().context("its output")?;
        let (sender, words) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let lines = std::io::BufRead::lines(std::io::BufReader::new(output));
            for word in lines
                .map_while(Result::ok)
                .filter_map(|line| Word::hear(&line))
            {
                if sender.send(word).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            child,
            words,
            what: format!("{:?} of {:?}", job.role, job.peer),
        })
    }

    pub(crate) fn ready(&self) -> anyhow::Result<String> {
        match self.words.recv_timeout(PATIENCE) {
            Ok(Word::Ready(text)) => Ok(text),
            other => bail!("{} is not ready: {other:?}", self.what),
        }
    }

    /// What it measured, within `bound`.
    pub(crate) fn result(&self, bound: Duration) -> anyhow::Result<Figures> {
        match self.words.recv_timeout(bound + PATIENCE) {
            Ok(Word::Result(figures)) => Ok(figures),
            other => bail!("{} has no result: {other:?}", self.what),
        }
    }

    /// Tells it that it is enough, and takes what it measured.
    pub(crate) fn finish(mut self) -> anyhow::Result<Figures> {
        drop(self.child.stdin.take());
        let figures = self.result(PATIENCE);
        // A result is said at the end.
        let _ = self.child.wait();
        figures
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait(mut self) -> anyhow::Result<()> {
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
