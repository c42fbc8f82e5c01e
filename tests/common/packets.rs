// SPDX-License-Identifier: MIT
//! What passes a pad: the encoded buffers with their times, and the events between them.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, Once, PoisonError},
    time::{Duration, Instant},
};

use gst::prelude::*;

/// One buffer as it passed the pad.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) pts: Option<gst::ClockTime>,
    pub(crate) dts: Option<gst::ClockTime>,
    pub(crate) duration: Option<gst::ClockTime>,
    /// The PTS in running time.
    pub(crate) running_time: Option<gst::ClockTime>,
    pub(crate) flags: gst::BufferFlags,
    pub(crate) bytes: Vec<u8>,
}

impl Packet {
    /// Whether it begins a GOP.
    pub(crate) fn is_key(&self) -> bool {
        !self.flags.contains(gst::BufferFlags::DELTA_UNIT)
    }
}

/// Everything that passes a pad, collected by a probe from its creation on.
#[derive(Clone)]
pub(crate) struct Packets(Arc<Shared>);

#[derive(Default)]
struct Shared {
    passed: Mutex<Passed>,
    changed: Condvar,
}

#[derive(Default)]
struct Passed {
    packets: Vec<Packet>,
    events: Vec<gst::Event>,
}

impl Passed {
    fn ended(&self) -> bool {
        let last = self.events.last();
        last.is_some_and(|event| event.type_() == gst::EventType::Eos)
    }
}

impl Packets {
    /// Collects the buffers and serialized events that pass `pad`.
    pub(crate) fn of(pad: &gst::Pad) -> Self {
        let packets = Self(Arc::default());
        packets.collect(pad);
        packets
    }

    /// Collects them from the first one on, of the pad of this name that `element` has or will add.
    pub(crate) fn of_pad(element: &gst::Element, name: &str) -> Self {
        let packets = Self(Arc::default());
        let (wanted, collector) = (name.to_owned(), Self(packets.0.clone()));
        let found = Arc::new(Once::new());
        let collect = move |pad: &gst::Pad| {
            if pad.name() == wanted {
                found.call_once(|| collector.collect(pad));
            }
        };
        let added = collect.clone();
        element.connect_pad_added(move |_, pad| added(pad));
        if let Some(pad) = element.static_pad(name) {
            collect(&pad);
        }
        packets
    }

    fn collect(&self, pad: &gst::Pad) {
        let collector = Arc::clone(&self.0);
        let types = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
        pad.add_probe(types, move |pad, info| {
            let mut passed = lock(&collector.passed);
            match &info.data {
                Some(gst::PadProbeData::Buffer(buffer)) => passed.packets.push(packet(pad, buffer)),
                Some(gst::PadProbeData::Event(event)) => passed.events.push(event.clone()),
                _ => (),
            }
            collector.changed.notify_all();
            gst::PadProbeReturn::Ok
        });
    }

    /// Collects what reaches the element's `sink` pad, an appsink's or a fakesink's.
    pub(crate) fn into_sink(element: &gst::Element) -> Self {
        let pad = element.static_pad("sink");
        Self::of(&pad.expect("a sink element has a pad named sink"))
    }

    /// What has passed so far.
    pub(crate) fn so_far(&self) -> Vec<Packet> {
        lock(&self.0.passed).packets.clone()
    }

    /// The serialized events so far.
    pub(crate) fn events(&self) -> Vec<gst::Event> {
        lock(&self.0.passed).events.clone()
    }

    /// How many have passed so far.
    pub(crate) fn count(&self) -> usize {
        lock(&self.0.passed).packets.len()
    }

    /// Waits for `count` packets and returns what has passed then.
    pub(crate) fn wait_count(&self, count: usize, deadline: Duration) -> Vec<Packet> {
        let claim = format!("{count} packets pass the pad");
        self.wait(&claim, deadline, |passed| passed.packets.len() >= count)
    }

    /// Waits for EOS and returns everything that passed before it.
    pub(crate) fn wait_eos(&self, deadline: Duration) -> Vec<Packet> {
        self.wait("EOS passes the pad", deadline, Passed::ended)
    }

    /// Waits for a serialized event of the sort.
    pub(crate) fn wait_event(
        &self,
        claim: &str,
        deadline: Duration,
        wanted: impl Fn(&gst::Event) -> bool,
    ) {
        self.wait(claim, deadline, |passed| passed.events.iter().any(&wanted));
    }

    /// Waits for caps of this media type.
    pub(crate) fn wait_caps(&self, media: &str, deadline: Duration) {
        let are = |event: &gst::Event| match event.view() {
            gst::EventView::Caps(caps) => {
                let first = caps.caps().structure(0);
                first.is_some_and(|structure| structure.name() == media)
            }
            _ => false,
        };
        let claim = format!("caps of {media} pass the pad");
        self.wait(&claim, deadline, |passed| passed.events.iter().any(are));
    }

    fn wait(
        &self,
        claim: &str,
        deadline: Duration,
        reached: impl Fn(&Passed) -> bool,
    ) -> Vec<Packet> {
        let end = Instant::now() + deadline;
        let mut passed = lock(&self.0.passed);
        while !reached(&passed) {
            let left = end.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "within {deadline:?} {claim}; {} packets and {} events did",
                passed.packets.len(),
                passed.events.len()
            );
            let waited = self.0.changed.wait_timeout(passed, left);
            passed = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        passed.packets.clone()
    }
}

fn packet(pad: &gst::Pad, buffer: &gst::Buffer) -> Packet {
    let bytes = buffer.map_readable().expect("a buffer maps for reading");
    Packet {
        pts: buffer.pts(),
        dts: buffer.dts(),
        duration: buffer.duration(),
        running_time: running_time(pad, buffer),
        flags: buffer.flags(),
        bytes: bytes.to_vec(),
    }
}

/// The buffer's PTS in the running time of the pad's segment.
fn running_time(pad: &gst::Pad, buffer: &gst::BufferRef) -> Option<gst::ClockTime> {
    let segment = pad.sticky_event::<gst::event::Segment>(0)?;
    let segment = segment.segment().downcast_ref::<gst::ClockTime>()?;
    segment.to_running_time(buffer.pts()?)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The payloads alone.
pub(crate) fn payloads(packets: &[Packet]) -> Vec<&[u8]> {
    packets.iter().map(|packet| &packet.bytes[..]).collect()
}

/// Bytes that are not text, no two lengths alike.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = length as u32 | 1;
    let next = || {
        // A linear congruential generator, of which the upper bits are good enough here.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// Claims that what came is what was sent, byte for byte.
pub(crate) fn same(claim: &str, sent: &[Packet], got: &[Packet]) {
    let (sent, got) = (payloads(sent), payloads(got));
    let same = sent
        .iter()
        .zip(&got)
        .take_while(|(one, other)| one == other);
    let same = same.count();
    assert!(
        sent == got,
        "{claim}: {same} are the same from the first on, of {} sent and {} that came",
        sent.len(),
        got.len()
    );
}
