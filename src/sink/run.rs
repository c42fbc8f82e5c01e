// SPDX-License-Identifier: MIT
//! What lives from READY->PAUSED to PAUSED->READY.

use std::{
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use moq_mux::Clock;
use tokio::sync::mpsc;

use super::{
    message::{Message, PadId, PadMessage},
    rate_control::RateSettings,
    stats::Counters,
};
use crate::{
    element::{
        app_queue::AppQueue,
        budget::Budget,
        pipeline_clock::PipelineClock,
        runtime::{STOP_TIMEOUT, Task},
        sync::{SendOrDrop, lock, unpoisoned},
    },
    media::time::{
        nanos::{clock_time, nanos},
        publish::PublishTimeline,
    },
};

/// What the element and its pads share for the length of a run.
pub(crate) struct Run {
    app_queue: Arc<AppQueue>,
    messages: mpsc::UnboundedSender<Message>,
    task: Mutex<Option<Task>>,
    playback: Mutex<Playback>,
    timelines: Mutex<Timelines>,
    /// Whether stored input is paced by the clock.
    sync: AtomicBool,
    /// The session ended with an error.
    failed: AtomicBool,
    /// Whether nobody waits for streams to begin any more: that was in vain once, or the run is over.
    gave_up: Mutex<bool>,
    begun: Condvar,
}

/// Whether the pipeline plays, and the EOS that waits for it.
#[derive(Default)]
struct Playback {
    state: PlayState,
    /// Everything was sent, but the pipeline is paused.
    held_eos: Option<gst::Seqnum>,
}

#[derive(Default)]
enum PlayState {
    /// It has never played.
    #[default]
    New,
    Playing(PipelineClock),
    /// Since this instant, at which its clock showed `time`.
    Paused {
        clock: PipelineClock,
        time: gst::ClockTime,
        since: Instant,
    },
}

/// Live input follows the clock by itself, so it never shares the offset of a late file.
#[derive(Default)]
struct Timelines {
    live: PublishTimeline,
    stored: PublishTimeline,
}

/// A pad's part in a run.
pub(crate) struct RunHandle {
    id: PadId,
    run: Arc<Run>,
    budget: Arc<Budget>,
    counters: Arc<Counters>,
}

impl Run {
    pub(crate) fn new(
        element: &gst::Element,
        messages: mpsc::UnboundedSender<Message>,
    ) -> Arc<Self> {
        Arc::new(Self {
            app_queue: AppQueue::new(element),
            messages,
            task: Mutex::default(),
            playback: Mutex::default(),
            timelines: Mutex::default(),
            sync: AtomicBool::new(true),
            failed: AtomicBool::new(false),
            gave_up: Mutex::default(),
            begun: Condvar::new(),
        })
    }

    pub(crate) fn app_queue(&self) -> &Arc<AppQueue> {
        &self.app_queue
    }

    /// Keeps the session task, whose life this run bounds.
    pub(crate) fn adopt(&self, task: Task) {
        *lock(&self.task) = Some(task);
    }

    /// Ends the session task and everything that it still has to report; bounded.
    pub(crate) fn stop(&self) {
        let deadline = Instant::now() + STOP_TIMEOUT;
        *lock(&self.gave_up) = true;
        self.begun.notify_all();
        let task = lock(&self.task).take();
        if let Some(task) = task {
            task.stop(deadline);
        }
        self.app_queue.close(deadline);
    }

    /// Waits while streams that `missing` knows of have to begin, up to `timeout`, and if that was in vain
    /// never again.
    pub(crate) fn wait_begun(&self, timeout: Duration, missing: impl Fn() -> bool) {
        let gave_up = lock(&self.gave_up);
        let waited = self
            .begun
            .wait_timeout_while(gave_up, timeout, |gave_up| !*gave_up && missing());
        let (mut gave_up, end) = unpoisoned(waited);
        *gave_up |= end.timed_out();
    }

    /// A stream has begun, or is not waited for any more.
    pub(crate) fn notify_begun(&self) {
        // Taken so that a waiter between its check and its wait cannot miss the signal.
        drop(lock(&self.gave_up));
        self.begun.notify_all();
    }

    pub(crate) fn fail(&self) {
        self.failed.store(true, Ordering::Release);
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Has the bit rate controlled in another way.
    pub(crate) fn set_rate(&self, settings: RateSettings) {
        self.messages.send_or_drop(Message::Rate(settings));
    }

    pub(crate) fn set_sync(&self, sync: bool) {
        self.sync.store(sync, Ordering::Relaxed);
    }

    pub(crate) fn is_synced(&self) -> bool {
        self.sync.load(Ordering::Relaxed)
    }

    /// The pipeline plays by `clock`; returns an EOS that was held for it.
    pub(crate) fn play(&self, clock: &PipelineClock) -> Option<gst::Seqnum> {
        let mut playback = lock(&self.playback);
        let before = std::mem::replace(&mut playback.state, PlayState::Playing(clock.clone()));
        let eos = playback.held_eos.take();
        drop(playback);
        let mut timelines = lock(&self.timelines);
        let Timelines { live, stored } = &mut *timelines;
        for timeline in [live, stored] {
            timeline.start(nanos(clock.base_time()), nanos(clock.now()));
            if let PlayState::Paused {
                clock: old,
                time,
                since,
            } = &before
                && old.clock() != clock.clock()
            {
                let passed = i64::try_from(since.elapsed().as_nanos()).unwrap_or(i64::MAX);
                let elapsed = timeline.elapsed(nanos(*time)).saturating_add(passed);
                timeline.rebase(nanos(clock.now()), elapsed);
            }
        }
        let elapsed = timelines.live.elapsed(nanos(clock.now()));
        drop(timelines);
        if matches!(before, PlayState::New) {
            let clock = wall_clock(elapsed);
            self.messages.send_or_drop(Message::Clock(clock));
        }
        eos
    }

    pub(crate) fn pause(&self) {
        let mut playback = lock(&self.playback);
        if let PlayState::Playing(clock) = &playback.state {
            playback.state = PlayState::Paused {
                time: clock.now(),
                clock: clock.clone(),
                since: Instant::now(),
            };
        }
    }

    /// The pipeline's clock, unless it is paused.
    pub(crate) fn clock(&self) -> Option<PipelineClock> {
        match &lock(&self.playback).state {
            PlayState::Playing(clock) => Some(clock.clone()),
            PlayState::New | PlayState::Paused { .. } => None,
        }
    }

    /// Everything was sent: whether EOS may be posted now; if not, it is held.
    pub(crate) fn ended(&self, seqnum: gst::Seqnum) -> bool {
        let mut playback = lock(&self.playback);
        let plays = matches!(playback.state, PlayState::Playing(_));
        if !plays {
            playback.held_eos = Some(seqnum);
        }
        plays
    }

    /// A stream goes on after all.
    pub(crate) fn revived(&self) {
        lock(&self.playback).held_eos = None;
    }
}

impl RunHandle {
    /// A pad's part in `run`, of which no more than `max_bytes` and `max_time` may wait.
    pub(crate) fn new(
        id: PadId,
        run: Arc<Run>,
        max_bytes: u32,
        max_time: gst::ClockTime,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            run,
            budget: Budget::new(max_bytes.into(), max_time),
            counters: Arc::default(),
        })
    }

    pub(crate) fn run(&self) -> &Arc<Run> {
        &self.run
    }

    pub(crate) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Sends a pad's message; after a failure it goes nowhere.
    pub(crate) fn send(&self, message: PadMessage) {
        self.run
            .messages
            .send_or_drop(Message::Pad(self.id, message));
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.run.has_failed()
    }

    /// Does `work` with the timeline of live or stored input.
    pub(crate) fn with_timeline<T>(
        &self,
        live: bool,
        work: impl FnOnce(&mut PublishTimeline) -> T,
    ) -> T {
        let mut timelines = lock(&self.run.timelines);
        match live {
            true => work(&mut timelines.live),
            false => work(&mut timelines.stored),
        }
    }
}

/// The wall-clock time of MoQ time 0, which was `elapsed` ns ago.
fn wall_clock(elapsed: i64) -> Clock {
    let elapsed = Duration::from(clock_time(elapsed));
    Instant::now()
        .checked_sub(elapsed)
        .zip(SystemTime::now().checked_sub(elapsed))
        .and_then(|(instant, wall)| Clock::at(instant, wall).ok())
        // Only a host whose clock is not set gets here.
        .unwrap_or_default()
}
