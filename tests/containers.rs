//! Each container carries what it is given, and what other publishers put into it is read.

mod common;

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use bytes::Bytes;
use gst::prelude::*;
use hang::catalog::{AAC, AudioConfig, Catalog, Container, H264, VideoConfig};
use moq_mux::container::{self, Frame, Kind};
use moq_net::Timestamp;

use common::{
    Packet, Packets, Publisher, Relay, Running, Viewer,
    media::{Video, clip, finite_aac, moqsink, moqsrc},
    pipeline::{DEADLINE, describe, wait_message_that, wait_pad, wait_property},
    unique_broadcast,
};

/// What one row publishes.
struct Stream {
    name: &'static str,
    /// An encoder, as a launch line's elements.
    source: String,
    /// A decoder that links without a parser.
    decoder: &'static str,
    kind: &'static str,
}

fn streams() -> Vec<Stream> {
    let avc = "video/x-h264,stream-format=avc,alignment=au";
    let video = Video::default();
    let reordered = Video {
        b_frames: 2,
        gop: 20,
        ..video
    };
    let i420 = "avdec_h264 ! video/x-raw,format=I420";
    let stream = |name, kind, source, decoder| Stream {
        name,
        source,
        decoder,
        kind,
    };
    vec![
        stream(
            "H.264",
            "video",
            format!("{} ! {avc}", video.finite(45)),
            i420,
        ),
        stream(
            "H.264 with B-frames",
            "video",
            format!("{} ! {avc}", reordered.finite(45)),
            i420,
        ),
        stream("AAC", "audio", finite_aac(70), "avdec_aac"),
        stream(
            "Opus",
            "audio",
            "audiotestsrc num-buffers=75 samplesperbuffer=960 wave=pink-noise ! \
             audio/x-raw,rate=48000,channels=2 ! opusenc frame-size=20 ! opusparse"
                .to_owned(),
            "opusdec",
        ),
    ]
}

/// One row under way: published, seen on the wire, received and decoded at both ends.
struct Row {
    stream: Stream,
    sent: Packets,
    got: Packets,
    viewer: Viewer,
    publisher: Running,
    subscriber: Running,
    folder: tempfile::TempDir,
}

impl Row {
    fn start(relay: &Relay, stream: Stream, container: &str) -> Self {
        let broadcast = unique_broadcast("container");
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str| folder.path().join(name).display().to_string();
        let Stream {
            source,
            decoder,
            kind,
            ..
        } = &stream;
        let viewer = Viewer::start(&relay.url(), &broadcast);
        let subscriber = Running::play(&format!(
            "{} latency=2000 moq.{kind}_0 ! {decoder} ! filesink location=\"{}\"",
            moqsrc(&relay.url(), &broadcast),
            file("received")
        ));
        let publisher = Running::launch(&format!(
            "{source} ! tee name=t t. ! queue ! moq.sink_0 {} \
             t. ! queue ! {decoder} ! filesink location=\"{}\"",
            moqsink(&relay.url(), &broadcast),
            file("local")
        ));
        let pad = wait_pad(&publisher.element("moq"), "sink_0", DEADLINE);
        pad.set_property_from_str("container", container);
        let sent = Packets::of(&pad);
        publisher.start();
        let source = subscriber.element("moq");
        let got = Packets::of(&wait_pad(&source, &format!("{kind}_0"), DEADLINE));
        Self {
            sent,
            got,
            viewer,
            publisher,
            subscriber,
            folder,
            stream,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn check(&self, container: &str) {
        let Stream { name, kind, .. } = &self.stream;
        let claim = format!("{name} in {container}");
        self.publisher.wait_eos();
        self.subscriber.wait_eos();
        let (sent, got) = (self.sent.so_far(), self.got.so_far());
        assert!(sent.len() > 40, "{claim}: {} were sent", sent.len());
        same(&claim, &sent, &got);
        let keys = |packets: &[Packet]| packets.iter().map(Packet::is_key).collect::<Vec<_>>();
        assert_eq!(keys(&sent), keys(&got), "{claim}: the same key frames");
        self.check_wire(&claim, container, &sent);
        if *kind == "audio" {
            let rebased = |packets: &[Packet]| -> Vec<u64> {
                let first = packets[0].running_time.expect("a time");
                let times = packets.iter().map(|packet| packet.running_time);
                times
                    .map(|time| (time.expect("a time") - first).mseconds())
                    .collect()
            };
            for (sent, got) in rebased(&sent).into_iter().zip(rebased(&got)) {
                assert!(sent.abs_diff(got) < 20, "{claim}: {sent} and {got} ms");
            }
        }
        let read = |name: &str| fs::read(self.file(name)).expect("the decoded file");
        let (local, received) = (read("local"), read("received"));
        // Opus says with marks on its buffers how much before and after is padding.
        let padding = if *name == "Opus" { 960 * 4 } else { 0 };
        assert!(!local.is_empty());
        assert_eq!(received.len(), local.len() + padding, "{claim}: decoded");
        let mut skips = (0..=padding).step_by(4);
        assert!(
            skips.any(|skip| received[skip..].starts_with(&local)),
            "{claim}: the same decoded"
        );
    }

    /// Compares with what moq-mux reads, which no code of ours has touched.
    fn check_wire(&self, claim: &str, container: &str, sent: &[Packet]) {
        let seen = self
            .viewer
            .wait(claim, DEADLINE, |seen| seen.broadcasts_ended > 0);
        let frames = seen.frames(self.stream.kind);
        let payloads: Vec<_> = frames.iter().map(|frame| &frame.payload[..]).collect();
        assert!(payloads == self::payloads(sent), "{claim}: on the wire");
        for (packet, frame) in sent.iter().zip(&frames) {
            let time = packet.running_time.expect("a time").useconds();
            assert_eq!(frame.timestamp, time, "{claim}: its time");
            let marked = container == "cmaf" && self.stream.kind == "video" && packet.is_key();
            assert_eq!(frame.key, marked, "{claim}: key frames are marked");
        }
        if container == "cmaf" {
            let catalog = seen.catalogs.iter().rev().find_map(init);
            let file = self.file("file.mp4");
            let wire = frames.iter().map(|frame| &frame.wire[..]);
            let init = catalog.expect("an init segment");
            fs::write(
                &file,
                std::iter::once(&init[..])
                    .chain(wire)
                    .collect::<Vec<_>>()
                    .concat(),
            )
            .expect("written");
            self.check_file(claim, &file, sent);
        }
    }

    /// Init segment and fragments in line are a file that GStreamer's demuxer reads.
    fn check_file(&self, claim: &str, file: &std::path::Path, sent: &[Packet]) {
        let kind = self.stream.kind;
        let player = Running::launch(&format!(
            "filesrc location=\"{}\" ! qtdemux name=d d.{kind}_0 ! fakesink name=sink sync=false",
            file.display()
        ));
        let packets = Packets::into_sink(&player.element("sink"));
        player.start();
        let read = packets.wait_eos(DEADLINE);
        assert!(payloads(&read) == payloads(sent), "{claim}: as a file");
        for (packet, read) in sent.iter().zip(&read) {
            assert_eq!(
                read.is_key(),
                packet.is_key(),
                "{claim}: key frames of the file"
            );
            let sent = packet.running_time.expect("a time").useconds();
            let read = read.pts.expect("a time").useconds();
            assert!(sent.abs_diff(read) <= 6501, "{claim}: {sent} and {read} us");
        }
        if kind == "video" {
            let decoded: Vec<_> = read.iter().filter_map(|packet| packet.dts).collect();
            assert_eq!(decoded.len(), read.len());
            assert!(
                decoded.is_sorted(),
                "{claim}: decode times rise: {decoded:?}"
            );
        }
    }
}

fn init(catalog: &Catalog) -> Option<Bytes> {
    let video = catalog.video.renditions.values();
    let audio = catalog.audio.renditions.values();
    let mut containers = video
        .map(|config| &config.container)
        .chain(audio.map(|config| &config.container));
    containers.find_map(|container| match container {
        Container::Cmaf { init } => Some(init.clone()),
        _ => None,
    })
}

fn payloads(packets: &[Packet]) -> Vec<&[u8]> {
    packets.iter().map(|packet| &packet.bytes[..]).collect()
}

fn same(claim: &str, sent: &[Packet], got: &[Packet]) {
    let (sent, got) = (payloads(sent), payloads(got));
    let same = sent
        .iter()
        .zip(&got)
        .take_while(|(one, other)| one == other);
    let same = same.count();
    assert!(
        sent == got,
        "{claim}: {same} are the same from the first on, of {} sent and {} that came",
        sent.len(),
        got.len()
    );
}

fn carries(container: &str) {
    common::init();
    let relay = Relay::start().expect("the relay starts");
    let rows = streams();
    let rows = rows
        .into_iter()
        .map(|stream| Row::start(&relay, stream, container));
    let rows: Vec<_> = rows.collect();
    for row in rows {
        row.check(container);
    }
}

#[test]
fn legacy_carries_each_stream() {
    carries("legacy");
}

#[test]
fn loc_carries_each_stream() {
    carries("loc");
}

#[test]
fn cmaf_carries_each_stream() {
    carries("cmaf");
}

#[test]
fn what_cmaf_has_no_room_for_is_refused_with_its_caps() {
    common::init();
    let aac = |rate: u32| {
        format!(
            "audiotestsrc num-buffers=30 ! audio/x-raw,rate={rate},channels=2 ! avenc_aac ! aacparse"
        )
    };
    let h264 = Video::default().finite(30);
    let byte_stream = format!("{h264} ! video/x-h264,stream-format=byte-stream");
    let avc3 = format!("{h264} ! video/x-h264,stream-format=avc3");
    for (source, container, hint) in [
        (byte_stream.clone(), "cmaf", "insert h264parse"),
        (byte_stream, "loc", ""),
        (avc3, "cmaf", "insert h264parse"),
        (aac(96_000), "cmaf", "insert audioresample"),
        (aac(96_000), "legacy", ""),
        (aac(44_100), "cmaf", ""),
    ] {
        let taken = hint.is_empty();
        let relay = Relay::start().expect("the relay starts");
        let broadcast = unique_broadcast("refusals");
        let publisher = Running::launch(&format!(
            "{source} ! moq.sink_0 {}",
            moqsink(&relay.url(), &broadcast)
        ));
        let pad = wait_pad(&publisher.element("moq"), "sink_0", DEADLINE);
        pad.set_property_from_str("container", container);
        publisher.start();
        let claim = format!("{source} in {container}");
        if taken {
            wait_property(&pad, "active-track", DEADLINE, |track: &Option<String>| {
                track.is_some()
            });
        } else {
            let bus = publisher.bus();
            let refused = wait_message_that(&bus, DEADLINE, |message| {
                message.type_() == gst::MessageType::Warning
            });
            let text = describe(&refused.expect("a warning"));
            assert!(text.contains(hint), "{claim}: {text}");
            assert_eq!(pad.current_caps(), None, "{claim}");
            assert_eq!(
                pad.property::<Option<String>>("active-track"),
                None,
                "{claim}"
            );
        }
    }
}

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
