// SPDX-License-Identifier: MIT
//! `moqsrc` keeps GStreamer's contract, whatever the network and the publisher do.

use std::time::Duration;

use gst::prelude::*;

use crate::common::{
    Packets, Relay, Running, init,
    media::{live_opus, moqsink, moqsrc, publish_clip, publish_live},
    pipeline::{DEADLINE, describe, wait_message_that, wait_pad, wait_property, wait_told},
    unique_broadcast, watchdog,
};

fn error_of(bus: &gst::Bus) -> (gst::glib::Error, String) {
    let message = bus
        .timed_pop_filtered(gst::ClockTime::from_seconds(30), &[gst::MessageType::Error])
        .expect("an error is posted");
    let gst::MessageView::Error(error) = message.view() else {
        unreachable!("only errors were asked for")
    };
    (error.error(), describe(&message))
}

#[test]
fn starting_needs_no_network_and_is_live() {
    init();
    let port = Relay::free_port().expect("a port");
    let pipeline = Running::launch(&format!(
        "{} ! fakesink",
        moqsrc(&Relay::url_at(port), "nobody")
    ));
    let source = pipeline.element("moq");
    watchdog("a state change", Duration::from_secs(2), || {
        let result = source.set_state(gst::State::Paused);
        assert_eq!(result, Ok(gst::StateChangeSuccess::NoPreroll));
    });
    let (live, least, most) = {
        let mut query = gst::query::Latency::new();
        assert!(source.query(&mut query));
        query.result()
    };
    assert_eq!(
        (live, least, most),
        (true, gst::ClockTime::from_mseconds(100), None)
    );
}

#[test]
fn a_relay_and_a_publisher_that_come_later_are_waited_for() {
    init();
    let port = Relay::free_port().expect("a port");
    let broadcast = unique_broadcast("later");
    let subscriber = Running::play(&format!(
        "{} moq.video_0 ! fakesink name=out sync=false",
        moqsrc(&Relay::url_at(port), &broadcast)
    ));
    let source = subscriber.element("moq");
    let failed = wait_message_that(&subscriber.bus(), DEADLINE, |message| {
        let structure = message.structure();
        structure.is_some_and(|structure| structure.name() == "moq-disconnected")
    });
    assert!(failed.is_some(), "each failed attempt is reported");
    let packets = Packets::into_sink(&subscriber.element("out"));
    let relay = Relay::start_at(port).expect("the relay starts");
    wait_property(&source, "connected", DEADLINE, |connected: &bool| {
        *connected
    });
    assert!(source.property::<Option<String>>("moq-version").is_some());
    let _publisher = Running::play(&publish_live(&relay.url(), &broadcast));
    packets.wait_count(30, DEADLINE);
}

#[test]
fn a_broadcast_that_nobody_publishes_is_told_once_for_each_absence() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("nobody");
    let line = format!(
        "{} moq.audio_0 ! fakesink sync=false",
        moqsrc(&relay.url(), &broadcast)
    );
    let subscriber = Running::play(&line);
    let waits = |pipeline: &Running| {
        let told = wait_told(&pipeline.bus(), "moq-broadcast-missing", |_| true);
        assert_eq!(told.get::<&str>("broadcast"), Ok(broadcast.as_str()));
    };
    waits(&subscriber);
    // As long again.
    waits(&Running::play(&line));
    let publisher = Running::play(&format!(
        "{} ! moq.sink_0 {}",
        live_opus(),
        moqsink(&relay.url(), &broadcast)
    ));
    wait_pad(&subscriber.element("moq"), "audio_0", DEADLINE);
    while let Some(message) = subscriber.bus().pop() {
        let again = message
            .structure()
            .is_some_and(|s| s.name() == "moq-broadcast-missing");
        assert!(!again, "it is reported once");
    }
    drop(publisher);
    waits(&subscriber);
}

#[test]
fn a_refused_token_is_not_authorized_and_not_retried() {
    init();
    let relay = Relay::start_with_token("secret").expect("the relay starts");
    for element in ["moqsrc", "moqsink"] {
        let pipeline = Running::play(&format!(
            "fakesrc num-buffers=0 ! fakesink async=false \
             {element} name=moq url={} broadcast=room tls-disable-verify=true token=guess-what",
            relay.url()
        ));
        let (error, text) = error_of(&pipeline.bus());
        assert!(error.matches(gst::ResourceError::NotAuthorized), "{text}");
        assert!(!text.contains("guess-what"), "{text}");
        let moq = pipeline.element("moq");
        wait_property(&moq, "connected", DEADLINE, |connected: &bool| !connected);
    }
}

#[test]
fn a_token_opens_the_relay() {
    init();
    let relay = Relay::start_with_token("secret").expect("the relay starts");
    let broadcast = unique_broadcast("token");
    let _publisher = Running::play(&format!(
        "{} ! moq.sink_0 {} token=secret",
        live_opus(),
        moqsink(&relay.url(), &broadcast)
    ));
    let subscriber = Running::play(&format!(
        "{} moq.audio_0 ! fakesink name=out sync=false",
        moqsrc(&format!("{}?jwt=secret", relay.url()), &broadcast)
    ));
    Packets::into_sink(&subscriber.element("out")).wait_count(10, DEADLINE);
}

#[test]
fn an_http_url_trusts_the_certificate_whose_fingerprint_it_gets() {
    init();
    let port = Relay::free_port().expect("a port");
    let _relay = Relay::start_at(port).expect("the relay starts");
    let url = format!("http://127.0.0.1:{port}/");
    let broadcast = unique_broadcast("http");
    let _publisher = Running::play(&format!(
        "{} ! moqsink url={url} broadcast={broadcast}",
        live_opus()
    ));
    let subscriber = Running::play(&format!(
        "moqsrc name=moq url={url} broadcast={broadcast} \
         moq.audio_0 ! fakesink name=out sync=false"
    ));
    Packets::into_sink(&subscriber.element("out")).wait_count(10, DEADLINE);
}

#[test]
fn an_unknown_certificate_is_refused_with_its_reason() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let subscriber = Running::play(&format!(
        "fakesrc num-buffers=0 ! fakesink async=false moqsrc url={} broadcast=x",
        relay.url()
    ));
    let told = wait_message_that(&subscriber.bus(), DEADLINE, |message| {
        let structure = message.structure();
        let reason = structure.and_then(|s| s.get::<String>("reason").ok());
        reason.is_some_and(|reason| reason.contains("certificate"))
    });
    assert!(told.is_some());
}

#[test]
fn an_application_ends_the_stream_with_an_event() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("eos");
    let _publisher = Running::play(&publish_live(&relay.url(), &broadcast));
    let subscriber = Running::play(&format!(
        "{} moq.video_0 ! fakesink name=out sync=false moq.audio_0 ! fakesink sync=false",
        moqsrc(&relay.url(), &broadcast)
    ));
    Packets::into_sink(&subscriber.element("out")).wait_count(10, DEADLINE);
    subscriber.end();
}

#[test]
fn a_pause_is_followed_by_a_keyframe_and_running_time_goes_on() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("pause");
    let _publisher = Running::play(&publish_live(&relay.url(), &broadcast));
    let subscriber = Running::play(&format!(
        "{} moq.video_0 ! fakesink name=out sync=false async=false",
        moqsrc(&relay.url(), &broadcast)
    ));
    let packets = Packets::into_sink(&subscriber.element("out"));
    packets.wait_count(10, DEADLINE);
    assert!(subscriber.set_state(gst::State::Paused).is_ok());
    let before = packets.count();
    subscriber.start();
    let all = packets.wait_count(before + 40, DEADLINE);
    let resumed = all[1..]
        .iter()
        .position(|packet| packet.is_key() && packet.flags.contains(gst::BufferFlags::DISCONT))
        .expect("a keyframe marks the resumption");
    let (earlier, later) = all.split_at(resumed + 1);
    assert!(later[0].pts > earlier.last().expect("a frame before").pts);
}

#[test]
fn a_second_join_at_the_next_group_begins_with_its_keyframe() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("next");
    let publisher = Running::play(&publish_live(&relay.url(), &broadcast));
    let sink = publisher
        .element("moq")
        .static_pad("sink_0")
        .expect("a pad");
    let sent = Packets::of(&sink);
    // In the middle of a group.
    sent.wait_count(90, DEADLINE);
    let subscriber = Running::play(&format!(
        "{} join=next-group moq.video_0 ! fakesink name=out sync=false",
        moqsrc(&relay.url(), &broadcast)
    ));
    let got = Packets::into_sink(&subscriber.element("out")).wait_count(10, DEADLINE);
    assert!(got[0].is_key());
    let sent = sent.so_far();
    let keys = sent.iter().filter(|packet| packet.is_key());
    let newest = keys.filter(|packet| packet.bytes == got[0].bytes).count();
    assert_eq!(newest, 1, "one of the keyframes");
    // At their own distance: nothing was compressed.
    for pair in got.windows(2) {
        let step = pair[1].pts.zip(pair[0].pts).map(|(b, a)| b - a);
        assert!(step > Some(gst::ClockTime::from_mseconds(25)), "{step:?}");
    }
}

#[test]
fn a_clip_without_a_waiting_subscriber_still_ends() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let publisher = Running::play(&publish_clip(&relay.url(), &unique_broadcast("alone")));
    publisher.wait_eos();
}
