// SPDX-License-Identifier: MIT
//! What other publishers put into LOC and CMAF is read.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use gst::prelude::*;
use hang::catalog::{AAC, AudioConfig, Catalog, Container, H264, VideoConfig};
use moq_mux::container::{self, Frame, Kind};
use moq_net::Timestamp;

use crate::common::{
    self, Packet, Packets, Publisher, Relay, Running,
    media::{clip, moqsrc},
    pipeline::DEADLINE,
    same, unique_broadcast,
};

/// Samples of AAC at 48 kHz in a fragment of 500 ms at most.
const IN_HALF_A_SECOND: usize = 500 * 48 / 1024;

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
        let (init, fragments) = init_and_fragments(&file);
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
            &format!("latency=2000 moq.{kind}_0 ! {decoder} ! fakesink name=out sync=false"),
            muxed.len(),
            |track, pace| write_fragments(track, pace, fragments),
        );
        same(kind, &muxed, &got);
        let keys = |packets: &[Packet]| packets.iter().map(Packet::is_key).collect::<Vec<_>>();
        assert_eq!(keys(&got), keys(&muxed), "{kind}: the same keyframes");
    }
}

#[test]
fn a_synced_sink_shows_every_sample_of_fragments_longer_than_the_latency() {
    common::init();
    let relay = Relay::start().expect("the relay starts");
    let (muxed, file) = fragmented("d.audio_0 ! queue ! aacparse");
    let (init, mut fragments) = init_and_fragments(&file);
    // The muxer cuts the last ones shorter than the pace at which they are written.
    fragments.truncate(2);
    let muxed = &muxed[..2 * IN_HALF_A_SECOND];
    let mut entry = AudioConfig::new(AAC { profile: 2 }, 48_000, 6);
    entry.container = Container::Cmaf { init };
    let mut catalog = Catalog::default();
    catalog.audio.renditions.insert("audio".to_owned(), entry);
    let got = published(
        &relay,
        &catalog,
        "audio",
        "latency=50 moq.audio_0 ! fakesink name=out sync=true max-lateness=300000000",
        muxed.len(),
        |track, pace| write_fragments(track, pace, fragments),
    );
    same("audio", muxed, &got);
}

/// The init segment of a fragmented file, and its fragments.
fn init_and_fragments(file: &[u8]) -> (Bytes, Vec<Vec<u8>>) {
    let boxes = boxes(file);
    let of = |kinds: &[&[u8; 4]]| -> Vec<Vec<u8>> {
        let chosen = boxes.iter().filter(|(kind, _)| kinds.contains(&kind));
        chosen.map(|(_, one)| one.to_vec()).collect()
    };
    let init = Bytes::from(of(&[b"ftyp", b"moov"]).concat());
    let fragments = of(&[b"moof", b"mdat"]);
    let fragments = fragments.chunks(2).map(|pair| pair.concat());
    (init, fragments.collect())
}

/// One group of all `fragments`, each of half a second.
fn write_fragments(track: &moq_net::track::Producer, pace: &dyn Fn(u64), fragments: Vec<Vec<u8>>) {
    let mut group = track.append_group().expect("a group");
    for (index, fragment) in fragments.into_iter().enumerate() {
        pace(index as u64 * 500);
        let now = Timestamp::from_micros(0).expect("a time");
        group.write_frame(now, fragment).expect("written");
    }
    group.finish().expect("the group ends");
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
        "latency=2000 moq.video_0 ! avdec_h264 ! fakesink name=out sync=false",
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

/// Counts what the sink shows in time.
fn counted(sink: &gst::Element) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    sink.set_property("signal-handoffs", true);
    sink.connect("handoff", false, move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
        None
    });
    count
}

/// What moqsrc gives of a track that another publisher writes.
fn published<T>(
    relay: &Relay,
    catalog: &Catalog,
    kind: &str,
    player: &str,
    count: usize,
    write: impl FnOnce(&moq_net::track::Producer, &dyn Fn(u64)) -> T,
) -> Vec<Packet> {
    let broadcast = unique_broadcast("other");
    let text = serde_json::to_string(catalog).expect("a catalog");
    let publisher = Publisher::start(&relay.url(), &broadcast, &text);
    let track = publisher.track(kind);
    let subscriber = Running::play(&format!("{} {player}", moqsrc(&relay.url(), &broadcast)));
    let source = subscriber.element("moq");
    let got = Packets::of_pad(&source, &format!("{kind}_0"));
    let shown = counted(&subscriber.element("out"));
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

    let shown = shown.load(Ordering::Relaxed);
    assert_eq!(shown, packets.len(), "the sink shows them all");
    packets
}
