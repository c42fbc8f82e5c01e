// SPDX-License-Identifier: MIT
//! GStreamer's own players take what `moqsrc` gives, without being told what it is.

use gst::prelude::*;

use crate::common::{
    Packets, Relay, Running, init,
    media::{moqsrc, publish_live},
    pipeline::DEADLINE,
    unique_broadcast,
};

/// How many video frames and audio packets must be decoded.
const ENOUGH: usize = 10;

#[test]
fn decodebin3_decodes_the_streams_of_the_collection() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("decodebin");
    let _publisher = Running::play(&publish_live(&relay.url(), &broadcast));
    let player = Running::launch(&format!(
        "{} decodebin3 name=dec moq.video_0 ! dec. moq.audio_0 ! dec.sink_1 \
         dec.video_0 ! fakesink name=video dec.audio_0 ! fakesink name=audio",
        moqsrc(&relay.url(), &broadcast)
    ));
    let decoded = ["video", "audio"].map(|sink| Packets::into_sink(&player.element(sink)));
    player.start();
    for packets in &decoded {
        packets.wait_count(ENOUGH, DEADLINE);
    }
}

#[test]
fn playbin3_plays_a_uri() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("playbin");
    let _publisher = Running::play(&publish_live(&relay.url(), &broadcast));
    let uri = format!("moq+{}#{broadcast}", relay.url());
    let player = Running::launch(&format!(
        "playbin3 uri={uri} \
         video-sink=\"fakesink name=video\" audio-sink=\"fakesink name=audio\""
    ));
    player.connect("source-setup", false, |values| {
        let source = values.get(1)?.get::<gst::Element>().ok()?;
        source.set_property("tls-disable-verify", true);
        None
    });
    let decoded = ["video-sink", "audio-sink"]
        .map(|sink| Packets::into_sink(&player.property::<gst::Element>(sink)));
    player.start();
    for packets in &decoded {
        packets.wait_count(ENOUGH, DEADLINE);
    }
}
