// SPDX-License-Identifier: MIT
//! Where a pad's streaming thread waits: for the pipeline to play, and for a time of its clock.

use std::sync::{Condvar, Mutex};

use crate::element::{
    pipeline_clock::PipelineClock,
    sync::{lock, unpoisoned},
};

/// Holds back one streaming thread until the pipeline plays, or until a time of its clock.
#[derive(Debug, Default)]
pub(super) struct ClockSync {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    flushing: bool,
    /// A seek is about to flush what comes.
    held: bool,
    /// `None` while the pipeline is paused.
    clock: Option<PipelineClock>,
    /// What the streaming thread waits for, or has waited for last.
    wait: Option<gst::ClockId>,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Phase {
    /// There is no run.
    #[default]
    Closed,
    Open,
    /// The pad is on its way out of the element: it takes part in no run any more.
    Released,
}

impl ClockSync {
    /// A run begins, whose pipeline plays by `clock`; not for a pad that is released.
    pub(super) fn open(&self, clock: Option<PipelineClock>) -> bool {
        let mut state = lock(&self.state);
        if state.phase == Phase::Released {
            return false;
        }
        *state = State {
            phase: Phase::Open,
            clock,
            ..State::default()
        };
        true
    }

    /// The run ends: whoever waits returns, and nobody waits any more.
    pub(super) fn close(&self) {
        self.change(|state| {
            if state.phase == Phase::Open {
                state.phase = Phase::Closed;
            }
        });
    }

    /// The same for good.
    pub(super) fn release(&self) {
        self.change(|state| state.phase = Phase::Released);
    }

    pub(super) fn set_flushing(&self, flushing: bool) {
        self.change(|state| state.flushing = flushing);
    }

    /// Nothing passes until a seek, which is about to flush it, was sent.
    pub(super) fn hold(&self, held: bool) {
        self.change(|state| state.held = held);
    }

    /// The pipeline plays by this clock, or with `None`, pauses.
    pub(super) fn set_clock(&self, clock: Option<PipelineClock>) {
        self.change(|state| state.clock = clock);
    }

    /// Whether nothing passes: flushing, released, or no run.
    pub(super) fn is_flushing(&self) -> bool {
        lock(&self.state).is_flushing()
    }

    /// The clock by which a buffer passes; `None` while it has to wait.
    pub(super) fn clock(&self) -> Result<Option<PipelineClock>, gst::FlowError> {
        let state = lock(&self.state);
        match state.is_flushing() {
            true => Err(gst::FlowError::Flushing),
            false => Ok(state.passes().cloned()),
        }
    }

    /// Waits until the pipeline plays and nothing is held.
    pub(super) fn wait_playing(&self) -> Result<PipelineClock, gst::FlowError> {
        let waited = self.changed.wait_while(lock(&self.state), |state| {
            !state.is_flushing() && state.passes().is_none()
        });
        let state = unpoisoned(waited);
        let clock = state.passes().filter(|_| !state.is_flushing());
        clock.cloned().ok_or(gst::FlowError::Flushing)
    }

    /// Waits until the running time of `running` ns by `clock`, or by its successor: a pause in between
    /// moves the base time.
    pub(super) fn wait_until(
        &self,
        mut clock: PipelineClock,
        running: i64,
    ) -> Result<PipelineClock, gst::FlowError> {
        while let Some(id) = clock.wait_id(running) {
            let mut state = lock(&self.state);
            if !state.is_flushing() && state.passes() == Some(&clock) {
                state.wait = Some(id.clone().into());
                drop(state);
                if id.wait().0 != Err(gst::ClockError::Unscheduled) {
                    break;
                }
            } else {
                drop(state);
            }
            clock = self.wait_playing()?;
        }
        Ok(clock)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = lock(&self.state);
        change(&mut state);
        let stale = state.wait.take();
        drop(state);
        if let Some(id) = stale {
            id.unschedule();
        }
        self.changed.notify_all();
    }
}

impl State {
    fn is_flushing(&self) -> bool {
        self.phase != Phase::Open || self.flushing
    }

    fn passes(&self) -> Option<&PipelineClock> {
        self.clock.as_ref().filter(|_| !self.held)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use gst::prelude::*;

    use super::*;

    fn playing(clock: &gst::Clock) -> Option<PipelineClock> {
        Some(PipelineClock::new(Some(clock.clone()), clock.time().into()))
    }

    fn waiting(clock_sync: &ClockSync) -> bool {
        lock(&clock_sync.state).wait.is_some()
    }

    #[test]
    fn nobody_waits_without_a_run() {
        let clock_sync = ClockSync::default();
        assert!(clock_sync.is_flushing());
        assert!(clock_sync.wait_playing().is_err());
    }

    #[test]
    fn what_a_seek_is_about_to_flush_does_not_pass() {
        gst::init().expect("GStreamer initializes");
        let clock_sync = Arc::new(ClockSync::default());
        clock_sync.open(None);
        clock_sync.set_clock(playing(&gst::SystemClock::obtain()));
        clock_sync.hold(true);
        let (passed, passes) = std::sync::mpsc::channel();
        let waiter = {
            let clock_sync = clock_sync.clone();
            thread::spawn(move || passed.send(clock_sync.wait_playing().is_ok()))
        };
        let early = passes.recv_timeout(std::time::Duration::from_millis(50));
        assert!(early.is_err(), "it is held");
        clock_sync.set_flushing(true);
        assert_eq!(passes.recv(), Ok(false), "the seek flushes it");
        waiter.join().expect("no panic").expect("it was received");
        clock_sync.set_flushing(false);
        clock_sync.hold(false);
        assert!(clock_sync.wait_playing().is_ok());
    }

    #[test]
    fn a_wait_for_the_clock_ends_at_a_flush_and_outlives_a_pause() {
        gst::init().expect("GStreamer initializes");
        let clock = gst::SystemClock::obtain();
        let clock_sync = Arc::new(ClockSync::default());
        clock_sync.open(None);
        clock_sync.set_clock(playing(&clock));
        let waiter = {
            let clock_sync = clock_sync.clone();
            thread::spawn(move || {
                let clock = clock_sync.wait_playing()?;
                clock_sync.wait_until(clock, 3_600_000_000_000)
            })
        };
        while !waiting(&clock_sync) {
            thread::yield_now();
        }
        clock_sync.set_clock(None);
        clock_sync.set_clock(playing(&clock));
        while !waiting(&clock_sync) {
            thread::yield_now();
        }
        clock_sync.set_flushing(true);
        let result = waiter.join().expect("no panic");
        assert!(matches!(result, Err(gst::FlowError::Flushing)));
    }
}
