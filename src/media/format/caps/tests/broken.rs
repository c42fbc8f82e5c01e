// SPDX-License-Identifier: MIT
//! Refusals, and input that nobody should send.

use hang::catalog::Container;
use proptest::prelude::*;

use super::*;

const OPUS_HEAD: &str = "4f707573486561640102380180bb0000000000";

pub(super) const SURROUND: &str = "audio/x-opus, channels=6, channel-mapping-family=1, stream-count=4, \
    coupled-count=2, channel-mapping=<0, 4, 1, 2, 3, 5>";
pub(super) const FLAC: &str = "audio/x-flac, streamheader=(buffer)<7f464c414301000001664c6143000000221200120\
    00000000000000bb802f00000000000000000000000000000000000000000>";
pub(super) const MP3: &str = "audio/mpeg, mpegversion=1, layer=3, rate=48000, channels=2";
pub(super) const AC3: &str = "audio/x-ac3, rate=48000, channels=6";
pub(super) const PCM: &str =
    "audio/x-raw, format=F32LE, layout=interleaved, rate=48000, channels=2";

#[test]
fn what_is_never_taken_is_refused_with_a_hint() {
    for (text, hint) in [
        ("video/x-raw, format=I420", "x264enc"),
        ("video/x-theora", "VP9, AAC, Opus"),
        ("audio/x-raw, format=S16LE", "audioconvert"),
        (
            "audio/x-raw, format=F32LE, layout=non-interleaved, rate=48000, channels=2",
            "audioconvert",
        ),
        ("audio/mpeg, mpegversion=1, layer=1", "MP3, MP2"),
        (
            "audio/mpeg, mpegversion=1, layer=3, parsed=false",
            "mpegaudioparse",
        ),
        ("audio/x-ac3, framed=false", "ac3parse"),
        ("audio/x-eac3, alignment=iec61937", "ac3parse"),
        ("audio/x-flac, framed=false", "flacparse"),
        (
            "audio/mpeg, mpegversion=4, stream-format=adts, codec_data=(buffer)11b0",
            "insert aacparse",
        ),
        ("audio/mpeg, mpegversion=2, stream-format=raw", "MPEG-4"),
        (
            "video/x-h264, stream-format=byte-stream, alignment=nal",
            "insert h264parse",
        ),
        ("video/x-h264, stream-format=avc", "insert h264parse"),
        ("video/x-h264, alignment=au", "insert h264parse"),
        (
            "audio/x-opus, channel-mapping-family=255, channels=6",
            "audioconvert",
        ),
        ("video/x-h264, width=[1, 5]", "not fixed"),
        ("ANY", "not fixed"),
        ("EMPTY", "not fixed"),
    ] {
        let error = refusal(text);
        assert!(
            matches!(error, CapsError::Unsupported(_)),
            "{text}: {error}"
        );
        assert!(error.to_string().contains(hint), "{text}: {error}");
    }
}

#[test]
fn an_unusable_instance_of_what_is_taken_is_broken() {
    let replaced = [
        (AVC, "codec_data=(buffer)01", "x=(buffer)01"),
        (AVC, "codec_data=(buffer)01", "codec_data=(buffer)02"),
        (AVC, "01000468ef3c80", ""),
        (AVC, "01000468ef3c80", "00"),
        (AVC, "ffe10017", "ffe10018"),
        (AVC, "width=1280", "width=0"),
        (AVC, "width=1280", "width=-4"),
        (AVC, "height=720", "height=70000"),
        (AVC, "height=720", "height=(string)720"),
        (AVC3, "014d401fffe000", "014d401fff"),
        (RAW_AAC, "codec_data=(buffer)11b0", "x=1"),
        (RAW_AAC, "(buffer)11b0", "(buffer)ff"),
        (RAW_AAC, "rate=48000", "rate=0"),
        (RAW_AAC, "channels=6", "channels=0"),
        (OPUS, "channels=2", "channels=0"),
        (OPUS, "rate=48000", "rate=0"),
        (OPUS, "<4f70", "<4f71"),
        (OPUS, "0102380180bb0000000000", "0102380180bb"),
        (OPUS, "0102380180bb", "0103380180bb"),
        (OPUS, "0000000000, ", "0000000001, "),
        (SURROUND, "<0, 4, 1,", "<0, 9, 1,"),
        (SURROUND, "stream-count=4", "stream-count=0"),
        (SURROUND, ", channel-mapping=", ", x="),
        (SURROUND, "channels=6", "channels=9"),
        (FLAC, ", streamheader=", ", x="),
        (FLAC, "<7f464c", "<7f464d"),
        (FLAC, "664c6143000000", "664c6143040000"),
        (FLAC, "0bb802f0", "000002f0"),
        (FLAC, "0bb802f00000", ""),
        (MP3, "rate=48000", "rate=0"),
        (MP3, "rate=48000", "rate=96000"),
        (MP3, "channels=2", "channels=3"),
        (AC3, "channels=6", "channels=7"),
        (AC3, "rate=48000", "rate=-1"),
        (PCM, "rate=48000", "rate=0"),
        (PCM, "rate=48000", "rate=2147483647"),
        (PCM, "rate=48000, ", ""),
        (PCM, "channels=2", "channels=0"),
    ];
    for (text, from, to) in replaced {
        assert!(text.contains(from), "{from}");
        let error = refusal(&text.replace(from, to));
        assert!(matches!(error, CapsError::Broken(_)), "{to}: {error}");
    }
}

#[test]
fn an_empty_codec_data_is_none() {
    let mut caps = caps(AVC);
    let structure = caps.make_mut().structure_mut(0).unwrap();
    structure.set("codec_data", gst::Buffer::new());
    let error = InputStream::from_caps(&caps).unwrap_err();
    assert!(error.to_string().contains("needs codec_data"), "{error}");
}

#[test]
fn a_size_that_the_sps_does_not_give_is_taken_from_the_caps() {
    // The SPS ends after its id.
    let record = "014d401fffe10005674d401f8001000468ef3c80";
    let with_size = AVC.replace(AVCC, record);
    let stream = stream(&with_size);
    let config = video(stream.rendition().unwrap());
    assert_eq!(config.coded_width, Some(1280));
    assert_eq!(stream.reorder_depth(), None);
    assert!(round_trip(&stream).structure(0).unwrap().has_field("width"));
    let without = refusal(&with_size.replace("width=1280", "x=1"));
    assert!(matches!(without, CapsError::Broken(_)));
}

#[test]
fn broken_entries_are_errors() {
    gst::init().unwrap();
    let avc = stream(AVC).rendition().cloned().unwrap();
    let changed = |change: fn(&mut VideoConfig)| {
        let mut config = video(&avc).clone();
        change(&mut config);
        Rendition::Video(config)
    };
    let audio = |codec, rate, channels| Rendition::Audio(AudioConfig::new(codec, rate, channels));
    for rendition in [
        changed(|config| config.description = Some(Bytes::from_static(b"nonsense"))),
        changed(|config| config.description = Some(hex("014d401fffe000").into())),
        changed(|config| config.coded_width = Some(0)),
        changed(|config| config.coded_height = Some(65_536)),
        audio(AudioCodec::Opus, 0, 2),
        audio(AudioCodec::Opus, 48_000, 0),
        audio(AAC { profile: 2 }.into(), u32::MAX, 2),
        audio(AudioCodec::Opus, 48_000, 6),
        audio(AudioCodec::Flac, 48_000, 2),
        audio(AudioCodec::Mp3, 96_000, 2),
        audio(AudioCodec::Mp2, 48_000, 3),
        audio(AudioCodec::Ac3, 0, 2),
        audio(AudioCodec::Ec3, 48_000, 0),
        audio(AudioCodec::Pcm, u32::MAX, 2),
        audio(AudioCodec::Pcm, 48_000, u32::MAX),
    ] {
        let error = from_rendition(&rendition).unwrap_err();
        assert!(matches!(error, CapsError::Broken(_)), "{error}");
        assert!(error.to_string().ends_with('.'), "{error}");
    }
    for rendition in [
        changed(|config| config.container = unknown_container()),
        changed(|config| config.codec = VideoCodec::Unknown("h267".into())),
        audio(AudioCodec::Unknown("vorbis".into()), 48_000, 2),
    ] {
        let error = from_rendition(&rendition).unwrap_err();
        assert!(matches!(error, CapsError::Unsupported(_)), "{error}");
        assert!(error.to_string().ends_with('.'), "{error}");
    }
}

fn unknown_container() -> Container {
    serde_json::from_str(r#"{"kind":"parcel"}"#).unwrap()
}

#[test]
fn an_sps_with_absurd_numbers_is_no_panic() {
    // Widths near 2^32, and croppings larger than the picture.
    let cropped = SPS.replace("da014016ec", "da0140000000000001");
    for sps in [
        "6742001f95a0000000100000000800000008",
        "67640032ffffffffffffffffffffffffffffff",
        "6742c01eda00000003000000030000000300",
        &cropped,
    ] {
        let mut stream = stream(BYTE_STREAM);
        let _ = stream.prepare(annexb(&[sps, PPS, "6588"]), true);
        let _ = stream.rendition().map(from_rendition);
    }
}

/// Bytes that are likely to get past the first checks: a real text with a few bytes changed.
fn mutated(text: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let real = hex(text);
    let change = (0..real.len(), any::<u8>());
    (prop::collection::vec(change, 0..6), 0..=real.len()).prop_map(move |(changes, cut)| {
        let mut bytes = real.clone();
        changes.into_iter().for_each(|(at, byte)| bytes[at] = byte);
        bytes.truncate(cut.max(bytes.len() / 2));
        bytes
    })
}

pub(super) fn noise(text: &'static str) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![mutated(text), prop::collection::vec(any::<u8>(), 0..80)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_codec_data_panics(avcc in noise(AVCC), asc in noise(ASC), head in noise(OPUS_HEAD)) {
        let mut streams = Vec::new();
        for (text, data) in [(AVC, &avcc), (AVC3, &avcc), (BYTE_STREAM, &avcc), (RAW_AAC, &asc)] {
            let mut caps = caps(text);
            let structure = caps.make_mut().structure_mut(0).unwrap();
            structure.set("codec_data", gst::Buffer::from_slice(data.clone()));
            streams.extend(InputStream::from_caps(&caps));
        }
        let mut caps = caps(OPUS);
        let structure = caps.make_mut().structure_mut(0).unwrap();
        structure.set("streamheader", gst::Array::new([gst::Buffer::from_slice(head)]));
        streams.extend(InputStream::from_caps(&caps));
        for rendition in streams.iter().filter_map(InputStream::rendition) {
            let _ = (from_rendition(rendition), reorder_depth(rendition));
        }
    }

    #[test]
    fn no_frame_panics(
        sps in noise(SPS),
        rest in prop::collection::vec(0u8..9, 0..60),
        keyframe in any::<bool>(),
    ) {
        let pps = hex(PPS);
        let length = (sps.len() as u32).to_be_bytes();
        let annexb = [&[0, 0, 0, 1], &sps[..], &[0, 0, 1], &pps, &[0, 0, 1], &rest].concat();
        let prefixed = [&length, &sps[..], &[0, 0, 0, 4], &pps, &rest].concat();
        for (text, frame) in [(BYTE_STREAM, annexb), (AVC3, prefixed)] {
            let mut stream = stream(text);
            let _ = stream.prepare(frame.clone().into(), keyframe);
            let _ = stream.prepare(rest.clone().into(), true);
            if let Some(rendition) = stream.rendition() {
                let _ = (from_rendition(rendition), reorder_depth_in_band(rendition, &frame));
            }
        }
    }

    #[test]
    fn no_entry_panics(
        numbers in prop::array::uniform4(prop_oneof![0u32..9000, any::<u32>()]),
        framerate in any::<f64>(),
        description in prop::option::of(prop_oneof![noise(AVCC), noise(ASC), noise(OPUS_HEAD)]),
        profile in any::<u8>(),
    ) {
        gst::init().unwrap();
        let description = description.map(Bytes::from);
        let mut config = VideoConfig::new(H264 {
            inline: true,
            profile,
            constraints: profile,
            level: profile,
        });
        config.description = description.clone();
        config.coded_width = Some(numbers[0]);
        config.coded_height = Some(numbers[1]);
        config.display_aspect_width = Some(numbers[2]);
        config.display_aspect_height = Some(numbers[3]);
        config.framerate = Some(framerate);
        let _ = from_rendition(&Rendition::Video(config));
        for codec in [
            AudioCodec::AAC(AAC { profile }),
            AudioCodec::Opus,
            AudioCodec::Flac,
            AudioCodec::Mp3,
            AudioCodec::Ac3,
            AudioCodec::Pcm,
        ] {
            let mut config = AudioConfig::new(codec, numbers[0], numbers[1] % 300);
            config.description = description.clone();
            let _ = from_rendition(&Rendition::Audio(config));
        }
    }
}
