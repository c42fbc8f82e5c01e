// SPDX-License-Identifier: MIT
//! The streaming task of a pad, and its bounded stop.

use std::{
    ops::ControlFlow,
    sync::{Arc, Condvar, Mutex, OnceLock},
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

use gst::{ClockTime, prelude::*};

use crate::{
    element::sync::{lock, unpoisoned},
    source::CAT,
};

/// How long a stop waits for tasks whose push downstream takes its time, before it leaves them.
pub(super) const STOP_TIMEOUT: Duration = Duration::from_millis(50);
/// How long a push that was left may take: downstream plays out what it has, to make room for it.
const MAX_PUSH_DURATION: Duration = Duration::from_secs(10);
/// How often a push that was left is looked at.
const LEFT_PUSH_INTERVAL: Duration = Duration::from_millis(20);

/// The task behind a pad.
///
/// It has a lock of its own rather than the pad's stream lock: the deactivation of a pad takes that one,
/// and would wait for a push that is stuck downstream.
pub(super) struct PadTask {
    task: gst::Task,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// The thread that is in the loop.
    thread: OnceLock<ThreadId>,
    /// The loop has nothing more to do.
    ended: Mutex<bool>,
    idle: Condvar,
}

impl PadTask {
    /// Starts to repeat `step` until it breaks.
    pub(super) fn start(mut step: impl FnMut() -> ControlFlow<()> + Send + 'static) -> Self {
        let state = Arc::new(State::default());
        let shared = state.clone();
        let lock = gst::TaskLock::new();
        let task = gst::Task::builder(move |task| {
            shared.thread.get_or_init(|| thread::current().id());
            if step().is_break() {
                // Before anyone waits for it: a task that is stopped twice is stopped, one that is
                // stopped and then paused would be joined for ever.
                let _ = task.stop();
                shared.end();
            }
        })
        .lock(&lock)
        .build();
        // A pool that has no thread left shows in the GST_TASKS log; the pad stays silent.
        let _ = task.start();
        Self { task, state }
    }

    /// Ends the task, whose messages have ended and whose `pad` takes nothing more.
    ///
    /// A push that is stuck downstream still at `deadline` is left to its thread: nothing that
    /// downstream has is flushed. From the thread itself nothing can be waited for: it ends when it
    /// returns.
    pub(super) fn stop(self, pad: &gst::Pad, peer: Option<gst::Pad>, deadline: Instant) {
        if self.state.is_own_thread() {
            let _ = self.task.stop();
        } else if self.state.wait(deadline) {
            self.join();
        } else {
            gst::debug!(CAT, obj = pad, "A push is left to end by itself");
            let leave = move || {
                self.state.release_push(peer);
                self.join();
            };
            // Without a thread for it nothing releases the push but downstream itself.
            let _ = thread::Builder::new()
                .name("moqsrc-leave".into())
                .spawn(leave);
        }
    }

    fn join(self) {
        let _ = self.task.stop();
        let _ = self.task.join();
    }
}

impl State {
    fn end(&self) {
        *lock(&self.ended) = true;
        self.idle.notify_all();
    }

    fn is_own_thread(&self) -> bool {
        self.thread.get() == Some(&thread::current().id())
    }

    /// Waits until the task has ended, and says whether it has.
    fn wait(&self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        let waited = self
            .idle
            .wait_timeout_while(lock(&self.ended), left, |ended| !*ended);
        *unpoisoned(waited).0
    }

    /// Waits until a push that was left has ended; one that never would, or that whoever takes
    /// downstream down waits for, is released by a flush of `peer`.
    fn release_push(&self, peer: Option<gst::Pad>) {
        let latest = Instant::now() + MAX_PUSH_DURATION;
        while !self.wait(Instant::now() + LEFT_PUSH_INTERVAL) {
            let goes_down = peer.as_ref().is_some_and(goes_down);
            // What another source is linked to by now is not ours to flush, and what is paused goes on.
            let spared = peer
                .as_ref()
                .is_some_and(|peer| peer.is_linked() || is_paused(peer));
            if !goes_down && (spared || Instant::now() < latest) {
                continue;
            }
            let flush = |event| peer.as_ref().is_some_and(|peer| peer.send_event(event));
            flush(gst::event::FlushStart::new());
            drop(unpoisoned(
                self.idle.wait_while(lock(&self.ended), |ended| !*ended),
            ));
            // The others play on: a reset of running time would move them all.
            flush(gst::event::FlushStop::new(false));
            return;
        }
    }
}

/// Whether the element of a pad, or a bin around it, is going below PAUSED or is there.
fn goes_down(pad: &gst::Pad) -> bool {
    parent_states(pad).any(|state| state < gst::State::Paused)
}

/// Whether an element around the pad is paused, or goes to be.
fn is_paused(pad: &gst::Pad) -> bool {
    parent_states(pad).any(|state| state == gst::State::Paused)
}

/// The states that the elements around the pad have or go to.
fn parent_states(pad: &gst::Pad) -> impl Iterator<Item = gst::State> {
    let parents = std::iter::successors(pad.parent(), gst::Object::parent);
    let elements = parents.filter_map(|parent| parent.downcast::<gst::Element>().ok());
    elements.map(|element| {
        let (_, current, pending) = element.state(ClockTime::ZERO);
        match pending {
            gst::State::VoidPending => current,
            pending => pending,
        }
    })
}
