// SPDX-License-Identifier: MIT
//! What the process holds, second by second.

use std::{
    fs,
    time::{Duration, Instant},
};

use crate::common::median;

/// One second.
struct Reading {
    at: f64,
    kib: f64,
    threads: usize,
    files: usize,
}

/// Prints a line a second and keeps what the summary needs.
pub(crate) struct Meter {
    begun: Instant,
    next: Instant,
    readings: Vec<Reading>,
    /// What goes on.
    pub(crate) state: String,
}

/// The delays of one second, in ms.
pub(crate) struct Second {
    pub(crate) video: Vec<f64>,
    pub(crate) audio: Vec<f64>,
}

impl Meter {
    pub(crate) fn start() -> Self {
        println!(
            "{:>6} {:>8} {:>7} {:>6} {:>6} {:>14} {:>6} {:>14}  state",
            "s", "MiB", "threads", "files", "video", "ms p50/max", "audio", "ms p50/max"
        );
        let now = Instant::now();
        Self {
            begun: now,
            next: now + Duration::from_secs(1),
            readings: Vec::new(),
            state: "start".into(),
        }
    }

    /// What is kept counts from here on.
    pub(crate) fn begin(&mut self) {
        self.readings.clear();
    }

    /// How long until the next line is due.
    pub(crate) fn due(&self) -> Duration {
        self.next.saturating_duration_since(Instant::now())
    }

    pub(crate) fn print(&mut self, second: &Second) {
        self.next += Duration::from_secs(1);
        let reading = Reading {
            at: self.begun.elapsed().as_secs_f64(),
            kib: resident_kib(),
            threads: entries("/proc/self/task"),
            files: entries("/proc/self/fd"),
        };
        println!(
            "{:>6.0} {:>8.1} {:>7} {:>6} {:>6} {:>14} {:>6} {:>14}  {}",
            reading.at,
            reading.kib / 1024.0,
            reading.threads,
            reading.files,
            second.video.len(),
            middle_and_longest(&second.video),
            second.audio.len(),
            middle_and_longest(&second.audio),
            self.state
        );
        self.readings.push(reading);
    }

    /// How memory went in the second half, and the rest at both ends.
    pub(crate) fn summary(&self) {
        let half = &self.readings[self.readings.len() / 2..];
        let (Some(first), Some(last)) = (self.readings.first(), self.readings.last()) else {
            return;
        };
        let peak = self
            .readings
            .iter()
            .map(|reading| reading.kib)
            .fold(0.0, f64::max);
        println!(
            "\nmemory: {:+.0} KiB a minute in the second half, {:.1} MiB at most",
            slope(half) * 60.0,
            peak / 1024.0
        );
        println!(
            "threads: {} at the start, {} at the end",
            first.threads, last.threads
        );
        println!(
            "files: {} at the start, {} at the end",
            first.files, last.files
        );
    }
}

/// KiB a second, by least squares.
fn slope(readings: &[Reading]) -> f64 {
    let count = readings.len() as f64;
    let mean = |of: fn(&Reading) -> f64| readings.iter().map(of).sum::<f64>() / count;
    let (time, memory) = (mean(|reading| reading.at), mean(|reading| reading.kib));
    let both = readings
        .iter()
        .map(|reading| (reading.at - time) * (reading.kib - memory));
    let square = readings.iter().map(|reading| (reading.at - time).powi(2));
    both.sum::<f64>() / square.sum::<f64>()
}

fn middle_and_longest(delays: &[f64]) -> String {
    let middle = median(delays.iter().copied());
    let longest = delays.iter().copied().reduce(f64::max);
    match middle.zip(longest) {
        Some((middle, longest)) => format!("{middle:.0}/{longest:.0}"),
        None => "-".into(),
    }
}

fn resident_kib() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or(f64::NAN)
}

fn entries(folder: &str) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}
