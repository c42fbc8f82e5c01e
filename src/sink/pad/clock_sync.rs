//! Where a pad's streaming thread waits, and what lets it go.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::element::pipeline_clock::PipelineClock;

/// Holds back one streaming thread until the pipeline plays, or until a time of its clock.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// A run is on and the pad is not released.
    open: bool,
    flushing: bool,
    /// A seek is about to flush what comes.
    held: bool,
    playing: Option<PipelineClock>,
    /// What the streaming thread waits for at this moment.
    waiting: Option<gst::ClockId>,
}

impl Gate {
    /// A run begins.
    pub(crate) fn open(&self) {
        *self.state() = State {
            open: true,
            ..State::default()
        };
    }

    /// The run ends or the pad is released: whoever waits is let go, and nobody waits any more.
    pub(crate) fn close(&self) {
        self.change(|state| state.open = false);
    }

    pub(crate) fn set_flushing(&self, flushing: bool) {
        self.change(|state| state.flushing = flushing);
    }

    /// Nothing passes until a seek, which is about to flush it, was sent.
    pub(crate) fn hold(&self, held: bool) {
        self.change(|state| state.held = held);
    }

    /// The pipeline plays, or with `None`, pauses.
    pub(crate) fn set_playing(&self, playing: Option<PipelineClock>) {
        self.change(|state| state.playing = playing);
    }

    /// Whether nothing may pass: flushing, released, or no run.
    pub(crate) fn is_shut(&self) -> bool {
        self.state().is_shut()
    }

    /// The pipeline's time, unless it is paused.
    pub(crate) fn playing(&self) -> Option<PipelineClock> {
        self.state().playing.clone()
    }

    /// Waits until the pipeline plays and nothing is held.
    pub(crate) fn wait_playing(&self) -> Result<PipelineClock, gst::FlowError> {
        let state = self
            .changed
            .wait_while(self.state(), |state| {
                !state.is_shut() && (state.held || state.playing.is_none())
            })
            .unwrap_or_else(PoisonError::into_inner);
        match &state.playing {
            Some(playing) if !state.is_shut() => Ok(playing.clone()),
            _ => Err(gst::FlowError::Flushing),
        }
    }

    /// Waits until the running time of `running` ns; a pause in between moves the base time.
    pub(crate) fn wait_until(&self, running: i64) -> Result<PipelineClock, gst::FlowError> {
        loop {
            let playing = self.wait_playing()?;
            let Some(id) = playing.wait_id(running) else {
                return Ok(playing);
            };
            let mut state = self.state();
            if state.is_shut() || state.playing.as_ref() != Some(&playing) {
                continue;
            }
            state.waiting = Some(id.clone().into());
            drop(state);
            let (result, _) = id.wait();
            self.state().waiting = None;
            if result != Err(gst::ClockError::Unscheduled) {
                return Ok(playing);
            }
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        let stale = state.waiting.take();
        drop(state);
        if let Some(id) = stale {
            id.unschedule();
        }
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_shut(&self) -> bool {
        !self.open || self.flushing
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

    fn waiting(gate: &Gate) -> bool {
        gate.state().waiting.is_some()
    }

    #[test]
    fn a_closed_gate_lets_nobody_wait() {
        let gate = Gate::default();
        assert!(gate.is_shut());
        assert!(gate.wait_playing().is_err());
    }

    #[test]
    fn what_a_seek_is_about_to_flush_does_not_pass() {
        gst::init().expect("GStreamer initializes");
        let gate = Arc::new(Gate::default());
        gate.open();
        gate.set_playing(playing(&gst::SystemClock::obtain()));
        gate.hold(true);
        let (passed, passes) = std::sync::mpsc::channel();
        let waiter = {
            let gate = gate.clone();
            thread::spawn(move || passed.send(gate.wait_playing().is_ok()))
        };
        let early = passes.recv_timeout(std::time::Duration::from_millis(50));
        assert!(early.is_err(), "it is held");
        gate.set_flushing(true);
        assert_eq!(passes.recv(), Ok(false), "the seek flushes it");
        waiter.join().expect("no panic").expect("it was received");
        gate.set_flushing(false);
        gate.hold(false);
        assert!(gate.wait_playing().is_ok());
    }

    #[test]
    fn a_wait_for_the_clock_ends_at_a_flush_and_outlives_a_pause() {
        gst::init().expect("GStreamer initializes");
        let clock = gst::SystemClock::obtain();
        let gate = Arc::new(Gate::default());
        gate.open();
        gate.set_playing(playing(&clock));
        let waiter = {
            let gate = gate.clone();
            thread::spawn(move || gate.wait_until(3_600_000_000_000))
        };
        while !waiting(&gate) {
            thread::yield_now();
        }
        gate.set_playing(None);
        gate.set_playing(playing(&clock));
        while !waiting(&gate) {
            thread::yield_now();
        }
        gate.set_flushing(true);
        let result = waiter.join().expect("no panic");
        assert!(matches!(result, Err(gst::FlowError::Flushing)));
    }
}
