// SPDX-License-Identifier: MIT
//! What happens to single frames.

use super::*;

const DELIMITER: &str = "09f0";
const SLICE: &str = "65888400";

#[test]
fn complete_formats_are_not_copied() {
    for text in [AVC, RAW_AAC, OPUS] {
        let payload = Bytes::from(vec![0, 0, 0, 1, 0x65]);
        let sent = stream(text).prepare(payload.clone(), true).unwrap();
        assert_eq!(sent.as_ptr(), payload.as_ptr(), "{text}");
        assert_eq!(sent, payload);
    }
}

#[test]
fn a_byte_stream_keyframe_with_parameter_sets_is_not_copied() {
    let payload = annexb(&[DELIMITER, SPS, PPS, SLICE]);
    let sent = stream(BYTE_STREAM).prepare(payload.clone(), true).unwrap();
    assert_eq!(sent.as_ptr(), payload.as_ptr());
}

#[test]
fn a_bare_keyframe_gets_the_last_parameter_sets_after_its_delimiter() {
    let mut stream = stream(BYTE_STREAM);
    let complete = annexb(&[SPS, PPS, SLICE]);
    stream.prepare(complete, true).unwrap();
    // A picture parameter set changes between keyframes.
    let changed = "68ef3c81";
    let change = annexb(&[changed, "41"]);
    assert_eq!(stream.prepare(change.clone(), false).unwrap(), change);
    assert_eq!(
        stream.prepare(annexb(&[SLICE]), true).unwrap(),
        annexb(&[SPS, changed, SLICE])
    );
    assert_eq!(
        stream.prepare(annexb(&[DELIMITER, SLICE]), true).unwrap(),
        annexb(&[DELIMITER, SPS, changed, SLICE])
    );
}

#[test]
fn parameter_sets_may_come_from_codec_data() {
    let text = format!("{BYTE_STREAM}, codec_data=(buffer){AVCC}");
    let mut stream = stream(&text);
    assert_eq!(stream.rendition().unwrap().codec(), "avc3.4d401f");
    assert_eq!(
        stream.prepare(annexb(&[SLICE]), true).unwrap(),
        annexb(&[SPS, PPS, SLICE])
    );
}

#[test]
fn a_keyframe_nobody_could_decode_is_an_error() {
    for (text, bare) in [(BYTE_STREAM, annexb(&[SLICE])), (AVC3, prefixed(&[SLICE]))] {
        let mut stream = stream(text);
        let error = stream.prepare(bare, true).unwrap_err();
        assert_eq!(error, FrameError::NoParameterSets);
        assert_eq!(stream.rendition(), None);
    }
}

#[test]
fn avc3_becomes_annex_b_with_parameter_sets_on_each_keyframe() {
    let mut stream = stream(AVC3);
    for (keyframe, sent, received) in [
        (true, vec![SPS, PPS, SLICE], vec![SPS, PPS, SLICE]),
        (false, vec!["41aa", "41bb"], vec!["41aa", "41bb"]),
        (
            true,
            vec![DELIMITER, SLICE],
            vec![DELIMITER, SPS, PPS, SLICE],
        ),
    ] {
        assert_eq!(
            stream.prepare(prefixed(&sent), keyframe).unwrap(),
            annexb(&received)
        );
    }
}

#[test]
fn avc3_lengths_have_the_size_of_the_record() {
    let mut stream = stream(&AVC3.replace("014d401fffe000", "014d401ffde000"));
    let payload = Bytes::from_static(&[0, 2, 0x41, 0xaa]);
    assert_eq!(stream.prepare(payload, false).unwrap(), annexb(&["41aa"]));
}

#[test]
fn avc3_lengths_past_the_end_are_errors() {
    let payload = Bytes::from_static(&[0, 0, 0, 9, 0x41, 0xaa]);
    let error = stream(AVC3).prepare(payload, false).unwrap_err();
    assert!(matches!(error, FrameError::Malformed(_)));
    assert!(error.to_string().contains("past the end"));
}

#[test]
fn a_new_sps_changes_the_entry() {
    let mut stream = stream(BYTE_STREAM);
    let first = annexb(&[SPS, PPS, SLICE]);
    stream.prepare(first, true).unwrap();
    // The same SPS, with level 4.0 instead of 3.1.
    let level_4 = SPS.replacen("401f", "4028", 1);
    let second = annexb(&[&level_4, PPS, SLICE]);
    stream.prepare(second, true).unwrap();
    assert_eq!(stream.rendition().unwrap().codec(), "avc3.4d4028");
}

#[test]
fn parameter_sets_of_a_header_without_a_time_count_for_what_follows() {
    let mut stream = stream(BYTE_STREAM);
    let header = gst::Buffer::from_slice(annexb(&[SPS, PPS]));
    stream.remember(&header);
    let keyframe = stream
        .prepare(annexb(&["6588"]), true)
        .expect("they are known");
    assert_eq!(keyframe, annexb(&[SPS, PPS, "6588"]));
}
