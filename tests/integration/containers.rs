// SPDX-License-Identifier: MIT
//! Each container carries what it is given.

use std::{fs, path::PathBuf, process::Command};

use bytes::Bytes;
use gst::prelude::*;
use hang::catalog::{Catalog, Container};
use moq_mux::container::fmp4::mp4_atom::{Decode, Moof};

use crate::common::{
    self, Packet, Packets, Relay, Running, Viewer,
    media::{Video, finite_aac, moqsink, moqsrc},
    pipeline::{DEADLINE, describe, wait_message_that, wait_pad, wait_property},
    same, unique_broadcast,
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
        let got = Packets::of_pad(&source, &format!("{kind}_0"));
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
        assert_eq!(keys(&sent), keys(&got), "{claim}: the same keyframes");
        self.check_wire(&claim, container, &sent);
        if *kind == "audio" {
            let steps = |packets: &[Packet]| -> Vec<u64> {
                let times = packets.iter().map(|packet| packet.running_time);
                let times: Vec<_> = times.map(|time| time.expect("a time")).collect();
                let steps = times.windows(2).map(|pair| (pair[1] - pair[0]).useconds());
                steps.collect()
            };
            let (sent, got) = (steps(&sent), steps(&got));
            // The timeline may move once or twice at the start, when a faster packet comes.
            let same = sent.iter().zip(&got);
            let same = same.filter(|(sent, got)| sent.abs_diff(**got) < 1000);
            assert!(
                same.count() * 10 > sent.len() * 9,
                "{claim}: {sent:?} and {got:?} us"
            );
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
        assert!(payloads == common::payloads(sent), "{claim}: on the wire");
        for (packet, frame) in sent.iter().zip(&frames) {
            let time = packet.running_time.expect("a time").useconds();
            assert_eq!(frame.timestamp, time, "{claim}: its time");
            let marked = container == "cmaf" && self.stream.kind == "video" && packet.is_key();
            assert_eq!(frame.key, marked, "{claim}: keyframes are marked");
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
        assert!(
            common::payloads(&read) == common::payloads(sent),
            "{claim}: as a file"
        );
        for (packet, read) in sent.iter().zip(&read) {
            assert_eq!(
                read.is_key(),
                packet.is_key(),
                "{claim}: keyframes of the file"
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

/// What ffmpeg's demuxer says of each packet of a file, in microseconds.
struct Demuxed {
    shown: i64,
    decoded: i64,
    duration: i64,
}

fn demuxed(file: &std::path::Path) -> Vec<Demuxed> {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-of", "csv=p=0", "-show_entries"])
        .arg("packet=pts_time,dts_time,duration_time")
        .arg(file)
        .output()
        .expect("ffprobe is installed");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.is_empty(), "{errors}");
    let text = String::from_utf8(output.stdout).expect("text");
    // It does not say how long a packet of Opus lasts, and the first one of AAC.
    let micros = |field: &str| match field {
        "N/A" => 0,
        field => (field.parse::<f64>().expect("a time") * 1e6).round() as i64,
    };
    let lines = text.lines().map(|line| {
        let fields: Vec<_> = line.split(',').filter(|field| !field.is_empty()).collect();
        Demuxed {
            shown: micros(fields[0]),
            decoded: micros(fields[1]),
            duration: micros(fields[2]),
        }
    });
    lines.collect()
}

/// Where a fragment's one sample begins and ends, as it says itself.
fn span(fragment: &[u8]) -> (u64, u64) {
    let moof = Moof::decode(&mut &*fragment).expect("a moof box");
    let traf = &moof.traf[0];
    let begin = traf.tfdt.as_ref().expect("a time").base_media_decode_time;
    let duration = traf.trun[0].entries[0].duration;
    let duration = duration.or(traf.tfhd.default_sample_duration);
    (begin, begin + u64::from(duration.expect("a duration")))
}

/// What is published in fragments of one kind, as ffmpeg and GStreamer read the file that they make.
struct Fragmented {
    claim: &'static str,
    sent: Packets,
    viewer: Viewer,
    publisher: Running,
}

impl Fragmented {
    fn start(relay: &Relay, claim: &'static str, source: &str) -> Self {
        let broadcast = unique_broadcast("fragmented");
        let viewer = Viewer::start(&relay.url(), &broadcast);
        let publisher = Running::launch(&format!(
            "{source} ! moq.sink_0 {}",
            moqsink(&relay.url(), &broadcast)
        ));
        let pad = wait_pad(&publisher.element("moq"), "sink_0", DEADLINE);
        pad.set_property_from_str("container", "cmaf");
        let sent = Packets::of(&pad);
        publisher.start();
        Self {
            claim,
            sent,
            viewer,
            publisher,
        }
    }

    /// `irregular` says that there are pauses.
    fn check(&self, kind: &str, irregular: bool) {
        let claim = self.claim;
        self.publisher.wait_eos();
        let sent = self.sent.so_far();
        assert!(sent.len() > 30, "{claim}: {} were sent", sent.len());
        let seen = self
            .viewer
            .wait(claim, DEADLINE, |seen| seen.broadcasts_ended > 0);
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("file.mp4");
        let init = seen.catalogs.iter().rev().find_map(init);
        let mut bytes = init.expect("an init segment").to_vec();
        let mut end = 0;
        for frame in seen.frames(kind) {
            bytes.extend_from_slice(&frame.wire);
            let (begin, next) = span(&frame.wire);
            assert!(begin >= end, "{claim}: {begin} is before {end}");
            assert!(
                kind == "audio" || begin == end || end == 0,
                "{claim}: a gap"
            );
            end = next;
        }
        fs::write(&file, bytes).expect("written");

        let read = demuxed(&file);
        assert_eq!(read.len(), sent.len(), "{claim}: packets");
        let told = read.iter().all(|packet| packet.duration > 0);
        assert!(told || kind == "audio", "{claim}: durations");
        assert!(
            read.is_sorted_by(|one, next| one.decoded < next.decoded),
            "{claim}: decode times rise"
        );
        // The first ones of reordered video are closer together: there is no time before zero.
        for (index, pair) in read.windows(2).enumerate().skip(3) {
            let gap = pair[1].decoded - pair[0].decoded - pair[0].duration;
            assert!(gap >= -2, "{claim}: {index} overlaps by {gap} us");
            assert!(irregular || gap <= 2, "{claim}: {gap} us after {index}");
        }
        // Opus begins with what is left out.
        let begin = |packet: &Packet| packet.running_time.expect("a time").useconds() as i64;
        let apart = read[0].shown - begin(&sent[0]);
        for (sent, read) in sent.iter().zip(&read) {
            let off = (read.shown - apart - begin(sent)).abs();
            // opusparse's times of short packets step back by 6.5 ms; they are placed by their durations.
            let most = if kind == "video" { 100 } else { 6_600 };
            assert!(off <= most, "{claim}: {off} us off");
        }

        let player = Running::launch(&format!(
            "filesrc location=\"{}\" ! qtdemux name=d d.{kind}_0 ! fakesink name=sink sync=false",
            file.display()
        ));
        let packets = Packets::into_sink(&player.element("sink"));
        player.start();
        let read = packets.wait_eos(DEADLINE);
        assert!(
            common::payloads(&read) == common::payloads(&sent),
            "{claim}: by qtdemux"
        );
    }
}

#[test]
fn other_demuxers_find_no_overlap_between_fragments() {
    common::init();
    let relay = Relay::start().expect("the relay starts");
    let video = |rate: &str, b_frames: u32, elements: &str| {
        format!(
            "videotestsrc num-buffers=75 ! video/x-raw,format=I420,width=64,height=48,framerate={rate} \
             {elements} ! x264enc bframes={b_frames} b-adapt=false key-int-max=30 speed-preset=ultrafast \
             ! h264parse ! video/x-h264,stream-format=avc,alignment=au"
        )
    };
    let audio = |rate: u32, encoder: &str| {
        format!("audiotestsrc num-buffers=100 ! audio/x-raw,rate={rate},channels=2 ! {encoder}")
    };
    let unstated = "! capssetter caps=video/x-h264,framerate=(fraction)0/1";
    let dropping = "! identity drop-probability=0.3";
    let rows = [
        ("30 fps", "video", video("30/1", 0, ""), false),
        ("25 fps with B-frames", "video", video("25/1", 2, ""), false),
        ("29.97 fps", "video", video("30000/1001", 2, ""), false),
        ("23.976 fps", "video", video("24000/1001", 0, ""), false),
        ("a variable rate", "video", video("30/1", 0, dropping), true),
        (
            "a variable rate that is not stated",
            "video",
            format!("{} {unstated}", video("30/1", 0, dropping)),
            true,
        ),
        (
            "AAC at 44.1 kHz",
            "audio",
            audio(44_100, "avenc_aac ! aacparse"),
            false,
        ),
        (
            "AAC at 48 kHz",
            "audio",
            audio(48_000, "avenc_aac ! aacparse"),
            false,
        ),
        (
            "Opus of 20 ms",
            "audio",
            audio(48_000, "opusenc frame-size=20 ! opusparse"),
            true,
        ),
        (
            "Opus of 2.5 ms",
            "audio",
            audio(48_000, "opusenc frame-size=2.5 ! opusparse"),
            true,
        ),
    ];
    let under_way = rows.map(|(claim, kind, source, irregular)| {
        (Fragmented::start(&relay, claim, &source), kind, irregular)
    });
    for (row, kind, irregular) in under_way {
        row.check(kind, irregular);
    }
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
