// SPDX-License-Identifier: MIT
//! Times that real files, cameras and clocks bring to `moqsink`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    thread,
};

use gst::prelude::*;

use crate::common::{
    Feeder, Packets, Relay, Running, Viewer,
    feeder::{access_unit, number},
    init, media,
    pipeline::{DEADLINE, describe, wait_message_that, wait_pad},
    unique_broadcast,
};

const SECOND: gst::ClockTime = gst::ClockTime::SECOND;

fn ms(ms: u64) -> gst::ClockTime {
    gst::ClockTime::from_mseconds(ms)
}

/// Waits for a warning whose text contains `words`.
fn wait_warning(bus: &gst::Bus, words: &str) {
    let warned = wait_message_that(bus, DEADLINE, |message| {
        message.type_() == gst::MessageType::Warning && describe(message).contains(words)
    });
    assert!(warned.is_some(), "a warning of {words:?}");
}

fn assert_no_warning(bus: &gst::Bus) {
    if let Some(message) = bus.pop_filtered(&[gst::MessageType::Warning]) {
        panic!("no warning is due: {}", describe(&message));
    }
}

/// A segment that shows what lies from `start` on.
fn segment_from(start: gst::ClockTime) -> gst::Event {
    let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
    segment.set_start(start);
    gst::event::Segment::new(segment.as_ref())
}

#[test]
fn what_decoding_needs_before_the_segment_is_published() {
    let relay = Relay::start().expect("a relay");
    let broadcast = unique_broadcast("lead");
    let viewer = Viewer::start(&relay.url(), &broadcast);
    let feeder = Feeder::start(&relay.url(), &broadcast, false);
    // An edit list that begins 2 s into a group of 4 s.
    feeder.send(segment_from(ms(2000)));
    for frame in 0..100 {
        feeder.push(ms(frame * 40), frame == 0, 100, frame as u32);
    }
    let seen = viewer.wait("all frames", DEADLINE, |seen| seen.count("video") == 100);
    let frames = seen.frames("video");
    let shown = frames[50].timestamp;
    assert!(
        shown - frames[0].timestamp <= 125_000,
        "the first shown frame comes soon"
    );
    let times: Vec<u64> = frames.iter().map(|frame| frame.timestamp).collect();
    assert!(times.is_sorted_by(|one, other| one < other), "{times:?}");
    assert_eq!(times[99] - shown, 49 * 40_000);
    assert_no_warning(&feeder.running.bus());
}

#[test]
fn an_accurate_seek_of_a_file_shows_its_frame() {
    init();
    let relay = Relay::start().expect("a relay");
    let broadcast = unique_broadcast("accurate");
    let viewer = Viewer::start(&relay.url(), &broadcast);
    let publisher = Running::launch(&media::publish_clip(&relay.url(), &broadcast));
    publisher.start();
    viewer.wait("frames", DEADLINE, |seen| seen.count("video") > 5);
    let sent = Packets::of(
        &publisher
            .element("moq")
            .static_pad("sink_0")
            .expect("a pad"),
    );
    // In the middle of the clip's last group.
    publisher
        .seek_simple(gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE, ms(4600))
        .expect("the seek");
    publisher.wait_eos();
    let seen = viewer.wait("the end", DEADLINE, |seen| seen.broadcasts_ended == 1);
    let sent = sent.so_far();
    let frames = seen.frames("video");
    let last = &sent[sent.len() - 1].bytes;
    assert_eq!(&frames[frames.len() - 1].payload, last);
    let begin = frames.len() - sent.len();
    for (frame, packet) in frames[begin..].iter().zip(&sent) {
        assert!(frame.payload == packet.bytes);
    }
    assert_no_warning(&publisher.bus());
}

#[test]
fn clocks_that_count_from_an_epoch_publish() {
    init();
    let relay = Relay::start().expect("a relay");
    // From 1970 and from 1900.
    for since in [0, 2_208_988_800] {
        let broadcast = unique_broadcast("epoch");
        let viewer = Viewer::start(&relay.url(), &broadcast);
        let publisher = Running::launch(&media::publish_live(&relay.url(), &broadcast));
        let clock: gst::Clock = gst::glib::Object::builder::<gst::SystemClock>()
            .property("clock-type", gst::ClockType::Realtime)
            .build()
            .upcast();
        let now = clock.internal_time();
        clock.set_calibration(now, now + SECOND * since, 1, 1);
        publisher.use_clock(Some(&clock));
        publisher.set_start_time(gst::ClockTime::NONE);
        publisher.set_base_time(gst::ClockTime::ZERO);
        publisher.start();
        let seen = viewer.wait("frames", DEADLINE, |seen| {
            seen.count("video") > 20 && seen.count("audio") > 20
        });
        let first = seen.frames("video")[0].timestamp;
        assert!(first < 60_000_000, "counted from the run: {first}");
        assert!(seen.catalog().clock.is_some());
    }
}

/// Moves the times of what passes `pad` by what `shift` says in ns.
fn shift(pad: &gst::Pad, shift: Arc<AtomicI64>) {
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let by = shift.load(Ordering::SeqCst);
        if let Some(buffer) = info.buffer_mut() {
            let buffer = buffer.make_mut();
            let moved = |time: gst::ClockTime| {
                gst::ClockTime::from_nseconds(time.nseconds().saturating_add_signed(by))
            };
            buffer.set_pts(buffer.pts().map(moved));
            buffer.set_dts(buffer.dts().map(moved));
        }
        gst::PadProbeReturn::Ok
    });
}

/// A live publisher at running time 100 s, so that its times can step back by a minute, and the step of
/// both of its tracks in ns.
fn stepping(url: &str, broadcast: &str) -> (Running, Arc<AtomicI64>) {
    let publisher = Running::launch(&media::publish_live(url, broadcast));
    publisher.set_start_time(gst::ClockTime::NONE);
    publisher.set_base_time(gst::SystemClock::obtain().time() - SECOND * 100);
    let step = Arc::new(AtomicI64::new(0));
    let sink = publisher.element("moq");
    for name in ["sink_0", "sink_1"] {
        let pad = sink.static_pad(name).and_then(|pad| pad.peer());
        shift(&pad.expect("a pad upstream"), step.clone());
    }
    publisher.start();
    (publisher, step)
}

#[test]
fn timestamps_that_step_go_on_without_a_hole_and_together() {
    init();
    let relay = Relay::start().expect("a relay");
    for by in [-8, -60, 30, 3600] {
        let broadcast = unique_broadcast("step");
        let viewer = Viewer::start(&relay.url(), &broadcast);
        let (publisher, step) = stepping(&relay.url(), &broadcast);
        viewer.wait("frames before", DEADLINE, |seen| {
            seen.count("video") > 20 && seen.count("audio") > 20
        });
        step.store(by * 1_000_000_000, Ordering::SeqCst);
        let (video, audio) = {
            let seen = viewer.wait("now", DEADLINE, |_| true);
            (seen.count("video"), seen.count("audio"))
        };
        let seen = viewer.wait("frames after", DEADLINE, |seen| {
            seen.count("video") > video + 60 && seen.count("audio") > audio + 90
        });
        for (track, most) in [("video", 500_000), ("audio", 100_000)] {
            let times = seen.frames(track).into_iter().map(|frame| frame.timestamp);
            let times: Vec<u64> = times.collect();
            let steps = times.windows(2).map(|pair| pair[1].abs_diff(pair[0]));
            let longest = steps.max().expect("frames");
            assert!(longest < most, "{by} s, {track}: {longest} us in {times:?}");
        }
        let ends = ["video", "audio"].map(|track| {
            let frames = seen.frames(track);
            frames.last().expect("a frame").timestamp
        });
        assert!(ends[0].abs_diff(ends[1]) < 1_000_000, "{by} s: {ends:?}");
        let sink = publisher.element("moq");
        for name in ["sink_0", "sink_1"] {
            let pad = sink.static_pad(name).expect("a pad");
            let stats = pad.property::<gst::Structure>("stats");
            assert_eq!(stats.get::<u64>("resyncs"), Ok(1), "{by} s: {stats}");
        }
    }
}

#[test]
fn a_time_that_strays_costs_no_frame() {
    let relay = Relay::start().expect("a relay");
    let broadcast = unique_broadcast("stray");
    let viewer = Viewer::start(&relay.url(), &broadcast);
    let feeder = Feeder::start(&relay.url(), &broadcast, true);
    let begin = feeder.now() + SECOND * 20;
    for frame in 0..60 {
        let time = begin + ms(frame * 10);
        let time = match frame {
            20 => time - SECOND * 15,
            40 => time + SECOND * 500,
            _ => time,
        };
        feeder.push(time, frame == 0, 100, frame as u32);
        if frame == 0 {
            viewer.wait("the first", DEADLINE, |seen| seen.count("video") == 1);
        }
    }
    let seen = viewer.wait("all frames", DEADLINE, |seen| seen.count("video") == 60);
    let frames = seen.frames("video");
    for (at, frame) in frames.iter().enumerate() {
        assert_eq!(number(&frame.payload), at as u32);
        let place = (frame.timestamp - frames[0].timestamp) / 1000;
        assert!(place.abs_diff(at as u64 * 10) <= 40, "{at} at {place} ms");
    }
}

#[test]
fn audio_packets_without_a_time_or_with_jitter_are_placed_by_their_durations() {
    init();
    let relay = Relay::start().expect("a relay");
    for (codec, elements) in [("aac", media::live_aac()), ("opus", media::live_opus())] {
        let broadcast = unique_broadcast(codec);
        let viewer = Viewer::start(&relay.url(), &broadcast);
        let line = format!(
            "{elements} ! moq.sink_0 {}",
            media::moqsink(&relay.url(), &broadcast)
        );
        let publisher = Running::launch(&line);
        let pad = publisher.element("moq").static_pad("sink_0");
        let pad = pad.expect("a pad");
        let count = Arc::new(AtomicUsize::new(0));
        let counted = count.clone();
        let peer = pad.peer().expect("a pad upstream");
        peer.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let number = counted.fetch_add(1, Ordering::SeqCst);
            let buffer = info.buffer_mut().expect("a buffer").make_mut();
            if number > 10 && number.is_multiple_of(7) {
                buffer.set_pts(gst::ClockTime::NONE);
                buffer.set_dts(gst::ClockTime::NONE);
            } else if number % 2 == 1 {
                buffer.set_pts(buffer.pts().map(|pts| pts + ms(15)));
            }
            gst::PadProbeReturn::Ok
        });
        let sent = Packets::of(&pad);
        publisher.start();
        let seen = viewer.wait("packets", DEADLINE, |seen| seen.count("audio") > 150);
        let frames = seen.frames("audio");
        for (frame, packet) in frames.iter().zip(sent.so_far()) {
            assert!(frame.payload == packet.bytes, "{codec}: none is missing");
        }
        for pair in frames[1..].windows(2) {
            let step = (pair[1].timestamp - pair[0].timestamp) / 1000;
            assert!(
                (10..=36).contains(&step),
                "{codec}: {step} ms in {:?}",
                frames
                    .iter()
                    .map(|frame| frame.timestamp)
                    .collect::<Vec<_>>()
            );
        }
    }
}

#[test]
fn a_file_whose_first_buffer_is_far_ahead_says_so() {
    let relay = Relay::start().expect("a relay");
    let broadcast = unique_broadcast("ahead");
    let feeder = Feeder::start(&relay.url(), &broadcast, false);
    let pipeline = &feeder.running;
    let element = feeder.running.element("moq");
    pipeline.set_state(gst::State::Null).expect("stopped");
    element.set_property("sync", true);
    let clock = gst_check::TestClock::new();
    pipeline.use_clock(Some(&clock));
    pipeline.start();
    feeder.begin();
    let mut buffer = gst::Buffer::from_slice(access_unit(true, 100, 0));
    buffer
        .get_mut()
        .expect("a new buffer")
        .set_pts(SECOND * 7200);
    thread::scope(|scope| {
        let pushing = scope.spawn(|| feeder.try_push(buffer));
        clock.wait_for_next_pending_id();
        assert!(clock.crank(), "it waits for a while first");
        wait_warning(&pipeline.bus(), "is due in");
        pipeline.set_state(gst::State::Null).expect("stopped");
        assert_eq!(
            pushing.join().expect("no panic"),
            Err(gst::FlowError::Flushing)
        );
    });
}

#[test]
fn a_pad_that_drops_everything_for_a_second_says_so() {
    let relay = Relay::start().expect("a relay");
    let broadcast = unique_broadcast("drops");
    let feeder = Feeder::start(&relay.url(), &broadcast, true);
    let bus = feeder.running.bus();
    let warned = (0..).find_map(|frame| {
        feeder.push(feeder.now(), false, 100, frame);
        let wait = ms(20);
        bus.timed_pop_filtered(wait, &[gst::MessageType::Warning])
            .filter(|message| describe(message).contains("keyframe"))
            .or_else(|| (frame > 3000).then(|| panic!("no warning comes")))
    });
    assert!(warned.is_some());
}

#[test]
fn a_subscriber_plays_what_a_stepping_camera_publishes() {
    init();
    let relay = Relay::start().expect("a relay");
    let broadcast = unique_broadcast("plays");
    let (_publisher, step) = stepping(&relay.url(), &broadcast);
    let subscriber = Running::play(&format!(
        "{} moq.video_0 ! queue ! fakesink name=video moq.audio_0 ! queue ! fakesink name=audio",
        media::moqsrc(&relay.url(), &broadcast)
    ));
    let packets = ["video_0", "audio_0"]
        .map(|name| Packets::of(&wait_pad(&subscriber.element("moq"), name, DEADLINE)));
    for track in &packets {
        track.wait_count(20, DEADLINE);
    }
    step.store(-8_000_000_000, Ordering::SeqCst);
    let begun = packets.each_ref().map(Packets::count);
    for (track, begun) in packets.iter().zip(begun) {
        let got = track.wait_count(begun + 60, DEADLINE);
        let times = got.iter().filter_map(|packet| packet.running_time);
        let times: Vec<_> = times.collect();
        let steps = times.windows(2).map(|pair| pair[1].saturating_sub(pair[0]));
        assert!(steps.max() < Some(SECOND), "{times:?}");
    }
}
