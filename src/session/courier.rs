//! Carries what the session has to tell the application off the runtime's worker, in order.
//!
//! Signal and bus handlers are the application's code: it may block, link, or change states. On the
//! runtime's one worker it would hold up every element of the process, so it runs on GStreamer's
//! own pool of threads instead.

use std::{
    collections::VecDeque,
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, ThreadId},
    time::Instant,
};

use gst::{glib, prelude::*};

type Job = Box<dyn FnOnce(&gst::Element) + Send>;

/// A queue of things to do on an element's behalf, one at a time.
pub(crate) struct Courier {
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

impl Courier {
    pub(crate) fn new(element: &gst::Element) -> Arc<Self> {
        Arc::new(Self {
            element: element.downgrade(),
            state: Mutex::default(),
            idle: Condvar::new(),
        })
    }

    /// Has `job` done after all earlier ones; after [`Courier::close`] nothing is done any more.
    pub(crate) fn send(self: &Arc<Self>, job: impl FnOnce(&gst::Element) + Send + 'static) {
        let mut state = self.state();
        if state.closed {
            return;
        }
        state.queue.push_back(Box::new(job));
        if state.draining {
            return;
        }
        state.draining = true;
        drop(state);
        let courier = self.clone();
        if let Some(element) = self.element.upgrade() {
            element.call_async(move |element| courier.drain(element));
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
        drop(wait);
    }

    /// Whether [`Courier::close`] was called: a job that outlived its run undoes what it did.
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
            if panic::catch_unwind(AssertUnwindSafe(|| job(element))).is_err() {
                gst::element_error!(
                    element,
                    gst::CoreError::Failed,
                    ("A message was lost, which is an error of this plugin or of a handler")
                );
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
