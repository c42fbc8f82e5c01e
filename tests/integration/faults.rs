// SPDX-License-Identifier: MIT
//! What the network, the relay and the other end do to a broadcast, and how it goes on.

use gst::prelude::*;

use crate::common::{
    Answer, Packet, Packets, Path, Peer, Proxy, Relay, Running, init,
    media::{live_opus, moqsink, moqsrc, publish_live},
    pipeline::{DEADLINE, wait_pad, wait_told},
    unique_broadcast,
};

/// A live broadcast whose two ends reach their relay through the same proxy.
struct Scene {
    subscriber: Running,
    publisher: Running,
    packets: [Packets; 2],
}

impl Scene {
    /// Starts both ends and waits until media flow.
    fn start(name: &str, publish: &str, subscribe: &str) -> Self {
        let broadcast = unique_broadcast(name);
        let publisher = Running::play(&publish_live(publish, &broadcast));
        let subscriber = Running::launch(&format!(
            "{} moq.video_0 ! fakesink name=video sync=false \
             moq.audio_0 ! fakesink name=audio sync=false",
            moqsrc(subscribe, &broadcast)
        ));
        let packets = ["video", "audio"].map(|name| Packets::into_sink(&subscriber.element(name)));
        subscriber.start();
        let this = Self {
            subscriber,
            publisher,
            packets,
        };
        this.wait_more(30);
        this
    }

    /// Waits for as many more video frames and audio packets.
    fn wait_more(&self, count: usize) {
        let before = self.packets.each_ref().map(Packets::count);
        for (packets, before) in self.packets.iter().zip(before) {
            packets.wait_count(before + count, DEADLINE);
        }
    }
}

/// The longest time between two frames in presentation.
fn longest_step(packets: &[Packet]) -> gst::ClockTime {
    let times = packets.iter().filter_map(|packet| packet.pts);
    let times: Vec<_> = times.collect();
    let steps = times.windows(2).map(|pair| pair[1].saturating_sub(pair[0]));
    steps.max().unwrap_or_default()
}

#[test]
fn a_changed_client_address_interrupts_nothing() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let proxy = Proxy::start(relay.addr(), Path::default()).expect("the proxy starts");
    let scene = Scene::start("rebind", &proxy.url(), &proxy.url());
    let connected = |element: &gst::Element| element.property::<bool>("connected");
    proxy.rebind();
    scene.wait_more(60);
    for pipeline in [&scene.publisher, &scene.subscriber] {
        assert!(connected(&pipeline.element("moq")));
        assert_eq!(sessions(&pipeline.element("moq")), (1, 0));
        let lost = pipeline
            .bus()
            .pop_filtered(&[gst::MessageType::Element])
            .into_iter()
            .filter(|message| {
                message
                    .structure()
                    .is_some_and(|s| s.name() == "moq-disconnected")
            });
        assert_eq!(lost.count(), 0, "the session goes on");
    }
    for packets in &scene.packets {
        scene_goes_on(&packets.so_far());
    }
}

#[test]
fn a_relay_that_hands_over_is_followed() {
    init();
    let mut first = Relay::start_patient().expect("the first relay starts");
    let second = Relay::start().expect("the second relay starts");
    let proxy = Proxy::start(first.addr(), Path::default()).expect("the proxy starts");
    let scene = Scene::start("handover", &proxy.url(), &proxy.url());
    proxy.redirect(second.addr());
    first.drain();
    for pipeline in [&scene.publisher, &scene.subscriber] {
        wait_told(&pipeline.bus(), "moq-goaway", |_| true);
    }
    // What was begun there is completed before it ends.
    scene.wait_more(60);
    first.wait_gone();
    scene.wait_more(60);
    for packets in &scene.packets {
        scene_goes_on(&packets.so_far());
    }
    assert_eq!(sessions(&scene.subscriber.element("moq")), (2, 1));
}

#[test]
fn a_relay_that_sends_every_new_session_away_serves_on_with_the_old_one() {
    init();
    let mut relay = Relay::start_patient().expect("the relay starts");
    let scene = Scene::start("draining", &relay.url(), &relay.url());
    relay.drain();
    scene.wait_more(90);
    for packets in &scene.packets {
        scene_goes_on(&packets.so_far());
    }
    for pipeline in [&scene.publisher, &scene.subscriber] {
        let told = wait_told(&pipeline.bus(), "moq-disconnected", |_| true);
        assert_eq!(told.get("serving"), Ok(true), "{told}");
        assert_eq!(sessions(&pipeline.element("moq")), (1, 0));
    }
}

#[test]
fn each_try_of_a_hand_over_that_fails_is_told() {
    init();
    let mut relay = Relay::start_patient().expect("the relay starts");
    let proxy = Proxy::start(relay.addr(), Path::default()).expect("the proxy starts");
    let scene = Scene::start("nowhere", &proxy.url(), &proxy.url());
    let nowhere = Relay::free_port().expect("a port");
    proxy.redirect(([127, 0, 0, 1], nowhere).into());
    relay.drain();
    let ends = [&scene.publisher, &scene.subscriber];
    for pipeline in ends {
        let bus = pipeline.bus();
        wait_told(&bus, "moq-goaway", |_| true);
        let tried = wait_told(&bus, "moq-disconnected", |_| true);
        assert_eq!(tried.get("serving"), Ok(true), "{tried}");
        assert_eq!(tried.get::<&str>("cause"), Ok("timeout"), "{tried}");
        assert!(pipeline.element("moq").property::<bool>("connected"));
    }
    for pipeline in ends {
        let gone = wait_told(&pipeline.bus(), "moq-disconnected", |told| {
            told.get("serving") == Ok(false)
        });
        assert!(gone.has_field("reason") && gone.has_field("retry-in-ms"));
        assert!(!pipeline.element("moq").property::<bool>("connected"));
    }
}

#[test]
fn a_hand_over_to_a_wrong_place_ends_where_it_began() {
    init();
    let strict = Relay::start_with_token("secret").expect("the relay starts");
    for element in ["moqsink", "moqsrc"] {
        let peer = Peer::start(Answer::Redirect(strict.url()), |_| ());
        let pipeline = Running::play(&format!(
            "fakesrc num-buffers=0 ! fakesink async=false \
             {element} name=moq url={} broadcast=x tls-disable-verify=true",
            peer.url()
        ));
        let bus = pipeline.bus();
        wait_told(&bus, "moq-goaway", |_| true);
        // The other place refuses: no answer of it is final.
        wait_told(&bus, "moq-disconnected", |told| {
            let reason = told.get::<&str>("reason");
            reason.is_ok_and(|reason| reason.contains("nauthorized"))
        });
        wait_told(&bus, "moq-connected", |_| true);
        assert!(pipeline.element("moq").property::<bool>("connected"));
    }
}

#[test]
fn the_token_goes_along_to_another_place_of_the_same_host() {
    init();
    let strict = Relay::start_with_token("secret").expect("the relay starts");
    let broadcast = unique_broadcast("along");
    let _publisher = Running::play(&format!(
        "{} ! moq.sink_0 {} token=secret",
        live_opus(),
        moqsink(&strict.url(), &broadcast)
    ));
    let peer = Peer::start(Answer::Redirect(strict.url()), |_| ());
    let subscriber = Running::play(&format!(
        "fakesrc num-buffers=0 ! fakesink async=false {} token=secret",
        moqsrc(&peer.url(), &broadcast)
    ));
    // The peer has no broadcast.
    wait_pad(&subscriber.element("moq"), "audio_0", DEADLINE);
}

#[test]
fn statistics_tell_what_is_known_and_nothing_else() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let scene = Scene::start("stats", &relay.url(), &relay.url());
    for (pipeline, direction) in [
        (&scene.publisher, "bytes-sent"),
        (&scene.subscriber, "bytes-received"),
    ] {
        let element = pipeline.element("moq");
        let stats: gst::Structure = element.property("stats");
        assert!(stats.get::<u64>(direction).expect("the counter of QUIC") > 1000);
        let rtt: f64 = stats.get("rtt-ms").expect("the round trip of QUIC");
        assert!(rtt > 0.0 && rtt < 1000.0, "{rtt}");
        assert!(pipeline.set_state(gst::State::Ready).is_ok());
        let stats: gst::Structure = element.property("stats");
        assert!(!stats.has_field("rtt-ms"), "unknown is absent: {stats}");
    }
}

/// Sessions that were started and ended in this run.
fn sessions(element: &gst::Element) -> (u64, u64) {
    let stats: gst::Structure = element.property("stats");
    let count = |name| stats.get(name).expect("a count that is always known");
    (count("sessions-started"), count("sessions-ended"))
}

/// No frame is missing, and none was announced as missing.
fn scene_goes_on(packets: &[Packet]) {
    let longest = longest_step(packets);
    assert!(longest < gst::ClockTime::from_mseconds(100), "{longest}");
    let jumps = packets
        .iter()
        .skip(1)
        .filter(|packet| packet.flags.contains(gst::BufferFlags::DISCONT));
    assert_eq!(jumps.count(), 0, "nothing interrupts it");
}
