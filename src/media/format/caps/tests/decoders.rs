// SPDX-License-Identifier: MIT
//! Real encoders in front, real decoders and muxers behind.

use gst::prelude::*;

use super::*;

fn element(factory: &str) -> gst::Element {
    gst::init().unwrap();
    gst::ElementFactory::make(factory).build().unwrap()
}

pub(super) fn accepts(decoder: &str, caps: &gst::Caps) -> bool {
    let pad = element(decoder).static_pad("sink").unwrap();
    pad.query_accept_caps(caps)
}

#[test]
fn decoders_take_the_caps_without_a_parser() {
    for (text, decoder) in [
        (AVC, "avdec_h264"),
        (RAW_AAC, "avdec_aac"),
        (RAW_AAC, "faad"),
        (OPUS, "opusdec"),
        (OPUS, "avdec_opus"),
        (broken::SURROUND, "opusdec"),
        (broken::FLAC, "flacdec"),
        (broken::FLAC, "avdec_flac"),
        (broken::MP3, "avdec_mp3"),
        (broken::MP3, "mpg123audiodec"),
        (broken::AC3, "avdec_ac3"),
        (broken::AC3, "a52dec"),
        (broken::PCM, "audioconvert"),
        (
            "audio/mpeg, mpegversion=1, layer=2, rate=48000, channels=2",
            "avdec_mp2float",
        ),
        ("audio/x-eac3, rate=48000, channels=6", "avdec_eac3"),
    ] {
        let given = round_trip(&stream(text));
        assert!(accepts(decoder, &given), "{decoder}: {given:?}");
    }
    let mut in_band = stream(BYTE_STREAM);
    let keyframe = annexb(&[SPS, PPS, "6588"]);
    in_band.prepare(keyframe, true).unwrap();
    for decoder in ["avdec_h264", "openh264dec"] {
        assert!(accepts(decoder, &round_trip(&in_band)), "{decoder}");
    }
}

#[test]
fn muxers_take_the_caps_without_a_parser() {
    for text in [AVC, RAW_AAC, OPUS] {
        let given = round_trip(&stream(text));
        for muxer in ["mp4mux", "matroskamux"] {
            let fits = element(muxer).pad_template_list().iter().any(|template| {
                template.direction() == gst::PadDirection::Sink
                    && template.caps().can_intersect(&given)
            });
            assert!(fits, "{muxer}: {given:?}");
        }
    }
}

pub(super) fn launch(text: &str) -> gst::Pipeline {
    gst::init().unwrap();
    let pipeline = gst::parse::launch(text).unwrap();
    pipeline.downcast().unwrap()
}

pub(super) fn named<T: IsA<gst::Element>>(pipeline: &gst::Pipeline, name: &str) -> T {
    pipeline.by_name(name).unwrap().downcast().unwrap()
}

/// Encodes, and sends each frame through a [`InputStream`].
pub(super) fn encode(encoder: &str) -> (gst::Caps, Vec<gst::Buffer>) {
    let pipeline = launch(&format!("{encoder} ! appsink name=sink sync=false"));
    let sink: gst_app::AppSink = named(&pipeline, "sink");
    pipeline.set_state(gst::State::Playing).unwrap();
    let mut stream = None;
    let mut frames = Vec::new();
    while let Ok(sample) = sink.pull_sample() {
        let stream =
            stream.get_or_insert_with(|| InputStream::from_caps(sample.caps().unwrap()).unwrap());
        let buffer = sample.buffer().unwrap();
        let marked = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        let payload = Bytes::copy_from_slice(&buffer.map_readable().unwrap());
        let keyframe = stream.is_keyframe(&payload, marked);
        assert_eq!(keyframe, marked, "encoders mark their keyframes");
        let mut sent = gst::Buffer::from_slice(stream.prepare(payload, keyframe).unwrap());
        sent.make_mut().set_pts(buffer.pts());
        frames.push(sent);
    }
    pipeline.set_state(gst::State::Null).unwrap();
    (round_trip(&stream.unwrap()), frames)
}

/// How many buffers a decoder makes of the frames.
pub(super) fn decode(decoder: &str, caps: &gst::Caps, frames: Vec<gst::Buffer>) -> usize {
    let pipeline = launch(&format!(
        "appsrc name=src format=time ! {decoder} ! appsink name=sink sync=false"
    ));
    let src: gst_app::AppSrc = named(&pipeline, "src");
    let sink: gst_app::AppSink = named(&pipeline, "sink");
    src.set_caps(Some(caps));
    pipeline.set_state(gst::State::Playing).unwrap();
    for frame in frames {
        src.push_buffer(frame).unwrap();
    }
    src.end_of_stream().unwrap();
    let decoded = std::iter::from_fn(|| sink.pull_sample().ok()).count();
    pipeline.set_state(gst::State::Null).unwrap();
    decoded
}

#[test]
fn every_h264_format_decodes_completely() {
    for format in ["avc", "avc3", "byte-stream"] {
        let (caps, frames) = encode(&format!(
            "videotestsrc num-buffers=20 ! video/x-raw,format=I420,width=176,height=90 \
             ! x264enc key-int-max=8 bframes=2 ! h264parse ! video/x-h264,stream-format={format}"
        ));
        // Coded in whole macroblocks, 96 lines, of which 90 are shown.
        assert_eq!(caps.structure(0).unwrap().get("height"), Ok(90));
        assert_eq!(decode("avdec_h264", &caps, frames), 20, "{format}");
    }
}

#[test]
fn aac_and_opus_decode_completely() {
    let source = "audiotestsrc num-buffers=10 samplesperbuffer=1024 ! audio/x-raw,rate=48000";
    for (channels, encoder, decoder) in [
        (1, "avenc_aac", "avdec_aac"),
        (6, "avenc_aac", "avdec_aac"),
        (1, "opusenc", "opusdec"),
        (2, "opusenc ! opusparse", "opusdec"),
    ] {
        let (caps, frames) = encode(&format!("{source},channels={channels} ! {encoder}"));
        let sent = frames.len();
        let decoded = decode(decoder, &caps, frames);
        assert!(
            decoded + 1 >= sent && decoded > 8,
            "{encoder}: {decoded} of {sent}"
        );
    }
}
