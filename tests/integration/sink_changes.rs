// SPDX-License-Identifier: MIT
//! What changes under a running `moqsink`: formats, streams, names, the network.

use std::time::Duration;

use gst::prelude::*;

use crate::common::{
    self, Path, Proxy, Relay, Running, Viewer, init, media,
    pipeline::{DEADLINE, wait_property},
    unique_broadcast, wait_message,
};

/// Live video whose size the element `size` says.
const SIZED: &str = "videotestsrc is-live=true ! \
    capsfilter name=size caps=video/x-raw,width=320,height=240,framerate=30/1 ! \
    x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 ! h264parse ! moq.sink_0";

fn publish(elements: &str, url: &str, broadcast: &str) -> Running {
    let running = Running::launch(&format!("{elements} {}", media::moqsink(url, broadcast)));
    running.start();
    running
}

fn pad(publisher: &Running, name: &str) -> gst::Pad {
    let pad = publisher.element("moq").static_pad(name);
    pad.expect("the pad exists")
}

fn wait_status(pad: &gst::Pad, wanted: &str) {
    let claim = format!("track-status becomes {wanted}");
    wait_property(pad, "track-status", DEADLINE, |value: &gst::glib::Value| {
        let (_, value) = gst::glib::EnumValue::from_value(value).expect(&claim);
        value.nick() == wanted
    });
}

#[test]
fn another_format_is_another_track() {
    init();
    let relay = Relay::start().expect("a relay");
    let broadcast = unique_broadcast("format");
    let viewer = Viewer::start(&relay.url(), &broadcast);
    let publisher = publish(SIZED, &relay.url(), &broadcast);
    let pad = pad(&publisher, "sink_0");
    viewer.wait("frames come", DEADLINE, |seen| {
        seen.frames("video").len() > 5
    });
    assert_eq!(
        pad.property::<Option<String>>("active-track").as_deref(),
        Some("video")
    );

    let larger = gst::Caps::builder("video/x-raw")
        .field("width", 640)
        .field("height", 480)
        .field("framerate", gst::Fraction::new(30, 1))
        .build();
    publisher.element("size").set_property("caps", larger);
    let seen = viewer.wait("a second track", DEADLINE, |seen| {
        seen.frames("video-2").len() > 5 && seen.ended.contains(&"video".to_owned())
    });
    let catalog = seen.catalog();
    let renditions: Vec<_> = catalog.video.renditions.iter().collect();
    assert_eq!(renditions.len(), 1);
    assert_eq!(renditions[0].0, "video-2");
    assert_eq!(renditions[0].1.coded_width, Some(640));
    let listed = seen.catalogs.iter().map(|c| c.video.renditions.len());
    assert!(
        listed
            .skip_while(|count| *count == 0)
            .all(|count| count == 1),
        "the successor is listed in place of the other"
    );
    assert_eq!(
        pad.property::<Option<String>>("active-track").as_deref(),
        Some("video-2")
    );
}

#[test]
fn a_name_that_is_taken_fails_one_pad_alone() {
    init();
    let relay = Relay::start().expect("a relay");
    let broadcast = unique_broadcast("names");
    let viewer = Viewer::start(&relay.url(), &broadcast);
    let publisher = Running::launch(&format!(
        "{SIZED} {} ! queue ! moq.sink_1 {} ! queue ! moq.sink_2 {} sink_1::track=sound sink_2::track=sound",
        media::live_opus(),
        media::live_aac(),
        media::moqsink(&relay.url(), &broadcast)
    ));
    publisher.start();
    let first = pad(&publisher, "sink_1");
    let second = pad(&publisher, "sink_2");
    let deadline = std::time::Instant::now() + DEADLINE;
    let failed = loop {
        let error = |pad: &gst::Pad| pad.property::<Option<String>>("track-error");
        if let Some(error) = error(&first).or(error(&second)) {
            break error;
        }
        assert!(std::time::Instant::now() < deadline, "one of them fails");
        std::thread::yield_now();
    };
    assert!(failed.contains("sound"), "{failed}");
    wait_message(&publisher.bus(), &[gst::MessageType::Warning], DEADLINE);
    viewer.wait("the others go on", DEADLINE, |seen| {
        seen.frames("sound").len() > 10 && seen.frames("video").len() > 10
    });
}

#[test]
fn default_names_follow_the_order_of_the_pads_whatever_comes_first() {
    init();
    let relay = Relay::start().expect("a relay");
    let broadcast = unique_broadcast("order");
    let publisher = Running::launch(&format!(
        "{} name=slow ! moq.sink_0 {} ! moq.sink_1 {}",
        media::live_aac(),
        media::live_opus(),
        media::moqsink(&relay.url(), &broadcast)
    ));
    // A parser has its caps with its first packet, here long after the other pad has published.
    let slow = publisher.element("slow").static_pad("sink").expect("a pad");
    let types = gst::PadProbeType::BUFFER | gst::PadProbeType::BLOCK;
    let held = slow.add_probe(types, |_, _| gst::PadProbeReturn::Ok);
    publisher.start();
    let published = |name| {
        let pad = pad(&publisher, name);
        wait_status(&pad, "published");
        pad.property::<Option<String>>("active-track")
    };
    assert_eq!(published("sink_1").as_deref(), Some("audio-2"));
    slow.remove_probe(held.expect("a probe"));
    assert_eq!(published("sink_0").as_deref(), Some("audio"));
}

#[test]
fn a_seek_after_the_end_publishes_again() {
    init();
    let relay = Relay::start().expect("a relay");
    let broadcast = unique_broadcast("again");
    let viewer = Viewer::start(&relay.url(), &broadcast);
    let publisher = publish(
        &format!(
            "filesrc location=\"{}\" ! qtdemux ! h264parse ! moq.sink_0",
            media::clip().display()
        ),
        &relay.url(),
        &broadcast,
    );
    publisher.wait_eos();
    viewer.wait("the broadcast ends", DEADLINE, |seen| {
        seen.broadcasts_ended == 1
    });
    wait_status(&pad(&publisher, "sink_0"), "ended");
    publisher
        .seek_simple(
            gst::SeekFlags::FLUSH | gst::SeekFlags::KEY_UNIT,
            gst::ClockTime::from_seconds(4),
        )
        .expect("a file seeks");
    publisher.wait_eos();
    let seen = viewer.wait("it ends again", DEADLINE, |seen| seen.broadcasts_ended == 2);
    assert!(seen.frames("video").len() >= media::CLIP_FRAMES);
}

#[test]
fn the_tail_arrives_before_eos_on_a_slow_link() {
    init();
    let relay = Relay::start().expect("a relay");
    let path = Path {
        bandwidth: Some(1_000_000),
        ..Path::default()
    };
    let proxy = Proxy::start(relay.addr(), path).expect("a proxy");
    let broadcast = unique_broadcast("slow");
    let viewer = Viewer::start(&relay.url(), &broadcast);
    let publisher = Running::launch(&format!(
        "videotestsrc num-buffers=30 pattern=snow ! video/x-raw,width=320,height=240,framerate=30/1 ! \
         x264enc speed-preset=ultrafast tune=zerolatency bitrate=3000 key-int-max=30 ! h264parse ! \
         moq.sink_0 {} drain-timeout=25000",
        media::moqsink(&proxy.url(), &broadcast)
    ));
    let sent = common::Packets::of(&pad(&publisher, "sink_0"));
    publisher.start();
    publisher.wait_eos();
    let seen = viewer.wait("the tail", Duration::from_secs(2), |seen| {
        seen.frames("video").len() >= 30
    });
    let sent: usize = sent.so_far().iter().map(|packet| packet.bytes.len()).sum();
    let seen: usize = seen.frames("video").iter().map(|f| f.payload.len()).sum();
    assert_eq!(seen, sent);
}

#[test]
fn a_lost_relay_is_found_again() {
    init();
    let port = Relay::free_port().expect("a port");
    let broadcast = unique_broadcast("lost");
    let publisher = publish(SIZED, &Relay::url_at(port), &broadcast);
    let sink = publisher.element("moq");
    let relay = Relay::start_at(port).expect("a relay");
    let viewer = Viewer::start(&relay.url(), &broadcast);
    viewer.wait("frames come", DEADLINE, |seen| {
        seen.frames("video").len() > 5
    });
    drop(viewer);
    relay.stop();
    wait_property(&sink, "connected", DEADLINE, |connected: &bool| !connected);
    let relay = Relay::start_at(port).expect("a relay again");
    let viewer = Viewer::start(&relay.url(), &broadcast);
    viewer.wait("frames come again", DEADLINE, |seen| {
        seen.frames("video").len() > 5
    });
}
