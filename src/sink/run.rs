//! What lives from READY->PAUSED to PAUSED->READY.

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use moq_mux::Clock;
use tokio::sync::mpsc;

use super::message::{Message, PadId, PadMessage};
use crate::{
    element::{
        app_queue::AppQueue,
        pipeline_clock::PipelineClock,
        runtime::{STOP_TIMEOUT, Task},
    },
    media::time::{
        nanos::{clock_time, nanos},
        publish::PublishTimeline,
    },
};

/// What the element and its pads share for the length of a run.
pub(crate) struct Run {
    pub(crate) app_queue: Arc<AppQueue>,
    messages: mpsc::UnboundedSender<Message>,
    stage: Mutex<Stage>,
    task: Mutex<Option<Task>>,
    timelines: Mutex<Timelines>,
    /// The session ended with an error.
    failed: AtomicBool,
    /// Nobody waits for streams to begin any more.
    patience: Mutex<Patience>,
    begun: Condvar,
}

/// How long questions about streams wait for these to begin.
#[derive(Default)]
struct Patience {
    /// It was waited in vain, or the run is over.
    gone: bool,
}

#[derive(Default)]
struct Stage {
    playing: Option<PipelineClock>,
    started: bool,
    /// The clock that the pipeline had until it paused, with its time then.
    paused: Option<(PipelineClock, gst::ClockTime, Instant)>,
    /// Everything was sent, but the pipeline pauses.
    held_eos: Option<gst::Seqnum>,
}

/// Live input follows the clock by itself, so it never shares the offset of a late file.
#[derive(Default)]
struct Timelines {
    live: PublishTimeline,
    stored: PublishTimeline,
}

impl Run {
    pub(crate) fn new(
        element: &gst::Element,
        messages: mpsc::UnboundedSender<Message>,
    ) -> Arc<Self> {
        Arc::new(Self {
            app_queue: AppQueue::new(element),
            messages,
            stage: Mutex::default(),
            task: Mutex::default(),
            timelines: Mutex::default(),
            failed: AtomicBool::new(false),
            patience: Mutex::default(),
            begun: Condvar::new(),
        })
    }

    /// Keeps the session task, whose life this run bounds.
    pub(crate) fn adopt(&self, task: Task) {
        *lock(&self.task) = Some(task);
    }

    /// Ends the session task and everything that it still has to tell; bounded.
    pub(crate) fn stop(&self) {
        let deadline = Instant::now() + STOP_TIMEOUT;
        lock(&self.patience).gone = true;
        self.begun.notify_all();
        let task = lock(&self.task).take();
        if let Some(task) = task {
            task.stop(deadline);
        }
        self.app_queue.close(deadline);
    }

    /// Sends a pad's message; after a failure it goes nowhere.
    pub(crate) fn send(&self, pad: PadId, message: PadMessage) {
        // Refused only when the session has ended, which is reported elsewhere.
        let _ = self.messages.send(Message::Pad(pad, message));
    }

    /// Waits while streams that `missing` tells of have to begin, up to `bound`, and if that was in vain
    /// never again.
    pub(crate) fn wait_begun(&self, bound: Duration, missing: impl Fn() -> bool) {
        let patience = lock(&self.patience);
        let waited = self
            .begun
            .wait_timeout_while(patience, bound, |patience| !patience.gone && missing());
        let (mut patience, end) = waited.unwrap_or_else(PoisonError::into_inner);
        patience.gone |= end.timed_out();
    }

    /// A stream has begun, or is not waited for any more.
    pub(crate) fn tell_begun(&self) {
        // Taken so that a waiter between its check and its wait cannot miss the signal.
        drop(lock(&self.patience));
        self.begun.notify_all();
    }

    pub(crate) fn fail(&self) {
        self.failed.store(true, Ordering::Release);
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// The pipeline plays; returns an EOS that was held for it.
    pub(crate) fn play(&self, playing: &PipelineClock) -> Option<gst::Seqnum> {
        let mut stage = lock(&self.stage);
        let paused = stage.paused.take();
        drop(stage);
        let mut timelines = lock(&self.timelines);
        for timeline in timelines.all() {
            timeline.start(nanos(playing.base_time()), nanos(playing.now()));
            if let Some((before, then, at)) = &paused
                && before.clock() != playing.clock()
            {
                let passed = i64::try_from(at.elapsed().as_nanos()).unwrap_or(i64::MAX);
                let elapsed = timeline.elapsed(nanos(*then)).saturating_add(passed);
                timeline.rebase(nanos(playing.now()), elapsed);
            }
        }
        let elapsed = timelines.live.elapsed(nanos(playing.now()));
        drop(timelines);
        let mut stage = lock(&self.stage);
        stage.playing = Some(playing.clone());
        let first = !std::mem::replace(&mut stage.started, true);
        let eos = stage.held_eos.take();
        drop(stage);
        if first {
            let _ = self.messages.send(Message::Clock(clock(elapsed)));
        }
        eos
    }

    pub(crate) fn pause(&self) {
        let mut stage = lock(&self.stage);
        if let Some(playing) = stage.playing.take() {
            let now = playing.now();
            stage.paused = Some((playing, now, Instant::now()));
        }
    }

    /// The pipeline's time, unless it is paused.
    pub(crate) fn playing(&self) -> Option<PipelineClock> {
        lock(&self.stage).playing.clone()
    }

    /// Everything was sent: whether EOS may be posted now; if not, it is held.
    pub(crate) fn ended(&self, seqnum: gst::Seqnum) -> bool {
        let mut stage = lock(&self.stage);
        let now = stage.playing.is_some();
        if !now {
            stage.held_eos = Some(seqnum);
        }
        now
    }

    /// A stream goes on after all.
    pub(crate) fn revived(&self) {
        lock(&self.stage).held_eos = None;
    }

    /// Does `work` with the timeline of live or stored input.
    pub(crate) fn with_timeline<T>(
        &self,
        live: bool,
        work: impl FnOnce(&mut PublishTimeline) -> T,
    ) -> T {
        work(lock(&self.timelines).of(live))
    }
}

impl Timelines {
    fn all(&mut self) -> [&mut PublishTimeline; 2] {
        [&mut self.live, &mut self.stored]
    }

    fn of(&mut self, live: bool) -> &mut PublishTimeline {
        match live {
            true => &mut self.live,
            false => &mut self.stored,
        }
    }
}

/// The wall-clock time of MoQ time 0, which was `elapsed` ns ago.
fn clock(elapsed: i64) -> Clock {
    let elapsed = Duration::from(clock_time(elapsed));
    Instant::now()
        .checked_sub(elapsed)
        .zip(SystemTime::now().checked_sub(elapsed))
        .and_then(|(instant, wall)| Clock::at(instant, wall).ok())
        // Only a host whose clock is not set gets here.
        .unwrap_or_default()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
