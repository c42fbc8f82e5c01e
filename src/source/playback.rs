// SPDX-License-Identifier: MIT
//! What all tracks share while the element plays: the clock, the timeline, the latency.

use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicU64, Ordering},
};

use gst::ClockTime;

use crate::{
    element::{app_queue::AppQueue, bus, pipeline_clock::PipelineClock, sync::lock},
    media::time::playout::{Join, Timeline},
};

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
            answer,
            app_queue,
        })
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
