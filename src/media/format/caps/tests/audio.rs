// SPDX-License-Identifier: MIT
//! Every audio row of the table, with every channel count.

use proptest::prelude::*;

use super::*;
use crate::media::format::{
    codec::{sink_caps, src_caps},
    duration,
};

const FLAC_HEADER: &str = "7f464c414301000001664c614300000022120012000000000000000bb802f0\
    0000000000000000000000000000000000000000";
const OPUS_HEAD: &str = "4f707573486561640106380180bb00000000010402000401020305";

/// MP3 of 64 kbit/s at 22.05 kHz, MP2 of 192 kbit/s and AC-3 of 32 kbit/s at 48 kHz, E-AC-3, and
/// FLAC with 4608 samples: the headers of frames.
const MP3_FRAME: &str = "fff380c4";
const MP2_FRAME: &str = "fffda404";
const AC3_FRAME: &str = "0b7700000040e1";
const EAC3_FRAME: &str = "0b77003f3f80";
const FLAC_FRAME: &str = "fff85a1800";

fn flac(rate: u32, channels: u32) -> String {
    let mut header = hex(FLAC_HEADER);
    let packed = u64::from(rate) << 44 | u64::from(channels - 1) << 41 | 23 << 36;
    header[27..35].copy_from_slice(&packed.to_be_bytes());
    format!(
        "audio/x-flac, framed=true, rate={rate}, channels={channels}, streamheader=(buffer)<{}>",
        to_hex(&header)
    )
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn opus(channels: u8) -> String {
    /// Streams, coupled streams and table by RFC 7845 section 5.1.1.2.
    const VORBIS: [&str; 8] = [
        "010000",
        "01010001",
        "0201000201",
        "020200010203",
        "03020004010203",
        "0402000401020305",
        "040300040102030506",
        "05030006010203040507",
    ];
    let table = VORBIS[usize::from(channels) - 1];
    let head = format!("4f7075734865616401{channels:02x}380180bb0000000001{table}");
    format!(
        "audio/x-opus, channel-mapping-family=1, channels={channels}, streamheader=(buffer)<{head}>"
    )
}

fn aac(rate: u32, channels: u32) -> String {
    let configuration = [1u16, 2, 3, 4, 5, 6, 11, 7][channels as usize - 1];
    let index = if rate == 48_000 { 3 } else { 4 };
    let config = 2 << 11 | index << 7 | configuration << 3;
    format!(
        "audio/mpeg, mpegversion=4, stream-format=raw, rate={rate}, channels={channels}, \
         codec_data=(buffer){config:04x}"
    )
}

fn framed(name: &str, rate: u32, channels: u32) -> String {
    format!("{name}, rate={rate}, channels={channels}")
}

/// What comes out is fixed, within the templates, and the same entry again.
fn check(text: &str, rate: u32, channels: u32) -> Result<(), TestCaseError> {
    let stream = stream(text);
    prop_assert_eq!(stream.kind(), Kind::Audio);
    prop_assert_eq!(stream.reorder_depth(), Some(0));
    prop_assert!(caps(text).is_subset(&sink_caps()), "{}", text);
    let given = round_trip(&stream);
    prop_assert!(
        given.is_fixed() && given.is_subset(&sink_caps()),
        "{:?}",
        given
    );
    prop_assert!(given.is_subset(&src_caps(Kind::Audio)), "{:?}", given);
    let structure = given.structure(0).unwrap();
    prop_assert_eq!(structure.get::<i32>("rate"), Ok(rate as i32));
    prop_assert_eq!(structure.get::<i32>("channels"), Ok(channels as i32));
    let again = InputStream::from_caps(&given).unwrap();
    prop_assert_eq!(again.rendition(), stream.rendition());
    prop_assert!(round_trip(&again).is_strictly_equal(&given));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_row_comes_back_with_every_channel_count(
        channels in 1u32..=8,
        rate in prop::sample::select(vec![44_100u32, 48_000]),
        any_rate in 1u32..655_350,
    ) {
        check(&opus(channels as u8), 48_000, channels)?;
        check(&flac(any_rate, channels), any_rate, channels)?;
        check(&aac(rate, channels), rate, channels)?;
        let pcm = "audio/x-raw, format=F32LE, layout=interleaved, channel-mask=(bitmask)0x3";
        check(&framed(pcm, any_rate, channels), any_rate, channels)?;
        check(&framed("audio/x-eac3, alignment=frame", rate, channels), rate, channels)?;
        let six = channels.min(6);
        check(&framed("audio/x-ac3, framed=true", rate, six), rate, six)?;
        let two = channels.min(2);
        for (layer, rate) in [(2, rate), (3, rate), (3, 8_000), (2, 22_050)] {
            let name = format!("audio/mpeg, mpegversion=1, layer={layer}, parsed=true");
            check(&framed(&name, rate, two), rate, two)?;
        }
    }

    #[test]
    fn no_header_and_no_frame_panics(
        flac_header in broken::noise(FLAC_HEADER),
        opus_head in broken::noise(OPUS_HEAD),
        frame in prop::sample::select(vec![MP3_FRAME, MP2_FRAME, AC3_FRAME, EAC3_FRAME, FLAC_FRAME])
            .prop_flat_map(broken::noise),
    ) {
        gst::init().unwrap();
        for (name, header) in [("audio/x-flac", flac_header), ("audio/x-opus", opus_head)] {
            let header = gst::Buffer::from_slice(header);
            let mut caps = caps(name);
            let structure = caps.make_mut().structure_mut(0).unwrap();
            structure.set("streamheader", gst::Array::new([header]));
            let given = InputStream::from_caps(&caps).ok();
            let given = given.map(|stream| from_rendition(stream.rendition().unwrap()));
            prop_assert!(given.is_none_or(|given| given.is_ok_and(|caps| caps.is_fixed())));
        }
        for text in unframed() {
            let mut stream = stream(&text);
            let _ = stream.prepare(frame.clone().into(), true);
            if let Some(rendition) = stream.rendition() {
                let _ = duration::of(rendition, &frame);
                prop_assert!(from_rendition(rendition).is_ok(), "{}", text);
            }
        }
    }
}

/// Caps whose frames are looked at, as encoders without a parser give them.
fn unframed() -> [String; 7] {
    [
        "audio/mpeg, mpegversion=1, layer=3".into(),
        "audio/mpeg, mpegversion=1, layer=2".into(),
        "audio/x-ac3".into(),
        "audio/x-eac3".into(),
        flac(48_000, 2),
        opus(6),
        "audio/x-raw, format=F32LE, layout=interleaved, rate=48000, channels=2".into(),
    ]
}

/// A frame of the length that its header says.
fn frame(header: &str, length: usize) -> Bytes {
    let mut frame = hex(header);
    frame.resize(length, 0);
    frame.into()
}

#[test]
fn frames_say_what_the_caps_do_not() {
    let [mp3, mp2, ac3, eac3, flac, opus, pcm] = unframed();
    for (text, payload, rate, channels, duration_us) in [
        (&mp3, frame(MP3_FRAME, 208), 22_050, 1, 26_122),
        (&mp2, frame(MP2_FRAME, 576), 48_000, 2, 24_000),
        (&ac3, frame(AC3_FRAME, 128), 48_000, 6, 32_000),
        (&eac3, frame(EAC3_FRAME, 128), 48_000, 6, 32_000),
        (&flac, frame(FLAC_FRAME, 20), 48_000, 2, 96_000),
        (&opus, frame("fc", 20), 48_000, 6, 20_000),
        (&pcm, frame("00", 480 * 8), 48_000, 2, 10_000),
    ] {
        let mut stream = stream(text);
        let sent = stream.prepare(payload.clone(), true).unwrap();
        assert_eq!(sent.as_ptr(), payload.as_ptr(), "{text}");
        let rendition = stream.rendition().unwrap();
        let Rendition::Audio(config) = rendition else {
            panic!("no audio rendition");
        };
        assert_eq!((config.sample_rate, config.channel_count), (rate, channels));
        let duration = duration::of(rendition, &payload).unwrap();
        assert_eq!(duration.useconds(), duration_us, "{text}");
    }
}

#[test]
fn two_frames_in_one_packet_last_twice_as_long() {
    let mut stream = stream(&unframed()[0]);
    let one = frame(MP3_FRAME, 208);
    let two = [&one[..], &one].concat();
    stream.prepare(two.clone().into(), true).unwrap();
    let rendition = stream.rendition().unwrap();
    let lasts = |payload: &[u8]| duration::of(rendition, payload).unwrap().mseconds();
    assert_eq!((lasts(&one), lasts(&two)), (26, 52));
    // A dependent substream goes with its program.
    let rendition = Rendition::Audio(AudioConfig::new(AudioCodec::Ec3, 48_000, 8));
    let dependent = frame(&EAC3_FRAME.replace("7700", "7740"), 128);
    let both = [&frame(EAC3_FRAME, 128)[..], &dependent].concat();
    assert_eq!(duration::of(&rendition, &both).unwrap().mseconds(), 32);
}

#[test]
fn packets_that_are_none_are_dropped_with_the_parser_that_mends_them() {
    let [mp3, mp2, ac3, eac3, flac, opus, pcm] = unframed();
    for (text, payload, reason) in [
        (&mp3, hex(MP2_FRAME), "insert mpegaudioparse"),
        (&mp3, hex(MP3_FRAME), "insert mpegaudioparse"),
        (&mp2, hex("494433"), "insert mpegaudioparse"),
        (&ac3, hex(AC3_FRAME), "insert ac3parse"),
        (&ac3, hex(EAC3_FRAME), "insert ac3parse"),
        (&eac3, hex(EAC3_FRAME), "insert ac3parse"),
        (&flac, hex("fff8"), "insert flacparse"),
        (&opus, hex("03"), "insert opusparse"),
        (&pcm, vec![0; 12], "no multiple of 8 bytes"),
    ] {
        let mut stream = stream(text);
        let error = stream.prepare(payload.into(), true).unwrap_err();
        assert!(error.to_string().contains(reason), "{text}: {error}");
    }
}

#[test]
fn headers_in_the_stream_are_no_packets() {
    let [.., flac, opus, _] = unframed();
    for (text, payload) in [
        (&flac, hex(FLAC_HEADER)),
        (&flac, b"fLaC".to_vec()),
        (&flac, hex("8400000401020304")),
        (&opus, hex(OPUS_HEAD)),
        (&opus, b"OpusTags...".to_vec()),
    ] {
        let mut stream = stream(text);
        assert_eq!(
            stream.prepare(payload.into(), true),
            Err(FrameError::Header)
        );
    }
}

#[test]
fn stream_headers_are_read_in_every_form() {
    let native = &FLAC_HEADER[18..];
    let expected =
        "664c614380000022120012000000000000000bb802f00000000000000000000000000000000000000000";
    for headers in [
        FLAC_HEADER.to_owned(),
        format!("{FLAC_HEADER}, 84000000"),
        native.to_owned(),
        format!("664c6143, {}, 84000000", &native[8..]),
        native[8..].to_owned(),
    ] {
        let stream = stream(&format!("audio/x-flac, streamheader=(buffer)<{headers}>"));
        let Some(Rendition::Audio(config)) = stream.rendition() else {
            panic!("no audio rendition");
        };
        assert_eq!(to_hex(config.description.as_ref().unwrap()), expected);
    }
}

#[test]
fn opus_caps_say_the_mapping_without_a_stream_header() {
    let text = "audio/x-opus, channels=6, channel-mapping-family=1, stream-count=4, \
        coupled-count=2, channel-mapping=<0, 4, 1, 2, 3, 5>";
    let given = round_trip(&stream(text));
    let structure = given.structure(0).unwrap();
    assert_eq!(structure.get("stream-count"), Ok(4));
    assert_eq!(structure.get("coupled-count"), Ok(2));
    let table: Vec<i32> = structure
        .get::<gst::Array>("channel-mapping")
        .unwrap()
        .iter()
        .map(|channel| channel.get().unwrap())
        .collect();
    assert_eq!(table, [0, 4, 1, 2, 3, 5]);
}

#[test]
fn he_aac_keeps_its_signalling() {
    // SBR from 24 to 48 kHz, and PS from one channel; caps as aacparse and qtdemux give them.
    for (config, rate, channels) in [("2b118800", 48_000, 2), ("eb098800", 48_000, 2)] {
        let text = format!(
            "audio/mpeg, mpegversion=4, stream-format=raw, rate={rate}, channels={channels}, \
             codec_data=(buffer){config}"
        );
        let stream = stream(&text);
        let given = round_trip(&stream);
        let structure = given.structure(0).unwrap();
        let data = structure.get::<gst::Buffer>("codec_data").unwrap();
        assert_eq!(to_hex(&data.map_readable().unwrap()), config);
        assert_eq!(structure.get("rate"), Ok(rate));
        assert_eq!(structure.get("channels"), Ok(channels));
        let lasts = |rendition: &Rendition| duration::of(rendition, &[0]).unwrap().useconds();
        assert_eq!(lasts(stream.rendition().unwrap()), 42_666);
        // Other publishers state the rate of the core: the caps and the duration are the same.
        let Some(Rendition::Audio(mut entry)) = stream.rendition().cloned() else {
            panic!("no audio rendition");
        };
        entry.sample_rate = 24_000;
        let core = Rendition::Audio(entry);
        assert!(from_rendition(&core).unwrap().is_strictly_equal(&given));
        assert_eq!(lasts(&core), 42_666);
    }
}

#[test]
fn pcm_gets_the_default_layout_of_its_channels() {
    for (channels, mask) in [(2, Some(0x3)), (6, Some(0x3f)), (8, Some(0xc3f)), (1, None)] {
        let text = "audio/x-raw, format=F32LE, layout=interleaved, channel-mask=(bitmask)0xc";
        let given = round_trip(&stream(&framed(text, 48_000, channels)));
        let given = given
            .structure(0)
            .unwrap()
            .get::<gst::Bitmask>("channel-mask");
        assert_eq!(given.ok().map(|mask| mask.0), mask, "{channels}");
    }
}
