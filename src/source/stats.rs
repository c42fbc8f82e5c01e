// SPDX-License-Identifier: MIT
//! What a source pad counts: its property `stats`.

use crate::element::{
    budget::Budget,
    counter::{AtomicGauge, Counter},
};

/// The counts of one pad during a run, in frames where nothing else is said.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) frames: Counter,
    pub(crate) bytes: Counter,
    pub(crate) groups: Counter,
    /// Groups that never came, or that broke off or were given up before their end.
    pub(crate) groups_lost: Counter,
    pub(crate) before_start: Counter,
    pub(crate) undecodable: Counter,
    pub(crate) late: Counter,
    /// How long after the edge of the timeline the newest frame was read, in ms.
    pub(crate) delay: AtomicGauge,
    /// How many resyncs there were since the element plays.
    pub(crate) resyncs: AtomicGauge,
    /// See [`crate::media::time::playout::Timeline::drift`].
    pub(crate) drift: AtomicGauge,
    pub(crate) qos_events: Counter,
    /// Of the newest QOS event, in ns.
    pub(crate) jitter: AtomicGauge,
    pub(crate) proportion: AtomicGauge,
}

impl Counters {
    pub(crate) fn structure(&self, budget: &Budget) -> gst::Structure {
        let (bytes, time) = budget.waiting();
        gst::Structure::builder("moq-pad-stats")
            .field("frames", self.frames.get())
            .field("bytes", self.bytes.get())
            .field("groups", self.groups.get())
            .field("groups-lost", self.groups_lost.get())
            .field("dropped-before-start", self.before_start.get())
            .field("dropped-undecodable", self.undecodable.get())
            .field("dropped-late", self.late.get())
            .field("queue-bytes", bytes)
            .field("queue-time", time.nseconds())
            .field_if_some("delay-ms", self.delay.get())
            .field_if_some("resyncs", self.resyncs.get().map(|resyncs| resyncs as u64))
            .field_if_some("drift-ppm", self.drift.get())
            .field("qos-events", self.qos_events.get())
            .field_if_some("qos-jitter", self.jitter.get().map(|jitter| jitter as i64))
            .field_if_some("qos-proportion", self.proportion.get())
            .build()
    }

    /// Takes in a QOS event.
    pub(crate) fn qos(&self, event: &gst::event::Qos) {
        let (_, proportion, jitter, _) = event.get();
        self.jitter.set(jitter as f64);
        self.proportion.set(proportion);
        self.qos_events.add(1);
    }
}
