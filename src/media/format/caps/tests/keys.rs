// SPDX-License-Identifier: MIT
//! Which frame is a keyframe, whatever its buffer's flag says.

use super::*;

const HEV1: &str = "video/x-h265, stream-format=hev1, alignment=au";
const H265_BYTE_STREAM: &str = "video/x-h265, stream-format=byte-stream, alignment=au";

/// What a frame is if it is marked, and if it is not.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Key {
    Always,
    IfMarked,
    Never,
}

fn judge(stream: &InputStream, frame: &[u8]) -> Key {
    match (
        stream.is_keyframe(frame, true),
        stream.is_keyframe(frame, false),
    ) {
        (true, true) => Key::Always,
        (true, false) => Key::IfMarked,
        (false, false) => Key::Never,
        (false, true) => panic!("a keyframe because it is not marked"),
    }
}

/// A buffering period message with an emulation prevention byte, then a recovery point.
const SEI: &str = "0003000003000601c080";
const OTHER_SEI: &str = "000680ffffffffff80";

#[test]
fn h264_keyframes_are_idr_recovery_points_and_marked_i_slices() {
    let refresh = format!("06{SEI}");
    let other = format!("06{OTHER_SEI}");
    for (nals, expected) in [
        (&["09f0", SPS, PPS, "65888400"][..], Key::Always),
        (&["09f0", "65888400"], Key::Always),
        // slice_type 7 and 2 are I, 5 and 0 P, 6 B.
        (&["09f0", "41888400"], Key::IfMarked),
        (&["41b84000", "41e0"], Key::IfMarked),
        (&["41988400"], Key::Never),
        (&["41e0", "65888400"], Key::Never),
        (&[SPS, PPS, "019c00"], Key::Never),
        (&["41"], Key::Never),
        (&[&refresh, "41988400"], Key::Always),
        (&[&other, "41988400"], Key::Never),
        (&["41988400", &refresh], Key::Never),
        (&["06"], Key::IfMarked),
        (&[SPS, PPS], Key::IfMarked),
        (&[], Key::IfMarked),
    ] {
        assert_eq!(
            judge(&stream(BYTE_STREAM), &annexb(nals)),
            expected,
            "{nals:?}"
        );
        for text in [AVC, AVC3] {
            assert_eq!(judge(&stream(text), &prefixed(nals)), expected, "{nals:?}");
        }
    }
}

#[test]
fn h265_keyframes_are_irap_and_recovery_points() {
    let refresh = format!("4e01{SEI}");
    let other = format!("4e01{OTHER_SEI}");
    let suffix = format!("5001{SEI}");
    for (nals, expected) in [
        // IDR_W_RADL, BLA_W_LP, CRA.
        (&["460150", "2601af"][..], Key::Always),
        (&["2001af"], Key::Always),
        (&["2a01af"], Key::Always),
        // TRAIL_R, TRAIL_N, RASL_N, RADL_R.
        (&["0201af"], Key::Never),
        (&["0001af"], Key::Never),
        (&["1001af"], Key::Never),
        (&["0e01af", "2601af"], Key::Never),
        (&[&refresh, "0201af"], Key::Always),
        (&[&other, "0201af"], Key::Never),
        (&["0201af", &suffix], Key::Never),
        (&["4e01"], Key::IfMarked),
        (&[], Key::IfMarked),
    ] {
        let streams = [(H265_BYTE_STREAM, annexb(nals)), (HEV1, prefixed(nals))];
        for (text, frame) in streams {
            assert_eq!(judge(&stream(text), &frame), expected, "{text}: {nals:?}");
        }
    }
}

#[test]
fn a_length_past_the_end_leaves_the_mark() {
    assert_eq!(judge(&stream(AVC), &[0, 0, 0, 9, 0x65]), Key::IfMarked);
}

#[test]
fn a_frame_of_headers_alone_is_remembered_and_not_published() {
    for (text, headers, slice) in [
        (BYTE_STREAM, annexb(&[SPS, PPS]), annexb(&["65888400"])),
        (AVC3, prefixed(&[SPS, PPS]), prefixed(&["65888400"])),
    ] {
        let mut stream = stream(text);
        assert_eq!(stream.prepare(headers, true), Err(FrameError::NoPicture));
        let sent = stream.prepare(slice, true).unwrap();
        assert_eq!(sent, annexb(&[SPS, PPS, "65888400"]));
    }
    let headers = prefixed(&[SPS, PPS]);
    assert_eq!(
        stream(AVC).prepare(headers, true),
        Err(FrameError::NoPicture)
    );
}

#[test]
fn other_codecs_leave_the_mark() {
    assert_eq!(judge(&stream(OPUS), &[1, 2, 3]), Key::IfMarked);
}
