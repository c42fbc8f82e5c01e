// SPDX-License-Identifier: MIT
//! A source pad in the test's own hands, for streams that no encoder makes.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use gst::prelude::*;

use super::{
    Running, init,
    pipeline::{DEADLINE, wait_until},
};

const AVCC: &str = "014d401fffe10017674d401fda014016ec0440000003004000000c83c60ca801000468ef3c80";

/// A moqsink in a pipeline of its own, fed by hand.
pub(crate) struct Feeder {
    pub(crate) running: Running,
    /// The sink's pad.
    pub(crate) sink: gst::Pad,
    pad: gst::Pad,
    requests: Arc<AtomicUsize>,
}

impl Feeder {
    /// Plays a pipeline of one moqsink, whose `sink_0` takes H.264 from here.
    ///
    /// What comes from here is not paced by the clock.
    pub(crate) fn start(url: &str, broadcast: &str, live: bool) -> Self {
        Self::with(url, broadcast, live, &[])
    }

    /// The same with other properties of the sink.
    pub(crate) fn with(url: &str, broadcast: &str, live: bool, more: &[(&str, u32)]) -> Self {
        init();
        let element = gst::ElementFactory::make("moqsink")
            .name("moq")
            .property("url", url)
            .property("broadcast", broadcast)
            .property("tls-disable-verify", true)
            .property("sync", false)
            .build()
            .expect("a sink");
        for (name, value) in more {
            element.set_property(name, value);
        }
        let pipeline = gst::Pipeline::new();
        pipeline.add(&element).expect("an empty pipeline");
        let sink = element.request_pad_simple("sink_0").expect("a pad");
        let running = Running::new(pipeline);
        let requests = Arc::new(AtomicUsize::new(0));
        let pad = source(live, requests.clone());
        pad.set_active(true).expect("a pad activates");
        pad.link(&sink).expect("the pads link");
        running.start();
        let this = Self {
            running,
            sink,
            pad,
            requests,
        };
        this.begin();
        this
    }

    /// Begins a stream of H.264.
    pub(crate) fn begin(&self) {
        self.send(gst::event::StreamStart::new("fed"));
        self.caps(&format!(
            "video/x-h264, stream-format=avc, alignment=au, width=1280, height=720, \
             framerate=25/1, codec_data=(buffer){AVCC}"
        ));
        self.segment();
    }

    pub(crate) fn caps(&self, caps: &str) {
        let caps: gst::Caps = caps.parse().expect("caps");
        self.send(gst::event::Caps::new(&caps));
    }

    pub(crate) fn segment(&self) {
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        self.send(gst::event::Segment::new(segment.as_ref()));
    }

    pub(crate) fn send(&self, event: gst::Event) {
        assert!(self.pad.push_event(event), "the sink takes the event");
    }

    /// Pushes an access unit of `bytes` bytes at least, which carries `number` for its reader.
    pub(crate) fn push(&self, pts: gst::ClockTime, key: bool, bytes: usize, number: u32) {
        self.push_raw(pts, key, access_unit(key, bytes, number));
    }

    pub(crate) fn push_raw(&self, pts: gst::ClockTime, key: bool, payload: Vec<u8>) {
        let mut buffer = gst::Buffer::from_mut_slice(payload);
        let fields = buffer.get_mut().expect("a new buffer");
        fields.set_pts(pts);
        fields.set_dts(pts);
        if !key {
            fields.set_flags(gst::BufferFlags::DELTA_UNIT);
        }
        self.try_push(buffer).expect("the sink takes the frame");
    }

    /// Pushes a buffer, which the sink may refuse.
    pub(crate) fn try_push(&self, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        self.pad.push(buffer)
    }

    /// How many keyframes were asked for.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// Waits until `count` keyframes were asked for.
    pub(crate) fn wait_requests(&self, count: usize) {
        wait_until(
            &format!("{count} requests for a keyframe"),
            DEADLINE,
            || self.requests() >= count,
        );
    }

    /// The running time now, as live sources stamp.
    pub(crate) fn now(&self) -> gst::ClockTime {
        self.running.current_running_time().unwrap_or_default()
    }

    pub(crate) fn track_error(&self) -> Option<String> {
        self.sink.property("track-error")
    }
}

/// Length-prefixed H.264 of one slice.
pub(crate) fn access_unit(key: bool, bytes: usize, number: u32) -> Vec<u8> {
    let slice: &[u8] = if key { &[0x65, 0x88] } else { &[0x41, 0x9a] };
    let mut nal = slice.to_vec();
    nal.extend(number.to_be_bytes());
    nal.resize(nal.len().max(bytes), 0xff);
    let mut unit = (nal.len() as u32).to_be_bytes().to_vec();
    unit.extend(nal);
    unit
}

/// The number that [`access_unit`] was given.
pub(crate) fn number(unit: &[u8]) -> u32 {
    let bytes = unit.get(6..10).expect("a unit of ours");
    u32::from_be_bytes(bytes.try_into().expect("four bytes"))
}

fn source(live: bool, requests: Arc<AtomicUsize>) -> gst::Pad {
    gst::Pad::builder(gst::PadDirection::Src)
        .name("src")
        .event_function(move |_, _, event| {
            let asks = event
                .structure()
                .is_some_and(|s| s.name() == "GstForceKeyUnit");
            requests.fetch_add(usize::from(asks), Ordering::SeqCst);
            asks
        })
        .query_function(move |_, _, query| match query.view_mut() {
            gst::QueryViewMut::Latency(query) => {
                query.set(live, gst::ClockTime::ZERO, None);
                true
            }
            _ => false,
        })
        .build()
}
