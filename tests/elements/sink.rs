// SPDX-License-Identifier: MIT
//! What `moqsink` owes its upstream and its application while no relay answers: the test is upstream.

use std::{
    thread,
    time::{Duration, Instant},
};

use gst::{ClockTime, prelude::*};
use gst_check::{Harness, TestClock};

use crate::common::pipeline::{
    DEADLINE, Running, describe, init, wait_message, wait_property, wait_until,
};

const MS: ClockTime = ClockTime::MSECOND;

/// Caps of Opus, of which every packet is a keyframe.
const OPUS: &str = "audio/x-opus, rate=48000, channels=2, channel-mapping-family=0";
/// Caps of H.264 with its parameter sets in each keyframe.
const H264: &str = "video/x-h264, stream-format=byte-stream, alignment=au";
/// AAC without the configuration that a decoder needs.
const BROKEN_AAC: &str = "audio/mpeg, mpegversion=4, stream-format=raw, rate=48000, channels=2";

/// A moqsink in PLAYING whose relay is nowhere, with a bus, and a clock that stands still.
struct Sink {
    element: gst::Element,
    bus: gst::Bus,
    clock: TestClock,
}

impl Sink {
    /// With the properties of a launch line.
    fn new(properties: &str) -> Self {
        init();
        let line = format!("moqsink url=http://127.0.0.1:9 broadcast=nowhere {properties}");
        let element = gst::parse::launch(&line).expect("the line parses");
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        let clock = TestClock::new();
        Self {
            element,
            bus,
            clock,
        }
    }

    /// Takes the place of what is upstream of another pad of the playing element.
    fn upstream(&self, pad: &str, live: bool) -> Harness {
        // Before the harness gives it a clock and a state of its own.
        self.element.set_clock(Some(&self.clock)).expect("a clock");
        self.play();
        let sync: bool = self.element.property("sync");
        let mut upstream = Harness::with_element(&self.element, Some(pad), None);
        // The harness takes it away from every sink.
        self.element.set_property("sync", sync);
        upstream.set_live(live);
        upstream
    }

    /// Waits until somebody waits for this time of the clock.
    fn wait_clock(&self, time: ClockTime) {
        wait_until(&format!("a wait until {time}"), DEADLINE, || {
            let id = self.clock.peek_next_pending_id();
            id.is_some_and(|id| id.time() == time)
        });
    }

    /// Waits until the session has handled what pads sent before.
    fn wait_session(&self) {
        // A pad that is not linked takes no part in what is posted for all.
        let pad = self.element.request_pad_simple("sink_%u").expect("a pad");
        pad.send_event(gst::event::StreamStart::new("broken"));
        pad.send_event(gst::event::Caps::new(&caps(BROKEN_AAC)));
        wait_property(&pad, "track-error", DEADLINE, |error: &Option<String>| {
            error.is_some()
        });
        self.element.release_request_pad(&pad);
    }

    fn play(&self) {
        self.element
            .set_state(gst::State::Playing)
            .expect("it plays");
    }

    fn pause(&self) {
        self.element
            .set_state(gst::State::Paused)
            .expect("it pauses");
    }

    /// The messages of this type that were posted so far.
    fn posted(&self, type_: gst::MessageType) -> Vec<gst::Message> {
        std::iter::from_fn(|| self.bus.pop_filtered(&[type_])).collect()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // A failed change to NULL leaves nothing that a test could do about it.
        let _ = self.element.set_state(gst::State::Null);
    }
}

/// A packet of 20 ms.
fn packet(pts: ClockTime) -> gst::Buffer {
    let mut buffer = gst::Buffer::from_slice([0xfc, 0xff, 0xfe]);
    let fields = buffer.get_mut().expect("a new buffer");
    fields.set_pts(pts);
    fields.set_duration(20 * MS);
    buffer
}

fn delta(pts: ClockTime) -> gst::Buffer {
    let mut buffer = packet(pts);
    let fields = buffer.get_mut().expect("a new buffer");
    fields.set_flags(gst::BufferFlags::DELTA_UNIT);
    buffer
}

fn caps(text: &str) -> gst::Caps {
    text.parse().expect("caps")
}

fn segment() -> gst::Event {
    gst::event::Segment::new(gst::FormattedSegment::<ClockTime>::new().as_ref())
}

fn pad(upstream: &Harness) -> gst::Pad {
    let source = upstream.srcpad().expect("the harness has a source pad");
    source.peer().expect("it is linked")
}

fn count(upstream: &Harness, field: &str) -> u64 {
    let stats: gst::Structure = pad(upstream).property("stats");
    stats.get(field).expect("a count")
}

fn status(upstream: &Harness) -> String {
    let value = pad(upstream).property_value("track-status");
    let (_, value) = gst::glib::EnumValue::from_value(&value).expect("an enumeration");
    value.nick().to_owned()
}

fn keyframe_requests(upstream: &mut Harness) -> usize {
    std::iter::from_fn(|| upstream.try_pull_upstream_event())
        .filter(|event| {
            event
                .structure()
                .is_some_and(|s| s.name() == "GstForceKeyUnit")
        })
        .count()
}

#[test]
fn paused_is_reached_without_a_buffer_and_without_the_relay() {
    let sink = Sink::new("");
    sink.element.request_pad_simple("sink_0").expect("a pad");
    let paused = sink.element.set_state(gst::State::Paused);
    assert_eq!(paused, Ok(gst::StateChangeSuccess::Success));
}

#[test]
fn a_file_is_paced_by_the_clock() {
    let sink = Sink::new("");
    let mut upstream = sink.upstream("sink_0", false);
    upstream.set_src_caps(caps(OPUS));
    for number in 0..5 {
        let source = upstream.srcpad().expect("a pad");
        let pushed = thread::spawn(move || source.push(packet(20 * MS * number)));
        sink.wait_clock(20 * MS * number);
        assert!(!pushed.is_finished(), "it waits for its time");
        if let Some(before) = number.checked_sub(1) {
            let position = sink.element.query_position::<ClockTime>();
            assert_eq!(position, Some(20 * MS * before));
        }
        assert!(sink.clock.crank());
        assert_eq!(pushed.join().expect("no panic"), Ok(gst::FlowSuccess::Ok));
    }
}

#[test]
fn a_file_that_starts_late_holds_the_others_up_by_as_much() {
    let sink = Sink::new("");
    let mut upstreams = ["sink_0", "sink_1"].map(|pad| sink.upstream(pad, false));
    let [first, late] = upstreams.each_mut().map(|upstream| {
        upstream.set_src_caps(caps(OPUS));
        upstream.srcpad().expect("a pad")
    });
    let waiting = thread::spawn(move || first.push(packet(500 * MS)));
    sink.wait_clock(500 * MS);
    sink.clock.set_time(300 * MS);
    let started = thread::spawn(move || late.push(packet(ClockTime::ZERO)));
    sink.wait_clock(300 * MS);
    assert!(sink.clock.crank());
    assert_eq!(started.join().expect("no panic"), Ok(gst::FlowSuccess::Ok));
    assert!(sink.clock.crank());
    sink.wait_clock(800 * MS);
    assert!(!waiting.is_finished(), "what moved on with it leaves later");
    assert!(sink.clock.crank());
    assert_eq!(waiting.join().expect("no panic"), Ok(gst::FlowSuccess::Ok));
}

#[test]
fn without_sync_a_file_waits_for_no_clock() {
    let sink = Sink::new("sync=false");
    let mut upstream = sink.upstream("sink_0", false);
    upstream.set_src_caps(caps(OPUS));
    for number in 0..50 {
        assert_eq!(
            upstream.push(packet(20 * MS * number)),
            Ok(gst::FlowSuccess::Ok)
        );
    }
    assert_eq!(sink.clock.peek_id_count(), 0);
}

#[test]
fn live_input_waits_for_no_clock() {
    let sink = Sink::new("");
    let mut upstream = sink.upstream("sink_0", true);
    upstream.set_src_caps(caps(OPUS));
    for number in 0..50 {
        assert_eq!(
            upstream.push(packet(20 * MS * number)),
            Ok(gst::FlowSuccess::Ok)
        );
    }
    assert_eq!(sink.clock.peek_id_count(), 0);
}

#[test]
fn latency_is_that_of_the_slowest_live_pad_and_files_have_none() {
    let sink = Sink::new("");
    let mut upstreams = ["sink_0", "sink_1", "sink_2"].map(|pad| sink.upstream(pad, true));
    upstreams[2].set_live(false);
    let answer = || {
        let mut query = gst::query::Latency::new();
        assert!(sink.element.query(&mut query));
        let (live, min, _) = query.result();
        (live, min)
    };
    upstreams[0].set_upstream_latency(20 * MS);
    upstreams[1].set_upstream_latency(50 * MS);
    upstreams[2].set_upstream_latency(90 * MS);
    assert_eq!(answer(), (true, 50 * MS));
    upstreams[0].set_live(false);
    upstreams[1].set_live(false);
    assert_eq!(answer(), (false, ClockTime::ZERO));
}

#[test]
fn a_flush_lets_a_waiting_buffer_go_and_the_stream_goes_on() {
    let sink = Sink::new("");
    let mut upstream = sink.upstream("sink_0", false);
    upstream.set_src_caps(caps(OPUS));
    let source = upstream.srcpad().expect("a pad");
    let push = |pts| {
        let source = source.clone();
        thread::spawn(move || source.push(packet(pts)))
    };
    let waiting = push(ClockTime::SECOND);
    sink.wait_clock(ClockTime::SECOND);
    assert!(source.push_event(gst::event::FlushStart::new()));
    let let_go = waiting.join().expect("no panic");
    assert_eq!(let_go, Err(gst::FlowError::Flushing));
    let refused = pad(&upstream).chain(packet(ClockTime::ZERO));
    assert_eq!(refused, Err(gst::FlowError::Flushing));
    assert!(source.push_event(gst::event::FlushStop::new(false)));
    assert!(source.push_event(segment()));
    let next = push(2 * ClockTime::SECOND);
    wait_until("the next one waits", DEADLINE, || {
        sink.clock.peek_next_pending_id().is_some()
    });
    assert!(sink.clock.crank());
    assert_eq!(next.join().expect("no panic"), Ok(gst::FlowSuccess::Ok));
}

#[test]
fn a_flush_that_resets_time_is_posted_as_such() {
    let sink = Sink::new("");
    let mut upstream = sink.upstream("sink_0", true);
    upstream.set_src_caps(caps(OPUS));
    for (resets, posted) in [(false, 0), (true, 1)] {
        assert!(upstream.push_event(gst::event::FlushStart::new()));
        assert!(upstream.push_event(gst::event::FlushStop::new(resets)));
        let messages = sink.posted(gst::MessageType::ResetTime);
        assert_eq!(messages.len(), posted, "reset_time {resets}");
    }
}

#[test]
fn after_eos_a_pad_takes_nothing_until_it_is_flushed() {
    let sink = Sink::new("");
    let mut upstream = sink.upstream("sink_0", true);
    upstream.set_src_caps(caps(OPUS));
    assert_eq!(
        upstream.push(packet(ClockTime::ZERO)),
        Ok(gst::FlowSuccess::Ok)
    );
    assert!(upstream.push_event(gst::event::Eos::new()));
    assert_eq!(upstream.push(packet(20 * MS)), Err(gst::FlowError::Eos));
    assert!(upstream.push_event(gst::event::FlushStart::new()));
    assert!(upstream.push_event(gst::event::FlushStop::new(true)));
    assert!(upstream.push_event(segment()));
    assert_eq!(
        upstream.push(packet(ClockTime::ZERO)),
        Ok(gst::FlowSuccess::Ok)
    );
}

#[test]
fn stream_start_is_posted_once_when_every_linked_pad_has_begun() {
    let sink = Sink::new("");
    let request = |name| sink.element.request_pad_simple(name).expect("a pad");
    request("sink_2");
    let late = gst::Pad::new(gst::PadDirection::Src);
    late.set_active(true).expect("a pad activates");
    late.link(&request("sink_1")).expect("the pads link");
    let mut upstream = sink.upstream("sink_0", true);
    let group = gst::GroupId::next();
    let start = |name| {
        let start = gst::event::StreamStart::builder(name);
        start.group_id(group).build()
    };
    assert!(upstream.push_event(start("first")));
    assert_eq!(sink.posted(gst::MessageType::StreamStart).len(), 0);
    assert!(late.push_event(start("second")));
    let posted = sink.posted(gst::MessageType::StreamStart);
    let [message] = &posted[..] else {
        panic!("one message: {posted:?}")
    };
    let gst::MessageView::StreamStart(start) = message.view() else {
        unreachable!("only that was asked for")
    };
    assert_eq!(start.group_id(), Some(group));
}

#[test]
fn eos_is_posted_once_when_every_linked_pad_has_ended() {
    let sink = Sink::new("drain-timeout=0");
    let mut upstreams = ["sink_0", "sink_1"].map(|pad| sink.upstream(pad, true));
    for upstream in &mut upstreams {
        upstream.set_src_caps(caps(OPUS));
        assert_eq!(
            upstream.push(packet(ClockTime::ZERO)),
            Ok(gst::FlowSuccess::Ok)
        );
    }
    let seqnum = gst::Seqnum::next();
    let end = || gst::event::Eos::builder().seqnum(seqnum).build();
    assert!(upstreams[0].push_event(end()));
    sink.wait_session();
    assert_eq!(sink.posted(gst::MessageType::Eos).len(), 0);
    assert!(upstreams[1].push_event(end()));
    let message = wait_message(&sink.bus, &[gst::MessageType::Eos], DEADLINE);
    assert_eq!(message.seqnum(), seqnum);
    sink.wait_session();
    assert_eq!(sink.posted(gst::MessageType::Eos).len(), 0, "it comes once");
}

#[test]
fn eos_that_comes_in_paused_is_posted_in_playing() {
    let sink = Sink::new("drain-timeout=0");
    let mut upstream = sink.upstream("sink_0", true);
    upstream.set_src_caps(caps(OPUS));
    sink.pause();
    assert!(upstream.push_event(gst::event::Eos::new()));
    sink.wait_session();
    assert_eq!(sink.posted(gst::MessageType::Eos).len(), 0, "not in PAUSED");
    sink.play();
    wait_message(&sink.bus, &[gst::MessageType::Eos], DEADLINE);
}

#[test]
fn a_segment_that_is_done_is_posted_with_its_seqnum() {
    let sink = Sink::new("");
    let mut upstreams = ["sink_0", "sink_1"].map(|pad| sink.upstream(pad, true));
    let mut played = gst::FormattedSegment::<ClockTime>::new();
    played.set_flags(gst::SegmentFlags::SEGMENT);
    for upstream in &mut upstreams {
        upstream.set_src_caps(caps(OPUS));
        assert!(upstream.push_event(gst::event::Segment::new(played.as_ref())));
    }
    assert!(upstreams[0].push_event(gst::event::SegmentDone::new(500 * MS)));
    assert_eq!(sink.posted(gst::MessageType::SegmentDone).len(), 0);
    let done = gst::event::SegmentDone::new(600 * MS);
    let seqnum = done.seqnum();
    assert!(upstreams[1].push_event(done));
    let posted = sink.posted(gst::MessageType::SegmentDone);
    assert_eq!(
        posted.iter().map(|done| done.seqnum()).collect::<Vec<_>>(),
        [seqnum]
    );
}

#[test]
fn a_seek_goes_with_one_seqnum_to_every_pad() {
    let sink = Sink::new("");
    let mut upstreams = ["sink_0", "sink_1"].map(|pad| sink.upstream(pad, false));
    for upstream in &mut upstreams {
        upstream.set_src_caps(caps(OPUS));
        while upstream.try_pull_upstream_event().is_some() {}
    }
    let seek = gst::event::Seek::new(
        1.0,
        gst::SeekFlags::FLUSH,
        gst::SeekType::Set,
        ClockTime::from_seconds(4),
        gst::SeekType::None,
        ClockTime::NONE,
    );
    let seqnum = seek.seqnum();
    assert!(sink.element.send_event(seek));
    for upstream in &mut upstreams {
        let events = std::iter::from_fn(|| upstream.try_pull_upstream_event());
        let seeks: Vec<_> = events
            .filter(|event| event.type_() == gst::EventType::Seek)
            .map(|event| event.seqnum())
            .collect();
        assert_eq!(seeks, [seqnum]);
    }
}

#[test]
fn an_event_that_goes_downstream_has_nowhere_to_go() {
    let sink = Sink::new("");
    let upstream = sink.upstream("sink_0", true);
    let before = upstream.upstream_events_received();
    assert!(!sink.element.send_event(gst::event::Eos::new()));
    assert!(!sink.element.send_event(segment()));
    assert_eq!(upstream.upstream_events_received(), before);
}

#[test]
fn the_container_says_which_caps_a_pad_takes() {
    let sink = Sink::new("");
    let upstream = sink.upstream("sink_0", true);
    let (pad, klv) = (pad(&upstream), caps("meta/x-klv, parsed=true"));
    assert!(pad.query_caps(None).can_intersect(&klv));
    pad.set_property_from_str("container", "cmaf");
    let answer = pad.query_caps(None);
    assert!(!answer.can_intersect(&klv), "{answer}");
    assert!(answer.can_intersect(&caps(OPUS)), "{answer}");
    // What the container has no room for ends in a warning that says so, not in silence.
    assert!(pad.query_accept_caps(&klv));
    assert!(!pad.query_accept_caps(&caps("video/x-raw")));
}

#[test]
fn caps_that_the_container_has_no_room_for_are_not_negotiated() {
    let sink = Sink::new("");
    let mut upstream = sink.upstream("sink_0", true);
    pad(&upstream).set_property_from_str("container", "cmaf");
    upstream.set_src_caps(caps("meta/x-klv, parsed=true"));
    assert_eq!(
        upstream.push(packet(ClockTime::ZERO)),
        Err(gst::FlowError::NotNegotiated)
    );
    let warning = wait_message(&sink.bus, &[gst::MessageType::Warning], DEADLINE);
    let text = describe(&warning);
    assert!(text.contains("container"), "{text}");
}

#[test]
fn broken_caps_stop_one_pad_which_drops_until_its_next_caps() {
    let sink = Sink::new("");
    let mut upstreams = ["sink_0", "sink_1"].map(|pad| sink.upstream(pad, true));
    let [broken, other] = &mut upstreams;
    other.set_src_caps(caps(OPUS));
    broken.set_src_caps(caps(BROKEN_AAC));
    wait_until("the pad fails", DEADLINE, || status(broken) == "failed");
    wait_message(&sink.bus, &[gst::MessageType::Warning], DEADLINE);
    assert!(
        pad(broken)
            .property::<Option<String>>("track-error")
            .is_some()
    );
    for number in 0..3 {
        assert_eq!(
            broken.push(packet(20 * MS * number)),
            Ok(gst::FlowSuccess::Ok)
        );
        assert_eq!(
            other.push(packet(20 * MS * number)),
            Ok(gst::FlowSuccess::Ok)
        );
    }
    assert_ne!(status(other), "failed");
    broken.set_src_caps(caps(OPUS));
    wait_property(
        &pad(broken),
        "track-error",
        DEADLINE,
        |error: &Option<String>| error.is_none(),
    );
    assert_ne!(status(broken), "failed");
}

#[test]
fn video_without_a_keyframe_is_counted_and_a_keyframe_is_requested_once() {
    let sink = Sink::new("");
    let mut upstream = sink.upstream("sink_0", true);
    upstream.set_src_caps(caps(H264));
    keyframe_requests(&mut upstream);
    let begun = Instant::now();
    for number in 0..10 {
        assert_eq!(
            upstream.push(delta(40 * MS * number)),
            Ok(gst::FlowSuccess::Ok)
        );
    }
    assert_eq!(count(&upstream, "dropped-no-keyframe"), 10);
    let requests = keyframe_requests(&mut upstream);
    let most = 1 + (begun.elapsed().as_millis() / 500) as usize;
    assert!((1..=most).contains(&requests), "{requests} requests");
}

#[test]
fn audio_needs_no_keyframe() {
    let sink = Sink::new("");
    let mut upstream = sink.upstream("sink_0", true);
    upstream.set_src_caps(caps(OPUS));
    for number in 0..10 {
        assert_eq!(
            upstream.push(delta(20 * MS * number)),
            Ok(gst::FlowSuccess::Ok)
        );
    }
    assert_eq!(count(&upstream, "dropped-no-keyframe"), 0);
    assert_eq!(keyframe_requests(&mut upstream), 0);
}

#[test]
fn a_first_buffer_without_a_time_is_dropped_and_counted() {
    let sink = Sink::new("");
    let mut upstream = sink.upstream("sink_0", true);
    upstream.set_src_caps(caps(OPUS));
    let timeless = gst::Buffer::from_slice([0xfc, 0xff, 0xfe]);
    assert_eq!(upstream.push(timeless), Ok(gst::FlowSuccess::Ok));
    assert_eq!(count(&upstream, "dropped-no-timestamp"), 1);
    assert_eq!(
        upstream.push(packet(ClockTime::ZERO)),
        Ok(gst::FlowSuccess::Ok)
    );
    assert_eq!(count(&upstream, "dropped-no-timestamp"), 1);
}

#[test]
fn position_is_stream_time_and_gaps_move_it() {
    let sink = Sink::new("sync=false");
    let mut upstream = sink.upstream("sink_0", true);
    upstream.set_src_caps(caps(OPUS));
    let mut later = gst::FormattedSegment::<ClockTime>::new();
    later.set_start(ClockTime::from_seconds(10));
    later.set_time(ClockTime::from_seconds(70));
    assert!(upstream.push_event(gst::event::Segment::new(later.as_ref())));
    assert_eq!(
        upstream.push(packet(ClockTime::from_seconds(11))),
        Ok(gst::FlowSuccess::Ok)
    );
    let position = || sink.element.query_position::<ClockTime>();
    assert_eq!(position(), Some(ClockTime::from_seconds(71)));
    let gap = gst::event::Gap::builder(ClockTime::from_seconds(12)).duration(500 * MS);
    assert!(upstream.push_event(gap.build()));
    assert_eq!(position(), Some(72_500 * MS));
}

#[test]
fn a_pad_outside_of_a_run_is_flushing() {
    let sink = Sink::new("");
    let mut upstream = sink.upstream("sink_0", true);
    upstream.set_src_caps(caps(OPUS));
    assert_eq!(
        upstream.push(packet(ClockTime::ZERO)),
        Ok(gst::FlowSuccess::Ok)
    );
    sink.element.set_state(gst::State::Ready).expect("READY");
    assert_eq!(
        upstream.push(packet(20 * MS)),
        Err(gst::FlowError::Flushing)
    );
    sink.play();
    upstream.set_src_caps(caps(OPUS));
    assert_eq!(upstream.push(packet(40 * MS)), Ok(gst::FlowSuccess::Ok));
}

#[test]
fn only_an_error_of_the_element_is_an_error_of_the_flow() {
    let sink = Sink::new("reconnect-timeout=1 reconnect-min-delay=10 reconnect-max-delay=10");
    let mut upstream = sink.upstream("sink_0", true);
    upstream.set_src_caps(caps(OPUS));
    let error = sink
        .bus
        .timed_pop_filtered(ClockTime::from_seconds(30), &[gst::MessageType::Error]);
    assert!(error.is_some(), "it gives up");
    let end = Instant::now() + DEADLINE;
    let mut number = 0;
    let refused = loop {
        match upstream.push(packet(20 * MS * number)) {
            Ok(_) => assert!(Instant::now() < end, "a push is refused"),
            Err(error) => break error,
        }
        number += 1;
        // The refusal follows the message from another thread, and nothing reports it.
        thread::sleep(Duration::from_millis(2));
    };
    assert_eq!(refused, gst::FlowError::Error);
}

#[test]
fn a_missing_setting_is_an_error_message_and_a_failed_state_change() {
    init();
    for (properties, hint) in [
        ("broadcast=room", "url"),
        ("url=https://relay.example", "broadcast"),
        ("url=ftp://relay.example broadcast=room", "scheme"),
    ] {
        let pipeline = Running::launch(&format!(
            "fakesrc ! queue ! fakesink moqsink name=moq {properties}"
        ));
        assert!(
            pipeline.set_state(gst::State::Paused).is_err(),
            "{properties}"
        );
        let message = pipeline
            .bus()
            .timed_pop_filtered(ClockTime::from_seconds(10), &[gst::MessageType::Error])
            .expect("an error message");
        let gst::MessageView::Error(error) = message.view() else {
            unreachable!("only errors were asked for")
        };
        assert!(error.error().matches(gst::ResourceError::Settings));
        assert!(
            error.error().to_string().contains(hint),
            "{}",
            error.error()
        );
    }
}

#[test]
fn pads_are_named_requested_and_configured_as_users_expect() {
    init();
    let pipeline = Running::launch(
        "moqsink name=moq url=https://relay.example broadcast=x sink_0::track=camera \
         videotestsrc ! x264enc ! moq.sink_0",
    );
    let sink = pipeline.element("moq");
    let pad = sink.static_pad("sink_0").expect("a pad");
    assert_eq!(
        pad.property::<Option<String>>("track").as_deref(),
        Some("camera")
    );

    let fifth = sink.request_pad_simple("sink_5").expect("a free name");
    assert_eq!(fifth.name(), "sink_5");
    let next = sink.request_pad_simple("sink_%u").expect("a pad");
    assert_eq!(next.name(), "sink_1");
    sink.release_request_pad(&fifth);
    assert!(sink.static_pad("sink_5").is_none());
}

#[test]
fn a_secret_in_the_url_does_not_read_back() {
    init();
    let sink = gst::ElementFactory::make("moqsink")
        .property("url", "https://relay.example/room?jwt=secret")
        .property("token", "other")
        .build()
        .expect("moqsink");
    assert_eq!(sink.property::<String>("url"), "https://relay.example/room");
}
