// SPDX-License-Identifier: MIT
//! What a slow path, a lost relay, and a new publisher do to a broadcast.

use std::time::Duration;

use gst::prelude::*;

use crate::common::{
    self, Packets, Path, Proxy, Relay, Running, init,
    media::{live_aac, moqsink, moqsrc, publish_clip, publish_live},
    pipeline::{DEADLINE, wait_message_that, wait_property},
    unique_broadcast, wait_message,
};

#[test]
fn the_tail_of_a_file_arrives_before_eos_on_a_slow_path() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let slow = Path {
        bandwidth: Some(1_000_000),
        ..Path::default()
    };
    let proxy = Proxy::start(relay.addr(), slow).expect("the proxy starts");
    let broadcast = unique_broadcast("tail");
    let subscriber = Running::play(&format!(
        "{} moq.video_0 ! fakesink sync=false moq.audio_0 ! fakesink sync=false",
        moqsrc(&relay.url(), &broadcast)
    ));
    // The clip has 2 Mbit/s, so half of it is on its way when the file has ended.
    let publisher = Running::launch(&format!(
        "{} drain-timeout=60000",
        publish_clip(&proxy.url(), &broadcast)
    ));
    let pads = ["sink_0", "sink_1"].map(|name| {
        let pad = publisher.element("moq").static_pad(name);
        Packets::of(&pad.expect("the launch line requested the pad"))
    });
    publisher.start();
    let source = subscriber.element("moq");
    let got = ["video_0", "audio_0"].map(|name| Packets::of_pad(&source, name));
    let long = Duration::from_secs(90);
    wait_message(&publisher.bus(), &[gst::MessageType::Eos], long);
    for (sent, got) in pads.iter().zip(&got) {
        let (sent, got) = (sent.so_far(), got.wait_eos(long));
        let last = |packets: &[common::Packet]| packets.last().map(|packet| packet.bytes.clone());
        assert!(
            last(&sent) == last(&got),
            "the last frame is the last one received"
        );
    }
}

#[test]
fn a_relay_that_is_lost_and_comes_back_is_found_again_by_both_ends() {
    init();
    let port = Relay::free_port().expect("a port");
    let relay = Relay::start_at(port).expect("the relay starts");
    let broadcast = unique_broadcast("relay");
    let publisher = Running::play(&publish_live(&relay.url(), &broadcast));
    let subscriber = Running::play(&format!(
        "{} moq.video_0 ! fakesink name=video sync=false moq.audio_0 ! fakesink name=audio sync=false",
        moqsrc(&relay.url(), &broadcast)
    ));
    let packets = ["video", "audio"].map(|name| Packets::into_sink(&subscriber.element(name)));
    packets.iter().for_each(|packets| {
        packets.wait_count(30, DEADLINE);
    });
    relay.kill();
    let (sink, source) = (publisher.element("moq"), subscriber.element("moq"));
    for element in [&sink, &source] {
        wait_property(element, "connected", DEADLINE, |connected: &bool| {
            !connected
        });
    }
    let before = packets.each_ref().map(Packets::count);
    let _relay = Relay::start_at(port).expect("the relay comes back");
    for (packets, before) in packets.iter().zip(before) {
        let all = packets.wait_count(before + 30, DEADLINE);
        let (earlier, later) = all.split_at(before);
        assert!(later[0].pts > earlier.last().expect("frames before").pts);
        assert!(
            later
                .iter()
                .any(|packet| packet.flags.contains(gst::BufferFlags::DISCONT))
        );
        let ended = packets
            .events()
            .iter()
            .any(|event| event.type_() == gst::EventType::Eos);
        assert!(!ended, "an outage is no end");
    }
    assert_eq!(source.num_src_pads(), 2, "the same pads go on");
}

#[test]
fn a_publisher_that_restarts_is_followed_on_the_same_pads() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("restart");
    let proxy = Proxy::start(relay.addr(), Path::default()).expect("the proxy starts");
    let first = Running::play(&publish_live(&proxy.url(), &broadcast));
    let subscriber = Running::play(&format!(
        "{} moq.video_0 ! fakesink name=video sync=false moq.audio_0 ! fakesink name=audio sync=false",
        moqsrc(&relay.url(), &broadcast)
    ));
    let packets = ["video", "audio"].map(|name| Packets::into_sink(&subscriber.element(name)));
    packets.iter().for_each(|packets| {
        packets.wait_count(30, DEADLINE);
    });
    // Gone without a goodbye, as a camera that lost its power.
    proxy.cut();
    drop(first);
    let _second = Running::play(&publish_live(&relay.url(), &broadcast));
    let before = packets.each_ref().map(Packets::count);
    for (packets, before) in packets.iter().zip(before) {
        packets.wait_count(before + 60, DEADLINE);
        let ended = packets
            .events()
            .iter()
            .any(|event| event.type_() == gst::EventType::Eos);
        assert!(!ended, "a publisher that vanished is no end");
    }
    assert_eq!(subscriber.element("moq").num_src_pads(), 2);
}

#[test]
fn a_publisher_that_is_stopped_without_eos_is_no_end_either() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("stopped");
    let publisher = Running::play(&format!(
        "{} ! moq.sink_0 {}",
        live_aac(),
        moqsink(&relay.url(), &broadcast)
    ));
    let subscriber = Running::play(&format!(
        "{} moq.audio_0 ! fakesink name=out sync=false",
        moqsrc(&relay.url(), &broadcast)
    ));
    let packets = Packets::into_sink(&subscriber.element("out"));
    for _ in 0..2 {
        packets.wait_count(packets.count() + 30, DEADLINE);
        assert!(publisher.set_state(gst::State::Null).is_ok());
        publisher.start();
    }
    let events = packets.events();
    assert!(
        events
            .iter()
            .all(|event| event.type_() != gst::EventType::Eos)
    );
}

#[test]
fn every_attempt_to_connect_is_reported_with_its_reason() {
    init();
    let port = Relay::free_port().expect("a port");
    for line in [
        format!(
            "fakesrc num-buffers=0 ! fakesink async=false {}",
            moqsrc(&Relay::url_at(port), "x")
        ),
        format!(
            "fakesrc num-buffers=0 ! fakesink async=false {}",
            moqsink(&Relay::url_at(port), "x")
        ),
    ] {
        let pipeline = Running::play(&line);
        let progress = |wanted: gst::ProgressType| {
            wait_message_that(&pipeline.bus(), DEADLINE, |message| match message.view() {
                gst::MessageView::Progress(progress) => progress.get().0 == wanted,
                _ => false,
            })
        };
        assert!(progress(gst::ProgressType::Start).is_some());
        assert!(
            progress(gst::ProgressType::Error).is_some(),
            "each start is ended"
        );
        let told = wait_message_that(&pipeline.bus(), DEADLINE, |message| {
            let structure = message.structure();
            structure.is_some_and(|s| s.name() == "moq-disconnected" && s.has_field("reason"))
        });
        assert!(told.is_some());
    }
}

#[test]
fn packets_in_disorder_lose_nothing_and_change_no_order() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let disorder = Path {
        delay: Duration::from_millis(20),
        disorder: 0.1,
        ..Path::default()
    };
    let proxies = [(); 2].map(|()| Proxy::start(relay.addr(), disorder).expect("a proxy starts"));
    let broadcast = unique_broadcast("disorder");
    let subscriber = Running::play(&format!(
        "{} moq.video_0 ! fakesink sync=false moq.audio_0 ! fakesink sync=false",
        moqsrc(&proxies[1].url(), &broadcast)
    ));
    let publisher = Running::launch(&format!(
        "{} drain-timeout=60000",
        publish_clip(&proxies[0].url(), &broadcast)
    ));
    let sent = ["sink_0", "sink_1"].map(|name| {
        let pad = publisher.element("moq").static_pad(name);
        Packets::of(&pad.expect("the launch line requested the pad"))
    });
    publisher.start();
    let source = subscriber.element("moq");
    let got = ["video_0", "audio_0"].map(|name| Packets::of_pad(&source, name));
    wait_message(&publisher.bus(), &[gst::MessageType::Eos], DEADLINE);
    // Audio begins where the subscriber joins, and what would be shown before it is dropped while the
    // first packets still come faster and faster.
    for ((sent, got), joined) in sent.iter().zip(&got).zip([0, 10]) {
        let (sent, got) = (sent.so_far(), got.wait_eos(DEADLINE));
        let first = sent.iter().position(|sent| sent.bytes == got[joined].bytes);
        let first = first.expect("what came was sent");
        assert!(first < 60, "{first} came before");
        common::same("in disorder", &sent[first..], &got[joined..]);
    }
}
