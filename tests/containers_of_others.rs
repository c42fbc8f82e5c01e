//! What other publishers put into LOC and CMAF is read.

mod common;

use std::{
    fs,
    time::{Duration, Instant},
};

use bytes::Bytes;
use gst::prelude::*;
use hang::catalog::{AAC, AudioConfig, Catalog, Container, H264, VideoConfig};
use moq_mux::container::{self, Frame, Kind};
use moq_net::Timestamp;

use common::{
    Packet, Packets, Publisher, Relay, Running,
    media::{clip, moqsrc},
    pipeline::{DEADLINE, wait_pad},
    same, unique_broadcast,
};

/// The boxes of an MP4 file.
fn boxes(mut file: &[u8]) -> Vec<([u8; 4], &[u8])> {
    let mut boxes = Vec::new();
    while let Some(size) = file.first_chunk() {
        let (one, rest) = file.split_at(u32::from_be_bytes(*size) as usize);
        boxes.push((one[4..8].try_into().expect("a type"), one));
        file = rest;
    }
    boxes
}

/// What a branch of the clip gives, and the same as a fragmented file of GStreamer's muxer.
fn fragmented(branch: &str) -> (Vec<Packet>, Vec<u8>) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("fragmented.mp4");
    let muxing = Running::launch(&format!(
        "filesrc location=\"{}\" ! qtdemux name=d {branch} ! \
         identity eos-after=50 ! tee name=t \
         t. ! queue ! mp4mux fragment-duration=500 ! filesink location=\"{}\" \
         t. ! queue ! fakesink name=sink sync=false",
        clip().display(),
        file.display()
    ));
    let packets = Packets::into_sink(&muxing.element("sink"));
    muxing.start();
    muxing.wait_eos();
    (packets.so_far(), fs::read(file).expect("the file"))
}

fn video_entry(container: Container) -> VideoConfig {
    let mut config = VideoConfig::new(H264 {
        profile: 0x4d,
        constraints: 0x40,
        level: 0x1f,
        inline: false,
    });
    config.container = container;
    config
}

#[test]
fn fragments_of_another_publisher_come_apart_into_what_was_muxed() {
    common::init();
    let relay = Relay::start().expect("the relay starts");
    for (branch, kind, decoder) in [
        ("d.video_0 ! queue ! h264parse", "video", "avdec_h264"),
        ("d.audio_0 ! queue ! aacparse", "audio", "avdec_aac"),
    ] {
        let (muxed, file) = fragmented(branch);
        let lost = if kind == "audio" { 24 } else { 0 };
        let boxes = boxes(&file);
        let of = |kinds: &[&[u8; 4]]| -> Vec<Vec<u8>> {
            let chosen = boxes.iter().filter(|(kind, _)| kinds.contains(&kind));
            chosen.map(|(_, one)| one.to_vec()).collect()
        };
        let init = Bytes::from(of(&[b"ftyp", b"moov"]).concat());
        let fragments: Vec<_> = of(&[b"moof", b"mdat"])
            .chunks(2)
            .map(|pair| pair.concat())
            .collect();
        assert!(fragments.len() * 5 < muxed.len(), "several samples in each");
        let container = Container::Cmaf { init };
        let mut catalog = Catalog::default();
        if kind == "video" {
            let entries = &mut catalog.video.renditions;
            entries.insert(kind.to_owned(), video_entry(container));
        } else {
            let mut entry = AudioConfig::new(AAC { profile: 2 }, 48_000, 6);
            entry.container = container;
            catalog.audio.renditions.insert(kind.to_owned(), entry);
        }
        let got = published(
            &relay,
            &catalog,
            kind,
            decoder,
            muxed.len() - lost,
            |track, pace| {
                let mut group = track.append_group().expect("a group");
                for (index, fragment) in fragments.into_iter().enumerate() {
                    pace(index as u64 * 500);
                    let now = Timestamp::from_micros(0).expect("a time");
                    group.write_frame(now, fragment).expect("written");
                }
                group.finish().expect("the group ends");
            },
        );
        // Sound that is older than the newest at the start comes too late.
        let late = muxed.len() - got.len();
        assert!(late <= lost, "{kind}: {late} are missing");
        same(kind, &muxed[late..], &got);
        let keys = |packets: &[Packet]| packets.iter().map(Packet::is_key).collect::<Vec<_>>();
        assert_eq!(
            keys(&got),
            keys(&muxed[late..]),
            "{kind}: the same key frames"
        );
    }
}

#[test]
fn frames_of_another_publisher_in_loc_are_read() {
    common::init();
    let relay = Relay::start().expect("the relay starts");
    let (muxed, _) = fragmented(
        "d.video_0 ! queue ! h264parse ! video/x-h264,stream-format=byte-stream ! h264parse ! video/x-h264,stream-format=avc",
    );
    let mut catalog = Catalog::default();
    let mut entry = video_entry(Container::Loc);
    entry.description = Some(codec_data());
    catalog.video.renditions.insert("video".to_owned(), entry);
    let wire = moq_mux::catalog::hang::Container::Loc(Kind::Video);
    let got = published(
        &relay,
        &catalog,
        "video",
        "avdec_h264",
        muxed.len(),
        |track, pace| {
            let mut producer = container::Producer::new(track.clone(), wire);
            for packet in &muxed {
                let micros = packet.pts.expect("a time").useconds();
                pace(micros / 1000);
                let written = producer.write(Frame {
                    timestamp: Timestamp::from_micros(micros).expect("a time"),
                    duration: None,
                    payload: packet.bytes.clone().into(),
                    keyframe: packet.is_key(),
                });
                written.expect("written");
            }
            producer
        },
    );
    same("video", &muxed, &got);
}

/// The avcC record of the clip.
fn codec_data() -> Bytes {
    let player = Running::play(&format!(
        "filesrc location=\"{}\" ! qtdemux ! h264parse ! video/x-h264,stream-format=avc ! fakesink name=sink",
        clip().display()
    ));
    player.wait_eos();
    let pad = player.element("sink").static_pad("sink").expect("a pad");
    let caps = pad.current_caps().expect("caps");
    let data = caps
        .structure(0)
        .expect("a structure")
        .get::<gst::Buffer>("codec_data");
    let data = data.expect("codec_data");
    Bytes::copy_from_slice(&data.map_readable().expect("readable"))
}

/// What moqsrc gives of a track that another publisher writes.
fn published<T>(
    relay: &Relay,
    catalog: &Catalog,
    kind: &str,
    decoder: &str,
    count: usize,
    write: impl FnOnce(&moq_net::track::Producer, &dyn Fn(u64)) -> T,
) -> Vec<Packet> {
    let broadcast = unique_broadcast("other");
    let text = serde_json::to_string(catalog).expect("a catalog");
    let publisher = Publisher::start(&relay.url(), &broadcast, &text);
    let track = publisher.track(kind);
    let subscriber = Running::play(&format!(
        "{} latency=2000 moq.{kind}_0 ! {decoder} ! fakesink sync=false",
        moqsrc(&relay.url(), &broadcast)
    ));
    let source = subscriber.element("moq");
    let got = Packets::of(&wait_pad(&source, &format!("{kind}_0"), DEADLINE));
    publisher.wait_used(&track);
    let begun = Instant::now();
    // As a live publisher does: what is older than the newest when it comes is late.
    let _alive = write(&track, &|millis| {
        let due = Duration::from_millis(millis);
        std::thread::sleep(due.saturating_sub(begun.elapsed()));
    });
    got.wait_count(count, DEADLINE);
    publisher.finish();
    let packets = got.wait_eos(DEADLINE);
    subscriber.wait_eos();
    packets
}
