// SPDX-License-Identifier: MIT
//! `moqsink` against a real relay, watched by a subscriber that knows nothing of GStreamer.

use std::time::{Duration, Instant};

use gst::prelude::*;

use crate::common::{
    Packets, Relay, Running, Viewer, init, media,
    pipeline::{DEADLINE, try_wait_message, wait_property},
    unique_broadcast, wait_message, watchdog,
};

#[test]
fn a_file_arrives_byte_for_byte_and_ends_once() {
    init();
    let relay = Relay::start().expect("a relay");
    let broadcast = unique_broadcast("file");
    let viewer = Viewer::start(&relay.url(), &broadcast);
    let publisher = Running::launch(&media::publish_clip(&relay.url(), &broadcast));
    let sink = publisher.element("moq");
    let video = Packets::of(&sink.static_pad("sink_0").expect("a pad"));
    let audio = Packets::of(&sink.static_pad("sink_1").expect("a pad"));
    publisher.start();
    publisher.wait_eos();

    let seen = viewer.wait("the broadcast ends", DEADLINE, |seen| {
        seen.broadcasts_ended == 1
    });
    let catalog = seen.catalog();
    assert_eq!(
        catalog.video.renditions.keys().collect::<Vec<_>>(),
        ["video"]
    );
    assert_eq!(
        catalog.audio.renditions.keys().collect::<Vec<_>>(),
        ["audio"]
    );
    assert!(catalog.clock.is_some());
    for (track, sent) in [("video", video.so_far()), ("audio", audio.so_far())] {
        let frames = seen.frames(track);
        assert_eq!(frames.len(), sent.len(), "{track}");
        for (frame, packet) in frames.iter().zip(&sent) {
            assert!(
                frame.payload == packet.bytes,
                "{track} at {}",
                frame.timestamp
            );
            let running = packet.running_time.expect("a running time").useconds();
            // One offset for both: 0, or how late the file began.
            assert_eq!(
                frame.timestamp - running,
                seen.frames("video")[0].timestamp
                    - video.so_far()[0].running_time.expect("a time").useconds(),
                "{track}"
            );
        }
    }
    assert_eq!(seen.frames("video").len(), media::CLIP_FRAMES);
    assert!(
        publisher
            .bus()
            .pop_filtered(&[gst::MessageType::Eos, gst::MessageType::Error])
            .is_none(),
        "EOS comes once"
    );
}

#[test]
fn starting_without_a_relay_takes_no_time_and_stopping_is_bounded() {
    init();
    let port = Relay::free_port().expect("a port");
    let broadcast = unique_broadcast("nobody");
    let publisher = Running::launch(&media::publish_clip(&Relay::url_at(port), &broadcast));
    watchdog("to PAUSED and back", Duration::from_secs(5), || {
        let change = publisher.set_state(gst::State::Paused);
        assert_ne!(change, Err(gst::StateChangeError));
        let (result, state, _) = publisher.state(gst::ClockTime::from_seconds(5));
        assert!(result.is_ok());
        assert_eq!(state, gst::State::Paused);
        assert!(publisher.set_state(gst::State::Null).is_ok());
    });
}

/// A live publisher of video into `sink_0`, and of whatever `more` adds.
fn live(relay: &Relay, broadcast: &str, more: &str) -> Running {
    Running::launch(&format!(
        "{} ! moq.sink_0 {more} {}",
        media::Video::default().live(),
        media::moqsink(&relay.url(), broadcast)
    ))
}

#[test]
fn live_frames_keep_their_running_time_and_the_clock_is_right() {
    init();
    let relay = Relay::start().expect("a relay");
    let broadcast = unique_broadcast("live");
    let viewer = Viewer::start(&relay.url(), &broadcast);
    let publisher = live(&relay, &broadcast, "");
    let sent = Packets::of(
        &publisher
            .element("moq")
            .static_pad("sink_0")
            .expect("a pad"),
    );
    publisher.start();
    let seen = viewer.wait("10 frames", DEADLINE, |seen| {
        seen.frames("video").len() >= 10
    });
    let sent = sent.so_far();
    for frame in seen.frames("video") {
        let packet = sent
            .iter()
            .find(|packet| packet.bytes == frame.payload)
            .expect("it was sent");
        assert_eq!(
            packet.running_time.map(|time| time.useconds()),
            Some(frame.timestamp)
        );
    }
    let clock = seen.catalog().clock.expect("a clock");
    let zero = moq_net::Timestamp::from_micros(0).expect("zero");
    let wall = clock.wall_clock(zero).expect("a time");
    let base = publisher.element("moq").base_time().expect("a base time");
    let elapsed = publisher.clock().expect("a clock").time() - base;
    let expected = std::time::SystemTime::now() - Duration::from(elapsed);
    let error = match wall.duration_since(expected) {
        Ok(ahead) => ahead,
        Err(behind) => behind.duration(),
    };
    assert!(error < Duration::from_millis(100), "{error:?}");
}

/// How a pad that has not ended leaves those that EOS waits for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Leaves {
    BeforeTheStart,
    Unlinked,
    Released,
}

#[test]
fn eos_waits_for_the_linked_pads() {
    init();
    let relay = Relay::start().expect("a relay");
    for leaves in [Leaves::BeforeTheStart, Leaves::Unlinked, Leaves::Released] {
        let broadcast = unique_broadcast("linked");
        let publisher = Running::launch(&format!(
            "{} ! moq.sink_0 {}",
            media::finite_aac(20),
            media::moqsink(&relay.url(), &broadcast)
        ));
        let sink = publisher.element("moq");
        let idle = sink.request_pad_simple("sink_%u").expect("a pad");
        let silent = gst::Pad::new(gst::PadDirection::Src);
        if leaves != Leaves::BeforeTheStart {
            silent.link(&idle).expect("the pads link");
        }
        publisher.start();
        let bus = publisher.bus();
        if leaves != Leaves::BeforeTheStart {
            let pad = sink.static_pad("sink_0").expect("a pad");
            let status = "track-status";
            wait_property(&pad, status, DEADLINE, |status: &gst::glib::Value| {
                nick(status) == "published"
            });
            let early = [gst::MessageType::Eos, gst::MessageType::StreamStart];
            let early = try_wait_message(&bus, &early, Duration::from_millis(1500));
            assert!(
                early.is_none(),
                "{leaves:?}: a pad has not begun: {early:?}"
            );
        }
        match leaves {
            Leaves::BeforeTheStart => {}
            Leaves::Unlinked => silent.unlink(&idle).expect("they were linked"),
            Leaves::Released => sink.release_request_pad(&idle),
        }
        for message in [gst::MessageType::StreamStart, gst::MessageType::Eos] {
            wait_message(&bus, &[message], DEADLINE);
        }
    }
}

#[test]
fn eos_waits_for_a_pad_that_is_linked_meanwhile() {
    init();
    let relay = Relay::start().expect("a relay");
    let broadcast = unique_broadcast("late");
    let publisher = Running::launch(&format!(
        "{} ! moq.sink_0 {} appsrc name=src format=time \
         caps=audio/x-opus,rate=48000,channels=2,channel-mapping-family=0",
        media::live_aac(),
        media::moqsink(&relay.url(), &broadcast)
    ));
    let (sink, source) = (publisher.element("moq"), publisher.element("src"));
    let late = sink.request_pad_simple("sink_%u").expect("a pad");
    publisher.start();
    let first = sink.static_pad("sink_0").expect("a pad");
    let passed = Packets::of(&first);
    passed.wait_count(3, DEADLINE);
    let output = source.static_pad("src").expect("a pad");
    output.link(&late).expect("the pads link");
    let encoder = first.peer().and_then(|peer| peer.parent_element());
    let input = encoder.and_then(|encoder| encoder.static_pad("sink"));
    assert!(input.expect("a parser").send_event(gst::event::Eos::new()));
    passed.wait_eos(DEADLINE);
    let early = try_wait_message(
        &publisher.bus(),
        &[gst::MessageType::Eos],
        Duration::from_millis(1500),
    );
    assert!(early.is_none(), "the second pad has not ended");
    let source = source.downcast_ref::<gst_app::AppSrc>().expect("an appsrc");
    source.end_of_stream().expect("EOS");
    publisher.wait_eos();
}

/// Opus ends 2 s after its first subscriber came: how long EOS takes from the pad to the bus.
#[test]
fn eos_does_not_wait_for_groups_that_no_subscriber_wants() {
    /// EOS takes the whole of it when it waits for what never comes.
    const DRAIN: Duration = Duration::from_secs(25);
    init();
    let relay = Relay::start().expect("a relay");
    let broadcast = unique_broadcast("joined");
    let publisher = Running::launch(&format!(
        "{} ! identity name=end eos-after=200 ! moq.sink_0 {} drain-timeout={} \
         cache-time=60000000000",
        media::live_opus(),
        media::moqsink(&relay.url(), &broadcast),
        DRAIN.as_millis()
    ));
    let pad = publisher.element("moq").static_pad("sink_0");
    let passed = Packets::of(&pad.expect("a pad"));
    publisher.start();
    passed.wait_count(100, DEADLINE);
    let subscriber = Running::play(&format!(
        "{} moq.audio_0 ! fakesink name=out sync=true",
        media::moqsrc(&relay.url(), &broadcast)
    ));
    let out = subscriber.element("out").static_pad("sink");
    let received = Packets::of(&out.expect("a pad"));
    passed.wait_eos(DEADLINE);
    let begun = Instant::now();
    publisher.wait_eos();
    let took = begun.elapsed();
    assert!(received.count() > 0, "the subscriber was there");
    assert!(took < DRAIN / 2, "EOS took {took:?}");
}

#[test]
fn broken_caps_fail_one_pad_and_unsupported_caps_are_refused() {
    init();
    let relay = Relay::start().expect("a relay");
    let broadcast = unique_broadcast("caps");
    let viewer = Viewer::start(&relay.url(), &broadcast);
    let publisher = live(
        &relay,
        &broadcast,
        "appsrc name=broken is-live=true format=time \
         caps=audio/mpeg,mpegversion=4,stream-format=raw,rate=48000,channels=2 ! moq.sink_1",
    );
    publisher.start();
    let source = publisher.element("broken");
    let source = source.downcast_ref::<gst_app::AppSrc>().expect("an appsrc");
    source
        .push_buffer(gst::Buffer::from_slice([1, 2, 3]))
        .expect("a push");
    let pad = publisher
        .element("moq")
        .static_pad("sink_1")
        .expect("a pad");
    wait_property(
        &pad,
        "track-status",
        DEADLINE,
        |status: &gst::glib::Value| nick(status) == "failed",
    );
    assert!(pad.property::<Option<String>>("track-error").is_some());
    wait_message(&publisher.bus(), &[gst::MessageType::Warning], DEADLINE);
    viewer.wait("video goes on", DEADLINE, |seen| {
        seen.frames("video").len() > 10
    });

    let other = publisher
        .element("moq")
        .request_pad_simple("sink_%u")
        .expect("a pad");
    other.send_event(gst::event::StreamStart::new("x"));
    let caps = gst::Caps::builder("video/x-raw").build();
    assert!(!other.send_event(gst::event::Caps::new(&caps)));
}

fn nick(value: &gst::glib::Value) -> String {
    let (_, value) = gst::glib::EnumValue::from_value(value).expect("an enumeration");
    value.nick().to_owned()
}

#[test]
fn a_refused_token_is_an_error_that_says_so() {
    init();
    let relay = Relay::start_with_token("right").expect("a relay");
    let publisher = live(&relay, &unique_broadcast("token"), "");
    publisher.element("moq").set_property("token", "wrong");
    publisher.start();
    let message = publisher
        .bus()
        .timed_pop_filtered(gst::ClockTime::from_seconds(30), &[gst::MessageType::Error])
        .expect("an error message");
    let gst::MessageView::Error(error) = message.view() else {
        unreachable!("only errors were asked for")
    };
    assert!(error.error().matches(gst::ResourceError::NotAuthorized));
    assert!(!format!("{error:?}").contains("wrong"), "no secret");

    let publisher = live(&relay, &unique_broadcast("token"), "");
    publisher.element("moq").set_property("token", "right");
    publisher.start();
    let sink = publisher.element("moq");
    wait_property(&sink, "connected", DEADLINE, |connected: &bool| *connected);
}
