// SPDX-License-Identifier: MIT
//! Data tracks of publishers that know nothing of GStreamer: hang's own, and bad ones.

use std::{thread, time::Duration};

use bytes::Bytes;
use moq_mux::{binary, catalog, json};
use moq_net::Timestamp;
use serde_json::{Value, json};

use crate::common::{
    Announced, Publisher, Relay, init, noise, payloads, pipeline::DEADLINE, publisher::write,
    subscribe, unique_broadcast, wait_pads,
};

const ANY: &str = "application/octet-stream";

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
    let (subscriber, pads) = subscribe(&relay, &broadcast);
    let pads = wait_pads(&pads, 4);
    for number in 0..5 {
        let value = json!({"number": number, "same": "text"});
        log.append(&value).expect("the log takes a record");
        document.update(&value).expect("the document takes a value");
        let blob = Bytes::from(noise(number * 100_000));
        blobs.append(blob.clone()).expect("the log takes a blob");
        poster.update(blob).expect("the poster takes a value");
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
                Some("application/json") => assert_eq!(
                    serde_json::from_slice::<Value>(&packet.bytes).expect("JSON"),
                    json!({"number": number, "same": "text"})
                ),
                _ => assert!(packet.bytes == noise(number * 100_000)),
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
    // Nothing reports a reader that does not come back: a broken track is tried again sooner.
    thread::sleep(Duration::from_secs(1));
    assert_eq!(payloads(&pads[0].packets.so_far()), [b"1", b"2", b"3"]);
}
