// SPDX-License-Identifier: MIT
//! What the process holds: memory, threads and sockets.

use std::{
    collections::BTreeMap,
    fs, thread,
    time::{Duration, Instant},
};

use gst::glib;

/// How often a condition is looked at that announces itself to nobody.
const LOOK: Duration = Duration::from_millis(20);

/// Threads by name, and the number of sockets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resources {
    pub(crate) threads: BTreeMap<String, usize>,
    pub(crate) sockets: usize,
}

impl Resources {
    /// What there is now; from now on, GStreamer's pools keep no idle threads.
    pub(crate) fn now() -> Self {
        glib::ThreadPool::set_max_unused_threads(Some(0));
        Self {
            threads: threads(),
            sockets: sockets(),
        }
    }

    /// What of the present goes beyond this.
    fn excess(&self) -> Vec<String> {
        let now = Self::now();
        let mut excess: Vec<String> = now
            .threads
            .into_iter()
            .filter(|(name, count)| *count > self.threads.get(name).copied().unwrap_or_default())
            .map(|(name, count)| format!("{count} threads {name}"))
            .collect();
        if now.sockets > self.sockets {
            excess.push(format!("{} sockets, not {}", now.sockets, self.sockets));
        }
        excess
    }

    /// Waits until there is no more than this again.
    pub(crate) fn wait_return(&self, deadline: Duration) {
        let end = Instant::now() + deadline;
        loop {
            let excess = self.excess();
            if excess.is_empty() {
                return;
            }
            assert!(
                Instant::now() < end,
                "within {deadline:?} nothing is left over: {excess:?}"
            );
            thread::sleep(LOOK);
        }
    }
}

fn threads() -> BTreeMap<String, usize> {
    let mut threads = BTreeMap::new();
    for task in fs::read_dir("/proc/self/task").expect("a list of threads") {
        // A thread may end while the list is read.
        let name = task.and_then(|task| fs::read_to_string(task.path().join("comm")));
        if let Ok(name) = name {
            *threads.entry(name.trim().to_owned()).or_default() += 1;
        }
    }
    threads
}

fn sockets() -> usize {
    let open = fs::read_dir("/proc/self/fd").expect("a list of open files");
    open.filter_map(|file| fs::read_link(file.ok()?.path()).ok())
        .filter(|target| target.to_string_lossy().starts_with("socket:"))
        .count()
}

/// One line of `/proc/self/status`, in bytes.
pub(crate) fn status(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let line = line.expect("a line of it").trim_start_matches(':').trim();
    let kib = line.trim_end_matches(" kB").parse::<u64>();
    kib.expect("a number") * 1024
}

/// Resident memory in bytes, without what was freed and is kept by malloc for later.
pub(crate) fn resident() -> u64 {
    unsafe extern "C" {
        fn malloc_trim(pad: usize) -> i32;
    }
    // SAFETY: glibc's malloc_trim takes any number from any thread, malloc_trim(3).
    unsafe { malloc_trim(0) };
    status("VmRSS")
}
