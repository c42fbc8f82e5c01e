//! What ends a broadcast, what only interrupts it, and how it goes on.

mod common;

use std::time::{Duration, Instant};

use gst::prelude::*;

use common::{
    Packet, Packets, Path, Proxy, Relay, Running, init,
    media::{moqsrc, publish_clip, publish_live},
    pipeline::DEADLINE,
    unique_broadcast,
};

/// Versions whose protocol tells an end from a loss, and others.
const VERSIONS: [&str; 6] = [
    "moq-lite-06",
    "moq-lite-04",
    "moq-lite-03",
    "moq-transport-14",
    "moq-transport-17",
    "moq-transport-22",
];

fn has_ended(packets: &Packets) -> bool {
    let events = packets.events();
    events
        .iter()
        .any(|event| event.type_() == gst::EventType::Eos)
}

fn last(packets: &[Packet]) -> Option<&[u8]> {
    packets.last().map(|packet| &*packet.bytes)
}

/// A clip on its way over one MoQ version.
struct Clip {
    version: &'static str,
    publisher: Running,
    subscriber: Running,
    sent: [Packets; 2],
    got: [Packets; 2],
}

impl Clip {
    fn start(relay: &Relay, version: &'static str) -> Self {
        let broadcast = unique_broadcast("end");
        let subscriber = Running::launch(&format!(
            "{} moq-versions={version} moq.video_0 ! fakesink name=video sync=false \
             moq.audio_0 ! fakesink name=audio sync=false",
            moqsrc(&relay.url(), &broadcast)
        ));
        let got = ["video", "audio"].map(|name| Packets::into_sink(&subscriber.element(name)));
        subscriber.start();
        let publisher = Running::launch(&format!(
            "{} moq-versions={version}",
            publish_clip(&relay.url(), &broadcast)
        ));
        let sink = publisher.element("moq");
        let pads = ["sink_0", "sink_1"].map(|name| sink.static_pad(name));
        let sent = pads.map(|pad| Packets::of(&pad.expect("the line requested the pad")));
        publisher.start();
        Self {
            version,
            publisher,
            subscriber,
            sent,
            got,
        }
    }

    fn finish(self) {
        self.publisher.wait_eos();
        let sink = self.publisher.element("moq");
        let version = sink.property::<String>("moq-version");
        assert_eq!(version, self.version);
        // At once, as `gst-launch-1.0` does.
        drop(self.publisher);
        for (sent, got) in self.sent.iter().zip(&self.got) {
            let (sent, got) = (sent.so_far(), got.wait_eos(DEADLINE));
            assert!(last(&sent) == last(&got), "{version}: the tail has come");
        }
        self.subscriber.wait_eos();
    }
}

#[test]
fn a_broadcast_that_is_finished_is_eos_on_every_version() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let clips = VERSIONS.map(|version| Clip::start(&relay, version));
    clips.into_iter().for_each(Clip::finish);
}

/// A publisher of a live picture and live sound, and a subscriber to both.
struct Scene {
    publisher: Running,
    subscriber: Running,
    packets: [Packets; 2],
}

impl Scene {
    /// Starts both ends, with these `properties` of the subscriber, and waits until media flow.
    fn start(publish: &str, subscribe: &str, broadcast: &str, properties: &str) -> Self {
        let publisher = Running::play(&publish_live(publish, broadcast));
        let subscriber = Running::launch(&format!(
            "{} {properties} moq.video_0 ! fakesink name=video sync=false \
             moq.audio_0 ! fakesink name=audio sync=false",
            moqsrc(subscribe, broadcast)
        ));
        let packets = ["video", "audio"].map(|name| Packets::into_sink(&subscriber.element(name)));
        subscriber.start();
        let this = Self {
            publisher,
            subscriber,
            packets,
        };
        this.wait_more(10);
        this
    }

    /// Waits for as many more pictures and packets of sound.
    fn wait_more(&self, count: usize) {
        let before = self.packets.each_ref().map(Packets::count);
        for (packets, before) in self.packets.iter().zip(before) {
            packets.wait_count(before + count, DEADLINE);
        }
    }
}

#[test]
fn a_publisher_that_vanished_is_an_end_after_the_eos_timeout() {
    init();
    let relay = Relay::start().expect("the relay starts");
    for version in ["moq-lite-06", "moq-transport-14"] {
        let broadcast = unique_broadcast("vanished");
        let url = relay.url();
        let properties = format!("eos-timeout=1500 moq-versions={version}");
        let scene = Scene::start(&url, &url, &broadcast, &properties);
        let before = Instant::now();
        // Without EOS.
        drop(scene.publisher);
        scene.subscriber.wait_eos();
        assert!(before.elapsed() >= Duration::from_millis(1500));
        assert!(scene.packets.iter().all(has_ended));
    }
}

#[test]
fn a_lost_connection_is_an_end_after_the_eos_timeout() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let proxy = Proxy::start(relay.addr(), Path::default()).expect("the proxy starts");
    let broadcast = unique_broadcast("cut");
    let scene = Scene::start(&relay.url(), &proxy.url(), &broadcast, "eos-timeout=500");
    proxy.cut();
    scene.subscriber.wait_eos();
    assert!(scene.packets.iter().all(has_ended));
}

#[test]
fn a_publisher_that_comes_back_before_the_eos_timeout_goes_on() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("back");
    let url = relay.url();
    let scene = Scene::start(&url, &url, &broadcast, "eos-timeout=60000");
    assert!(scene.publisher.set_state(gst::State::Null).is_ok());
    scene.publisher.start();
    scene.wait_more(30);
    assert!(!scene.packets.iter().any(has_ended));
}
