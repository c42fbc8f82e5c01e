// SPDX-License-Identifier: MIT
//! Data tracks: what is published is what is received, on the timeline of the video.

use std::path::Path;

use gst::prelude::*;

use crate::common::{
    self, Packet, Packets, Pad, Relay, Running, init,
    media::{Video, moqsink, moqsrc},
    noise, payloads,
    pipeline::{DEADLINE, describe},
    subscribe, unique_broadcast, wait_message, wait_pads,
};

const KLV: &str = "meta/x-klv, parsed=(boolean)true";
const CEA_608: &str = "closedcaption/x-cea-608, format=(string)raw, framerate=(fraction)30/1";
const CEA_708: &str = "closedcaption/x-cea-708, format=(string)cc_data, framerate=(fraction)30/1";
const ANY: &str = "application/octet-stream";
const MILLISECOND: gst::ClockTime = gst::ClockTime::MSECOND;

/// One data track: its caps, its MIME type and its payloads, one each `step`.
struct Track {
    caps: &'static str,
    mime: Option<&'static str>,
    step: gst::ClockTime,
    payloads: Vec<Vec<u8>>,
}

impl Track {
    fn new(caps: &'static str, payloads: Vec<Vec<u8>>) -> Self {
        Self {
            caps,
            mime: None,
            step: MILLISECOND * 40,
            payloads,
        }
    }

    /// The elements that give the track to `moq`, without its payloads.
    fn launch(&self, number: usize) -> String {
        format!(
            "appsrc name=track{number} format=time max-bytes=0 caps=\"{}\" ! moq.sink_{number} ",
            self.caps
        )
    }

    /// Gives the payloads and then EOS.
    fn push(&self, pipeline: &Running, number: usize) {
        let source = pipeline.element(&format!("track{number}"));
        let source = source.downcast::<gst_app::AppSrc>().expect("an appsrc");
        for (index, payload) in self.payloads.iter().enumerate() {
            let mut buffer = gst::Buffer::from_slice(payload.clone());
            let pts = self.step * index as u64;
            buffer.get_mut().expect("a buffer of its own").set_pts(pts);
            source.push_buffer(buffer).expect("appsrc takes a buffer");
        }
        source.end_of_stream().expect("appsrc takes EOS");
    }
}

/// Publishes the tracks beside `others` to a subscriber that waits already; what it gets.
fn through(tracks: &[Track], others: &str, count: usize) -> Vec<(Pad, Vec<Packet>)> {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("data");
    let (subscriber, pads) = subscribe(&relay, &broadcast);
    let mut launch = moqsink(&relay.url(), &broadcast);
    for (number, track) in tracks.iter().enumerate() {
        // The first to have caps would be the first by name.
        launch += &format!(" sink_{number}::track=track-{number}");
        if let Some(mime) = track.mime {
            launch += &format!(" sink_{number}::mime={mime}");
        }
    }
    for (number, track) in tracks.iter().enumerate() {
        launch += &format!(" {}", track.launch(number));
    }
    let publisher = Running::play(&format!("{launch} {others}"));
    for (number, track) in tracks.iter().enumerate() {
        track.push(&publisher, number);
    }
    let pads = wait_pads(&pads, count);
    publisher.wait_eos();
    subscriber.wait_eos();
    pads.into_iter()
        .map(|pad| {
            let packets = pad.packets.so_far();
            (pad, packets)
        })
        .collect()
}

/// A KLV packet: universal label of 16 bytes, length, value (SMPTE 336M).
fn klv(value: &[u8]) -> Vec<u8> {
    let label = b"\x06\x0e\x2b\x34\x02\x0b\x01\x01\x0e\x01\x03\x01\x01\x00\x00\x00";
    [&label[..], &[value.len() as u8], value].concat()
}

/// Pairs of CEA-608 bytes with odd parity: two letters, and padding for the rest.
fn cea_608(count: usize) -> Vec<Vec<u8>> {
    let mut pairs = vec![vec![0xc8, 0xe9]];
    pairs.resize(count, vec![0x80, 0x80]);
    pairs
}

fn rows() -> [Track; 5] {
    let texts = |text: fn(usize) -> String| (0..25).map(|n| text(n).into_bytes()).collect();
    [
        Track::new(KLV, (0..25).map(|n| klv(&noise(n + 1))).collect()),
        Track::new(CEA_608, cea_608(25)),
        Track::new(
            CEA_708,
            (0..25)
                .map(|n| vec![0xfc, 0x80, 0x80, 0xff, n, 0])
                .collect(),
        ),
        Track {
            mime: Some("application/json"),
            ..Track::new(ANY, texts(|n| format!("{{\"n\": {n}}}\n")))
        },
        Track {
            mime: Some("application/id3"),
            ..Track::new(ANY, texts(|n| format!("ID3\x04\0\0\0\0\0{n}")))
        },
    ]
}

#[test]
fn every_kind_of_data_arrives_with_its_caps_times_and_bytes() {
    let rows = rows();
    let received = through(&rows, "", rows.len());
    for (row, (pad, packets)) in rows.iter().zip(&received) {
        assert_eq!(pad.caps, row.caps);
        assert!(pad.name.starts_with("data_"), "{}", pad.name);
        assert_eq!(pad.mime.as_deref(), row.mime, "{}", row.caps);
        assert_eq!(payloads(packets), row.payloads, "{}", row.caps);
        // The edge may still move in the first moments, by what the transit of this machine varies.
        let first = packets[0].pts.expect("a time");
        for (index, packet) in packets.iter().enumerate() {
            let since = packet.pts.expect("a time").saturating_sub(first);
            let error = since.absdiff(row.step * index as u64);
            assert!(error < MILLISECOND * 200, "{}: {since}", row.caps);
        }
        for pair in packets.windows(2) {
            assert!(pair[0].pts < pair[1].pts, "{}: times rise", row.caps);
        }
    }
}

#[test]
fn payloads_of_any_size_arrive_byte_for_byte() {
    let mut sizes = vec![1, 2, 187, 65_536, 1 << 20, 1, (1 << 20) + 1, 31 << 20];
    let mut track = Track::new(ANY, sizes.iter().map(|size| noise(*size)).collect());
    // To subscribers an empty buffer is an end.
    track.payloads.insert(3, Vec::new());
    let received = through(&[track], "", 1);
    let arrived = payloads(&received[0].1);
    for (arrived, size) in arrived.iter().zip(sizes.drain(..)) {
        assert!(*arrived == noise(size), "{size} bytes");
    }
    assert_eq!(arrived.len(), 8);
}

#[test]
fn ten_thousand_records_in_a_row_all_arrive() {
    let records = (0..10_000).map(|n: u32| n.to_be_bytes().to_vec());
    let track = Track {
        // All of them belong into one group, which holds less.
        step: gst::ClockTime::from_useconds(9),
        ..Track::new(KLV, records.collect())
    };
    let expected = track.payloads.clone();
    let received = through(&[track], "", 1);
    let packets = &received[0].1;
    assert_eq!(packets.len(), expected.len());
    assert!(payloads(packets) == expected, "in order");
    for pair in packets.windows(2) {
        assert!(pair[0].pts <= pair[1].pts, "times never fall");
    }
}

#[test]
fn data_is_in_sync_with_the_picture() {
    let track = Track::new(KLV, (0..75).map(|n| klv(&[n])).collect());
    let video = Video {
        fps: 25,
        gop: 25,
        ..Video::default()
    };
    let video = format!("{} ! moq.sink_1", video.finite(75));
    let received = through(&[track], &video, 2);
    let [(_, data), (_, video)] = &received[..] else {
        panic!("two pads");
    };
    assert_eq!((data.len(), video.len()), (75, 75));
    // The first frames catch up with the edge.
    for (data, video) in data.iter().zip(video).skip(50) {
        let (data, video) = (data.pts.expect("a time"), video.pts.expect("a time"));
        let apart = data.absdiff(video);
        assert!(apart < MILLISECOND * 2, "{data} and {video}");
    }
}

#[test]
fn a_silent_data_pad_holds_nothing_up() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("silent");
    let track = Track::new(KLV, Vec::new());
    let _publisher = Running::play(&format!(
        "{} {} {} ! moq.sink_1",
        moqsink(&relay.url(), &broadcast),
        track.launch(0),
        Video::default().live()
    ));
    let subscriber = Running::play(&format!(
        "{} moq.video_0 ! fakesink name=video moq.data_0 ! fakesink name=data",
        moqsrc(&relay.url(), &broadcast)
    ));
    let video = Packets::into_sink(&subscriber.element("video"));
    wait_message(&subscriber.bus(), &[gst::MessageType::AsyncDone], DEADLINE);
    let packets = video.wait_count(60, DEADLINE);
    assert!(packets.len() >= 60);
}

/// The KLV packets in a file that mpegtsmux made.
fn klv_in(file: &Path) -> Vec<Vec<u8>> {
    let reader = Running::launch(&format!(
        "filesrc location=\"{}\" ! tsdemux ! meta/x-klv ! fakesink name=out",
        file.display()
    ));
    let packets = Packets::into_sink(&reader.element("out"));
    reader.start();
    let packets = packets.wait_eos(DEADLINE);
    packets.into_iter().map(|packet| packet.bytes).collect()
}

#[test]
fn klv_links_to_mpegtsmux_and_is_in_its_file() {
    init();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("klv.ts");
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("klv");
    let track = Track::new(KLV, (0..50).map(|n| klv(&[n])).collect());
    let subscriber = Running::play(&format!(
        "{} latency=2000 moq.video_0 ! h264parse ! mux. moq.data_0 ! mux. \
         mpegtsmux name=mux ! filesink location=\"{}\"",
        moqsrc(&relay.url(), &broadcast),
        file.display()
    ));
    let publisher = Running::play(&format!(
        "{} {} {} ! moq.sink_1",
        moqsink(&relay.url(), &broadcast),
        track.launch(0),
        Video::default().finite(60)
    ));
    track.push(&publisher, 0);
    publisher.wait_eos();
    subscriber.wait_eos();
    let found = klv_in(&file);
    // tsdemux may leave out what lies before the first video frame, also without a network.
    assert!(found.ends_with(&track.payloads[1..]), "{found:?}");
}

#[test]
fn captions_link_to_converter_and_combiner() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("captions");
    let track = Track {
        step: gst::ClockTime::SECOND / 30,
        ..Track::new(CEA_608, cea_608(60))
    };
    let subscriber = Running::launch(&format!(
        "{} latency=2000 moq.data_0 ! tee name=t \
         t. ! queue ! ccconverter ! closedcaption/x-cea-708,format=cdp,framerate=30/1 \
            ! fakesink name=converted \
         t. ! queue ! cc.caption \
         moq.video_0 ! avdec_h264 ! queue ! cccombiner name=cc schedule=false ! ccextractor name=x \
         x. ! queue ! fakesink \
         x.caption ! queue ! fakesink name=combined async=false",
        moqsrc(&relay.url(), &broadcast)
    ));
    let [converted, combined] =
        ["converted", "combined"].map(|name| Packets::into_sink(&subscriber.element(name)));
    subscriber.start();
    let publisher = Running::play(&format!(
        "{} {} {} ! moq.sink_1",
        moqsink(&relay.url(), &broadcast),
        track.launch(0),
        Video::default().finite(60)
    ));
    track.push(&publisher, 0);
    publisher.wait_eos();
    subscriber.wait_eos();
    let letters = |packets: &Packets| {
        let packets = packets.so_far();
        let has = |packet: &Packet| packet.bytes.windows(2).any(|pair| pair == [0xc8, 0xe9]);
        (
            packets.len(),
            packets.iter().filter(|packet| has(packet)).count(),
        )
    };
    assert_eq!(letters(&converted), (60, 1));
    let (count, with_letters) = letters(&combined);
    assert!(count >= 30, "captions lie on the frames: {count}");
    assert_eq!(with_letters, 1);
}

#[test]
fn what_cannot_be_published_is_reported_and_harms_nothing_else() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("refused");
    let (subscriber, pads) = subscribe(&relay, &broadcast);
    let unknown = "application/octet-stream, type=(string)json";
    let payloads = vec![vec![1], Vec::new(), vec![2; 33 << 20], vec![3]];
    let tracks = [
        Track::new(unknown, vec![vec![0]]),
        Track::new(ANY, payloads),
    ];
    let publisher = Running::play(&format!(
        "{} sink_1::mime=nothing {} {}",
        moqsink(&relay.url(), &broadcast),
        tracks[0].launch(0),
        tracks[1].launch(1)
    ));
    for (number, track) in tracks.iter().enumerate() {
        track.push(&publisher, number);
    }
    let pads = wait_pads(&pads, 1);
    let bus = publisher.bus();
    let types = [gst::MessageType::Warning, gst::MessageType::Eos];
    let messages = std::iter::from_fn(|| Some(wait_message(&bus, &types, DEADLINE)));
    let told: Vec<_> = messages
        .take_while(|message| message.type_() == gst::MessageType::Warning)
        .map(|message| describe(&message))
        .collect();
    subscriber.wait_eos();
    let received = pads[0].packets.so_far();
    assert_eq!(common::payloads(&received), [[1], [3]]);
    assert_eq!(pads[0].mime, None);
    for expected in [
        "type=(string)json\" cannot be published",
        "\"nothing\" is no MIME type",
        "it is empty",
        "larger than 32 MiB",
    ] {
        assert!(
            told.iter().any(|told| told.contains(expected)),
            "{expected}: {told:#?}"
        );
    }
}
