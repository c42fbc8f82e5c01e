// SPDX-License-Identifier: MIT
//! What the fuzzers try: how an input is read, and what has to be true whatever it is.

mod choices;
mod timelines;

use std::{cell::Cell, sync::LazyLock};

use bytes::Bytes;
use gst::{ClockTime, glib};
use gstmoq::media::{
    catalog::description::{Description, Orientation},
    container::{
        cmaf::{self, Fragments, Init},
        kind::Container,
    },
    format::{
        annexb,
        caps::{self, InputStream, Rendition},
        codec::text::cues,
        duration,
        input::{Span, TextSettings},
        rendition::{Catalog, SECTIONS},
    },
    text::{Markup, vtt},
};
use hang::catalog;
use serde_json::{Value, json};

use self::choices::Choices;
use crate::mutate::{CUT, Form, kept, parts, seeds};

/// One thing that is fuzzed.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) form: Form,
    pub(crate) seeds: fn() -> Vec<Vec<u8>>,
    pub(crate) run: fn(&[u8]),
}

impl Target {
    /// Good input, and what was kept because it was not.
    pub(crate) fn seeds(&self) -> Vec<Vec<u8>> {
        let mut seeds = (self.seeds)();
        seeds.extend(kept(self.name));
        seeds
    }
}

/// All targets.
pub(crate) static TARGETS: [Target; 8] = [
    Target {
        name: "caps",
        form: Form::Text,
        seeds: || seeds(".caps").into_values().collect(),
        run: caps_to_entry,
    },
    Target {
        name: "frames",
        form: Form::Text,
        seeds: streams,
        run: frames,
    },
    Target {
        name: "entries",
        form: Form::Json,
        seeds: listed,
        run: entries,
    },
    Target {
        name: "cmaf",
        form: Form::Bytes,
        seeds: fragments,
        run: cmaf_segments,
    },
    Target {
        name: "text",
        form: Form::Text,
        seeds: || {
            let names = ["vtt-0.bin", "pango-0.bin", "ttml-0.bin"];
            names
                .into_iter()
                .flat_map(|name| seeds(name).into_values())
                .collect()
        },
        run: cues_and_markup,
    },
    Target {
        name: "nal",
        form: Form::Bytes,
        seeds: || seeds(".bin").into_values().collect(),
        run: nal_units,
    },
    Target {
        name: "incoming",
        form: Form::Bytes,
        seeds: timelines::any,
        run: timelines::incoming,
    },
    Target {
        name: "outgoing",
        form: Form::Bytes,
        seeds: timelines::any,
        run: timelines::outgoing,
    },
];

thread_local! {
    /// GStreamer's parser of caps is reading damaged text.
    static PARSING: Cell<bool> = const { Cell::new(false) };
}

/// Has everything end that GLib complains of, but for what GStreamer's parser of caps says.
pub(crate) fn init() {
    gst::init().expect("GStreamer initializes");
    // G_DEBUG may want more, and would not make the exception.
    glib::log_set_always_fatal(glib::LogLevels::LEVEL_ERROR);
    glib::log_set_default_handler(|domain, level, message| {
        let severe = matches!(level, glib::LogLevel::Critical | glib::LogLevel::Warning);
        if severe && !PARSING.get() {
            eprintln!("{}: {message}", domain.unwrap_or_default());
            std::process::abort();
        }
    });
}

/// What GStreamer itself reads without a crash.
fn parse(caps: &[u8]) -> Option<gst::Caps> {
    let caps = str::from_utf8(caps).ok()?.trim();
    let sane = caps.starts_with(|first: char| first.is_ascii_alphabetic()) && !caps.contains('\0');
    PARSING.set(true);
    let parsed = sane.then(|| caps.parse().ok());
    PARSING.set(false);
    parsed?
}

/// Caps, a header to replace the one in them, choices, and then frames, for each codec.
fn streams() -> Vec<Vec<u8>> {
    let frames = seeds(".bin");
    let streams = seeds(".caps").into_iter().flat_map(|(name, caps)| {
        let own = |number| frames.get(&format!("{name}-{number}"));
        let frames: Vec<_> = [0, 1].into_iter().filter_map(own).collect();
        assert!(!frames.is_empty(), "{name} has frames");
        let header = parse(&caps)
            .and_then(|caps| header(&caps))
            .unwrap_or_default();
        // Each container; the first frame is a keyframe.
        (0..3).map(move |container| {
            let choices = [container, 0, 0, 1];
            let mut parts = vec![&caps[..], &header, &choices];
            parts.extend(frames.iter().map(|frame| frame.as_slice()));
            parts.join(CUT)
        })
    });
    streams.collect()
}

/// The bytes of the caps that are not text.
fn header(caps: &gst::Caps) -> Option<Vec<u8>> {
    let structure = caps.structure(0)?;
    let buffer = match structure.get::<gst::Array>("streamheader") {
        Ok(headers) => headers.first()?.get().ok()?,
        Err(_) => structure.get::<gst::Buffer>("codec_data").ok()?,
    };
    Some(buffer.map_readable().ok()?.to_vec())
}

fn set_header(caps: &mut gst::Caps, header: &[u8]) {
    let buffer = gst::Buffer::from_slice(header.to_vec());
    let is_array = caps
        .structure(0)
        .is_some_and(|structure| structure.has_field("streamheader"));
    let caps = caps.make_mut();
    match is_array {
        true => caps.set("streamheader", gst::Array::new([buffer])),
        false => caps.set("codec_data", buffer),
    }
}

/// The entries that the seeds become.
pub(crate) static RENDITIONS: LazyLock<Vec<Rendition>> = LazyLock::new(|| {
    let caps = seeds(".caps").into_iter();
    let renditions = caps.map(|(name, caps)| {
        let caps = parse(&caps).expect("caps");
        let mut stream = InputStream::from_caps(&caps).expect("caps that are taken");
        for frame in seeds(".bin")
            .into_iter()
            .filter(|(frame, _)| frame.starts_with(&name))
        {
            // Header buffers are refused.
            let _ = stream.prepare(frame.1.into(), true);
        }
        stream
            .rendition()
            .unwrap_or_else(|| panic!("an entry of {name}"))
            .clone()
    });
    renditions.collect()
});

/// One section with one entry, its description, and the payload of a frame.
fn listed() -> Vec<Vec<u8>> {
    let frames = seeds(".bin");
    let frames: Vec<_> = frames.values().collect();
    let entries = RENDITIONS.iter().zip(frames.iter().cycle());
    let mut inputs: Vec<_> = entries
        .map(|(rendition, frame)| {
            let (section, mut entry) = to_json(rendition);
            entry["description"].take();
            let description = match rendition {
                Rendition::Video(config) => config.description.clone(),
                Rendition::Audio(config) => config.description.clone(),
                Rendition::Text(_) | Rendition::Data(_) => None,
            };
            let text = json!({ section: entry }).to_string().into_bytes();
            [&text[..], &description.unwrap_or_default(), frame].join(CUT)
        })
        .collect();
    for catalog in seeds("hang.json").values() {
        let catalog: Value = serde_json::from_slice(catalog).expect("JSON");
        for (section, tracks) in SECTIONS {
            let listed = catalog[section][tracks].as_object().into_iter().flatten();
            inputs.extend(
                listed.map(|(_, entry)| json!({ section: entry }).to_string().into_bytes()),
            );
        }
    }
    inputs
}

fn fragments() -> Vec<Vec<u8>> {
    let described = RENDITIONS.iter().filter_map(|rendition| {
        let init = cmaf::init(rendition).ok()?;
        Some((init, Fragments::of(rendition, Some(2))))
    });
    let described = described.zip(0_u64..);
    let segments = described.map(|((init, mut writer), n)| {
        let fragment = writer.wrap(n << (n * 5), None, n == 0, &[7; 90]);
        [init, fragment].join(CUT)
    });
    let segments: Vec<_> = segments.collect();
    assert!(segments.len() > 5, "most codecs have one");
    segments
}

/// The section of an entry, and the entry as the catalog has it.
fn to_json(rendition: &Rendition) -> (&'static str, Value) {
    let mut catalog = Catalog::default();
    rendition.clone().list(&mut catalog, "track");
    let catalog = serde_json::to_value(&catalog).expect("JSON");
    let (section, tracks) = SECTIONS[rendition.kind() as usize];
    (section, catalog[section][tracks]["track"].clone())
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
    // The library cannot describe all.
    let _ = cmaf::init(rendition);
}

/// What is published can be read.
fn check_published(rendition: &Rendition) {
    let caps = caps::from_rendition(rendition).expect("caps of what is published");
    let (section, entry) = to_json(rendition);
    let read = Rendition::from_json(section, &entry).expect("an entry that can be read");
    assert_eq!(caps::from_rendition(&read), Ok(caps), "{entry}");
    if let catalog::Container::Cmaf { init } = read.container() {
        let init = Init::parse(init).expect("an init segment that can be read");
        let completed = init.complete(&mut read.clone());
        completed.expect("an init segment of the same stream");
    }
}

fn caps_to_entry(input: &[u8]) {
    let Some(caps) = parse(input) else { return };
    for container in [Container::Legacy, Container::Loc, Container::Cmaf] {
        let stream =
            InputStream::from_caps(&caps).and_then(|stream| stream.in_container(container, &caps));
        if let Ok(stream) = stream
            && let Some(rendition) = stream.rendition()
        {
            check_published(rendition);
            use_rendition(rendition, &Bytes::new());
        }
    }
}

fn frames(input: &[u8]) {
    let parts = parts(input);
    let [caps, header, choices, frames @ ..] = &parts[..] else {
        return;
    };
    let Some(mut caps) = parse(caps) else { return };
    if !header.is_empty() {
        set_header(&mut caps, header);
    }
    let mut choices = Choices(choices);
    let container = *choices.pick(&[Container::Legacy, Container::Loc, Container::Cmaf]);
    let stream =
        InputStream::from_caps(&caps).and_then(|stream| stream.in_container(container, &caps));
    let Ok(mut stream) = stream else { return };
    stream.set_text(&TextSettings {
        plain: choices.flag(),
        ..Default::default()
    });
    for frame in frames {
        if choices.flag() {
            stream.remember(&gst::Buffer::from_slice(frame.to_vec()));
            continue;
        }
        let payload = Bytes::copy_from_slice(frame);
        let key = stream.is_keyframe(&payload, choices.flag());
        let span = Span {
            begin: choices.time(60),
            duration: choices.flag().then(|| choices.time(63)),
        };
        let published = stream.prepare_at(payload.clone(), key, span);
        stream.reorder_depth();
        if let Some(rendition) = stream.rendition() {
            check_published(rendition);
            use_rendition(rendition, &payload);
            use_rendition(rendition, &published.unwrap_or_default());
        }
    }
}

fn entries(input: &[u8]) {
    let parts = parts(input);
    let part = |at: usize| parts.get(at).copied().unwrap_or_default();
    let Ok(Value::Object(sections)) = serde_json::from_slice(part(0)) else {
        return;
    };
    for (section, entry) in &sections {
        let Ok(mut rendition) = Rendition::from_json(section, entry) else {
            continue;
        };
        let description = Some(Bytes::copy_from_slice(part(1))).filter(|bytes| !bytes.is_empty());
        match &mut rendition {
            Rendition::Video(config) => {
                config.description = description.or(config.description.take())
            }
            Rendition::Audio(config) => {
                config.description = description.or(config.description.take())
            }
            Rendition::Text(_) | Rendition::Data(_) => {}
        }
        use_rendition(&rendition, &Bytes::copy_from_slice(part(2)));
    }
}

fn cmaf_segments(input: &[u8]) {
    let parts = parts(input);
    let Ok(init) = Init::parse(parts[0]) else {
        return;
    };
    let fragment = Bytes::copy_from_slice(parts.get(1).copied().unwrap_or_default());
    for rendition in &*RENDITIONS {
        let mut completed = rendition.clone();
        if init.complete(&mut completed).is_ok() {
            use_rendition(&completed, &fragment);
        }
    }
    let frames = init.frames(&fragment).unwrap_or_default();
    assert!(frames.len() <= fragment.len());
    let bytes: usize = frames.iter().map(|frame| frame.payload.len()).sum();
    assert!(bytes <= fragment.len(), "{bytes} of {}", fragment.len());
}

fn cues_and_markup(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    vtt::is_segment(&text);
    let cues = vtt::parse(&text);
    for cue in &cues {
        assert!(cue.begin < cue.end);
    }
    assert_eq!(vtt::parse(&vtt::write(&cues)).len(), cues.len());
    for markup in [Markup::parse(&text), Markup::plain(&text)] {
        markup.to_plain();
        let written = markup.to_markup();
        assert_eq!(Markup::parse(&written).to_markup(), written);
    }
    Orientation::from_tag(&text);
}

fn nal_units(input: &[u8]) {
    let units: usize = annexb::units(input).map(|unit| unit.nal().len()).sum();
    assert!(units <= input.len());
    for size in 0..=8 {
        let units = annexb::prefixed(input, size);
        assert!(units.take(input.len() + 2).count() <= input.len() + 1);
    }
}
