//! Damaged input for everything here that reads what comes from outside: no panic, no endless work.
//!
//! `FUZZ_SECONDS` says how long each target runs (5 by default), `FUZZ_SEED` which inputs it gets; the
//! seeds are in `tests/corpus`.

#[path = "common/mutate.rs"]
#[allow(dead_code)]
mod mutate;

use std::collections::BTreeMap;

use bytes::Bytes;
use gst::ClockTime;
use gstmoq::media::{
    annexb,
    caps::{self, Rendition, Span, Stream},
    cmaf::{self, Fragments, Init},
    codec::{Kind, text::cues},
    container::Container,
    description::{Description, Orientation},
    duration,
    incoming::{Join, Timeline, Verdict},
    rendition::SECTIONS,
    text::{Markup, vtt},
};
use mutate::{Mutator, fuzz, hex, seeds};
use serde_json::Value;

/// The seeds of one codec: its caps and its frames.
struct Codec {
    caps: Vec<u8>,
    frames: Vec<Vec<u8>>,
}

fn codecs() -> Vec<Codec> {
    gst::init().expect("GStreamer initializes");
    let frames = seeds(".bin");
    seeds(".caps")
        .into_iter()
        .map(|(name, caps)| {
            let prefix = format!("{name}-");
            let own = |frame: &str| {
                frame
                    .strip_prefix(&prefix)
                    .is_some_and(|rest| rest.len() == 1)
            };
            let frames = frames.iter().filter(|(frame, _)| own(frame));
            let frames: Vec<_> = frames.map(|(_, bytes)| bytes.clone()).collect();
            assert!(!frames.is_empty(), "{name} has frames");
            Codec { caps, frames }
        })
        .collect()
}

/// What GStreamer itself reads without a complaint.
fn parse(caps: &str) -> Option<gst::Caps> {
    let caps = caps.trim();
    let sane = caps.starts_with(|first: char| first.is_ascii_alphabetic()) && !caps.contains('\0');
    sane.then(|| caps.parse().ok())?
}

fn stream(caps: &str) -> Option<Stream> {
    let caps = parse(caps)?;
    Stream::from_caps(&caps).ok()
}

fn renditions() -> Vec<Rendition> {
    codecs()
        .iter()
        .map(|codec| {
            let caps = str::from_utf8(&codec.caps).expect("text");
            let mut stream = stream(caps).unwrap_or_else(|| panic!("{caps} are taken"));
            for frame in &codec.frames {
                // Header buffers are refused.
                let _ = stream.prepare(frame.clone().into(), true);
            }
            stream
                .rendition()
                .unwrap_or_else(|| panic!("an entry of {caps}"))
                .clone()
        })
        .collect()
}

/// Whatever is asked of an entry that a catalog may have, and of a frame of it.
fn use_rendition(rendition: &Rendition, payload: &Bytes) {
    if let Ok(caps) = caps::from_rendition(rendition) {
        assert!(caps.is_fixed(), "{caps}");
        let description = Description::of_rendition(rendition, Orientation::default());
        description.tags(&caps, rendition.kind());
    }
    caps::reorder_depth(rendition);
    caps::reorder_depth_in_band(rendition, payload);
    duration::of(rendition, payload);
    for cue in cues(rendition, payload) {
        assert!(cue.after < ClockTime::from_nseconds(1 << 60));
    }
    let _ = cmaf::init(rendition);
}

#[test]
fn every_seed_is_good() {
    assert_eq!(renditions().len(), 19);
}

/// GStreamer's own parser of caps logs warnings and criticals on damaged text.
fn let_the_parser_complain() {
    gst::init().expect("GStreamer initializes");
    gst::glib::log_set_always_fatal(gst::glib::LogLevels::LEVEL_ERROR);
}

#[test]
fn caps_become_entries_and_caps_again() {
    let_the_parser_complain();
    let seeds: Vec<_> = codecs().into_iter().map(|codec| codec.caps).collect();
    fuzz(|mutator| {
        let text = mutator.text(&seeds);
        mutator.note(|| text.clone());
        let Some(caps) = parse(&text) else { return };
        for container in [Container::Legacy, Container::Loc, Container::Cmaf] {
            let stream =
                Stream::from_caps(&caps).and_then(|stream| stream.in_container(container, &caps));
            if let Ok(stream) = stream
                && let Some(rendition) = stream.rendition()
            {
                use_rendition(rendition, &Bytes::new());
            }
        }
    });
}

#[test]
fn access_units_of_every_codec() {
    let_the_parser_complain();
    let codecs = codecs();
    let caps: Vec<_> = codecs.iter().map(|codec| codec.caps.clone()).collect();
    fuzz(|mutator| {
        let codec = mutator.pick(&codecs);
        let text = match mutator.one_in(4) {
            true => mutator.text(&caps),
            false => String::from_utf8_lossy(&codec.caps).into_owned(),
        };
        let Some(mut stream) = stream(&text) else {
            return;
        };
        for _ in 0..1 + mutator.below(4) {
            let payload = Bytes::from(mutator.bytes(&codec.frames));
            mutator.note(|| format!("{} of {text}", hex(&payload)));
            let key = stream.is_key(&payload, mutator.one_in(2));
            let span = Span {
                begin: ClockTime::from_nseconds(mutator.number() >> 4),
                duration: mutator
                    .one_in(2)
                    .then(|| ClockTime::from_nseconds(mutator.number() >> 1)),
            };
            let _ = stream.prepare_at(payload.clone(), key, span);
            if let Some(rendition) = stream.rendition() {
                use_rendition(rendition, &payload);
            }
        }
    });
}

#[test]
fn entries_of_catalogs() {
    gst::init().expect("GStreamer initializes");
    let catalogs: Vec<Value> = seeds("hang.json")
        .values()
        .map(|text| serde_json::from_slice(text).expect("JSON"))
        .collect();
    let frames: Vec<_> = seeds(".bin").into_values().collect();
    fuzz(|mutator| {
        let catalog = mutator.json(&catalogs);
        let payload = Bytes::from(mutator.bytes(&frames));
        mutator.note(|| format!("{catalog} and {}", hex(&payload)));
        for (section, tracks) in SECTIONS {
            let listed = catalog[section][tracks].as_object();
            for entry in listed.into_iter().flat_map(|listed| listed.values()) {
                if let Ok(rendition) = Rendition::from_json(section, entry) {
                    use_rendition(&rendition, &payload);
                }
            }
        }
    });
}

#[test]
fn cmaf_segments() {
    let renditions = renditions();
    let inits: Vec<Vec<u8>> = renditions
        .iter()
        .filter_map(|rendition| Some(cmaf::init(rendition).ok()?.to_vec()))
        .collect();
    assert!(inits.len() > 5, "most codecs have one");
    let mut writer = Fragments::pictures(Some(2), None);
    let fragments: Vec<Vec<u8>> = (0..4_u64)
        .map(|n| writer.wrap(n << (n * 18), n == 0, &[7; 90]).to_vec())
        .collect();
    fuzz(|mutator| {
        let init = mutator.bytes(&inits);
        let fragment = Bytes::from(mutator.bytes(&fragments));
        mutator.note(|| format!("{} and {}", hex(&init), hex(&fragment)));
        let Ok(init) = Init::parse(&init) else { return };
        let mut completed = mutator.pick(&renditions).clone();
        if init.complete(&mut completed).is_ok() {
            use_rendition(&completed, &fragment);
        }
        let frames = init.frames(&fragment).unwrap_or_default();
        assert!(frames.len() <= fragment.len());
        let bytes: usize = frames.iter().map(|frame| frame.payload.len()).sum();
        assert!(bytes <= fragment.len(), "{bytes} of {}", fragment.len());
    });
}

#[test]
fn cues_and_markup() {
    let texts: Vec<_> = ["vtt-0.bin", "pango-0.bin", "ttml-0.bin"]
        .into_iter()
        .flat_map(|name| seeds(name).into_values())
        .collect();
    fuzz(|mutator| {
        let text = mutator.text(&texts);
        mutator.note(|| text.clone());
        vtt::is_segment(&text);
        let cues = vtt::parse(&text);
        for cue in &cues {
            assert!(cue.begin < cue.end);
        }
        assert_eq!(vtt::parse(&vtt::write(&cues)).len(), cues.len());
        for markup in [Markup::parse(&text), Markup::plain(&text)] {
            markup.to_plain();
            markup.to_markup();
        }
    });
}

#[test]
fn nal_units() {
    let frames: Vec<_> = seeds(".bin").into_values().collect();
    fuzz(|mutator| {
        let bytes = mutator.bytes(&frames);
        mutator.note(|| hex(&bytes));
        let units: usize = annexb::units(&bytes).map(|unit| unit.nal().len()).sum();
        assert!(units <= bytes.len());
        for size in 0..=8 {
            let units = annexb::prefixed(&bytes, size);
            assert!(units.take(bytes.len() + 2).count() <= bytes.len() + 1);
        }
    });
}

#[test]
fn the_timeline() {
    const KINDS: [Kind; 4] = [Kind::Video, Kind::Audio, Kind::Text, Kind::Data];
    fuzz(|mutator| {
        let join = *mutator.pick(&[Join::Live, Join::NextGroup]);
        let mut timeline = Timeline::new(time(mutator) / 1024, join);
        let mut now = time(mutator);
        let mut tracks = Vec::new();
        let mut last = BTreeMap::new();
        let mut log = vec![format!("{join:?} at {now}")];
        for step in 0..mutator.below(80) {
            if tracks.is_empty() || mutator.one_in(12) {
                let kind = *mutator.pick(&KINDS);
                let delay = mutator.one_in(3).then(|| time(mutator));
                tracks.push((step, kind, timeline.add_track(kind, delay, ClockTime::ZERO)));
            }
            let (name, kind, id) = *mutator.pick(&tracks);
            let ts = time(mutator);
            now += ClockTime::from_mseconds(mutator.below(200) as u64);
            log.push(format!("{kind:?} {name}: {ts} at {now}"));
            mutator.note(|| log.join("\n"));
            match mutator.below(40) {
                0 => timeline.restart(),
                1 => timeline.set_reorder_depth(id, mutator.number() as u32),
                2 => timeline.set_frame_duration(id, ts),
                3 => {
                    timeline.remove_track(id);
                    tracks.retain(|track| track.0 != name);
                    continue;
                }
                _ => {}
            }
            timeline.arrive(id, ts, now);
            timeline.is_settled(now);
            timeline.settles_at();
            timeline.edge(ts);
            timeline.min_latency();
            if let Verdict::Show(stamp) = timeline.stamp(id, ts) {
                assert!(stamp.pts < ClockTime::from_nseconds(1 << 62), "{stamp:?}");
                assert!(stamp.dts.is_none_or(|dts| dts <= stamp.pts), "{stamp:?}");
                let order = stamp.dts.unwrap_or(stamp.pts);
                let before = last.insert(name, order);
                let rises = |before| match kind {
                    Kind::Video => before < order,
                    _ => before <= order,
                };
                assert!(before.is_none_or(rises), "{before:?} before {stamp:?}");
            }
        }
    });
}

/// A time that a reader lets pass.
fn time(mutator: &mut Mutator) -> ClockTime {
    ClockTime::from_nseconds(mutator.number() >> (4 + mutator.below(30)))
}
