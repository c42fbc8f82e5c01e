// SPDX-License-Identifier: MIT
//! Calls of the application's code, in order and off the runtime's worker.
//!
//! Signal and bus handlers are the application's code: it may block, link, or change states. On the
//! runtime's one worker it would hold up every element of the process, so it runs on GStreamer's
//! own pool of threads instead.

use std::{
    collections::VecDeque,
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread::{self, ThreadId},
    time::Instant,
};

use gst::{glib, prelude::*};
use tokio::sync::oneshot;

use super::{
    bus,
    sync::{lock, unpoisoned},
};

/// How many jobs wait at most before those that could be missed are left out.
const MAX_WAITING: usize = 1000;

type Work = Box<dyn FnOnce(&gst::Element) + Send>;

/// Something to do.
struct Job {
    /// A later job of the same subject makes this one superfluous.
    subject: Option<String>,
    work: Work,
}

/// A queue of things to do on an element's behalf, one at a time.
pub(crate) struct AppQueue {
    element: glib::WeakRef<gst::Element>,
    state: Mutex<State>,
    idle: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    /// A drain is scheduled or runs.
    draining: bool,
    /// The thread in whose job we are.
    busy: Option<ThreadId>,
    closed: bool,
}

impl AppQueue {
    pub(crate) fn new(element: &gst::Element) -> Arc<Self> {
        Arc::new(Self {
            element: element.downgrade(),
            state: Mutex::default(),
            idle: Condvar::new(),
        })
    }

    /// Has `work` done after all earlier ones; after [`AppQueue::close`] nothing is done any more.
    pub(crate) fn send(self: &Arc<Self>, work: impl FnOnce(&gst::Element) + Send + 'static) {
        self.queue(None, Box::new(work));
    }

    /// The same in the place of what still waits of this `subject`, so that a handler which blocks
    /// makes the queue no longer.
    pub(crate) fn send_newest(
        self: &Arc<Self>,
        subject: String,
        work: impl FnOnce(&gst::Element) + Send + 'static,
    ) {
        self.queue(Some(subject), Box::new(work));
    }

    /// The same, unless far too much waits already.
    pub(crate) fn offer(self: &Arc<Self>, work: impl FnOnce(&gst::Element) + Send + 'static) {
        if self.state().queue.len() < MAX_WAITING {
            self.send(work);
        }
    }

    /// Has the handlers of this signal of the element asked, as `emit` does; nobody is asked where there is none.
    pub(crate) fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        signal: &str,
        emit: impl FnOnce(&gst::Element) -> T + Send + 'static,
    ) -> Option<oneshot::Receiver<T>> {
        let element = self.element.upgrade()?;
        let signal = glib::subclass::SignalId::lookup(signal, element.type_())?;
        if !glib::signal::signal_has_handler_pending(&element, signal, None, false) {
            return None;
        }
        let (answer, answered) = oneshot::channel();
        self.offer(move |element| {
            // Whoever asked may have given up meanwhile.
            if !answer.is_closed() {
                let _ = answer.send(emit(element));
            }
        });
        Some(answered)
    }

    /// Has an element message of this name posted.
    pub(crate) fn post(
        self: &Arc<Self>,
        name: &'static str,
        fields: impl FnOnce(gst::structure::Builder) -> gst::structure::Builder + Send + 'static,
    ) {
        self.send(move |element| bus::post_element(element, name, fields));
    }

    fn queue(self: &Arc<Self>, subject: Option<String>, work: Work) {
        let mut state = self.state();
        if state.closed {
            return;
        }
        if subject.is_some() {
            state.queue.retain(|job| job.subject != subject);
        }
        state.queue.push_back(Job { subject, work });
        if state.draining {
            return;
        }
        state.draining = true;
        drop(state);
        let queue = self.clone();
        if let Some(element) = self.element.upgrade() {
            element.call_async(move |element| queue.drain(element));
        }
    }

    /// Drops what waits and waits for the running job until `deadline`; a job may itself call this.
    pub(crate) fn close(&self, deadline: Instant) {
        let mut state = self.state();
        state.closed = true;
        state.queue.clear();
        let me = thread::current().id();
        let wait = self.idle.wait_timeout_while(
            state,
            deadline.saturating_duration_since(Instant::now()),
            |state| state.busy.is_some_and(|thread| thread != me),
        );
        drop(unpoisoned(wait));
    }

    /// Whether [`AppQueue::close`] was called: a job that outlived its run undoes what it did.
    pub(crate) fn is_closed(&self) -> bool {
        self.state().closed
    }

    fn drain(&self, element: &gst::Element) {
        loop {
            let mut state = self.state();
            state.busy = None;
            let Some(job) = state.queue.pop_front() else {
                state.draining = false;
                drop(state);
                self.idle.notify_all();
                return;
            };
            state.busy = Some(thread::current().id());
            drop(state);
            // A panic must not reach GStreamer's pool, and later jobs do not depend on this one.
            if panic::catch_unwind(AssertUnwindSafe(|| (job.work)(element))).is_err() {
                gst::element_error!(
                    element,
                    gst::CoreError::Failed,
                    ("A message was lost, which is an error of this plugin or of a handler")
                );
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn while_a_handler_blocks_the_newest_of_each_subject_waits() {
        gst::init().expect("GStreamer initializes");
        let bin = gst::Bin::new();
        let queue = AppQueue::new(bin.upcast_ref());
        let (blocks, blocked) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        queue.send(move |_| {
            blocks.send(()).expect("the test waits");
            released.recv().expect("the test goes on");
        });
        blocked.recv().expect("the handler blocks");
        let (done, results) = mpsc::channel();
        let report = |result: String| {
            let done = done.clone();
            move |_: &gst::Element| done.send(result).expect("the test listens")
        };
        queue.send(report("first".into()));
        for number in 0..100_000 {
            let subject = ["odd", "even"][number % 2];
            let result = format!("{subject} {}", number / 2);
            queue.send_newest(subject.into(), report(result));
        }
        queue.send(report("last".into()));
        for _ in 0..100_000 {
            queue.offer(report("offered".into()));
        }
        queue.send(report("end".into()));
        release.send(()).expect("the handler waits");
        let results: Vec<_> = results
            .iter()
            .take_while(|result| result != "end")
            .collect();
        assert_eq!(&results[..4], ["first", "odd 49999", "even 49999", "last"]);
        assert_eq!(results.len(), MAX_WAITING);
    }
}
