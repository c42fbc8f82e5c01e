// SPDX-License-Identifier: MIT
//! What is published is what is received, in order and to the last frame.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::common::{
    self, Packet, Packets, Relay, Running,
    media::{CLIP_FRAMES, clip, moqsrc, publish_clip},
    unique_broadcast,
};

/// The clip, published and received, with what passed both ends.
struct Received {
    video: Vec<Packet>,
    audio: Vec<Packet>,
}

/// Publishes the clip to a subscriber that waits for it already.
fn through(relay: &Relay, sinks: &str) -> (Received, Received) {
    let broadcast = unique_broadcast("clip");
    let subscriber = Running::play(&format!(
        // Audio from before the start of a subscription is kept up to half the latency.
        "{} latency=2000 {sinks}",
        moqsrc(&relay.url(), &broadcast)
    ));
    let publisher = Running::launch(&publish_clip(&relay.url(), &broadcast));
    let sink = publisher.element("moq");
    let sent = ["sink_0", "sink_1"].map(|pad| Packets::of_pad(&sink, pad));
    let source = subscriber.element("moq");
    publisher.start();
    let got = ["video_0", "audio_0"].map(|pad| Packets::of_pad(&source, pad));
    publisher.wait_eos();
    subscriber.wait_eos();
    let received = |packets: &[Packets; 2]| Received {
        video: packets[0].so_far(),
        audio: packets[1].so_far(),
    };
    (received(&sent), received(&got))
}

/// MD5 sums of what a pipeline without a network decodes from the clip.
fn decoded(branch: &str, out: &Path) {
    let line = format!(
        "filesrc location=\"{}\" ! qtdemux name=d {branch} ! filesink location=\"{}\"",
        clip().display(),
        out.display()
    );
    let pipeline = Running::play(&line);
    pipeline.wait_eos();
}

fn payloads(packets: &[Packet]) -> Vec<&[u8]> {
    packets.iter().map(|packet| &packet.bytes[..]).collect()
}

#[test]
fn every_access_unit_and_packet_arrives_byte_for_byte() {
    common::init();
    let relay = Relay::start().expect("the relay starts");
    let (sent, got) = through(
        &relay,
        "moq.video_0 ! fakesink sync=false moq.audio_0 ! fakesink sync=false",
    );
    assert_eq!(sent.video.len(), CLIP_FRAMES);
    assert_eq!(got.video.len(), CLIP_FRAMES, "every frame arrives");
    assert!(
        payloads(&sent.video) == payloads(&got.video),
        "as it was sent"
    );
    let expected = payloads(&sent.audio);
    assert!(!expected.is_empty());
    assert!(
        payloads(&got.audio) == expected,
        "{} of {} audio packets",
        got.audio.len(),
        expected.len()
    );
    for packets in [&got.video, &got.audio] {
        for pair in packets.windows(2) {
            assert!(pair[0].pts < pair[1].pts, "times rise");
        }
    }
}

#[test]
fn video_and_audio_decode_to_what_the_file_decodes_to() {
    common::init();
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| -> PathBuf { folder.path().join(name) };
    let relay = Relay::start().expect("the relay starts");
    let sinks = format!(
        "moq.video_0 ! avdec_h264 ! video/x-raw,format=I420 ! filesink location=\"{}\" \
         moq.audio_0 ! avdec_aac ! filesink location=\"{}\"",
        file("video").display(),
        file("audio").display()
    );
    through(&relay, &sinks);
    decoded(
        "d.video_0 ! queue ! h264parse ! avdec_h264 ! video/x-raw,format=I420",
        &file("video-expected"),
    );
    decoded(
        "d.audio_0 ! queue ! aacparse ! avdec_aac",
        &file("audio-expected"),
    );
    let read = |name: &str| fs::read(file(name)).expect("the decoded file");
    let frame = 1280 * 720 * 3 / 2;
    assert_eq!(read("video").len(), CLIP_FRAMES * frame);
    assert!(read("video") == read("video-expected"), "the same frames");
    assert!(read("audio") == read("audio-expected"), "the same samples");
}
