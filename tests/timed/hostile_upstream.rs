// SPDX-License-Identifier: MIT
//! Upstreams that mean harm: absurd times, storms of events, and many threads at once.

use std::{
    thread,
    time::{Duration, Instant},
};

use gst::prelude::*;

use crate::common::{
    self, Feeder, Relay, Viewer,
    pipeline::{DEADLINE, describe},
    unique_broadcast,
};

/// An Opus packet of 20 ms of silence.
const SILENCE: [u8; 3] = [0xf8, 0xff, 0xfe];
/// How many frames follow what was absurd.
const MORE: u32 = 25;

/// A keyframe of a live upstream now.
fn push_now(feeder: &Feeder, number: u32) {
    feeder.push(feeder.now(), true, 100, number);
}

#[test]
fn an_upstream_of_absurd_times_loses_those_frames_alone() {
    common::init();
    let relay = Relay::start().expect("a relay");
    let broadcast = unique_broadcast("upstream");
    let viewer = Viewer::start(&relay.url(), &broadcast);
    let feeder = Feeder::start(&relay.url(), &broadcast, true);
    push_now(&feeder, 0);
    viewer.wait("the first frame", DEADLINE, |seen| seen.count("video") == 1);
    let year = gst::ClockTime::from_seconds(365 * 86_400);
    for number in 0..200 {
        for absurd in [
            gst::ClockTime::MAX,
            year,
            year * 30,
            year * 500,
            gst::ClockTime::ZERO,
        ] {
            feeder.push(absurd, number % 2 == 0, 100, 7777);
        }
    }
    let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
    segment.set_base(gst::ClockTime::MAX);
    feeder.send(gst::event::Segment::new(segment.as_ref()));
    push_now(&feeder, 7777);
    feeder.segment();
    for number in 1..=MORE {
        push_now(&feeder, number);
        thread::sleep(Duration::from_millis(10));
    }
    let seen = viewer.wait("the stream goes on", DEADLINE, |seen| {
        let frames = seen.frames("video");
        frames
            .iter()
            .any(|frame| common::feeder::number(&frame.payload) == MORE)
    });
    let late = seen
        .frames("video")
        .into_iter()
        .map(|frame| frame.timestamp)
        .max();
    assert!(late < Some(600_000_000), "{late:?} us");
    let bus = feeder.running.bus();
    let messages = std::iter::from_fn(|| bus.pop()).filter(|message| {
        assert_ne!(
            message.type_(),
            gst::MessageType::Error,
            "{}",
            describe(message)
        );
        message.type_() == gst::MessageType::Warning
    });
    assert!(messages.count() <= 4, "one for each cause");
}

#[test]
fn storms_of_tags_and_caps_become_few_catalogs() {
    common::init();
    let relay = Relay::start().expect("a relay");
    let broadcast = unique_broadcast("tags");
    let viewer = Viewer::start(&relay.url(), &broadcast);
    let feeder = Feeder::start(&relay.url(), &broadcast, true);
    push_now(&feeder, 0);
    viewer.wait("the first frame", DEADLINE, |seen| seen.count("video") == 1);
    let begun = Instant::now();
    for number in 0..100_000 {
        let mut tags = gst::TagList::new();
        let list = tags.get_mut().expect("a list of its own");
        let title = format!("title {number}");
        list.add::<gst::tags::Title>(&title.as_str(), gst::TagMergeMode::Replace);
        feeder.send(gst::event::Tag::new(tags));
    }
    viewer.wait("the last title", DEADLINE, |seen| {
        let mut labels = seen
            .catalog()
            .video
            .renditions
            .into_values()
            .filter_map(|v| v.label);
        labels.any(|label| label == "title 99999")
    });
    for number in 0..100_000 {
        feeder.caps(match number % 2 {
            0 => "audio/x-opus, rate=48000, channels=2, channel-mapping-family=0",
            _ => "audio/x-ac3, framed=true, rate=48000, channels=2, alignment=frame",
        });
    }
    feeder.caps("audio/x-opus, rate=48000, channels=2, channel-mapping-family=0");
    feeder.push_raw(feeder.now(), true, SILENCE.to_vec());
    let seen = viewer.wait("audio follows", DEADLINE, |seen| {
        !seen.catalog().audio.renditions.is_empty()
    });
    let most = 10 + 5 * begun.elapsed().as_secs() as usize;
    assert!(
        seen.catalogs.len() < most,
        "{} catalogs",
        seen.catalogs.len()
    );
}

#[test]
fn buffers_and_caps_from_many_threads_are_taken_one_by_one() {
    common::init();
    let relay = Relay::start().expect("a relay");
    let broadcast = unique_broadcast("threads");
    let viewer = Viewer::start(&relay.url(), &broadcast);
    let feeder = Feeder::start(&relay.url(), &broadcast, true);
    let caps = feeder.sink.current_caps().expect("caps").to_string();
    thread::scope(|scope| {
        for thread in 0..4 {
            let (feeder, caps) = (&feeder, &caps);
            scope.spawn(move || {
                for number in 0..500 {
                    push_now(feeder, number);
                    if thread == 0 && number % 50 == 0 {
                        feeder
                            .caps("audio/x-opus, rate=48000, channels=2, channel-mapping-family=0");
                        feeder.caps(caps);
                    }
                }
            });
        }
    });
    push_now(&feeder, 4242);
    viewer.wait("the stream goes on", DEADLINE, |seen| {
        let frames = seen.tracks.keys().flat_map(|track| seen.frames(track));
        frames
            .into_iter()
            .any(|frame| frame.payload.len() > 10 && common::feeder::number(&frame.payload) == 4242)
    });
}
