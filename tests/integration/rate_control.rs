// SPDX-License-Identifier: MIT
//! Which bit rates pads and encoders get, on a path that carries everything.

use gst::prelude::*;

use crate::common::{
    Relay, Running, init,
    media::{live_opus, moqsink},
    pipeline::{DEADLINE, describe, wait_message_that, wait_pad, wait_property},
    unique_broadcast,
};

fn video(encoder: &str) -> String {
    format!(
        "videotestsrc is-live=true ! video/x-raw,format=I420,width=160,height=120,framerate=30/1 ! \
         {encoder} ! h264parse"
    )
}

fn x264(name: &str) -> String {
    format!("x264enc name={name} tune=zerolatency speed-preset=ultrafast key-int-max=60")
}

/// A publisher of `media`, whose sink has these properties.
fn publish(media: &str, properties: &str) -> (Relay, Running) {
    init();
    let relay = Relay::start().expect("the relay starts");
    let sink = moqsink(&relay.url(), &unique_broadcast("rates"));
    let publisher = Running::launch(&format!("{media} {sink} {properties}"));
    (relay, publisher)
}

fn wait_rate(publisher: &Running, pad: &str, fits: impl Fn(u32) -> bool) -> u32 {
    let pad = wait_pad(&publisher.element("moq"), pad, DEADLINE);
    wait_property(&pad, "target-bitrate", DEADLINE, |rate: &u32| fits(*rate))
}

fn wait_warning(publisher: &Running, words: &str) {
    let warning = wait_message_that(&publisher.bus(), DEADLINE, |message| {
        message.type_() == gst::MessageType::Warning && describe(message).contains(words)
    });
    assert!(warning.is_some(), "a warning of {words}");
}

#[test]
fn video_shares_what_audio_leaves() {
    let media = format!(
        "{} ! moq.sink_0 {} ! moq.sink_1 {} ! moq.sink_2",
        video(&x264("large")),
        video(&x264("small")),
        live_opus()
    );
    let settings = "rate-control=encoder min-bitrate=2000000 max-bitrate=2000000 \
                    sink_0::bitrate-share=3 sink_1::bitrate-share=1";
    let (_relay, publisher) = publish(&media, settings);
    publisher.start();
    // Audio is measured for a while.
    let large = wait_rate(&publisher, "sink_0", |rate| (1..1_480_000).contains(&rate));
    let small = wait_rate(&publisher, "sink_1", |rate| rate > 0);
    assert!(large.abs_diff(3 * small) < 60_000, "{large} and {small}");
    assert!(large > 1_300_000, "{large}");
    assert_eq!(
        wait_rate(&publisher, "sink_2", |_| true),
        0,
        "audio keeps its own"
    );
    for (name, least) in [("large", 1_300), ("small", 430)] {
        let encoder = publisher.element(name);
        wait_property(&encoder, "bitrate", DEADLINE, |kilobits: &u32| {
            (least..least + 200).contains(kilobits)
        });
    }
}

#[test]
fn shares_that_sum_to_nothing_are_equal() {
    let media = format!(
        "{} ! moq.sink_0 {} ! moq.sink_1",
        video(&x264("one")),
        video(&x264("other"))
    );
    let settings = "rate-control=notify min-bitrate=1000000 max-bitrate=1000000 \
                    sink_0::bitrate-share=0 sink_1::bitrate-share=0";
    let (_relay, publisher) = publish(&media, settings);
    publisher.start();
    for pad in ["sink_0", "sink_1"] {
        wait_rate(&publisher, pad, |rate| rate == 500_000);
    }
    wait_warning(&publisher, "bitrate-share");
    let kilobits: u32 = publisher.element("one").property("bitrate");
    assert_eq!(kilobits, 2048, "notify leaves encoders alone");
}

#[test]
fn without_rate_control_nothing_is_set() {
    let media = format!("{} ! moq.sink_0", video(&x264("encoder")));
    let (_relay, publisher) = publish(&media, "");
    publisher.start();
    let pad = wait_pad(&publisher.element("moq"), "sink_0", DEADLINE);
    wait_property(&pad, "active-track", DEADLINE, Option::<String>::is_some);
    assert_eq!(pad.property::<u32>("target-bitrate"), 0);
    let sink = publisher.element("moq");
    for _ in 0..2 {
        sink.set_property_from_str("rate-control", "notify");
        wait_rate(&publisher, "sink_0", |rate| rate > 0);
        sink.set_property_from_str("rate-control", "none");
        wait_rate(&publisher, "sink_0", |rate| rate == 0);
    }
}

#[test]
fn a_minimum_above_the_maximum_is_warned_of_and_the_maximum_holds() {
    let media = format!("{} ! moq.sink_0", video(&x264("encoder")));
    let settings = "rate-control=notify min-bitrate=3000000 max-bitrate=1000000";
    let (_relay, publisher) = publish(&media, settings);
    publisher.start();
    wait_warning(&publisher, "min-bitrate");
    wait_rate(&publisher, "sink_0", |rate| rate == 1_000_000);
}

#[test]
fn frames_without_an_encoder_are_published_after_a_warning() {
    let media = format!(
        "{} ! appsink name=frames sync=false max-buffers=100 appsrc name=input format=time is-live=true ! moq.sink_0",
        video(&x264("encoder"))
    );
    let (_relay, publisher) = publish(&media, "rate-control=encoder");
    let frames = publisher.element("frames");
    let input = publisher.element("input");
    frames.connect("new-sample", false, move |values| {
        let frames: gst::Element = values[0].get().ok()?;
        let sample: gst::Sample = frames.emit_by_name("pull-sample", &[]);
        input.emit_by_name_with_values("push-sample", &[sample.to_value()])
    });
    frames.set_property("emit-signals", true);
    publisher.start();
    wait_warning(&publisher, "no encoder");
    let pad = wait_pad(&publisher.element("moq"), "sink_0", DEADLINE);
    let before = frames_of(&pad);
    crate::common::pipeline::wait_until("the stream goes on", DEADLINE, || {
        frames_of(&pad) > before + 30
    });
}

fn frames_of(pad: &gst::Pad) -> u64 {
    let stats: gst::Structure = pad.property("stats");
    stats.get("frames").unwrap_or_default()
}
