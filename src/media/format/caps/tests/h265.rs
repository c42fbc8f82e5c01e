// SPDX-License-Identifier: MIT
//! H.265, on the parameter sets of x265 (Main at 320 x 180, three B-frames in a pyramid).

use hang::catalog::H265;
use proptest::prelude::*;

use super::*;

const HVCC: &str = "0101600000009000000000003ff000fcfdf8f800000f03\
    200001001840010c01ffff01600000030090000003000003003f959409\
    210001003242010101600000030090000003000003003fa00a080c1f3e595952930bffc0010000da8303030200000300020000030032\
    10220001000\
    64401c073c089";
const VPS: &str = "40010c01ffff01600000030090000003000003003f959409";
const SPS: &str = "42010101600000030090000003000003003fa00a080c1f3e595952930bffc0010000da830303020000030002000003003210";
const PPS: &str = "4401c073c089";
const IDR: &str = "2801af";
const HVC1: &str = "video/x-h265, stream-format=hvc1, alignment=au, level=(string)2.1, tier=main, \
    profile=main, width=320, height=180, pixel-aspect-ratio=4/3, framerate=25/1, parsed=true";
const HEV1: &str = "video/x-h265, stream-format=hev1, alignment=au, framerate=25/1";
const BYTE_STREAM: &str = "video/x-h265, stream-format=byte-stream, alignment=au, framerate=25/1";

fn with_record(text: &str, record: &str) -> String {
    format!("{text}, codec_data=(buffer){record}")
}

#[test]
fn hvc1_comes_back_as_it_was() {
    let text = with_record(HVC1, HVCC);
    let stream = stream(&text);
    assert_eq!(stream.kind(), Kind::Video);
    assert_eq!(stream.reorder_depth(), Some(2));
    let rendition = stream.rendition().unwrap();
    assert_eq!(rendition.codec(), "hvc1.1.6.L63.90");
    assert_eq!(reorder_depth(rendition), Some(2));
    let config = video(rendition);
    assert_eq!(config.description.as_deref(), Some(&hex(HVCC)[..]));
    let given = round_trip(&stream);
    assert!(given.is_strictly_equal(&caps(&text)), "{given:?}");
    // What came from the caps is the same entry again.
    assert_eq!(
        InputStream::from_caps(&given).unwrap().rendition(),
        stream.rendition()
    );
    let templates = [
        crate::media::format::codec::sink_caps(),
        crate::media::format::codec::src_caps(Kind::Video),
    ];
    assert!(
        templates
            .iter()
            .all(|template| given.is_subset(template) && given.is_fixed())
    );
}

#[test]
fn in_band_streams_become_byte_stream_with_what_the_sps_says() {
    let sets = [VPS, SPS, PPS, IDR];
    for (text, keyframe) in [(HEV1, prefixed(&sets)), (BYTE_STREAM, annexb(&sets))] {
        let mut stream = stream(text);
        assert_eq!(stream.rendition(), None, "{text}");
        let sent = stream.prepare(keyframe, true).unwrap();
        assert_eq!(sent, annexb(&sets), "{text}");
        assert_eq!(stream.reorder_depth(), Some(2));
        let rendition = stream.rendition().unwrap();
        assert_eq!(rendition.codec(), "hev1.1.6.L63.90");
        assert_eq!(reorder_depth(rendition), None);
        assert_eq!(reorder_depth_in_band(rendition, &sent), Some(2));
        let given = round_trip(&stream);
        let expected = HVC1.replace("hvc1", "byte-stream");
        assert!(given.is_strictly_equal(&caps(&expected)), "{given:?}");
    }
}

#[test]
fn a_bare_keyframe_gets_the_last_parameter_sets_after_its_delimiter() {
    const DELIMITER: &str = "460150";
    let complete = [DELIMITER, VPS, SPS, PPS, IDR];
    for text in [HEV1, BYTE_STREAM] {
        let mut stream = stream(&with_record(text, HVCC));
        assert!(stream.rendition().is_some());
        let bare = match text {
            HEV1 => prefixed(&[DELIMITER, IDR]),
            _ => annexb(&[DELIMITER, IDR]),
        };
        assert_eq!(stream.prepare(bare, true).unwrap(), annexb(&complete));
    }
    let error = stream(BYTE_STREAM).prepare(annexb(&[IDR]), true);
    assert_eq!(error, Err(FrameError::NoParameterSets));
}

#[test]
fn parameter_sets_of_other_layers_and_ids_are_kept() {
    let layer = SPS.replacen("4201", "4209", 1);
    let second = PPS.replacen("4401c0", "440140", 1);
    let mut stream = stream(BYTE_STREAM);
    let complete = annexb(&[VPS, &layer, SPS, PPS, &second, IDR]);
    stream.prepare(complete, true).unwrap();
    assert_eq!(
        stream.prepare(annexb(&[IDR]), true).unwrap(),
        annexb(&[VPS, SPS, &layer, PPS, &second, IDR])
    );
}

/// The SPS of a camera: 1920 x 1080, level 5, colour description all zero.
const ZERO_COLOURS: &str = "42010101600000030000030000030000030096a003c0801107cb8aad3ba24bb9080000\
    03002005265c00337f9801";

#[test]
fn zeroed_colours_are_no_obstacle() {
    let mut stream = stream(BYTE_STREAM);
    stream
        .prepare(annexb(&[VPS, ZERO_COLOURS, PPS, IDR]), true)
        .unwrap();
    assert_eq!(stream.reorder_depth(), Some(0));
    let config = video(stream.rendition().unwrap());
    assert_eq!(config.codec.to_string(), "hev1.1.6.L150");
    assert_eq!(
        (config.coded_width, config.coded_height),
        (Some(1920), Some(1080))
    );
}

#[test]
fn an_unusable_instance_is_broken_and_says_what_to_do() {
    for (text, hint) in [
        (HVC1.to_owned(), "insert h265parse"),
        (with_record(HVC1, &HVCC[..40]), "insert h265parse"),
        (
            with_record(HVC1, &HVCC[..HVCC.len() - 2]),
            "insert h265parse",
        ),
        (
            with_record(HVC1, &HVCC.replacen("01", "02", 1)),
            "insert h265parse",
        ),
        // No arrays, and none but the VPS.
        (
            with_record(HVC1, &format!("{}00", &HVCC[..44])),
            "parameter sets",
        ),
        (
            with_record(HVC1, &format!("{}01{}", &HVCC[..44], &HVCC[46..104])),
            "parameter sets",
        ),
        (with_record(HEV1, "0101"), "insert h265parse"),
        (HEV1.to_owned() + ", width=0, height=9", "width=0"),
        (HEV1.to_owned() + ", width=9, height=99999", "height=99999"),
    ] {
        let error = refusal(&text);
        assert!(matches!(error, CapsError::Broken(_)), "{text}: {error}");
        assert!(error.to_string().contains(hint), "{text}: {error}");
    }
    for (from, to) in [("alignment=au", "alignment=nal"), ("hev1", "annexb")] {
        let error = refusal(&HEV1.replace(from, to));
        assert!(matches!(error, CapsError::Unsupported(_)), "{error}");
        assert!(error.to_string().contains("insert h265parse"), "{error}");
    }
}

#[test]
fn decoders_and_muxers_take_the_caps_without_a_parser() {
    let out_of_band = stream(&with_record(HVC1, HVCC));
    let mut in_band = stream(BYTE_STREAM);
    in_band
        .prepare(annexb(&[VPS, SPS, PPS, IDR]), true)
        .unwrap();
    for (stream, element) in [
        (&out_of_band, "avdec_h265"),
        (&in_band, "avdec_h265"),
        (&out_of_band, "mp4mux"),
        (&out_of_band, "matroskamux"),
        (&in_band, "mpegtsmux"),
    ] {
        let given = round_trip(stream);
        let factory = gst::ElementFactory::find(element).unwrap();
        assert!(factory.can_sink_all_caps(&given), "{element}: {given:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_record_panics(record in broken::noise(HVCC)) {
        for text in [HVC1, HEV1, BYTE_STREAM] {
            let mut caps = caps(text);
            let structure = caps.make_mut().structure_mut(0).unwrap();
            structure.set("codec_data", gst::Buffer::from_slice(record.clone()));
            if let Ok(stream) = InputStream::from_caps(&caps)
                && let Some(rendition) = stream.rendition()
            {
                prop_assert!(from_rendition(rendition).unwrap().is_fixed());
                let _ = reorder_depth(rendition);
            }
        }
    }

    #[test]
    fn no_frame_panics(
        sps in prop_oneof![broken::noise(SPS), broken::noise(ZERO_COLOURS)],
        rest in prop::collection::vec(prop_oneof![0u8..3, Just(0x4e), any::<u8>()], 0..60),
    ) {
        let length = (sps.len() as u32).to_be_bytes();
        let annexb = [&[0, 0, 0, 1], &sps[..], &annexb(&[VPS, PPS]), &[0, 0, 1], &rest].concat();
        let prefixed = [&length, &sps[..], &prefixed(&[VPS, PPS]), &rest].concat();
        for (text, frame) in [(BYTE_STREAM, annexb), (HEV1, prefixed)] {
            let mut stream = stream(text);
            let _ = (stream.is_keyframe(&frame, true), stream.is_keyframe(&rest, false));
            let _ = stream.prepare(frame.clone().into(), true);
            let _ = stream.prepare(rest.clone().into(), true);
            if let Some(rendition) = stream.rendition() {
                prop_assert!(from_rendition(rendition).unwrap().is_fixed());
                let _ = reorder_depth_in_band(rendition, &frame);
            }
        }
    }

    #[test]
    fn no_codec_string_panics(
        bytes in prop::array::uniform12(any::<u8>()),
        profile in any::<(u8, u8, bool)>(),
        record in prop::option::of(broken::noise(HVCC)),
    ) {
        gst::init().unwrap();
        let [a, b, c, d, level_idc, _, constraint_flags @ ..] = bytes;
        let mut config = VideoConfig::new(H265 {
            in_band: record.is_none(),
            profile_space: profile.0,
            profile_idc: profile.1,
            profile_compatibility_flags: [a, b, c, d],
            tier_flag: profile.2,
            level_idc,
            constraint_flags,
        });
        config.description = record.map(Bytes::from);
        let _ = from_rendition(&Rendition::Video(config));
    }
}
