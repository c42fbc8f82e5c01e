// SPDX-License-Identifier: MIT
//! Headless Chromium with a page of `examples/web`.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use tempfile::TempDir;

const WEB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/web");
const DRIVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser/drive.js");

const ADVICE: &str = "install Node.js 18 or later with npm, and Chromium, and run `npm ci` in examples/web \
                      and in tests/browser; tests/run.sh does all that";

/// How long the browser may take to close.
const STOP_BOUND: Duration = Duration::from_secs(10);

/// The pages as they are served.
pub(crate) struct Pages(TempDir);

impl Pages {
    pub(crate) fn build() -> Self {
        let pages = Self(tempfile::tempdir().expect("a folder"));
        let built = Command::new("npm")
            .args(["run", "--silent", "build", "--", "--log-level=warning"])
            .arg(format!("--outdir={}", pages.folder()))
            .current_dir(WEB)
            .stdin(Stdio::null())
            .status();
        assert!(
            built.is_ok_and(|status| status.success()),
            "the pages cannot be built: {ADVICE}"
        );
        pages
    }

    pub(crate) fn folder(&self) -> String {
        let folder = self.0.path().to_str();
        folder.expect("the path is text").to_owned()
    }
}

/// A browser with an open page, closed when it is dropped.
pub(crate) struct Browser {
    driver: Child,
    reports: mpsc::Receiver<String>,
}

impl Browser {
    /// Opens the page that watches; `served` is an origin or a folder.
    pub(crate) fn watch(served: &str, query: &str, screenshot: Option<&Path>) -> Self {
        let mut command = Command::new("node");
        command.args([DRIVER, "watch", served, query]);
        Self::start(command.args(screenshot))
    }

    /// Opens the page that publishes, with a camera and a microphone that Chromium makes up.
    pub(crate) fn publish(served: &str, query: &str) -> Self {
        Self::start(Command::new("node").args([DRIVER, "publish", served, query]))
    }

    fn start(command: &mut Command) -> Self {
        let driver = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut driver = driver.unwrap_or_else(|error| panic!("node: {error}: {ADVICE}"));
        let reports = read_lines(driver.stdout.take().expect("piped"));
        Self { driver, reports }
    }

    /// Waits until the page does what it should.
    pub(crate) fn wait_report(&self, deadline: Duration) -> serde_json::Value {
        let report = self.reports.recv_timeout(deadline);
        let report = report.unwrap_or_else(|_| {
            panic!("within {deadline:?} the page works; if the driver does not start: {ADVICE}")
        });
        serde_json::from_str(&report).expect("the driver reports JSON")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver closes the browser and ends when its input does.
        drop(self.driver.stdin.take());
        while self.reports.recv_timeout(STOP_BOUND).is_ok() {}
        // Refused when it has ended by itself.
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// The lines of `output`, and the end of the channel when it ends.
fn read_lines(output: ChildStdout) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            // After the test nobody listens any more.
            let _ = sender.send(line);
        }
    });
    lines
}
