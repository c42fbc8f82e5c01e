// SPDX-License-Identifier: MIT
//! The delay from capture to render, measured inside one process on one clock.
//!
//! A packet is recognised by its payload: it is captured when the publisher's pipeline says so
//! (base time + running time), and rendered when a clock-synced sink hands it out.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use gst::{glib, prelude::*};

/// Payloads that are remembered, unless told otherwise: minutes of video or audio.
const REMEMBERED: usize = 16_384;

/// Captures of one payload that are nearer to each other than this cannot be told apart.
const APART: gst::ClockTime = gst::ClockTime::from_seconds(1);

/// A decoder's output belongs to the packet that began at most this long before it.
const REACH: gst::ClockTime = gst::ClockTime::from_mseconds(50);

/// Rounding of times on their way through decoders.
const ROUNDING: gst::ClockTime = gst::ClockTime::from_useconds(500);

/// One frame or block of audio at the sink; all times are of the system clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// When the publisher captured it.
    pub(crate) captured: gst::ClockTime,
    /// When its running time falls in the subscriber, which the pipeline's latency follows.
    pub(crate) mapped: gst::ClockTime,
    /// When it reached the sink, where it waits until it is due.
    pub(crate) arrived: gst::ClockTime,
    /// When the sink handed it out.
    pub(crate) rendered: gst::ClockTime,
}

impl Sample {
    /// Milliseconds from capture to render.
    pub(crate) fn delay(&self) -> f64 {
        milliseconds(self.captured, self.rendered)
    }

    /// Whether it reached the sink only after it was due, `latency` ms after its running time.
    pub(crate) fn is_late(&self, latency: f64) -> bool {
        milliseconds(self.mapped, self.arrived) > latency
    }

    /// Milliseconds from capture to its running time: the delay without the pipeline's latency
    /// and without the jitter of this machine's threads.
    pub(crate) fn mapped_delay(&self) -> f64 {
        milliseconds(self.captured, self.mapped)
    }
}

/// The measurement of one track, from `moqsink`'s pad to a sink.
#[derive(Clone)]
pub(crate) struct Delays(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// How many payloads are remembered.
    remembered: usize,
    publisher: glib::WeakRef<gst::Element>,
    /// Running times at which a payload was captured, in the publisher's pipeline.
    captures: HashMap<u64, Vec<gst::ClockTime>>,
    /// Payloads in the order of their captures: the first are forgotten first.
    order: VecDeque<u64>,
    /// Capture times by the running time in the subscriber's pipeline.
    received: BTreeMap<gst::ClockTime, gst::ClockTime>,
    /// When what the sink has not handed out yet reached it, by running time.
    arrivals: BTreeMap<gst::ClockTime, gst::ClockTime>,
    samples: Vec<Sample>,
    packets: u64,
    bytes: u64,
    unknown: u64,
}

impl Delays {
    /// Starts a measurement.
    pub(crate) fn new() -> Self {
        Self::of_the_last(REMEMBERED)
    }

    /// Starts one that knows no more than the last `remembered` payloads.
    pub(crate) fn of_the_last(remembered: usize) -> Self {
        Self(Arc::new(Mutex::new(State {
            remembered,
            ..State::default()
        })))
    }

    /// Remembers what passes a pad of `moqsink`.
    pub(crate) fn capture(&self, pad: &gst::Pad) {
        let mut state = self.lock();
        state.publisher.set(pad.parent_element().as_ref());
        // Running times of another pipeline mean nothing in this one.
        state.captures.clear();
        state.order.clear();
        drop(state);
        let this = self.clone();
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            if let Some(buffer) = info.buffer()
                && let (Some(hash), Some(time)) = (hash(buffer), running_time(pad, buffer))
            {
                this.lock().captured(hash, time);
            }
            gst::PadProbeReturn::Ok
        });
    }

    /// Recognises what a pad of `moqsrc` pushes, and forgets what another one did: running times may
    /// have begun again.
    pub(crate) fn receive(&self, pad: &gst::Pad) {
        let mut state = self.lock();
        state.received.clear();
        state.arrivals.clear();
        drop(state);
        let this = self.clone();
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            let Some(buffer) = info.buffer() else {
                return gst::PadProbeReturn::Ok;
            };
            let mut state = this.lock();
            state.packets += 1;
            state.bytes += buffer.size() as u64;
            if let (Some(hash), Some(time)) = (hash(buffer), running_time(pad, buffer)) {
                state.received(hash, time);
            }
            gst::PadProbeReturn::Ok
        });
    }

    /// Takes the time at which a `fakesink sync=true signal-handoffs=true` renders.
    pub(crate) fn render(&self, fakesink: &gst::Element) {
        let this = self.clone();
        let pad = fakesink.static_pad("sink").expect("a sink has a pad");
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            let buffer = info.buffer();
            if let Some(time) = buffer.and_then(|buffer| running_time(pad, buffer)) {
                this.lock().arrivals.insert(time, now());
            }
            gst::PadProbeReturn::Ok
        });
        let this = self.clone();
        fakesink.connect("handoff", false, move |values| {
            let rendered = now();
            if let (Ok(sink), Ok(buffer), Ok(pad)) = (
                values[0].get::<gst::Element>(),
                values[1].get::<gst::Buffer>(),
                values[2].get::<gst::Pad>(),
            ) && let (Some(base), Some(time)) = (sink.base_time(), running_time(&pad, &buffer))
            {
                this.lock().rendered(base, time, rendered);
            }
            None
        });
    }

    /// All samples so far, in the order of rendering.
    pub(crate) fn samples(&self) -> Vec<Sample> {
        self.lock().samples.clone()
    }

    /// The samples since the last call, which are forgotten here.
    pub(crate) fn take_samples(&self) -> Vec<Sample> {
        std::mem::take(&mut self.lock().samples)
    }

    /// Packets and bytes received so far.
    pub(crate) fn received(&self) -> (u64, u64) {
        let state = self.lock();
        (state.packets, state.bytes)
    }

    /// Rendered buffers whose capture is unknown.
    pub(crate) fn unknown(&self) -> u64 {
        self.lock().unknown
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn captured(&mut self, hash: u64, time: gst::ClockTime) {
        self.captures.entry(hash).or_default().push(time);
        self.order.push_back(hash);
        if self.order.len() > self.remembered
            && let Some(oldest) = self.order.pop_front()
            && let Some(times) = self.captures.get_mut(&oldest)
        {
            times.remove(0);
            if times.is_empty() {
                self.captures.remove(&oldest);
            }
        }
    }

    fn received(&mut self, hash: u64, time: gst::ClockTime) {
        if let Some(captured) = self.capture_of(hash) {
            self.received.insert(time, captured);
            if self.received.len() > self.remembered {
                self.received.pop_first();
            }
        }
    }

    /// When the payload that arrives now was captured: looped content has several captures, of
    /// which the latest that lies in the past counts.
    fn capture_of(&self, hash: u64) -> Option<gst::ClockTime> {
        // The base time is asked for now: a file reaches the pad before its pipeline plays.
        let base = self.publisher.upgrade()?.base_time()?;
        let past = now() + ROUNDING;
        let times = self.captures.get(&hash)?;
        let due = || times.iter().filter(|time| base + **time <= past);
        let latest = *due().max()?;
        let near = due().filter(|time| latest < **time + APART).count();
        (near == 1).then(|| base + latest)
    }

    fn rendered(&mut self, base: gst::ClockTime, time: gst::ClockTime, rendered: gst::ClockTime) {
        let arrived = self.arrivals.remove(&time).unwrap_or(rendered);
        // What the sink dropped is not handed out.
        self.arrivals = self.arrivals.split_off(&time);
        let mut earlier = self.received.range(..=time + ROUNDING);
        match earlier.next_back() {
            Some((packet, captured)) if time < *packet + REACH => self.samples.push(Sample {
                captured: *captured + time.saturating_sub(*packet),
                mapped: base + time,
                arrived,
                rendered,
            }),
            _ => self.unknown += 1,
        }
    }
}

/// How much later audio is shown than video, in ms, for each video sample that has audio
/// rendered within 50 ms of it: (time of rendering, audio delay - video delay).
pub(crate) fn skews(video: &[Sample], audio: &[Sample]) -> Vec<(gst::ClockTime, f64)> {
    let nearest = |frame: &Sample| {
        let distance = |sound: &Sample| milliseconds(frame.rendered, sound.rendered).abs();
        let after = audio.partition_point(|sound| sound.rendered < frame.rendered);
        let around = &audio[after.saturating_sub(1)..audio.len().min(after + 1)];
        around
            .iter()
            .map(|sound| (distance(sound), sound))
            .filter(|(distance, _)| *distance <= 50.0)
            .min_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, sound)| (frame.rendered, sound.delay() - frame.delay()))
    };
    video.iter().filter_map(nearest).collect()
}

/// The middle of the values, or nothing if there are none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// The time of the clock on which every measurement is taken.
pub(crate) fn now() -> gst::ClockTime {
    gst::SystemClock::obtain().time()
}

/// The running time of the buffer's PTS in the pad's segment.
fn running_time(pad: &gst::Pad, buffer: &gst::BufferRef) -> Option<gst::ClockTime> {
    let segment = pad.sticky_event::<gst::event::Segment>(0)?;
    let segment = segment.segment().downcast_ref::<gst::ClockTime>()?;
    segment.to_running_time(buffer.pts()?)
}

fn hash(buffer: &gst::BufferRef) -> Option<u64> {
    let bytes = buffer.map_readable().ok()?;
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    Some(hasher.finish())
}

fn milliseconds(from: gst::ClockTime, to: gst::ClockTime) -> f64 {
    (to.nseconds() as f64 - from.nseconds() as f64) / 1e6
}
