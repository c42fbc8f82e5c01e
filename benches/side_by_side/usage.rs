//! What a process has used so far, as the kernel counts it.

use std::{collections::BTreeMap, fs};

/// Names and values of what was measured; names end in their unit.
pub(crate) type Figures = BTreeMap<String, f64>;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// User and system time.
    pub(crate) cpu_ms: f64,
    pub(crate) rss_mib: f64,
    pub(crate) peak_mib: f64,
    pub(crate) threads: f64,
}

impl Usage {
    pub(crate) fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let field = |name: &str| -> f64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
            number.unwrap_or(f64::NAN)
        };
        Self {
            cpu_ms: cpu_ms(),
            rss_mib: field("VmRSS:") / 1024.0,
            peak_mib: field("VmHWM:") / 1024.0,
            threads: field("Threads:"),
        }
    }

    /// Has the kernel forget the peak so far, proc(5).
    pub(crate) fn forget_peak() {
        // Refused on kernels without it: then the peak is that of the whole process.
        let _ = fs::write("/proc/self/clear_refs", "5");
    }
}

/// User and system time of all threads, also of those that have ended.
fn cpu_ms() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}
