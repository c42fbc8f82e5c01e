//! What is recorded from `moqsrc` is a file that others can play.

mod common;

use std::path::Path;

use common::{
    Packet, Packets, Relay, Running,
    media::{Video, moqsink, moqsrc},
    pipeline::{DEADLINE, wait_pad},
    unique_broadcast,
};

const FRAMES: usize = 120;

/// The muxers that recorders use, each with the demuxer that reads it.
///
/// qtdemux ends a fragmented file at its duration in decode order, whoever wrote it: the last pictures
/// are in the file, as many as B-frames in a row, and are not shown.
const MUXERS: [(&str, &str); 4] = [
    ("h264parse ! mp4mux", "qtdemux"),
    ("h264parse ! mp4mux fragment-duration=500", "qtdemux"),
    ("h264parse ! matroskamux", "matroskademux"),
    ("h264parse ! mpegtsmux", "tsdemux"),
];

/// A live publisher with `b_frames`, and a subscriber that records with `muxer` until `frames` have come.
fn record(relay: &Relay, broadcast: &str, muxer: &str, file: &Path) -> Vec<Packet> {
    let recorder = Running::play(&format!(
        "{} moq.video_0 ! queue ! {muxer} ! filesink location=\"{}\"",
        moqsrc(&relay.url(), broadcast),
        file.display()
    ));
    let pad = wait_pad(&recorder.element("moq"), "video_0", DEADLINE);
    let packets = Packets::of(&pad);
    packets.wait_count(FRAMES, DEADLINE);
    recorder.end();
    packets.so_far()
}

/// The pictures of a file with their times, as a player decodes them.
fn play(file: &Path, demuxer: &str) -> Vec<Packet> {
    let player = Running::launch(&format!(
        "filesrc location=\"{}\" ! {demuxer} ! h264parse ! avdec_h264 ! fakesink name=out sync=false",
        file.display()
    ));
    let pictures = Packets::into_sink(&player.element("out"));
    player.start();
    player.wait_eos();
    pictures.so_far()
}

fn records_of(b_frames: u32) {
    common::init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("record");
    let video = Video {
        b_frames,
        ..Video::default()
    };
    let _publisher = Running::play(&format!(
        "{} ! moq.sink_0 {}",
        video.live(),
        moqsink(&relay.url(), &broadcast)
    ));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("recording");
    for (muxer, demuxer) in MUXERS {
        let received = record(&relay, &broadcast, muxer, &file);
        assert!(received[0].is_key(), "{muxer}: begins with a key frame");
        let pictures = play(&file, demuxer);
        let cut = if muxer.contains("fragment") {
            b_frames
        } else {
            0
        };
        assert_eq!(pictures.len() + cut as usize, received.len(), "{muxer}");
        for pair in pictures.windows(2) {
            assert!(
                pair[0].pts < pair[1].pts,
                "{muxer}: {:?} then {:?}",
                pair[0].pts,
                pair[1].pts
            );
        }
        for pair in received.windows(2) {
            assert!(pair[0].dts < pair[1].dts, "{muxer}: decode times rise");
        }
        assert!(received.iter().all(|packet| packet.dts <= packet.pts));
    }
}

#[test]
fn a_stream_with_b_frames_is_recorded_whole_and_in_order() {
    records_of(2);
}

#[test]
fn a_stream_without_b_frames_is_recorded_whole_and_in_order() {
    records_of(0);
}
