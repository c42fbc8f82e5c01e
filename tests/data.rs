//! Data tracks: what is published is what is received, on the timeline of the picture; and what
//! publishers of hang's own data tracks send.

mod common;

use std::{path::Path, sync::mpsc, thread, time::Duration};

use bytes::Bytes;
use common::{
    Announced, Packets, Publisher, Relay, Running, init,
    media::{Video, moqsink, moqsrc},
    packets::Packet,
    pipeline::{DEADLINE, describe},
    publisher::write,
    unique_broadcast, wait_message,
};
use gst::prelude::*;
use moq_mux::{binary, catalog, json};
use moq_net::Timestamp;
use serde_json::{Value, json};

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

/// A pad of a subscriber as it was when it came, with what passes it.
struct Pad {
    name: String,
    track: String,
    mime: Option<String>,
    caps: String,
    packets: Packets,
}

impl Pad {
    fn of(pad: &gst::Pad) -> Self {
        Self {
            name: pad.name().into(),
            track: pad.property("track"),
            mime: pad.property("mime"),
            caps: pad.current_caps().expect("caps").to_string(),
            packets: Packets::of(pad),
        }
    }
}

/// A subscriber that takes every track, whenever it comes.
fn subscribe(relay: &Relay, broadcast: &str) -> (Running, mpsc::Receiver<Pad>) {
    let pipeline = gst::Pipeline::new();
    // What comes before the subscription's start is kept up to half the latency.
    let source = format!("{} latency=2000", moqsrc(&relay.url(), broadcast));
    let source = gst::parse::launch(&source).expect("moqsrc");
    pipeline.add(&source).expect("a name of its own");
    let (added, pads) = mpsc::channel();
    let weak = pipeline.downgrade();
    source.connect_pad_added(move |_, pad| {
        let Some(pipeline) = weak.upgrade() else {
            return;
        };
        let seen = Pad::of(pad);
        let sink = gst::ElementFactory::make("fakesink")
            .property("sync", false)
            .property("async", false)
            .build()
            .expect("fakesink");
        pipeline.add(&sink).expect("a name of its own");
        sink.sync_state_with_parent().expect("fakesink starts");
        pad.link(&sink.static_pad("sink").expect("a pad"))
            .expect("a fakesink takes everything");
        // Refused only after the test.
        let _ = added.send(seen);
    });
    let running = Running::new(pipeline);
    running.start();
    (running, pads)
}

fn wait_pads(pads: &mpsc::Receiver<Pad>, count: usize) -> Vec<Pad> {
    let mut found: Vec<Pad> = (0..count)
        .map(|_| pads.recv_timeout(DEADLINE).expect("a pad is added"))
        .collect();
    found.sort_by(|one, other| one.track.cmp(&other.track));
    found
}

/// Publishes the tracks beside `others` to a subscriber that waits already; what it gets.
fn through(tracks: &[Track], others: &str, count: usize) -> Vec<(Pad, Vec<Packet>)> {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("data");
    let (subscriber, pads) = subscribe(&relay, &broadcast);
    let mut launch = moqsink(&relay.url(), &broadcast);
    for (number, track) in tracks.iter().enumerate() {
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

/// Bytes that are not text, no two lengths alike.
fn binary(length: usize) -> Vec<u8> {
    let mut state = length as u32 | 1;
    let next = || {
        // A linear congruential generator, of which the upper bits are good enough here.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
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

fn payloads(packets: &[Packet]) -> Vec<&[u8]> {
    packets.iter().map(|packet| &packet.bytes[..]).collect()
}

fn rows() -> [Track; 5] {
    let texts = |text: fn(usize) -> String| (0..25).map(|n| text(n).into_bytes()).collect();
    [
        Track::new(KLV, (0..25).map(|n| klv(&binary(n + 1))).collect()),
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
    let mut track = Track::new(ANY, sizes.iter().map(|size| binary(*size)).collect());
    // To viewers an empty buffer is an end.
    track.payloads.insert(3, Vec::new());
    let received = through(&[track], "", 1);
    let arrived = payloads(&received[0].1);
    for (arrived, size) in arrived.iter().zip(sizes.drain(..)) {
        assert!(*arrived == binary(size), "{size} bytes");
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
    // The first pictures catch up with the edge.
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
    // tsdemux may leave out what lies before the first picture, also without a network.
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
    assert!(count >= 30, "captions lie on the pictures: {count}");
    assert_eq!(with_letters, 1);
}

#[test]
fn data_of_other_publishers_arrives_record_by_record() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("records");
    let (_announced, (mut catalog, mut log, mut document, mut blobs, mut poster)) =
        Announced::start(&relay.url(), &broadcast, |producer| {
            let catalog = catalog::Producer::<()>::new(producer, catalog::Config::default());
            let catalog = catalog.expect("a catalog");
            let track = |name| producer.create_track(name, None).expect("a track");
            let json = || json::Config::default().with_compression(true);
            let image = binary::Config::default().with_mime("image/jpeg");
            let log = catalog.json_stream::<Value>(track("log"), json());
            let document = catalog.json_snapshot::<Value>(track("document"), json());
            let blobs = catalog.binary_stream(track("blobs"), image.with_compression(true));
            let poster = catalog.binary_snapshot(track("poster"), binary::Config::default());
            let all = (log, document, blobs, poster);
            let (Ok(log), Ok(document), Ok(blobs), Ok(poster)) = all else {
                panic!("the catalog lists the tracks");
            };
            (catalog, log, document, blobs, poster)
        });
    let mut publish = |number: usize| {
        let value = json!({"number": number, "same": "text"});
        log.append(&value).expect("the log takes a record");
        document.update(&value).expect("the document takes a value");
        let blob = Bytes::from(binary(number * 100_000));
        blobs.append(blob.clone()).expect("the log takes a blob");
        poster.update(blob).expect("the poster takes a value");
    };
    let (subscriber, pads) = subscribe(&relay, &broadcast);
    let pads = wait_pads(&pads, 4);
    for number in 0..5 {
        publish(number);
        for pad in &pads {
            pad.packets.wait_count(number + 1, DEADLINE);
        }
    }
    catalog.finish().expect("the catalog ends");
    subscriber.wait_eos();
    for (pad, (track, mime)) in pads.iter().zip([
        ("blobs", Some("image/jpeg")),
        ("document", Some("application/json")),
        ("log", Some("application/json")),
        ("poster", None),
    ]) {
        assert_eq!((&*pad.track, pad.mime.as_deref()), (track, mime));
        assert_eq!(pad.caps, ANY);
        let packets = pad.packets.so_far();
        assert_eq!(packets.len(), 5, "{track}");
        for (number, packet) in packets.iter().enumerate() {
            match mime {
                Some("application/json") => {
                    let value: Value = serde_json::from_slice(&packet.bytes).expect("JSON");
                    assert_eq!(value, json!({"number": number, "same": "text"}));
                }
                _ => assert!(packet.bytes == binary(number * 100_000)),
            }
        }
        for pair in packets.windows(2) {
            assert!(pair[0].pts < pair[1].pts, "{track}: the time of arrival");
        }
    }
}

#[test]
fn a_log_that_was_written_before_is_read_from_its_first_record() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("log");
    let catalog = json!({"json": {"tracks": {"log": {"mode": "stream"}}}}).to_string();
    let publisher = Publisher::start(&relay.url(), &broadcast, &catalog);
    let mut log = moq_json::stream::Producer::<Value>::new(
        publisher.track("log"),
        moq_json::stream::Config::default(),
    );
    for number in 0..100 {
        log.append(&json!(number)).expect("the log takes a record");
    }
    let (_subscriber, pads) = subscribe(&relay, &broadcast);
    let pads = wait_pads(&pads, 1);
    let packets = pads[0].packets.wait_count(100, DEADLINE);
    let expected: Vec<_> = (0..100).map(|n: u32| n.to_string().into_bytes()).collect();
    assert_eq!(payloads(&packets), expected);
}

#[test]
fn a_bad_entry_harms_no_other() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("bad");
    let catalog = json!({
        "json": {"tracks": {
            "future": {"mode": "future"},
            "good-log": {"mode": "stream", "unknown": [1]},
            "none": null,
        }},
        "binary": {"tracks": {"packed": {"mode": "snapshot", "compression": "zstd"}}},
        "gstData": {"renditions": {
            "good-klv": {"caps": "meta/x-klv", "unknown": 5},
            "mime": {"caps": ANY, "mime": "nothing"},
            "nested": {"caps": "meta/x-klv, format=(structure)\"a, b=(int)1;\""},
            "void": {"caps": "meta/x-klv, format=(void)x"},
            "video": {"caps": "video/x-raw, format=(string)I420"},
        }},
    });
    let publisher = Publisher::start(&relay.url(), &broadcast, &catalog.to_string());
    let (log, data) = (publisher.track("good-log"), publisher.track("good-klv"));
    let (subscriber, pads) = subscribe(&relay, &broadcast);
    let pads = wait_pads(&pads, 2);
    let tracks: Vec<_> = pads.iter().map(|pad| &*pad.track).collect();
    assert_eq!(tracks, ["good-klv", "good-log"]);
    publisher.wait_used(&data);
    write(&data, 1_000_000, b"klv");
    let mut group = log.append_group().expect("a group");
    group
        .write_frame(Timestamp::now(), &b"not JSON"[..])
        .expect("the group takes a frame");
    assert_eq!(payloads(&pads[0].packets.wait_count(1, DEADLINE)), [b"klv"]);
    assert_eq!(
        payloads(&pads[1].packets.wait_count(1, DEADLINE)),
        [b"not JSON"]
    );
    let bus = subscriber.bus();
    let warnings = std::iter::from_fn(|| bus.pop_filtered(&[gst::MessageType::Warning]));
    assert_eq!(warnings.count(), 7, "one for each that is left out");
}

#[test]
fn what_cannot_be_published_is_told_and_harms_nothing_else() {
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
    assert_eq!(self::payloads(&received), [[1], [3]]);
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

#[test]
fn a_log_that_breaks_off_is_not_repeated() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("broken");
    let entry = json!({"mode": "stream", "compression": "deflate"});
    let catalog = json!({"binary": {"tracks": {"log": entry}}}).to_string();
    let publisher = Publisher::start(&relay.url(), &broadcast, &catalog);
    let log = publisher.track("log");
    let mut group = log.append_group().expect("a group");
    let mut append = |frame: &[u8]| {
        group
            .write_frame(Timestamp::now(), frame.to_vec())
            .expect("the group takes a frame");
    };
    for record in *b"123" {
        // A stored block of one byte, and the head of an empty one (RFC 1951 section 3.2.4).
        append(&[0, 1, 0, 0xfe, 0xff, record, 0]);
    }
    let (_subscriber, pads) = subscribe(&relay, &broadcast);
    let pads = wait_pads(&pads, 1);
    pads[0].packets.wait_count(3, DEADLINE);
    append(&[0xff; 8]);
    // Nothing tells of a reader that does not come back: a broken track is tried again sooner.
    thread::sleep(Duration::from_secs(1));
    assert_eq!(payloads(&pads[0].packets.so_far()), [b"1", b"2", b"3"]);
}
