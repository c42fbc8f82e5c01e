//! Where a pad's streaming thread waits, and what lets it go.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use gst::prelude::*;

use crate::media::time::nanos::{clock_time, nanos};

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
    playing: Option<Playing>,
    /// What the streaming thread waits for at this moment.
    waiting: Option<gst::ClockId>,
}

/// The pipeline's time while it plays.
#[derive(Debug, Clone)]
pub(crate) struct Playing {
    pub(crate) clock: Option<gst::Clock>,
    pub(crate) base_time: gst::ClockTime,
}

impl Playing {
    /// What `element` was told before it went to PLAYING.
    pub(crate) fn of(element: &impl IsA<gst::Element>) -> Self {
        Self {
            clock: element.clock(),
            base_time: element.base_time().unwrap_or_default(),
        }
    }

    /// The running time in ns.
    pub(crate) fn running_time(&self) -> i64 {
        nanos(self.now()).saturating_sub(nanos(self.base_time))
    }

    /// The clock's time; without a clock, nothing is ever late.
    pub(crate) fn now(&self) -> gst::ClockTime {
        match &self.clock {
            Some(clock) => clock.time(),
            None => self.base_time,
        }
    }
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
    pub(crate) fn set_playing(&self, playing: Option<Playing>) {
        self.change(|state| state.playing = playing);
    }

    /// Whether nothing may pass: flushing, released, or no run.
    pub(crate) fn is_shut(&self) -> bool {
        self.state().is_shut()
    }

    /// The pipeline's time, unless it is paused.
    pub(crate) fn playing(&self) -> Option<Playing> {
        self.state().playing.clone()
    }

    /// Waits until the pipeline plays and nothing is held.
    pub(crate) fn wait_playing(&self) -> Result<Playing, gst::FlowError> {
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
    pub(crate) fn wait_until(&self, running: i64) -> Result<Playing, gst::FlowError> {
        loop {
            let playing = self.wait_playing()?;
            let Some(clock) = &playing.clock else {
                return Ok(playing);
            };
            let due = playing.base_time.saturating_add(clock_time(running));
            let id = clock.new_single_shot_id(due);
            let mut state = self.state();
            let current = state.playing.as_ref().map(|playing| playing.base_time);
            if state.is_shut() || current != Some(playing.base_time) {
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

    use super::*;

    fn playing(clock: &gst::Clock) -> Option<Playing> {
        Some(Playing {
            clock: Some(clock.clone()),
            base_time: clock.time(),
        })
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
