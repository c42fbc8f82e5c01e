// SPDX-License-Identifier: MIT
//! What a process has used so far, as the kernel counts it.

use std::{collections::BTreeMap, fs, time::Instant};

/// Names and values of what was measured; names end in their unit.
pub(crate) type Figures = BTreeMap<String, f64>;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    at: Instant,
    /// User and system time.
    cpu_ms: f64,
    rss_mib: f64,
    peak_mib: f64,
    threads: f64,
}

/// What a process uses from a moment on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    idle: Usage,
    from: Usage,
}

impl Usage {
    fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let field = |name: &str| -> f64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
            number.unwrap_or(f64::NAN)
        };
        Self {
            at: Instant::now(),
            cpu_ms: cpu_ms(),
            rss_mib: field("VmRSS:") / 1024.0,
            peak_mib: field("VmHWM:") / 1024.0,
            threads: field("Threads:"),
        }
    }
}

impl Window {
    /// Called by a process that has done nothing yet: its memory is what others are compared with.
    pub(crate) fn idle() -> Self {
        // Refused on kernels without it, proc(5): then the peak is that of the whole process.
        let _ = fs::write("/proc/self/clear_refs", "5");
        let idle = Usage::now();
        Self { idle, from: idle }
    }

    /// CPU time and growth count from now on.
    pub(crate) fn restart(&mut self) {
        self.from = Usage::now();
    }

    /// The figures of the process that has this role, with its CPU time in ms.
    pub(crate) fn figures(&self, role: &str) -> (f64, Figures) {
        let now = Usage::now();
        let minutes = (now.at - self.from.at).as_secs_f64() / 60.0;
        let growth = (now.rss_mib - self.from.rss_mib) / minutes;
        let figures = Figures::from([
            (
                format!("{role} memory MiB"),
                now.peak_mib - self.idle.rss_mib,
            ),
            (format!("{role} growth MiB/min"), growth),
            (
                format!("{role} threads"),
                self.from.threads - self.idle.threads,
            ),
        ]);
        (now.cpu_ms - self.from.cpu_ms, figures)
    }
}

/// User and system time of all threads, also of those that have ended.
fn cpu_ms() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}
