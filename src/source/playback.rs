// SPDX-License-Identifier: MIT
//! What all tracks share while the element plays: the clock, the timeline, the latency.

use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use gst::ClockTime;

use crate::{
    element::{app_queue::AppQueue, bus, pipeline_clock::PipelineClock, sync::lock},
    media::time::playout::{Join, Timeline},
};

/// How much earlier than its running time a frame of the past is handed on, as what is shown before it may
/// come behind it.
const LEAD: ClockTime = ClockTime::from_mseconds(200);

/// The answer to a LATENCY query, in nanoseconds; written by the subscriber, read by the pads.
#[derive(Debug, Default)]
pub(crate) struct LatencyAnswer(AtomicU64);

impl LatencyAnswer {
    pub(crate) fn get(&self) -> ClockTime {
        ClockTime::from_nseconds(self.0.load(Ordering::Relaxed))
    }

    /// Whether the answer is another one now.
    pub(crate) fn set(&self, latency: ClockTime) -> bool {
        self.0.swap(latency.nseconds(), Ordering::Relaxed) != latency.nseconds()
    }
}

/// One stay in PLAYING.
pub(crate) struct Playback {
    pub(crate) clock: PipelineClock,
    /// Shared by the readers alone, all on one worker of the runtime.
    timeline: Mutex<Timeline>,
    /// The timestamp with which it begins if it plays what is kept of the past.
    begin: Option<ClockTime>,
    answer: Arc<LatencyAnswer>,
    app_queue: Arc<AppQueue>,
}

impl Playback {
    pub(crate) fn new(
        clock: PipelineClock,
        latency: ClockTime,
        join: Join,
        answer: Arc<LatencyAnswer>,
        app_queue: Arc<AppQueue>,
    ) -> Arc<Self> {
        Arc::new(Self {
            clock,
            timeline: Mutex::new(Timeline::new(latency, join)),
            begin: None,
            answer,
            app_queue,
        })
    }

    /// Plays what is kept of the past from timestamp `begin` on, which is due at running time `at`.
    pub(crate) fn of_past(
        clock: PipelineClock,
        latency: ClockTime,
        (begin, at): (ClockTime, ClockTime),
        answer: Arc<LatencyAnswer>,
        app_queue: Arc<AppQueue>,
    ) -> Arc<Self> {
        let timeline = Timeline::of_past(latency, answer.get(), begin, at);
        Arc::new(Self {
            clock,
            timeline: Mutex::new(timeline),
            begin: Some(begin),
            answer,
            app_queue,
        })
    }

    /// The timestamp with which a track that is read from now on begins; `None` at the live edge.
    pub(crate) fn begin(&self) -> Option<ClockTime> {
        let due = self.timeline().timestamp(self.clock.running_time());
        self.begin.map(|begin| due.unwrap_or(begin).max(begin))
    }

    /// How long it is until a frame of the past is to be handed on, which nothing else paces.
    pub(crate) fn early(&self, timestamp: ClockTime) -> Option<Duration> {
        self.begin?;
        let due = self.timeline().edge(timestamp)?.saturating_sub(LEAD);
        let early = due.saturating_sub(self.clock.running_time());
        (!early.is_zero()).then(|| early.into())
    }

    pub(crate) fn timeline(&self) -> MutexGuard<'_, Timeline> {
        lock(&self.timeline)
    }

    /// The answer to a LATENCY query.
    pub(crate) fn latency(&self) -> ClockTime {
        self.answer.get()
    }

    /// Does `change` to the timeline and reports what followed from it.
    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut Timeline) -> T) -> T {
        let mut timeline = self.timeline();
        let before = timeline.resyncs();
        let result = change(&mut timeline);
        let (latency, resynced) = (timeline.min_latency(), timeline.resyncs() != before);
        drop(timeline);
        if self.answer.set(latency) {
            post_latency(&self.app_queue);
        }
        if resynced {
            self.app_queue.post("moq-resync", |s| {
                s.field(
                    "reason",
                    "every frame was later than the latency for a second",
                )
            });
        }
        result
    }
}

/// Has the pipeline distribute its latency anew.
pub(crate) fn post_latency(app_queue: &Arc<AppQueue>) {
    app_queue.send_newest("latency".into(), |element| {
        bus::post(
            element,
            gst::message::Latency::builder().src(element).build(),
        );
    });
}
