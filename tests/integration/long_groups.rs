// SPDX-License-Identifier: MIT
//! Groups without end, and frames that nobody could decode: what a sink asks for, and what it drops.

use std::time::Instant;

use gst::prelude::*;

use crate::common::{
    self, Feeder, Packet, Packets, Relay, Running, Viewer, feeder,
    media::{self, moqsrc},
    pipeline::{DEADLINE, describe, wait_pad, wait_property, wait_until},
    unique_broadcast,
};

/// The frames of a long stream, and those that one group holds at most.
const FRAMES: u32 = 20_000;
const GROUP: u32 = 8_000;
/// Live frames that come at once.
const BURST: u32 = 500;

fn millis(number: u32) -> gst::ClockTime {
    gst::ClockTime::from_mseconds(number.into())
}

/// The time of a frame of a long stream: all of them are younger than what caches give up.
fn tick(number: u32) -> gst::ClockTime {
    gst::ClockTime::from_useconds(u64::from(number) * 200)
}

/// Pushes the frames `numbers`; each keyframe that was asked for is the next frame.
fn push_answering(feeder: &Feeder, numbers: std::ops::Range<u32>) {
    let mut answered = feeder.requests();
    for number in numbers {
        let asked = feeder.requests();
        feeder.push(tick(number), number == 0 || asked > answered, 20, number);
        answered = asked;
    }
}

fn numbers(seen: &common::viewer::Seen) -> Vec<u32> {
    let frames = seen.frames("video");
    let numbers = frames.iter().map(|frame| feeder::number(&frame.payload));
    numbers.collect()
}

/// Has every reason to ask for a keyframe count at once, and the age of a group for none.
fn ask_at_once(feeder: &Feeder) {
    feeder
        .sink
        .set_property("min-force-key-unit-interval", 0_u64);
    feeder.sink.set_property("key-unit-age", 0_u32);
}

/// The warnings that were posted so far.
fn warnings(running: &Running) -> Vec<String> {
    let bus = running.bus();
    std::iter::from_fn(|| bus.pop_filtered(&[gst::MessageType::Warning]))
        .map(|message| describe(&message))
        .collect()
}

#[test]
fn an_encoder_that_answers_loses_nothing() {
    common::init();
    let relay = Relay::start().expect("a relay");
    let broadcast = unique_broadcast("answers");
    let viewer = Viewer::start(&relay.url(), &broadcast);
    let feeder = Feeder::start(&relay.url(), &broadcast, false);
    ask_at_once(&feeder);
    push_answering(&feeder, 0..1);
    viewer.wait("the first frame", DEADLINE, |seen| seen.count("video") == 1);
    push_answering(&feeder, 1..FRAMES);
    let seen = viewer.wait("all frames", DEADLINE, |seen| {
        seen.count("video") == FRAMES as usize
    });
    assert!(numbers(&seen).into_iter().eq(0..FRAMES), "in order");
    assert_eq!(feeder.requests(), 5, "one for each half of a group");
    assert_eq!(warnings(&feeder.running), [""; 0]);
    assert_eq!(feeder.track_error(), None);
}

#[test]
fn an_encoder_that_does_not_answer_is_dropped_up_to_its_next_keyframe() {
    common::init();
    let relay = Relay::start().expect("a relay");
    let broadcast = unique_broadcast("silent");
    let viewer = Viewer::start(&relay.url(), &broadcast);
    let feeder = Feeder::start(&relay.url(), &broadcast, false);
    ask_at_once(&feeder);
    for number in 0..FRAMES {
        feeder.push(tick(number), number == 0, 20, number);
        let asked = match number + 1 {
            ..4000 => 0,
            4000..6000 => 1,
            6000..GROUP => 2,
            _ => continue,
        };
        assert_eq!(feeder.requests(), asked, "after {} frames", number + 1);
    }
    let error = wait_property(
        &feeder.sink,
        "track-error",
        DEADLINE,
        |error: &Option<String>| error.is_some(),
    );
    assert!(error.is_some_and(|error| error.contains("without a keyframe")));
    feeder.wait_requests(3);

    for number in FRAMES..FRAMES + 5 {
        feeder.push(tick(number), number == FRAMES, 20, number);
    }
    let seen = viewer.wait("the stream goes on", DEADLINE, |seen| {
        seen.count("video") >= GROUP as usize + 5
    });
    let expected = (0..GROUP).chain(FRAMES..FRAMES + 5);
    assert!(numbers(&seen).into_iter().eq(expected));
    wait_property(
        &feeder.sink,
        "track-error",
        DEADLINE,
        |error: &Option<String>| error.is_none(),
    );
    let warnings = warnings(&feeder.running);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
}

#[test]
fn a_real_encoder_without_keyframes_of_its_own_makes_those_that_are_asked_for() {
    const PICTURES: usize = 9_000;
    common::init();
    let relay = Relay::start().expect("a relay");
    let broadcast = unique_broadcast("endless");
    let viewer = Viewer::start(&relay.url(), &broadcast);
    let publisher = Running::launch(&format!(
        "videotestsrc num-buffers={PICTURES} pattern=ball ! \
         video/x-raw,width=32,height=32,framerate=4000/1 ! \
         x264enc tune=zerolatency speed-preset=ultrafast key-int-max=1000000 \
         option-string=scenecut=0 ! h264parse ! moq.sink_0 {} sync=false",
        media::moqsink(&relay.url(), &broadcast)
    ));
    let pad = wait_pad(&publisher.element("moq"), "sink_0", DEADLINE);
    let sent = Packets::of(&pad);
    publisher.start();
    let seen = viewer.wait("all frames", DEADLINE, |seen| {
        seen.count("video") == PICTURES
    });
    let groups = seen.tracks["video"].values().map(Vec::len);
    let keys = sent
        .so_far()
        .iter()
        .filter(|packet| packet.is_key())
        .count();
    assert_eq!(groups.len(), keys);
    assert!(keys >= 2 && groups.max() < Some(GROUP as usize));
    assert_eq!(warnings(&publisher), [""; 0]);
}

#[test]
fn bytes_count_as_frames_do() {
    common::init();
    let relay = Relay::start().expect("a relay");
    let broadcast = unique_broadcast("bytes");
    let feeder = Feeder::start(&relay.url(), &broadcast, false);
    ask_at_once(&feeder);
    let asked: Vec<usize> = (0..20)
        .map(|number| {
            feeder.push(tick(number), number == 0, 1 << 20, number);
            feeder.requests()
        })
        .collect();
    let expected: Vec<usize> = (1..=20)
        .map(|mebibytes| usize::from(mebibytes >= 12) + usize::from(mebibytes >= 18))
        .collect();
    assert_eq!(asked, expected);
}

#[test]
fn a_group_of_8000_frames_comes_out_whole() {
    common::init();
    let relay = Relay::start().expect("a relay");
    let broadcast = unique_broadcast("whole");
    let subscriber = Running::play(&format!(
        "{} latency=2000 moq.video_0 ! fakesink sync=false",
        moqsrc(&relay.url(), &broadcast)
    ));
    let feeder = Feeder::start(&relay.url(), &broadcast, false);
    feeder.push(millis(0), true, 20, 0);
    let pad = wait_pad(&subscriber.element("moq"), "video_0", DEADLINE);
    let packets = Packets::of(&pad);
    for number in 1..GROUP {
        feeder.push(tick(number), false, 20, number);
    }
    packets.wait_count(GROUP as usize - 1, DEADLINE);
    for number in GROUP..GROUP + 5 {
        feeder.push(tick(number), number == GROUP, 20, number);
    }
    let number = |packet: &Packet| feeder::number(&packet.bytes);
    wait_until("the next group", DEADLINE, || {
        packets.so_far().last().map(number) == Some(GROUP + 4)
    });
    let packets = packets.so_far();
    // The first one may pass before the probe is there.
    let first = number(&packets[0]).min(1);
    assert!(packets.iter().map(number).eq(first..GROUP + 5), "in order");
}

#[test]
fn a_frame_that_is_too_large_is_dropped_up_to_the_next_keyframe() {
    common::init();
    let relay = Relay::start().expect("a relay");
    let broadcast = unique_broadcast("large");
    let viewer = Viewer::start(&relay.url(), &broadcast);
    let feeder = Feeder::start(&relay.url(), &broadcast, false);
    for (number, key, bytes) in [
        (0, true, 20),
        (1, false, 20),
        (2, true, 33 << 20),
        (3, false, 20),
    ] {
        feeder.push(millis(number * 40), key, bytes, number);
    }
    let error = wait_property(
        &feeder.sink,
        "track-error",
        DEADLINE,
        |error: &Option<String>| error.is_some(),
    );
    assert!(error.is_some_and(|error| error.contains("larger than 32 MiB")));
    feeder.wait_requests(1);
    feeder.push(millis(160), true, 20, 4);
    feeder.push(millis(200), false, 20, 5);
    let seen = viewer.wait("the stream goes on", DEADLINE, |seen| {
        seen.count("video") >= 4
    });
    assert_eq!(numbers(&seen), [0, 1, 4, 5]);
    wait_property(
        &feeder.sink,
        "track-error",
        DEADLINE,
        |error: &Option<String>| error.is_none(),
    );
    assert_eq!(warnings(&feeder.running).len(), 1);
}

#[test]
fn deltas_before_the_first_keyframe_are_not_published_and_one_is_asked_for_once() {
    common::init();
    let relay = Relay::start().expect("a relay");
    let broadcast = unique_broadcast("deltas");
    let viewer = Viewer::start(&relay.url(), &broadcast);
    let feeder = Feeder::start(&relay.url(), &broadcast, false);
    let begun = Instant::now();
    for number in 0..500 {
        feeder.push(millis(number), false, 20, number);
    }
    let intervals = (begun.elapsed().as_millis() / 500) as usize;
    assert!((1..=1 + intervals).contains(&feeder.requests()));
    feeder.push(millis(500), true, 20, 500);
    let seen = viewer.wait("the keyframe", DEADLINE, |seen| seen.count("video") > 0);
    assert_eq!(numbers(&seen), [500]);
}

#[test]
fn after_a_flush_a_keyframe_is_asked_for_at_once() {
    common::init();
    let relay = Relay::start().expect("a relay");
    let broadcast = unique_broadcast("flushed");
    let viewer = Viewer::start(&relay.url(), &broadcast);
    let feeder = Feeder::start(&relay.url(), &broadcast, false);
    feeder.push(millis(0), true, 20, 0);
    feeder.push(millis(40), false, 20, 1);
    assert_eq!(feeder.requests(), 0);
    feeder.send(gst::event::FlushStart::new());
    feeder.send(gst::event::FlushStop::new(false));
    assert_eq!(feeder.requests(), 1, "before any frame came");
    feeder.segment();
    feeder.push(millis(80), false, 20, 2);
    feeder.push(millis(120), true, 20, 3);
    let seen = viewer.wait("it goes on", DEADLINE, |seen| seen.count("video") >= 3);
    assert_eq!(numbers(&seen), [0, 1, 3]);
    assert_eq!(feeder.requests(), 1);
}

#[test]
fn after_a_pause_a_keyframe_is_asked_for_at_once() {
    common::init();
    let relay = Relay::start().expect("a relay");
    let broadcast = unique_broadcast("paused");
    let viewer = Viewer::start(&relay.url(), &broadcast);
    let feeder = Feeder::start(&relay.url(), &broadcast, true);
    feeder.push(feeder.now(), true, 20, 0);
    let state = |state| {
        feeder.running.set_state(state).expect("the state changes");
        let (result, now, _) = feeder.running.state(gst::ClockTime::from_seconds(10));
        assert!(result.is_ok() && now == state, "{now:?}");
    };
    state(gst::State::Paused);
    feeder.push(feeder.now(), false, 20, 1);
    assert_eq!(feeder.requests(), 0, "nobody would see it");
    state(gst::State::Playing);
    feeder.wait_requests(1);
    feeder.push(feeder.now(), false, 20, 2);
    feeder.push(feeder.now(), true, 20, 3);
    let seen = viewer.wait("it goes on", DEADLINE, |seen| seen.count("video") >= 2);
    assert_eq!(numbers(&seen), [0, 3]);
}

#[test]
fn after_what_the_budget_dropped_a_keyframe_is_asked_for() {
    common::init();
    let relay = Relay::start().expect("a relay");
    let broadcast = unique_broadcast("budget");
    let viewer = Viewer::start(&relay.url(), &broadcast);
    let feeder = Feeder::with(&relay.url(), &broadcast, true, &[("max-bytes", 1000)]);
    feeder.push(feeder.now(), true, 20, 0);
    viewer.wait("the first frame", DEADLINE, |seen| seen.count("video") == 1);
    // More at once than the session takes in before the next comes.
    for number in 1..BURST {
        feeder.push(feeder.now(), false, 3000, number);
    }
    feeder.wait_requests(1);
    wait_until("there is room", DEADLINE, || {
        let stats: gst::Structure = feeder.sink.property("stats");
        stats.get::<u64>("queue-bytes") == Ok(0)
    });
    feeder.push(feeder.now(), true, 20, BURST);
    let seen = viewer.wait("it goes on", DEADLINE, |seen| {
        numbers(seen).last() == Some(&BURST)
    });
    let got = numbers(&seen);
    assert!(got.len() < BURST as usize, "some were dropped");
    let gap = got.windows(2).find(|pair| pair[1] != pair[0] + 1);
    assert_eq!(
        gap.map(|gap| gap[1]),
        Some(BURST),
        "it goes on with a keyframe"
    );
}

#[test]
fn after_a_keyframe_that_nobody_could_decode_another_is_asked_for_at_once() {
    common::init();
    let relay = Relay::start().expect("a relay");
    let broadcast = unique_broadcast("broken");
    let feeder = Feeder::start(&relay.url(), &broadcast, false);
    feeder.caps("video/x-h264, stream-format=byte-stream, alignment=au");
    feeder.push_raw(millis(0), true, vec![0, 0, 0, 1, 0x65, 0x88, 0x84]);
    assert_eq!(feeder.requests(), 1);
    assert!(warnings(&feeder.running)[0].contains("parameter sets"));
}

#[test]
fn a_session_that_comes_back_asks_for_a_keyframe() {
    common::init();
    let port = Relay::free_port().expect("a port");
    let broadcast = unique_broadcast("back");
    let relay = Relay::start_at(port).expect("a relay");
    let feeder = Feeder::start(&Relay::url_at(port), &broadcast, false);
    let sink = feeder.running.element("moq");
    feeder.push(millis(0), true, 20, 0);
    wait_property(&sink, "connected", DEADLINE, |connected: &bool| *connected);
    wait_until("published", DEADLINE, || {
        feeder
            .sink
            .property::<Option<String>>("active-track")
            .is_some()
    });
    let before = feeder.requests();
    relay.stop();
    wait_property(&sink, "connected", DEADLINE, |connected: &bool| !connected);
    assert_eq!(feeder.requests(), before);
    let _relay = Relay::start_at(port).expect("a relay again");
    feeder.wait_requests(before + 1);
}

#[test]
fn audio_needs_no_keyframe() {
    common::init();
    let relay = Relay::start().expect("a relay");
    let broadcast = unique_broadcast("sound");
    let viewer = Viewer::start(&relay.url(), &broadcast);
    let feeder = Feeder::start(&relay.url(), &broadcast, false);
    feeder.caps("audio/x-opus, rate=48000, channels=2, channel-mapping-family=0");
    for number in 0..10 {
        feeder.push(millis(number * 20), false, 20, number);
    }
    feeder.send(gst::event::FlushStart::new());
    feeder.send(gst::event::FlushStop::new(false));
    feeder.segment();
    for number in 10..20 {
        feeder.push(millis(number * 20), false, 20, number);
    }
    viewer.wait("all packets", DEADLINE, |seen| seen.count("audio") == 20);
    assert_eq!(feeder.requests(), 0);
}
