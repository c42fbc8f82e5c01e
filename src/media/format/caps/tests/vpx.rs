// SPDX-License-Identifier: MIT
//! VP8 and VP9, whose keyframes describe themselves.

use gst::prelude::*;
use hang::catalog::VP9;
use proptest::prelude::*;

use super::decoders::{decode, encode, launch, named};
use super::*;

const VP8: &str = "video/x-vp8, width=160, height=120, framerate=30/1";
const VP9: &str = "video/x-vp9, width=160, height=120, framerate=30/1";
/// The beginnings of keyframes of vp8enc and vp9enc, 160 x 120.
const VP8_KEY: &str = "1031009d012aa0007800";
const VP9_KEY: &str = "824983422009f0077610";
const FRAMES: [(&str, &str, &str); 2] =
    [(VP8, VP8_KEY, "7111000a10"), (VP9, VP9_KEY, "8600409294")];

fn described(text: &str, keyframe: &str) -> InputStream {
    let mut stream = stream(text);
    assert_eq!(stream.rendition(), None, "the keyframe says it");
    stream.prepare(hex(keyframe).into(), true).unwrap();
    stream
}

#[test]
fn caps_come_back_with_what_the_keyframe_says() {
    let more = "video/x-vp9, width=160, height=120, framerate=30/1, profile=(string)0, \
        chroma-format=4:2:0, chroma-site=cosited, bit-depth-luma=(uint)8, bit-depth-chroma=(uint)8";
    for (text, key, expected, codec) in [
        (VP8, VP8_KEY, VP8, "vp8"),
        (VP9, VP9_KEY, more, "vp09.00.10.08.01.02.02.05.00"),
        // The size of the keyframe wins, and so does its being without caps.
        (
            "video/x-vp8, width=99, height=9, framerate=30/1",
            VP8_KEY,
            VP8,
            "vp8",
        ),
        (
            "video/x-vp9, framerate=30/1, profile=(string)1",
            VP9_KEY,
            more,
            "vp09.00.10.08.01.02.02.05.00",
        ),
    ] {
        let stream = described(text, key);
        assert_eq!(stream.rendition().unwrap().codec(), codec);
        assert_eq!(stream.reorder_depth(), Some(0));
        let given = round_trip(&stream);
        assert!(given.is_strictly_equal(&caps(expected)), "{given:?}");
        assert!(given.is_subset(&crate::media::format::codec::src_caps(Kind::Video)));
    }
}

#[test]
fn the_frame_and_not_its_flag_says_what_a_keyframe_is() {
    for (text, key, delta) in FRAMES {
        let stream = stream(text);
        for marked in [true, false] {
            assert!(stream.is_keyframe(&hex(key), marked), "{text}");
            assert!(!stream.is_keyframe(&hex(delta), marked), "{text}");
        }
    }
    // show_existing_frame shows a frame that whoever joins does not have.
    assert!(!stream(VP9).is_keyframe(&hex("88"), true));
}

#[test]
fn frames_pass_untouched() {
    for (text, key, delta) in FRAMES {
        let mut stream = stream(text);
        for (frame, keyframe) in [(key, true), (delta, false)] {
            let payload = Bytes::from(hex(frame));
            let sent = stream.prepare(payload.clone(), keyframe).unwrap();
            assert_eq!(sent.as_ptr(), payload.as_ptr());
            assert_eq!(sent.len(), payload.len());
        }
    }
}

#[test]
fn a_keyframe_of_another_size_changes_the_entry() {
    for (text, key, from, to) in [
        (VP8, VP8_KEY, "a0007800", "40017800"),
        (VP9, VP9_KEY, "09f0", "13f0"),
    ] {
        let mut stream = described(text, key);
        let larger = hex(&key.replace(from, to));
        assert!(stream.is_keyframe(&larger, true));
        stream.prepare(larger.into(), true).unwrap();
        let config = video(stream.rendition().unwrap());
        assert_eq!(
            (config.coded_width, config.coded_height),
            (Some(320), Some(120))
        );
    }
}

#[test]
fn damaged_keyframes_are_errors_and_begin_nothing() {
    for (text, frame) in [
        (VP8, "10"),
        (VP8, "103100"),
        (VP8, "1031009d012aa00078"),
        (VP8, "1031009d012ba0007800"),
        (VP8, "1031009d012a00007800"),
        (VP8, "1031009d012aa00000c0"),
        (VP9, "82"),
        (VP9, "8249834220"),
        (VP9, "824983432009f0077610"),
        (VP9, "824983422ffff0077610"),
        (VP9, "024983422009f0077610"),
    ] {
        let mut stream = stream(text);
        assert!(!stream.is_keyframe(&hex(frame), true), "{frame}");
        let error = stream.prepare(hex(frame).into(), true).unwrap_err();
        assert!(matches!(error, FrameError::Damaged(_)), "{frame}: {error}");
        assert!(error.to_string().contains("damaged or cut short"));
        assert_eq!(stream.rendition(), None);
    }
}

#[test]
fn unusable_caps_and_entries_are_broken() {
    for text in [VP8, VP9] {
        for (from, to) in [("width=160", "width=0"), ("height=120", "height=70000")] {
            let error = refusal(&text.replace(from, to));
            assert!(matches!(error, CapsError::Broken(_)), "{error}");
        }
    }
    let mut config = VideoConfig::new(VP9 {
        profile: 4,
        ..VP9::default()
    });
    let error = from_rendition(&Rendition::Video(config.clone())).unwrap_err();
    assert!(error.to_string().contains("profile 4"), "{error}");
    config.codec = VideoCodec::VP8;
    config.coded_width = Some(70_000);
    config.coded_height = Some(1);
    let error = from_rendition(&Rendition::Video(config)).unwrap_err();
    assert!(matches!(error, CapsError::Broken(_)), "{error}");
}

#[test]
fn the_level_is_that_of_size_and_rate() {
    for (size, rate, level) in [
        ("009f0077", "60/1", "11"),
        ("009f0077", "30/1", "10"),
        // 1920 x 1080
        ("077f0437", "30/1", "40"),
        ("077f0437", "60/1", "41"),
        ("077f0437", "0/1", "40"),
        // 65535 x 65535
        ("fffefffe", "30/1", "62"),
    ] {
        let keyframe = VP9_KEY.replace("009f0077", size);
        let stream = described(&VP9.replace("30/1", rate), &keyframe);
        let codec = stream.rendition().unwrap().codec();
        assert_eq!(codec.split('.').nth(2), Some(level), "{size} at {rate}");
    }
}

/// The caps that a parser makes of what an encoder gives.
fn parsed(encoder: &str, parser: &str) -> gst::Caps {
    let pipeline = launch(&format!(
        "{encoder} ! {parser} ! appsink name=sink sync=false"
    ));
    let sink: gst_app::AppSink = named(&pipeline, "sink");
    pipeline.set_state(gst::State::Playing).unwrap();
    let caps = sink.pull_sample().unwrap().caps_owned().unwrap();
    pipeline.set_state(gst::State::Null).unwrap();
    caps
}

/// Checks what comes out against GStreamer's own reading, and has it decoded.
pub(super) fn agrees(source: &str, encoder: &str, parser: &str, decoder: &str) {
    let encoder = format!("{source} ! {encoder}");
    let (given, frames) = encode(&encoder);
    let expected = parsed(&encoder, parser);
    let [ours, theirs] = [&given, &expected].map(|caps| caps.structure(0).unwrap());
    for field in [
        "profile",
        "chroma-format",
        "bit-depth-luma",
        "bit-depth-chroma",
        "width",
        "height",
    ] {
        let value = |structure: &gst::StructureRef| {
            let value = structure.value(field).unwrap();
            value.serialize().unwrap().to_string()
        };
        assert_eq!(value(ours), value(theirs), "{field}: {encoder}");
    }
    assert_eq!(decode(decoder, &given, frames), 4, "{encoder}");
}

#[test]
fn vp9_of_every_profile_is_what_the_parser_says_and_decodes() {
    for (profile, format) in [
        ("0", "I420"),
        ("1", "Y444"),
        ("2", "I420_10LE"),
        ("2", "I420_12LE"),
        ("3", "I422_10LE"),
        ("3", "Y444_12LE"),
    ] {
        let source = format!(
            "videotestsrc num-buffers=4 ! video/x-raw,format={format},width=160,height=90,framerate=30/1"
        );
        let encoder =
            format!("vp9enc deadline=1 cpu-used=8 ! video/x-vp9,profile=(string){profile}");
        agrees(&source, &encoder, "vp9parse", "vp9dec");
    }
}

#[test]
fn vp8_decodes() {
    let (given, frames) = encode(
        "videotestsrc num-buffers=4 ! video/x-raw,width=162,height=91,framerate=30/1 ! vp8enc deadline=1",
    );
    assert_eq!(given.structure(0).unwrap().get("width"), Ok(162));
    assert_eq!(given.structure(0).unwrap().get("height"), Ok(91));
    for decoder in ["vp8dec", "avdec_vp8"] {
        assert_eq!(decode(decoder, &given, frames.clone()), 4, "{decoder}");
    }
}

/// A real beginning with a few bytes changed, or anything.
fn noise(real: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let real = hex(real);
    let change = (0..real.len(), any::<u8>());
    let mutated = (prop::collection::vec(change, 0..4), 0..=real.len());
    let mutated = mutated.prop_map(move |(changes, cut)| {
        let mut bytes = real.clone();
        changes.into_iter().for_each(|(at, byte)| bytes[at] = byte);
        bytes.truncate(cut);
        bytes
    });
    prop_oneof![mutated, prop::collection::vec(any::<u8>(), 0..40)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_frame_panics_and_what_begins_a_group_has_an_entry(
        frames in (noise(VP8_KEY), noise(VP9_KEY)),
        marked in any::<bool>(),
    ) {
        for (text, frame) in [(VP8, frames.0), (VP9, frames.1)] {
            let mut stream = stream(text);
            let key = stream.is_keyframe(&frame, marked);
            let result = stream.prepare(frame.into(), key);
            prop_assert_eq!(key, stream.rendition().is_some());
            if key {
                prop_assert!(result.is_ok());
                let caps = round_trip(&stream);
                prop_assert!(caps.is_subset(&crate::media::format::codec::src_caps(Kind::Video)));
            }
        }
    }

    #[test]
    fn vp9_entries_survive_caps(
        profile in 0u8..6,
        numbers in prop::array::uniform3(any::<u8>()),
        size in (1u32..70_000, 1u32..70_000),
    ) {
        gst::init().unwrap();
        let mut config = VideoConfig::new(VP9 {
            profile,
            level: numbers[0],
            bit_depth: numbers[1],
            chroma_subsampling: numbers[2],
            ..VP9::default()
        });
        config.coded_width = Some(size.0);
        config.coded_height = Some(size.1);
        match from_rendition(&Rendition::Video(config)) {
            Ok(caps) => prop_assert!(caps.is_fixed() && profile < 4),
            Err(error) => prop_assert!(matches!(error, CapsError::Broken(_))),
        }
    }
}
