// SPDX-License-Identifier: MIT
//! What ends a broadcast, what only interrupts it, and how it goes on.

use std::{
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use gst::prelude::*;

use crate::common::{
    Packet, Packets, Path, Proxy, Relay, Running, init,
    media::{live_opus, moqsink, moqsrc, publish_clip, publish_live},
    pipeline::{DEADLINE, tells_of_silence, wait_property, wait_told, wait_until},
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

/// A publisher of live video and live audio, and a subscriber to both.
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

    /// Waits for as many more video frames and audio packets.
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

#[test]
fn a_publisher_that_restarts_with_other_codecs_and_tracks_is_followed_on_the_same_pads() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let proxy = Proxy::start(relay.addr(), Path::default()).expect("the proxy starts");
    let broadcast = unique_broadcast("other");
    let scene = Scene::start(&proxy.url(), &relay.url(), &broadcast, "");
    // Without a goodbye, as a camera that lost its power.
    proxy.cut();
    drop(scene.publisher);
    let _other = Running::play(&format!(
        "videotestsrc is-live=true ! video/x-raw,width=160,height=120,framerate=30/1 ! \
         vp8enc deadline=1 keyframe-max-dist=30 ! moq.sink_0 {} ! moq.sink_1 \
         {} sink_0::track=picture sink_1::track=sound",
        live_opus(),
        moqsink(&relay.url(), &broadcast)
    ));
    let source = scene.subscriber.element("moq");
    for ((packets, media), (pad, track)) in scene
        .packets
        .iter()
        .zip(["video/x-vp8", "audio/x-opus"])
        .zip([("video_0", "picture"), ("audio_0", "sound")])
    {
        packets.wait_caps(media, DEADLINE);
        let all = packets.wait_count(packets.count() + 30, DEADLINE);
        let times: Vec<_> = all
            .iter()
            .filter_map(|packet| packet.running_time)
            .collect();
        assert!(times.is_sorted(), "running time goes on");
        assert!(!has_ended(packets), "an outage is no end");
        let pad = source.static_pad(pad).expect("the same pad");
        wait_property(&pad, "track", DEADLINE, |name: &String| name == track);
    }
    assert_eq!(source.num_src_pads(), 2);
}

/// The time between what came last before an outage and what came first after it.
fn longest_gap(packets: &[Packet]) -> Option<gst::ClockTime> {
    let times: Vec<_> = packets
        .iter()
        .filter_map(|packet| packet.running_time)
        .collect();
    let steps = times.windows(2).map(|pair| pair[1].saturating_sub(pair[0]));
    steps.max()
}

#[test]
fn a_cable_that_is_plugged_in_again_brings_both_ends_back() {
    init();
    let relay = Relay::start().expect("the relay starts");
    for cut in ["publisher", "subscriber"] {
        let proxy = Proxy::start(relay.addr(), Path::default()).expect("the proxy starts");
        let [publish, subscribe] = ["publisher", "subscriber"].map(|end| match end == cut {
            true => proxy.url(),
            false => relay.url(),
        });
        let scene = Scene::start(&publish, &subscribe, &unique_broadcast("cable"), "");
        let cut_off = match cut {
            "publisher" => &scene.publisher,
            _ => &scene.subscriber,
        };
        proxy.cut();
        // For so long that the session is lost, and a try to connect fails.
        for _ in 0..2 {
            wait_told(&cut_off.bus(), "moq-disconnected", |_| true);
        }
        let before = scene.packets.each_ref().map(Packets::count);
        proxy.restore();
        let back = Instant::now();
        for (packets, before) in scene.packets.iter().zip(before) {
            packets.wait_count(before + 1, DEADLINE);
            println!("{cut}: media {:?} after the cable is back", back.elapsed());
            let all = packets.wait_count(before + 30, DEADLINE);
            assert!(longest_gap(&all) > Some(gst::ClockTime::from_seconds(2)));
            assert!(!has_ended(packets), "an outage is no end");
        }
        let gaps = scene.packets[0].events();
        let gaps = gaps
            .iter()
            .filter(|event| event.type_() == gst::EventType::Gap);
        assert!(gaps.count() >= 10, "silence is reported meanwhile");
    }
}

#[test]
fn a_path_that_stays_dead_for_the_address_of_a_lost_session_is_not_the_only_one() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let proxy = Proxy::start(relay.addr(), Path::default()).expect("the proxy starts");
    let url = proxy.url();
    let scene = Scene::start(&url, &url, &unique_broadcast("forsaken"), "");
    proxy.forsake();
    for pipeline in [&scene.publisher, &scene.subscriber] {
        wait_told(&pipeline.bus(), "moq-disconnected", |_| true);
    }
    scene.wait_more(30);
    assert!(!scene.packets.iter().any(has_ended));
}

#[test]
fn a_relay_that_is_killed_and_comes_back_after_a_second_interrupts_for_seconds() {
    init();
    let port = Relay::free_port().expect("a port");
    for _ in 0..3 {
        let relay = Relay::start_at(port).expect("the relay starts");
        let proxy = Proxy::start(relay.addr(), Path::default()).expect("the proxy starts");
        let url = proxy.url();
        let scene = Scene::start(&url, &url, &unique_broadcast("killed"), "");
        let killed = Instant::now();
        // Even a goodbye of the operating system gets lost.
        proxy.cut();
        relay.kill();
        let noticed = [&scene.publisher, &scene.subscriber].map(|pipeline| {
            let bus = pipeline.bus();
            thread::spawn(move || wait_told(&bus, "moq-disconnected", |_| true))
        });
        let before = scene.packets.each_ref().map(Packets::count);
        thread::sleep(Duration::from_secs(1).saturating_sub(killed.elapsed()));
        let _relay = Relay::start_at(port).expect("the relay comes back");
        proxy.restore();
        for told in noticed {
            let told = told.join().expect("the loss is reported");
            // The relay is back by then: its silence was noticed, not a port that refuses.
            assert!(tells_of_silence(&told), "{told}");
        }
        for (packets, before) in scene.packets.iter().zip(before) {
            // More than may still have been on its way.
            packets.wait_count(before + 10, DEADLINE);
            assert!(!has_ended(packets), "an outage is no end");
        }
        println!("media {:?} after the kill", killed.elapsed());
    }
}

/// A buffer as a decoder gets it: the width that its CAPS say, its running time, its payload.
type Picture = (i32, gst::ClockTime, Vec<u8>);

/// Two publishers of one name, the newest of which serves, and a subscriber.
struct Twins {
    publishers: [Option<Running>; 2],
    sent: [Packets; 2],
    subscriber: Running,
    got: Arc<Mutex<Vec<Picture>>>,
    _relay: Relay,
}

impl Twins {
    const WIDTHS: [i32; 2] = [320, 160];

    fn start(name: &str, properties: &str) -> Self {
        init();
        let relay = Relay::start().expect("the relay starts");
        let broadcast = unique_broadcast(name);
        let twins = Self::WIDTHS.map(|width| {
            // Parameter sets are in codec_data alone.
            let publisher = Running::launch(&format!(
                "videotestsrc is-live=true pattern=ball ! \
                 video/x-raw,format=I420,width={width},height=120,framerate=30/1 ! \
                 x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 ! \
                 h264parse ! video/x-h264,stream-format=avc ! moq.sink_0 {}",
                moqsink(&relay.url(), &broadcast)
            ));
            let pad = publisher.element("moq").static_pad("sink_0");
            let sent = Packets::of(&pad.expect("the line requested the pad"));
            publisher.start();
            sent.wait_count(60, DEADLINE);
            (publisher, sent)
        });
        let [(older, sent_by_older), (newer, sent_by_newer)] = twins;
        let subscriber = Running::launch(&format!(
            "{} {properties} moq.video_0 ! fakesink name=video sync=false",
            moqsrc(&relay.url(), &broadcast)
        ));
        let got: Arc<Mutex<Vec<Picture>>> = Arc::default();
        let pictures = got.clone();
        let pad = subscriber
            .element("video")
            .static_pad("sink")
            .expect("a pad");
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            let caps = pad.current_caps().expect("CAPS come first");
            let width = caps.structure(0).and_then(|caps| caps.get("width").ok());
            if let Some(buffer) = info.buffer() {
                let map = buffer.map_readable().expect("it is memory");
                let time = buffer.pts().expect("each has a time");
                let picture = (width.unwrap_or_default(), time, map.to_vec());
                pictures.lock().expect("no panic").push(picture);
            }
            gst::PadProbeReturn::Ok
        });
        subscriber.start();
        let this = Self {
            publishers: [Some(older), Some(newer)],
            sent: [sent_by_older, sent_by_newer],
            subscriber,
            got,
            _relay: relay,
        };
        this.wait_from(1, 45);
        this
    }

    fn got(&self) -> Vec<Picture> {
        self.got.lock().expect("no panic").clone()
    }

    /// Which publisher has sent the frame.
    fn sender(&self, picture: &Picture) -> Option<usize> {
        let sent = |packets: &Packets| packets.so_far().iter().any(|sent| sent.bytes == picture.2);
        self.sent.iter().position(sent)
    }

    /// Waits for `count` frames of that publisher.
    fn wait_from(&self, publisher: usize, count: usize) {
        let claim = format!("frames of publisher {publisher}");
        wait_until(&claim, DEADLINE, || {
            let got = self.got();
            let newest = got.iter().rev().take(count);
            let own = newest.filter(|picture| self.sender(picture) == Some(publisher));
            own.count() == count
        });
    }

    /// All frames came under the CAPS of their publisher, each once, and in order.
    fn judge(&self) {
        let got = self.got();
        for (number, picture) in got.iter().enumerate() {
            let sender = self.sender(picture).expect("one of both has sent it");
            assert_eq!(
                picture.0,
                Self::WIDTHS[sender],
                "the CAPS of frame {number}"
            );
        }
        assert!(
            got.is_sorted_by(|one, next| one.1 < next.1),
            "running time goes on"
        );
        let mut payloads: Vec<_> = got.iter().map(|picture| &picture.2).collect();
        payloads.sort();
        payloads.dedup();
        assert_eq!(payloads.len(), got.len(), "none comes twice");
    }
}

#[test]
fn a_publisher_that_fails_is_followed_by_the_other_of_its_name_under_its_own_caps() {
    let mut twins = Twins::start("failover", "");
    let begun = Instant::now();
    twins.publishers[1] = None;
    twins.wait_from(0, 1);
    println!("the other one is shown after {:?}", begun.elapsed());
    twins.wait_from(0, 60);
    twins.judge();
    let now = twins.subscriber.current_running_time().expect("it runs");
    let newest = twins.got().pop().expect("pictures").1;
    let late = now.saturating_sub(newest);
    assert!(late < gst::ClockTime::from_mseconds(700), "{late} late");
}

#[test]
fn the_eos_of_one_publisher_is_no_end_while_the_other_of_its_name_serves() {
    let mut twins = Twins::start("one-eos", "eos-timeout=10000");
    let newer = twins.publishers[1].take().expect("it runs");
    newer.end();
    drop(newer);
    twins.wait_from(0, 60);
    twins.judge();
    let older = twins.publishers[0].take().expect("it runs");
    older.end();
    twins.subscriber.wait_eos();
}
