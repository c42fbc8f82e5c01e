// SPDX-License-Identifier: MIT
//! One picture in several qualities, of which one is shown: chosen, changed without a seam, and counted.

use std::time::Duration;

use gst::prelude::*;

use crate::common::{
    Packets, Relay, Running,
    barcode::{self, Pictures, Shown},
    init,
    media::{moqsink, moqsrc},
    pipeline::{DEADLINE, wait_pad, wait_until},
    unique_broadcast,
};

/// The tracks of the picture, the best first, with their sizes and bit rates in kbit/s.
pub(crate) const LADDER: [(&str, u32, u32, u32); 3] = [
    ("cam-hd", 640, 360, 1600),
    ("cam-md", 320, 180, 500),
    ("cam-sd", 160, 90, 150),
];
/// Pictures a second, and from keyframe to keyframe.
const FPS: u32 = 30;

/// A live pipeline that publishes one numbered picture three times.
pub(crate) fn publish(url: &str, broadcast: &str, gops: [u32; 3], encoder: &str) -> Running {
    let mut line = format!(
        "videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=640,height=360,framerate={FPS}/1 ! \
         identity name=numbered ! tee name=all "
    );
    let mut sink = moqsink(url, broadcast);
    for (place, ((name, width, height, bitrate), gop)) in LADDER.iter().zip(gops).enumerate() {
        line += &format!(
            "all. ! queue ! videoscale ! video/x-raw,width={width},height={height} ! \
             x264enc speed-preset=ultrafast threads=1 {encoder} bitrate={bitrate} key-int-max={gop} \
             option-string=scenecut=0 ! video/x-h264,profile=main ! h264parse ! moq.sink_{place} "
        );
        sink += &format!(" sink_{place}::track={name}");
    }
    line += &sink;
    let publisher = Running::launch(&line);
    let numbered = publisher
        .element("numbered")
        .static_pad("src")
        .expect("a pad");
    barcode::write(&numbered);
    publisher.start();
    publisher
}

/// A subscriber of one decoded picture.
pub(crate) fn watch(url: &str, broadcast: &str, settings: &str) -> (Running, Pictures, Packets) {
    let watcher = Running::launch(&format!(
        "{} {settings} moq.video_0 ! avdec_h264 max-threads=1 output-corrupt=false ! \
         fakesink name=out sync=true",
        moqsrc(url, broadcast)
    ));
    let pictures = Pictures::of(&watcher.element("out").static_pad("sink").expect("a pad"));
    let packets = Packets::of_pad(&watcher.element("moq"), "video_0");
    watcher.start();
    (watcher, pictures, packets)
}

/// Claims that each picture is shown once, in order, from the first on.
pub(crate) fn assert_seamless(shown: &[Shown]) {
    for (place, pair) in shown.windows(2).enumerate() {
        assert_eq!(
            pair[1].number,
            pair[0].number + 1,
            "after {place} pictures: {:?}",
            &shown[place.saturating_sub(3)..(place + 4).min(shown.len())]
        );
        let step = pair[1]
            .pts
            .zip(pair[0].pts)
            .map(|(one, before)| one.saturating_sub(before));
        let step = step.expect("pictures have a time").mseconds();
        // The first ones may be caught up with.
        assert!(
            place < 60 || (25..42).contains(&step),
            "{step} ms after {place} pictures"
        );
    }
}

/// Changes the rendition at random as often as `times`, while each picture is to be shown once.
fn change_at_random(gops: [u32; 3], encoder: &str, times: usize) {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("switch");
    let _publisher = publish(&relay.url(), &broadcast, gops, encoder);
    let (watcher, pictures, packets) = watch(
        &relay.url(),
        &broadcast,
        "rendition-policy=adaptive video-rendition=cam-sd latency=1000",
    );
    let source = watcher.element("moq");
    let pad = wait_pad(&source, "video_0", DEADLINE);
    pictures.wait("pictures come", DEADLINE, |shown| shown.len() > 60);
    let mut current = 2;
    for _ in 0..times {
        current = (current + fastrand::usize(1..3)) % 3;
        let (name, width, ..) = LADDER[current];
        source.set_property("video-rendition", name);
        let last = |shown: &[Shown]| shown.last().map(|shown| shown.width);
        pictures.wait(&format!("{name} is shown"), DEADLINE, |shown| {
            last(shown) == Some(width)
        });
        assert_eq!(pad.property::<String>("target-rendition"), name);
    }
    let shown = pictures.so_far();
    assert_seamless(&shown);
    assert_eq!(source.num_src_pads(), 1);
    let disconts = packets.so_far();
    let disconts = disconts
        .iter()
        .skip(1)
        .filter(|packet| packet.flags.contains(gst::BufferFlags::DISCONT));
    assert_eq!(disconts.count(), 0);
    let segments = packets.events();
    let segments = segments
        .iter()
        .filter(|event| event.type_() == gst::EventType::StreamStart);
    assert!(segments.count() <= 1, "it is one stream");
    // The property has been told before it changed.
    wait_until("the track is told", DEADLINE, || {
        pad.property::<String>("track") == LADDER[current].0
    });
}

#[test]
fn renditions_change_at_random_and_each_picture_is_shown_once() {
    change_at_random([15, 15, 15], "tune=zerolatency", 20);
}

#[test]
fn so_they_do_with_groups_that_are_not_aligned() {
    change_at_random([13, 17, 11], "tune=zerolatency", 10);
}

#[test]
fn so_they_do_with_b_frames() {
    change_at_random(
        [15, 15, 15],
        "bframes=2 b-adapt=false rc-lookahead=0 sync-lookahead=0",
        10,
    );
}

#[test]
fn what_is_not_shown_costs_nothing() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("unshown");
    let publisher = publish(&relay.url(), &broadcast, [15; 3], "tune=zerolatency");
    let (watcher, pictures, packets) = watch(
        &relay.url(),
        &broadcast,
        "rendition-policy=best max-width=200",
    );
    let shown = pictures.wait("pictures come", DEADLINE, |shown| shown.len() > 120);
    assert_seamless(&shown);
    assert!(shown.iter().all(|shown| shown.width == 160));
    let source = watcher.element("moq");
    let pad = wait_pad(&source, "video_0", DEADLINE);
    let read: u64 = pad
        .property::<gst::Structure>("stats")
        .get("bytes")
        .expect("bytes");
    let given: usize = packets
        .so_far()
        .iter()
        .map(|packet| packet.bytes.len())
        .sum();
    assert!(read <= given as u64 + 20_000, "{read} read, {given} given");
    for (place, expected) in [(0, false), (1, false), (2, true)] {
        let pad = wait_pad(
            &publisher.element("moq"),
            &format!("sink_{place}"),
            DEADLINE,
        );
        assert_eq!(pad.property::<bool>("subscribed"), expected, "{place}");
    }
    let _ = Duration::ZERO;
}
