// SPDX-License-Identifier: MIT
//! Claims about [`super`], on the parameter sets of a real clip (H.264 Main without B-frames at
//! 1280 x 720, AAC-LC with six channels).

mod audio;
mod av1;
mod broken;
mod decoders;
mod frames;
mod h265;
mod keys;
mod vpx;

use bytes::Bytes;
use hang::catalog::{AAC, AudioCodec, AudioConfig, H264, VideoCodec, VideoConfig};

use super::*;

const AVCC: &str = "014d401fffe10017674d401fda014016ec0440000003004000000c83c60ca801000468ef3c80";
const SPS: &str = "674d401fda014016ec0440000003004000000c83c60ca8";
const PPS: &str = "68ef3c80";
const ASC: &str = "11b0";

const AVC: &str = "video/x-h264, stream-format=avc, alignment=au, profile=main, level=(string)3.1, \
    width=1280, height=720, framerate=25/1, pixel-aspect-ratio=1/1, parsed=true, \
    codec_data=(buffer)014d401fffe10017674d401fda014016ec0440000003004000000c83c60ca801000468ef3c80";
const AVC3: &str = "video/x-h264, stream-format=avc3, alignment=au, width=1280, height=720, \
    framerate=25/1, codec_data=(buffer)014d401fffe000";
const BYTE_STREAM: &str = "video/x-h264, stream-format=byte-stream, alignment=au, width=1280, \
    height=720, framerate=30000/1001";
const RAW_AAC: &str = "audio/mpeg, mpegversion=4, stream-format=raw, framed=true, profile=lc, \
    base-profile=lc, level=(string)4, rate=48000, channels=6, codec_data=(buffer)11b0";
const OPUS: &str = "audio/x-opus, rate=48000, channels=2, channel-mapping-family=0, \
    stream-count=1, coupled-count=1, streamheader=(buffer)<4f707573486561640102380180bb0000000000, \
    4f707573546167730000000000000000>";

fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn caps(text: &str) -> gst::Caps {
    gst::init().unwrap();
    text.parse().unwrap()
}

fn stream(text: &str) -> InputStream {
    InputStream::from_caps(&caps(text)).unwrap()
}

fn refusal(text: &str) -> CapsError {
    InputStream::from_caps(&caps(text)).unwrap_err()
}

fn round_trip(stream: &InputStream) -> gst::Caps {
    from_rendition(stream.rendition().unwrap()).unwrap()
}

fn video(rendition: &Rendition) -> &VideoConfig {
    match rendition {
        Rendition::Video(config) => config,
        other => panic!("no video rendition: {other:?}"),
    }
}

fn annexb(nals: &[&str]) -> Bytes {
    let nals = nals.iter().map(|nal| hex(nal));
    nals.flat_map(|nal| [vec![0, 0, 0, 1], nal].concat())
        .collect()
}

fn prefixed(nals: &[&str]) -> Bytes {
    let nals = nals.iter().map(|nal| hex(nal));
    nals.flat_map(|nal| [(nal.len() as u32).to_be_bytes().to_vec(), nal].concat())
        .collect()
}

#[test]
fn avc_comes_back_as_it_was() {
    let stream = stream(AVC);
    assert_eq!(stream.kind(), Kind::Video);
    let rendition = stream.rendition().unwrap();
    assert_eq!(rendition.codec(), "avc1.4d401f");
    let config = video(rendition);
    assert_eq!(config.description.as_deref(), Some(&hex(AVCC)[..]));
    assert_eq!(
        (config.coded_width, config.coded_height),
        (Some(1280), Some(720))
    );
    assert_eq!(config.display_aspect_width, None);
    let mut expected = caps(AVC);
    let expected_ref = expected.make_mut().structure_mut(0).unwrap();
    expected_ref.remove_field("pixel-aspect-ratio");
    assert!(
        round_trip(&stream).is_strictly_equal(&expected),
        "{:?}",
        round_trip(&stream)
    );
}

#[test]
fn in_band_streams_become_byte_stream_with_what_the_sps_says() {
    let keyframes = [
        (AVC3, prefixed(&[SPS, PPS, "6588"]), gst::Fraction::from(25)),
        (
            BYTE_STREAM,
            annexb(&[SPS, PPS, "6588"]),
            gst::Fraction::new(30000, 1001),
        ),
    ];
    for (text, keyframe, framerate) in keyframes {
        let mut stream = stream(text);
        assert_eq!(stream.rendition(), None, "{text}");
        stream.prepare(keyframe, true).unwrap();
        assert_eq!(stream.rendition().unwrap().codec(), "avc3.4d401f");
        let caps = round_trip(&stream);
        let structure = caps.structure(0).unwrap();
        assert_eq!(structure.get("stream-format"), Ok("byte-stream"));
        assert_eq!(structure.get("profile"), Ok("main"));
        assert_eq!(structure.get("level"), Ok("3.1"));
        assert_eq!(structure.get("parsed"), Ok(true));
        assert_eq!(structure.get("width"), Ok(1280));
        assert_eq!(structure.get("height"), Ok(720));
        assert_eq!(structure.get("framerate"), Ok(framerate));
        assert!(!structure.has_field("codec_data"));
    }
}

#[test]
fn aac_comes_back_as_it_was() {
    let stream = stream(RAW_AAC);
    assert_eq!(stream.kind(), Kind::Audio);
    assert_eq!(stream.rendition().unwrap().codec(), "mp4a.40.2");
    assert!(
        round_trip(&stream).is_strictly_equal(&caps(RAW_AAC)),
        "{:?}",
        round_trip(&stream)
    );
}

#[test]
fn rate_and_channels_of_aac_are_what_the_caps_say() {
    let text = "audio/mpeg, mpegversion=4, stream-format=raw, rate=44100, channels=8, \
        codec_data=(buffer)11b0";
    let Some(Rendition::Audio(config)) = stream(text).rendition().cloned() else {
        panic!("no audio rendition");
    };
    assert_eq!((config.sample_rate, config.channel_count), (44100, 8));
    let bare = "audio/mpeg, mpegversion=4, stream-format=raw, codec_data=(buffer)11b0";
    let Some(Rendition::Audio(config)) = stream(bare).rendition().cloned() else {
        panic!("no audio rendition");
    };
    assert_eq!((config.sample_rate, config.channel_count), (48000, 6));
}

#[test]
fn aac_without_description_gets_one_if_it_can_be_made_up() {
    gst::init().unwrap();
    let entry = |profile, rate, channels| {
        Rendition::Audio(AudioConfig::new(AAC { profile }, rate, channels))
    };
    let caps = from_rendition(&entry(2, 48000, 6)).unwrap();
    assert!(caps.is_strictly_equal(&self::caps(RAW_AAC)), "{caps:?}");
    for (profile, rate, channels) in [(29, 48000, 6), (2, 48000, 9), (42, 48000, 2)] {
        let error = from_rendition(&entry(profile, rate, channels)).unwrap_err();
        assert!(matches!(error, CapsError::Broken(_)), "{error}");
    }
}

#[test]
fn opus_keeps_its_head_and_plays_at_48_khz() {
    let stereo = stream(OPUS);
    assert_eq!(stereo.rendition().unwrap().codec(), "opus");
    let back = round_trip(&stereo);
    let structure = back.structure(0).unwrap();
    for (field, value) in [
        ("rate", 48000),
        ("channels", 2),
        ("channel-mapping-family", 0),
        ("stream-count", 1),
        ("coupled-count", 1),
    ] {
        assert_eq!(structure.get(field), Ok(value), "{field}");
    }
    let headers: gst::Array = structure.get("streamheader").unwrap();
    let heads: Vec<_> = headers
        .iter()
        .map(|h| h.get::<gst::Buffer>().unwrap())
        .collect();
    assert_eq!(
        *heads[0].map_readable().unwrap(),
        hex("4f707573486561640102380180bb0000000000")
    );
    assert!(heads[1].map_readable().unwrap().starts_with(b"OpusTags"));
    assert_eq!(heads.len(), 2);
    // What came from the caps is the same entry again.
    assert_eq!(
        InputStream::from_caps(&back).unwrap().rendition(),
        stereo.rendition()
    );
}

#[test]
fn opus_caps_may_lack_everything_but_the_name() {
    for (text, channels) in [
        ("audio/x-opus", 2),
        (
            "audio/x-opus, channel-mapping-family=0, channels=1, rate=16000",
            1,
        ),
    ] {
        let back = round_trip(&stream(text));
        let structure = back.structure(0).unwrap();
        assert_eq!(structure.get("channels"), Ok(channels));
        assert_eq!(structure.get("coupled-count"), Ok(channels - 1));
        assert_eq!(structure.get("rate"), Ok(48000));
    }
}

#[test]
fn a_display_aspect_is_that_of_the_whole_picture() {
    let stream = stream(&AVC.replace("ratio=1/1", "ratio=4/3"));
    let config = video(stream.rendition().unwrap());
    assert_eq!(config.display_aspect_width, Some(64));
    assert_eq!(config.display_aspect_height, Some(27));
    let caps = round_trip(&stream);
    assert_eq!(
        caps.structure(0).unwrap().get("pixel-aspect-ratio"),
        Ok(gst::Fraction::new(4, 3))
    );
}

#[test]
fn frame_duration_is_that_of_the_caps() {
    let duration = |text: &str| stream(text).frame_duration();
    assert_eq!(duration(AVC), Some(gst::ClockTime::from_mseconds(40)));
    assert_eq!(
        duration(BYTE_STREAM),
        Some(gst::ClockTime::from_nseconds(33_366_666))
    );
    assert_eq!(duration(&AVC.replace("25/1", "0/1")), None);
    assert_eq!(duration(OPUS), None);
}

#[test]
fn no_framerate_is_made_up() {
    let caps = round_trip(&stream(&AVC.replace("framerate=25/1, ", "")));
    assert!(!caps.structure(0).unwrap().has_field("framerate"));
}

#[test]
fn an_entry_without_description_is_in_band_whatever_its_name() {
    gst::init().unwrap();
    let h264 = |inline| H264 {
        inline,
        profile: 0x42,
        constraints: 0xc0,
        level: 0x1e,
    };
    for inline in [true, false] {
        let caps = from_rendition(&Rendition::Video(VideoConfig::new(h264(inline)))).unwrap();
        let structure = caps.structure(0).unwrap();
        assert_eq!(structure.get("stream-format"), Ok("byte-stream"));
        assert_eq!(structure.get("profile"), Ok("constrained-baseline"));
        assert_eq!(structure.get("level"), Ok("3"));
    }
}

/// SPS of x264enc with bframes=2 b-pyramid=false, and with bframes=3 b-pyramid=true.
const REORDERING: [(&str, u32); 2] = [
    (
        "67640014acd10141fb016a0c0c0d4a000003000200000300791e285224",
        1,
    ),
    (
        "67640014acd90141fb016a0c0c0d4a000003000200000300791e28532c",
        2,
    ),
];

#[test]
fn reorder_depth_is_read_from_the_description() {
    let avc = stream(AVC);
    assert_eq!(avc.reorder_depth(), Some(0));
    assert_eq!(reorder_depth(avc.rendition().unwrap()), Some(0));
    for (sps, depth) in REORDERING {
        let record = format!("01640014ffe1001d{sps}01000568ebecb22c");
        let stream = stream(&AVC.replace(AVCC, &record));
        assert_eq!(stream.reorder_depth(), Some(depth));
        assert_eq!(reorder_depth(stream.rendition().unwrap()), Some(depth));
    }
}

#[test]
fn reorder_depth_is_read_from_the_keyframe() {
    for (sps, depth) in REORDERING {
        let mut stream = stream(BYTE_STREAM);
        assert_eq!(stream.reorder_depth(), None);
        let keyframe = annexb(&[sps, PPS, "6588"]);
        stream.prepare(keyframe.clone(), true).unwrap();
        assert_eq!(stream.reorder_depth(), Some(depth));
        let rendition = stream.rendition().unwrap();
        assert_eq!(reorder_depth(rendition), None);
        assert_eq!(reorder_depth_in_band(rendition, &keyframe), Some(depth));
    }
}

#[test]
fn profiles_without_b_frames_never_reorder() {
    for (codec, depth) in [
        ("avc3.42c01e", Some(0)),
        ("avc3.4d801e", Some(0)),
        ("avc3.640c1f", Some(0)),
        ("avc3.6e101f", Some(0)),
        ("avc3.4d401f", None),
        ("avc3.64001f", None),
        ("vp8", Some(0)),
    ] {
        let rendition = Rendition::Video(VideoConfig::new(codec.parse::<VideoCodec>().unwrap()));
        assert_eq!(reorder_depth(&rendition), depth, "{codec}");
    }
    assert_eq!(stream(OPUS).reorder_depth(), Some(0));
}

#[test]
fn templates_hold_what_is_taken_and_what_is_given() {
    gst::init().unwrap();
    let sink = crate::media::format::codec::sink_caps();
    for text in [AVC, AVC3, BYTE_STREAM, RAW_AAC, OPUS] {
        assert!(caps(text).is_subset(&sink), "{text}");
    }
    for text in [AVC, RAW_AAC, OPUS] {
        let stream = stream(text);
        let given = round_trip(&stream);
        assert!(given.is_fixed() && given.is_subset(&sink), "{given:?}");
        let src = crate::media::format::codec::src_caps(stream.kind());
        assert!(given.is_subset(&src), "{given:?}");
    }
    assert_eq!(Kind::Video.name(), "video");
    assert!(Kind::Audio.priority() > Kind::Video.priority());
}
