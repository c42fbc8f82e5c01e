// SPDX-License-Identifier: MIT
//! Broken audio: it stops its own pad, or is dropped, each with a reason that a person understands.

use std::sync::{Arc, Mutex};

use gst::prelude::*;

use crate::common::{
    Packets, Relay, Running, init,
    media::{moqsink, moqsrc},
    pipeline::{DEADLINE, describe, wait_message_that, wait_pad},
    unique_broadcast, wait_message,
};

#[test]
fn pcm_that_ends_within_a_sample_is_dropped_alone() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("pcm");
    let subscriber = Running::play(&format!(
        "{} latency=4000 ! fakesink sync=false",
        moqsrc(&relay.url(), &broadcast)
    ));
    let publisher = Running::play(&format!(
        "appsrc name=src format=time \
         caps=audio/x-raw,format=F32LE,layout=interleaved,rate=48000,channels=2 ! moq.sink_0 {}",
        moqsink(&relay.url(), &broadcast)
    ));
    let source: gst_app::AppSrc = publisher.element("src").downcast().expect("an appsrc");
    // The second one has half a sample too much; the last one is a whole second.
    let sizes = [3840, 3844, 3840, 384_000];
    for (number, size) in sizes.into_iter().enumerate() {
        let mut buffer = gst::Buffer::from_slice(vec![number as u8; size]);
        let pts = gst::ClockTime::from_mseconds(10) * number as u64;
        buffer.get_mut().expect("a new buffer").set_pts(pts);
        source.push_buffer(buffer).expect("a push");
    }
    source.end_of_stream().expect("the end");
    let got = Packets::of_pad(&subscriber.element("moq"), "audio_0");
    let warning = wait_message_that(&publisher.bus(), DEADLINE, |message| {
        message.type_() == gst::MessageType::Warning
    });
    let warning = describe(&warning.expect("a warning"));
    assert!(warning.contains("no multiple of 8 bytes"), "{warning}");
    publisher.wait_eos();
    subscriber.wait_eos();
    let got: Vec<_> = got
        .so_far()
        .iter()
        .map(|packet| packet.bytes.len())
        .collect();
    assert_eq!(got, [3840, 3840, 384_000]);
}

/// The header of a frame and nothing else.
const MP3: &[u8] = &[0xff, 0xfb, 0x94, 0x64];

/// Caps, a payload, and what the warning says.
const BROKEN: [(&str, &[u8], &str); 10] = [
    ("audio/x-flac,framed=true", &[0; 9], "streamheader"),
    (
        "audio/x-flac,streamheader=(buffer)<664c6143>",
        &[0; 9],
        "STREAMINFO",
    ),
    (
        "audio/x-opus,channel-mapping-family=0,streamheader=(buffer)<4f707573>",
        &[0; 9],
        "OpusHead",
    ),
    (
        "audio/mpeg,mpegversion=4,stream-format=raw,codec_data=(buffer)11",
        &[0; 9],
        "AudioSpecificConfig",
    ),
    (
        "audio/x-raw,format=F32LE,layout=interleaved,rate=0,channels=2",
        &[0; 8],
        "rate=0",
    ),
    (
        "audio/mpeg,mpegversion=1,layer=3,rate=999999,channels=2",
        MP3,
        "rate=999999",
    ),
    ("audio/mpeg,mpegversion=1,layer=3", MP3, "mpegaudioparse"),
    (
        "audio/mpeg,mpegversion=1,layer=2",
        &[0; 9],
        "mpegaudioparse",
    ),
    ("audio/x-ac3", b"\x77\x0b", "ac3parse"),
    ("audio/x-eac3", b"", "it is empty"),
];

#[test]
fn broken_input_stops_its_own_pad_or_is_dropped_with_a_reason() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("broken");
    let subscriber = Running::play(&format!(
        "{} latency=4000 ! fakesink sync=false",
        moqsrc(&relay.url(), &broadcast)
    ));
    let mut line = moqsink(&relay.url(), &broadcast);
    for (number, (caps, ..)) in BROKEN.iter().enumerate() {
        line += &format!(" appsrc name=broken_{number} format=time caps=\"{caps}\" ! moq.");
    }
    line += " audiotestsrc num-buffers=50 ! opusenc ! moq.";
    let publisher = Running::launch(&line);
    let sink = publisher.element("moq");
    let sent = Packets::of(&wait_pad(
        &sink,
        &format!("sink_{}", BROKEN.len()),
        DEADLINE,
    ));
    publisher.start();
    let got = Packets::of_pad(&subscriber.element("moq"), "audio_0");
    let mut missing = Vec::new();
    for (number, (_, payload, reason)) in BROKEN.into_iter().enumerate() {
        let source = publisher.element(&format!("broken_{number}"));
        let source: gst_app::AppSrc = source.downcast().expect("an appsrc");
        let mut buffer = gst::Buffer::from_slice(payload);
        let pts = gst::ClockTime::ZERO;
        buffer.get_mut().expect("a new buffer").set_pts(pts);
        source.push_buffer(buffer).expect("a push");
        source.end_of_stream().expect("the end");
        missing.push((format!("The pad sink_{number}:"), reason));
    }
    while !missing.is_empty() {
        let warning = wait_message(&publisher.bus(), &[gst::MessageType::Warning], DEADLINE);
        let warning = describe(&warning);
        missing.retain(|(pad, reason)| !(warning.contains(pad) && warning.contains(reason)));
    }
    publisher.wait_eos();
    subscriber.wait_eos();
    let [got, sent] = [got, sent].map(|packets| {
        let packets = packets.so_far().into_iter();
        packets.map(|packet| packet.bytes).collect::<Vec<_>>()
    });
    // It is announced late, because the other pads might still have something to publish.
    assert!(
        got.len() > 5 && sent.ends_with(&got),
        "the other pad goes on"
    );
}

#[test]
fn refused_caps_say_in_the_log_what_to_do() {
    init();
    gst::log::set_threshold_for_name("moqsink", gst::DebugLevel::Warning);
    let said = Arc::new(Mutex::new(String::new()));
    let log = said.clone();
    gst::log::add_log_function(move |category, _, _, _, _, _, message| {
        if let Some(message) = message.get().filter(|_| category.name() == "moqsink") {
            log.lock().expect("no panic").push_str(&message);
        }
    });
    let sink = gst::ElementFactory::make("moqsink")
        .build()
        .expect("a sink");
    let pad = sink.request_pad_simple("sink_%u").expect("a pad");
    for (caps, hint) in [
        (
            "audio/x-raw,format=S16LE,layout=interleaved,rate=48000,channels=2",
            "audioconvert",
        ),
        (
            "audio/mpeg,mpegversion=4,stream-format=adts,rate=48000,channels=2",
            "aacparse",
        ),
        (
            "audio/x-opus,channel-mapping-family=255,channels=3",
            "audioconvert",
        ),
    ] {
        let caps: gst::Caps = caps.parse().expect("caps");
        assert!(!pad.query_accept_caps(&caps));
        let said = std::mem::take(&mut *said.lock().expect("no panic"));
        assert!(said.contains("Refused: ") && said.contains(hint), "{said}");
    }
}
