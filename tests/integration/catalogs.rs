// SPDX-License-Identifier: MIT
//! Whichever catalog a broadcast has is read, and what one catalog says of another broadcast is
//! followed.

use std::thread;

use gst::prelude::*;
use moq_json::{Compression, snapshot};
use moq_mux::catalog::CatalogFormat;

use crate::common::{
    Packets, Publisher, Relay, Running, Viewer, init,
    media::{Video, live_aac, live_opus, moqsink, moqsrc, publish_clip},
    pipeline::{DEADLINE, describe, wait_message_that, wait_pad},
    publisher, unique_broadcast,
    viewer::first_group,
};

/// hang's catalog, compressed or not, with the track "a".
const HANG: &str = r#"{"audio":{"renditions":{"a":{"codec":"opus","sampleRate":48000,"numberOfChannels":2,"container":{"kind":"legacy"}}}}}"#;
/// The same in MSF.
const MSF: &str = r#"{"version":"draft-01","tracks":[{"name":"a","packaging":"legacy","isLive":true,"role":"audio","codec":"opus","samplerate":48000,"channelConfig":"2"}]}"#;
/// An Opus packet of 20 ms of silence.
const SILENCE: [u8; 3] = [0xf8, 0xff, 0xfe];

/// A name for a broadcast with this suffix.
fn named(test: &str, suffix: &str) -> String {
    unique_broadcast(test).replace(".hang", suffix)
}

/// A subscriber with its pads in sinks "out0", "out1" and so on.
fn subscriber(relay: &Relay, broadcast: &str, properties: &str, pads: usize) -> Running {
    let sinks: String = (0..pads)
        .map(|i| format!(" moq.audio_{i} ! fakesink name=out{i} sync=false async=false"))
        .collect();
    Running::play(&format!(
        "{} {properties} {sinks}",
        moqsrc(&relay.url(), broadcast)
    ))
}

fn wait_warning(pipeline: &Running, hint: &str) -> String {
    let found = wait_message_that(&pipeline.bus(), DEADLINE, |message| {
        message.type_() == gst::MessageType::Warning && describe(message).contains(hint)
    });
    describe(&found.unwrap_or_else(|| panic!("a warning says {hint}")))
}

#[test]
fn the_only_catalog_is_found_whatever_the_broadcast_is_called() {
    init();
    let relay = Relay::start().expect("the relay starts");
    for (track, catalog, suffix, properties) in [
        ("catalog.json", HANG, "", ""),
        ("catalog.json", HANG, ".msf", ""),
        ("catalog.json", HANG, ".msf", "catalog-format=hang"),
        ("catalog", MSF, "", ""),
        ("catalog", MSF, ".msf", "catalog-format=auto"),
        ("catalog", MSF, ".hang", ""),
        ("catalog", MSF, ".hang", "catalog-format=msf"),
        ("catalog.json.z", HANG, ".hang", ""),
        ("catalog.json.z", HANG, "", "catalog-format=hang"),
    ] {
        let name = named("only", suffix);
        let publisher = Publisher::start_on(&relay.url(), &name, track, catalog);
        let sound = publisher.track("a");
        let subscriber = subscriber(&relay, &name, properties, 1);
        let packets = Packets::into_sink(&subscriber.element("out0"));
        publisher.wait_used(&sound);
        publisher::write(&sound, 0, &SILENCE);
        packets.wait_count(1, DEADLINE);
        sound.finish().expect("the track ends");
        publisher.finish();
        packets.wait_eos(DEADLINE);
    }
}

#[test]
fn a_catalog_that_nobody_serves_is_reported_and_waited_for() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let name = named("none", ".hang");
    let publisher = Publisher::start_on(&relay.url(), &name, "catalog", MSF);
    let subscriber = subscriber(&relay, &name, "catalog-format=hang", 1);
    let warning = wait_warning(&subscriber, "no catalog that can be read");
    assert!(warning.contains("catalog.json.z: "), "{warning}");
    assert_eq!(subscriber.element("moq").num_src_pads(), 0);
    drop(publisher);
    let publisher = Publisher::start(&relay.url(), &name, HANG);
    let sound = publisher.track("a");
    publisher.wait_used(&sound);
}

#[test]
fn a_catalog_that_says_nothing_is_not_waited_for_when_there_is_another() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let name = named("silent", "");
    let publisher = Publisher::start_on(&relay.url(), &name, "catalog", MSF);
    let _silent = publisher.track("catalog.json");
    let sound = publisher.track("a");
    let _subscriber = subscriber(&relay, &name, "", 1);
    publisher.wait_used(&sound);
}

#[test]
fn a_catalog_that_ends_without_a_word_is_none_when_there_is_another() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let name = named("wordless", "");
    let publisher = Publisher::start_on(&relay.url(), &name, "catalog", MSF);
    let wordless = publisher.track("catalog.json");
    wordless.finish().expect("the track ends");
    let sound = publisher.track("a");
    let _subscriber = subscriber(&relay, &name, "", 1);
    publisher.wait_used(&sound);
}

#[test]
fn msf_ends_a_broadcast_that_goes_on_to_be_announced() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let name = named("complete", ".msf");
    let mut publisher = Publisher::start_on(&relay.url(), &name, "catalog", MSF);
    let sound = publisher.track("a");
    let subscriber = subscriber(&relay, &name, "", 1);
    publisher.wait_used(&sound);
    publisher::write(&sound, 0, &SILENCE);
    Packets::into_sink(&subscriber.element("out0")).wait_count(1, DEADLINE);
    publisher.update(r#"{"version":"draft-01","isComplete":true,"tracks":[]}"#);
    subscriber.wait_eos();
}

#[test]
fn a_catalog_that_cannot_be_read_is_reported_and_the_next_one_is_read() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let deep = "[".repeat(100_000);
    let huge = format!(r#"{{"x":"{}"}}"#, "x".repeat(5 << 20));
    for (track, good) in [("catalog.json", HANG), ("catalog", MSF)] {
        let name = named("broken", "");
        let mut publisher = Publisher::start_on(&relay.url(), &name, track, "no JSON");
        let sound = publisher.track("a");
        let subscriber = subscriber(&relay, &name, "", 1);
        wait_warning(&subscriber, "cannot be read: json");
        for (broken, hint) in [
            (&*deep, "recursion"),
            (&*huge, "exceeded"),
            ("17", "not a JSON object"),
        ] {
            publisher.update(broken);
            wait_warning(&subscriber, hint);
        }
        publisher.update(good);
        publisher.wait_used(&sound);
    }
}

#[test]
fn thousands_of_bad_entries_are_few_warnings() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let bad = |i| format!(r#""bad-{i}":{{"codec":"quantum-{i}"}}"#);
    let bad: Vec<String> = (0..10_000).map(bad).collect();
    let video = format!(r#"{{"video":{{"renditions":{{{}}}}},"#, bad.join(","));
    let name = named("many", ".hang");
    let publisher = Publisher::start(&relay.url(), &name, &HANG.replacen('{', &video, 1));
    let sound = publisher.track("a");
    let subscriber = subscriber(&relay, &name, "", 1);
    publisher.wait_used(&sound);
    // They are posted before the pad that was asked for is there.
    let bus = subscriber.bus();
    let warnings = std::iter::from_fn(|| bus.pop_filtered(&[gst::MessageType::Warning])).count();
    assert_eq!(warnings, 64);
}

#[test]
fn a_broadcast_that_ended_before_it_had_a_track_is_no_end() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let name = named("over", ".msf");
    let over = r#"{"version":"draft-01","isComplete":true,"tracks":[]}"#;
    let mut publisher = Publisher::start_on(&relay.url(), &name, "catalog", over);
    let _subscriber = subscriber(&relay, &name, "", 1);
    publisher.wait_catalog_used();
    publisher.update(MSF);
    let sound = publisher.track("a");
    publisher.wait_used(&sound);
}

#[test]
fn what_moqsink_publishes_plays_by_msf_alone() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let name = named("sink", ".hang");
    let _publisher = Running::play(&format!(
        "{} ! moq.sink_0 {} ! moq.sink_1 {} ! moq.sink_2 {} sink_1::track=aac sink_2::track=opus",
        Video::default().live(),
        live_aac(),
        live_opus(),
        moqsink(&relay.url(), &name)
    ));
    let subscriber = Running::play(&format!(
        "{} catalog-format=msf moq.video_0 ! avdec_h264 ! fakesink name=h264 \
         moq.audio_0 ! avdec_aac ! fakesink name=aac moq.audio_1 ! opusdec ! fakesink name=opus",
        moqsrc(&relay.url(), &name)
    ));
    for decoder in ["h264", "aac", "opus"] {
        Packets::into_sink(&subscriber.element(decoder)).wait_count(30, DEADLINE);
    }
    let plain = Viewer::start_on(&relay.url(), &name, CatalogFormat::Hang);
    let plain = plain.wait("a catalog", DEADLINE, |seen| !seen.catalogs.is_empty());
    for format in [CatalogFormat::Msf, CatalogFormat::HangZ] {
        let viewer = Viewer::start_on(&relay.url(), &name, format);
        let seen = viewer.wait("every track has frames", DEADLINE, |seen| {
            let tracks = ["video", "aac", "opus"];
            tracks.iter().all(|track| seen.frames(track).len() > 10)
        });
        let (expected, catalog) = (plain.catalog(), seen.catalog());
        let codecs = |catalog: &hang::Catalog| {
            let video = catalog.video.renditions.values();
            let video = video.map(|config| (config.codec.to_string(), config.description.clone()));
            let audio = catalog.audio.renditions.values();
            let audio = audio.map(|config| (config.codec.to_string(), config.description.clone()));
            video.chain(audio).collect::<Vec<_>>()
        };
        assert_eq!(codecs(&catalog), codecs(&expected), "{format:?}");
    }
}

/// The names of the tracks that a catalog lists.
fn listed(catalog: &serde_json::Value) -> Vec<String> {
    let name = |track: &serde_json::Value| track["name"].as_str().map(str::to_owned);
    if let Some(tracks) = catalog["tracks"].as_array() {
        let mut names: Vec<_> = tracks.iter().filter_map(name).collect();
        names.sort();
        return names;
    }
    let mut names: Vec<_> = ["audio", "text", "video"]
        .iter()
        .filter_map(|kind| catalog[kind]["renditions"].as_object())
        .flat_map(|renditions| renditions.keys().cloned())
        .collect();
    names.sort();
    names
}

#[test]
fn the_first_catalog_that_a_player_gets_is_whole() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let name = named("whole", ".hang");
    let tracks = [
        ("catalog.json", Compression::None),
        ("catalog", Compression::None),
        ("catalog.json.z", Compression::Deflate),
    ];
    let players = tracks.map(|(track, compression)| {
        let (url, name) = (relay.url(), name.clone());
        let first = thread::spawn(move || first_group(&url, &name, track));
        (track, compression, first)
    });
    let _publisher = Running::play(&publish_clip(&relay.url(), &name));
    for (track, compression, first) in players {
        let (sequence, text) = first.join().expect("a catalog comes");
        let mut config = snapshot::consumer::Config::default();
        config.compression = compression;
        let mut decoder = snapshot::Decoder::<serde_json::Value>::new(config);
        decoder.snapshot(&text).expect("a catalog");
        let catalog = decoder.decode().expect("JSON").expect("a catalog");
        assert_eq!(listed(&catalog), ["audio", "video"], "{track}");
        assert_eq!(sequence, 0, "{track}: none came before");
    }
}

/// A catalog whose track "a" is here, and whose track "b" is in the broadcast of that name beside.
fn referring(other: &str) -> String {
    let opus =
        r#""codec":"opus","sampleRate":48000,"numberOfChannels":2,"container":{"kind":"legacy"}"#;
    format!(
        r#"{{"audio":{{"renditions":{{"a":{{{opus}}},"b":{{{opus},"broadcast":"./{other}"}}}}}}}}"#
    )
}

#[test]
fn a_track_of_another_broadcast_is_waited_for_and_comes_and_goes_alone() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let (name, other) = (named("referring", ".hang"), named("referred", ""));
    let publisher = Publisher::start(&relay.url(), &format!("room/{name}"), &referring(&other));
    let here = publisher.track("a");
    let subscriber = subscriber(&relay, &format!("room/{name}"), "", 2);
    let packets = ["out0", "out1"].map(|sink| Packets::into_sink(&subscriber.element(sink)));
    publisher.wait_used(&here);
    publisher::write(&here, 0, &SILENCE);
    packets[0].wait_count(1, DEADLINE);
    let warning = wait_warning(&subscriber, "waited for");
    assert!(warning.contains(&format!("room/{other}")), "{warning}");
    for round in 1..=2 {
        // Without a catalog: it is not read.
        let elsewhere = Publisher::start_on(&relay.url(), &format!("room/{other}"), "unread", "");
        let there = elsewhere.track("b");
        elsewhere.wait_used(&there);
        let micros = round * 200_000;
        publisher::write(&there, micros, &SILENCE);
        packets[1].wait_count(round as usize, DEADLINE);
        publisher::write(&here, micros, &SILENCE);
        packets[0].wait_count(1 + round as usize, DEADLINE);
    }
    let source = subscriber.element("moq");
    assert_eq!(source.num_src_pads(), 2);
    here.finish().expect("the track ends");
    publisher.finish();
    subscriber.wait_eos();
}

#[test]
fn a_track_can_move_to_another_broadcast() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let (name, other) = (named("moving", ".hang"), named("moved", ""));
    let there = referring(&other);
    let here = there.replace(&format!(r#","broadcast":"./{other}""#), "");
    let mut publisher = Publisher::start(&relay.url(), &name, &here);
    let elsewhere = Publisher::start_on(&relay.url(), &other, "unread", "");
    let [first, second] = [&publisher, &elsewhere].map(|publisher| publisher.track("b"));
    let subscriber = subscriber(&relay, &name, "", 2);
    let packets = Packets::into_sink(&subscriber.element("out1"));
    publisher.wait_used(&first);
    publisher::write(&first, 0, &SILENCE);
    packets.wait_count(1, DEADLINE);
    publisher.update(&there);
    elsewhere.wait_used(&second);
    publisher::write(&second, 200_000, &SILENCE);
    packets.wait_count(2, DEADLINE);
    assert_eq!(subscriber.element("moq").num_src_pads(), 2);
}

#[test]
fn a_track_that_its_own_broadcast_finishes_is_ended_by_the_catalog_that_lists_it() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let (name, other) = (named("listing", ".hang"), named("finished", ""));
    let publisher = Publisher::start(&relay.url(), &name, &referring(&other));
    let here = publisher.track("a");
    let subscriber = subscriber(&relay, &name, "", 2);
    let packets = Packets::into_sink(&subscriber.element("out1"));
    for round in 1..=2 {
        let elsewhere = Publisher::start_on(&relay.url(), &other, "unread", "");
        let there = elsewhere.track("b");
        elsewhere.wait_used(&there);
        publisher::write(&there, round * 200_000, &SILENCE);
        packets.wait_count(round as usize, DEADLINE);
        there.finish().expect("the track ends");
        elsewhere.finish();
    }
    wait_pad(&subscriber.element("moq"), "audio_1", DEADLINE);
    here.finish().expect("the track ends");
    publisher.finish();
    subscriber.wait_eos();
}
