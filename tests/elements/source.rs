// SPDX-License-Identifier: MIT
//! What `moqsrc` owes its pipeline and its application while no relay answers.

use gst::{ClockTime, prelude::*};
use gst_check::Harness;

use crate::common::pipeline::{
    DEADLINE, Running, describe, init, wait_message, wait_message_that, wait_property, watchdog,
};

const MS: ClockTime = ClockTime::MSECOND;

/// How long a state change may take that waits for nothing.
const STATE_CHANGE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(3);

/// A moqsrc whose relay is nowhere, in the harness, with a bus.
struct Source {
    element: gst::Element,
    bus: gst::Bus,
    _harness: Harness,
}

impl Source {
    fn new(properties: &str) -> Self {
        init();
        let line = format!("moqsrc url=http://127.0.0.1:9 broadcast=nowhere {properties}");
        let element = gst::parse::launch(&line).expect("the line parses");
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        let harness = Harness::with_element(&element, None, None);
        Self {
            element,
            bus,
            _harness: harness,
        }
    }

    fn set(&self, state: gst::State) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        watchdog("a state change", STATE_CHANGE_TIMEOUT, || {
            self.element.set_state(state)
        })
    }

    fn latency(&self) -> (bool, ClockTime, Option<ClockTime>) {
        let mut query = gst::query::Latency::new();
        assert!(self.element.query(&mut query));
        query.result()
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        // A failed change to NULL leaves nothing that a test could do about it.
        let _ = self.element.set_state(gst::State::Null);
    }
}

fn error_of(bus: &gst::Bus) -> (gst::glib::Error, String) {
    let message = bus
        .timed_pop_filtered(ClockTime::from_seconds(30), &[gst::MessageType::Error])
        .expect("an error is posted");
    let gst::MessageView::Error(error) = message.view() else {
        unreachable!("only errors were asked for")
    };
    (error.error(), describe(&message))
}

#[test]
fn a_live_source_has_no_preroll_and_no_pad_before_its_broadcast() {
    let source = Source::new("");
    let no_preroll = Ok(gst::StateChangeSuccess::NoPreroll);
    assert_eq!(source.set(gst::State::Paused), no_preroll);
    assert_eq!(
        source.set(gst::State::Playing),
        Ok(gst::StateChangeSuccess::Success)
    );
    assert_eq!(source.set(gst::State::Paused), no_preroll);
    assert_eq!(source.element.num_src_pads(), 0);
    assert_eq!(
        source.set(gst::State::Null),
        Ok(gst::StateChangeSuccess::Success)
    );
}

#[test]
fn the_latency_is_what_the_property_says_also_while_playing() {
    let source = Source::new("latency=250");
    source.set(gst::State::Playing).expect("it plays");
    assert_eq!(source.latency(), (true, 250 * MS, None));
    source.element.set_property("latency", 400_u32);
    wait_message(&source.bus, &[gst::MessageType::Latency], DEADLINE);
    assert_eq!(source.latency(), (true, 400 * MS, None));
}

#[test]
fn what_is_live_cannot_be_sought_and_has_no_duration() {
    let source = Source::new("");
    source.set(gst::State::Playing).expect("it plays");
    let mut seeking = gst::query::Seeking::new(gst::Format::Time);
    assert!(!source.element.query(&mut seeking) || !seeking.result().0);
    assert_eq!(source.element.query_duration::<ClockTime>(), None);
    let sought = source
        .element
        .seek_simple(gst::SeekFlags::FLUSH, ClockTime::ZERO);
    assert!(sought.is_err());
}

#[test]
fn the_events_of_a_stream_are_the_elements_own() {
    let source = Source::new("");
    source.set(gst::State::Playing).expect("it plays");
    let caps = gst::Caps::builder("video/x-h264").build();
    let segment = gst::FormattedSegment::<ClockTime>::new();
    for event in [
        gst::event::StreamStart::new("stream"),
        gst::event::Caps::new(&caps),
        gst::event::Segment::new(segment.as_ref()),
        gst::event::Gap::builder(ClockTime::ZERO).build(),
        gst::event::Reconfigure::new(),
    ] {
        let type_ = event.type_();
        assert!(!source.element.send_event(event), "{type_:?}");
    }
}

#[test]
fn without_a_pad_there_is_nobody_to_flush_or_to_tell_tags() {
    let source = Source::new("");
    source.set(gst::State::Playing).expect("it plays");
    for event in [
        gst::event::FlushStart::new(),
        gst::event::FlushStop::new(true),
        gst::event::Tag::new(gst::TagList::new()),
        gst::event::CustomDownstream::new(gst::Structure::new_empty("anything")),
    ] {
        let type_ = event.type_();
        assert!(!source.element.send_event(event), "{type_:?}");
    }
}

#[test]
fn eos_is_taken_in_a_run_alone() {
    let source = Source::new("");
    assert!(!source.element.send_event(gst::event::Eos::new()));
    source.set(gst::State::Paused).expect("it pauses");
    assert!(source.element.send_event(gst::event::Eos::new()));
}

#[test]
fn ending_before_anything_was_found_is_an_error_that_says_so() {
    let source = Source::new("");
    source.set(gst::State::Playing).expect("it plays");
    assert!(source.element.send_event(gst::event::Eos::new()));
    let (error, text) = error_of(&source.bus);
    assert!(error.matches(gst::ResourceError::NotFound), "{text}");
}

#[test]
fn a_dial_that_was_begun_is_ended_by_a_stop() {
    let source = Source::new("");
    source.set(gst::State::Paused).expect("it pauses");
    let kind = |message: &gst::Message| match message.view() {
        gst::MessageView::Progress(progress) => Some(progress.get().0),
        _ => None,
    };
    let begun = wait_message_that(&source.bus, DEADLINE, |message| kind(message).is_some());
    assert_eq!(
        begun.as_ref().and_then(kind),
        Some(gst::ProgressType::Start)
    );
    source.set(gst::State::Ready).expect("READY");
    wait_property(&source.element, "connected", DEADLINE, |up: &bool| !up);
    let more = std::iter::from_fn(|| source.bus.pop_filtered(&[gst::MessageType::Progress]));
    let ends: Vec<_> = more.filter_map(|message| kind(&message)).collect();
    assert!(
        matches!(
            ends[..],
            [gst::ProgressType::Canceled | gst::ProgressType::Error]
        ),
        "{ends:?}"
    );
}

#[test]
fn wrong_settings_fail_the_state_change_with_one_clear_error() {
    init();
    for (properties, hint) in [
        ("broadcast=room", "\"url\""),
        ("url=https://relay.example", "\"broadcast\""),
        ("url=relay broadcast=room", "not a URL"),
        ("url=srt://relay broadcast=room", "use one of https"),
    ] {
        let pipeline = Running::launch(&format!("moqsrc {properties} ! fakesink"));
        assert!(pipeline.set_state(gst::State::Playing).is_err());
        let (error, text) = error_of(&pipeline.bus());
        assert!(error.matches(gst::ResourceError::Settings), "{text}");
        assert!(text.contains(hint), "{text}");
    }
}
