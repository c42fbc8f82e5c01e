// SPDX-License-Identifier: MIT
//! Catalogs of every kind, as a pure function sees them.

mod fuzz;

use moq_net::Path;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{
    entries::{Entry, MAX_ENTRIES, read},
    format::{MAX_CODEC, MAX_INIT, Track},
    is_ended, msf,
};
use crate::media::{
    catalog::name::Names,
    format::{caps::Rendition, codec::Kind},
};

const OWN: &str = "room/camera.hang";

fn of(track: Track, catalog: &Value) -> (Vec<Entry>, Vec<String>) {
    gst::init().expect("GStreamer initializes");
    read(track, &Path::new(OWN), catalog)
}

fn names(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.name.as_str()).collect()
}

fn opus() -> Value {
    json!({"codec": "opus", "sampleRate": 48_000, "numberOfChannels": 2, "container": {"kind": "legacy"}})
}

fn opus_at(reference: &str) -> Value {
    let mut entry = opus();
    entry["broadcast"] = reference.into();
    entry
}

fn msf_opus(name: &str) -> Value {
    json!({"name": name, "packaging": "legacy", "role": "audio", "codec": "opus",
        "samplerate": 48_000, "channelConfig": "2"})
}

/// One catalog of audio entries.
fn audio(entries: impl IntoIterator<Item = (String, Value)>) -> Value {
    let renditions: Map<String, Value> = entries.into_iter().collect();
    json!({"audio": {"renditions": renditions}})
}

#[test]
fn of_a_catalog_of_broken_entries_a_few_are_looked_at_and_the_rest_is_counted() {
    const COUNT: usize = 100_000;
    let names = (0..COUNT).map(|number| format!("{number:06}"));
    let sections = ["video", "audio", "text", "gstData"].map(|section| {
        let entries: Map<String, Value> = names.clone().map(|name| (name, 0.into())).collect();
        (section, json!({section: {"renditions": entries}}))
    });
    let tracks: Vec<Value> = names.clone().map(|name| json!({"name": name})).collect();
    let msf = (Track::Msf, "tracks", json!({"tracks": tracks}));
    let hang = sections.map(|(section, catalog)| (Track::Hang, section, catalog));
    for (track, what, catalog) in hang.into_iter().chain([msf]) {
        let (entries, problems) = of(track, &catalog);
        assert!(entries.is_empty(), "{what}");
        assert_eq!(problems.len(), 1 + MAX_ENTRIES, "{what}");
        let left_out = (COUNT - MAX_ENTRIES).to_string();
        let told = problems
            .iter()
            .filter(|problem| problem.contains(&left_out));
        assert_eq!(told.count(), 1, "{what}");
    }
}

#[test]
fn a_name_that_no_publisher_here_may_use_is_left_out() {
    let names = ["good", "a\nb", "\u{7f}", "", "catalog.json", "caf\u{e9}"];
    let catalog = audio(names.map(|name| (name.to_owned(), opus())));
    let (entries, problems) = of(Track::Hang, &catalog);
    let allowed = names
        .into_iter()
        .filter(|name| Names::refuse(name).is_none());
    let mut allowed: Vec<&str> = allowed.collect();
    allowed.sort_unstable();
    let mut taken = self::names(&entries);
    taken.sort_unstable();
    assert_eq!(taken, allowed);
    assert_eq!((taken.len(), problems.len()), (2, 4), "{problems:?}");
}

#[test]
fn a_track_that_follows_another_has_its_lineage() {
    let mut catalog = audio(["a", "a-2", "b"].map(|name| (name.to_owned(), opus())));
    catalog["gstLineage"] = json!({"a-2": "a", "b": 7});
    let (entries, problems) = of(Track::Hang, &catalog);
    let lineages: Vec<Option<&str>> = entries.iter().map(|e| e.lineage.as_deref()).collect();
    assert_eq!((lineages, problems), (vec![None, Some("a"), None], vec![]));
}

#[test]
fn each_field_of_an_msf_track_has_its_place() {
    let catalog = json!({"version": "draft-01",
    "initDataList": [{"id": "a", "type": "inline", "data": "EZA="}],
    "tracks": [
        {"name": "v", "packaging": "loc", "role": "video", "codec": "avc3.64001f", "isLive": true,
         "width": 1280, "height": 720, "framerate": 29.97, "bitrate": 1_000_000, "label": "Stage",
         "jitter": 20.5, "delay": 200},
        {"name": "a", "packaging": "legacy", "role": "audio", "codec": "mp4a.40.2", "initRef": "a",
         "bitrate": 96_000, "label": "Hall", "lang": "en"},
    ]});
    let (entries, problems) = of(Track::Msf, &catalog);
    assert_eq!((names(&entries), problems), (vec!["v", "a"], vec![]));
    let Rendition::Video(video) = &*entries[0].rendition else {
        panic!("a video track")
    };
    assert_eq!(video.codec.to_string(), "avc3.64001f");
    assert_eq!(video.coded_width.zip(video.coded_height), Some((1280, 720)));
    assert_eq!(video.framerate, Some(29.97));
    assert_eq!(video.bitrate, Some(1_000_000));
    assert_eq!(video.label.as_deref(), Some("Stage"));
    assert_eq!(video.jitter.map(|time| time.as_micros()), Some(20_500));
    assert_eq!(video.delay.map(|time| time.as_millis()), Some(200));
    assert_eq!(video.container, hang::catalog::Container::Loc);
    let Rendition::Audio(audio) = &*entries[1].rendition else {
        panic!("an audio track")
    };
    assert_eq!(audio.description.as_deref(), Some(&[0x11, 0x90][..]));
    // By the AudioSpecificConfig: the track says neither.
    assert_eq!((audio.sample_rate, audio.channel_count), (48_000, 2));
    assert_eq!(audio.label.as_deref(), Some("Hall"));
    assert_eq!(audio.container, hang::catalog::Container::Legacy);
}

#[test]
fn either_catalog_says_which_tracks_are_alternatives() {
    let mut msf = json!({"tracks": [msf_opus("a"), msf_opus("b"), msf_opus("c")]});
    for (place, language) in [(0, "EN"), (1, "de")] {
        msf["tracks"][place]["altGroup"] = 1.into();
        msf["tracks"][place]["lang"] = language.into();
    }
    let mut speech = opus();
    speech["lang"] = "de".into();
    let mut hang = audio([
        ("a".into(), opus()),
        ("a-2".into(), opus()),
        ("b".into(), speech),
    ]);
    hang["gstGroup"] = json!({"a": "sound", "b": 5});
    // What an entry says itself counts first.
    hang["gstLang"] = json!({"a": "fr", "a-2": 7, "b": "en"});
    hang["gstLineage"] = json!({"a-2": "a"});
    let told = |track: Track, catalog: &Value| {
        let (entries, problems) = of(track, catalog);
        assert_eq!(problems, [""; 0]);
        let traits = entries
            .into_iter()
            .map(|entry| (entry.traits.group, entry.traits.language));
        traits.collect::<Vec<_>>()
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        told(Track::Msf, &msf),
        [
            (some("1"), some("en")),
            (some("1"), some("de")),
            (None, None)
        ]
    );
    assert_eq!(
        told(Track::Hang, &hang),
        [
            (some("sound"), some("fr")),
            (some("sound"), None),
            (None, some("de"))
        ]
    );
    let (entries, _) = of(Track::Hang, &hang);
    let tag = entries[2].tags.get::<gst::tags::LanguageCode>();
    assert_eq!(tag.map(|tag| tag.get().to_owned()), some("de"));
}

#[test]
fn a_bad_msf_track_harms_no_other() {
    let with = |field: &str, value: Value| {
        let mut track = msf_opus("bad");
        track[field] = value;
        track
    };
    for (track, hint) in [
        (json!(17), "invalid type"),
        (json!({"name": "bad"}), "packaging"),
        (with("role", Value::Null), "no role"),
        (with("role", "caption".into()), "caption"),
        (with("packaging", "eventtimeline".into()), "eventtimeline"),
        (with("packaging", "cmaf".into()), "initialization data"),
        (with("codec", Value::Null), "no codec"),
        (with("codec", "quantum".into()), "quantum"),
        (with("samplerate", Value::Null), "sample rate"),
        (with("samplerate", "many".into()), "invalid type"),
        (with("samplerate", 0.into()), "0 Hz"),
        (with("initData", "§".into()), "base64"),
        (with("initRef", "nowhere".into()), "not in the catalog"),
        (with("name", "\n".into()), "name"),
        (with("name", "good".into()), "same name"),
    ] {
        let catalog = json!({"tracks": [msf_opus("good"), track, msf_opus("too")]});
        let (entries, problems) = of(Track::Msf, &catalog);
        assert_eq!(names(&entries), ["good", "too"], "{track}");
        let [problem] = &problems[..] else {
            panic!("one problem with {track}: {problems:?}")
        };
        assert!(problem.contains(hint), "{track}: {problem}");
    }
}

#[test]
fn msf_says_when_it_is_ended() {
    for (catalog, over) in [
        (json!({"isComplete": true, "tracks": []}), true),
        (json!({"isComplete": true}), true),
        (
            json!({"isComplete": true, "tracks": [msf_opus("a")]}),
            false,
        ),
        (json!({"tracks": []}), false),
        (json!({"isComplete": "true"}), false),
    ] {
        assert_eq!(msf::is_complete(&catalog), over, "{catalog}");
    }
}

#[test]
fn either_catalog_may_bear_the_end_mark() {
    for (catalog, over) in [
        (json!({"gstEnd": true, "audio": {}}), true),
        (json!({"gstEnd": false}), false),
        (json!({"gstEnd": "true"}), false),
        (json!(["gstEnd"]), false),
        (json!({}), false),
    ] {
        for track in [Track::Hang, Track::HangZ, Track::Msf] {
            assert_eq!(is_ended(track, &catalog), over, "{catalog}");
        }
    }
}

#[test]
fn a_reference_leads_to_a_broadcast_beside_or_below() {
    for (reference, path) in [
        ("", Ok(None)),
        ("./camera.hang", Ok(None)),
        ("../room/camera.hang", Ok(None)),
        ("source", Ok(Some("room/source"))),
        ("./source", Ok(Some("room/source"))),
        ("../studio/source", Ok(Some("studio/source"))),
        ("../../source", Err("no broadcast")),
        ("..", Err("no broadcast")),
        ("a\u{7}b", Err("no broadcast")),
    ] {
        let catalog = audio([("a".to_owned(), opus_at(reference))]);
        let (entries, problems) = of(Track::Hang, &catalog);
        match path {
            Ok(path) => {
                assert_eq!(problems, Vec::<String>::new(), "{reference}");
                let external = entries[0].external.as_ref();
                assert_eq!(external.map(|path| path.as_str()), path, "{reference}");
            }
            Err(hint) => assert!(problems[0].contains(hint), "{reference}: {problems:?}"),
        }
    }
}

#[test]
fn few_other_broadcasts_are_referred_to() {
    let catalog = audio((0..40).map(|i| (format!("{i:02}"), opus_at(&format!("other-{}", i / 2)))));
    let (entries, problems) = of(Track::Hang, &catalog);
    assert_eq!(
        (entries.len(), problems.len()),
        (32, 8),
        "16 with two tracks each"
    );
}

#[test]
fn few_of_many_entries_are_used_and_few_words_are_said() {
    let many = audio((0..10_000).map(|i| (format!("{i:05}"), opus())));
    let (entries, problems) = of(Track::Hang, &many);
    assert_eq!((entries.len(), problems.len()), (64, 1));
    let tracks: Vec<Value> = (0..10_000).map(|i| msf_opus(&format!("{i:05}"))).collect();
    let (entries, problems) = of(Track::Msf, &json!({"tracks": tracks}));
    assert_eq!((entries.len(), problems.len()), (64, 2));
    let long = "x".repeat(1 << 20);
    let bad = json!({"codec": long, "sampleRate": 1, "numberOfChannels": 1});
    let (entries, problems) = of(Track::Hang, &audio([(long, bad)]));
    assert!(entries.is_empty());
    assert!(problems[0].len() < 1000, "{} bytes", problems[0].len());
}

#[test]
fn what_is_too_long_for_a_codec_is_left_out_before_it_is_parsed() {
    let with = |mut entry: Value, field: &str, length: usize| {
        entry[field] = "A".repeat(length).into();
        entry
    };
    let cmaf = json!({"kind": "cmaf", "init": "A".repeat(MAX_INIT + 1)});
    let mut fragments = opus();
    fragments["container"] = cmaf;
    for (bad, what) in [
        (with(opus(), "codec", MAX_CODEC + 1), "codec"),
        (with(opus(), "description", MAX_INIT + 1), "description"),
        (fragments, "initialization data"),
    ] {
        let catalog = audio([("bad".to_owned(), bad), ("good".to_owned(), opus())]);
        let (entries, problems) = of(Track::Hang, &catalog);
        assert_eq!(names(&entries), ["good"], "{what}");
        assert!(
            problems[0].contains(&format!("its {what} is too long")),
            "{problems:?}"
        );
    }
    let listed = with(msf_opus("listed"), "initRef", 1);
    for (bad, what) in [
        (with(msf_opus("bad"), "codec", MAX_CODEC + 1), "codec"),
        (
            with(msf_opus("bad"), "initData", MAX_INIT + 1),
            "initialization data",
        ),
        (listed, "initialization data"),
    ] {
        let init = json!({"id": "A", "data": "A".repeat(MAX_INIT + 1)});
        let catalog = json!({"initDataList": [init], "tracks": [bad, msf_opus("good")]});
        let (entries, problems) = of(Track::Msf, &catalog);
        assert_eq!(names(&entries), ["good"], "{what}");
        assert!(
            problems[0].contains(&format!("its {what} is too long")),
            "{problems:?}"
        );
    }
}

#[test]
fn a_codec_that_is_no_ascii_is_left_out() {
    // Six bytes whose second and third are one character.
    let codec = "avc1.aéabc";
    let hang = json!({"video": {"renditions": {"bad": {"codec": codec}}}, "audio": {"renditions": {"a": opus()}}});
    let bad = json!({"name": "bad", "packaging": "loc", "role": "video", "codec": codec});
    let msf = json!({"tracks": [bad, msf_opus("a")]});
    for (track, catalog) in [(Track::Hang, hang), (Track::Msf, msf)] {
        let (entries, problems) = of(track, &catalog);
        assert_eq!(names(&entries), ["a"]);
        assert!(problems[0].contains("ASCII"), "{problems:?}");
    }
}

/// Any JSON, with what catalogs have in it more often than not.
fn value() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        Just("opus"),
        Just("mp4a.40.2"),
        Just("avc1.64001f"),
        Just("avc1.é"),
        Just("hev1.A"),
        Just("hvc1.1.6.L93.B0"),
        Just("vp09.00"),
        Just("av01.0.04M.10"),
        Just("flac"),
        Just("pcm"),
        Just("legacy"),
        Just("loc"),
        Just("cmaf"),
        Just("video"),
        Just("audio"),
        Just("vtt"),
        Just("AAAAIGZ0eXBpc28="),
        Just("0142c01e"),
        Just("../.."),
        Just("source"),
        Just("\u{0}"),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(any::<String>(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// An entry in whose place of a field anything can be.
fn entry(base: Value, fields: &'static [&'static str]) -> impl Strategy<Value = Value> {
    let broken = prop::collection::vec((prop::sample::select(fields), value()), 0..4);
    broken.prop_map(move |broken| {
        let mut entry = base.clone();
        for (field, value) in broken {
            entry[field] = value;
        }
        entry
    })
}

fn hang_catalog() -> impl Strategy<Value = Value> {
    const FIELDS: &[&str] = &[
        "codec",
        "container",
        "description",
        "codedWidth",
        "codedHeight",
        "displayAspectWidth",
        "displayAspectHeight",
        "framerate",
        "bitrate",
        "jitter",
        "delay",
        "label",
        "broadcast",
        "sampleRate",
        "numberOfChannels",
        "format",
        "role",
        "lang",
        "optimizeForLatency",
        "stalled",
        "caps",
        "mime",
        "mode",
        "compression",
    ];
    let video = json!({"codec": "avc1.64001f", "codedWidth": 640, "codedHeight": 480,
        "container": {"kind": "legacy"}});
    let list = |map: &'static str, base: Value| {
        let entries = prop::collection::hash_map(any::<String>(), entry(base, FIELDS), 0..4);
        entries.prop_map(move |entries| json!({map: Value::Object(entries.into_iter().collect())}))
    };
    let section = |map, base: Value| prop_oneof![9 => list(map, base), 1 => value()];
    let text = json!({"format": "vtt", "container": {"kind": "legacy"}});
    let data = json!({"caps": "meta/x-klv", "container": {"kind": "legacy"}});
    let records = json!({"mode": "stream", "compression": "deflate"});
    (
        section("renditions", video),
        section("renditions", opus()),
        section("renditions", text),
        section("renditions", data),
        section("tracks", records.clone()),
        section("tracks", records),
    )
        .prop_map(|(video, audio, text, data, documents, binary)| {
            json!({"video": video, "audio": audio, "text": text, "gstData": data,
                "json": documents, "binary": binary})
        })
}

fn msf_catalog() -> impl Strategy<Value = Value> {
    const FIELDS: &[&str] = &[
        "name",
        "packaging",
        "role",
        "codec",
        "width",
        "height",
        "framerate",
        "samplerate",
        "channelConfig",
        "bitrate",
        "initData",
        "initRef",
        "jitter",
        "delay",
        "label",
        "lang",
        "isLive",
        "stalled",
        "renderGroup",
        "altGroup",
        "maxGrpSapStartingType",
    ];
    let video = json!({"name": "v", "packaging": "loc", "role": "video", "codec": "avc3.64001f"});
    let tracks = prop::collection::vec(
        prop_oneof![entry(video, FIELDS), entry(msf_opus("a"), FIELDS), value()],
        0..6,
    );
    let inits = prop_oneof![
        value(),
        entry(
            json!({"id": "opus", "type": "inline", "data": "EZA="}),
            &["id", "type", "data"]
        )
        .prop_map(|init| json!([init])),
    ];
    (tracks, inits, value(), value()).prop_map(|(tracks, inits, complete, delta)| {
        json!({"version": "draft-01", "tracks": tracks, "initDataList": inits,
            "isComplete": complete, "deltaUpdate": delta})
    })
}

proptest! {
    #[test]
    fn a_hostile_hang_catalog_harms_nobody(catalog in hang_catalog()) {
        let mut catalog = catalog;
        let before = of(Track::Hang, &catalog).0.len();
        catalog["audio"] = json!({"renditions": {"good": opus()}});
        let (entries, _) = of(Track::Hang, &catalog);
        prop_assert!(entries.iter().any(|entry| entry.name == "good"));
        prop_assert!(entries.iter().all(|entry| entry.caps.is_fixed()));
        prop_assert!(before <= 64);
    }

    #[test]
    fn a_hostile_msf_catalog_harms_nobody(catalog in msf_catalog()) {
        let mut catalog = catalog;
        if let Some(tracks) = catalog["tracks"].as_array_mut() {
            tracks.push(msf_opus("good"));
        }
        let (entries, _) = of(Track::Msf, &catalog);
        prop_assert!(entries.iter().any(|entry| entry.name == "good"));
        prop_assert!(entries.iter().all(|entry| entry.caps.is_fixed()));
        prop_assert!(entries.iter().all(|entry| matches!(entry.rendition.kind(), Kind::Video | Kind::Audio)));
    }

    #[test]
    fn anything_at_all_is_no_catalog_and_no_harm(catalog in value()) {
        for track in [Track::Hang, Track::Msf] {
            of(track, &catalog);
        }
        is_ended(Track::Msf, &catalog);
    }
}
