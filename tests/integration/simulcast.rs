// SPDX-License-Identifier: MIT
//! One picture in several renditions: keyframes at the same times, and who rests where there is too little.

use std::{collections::BTreeSet, time::Duration};

use gst::prelude::*;

use crate::common::{
    Packets, Relay, Running, Viewer, init,
    media::moqsink,
    pipeline::{DEADLINE, wait_pad, wait_property, wait_until},
    unique_broadcast,
};

/// A rate grows by no more than 15 % each second.
const GROWS: Duration = Duration::from_secs(60);

/// Three renditions of one live picture, whose encoders make a keyframe only when they are asked.
fn publish(relay: &Relay, broadcast: &str, properties: &str) -> Running {
    let rendition = |index: usize, width: u32| {
        format!(
            "tee. ! queue ! videoscale ! video/x-raw,width={width},height={} ! \
             x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10000 \
             option-string=scenecut=0 ! h264parse ! moq.sink_{index} ",
            width * 3 / 4
        )
    };
    // The largest first: the order of the pads does not matter.
    let renditions = [(0, 320), (1, 160), (2, 80)].map(|(index, width)| rendition(index, width));
    Running::launch(&format!(
        "videotestsrc is-live=true pattern=snow ! \
         video/x-raw,format=I420,width=320,height=240,framerate=30/1 ! tee name=tee {} {} \
         sink_0::rendition-group=camera sink_1::rendition-group=camera sink_2::rendition-group=camera \
         {properties}",
        renditions.concat(),
        moqsink(&relay.url(), broadcast)
    ))
}

#[test]
fn all_renditions_have_their_keyframes_at_the_same_times() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("group");
    let publisher = publish(&relay, &broadcast, "sink_1::key-unit-age=1");
    let sink = publisher.element("moq");
    let pads = ["sink_0", "sink_1", "sink_2"].map(|pad| wait_pad(&sink, pad, DEADLINE));
    let frames = ["sink_0", "sink_1", "sink_2"].map(|pad| Packets::of_pad(&sink, pad));
    publisher.start();
    for pad in &pads {
        wait_property(pad, "active-track", DEADLINE, Option::<String>::is_some);
    }
    frames[1].wait_count(30, DEADLINE);
    let keys = |packets: &Packets| -> BTreeSet<Option<gst::ClockTime>> {
        let packets = packets.so_far();
        let keys = packets.iter().filter(|packet| packet.is_key());
        keys.map(|packet| packet.pts).collect()
    };
    let before = keys(&frames[1]).len();
    // Who subscribes to one of them has all asked.
    let viewer = Viewer::start(&relay.url(), &broadcast);
    wait_until("a keyframe of each rendition", DEADLINE, || {
        frames.iter().all(|frames| keys(frames).len() > before)
    });
    let [large, middle, small] = frames.map(|frames| keys(&frames));
    assert_eq!(large, middle);
    assert_eq!(large, small);
    drop(viewer);
}

#[test]
fn the_largest_rendition_rests_until_there_is_room_for_it() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("rests");
    let publisher = publish(
        &relay,
        &broadcast,
        "rate-control=encoder start-bitrate=400000 max-bitrate=1200000 \
         sink_0::bitrate-share=8 sink_1::bitrate-share=3 sink_2::bitrate-share=1",
    );
    let sink = publisher.element("moq");
    let [large, middle, small] =
        ["sink_0", "sink_1", "sink_2"].map(|pad| wait_pad(&sink, pad, DEADLINE));
    publisher.start();
    let rate = |pad: &gst::Pad, fits: fn(&u32) -> bool| {
        wait_property(pad, "target-bitrate", GROWS, fits);
    };
    // All that the small one can use.
    rate(&small, |rate| (99_000..=100_000).contains(rate));
    rate(&middle, |rate| (290_000..=300_000).contains(rate));
    let dropped = || {
        let stats: gst::Structure = large.property("stats");
        stats.get("dropped-rendition").unwrap_or(0u64)
    };
    wait_until("the frames of the large one are dropped", DEADLINE, || {
        dropped() > 0
    });
    assert_eq!(large.property::<u32>("target-bitrate"), 0);
    // Without rate control none rests.
    let published = || {
        let stats: gst::Structure = large.property("stats");
        stats.get("frames").unwrap_or(0u64)
    };
    sink.set_property_from_str("rate-control", "none");
    let before = published();
    wait_until("the large one is published", DEADLINE, || {
        published() > before
    });
    sink.set_property_from_str("rate-control", "encoder");
    let viewer = Viewer::start(&relay.url(), &broadcast);
    rate(&large, |rate| *rate > 500_000);
    viewer.wait("frames of all renditions", GROWS, |seen| {
        ["video", "video-2", "video-3"]
            .iter()
            .all(|track| seen.count(track) > 0)
    });
}
