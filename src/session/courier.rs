//! Carries what the session has to tell the application off the runtime's worker, in order.
//!
//! Signal and bus handlers are the application's code: it may block, link, or change states. On the
//! runtime's one worker it would hold up every element of the process, so it runs on GStreamer's
//! own pool of threads instead.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, ThreadId},
};

use gst::{glib, prelude::*};

use super::runtime::STOP_BOUND;

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

    /// Drops what waits and waits for the running job, bounded; a job may itself call this.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.queue.clear();
        let me = thread::current().id();
        let wait = self.idle.wait_timeout_while(state, STOP_BOUND, |state| {
            state.busy.is_some_and(|thread| thread != me)
        });
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
            job(element);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
