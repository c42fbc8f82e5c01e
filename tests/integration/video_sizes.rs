// SPDX-License-Identifier: MIT
//! Another video size while playing: the subscriber's pad goes on.

use gst::prelude::*;

use crate::common::{
    Packets, Relay, Running, init,
    media::{moqsink, moqsrc},
    pipeline::{DEADLINE, wait_pad, wait_property},
    unique_broadcast,
};

/// Frames from keyframe to keyframe.
const GOP: u64 = 10;
const FRAME: gst::ClockTime = gst::ClockTime::from_nseconds(33_333_333);

/// An encoder, and the decoder that takes its frames without a parser.
const ROWS: [(&str, &str); 2] = [
    ("vp8enc deadline=1 keyframe-max-dist=10", "vp8dec"),
    (
        "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10 ! h264parse",
        "avdec_h264",
    ),
];

fn raw(width: i32, height: i32) -> gst::Caps {
    gst::Caps::builder("video/x-raw")
        .field("format", "I420")
        .field("width", width)
        .field("height", height)
        .field("framerate", gst::Fraction::new(30, 1))
        .build()
}

/// The widths that the CAPS events of a pad state, each until it changes.
fn widths(packets: &Packets) -> Vec<i32> {
    let events = packets.events();
    let caps = events.iter().filter_map(|event| match event.view() {
        gst::EventView::Caps(event) => event.caps().structure(0)?.get("width").ok(),
        _ => None,
    });
    let mut widths: Vec<i32> = caps.collect();
    widths.dedup();
    widths
}

fn change_size(relay: &Relay, encoder: &str, decoder: &str) {
    let broadcast = unique_broadcast("sizes");
    let publisher = Running::play(&format!(
        "videotestsrc is-live=true horizontal-speed=2 ! capsfilter name=size caps=\"{}\" ! \
         {encoder} ! moq.sink_0 {}",
        raw(160, 120),
        moqsink(&relay.url(), &broadcast)
    ));
    let subscriber = Running::launch(&format!(
        "{} moq.video_0 ! {decoder} ! fakesink name=out",
        moqsrc(&relay.url(), &broadcast)
    ));
    let shown = Packets::into_sink(&subscriber.element("out"));
    subscriber.start();
    let pad = wait_pad(&subscriber.element("moq"), "video_0", DEADLINE);
    let got = Packets::of(&pad);
    shown.wait_count(20, DEADLINE);
    publisher
        .element("size")
        .set_property("caps", raw(320, 240));
    let sink = wait_pad(&publisher.element("moq"), "sink_0", DEADLINE);
    wait_property(&sink, "active-track", DEADLINE, |track: &Option<String>| {
        track.as_deref() == Some("video-2")
    });
    wait_property(&pad, "track", DEADLINE, |track: &String| track == "video-2");
    let before = got.count();
    got.wait_count(before + 20, DEADLINE);
    shown.wait_count(before + 20, DEADLINE);
    assert_eq!(widths(&got).last(), Some(&320), "{encoder}");
    assert_eq!(
        widths(&shown),
        [160, 320],
        "{decoder}: the same pad goes on"
    );

    let packets = got.so_far();
    let change = packets
        .iter()
        .skip(1)
        .position(|packet| packet.flags.contains(gst::BufferFlags::DISCONT))
        .expect("DISCONT marks the change")
        + 1;
    assert!(packets[change].is_key(), "{encoder}");
    let times = packets[change - 1].pts.zip(packets[change].pts);
    let (last, next) = times.expect("both have times");
    assert!(
        next > last && next - last <= FRAME * (GOP + 1),
        "{encoder}: {last} {next}"
    );
}

#[test]
fn another_size_goes_on_at_the_same_pad() {
    init();
    let relay = Relay::start().expect("the relay starts");
    for (encoder, decoder) in ROWS {
        change_size(&relay, encoder, decoder);
    }
}
