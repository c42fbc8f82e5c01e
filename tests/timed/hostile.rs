// SPDX-License-Identifier: MIT
//! Publishers that mean harm: their tracks alone are dropped, limited or given up.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use gst::prelude::*;
use moq_net::{Timestamp, frame, group, track};
use serde_json::{Value, json};

use crate::common::{
    Packet, Publisher, Relay, Running, Scene, init, noise,
    pipeline::{DEADLINE, describe, wait_until},
    publisher::{add, write},
    scene::{KINDS, SILENCE, catalog, legacy, one_of_each, opus},
    subscribe, unique_broadcast, wait_pads,
};

/// Presentation times never go back, except where frames are reordered: there decode times rise.
fn in_order(packets: &[Packet]) -> bool {
    let times: Vec<_> = packets
        .iter()
        .map(|packet| packet.dts.or(packet.pts))
        .collect();
    times.is_sorted()
}

#[test]
fn absurd_timestamps_harm_their_tracks_alone() {
    const LAST: u64 = (1 << 62) - 1;
    const DAY: u64 = 86_400_000_000;
    for (row, stamp) in [
        ("zero", (|_| 0) as fn(u64) -> u64),
        ("last", |_| LAST),
        ("backwards", |n| 50_000_000 - n * 20_000),
        ("frozen", |_| 7_000_000),
        ("tomorrow", |n| DAY + n * 20_000),
        ("to and fro", |n| (n % 2) * DAY),
        ("years", |n| n << 50 & LAST),
    ] {
        let mut scene = Scene::start("times", &one_of_each());
        let tracks = KINDS.map(|kind| scene.track(kind));
        for number in 0..300 {
            for track in &tracks {
                let payload = match track.name() {
                    "text" => b"WEBVTT\n\n00:00.000 --> 00:01.000\nhello\n".to_vec(),
                    _ => noise(100),
                };
                write(track, stamp(number), &payload);
            }
            thread::sleep(Duration::from_millis(5));
        }
        scene.good_goes_on();
        for kind in KINDS {
            let packets = scene.packets(kind).so_far();
            assert!(in_order(&packets), "{row}: {kind}");
            let century = gst::ClockTime::from_seconds(100 * 365 * 86_400);
            assert!(
                packets.iter().all(|packet| packet.pts < Some(century)),
                "{row}: {kind}"
            );
        }
        let names = |warning: &String, kind: &str| warning.contains(&format!("\"{kind}\""));
        let mut warnings = Vec::new();
        for kind in KINDS {
            // The relay refuses the last time that there is, and text and data may be silent.
            if row == "last" && ["text", "data"].contains(&kind) {
                continue;
            }
            let packets = scene.packets(kind);
            let claim = format!("{row}: {kind} is not dropped in silence");
            wait_until(&claim, DEADLINE, || {
                warnings.extend(scene.warnings());
                packets.count() > 0 || warnings.iter().any(|warning| names(warning, kind))
            });
        }
        let dropping = |warning: &String| {
            ["they are dropped", "gives nothing"]
                .iter()
                .any(|text| warning.contains(text))
        };
        assert!(warnings.iter().all(dropping), "{row}: {warnings:?}");
        warnings.retain(|warning| !KINDS.iter().any(|kind| names(warning, kind)));
        assert_eq!(warnings, [""; 0], "{row}: the good track");
    }
}

/// A broadcast of one audio and one video track alone, and a subscriber to both.
struct Pair {
    relay: Relay,
    name: String,
    publisher: Publisher,
    tracks: [track::Producer; 2],
}

impl Pair {
    fn start(name: &str) -> Self {
        init();
        let relay = Relay::start().expect("the relay starts");
        let name = unique_broadcast(name);
        let listed = json!({"video": {"renditions": {"video": legacy(json!({"codec": "vp8"}))}},
            "audio": {"renditions": {"audio": opus()}}});
        let publisher = Publisher::start(&relay.url(), &name, &listed.to_string());
        let tracks = ["audio", "video"].map(|name| publisher.track(name));
        Self {
            relay,
            name,
            publisher,
            tracks,
        }
    }

    fn write(&self, micros: u64) {
        self.tracks
            .iter()
            .for_each(|track| write(track, micros, &SILENCE));
    }
}

fn warnings(subscriber: &Running) -> Vec<String> {
    let bus = subscriber.bus();
    let messages = std::iter::from_fn(|| bus.pop());
    let warnings = messages.filter(|message| message.type_() == gst::MessageType::Warning);
    warnings.map(|message| describe(&message)).collect()
}

#[test]
fn times_of_the_unix_epoch_are_shown() {
    const EPOCH: u64 = 1_795_000_000_000_000;
    let pair = Pair::start("unix");
    let (subscriber, pads) = subscribe(&pair.relay, &pair.name);
    pair.tracks
        .iter()
        .for_each(|track| pair.publisher.wait_used(track));
    let pads = wait_pads(&pads, 2);
    let deadline = Instant::now() + DEADLINE;
    let mut micros = EPOCH;
    while pads.iter().any(|pad| pad.packets.count() < 50) {
        assert!(Instant::now() < deadline, "audio and video are shown");
        pair.write(micros);
        micros += 20_000;
        thread::sleep(Duration::from_millis(20));
    }
    let now = subscriber.current_running_time();
    for pad in &pads {
        let packets = pad.packets.so_far();
        assert!(in_order(&packets));
        assert!(
            packets.iter().all(|packet| packet.pts <= now),
            "in running time"
        );
    }
    assert_eq!(warnings(&subscriber), [""; 0]);
}

#[test]
fn a_track_that_is_subscribed_and_gives_nothing_is_reported_once() {
    let scene = Scene::start("mute", &one_of_each());
    // A camera that is off beside a microphone that is on.
    let audio = scene.track("audio");
    (0..3).for_each(|number| write(&audio, number * 20_000, &SILENCE));
    let mut told = Vec::new();
    wait_until("a warning", DEADLINE, || {
        told.extend(scene.all_warnings());
        !told.is_empty()
    });
    (0..4).for_each(|_| scene.good_goes_on());
    told.extend(scene.all_warnings());
    assert!(
        matches!(&told[..], [one] if one.contains("\"video\" gives nothing")
            && one.contains("sends no group")),
        "{told:?}"
    );
}

#[test]
fn a_broadcast_of_which_nothing_comes_but_what_was_cached_is_reported() {
    let pair = Pair::start("stale");
    pair.write(0);
    let (subscriber, pads) = subscribe(&pair.relay, &pair.name);
    let pads = wait_pads(&pads, 2);
    pads.iter().for_each(|pad| {
        pad.packets.wait_count(1, DEADLINE);
    });
    let mut told = Vec::new();
    wait_until("both are reported", DEADLINE, || {
        told.extend(warnings(&subscriber));
        told.len() >= 2
    });
    told.sort();
    for (name, told) in ["audio", "video"].iter().zip(&told) {
        let silent = format!("\"{name}\" gives nothing");
        assert!(
            told.contains(&silent) && told.contains("counts its groups from 0"),
            "{told}"
        );
    }
    assert_eq!(told.len(), 2, "{told:?}");
}

/// Says stop when it is dropped, by a failure, too.
struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The new warnings without those of silence: endless frames can keep the reader of another track from its
/// turn for as long on a slow machine.
fn warnings_of_content(scene: &Scene) -> Vec<String> {
    let mut warnings = scene.warnings();
    warnings.retain(|warning| !warning.contains("gives nothing"));
    warnings
}

/// A track of nothing without end is given up, and taken again when it has frames.
fn is_given_up(name: &str, write_nothing: impl Fn(&track::Producer) + Sync) {
    let mut scene = Scene::start(name, &one_of_each());
    let other = Scene::start("beside", &one_of_each());
    let track = scene.track("audio");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let stopping = Stopping(&stop);
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                write_nothing(&track);
            }
        });
        wait_until("a warning", DEADLINE, || {
            let warnings = warnings_of_content(&scene);
            let one = matches!(&warnings[..], [one] if one.contains("nothing but empty"));
            assert!(one || warnings.is_empty(), "{warnings:?}");
            one
        });
        // The endless track goes on meanwhile.
        scene.good_goes_on();
        other.good_goes_on();
        drop(stopping);
    });
    assert_eq!(warnings_of_content(&scene), [""; 0], "reported once");
    assert_eq!(scene.packets("audio").count(), 0);
    let deadline = Instant::now() + DEADLINE;
    for number in 0.. {
        write(&track, number * 20_000, &SILENCE);
        if scene.packets("audio").count() > 0 {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "the track is taken when it has frames again"
        );
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn empty_frames_without_end_are_given_up_with_one_warning() {
    is_given_up("empty", |track| {
        let mut group = track.append_group().expect("a group");
        // The library's limit is 8192.
        (0..8000).for_each(|n| add(&mut group, n, &[]));
        group.finish().expect("the group ends");
    });
}

#[test]
fn groups_without_frames_and_without_end_are_given_up_with_one_warning() {
    is_given_up("void", |track| {
        let group = track.append_group().expect("a group");
        group.finish().expect("the group ends");
        thread::sleep(Duration::from_millis(1));
    });
}

#[test]
fn frames_that_end_early_lose_their_groups_alone() {
    let mut scene = Scene::start("early", &one_of_each());
    let track = scene.track("audio");
    let groups = 0..60;
    for number in groups.clone() {
        let micros = number * 20_000;
        let mut group = track.append_group().expect("a group");
        add(&mut group, micros, &SILENCE);
        if number % 3 == 0 {
            let size = 100;
            let timestamp = Timestamp::from_micros(micros).expect("a timestamp");
            let info = frame::Info { size, timestamp };
            let mut frame = group.create_frame(info).expect("a frame");
            frame.write(vec![0; 50]).expect("a half of it");
            frame.abort(moq_net::Error::Cancel).expect("it breaks off");
        }
        // Refused where the frame took its group with it.
        let _ = group.finish();
        thread::sleep(Duration::from_millis(20));
    }
    let whole = groups.filter(|number| number % 3 > 0).count();
    let packets = scene.packets("audio").wait_count(whole, DEADLINE);
    assert!(in_order(&packets));
    assert!(packets.iter().all(|packet| packet.bytes == SILENCE));
    scene.good_goes_on();
    assert_eq!(scene.warnings(), [""; 0]);
}

#[test]
fn a_track_that_nobody_serves_is_reported_once() {
    let mut scene = Scene::start("nobody", &one_of_each());
    let audio = json!({"audio": opus(), "ghost": opus()});
    let update = catalog(json!({}), audio, json!({}), json!({}));
    scene.publisher.update(&update.to_string());
    let mut warnings = Vec::new();
    wait_until("a warning", DEADLINE, || {
        warnings.extend(scene.warnings());
        !warnings.is_empty()
    });
    // Long enough for more attempts.
    (0..4).for_each(|_| scene.good_goes_on());
    warnings.extend(scene.warnings());
    assert!(
        matches!(&warnings[..], [one] if one.contains("ghost")),
        "{warnings:?}"
    );
    let track = scene.publisher.track("ghost");
    scene.publisher.wait_used(&track);
    let packets = scene.packets("ghost");
    let mut micros = 0;
    wait_until("packets", DEADLINE, || {
        write(&track, micros, &SILENCE);
        micros += 20_000;
        packets.count() > 0
    });
    assert_eq!(scene.warnings(), [""; 0]);
}

#[test]
fn a_flood_of_large_json_values_holds_up_no_other_track() {
    const VALUES: i32 = 10_000;
    let mut listed = one_of_each();
    listed["json"] = json!({"tracks": {"flood": {"mode": "snapshot"}}});
    let mut scene = Scene::start("flood", &listed);
    let track = scene.publisher.track("flood");
    scene.publisher.wait_used(&track);
    let packets = scene.packets("flood");
    let stop = AtomicBool::new(false);
    let write_value = |last: bool| {
        let value = json!({"last": last, "values": (0..VALUES).collect::<Vec<_>>()});
        let text = value.to_string().into_bytes();
        let written = track.clone().write_frame(Timestamp::now(), text);
        written.expect("the track takes a group");
    };
    thread::scope(|scope| {
        let stopping = Stopping(&stop);
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                write_value(false);
                thread::sleep(Duration::from_millis(1));
            }
        });
        packets.wait_count(1, DEADLINE);
        (0..4).for_each(|_| scene.good_goes_on());
        drop(stopping);
    });
    write_value(true);
    wait_until("the last value", DEADLINE, || {
        let newest = packets.so_far().pop();
        newest.is_some_and(|newest| newest.bytes.starts_with(br#"{"last":true"#))
    });
}

#[test]
fn groups_that_break_off_and_come_in_disorder_lose_only_themselves() {
    let mut scene = Scene::start("broken", &one_of_each());
    let track = scene.track("audio");
    for sequence in 0..155_u64 {
        // 7 and 31 have no common factor: all of 31 groups in another order.
        let sequence = sequence / 31 * 31 + sequence % 31 * 7 % 31;
        let info = group::Info { sequence };
        let mut group = track.create_group(info).expect("a group");
        add(&mut group, sequence * 20_000, &SILENCE);
        match sequence % 3 {
            0 => drop(group),
            1 => group.abort(moq_net::Error::Cancel).expect("it breaks off"),
            _ => group.finish().expect("it ends"),
        }
        thread::sleep(Duration::from_millis(20));
    }
    scene.good_goes_on();
    let packets = scene.packets("audio").wait_count(1, DEADLINE);
    assert!(in_order(&packets));
    let before = packets.len();
    for number in 155..205 {
        write(&track, number * 20_000, &SILENCE);
        thread::sleep(Duration::from_millis(20));
    }
    scene.packets("audio").wait_count(before + 1, DEADLINE);
    assert_eq!(scene.warnings(), [""; 0]);
}

#[test]
fn a_track_that_never_sends_and_never_ends_does_not_hold_up_the_end() {
    let mut scene = Scene::start("silent", &one_of_each());
    let tracks = KINDS.map(|kind| scene.track(kind));
    let open: Vec<_> = tracks
        .iter()
        .map(|track| track.append_group().expect("a group"))
        .collect();
    scene.good_goes_on();
    scene.good = None;
    scene.publisher.finish();
    scene.subscriber.wait_eos();
    for kind in KINDS {
        assert_eq!(scene.packets(kind).count(), 0);
    }
    drop(open);
}

#[test]
fn a_broadcast_that_comes_and_goes_a_thousand_times_is_followed() {
    let scene = Scene::start("storm", &one_of_each());
    scene.messages(|_| true);
    for _ in 0..1000 {
        scene.publisher.withdraw();
        scene.publisher.announce();
    }
    scene.good_goes_on();
    let messages = scene.messages(|_| true);
    assert!(messages.len() < 50, "{} messages", messages.len());
    let element = scene.subscriber.element("moq");
    assert_eq!(element.num_src_pads(), 5);
}

#[test]
fn a_catalog_that_changes_all_the_time_is_read_now_and_then() {
    const SECONDS: u64 = 3;
    let mut scene = Scene::start("restless", &one_of_each());
    scene.messages(|_| true);
    let begun = Instant::now();
    for number in 0.. {
        let tracks = (0..number % 60).map(|track| (format!("t{number}-{track}"), opus()));
        let bad = (0..10).map(|track| (format!("b{number}-{track}"), json!({})));
        let audio = Value::Object(tracks.chain(bad).collect());
        let update = catalog(json!({}), audio, json!({}), json!({}));
        scene.publisher.update(&update.to_string());
        thread::sleep(Duration::from_millis(1));
        if begun.elapsed() > Duration::from_secs(SECONDS) {
            break;
        }
    }
    scene.good_goes_on();
    let warnings = scene.messages(|message| message.type_() == gst::MessageType::Warning);
    // One for each entry, and one a second for tracks that nobody serves.
    assert!(warnings.len() <= 64 + 10, "{} warnings", warnings.len());
    let collections = scene.packets("good").events();
    let collections = collections
        .iter()
        .filter(|event| event.type_() == gst::EventType::StreamCollection);
    // 7 in the first 1.3 s, then one a second.
    assert!(collections.count() <= 10 + SECONDS as usize);
    let element = scene.subscriber.element("moq");
    assert!(
        element.num_src_pads() <= 64 + 4,
        "{} pads",
        element.num_src_pads()
    );
    // What it says at last is what counts.
    scene.publisher.update(&one_of_each().to_string());
    scene.track("data");
}

#[test]
fn a_pad_that_is_blocked_keeps_the_newest_collection_alone() {
    const UPDATES: usize = 6;
    let mut scene = Scene::start("blocked", &one_of_each());
    let track = scene.track("audio");
    write(&track, 0, &SILENCE);
    let packets = scene.packets("audio");
    packets.wait_count(1, DEADLINE);
    let element = scene.subscriber.element("moq");
    let pads = element.src_pads().into_iter();
    let mut pads = pads.filter(|pad| pad.property::<String>("track") == "audio");
    let sink = pads
        .next()
        .and_then(|pad| pad.peer())
        .expect("it is linked");
    let data = gst::PadProbeType::BLOCK | gst::PadProbeType::DATA_DOWNSTREAM;
    let block = sink.add_probe(data, |_, _| gst::PadProbeReturn::Ok);
    let collections = || {
        let events = packets.events().into_iter();
        let collections = events.filter(|event| event.type_() == gst::EventType::StreamCollection);
        collections.count()
    };
    let before = collections();
    let mut update = one_of_each();
    for number in 0..UPDATES {
        let name = format!("more-{number}");
        update["audio"]["renditions"][&name] = opus();
        scene.publisher.update(&update.to_string());
        scene.packets(&name);
    }
    sink.remove_probe(block.expect("a probe"));
    // A gap tells that nothing waits any more.
    wait_until("a gap after the collections", DEADLINE, || {
        let last = packets.events().pop().map(|event| event.type_());
        collections() > before && last == Some(gst::EventType::Gap)
    });
    // One may have been on its way when downstream was blocked.
    let more = collections() - before;
    assert!((1..=2).contains(&more), "{more} collections");
}

#[test]
fn payloads_of_no_codec_at_all_harm_nobody() {
    let video = |codec: &str| legacy(json!({"codec": codec}));
    let audio = |codec: &str| {
        let mut entry = opus();
        entry["codec"] = codec.into();
        entry
    };
    let names = [
        "h264", "h265", "vp8", "vp9", "av1", "aac", "mp3", "ac3", "vtt", "utf8", "ttml", "klv",
        "any",
    ];
    let mut scene = Scene::start(
        "noise",
        &catalog(
            json!({"h264": video("avc3.64001f"), "h265": video("hev1.1.6.L93.B0"), "vp8": video("vp8"),
                "vp9": video("vp09.00.10.08"), "av1": video("av01.0.08M.08")}),
            json!({"aac": audio("mp4a.40.2"), "mp3": audio("mp3"), "ac3": audio("ac-3")}),
            json!({"vtt": legacy(json!({"format": "vtt"})), "utf8": legacy(json!({"format": "utf8"})),
                "ttml": legacy(json!({"format": "ttml"}))}),
            json!({"klv": legacy(json!({"caps": "meta/x-klv, parsed=(boolean)true"})),
                "any": legacy(json!({"caps": "application/octet-stream"}))}),
        ),
    );
    let tracks = names.map(|name| scene.track(name));
    for number in 0..100_u64 {
        for track in &tracks {
            write(track, number * 20_000, &noise(1 + number as usize));
        }
        thread::sleep(Duration::from_millis(5));
    }
    scene.good_goes_on();
    for name in names {
        assert!(in_order(&scene.packets(name).so_far()), "{name}");
    }
    assert_eq!(scene.warnings(), [""; 0]);
}
