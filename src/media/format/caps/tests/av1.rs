// SPDX-License-Identifier: MIT
//! AV1, whose sequence header describes it.

use hang::catalog::AV1;
use proptest::prelude::*;

use super::vpx::agrees;
use super::*;

const BARE: &str = "video/x-av1, alignment=tu, width=160, height=120, framerate=30/1";
const FULL: &str = "video/x-av1, stream-format=obu-stream, alignment=tu, parsed=true, width=160, \
    height=120, framerate=30/1, profile=main, chroma-format=4:2:0, bit-depth-luma=(uint)8, \
    bit-depth-chroma=(uint)8";
const DELIMITER: &str = "1200";
/// av1enc at 160 x 120, 4:2:0, 8 bits.
const SEQUENCE: &str = "0a0b00000003b4ff7e06d7c802";
/// The same with a width of 80.
const NARROW: &str = "0a0b00000003b27f7e06d7c802";
const KEY: &str = "320410000000";
const DELTA: &str = "32043ad7d802";

fn unit(obus: &[&str]) -> Bytes {
    hex(&obus.concat()).into()
}

fn av1c(obus: &str) -> String {
    format!("{BARE}, codec_data=(buffer)81000c00{obus}")
}

/// Says whether it is a keyframe, and what goes out.
fn pass(stream: &mut InputStream, obus: &[&str]) -> Result<Bytes, FrameError> {
    let unit = unit(obus);
    let keyframe = stream.is_keyframe(&unit, true);
    stream.prepare(unit, keyframe)
}

#[test]
fn caps_come_back_with_what_the_sequence_header_says() {
    for text in [
        BARE,
        FULL,
        &av1c(""),
        &av1c(SEQUENCE),
        "video/x-av1, alignment=tu, framerate=30/1",
    ] {
        let mut stream = stream(text);
        assert_eq!(stream.rendition(), None, "the keyframe says it");
        pass(&mut stream, &[DELIMITER, SEQUENCE, KEY]).unwrap();
        let rendition = stream.rendition().unwrap();
        assert_eq!(rendition.codec(), "av01.0.00M.08.0.110.02.02.02.0");
        assert_eq!(stream.reorder_depth(), Some(0));
        let given = round_trip(&stream);
        assert!(given.is_strictly_equal(&caps(FULL)), "{given:?}");
        assert!(given.is_subset(&crate::media::format::codec::src_caps(Kind::Video)));
    }
}

#[test]
fn what_is_not_taken_is_refused_with_a_hint() {
    for (from, to) in [
        ("alignment=tu", "alignment=obu"),
        ("alignment=tu", "alignment=frame"),
        ("alignment=tu", "x=1"),
        ("alignment=tu", "alignment=tu, stream-format=annexb"),
    ] {
        let error = refusal(&BARE.replace(from, to));
        assert!(matches!(error, CapsError::Unsupported(_)), "{error}");
        assert!(error.to_string().contains("insert av1parse"), "{error}");
    }
}

#[test]
fn unusable_caps_are_broken() {
    let full = av1c(SEQUENCE);
    for text in [
        BARE.replace("width=160", "width=0"),
        full.replace("81000c", "82000c"),
        full.replace("81000c00", "81000c").replace(SEQUENCE, ""),
        // The sequence header is cut short.
        full.replace("c802", ""),
    ] {
        let error = refusal(&text);
        assert!(matches!(error, CapsError::Broken(_)), "{text}: {error}");
    }
}

#[test]
fn a_keyframe_is_shown_at_once_whatever_its_flag_says() {
    let stream = stream(BARE);
    for (obus, key) in [
        (&[DELIMITER, SEQUENCE, KEY][..], true),
        (&[DELIMITER, KEY], true),
        (&[KEY], true),
        // A frame header OBU of its own.
        (&[DELIMITER, "1a0210000000"], true),
        // With an extension, and without a size.
        (&["36000410000000"], true),
        (&["3010000000"], true),
        (&[DELIMITER, SEQUENCE, DELTA], false),
        (&[DELIMITER, SEQUENCE], false),
        // Not shown; an intra-only frame; an existing frame shown.
        (&["320400000000"], false),
        (&["320450000000"], false),
        (&["320490000000"], false),
        (&["3200"], false),
        (&["320a10"], false),
        (&["b20410000000"], false),
    ] {
        for marked in [true, false] {
            assert_eq!(stream.is_keyframe(&unit(obus), marked), key, "{obus:?}");
        }
    }
    // After reduced_still_picture_header all are keyframes.
    let reduced = "0a0118";
    assert!(stream.is_keyframe(&unit(&[reduced, DELTA]), false));
}

#[test]
fn a_bare_keyframe_gets_the_last_sequence_header_after_its_delimiter() {
    let mut stream = stream(BARE);
    let complete = unit(&[DELIMITER, SEQUENCE, KEY]);
    let sent = stream.prepare(complete.clone(), true).unwrap();
    assert_eq!(sent.as_ptr(), complete.as_ptr(), "not copied");
    for (obus, sent) in [
        (&[DELIMITER, DELTA][..], &[DELIMITER, DELTA][..]),
        (&[DELIMITER, KEY], &[DELIMITER, SEQUENCE, KEY]),
        (&[KEY], &[SEQUENCE, KEY]),
        (
            &[DELIMITER, "2a0103", KEY],
            &[DELIMITER, SEQUENCE, "2a0103", KEY],
        ),
    ] {
        assert_eq!(pass(&mut stream, obus).unwrap(), unit(sent), "{obus:?}");
    }
    let mut described = self::stream(&av1c(SEQUENCE));
    assert_eq!(
        pass(&mut described, &[DELIMITER, KEY]).unwrap(),
        unit(&[DELIMITER, SEQUENCE, KEY])
    );
}

#[test]
fn nobody_gets_a_keyframe_without_a_sequence_header() {
    for text in [BARE, &av1c("")] {
        let mut stream = stream(text);
        let error = pass(&mut stream, &[DELIMITER, KEY]).unwrap_err();
        assert_eq!(error, FrameError::NoSequenceHeader);
        assert_eq!(stream.rendition(), None);
    }
}

#[test]
fn damaged_units_are_errors() {
    for obus in [
        &["320a10"][..],
        &["b20410000000"],
        &["32"],
        &["32ffffffffffffffffff"],
        &[DELIMITER, "0a0400000003", KEY],
        // A profile that does not exist.
        &[DELIMITER, "0a0be0000003b4ff7e06d7c802", KEY],
    ] {
        let error = pass(&mut stream(BARE), obus).unwrap_err();
        assert!(matches!(error, FrameError::Damaged(_)), "{obus:?}: {error}");
    }
}

#[test]
fn a_sequence_header_of_another_size_changes_the_entry_with_its_keyframe() {
    let mut stream = stream(BARE);
    let width = |stream: &InputStream| video(stream.rendition().unwrap()).coded_width;
    pass(&mut stream, &[DELIMITER, SEQUENCE, KEY]).unwrap();
    assert_eq!(width(&stream), Some(160));
    pass(&mut stream, &[DELIMITER, NARROW, DELTA]).unwrap();
    assert_eq!(width(&stream), Some(160), "nothing can begin here");
    assert_eq!(pass(&mut stream, &[KEY]).unwrap(), unit(&[NARROW, KEY]));
    assert_eq!(width(&stream), Some(80));
}

#[test]
fn an_entry_with_a_description_gives_codec_data() {
    gst::init().unwrap();
    let mut config = VideoConfig::new(AV1::default());
    for (description, given) in [("81000c00", true), ("01000c00", false), ("81", false)] {
        config.description = Some(hex(description).into());
        let caps = from_rendition(&Rendition::Video(config.clone())).unwrap();
        assert_eq!(caps.structure(0).unwrap().has_field("codec_data"), given);
        assert!(decoders::accepts("av1dec", &caps), "{caps:?}");
    }
    config.codec = AV1 {
        profile: 3,
        ..AV1::default()
    }
    .into();
    let error = from_rendition(&Rendition::Video(config)).unwrap_err();
    assert!(matches!(error, CapsError::Broken(_)), "{error}");
}

#[test]
fn av1_of_every_format_is_what_the_parser_says_and_decodes() {
    for format in ["I420", "Y42B", "Y444"] {
        let source = format!(
            "videotestsrc num-buffers=4 ! video/x-raw,format={format},width=160,height=90,framerate=30/1"
        );
        agrees(&source, "av1enc cpu-used=8", "av1parse", "av1dec");
    }
}

/// What scuffle-av1 reads, in the same terms.
fn reading_of_another(obu: &[u8]) -> Option<(AV1, [u64; 2])> {
    use scuffle_av1::{ObuHeader, seq::SequenceHeaderObu};
    let mut data = obu;
    let header = ObuHeader::parse(&mut data).ok()?;
    let sequence = SequenceHeaderObu::parse(header, &mut data).ok()?;
    let point = sequence.operating_points.first()?;
    let color = sequence.color_config;
    let two_digits = |number| if number > 99 { 2 } else { number };
    let codec = AV1 {
        profile: sequence.seq_profile,
        level: point.seq_level_idx,
        tier: if point.seq_tier { 'H' } else { 'M' },
        bitdepth: u8::try_from(color.bit_depth).ok()?,
        mono_chrome: color.mono_chrome,
        chroma_subsampling_x: color.subsampling_x,
        chroma_subsampling_y: color.subsampling_y,
        chroma_sample_position: color.chroma_sample_position,
        color_primaries: two_digits(color.color_primaries),
        transfer_characteristics: two_digits(color.transfer_characteristics),
        matrix_coefficients: two_digits(color.matrix_coefficients),
        full_range: color.full_color_range,
    };
    Some((codec, [sequence.max_frame_width, sequence.max_frame_height]))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn sequence_headers_read_as_others_read_them(mut payload in prop::collection::vec(any::<u8>(), 400)) {
        // A reduced header belongs to a still picture, and there are three profiles.
        if payload[0] & 0x10 == 0 {
            payload[0] &= 0xf7;
        }
        payload[0] = ((payload[0] % 3) << 5) | (payload[0] & 0x1f);
        let obu = [&[0x0a, 0x90, 0x03], &payload[..]].concat();
        let (codec, size) = reading_of_another(&obu).expect("400 bytes are enough");
        let key = hex(KEY);
        let mut stream = stream(BARE);
        let result = stream.prepare([&obu[..], &key].concat().into(), true);
        if size.iter().all(|&size| size <= 65_535) {
            let config = video(stream.rendition().expect("an entry"));
            prop_assert_eq!(&config.codec, &codec.into());
            let read = [config.coded_width, config.coded_height].map(|size| u64::from(size.unwrap()));
            prop_assert_eq!(read, size);
            // What the catalog says must be readable to others.
            let text = config.codec.to_string();
            prop_assert_eq!(text.parse().ok(), Some(config.codec.clone()), "{}", text);
        } else {
            prop_assert!(matches!(result, Err(FrameError::Damaged(_))));
        }
    }

    #[test]
    fn no_unit_and_no_codec_data_panics(
        changes in prop::collection::vec((0usize..22, any::<u8>()), 0..5),
        cut in 0usize..30,
        rest in prop::collection::vec(any::<u8>(), 0..60),
        marked in any::<bool>(),
    ) {
        let mut bytes = unit(&[DELIMITER, SEQUENCE, KEY]).to_vec();
        changes.into_iter().for_each(|(at, byte)| if let Some(place) = bytes.get_mut(at) { *place = byte });
        bytes.truncate(cut);
        for unit in [bytes, rest] {
            let mut stream = stream(BARE);
            let key = stream.is_keyframe(&unit, marked);
            let result = stream.prepare(unit.clone().into(), key);
            prop_assert_eq!(key && result.is_ok(), stream.rendition().is_some());
            if let Some(rendition) = stream.rendition() {
                let caps = from_rendition(rendition).unwrap();
                prop_assert!(caps.is_subset(&crate::media::format::codec::src_caps(Kind::Video)));
            }
            let mut caps = caps(BARE);
            let record = [&[0x81, 0, 0, 0], &unit[..]].concat();
            let structure = caps.make_mut().structure_mut(0).unwrap();
            structure.set("codec_data", gst::Buffer::from_slice(record));
            if let Ok(mut stream) = InputStream::from_caps(&caps) {
                let _ = stream.prepare(hex(KEY).into(), true);
            }
        }
    }
}
