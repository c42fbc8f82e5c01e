// SPDX-License-Identifier: MIT
//! Every audio codec through a real relay: what real encoders make arrives byte for byte, and a
//! decoder that is linked straight to `moqsrc` makes of it what it makes of it locally.

use std::fs;

use gst::prelude::*;

use crate::common::{
    Packet, Packets, Relay, Running, init,
    media::{moqsink, moqsrc},
    pipeline::{DEADLINE, wait_pad, wait_property},
    unique_broadcast,
};

/// One codec: an encoder with its input, and a decoder that needs no parser.
struct Row {
    /// Name of the track.
    name: &'static str,
    /// Caps of the raw audio, without `audio/x-raw`.
    raw: &'static str,
    encoder: &'static str,
    decoder: &'static str,
}

const MONO: &str = "rate=48000,channels=1";
const STEREO: &str = "rate=48000,channels=2";
const FIVE: &str = "rate=44100,channels=5,channel-mask=(bitmask)0x37";
const FIVE_ONE: &str = "rate=48000,channels=6,channel-mask=(bitmask)0x3f";
const SEVEN_ONE: &str = "rate=48000,channels=8,channel-mask=(bitmask)0xc3f";
const HALF: &str = "rate=24000,channels=2";
const LOW: &str = "rate=22050,channels=1";
const CD: &str = "format=S16LE,rate=44100,channels=2";
const F32: &str = "audioconvert ! audio/x-raw,format=F32LE";
const STUDIO: &str = "format=S24_32LE,rate=96000,channels=1";

/// AAC-LC that is signalled as the core of HE-AAC at 48 kHz: free encoders make no SBR data, and a
/// decoder that believes the signalling doubles the rate all the same.
const HE_AAC: &str = "avenc_aac ! capssetter \
    caps=\"audio/mpeg,rate=48000,codec_data=(buffer)2b118800\"";

const fn row(
    name: &'static str,
    raw: &'static str,
    encoder: &'static str,
    decoder: &'static str,
) -> Row {
    Row {
        name,
        raw,
        encoder,
        decoder,
    }
}

#[test]
fn opus_of_up_to_eight_channels_arrives_and_decodes() {
    arrives_and_decodes(&[
        row("opus-1", MONO, "opusenc", "opusdec"),
        row("opus-2", STEREO, "opusenc", "opusdec"),
        row("opus-2-av", STEREO, "opusenc ! opusparse", "avdec_opus"),
        row("opus-6", FIVE_ONE, "opusenc", "opusdec"),
        row("opus-8", SEVEN_ONE, "opusenc", "opusdec"),
    ]);
}

#[test]
fn aac_arrives_and_decodes() {
    arrives_and_decodes(&[
        row("aac-1", MONO, "avenc_aac", "avdec_aac"),
        row("aac-2", STEREO, "avenc_aac ! aacparse", "avdec_aac"),
        row("aac-2-faad", STEREO, "avenc_aac", "faad"),
        row("aac-5", FIVE, "avenc_aac", "avdec_aac"),
        row("aac-6", FIVE_ONE, "avenc_aac", "avdec_aac"),
        row("aac-he", HALF, HE_AAC, "avdec_aac"),
        row("aac-vo", CD, "voaacenc", "avdec_aac"),
    ]);
}

#[test]
fn mpeg_audio_arrives_and_decodes() {
    arrives_and_decodes(&[
        row(
            "mp2",
            STEREO,
            "twolamemp2enc ! mpegaudioparse",
            "avdec_mp2float",
        ),
        row("mp2-123", STEREO, "twolamemp2enc", "mpg123audiodec"),
        row("mp3", STEREO, "lamemp3enc ! mpegaudioparse", "avdec_mp3"),
        row(
            "mp3-123",
            CD,
            "lamemp3enc ! mpegaudioparse",
            "mpg123audiodec",
        ),
        row("mp3-low", LOW, "lamemp3enc", "mpg123audiodec"),
    ]);
}

#[test]
fn dolby_audio_arrives_and_decodes() {
    arrives_and_decodes(&[
        row("ac3", FIVE_ONE, "avenc_ac3 ! ac3parse", "avdec_ac3"),
        row("ac3-52", STEREO, "avenc_ac3", "a52dec"),
        row("eac3", FIVE_ONE, "avenc_eac3 ! ac3parse", "avdec_eac3"),
    ]);
}

#[test]
fn lossless_audio_arrives_and_decodes() {
    arrives_and_decodes(&[
        row("flac-16", CD, "flacenc", "flacdec"),
        row("flac-16-av", CD, "flacenc ! flacparse", "avdec_flac"),
        row("flac-24", STUDIO, "flacenc", "flacdec"),
        row("flac-6", FIVE_ONE, "flacenc ! flacparse", "flacdec"),
        row("pcm-1", MONO, F32, "audioconvert"),
        row("pcm-2", STEREO, F32, "audioconvert"),
        row("pcm-6", FIVE_ONE, F32, "audioconvert"),
    ]);
}

/// Sends all rows in one broadcast, each on a pad of its own; they are in the order of their names,
/// which is that of the pads.
fn arrives_and_decodes(rows: &[Row]) {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("audio");
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name).display().to_string();
    let decoders = rows.iter().enumerate().map(|(pad, row)| {
        let Row { name, decoder, .. } = row;
        format!(
            " moq.audio_{pad} ! {decoder} ! filesink location=\"{}\"",
            file(name)
        )
    });
    let subscriber = Running::play(&format!(
        // Audio from before the start of a subscription is kept up to half the latency.
        "{} latency=4000{}",
        moqsrc(&relay.url(), &broadcast),
        decoders.collect::<String>()
    ));
    let publisher = publisher(rows, &moqsink(&relay.url(), &broadcast));
    let (sink, source) = (publisher.element("moq"), subscriber.element("moq"));
    let packets = |element: &gst::Element, name: &str| {
        let packets = Packets::of_pad(element, name);
        (packets, wait_pad(element, name, DEADLINE))
    };
    let sent = rows.iter().enumerate();
    let sent: Vec<_> = sent
        .map(|(pad, _)| packets(&sink, &format!("sink_{pad}")))
        .collect();
    publisher.start();
    let got = rows.iter().enumerate();
    let got: Vec<_> = got
        .map(|(pad, _)| packets(&source, &format!("audio_{pad}")))
        .collect();
    publisher.wait_eos();
    subscriber.wait_eos();
    for (row, ((sent, sink), (got, source))) in rows.iter().zip(sent.iter().zip(&got)) {
        let Row { name, decoder, .. } = row;
        let track: Option<String> = source.property("track");
        assert_eq!(track.as_deref(), Some(*name));
        let sent = payloads(sent);
        arrived(name, &sent, &got.so_far());
        let caps = sink.current_caps().expect("the encoder's caps");
        let expected = decoded(caps, sent, decoder, &file("expected"));
        let output = fs::read(file(name)).expect("the decoded file");
        assert!(expected.len() > 1000, "{name}: {decoder} decodes something");
        assert!(
            output == expected,
            "{name}: {decoder} makes {} bytes, locally {}",
            output.len(),
            expected.len()
        );
    }
}

/// All packets came as they were sent, in order, with rising times and their durations.
fn arrived(name: &str, sent: &[Vec<u8>], got: &[Packet]) {
    for pair in got.windows(2) {
        assert!(
            pair[0].pts < pair[1].pts,
            "{name}: times rise: {:?}",
            got.iter().map(|packet| packet.pts).collect::<Vec<_>>()
        );
        assert!(pair[0].duration.is_some(), "{name}: durations are known");
    }
    assert!(sent.len() > 5, "{name}");
    assert!(
        got.iter().map(|packet| &packet.bytes).eq(sent),
        "{name}: {} of {} packets: {:?}",
        got.len(),
        sent.len(),
        got.iter().map(|packet| packet.pts).collect::<Vec<_>>()
    );
}

/// About a second of audio for each row, into the sink's pads in their order.
fn publisher(rows: &[Row], sink: &str) -> Running {
    let mut line = sink.to_owned();
    for (pad, Row { name, .. }) in rows.iter().enumerate() {
        line += &format!(" sink_{pad}::track={name}");
    }
    for (pad, Row { raw, encoder, .. }) in rows.iter().enumerate() {
        line += &format!(
            " audiotestsrc num-buffers=50 wave=pink-noise volume=0.3 ! audioconvert ! \
             audio/x-raw,{raw} ! {encoder} ! queue ! moq.sink_{pad}"
        );
    }
    Running::launch(&line)
}

/// The packets without the stream headers that some encoders send before them.
fn payloads(packets: &Packets) -> Vec<Vec<u8>> {
    let packets = packets.so_far().into_iter();
    packets
        .filter(|packet| !packet.flags.contains(gst::BufferFlags::HEADER))
        .map(|packet| packet.bytes)
        .collect()
}

/// What the decoder makes of the packets without a network.
fn decoded(mut caps: gst::Caps, packets: Vec<Vec<u8>>, decoder: &str, file: &str) -> Vec<u8> {
    let structure = caps.make_mut().structure_mut(0).expect("a structure");
    if structure.name() != "audio/x-raw" {
        // Encoders do not say so, and some decoders want to know.
        structure.set("parsed", true);
        structure.set("framed", true);
    }
    let running = Running::launch(&format!(
        "appsrc name=src format=time ! {decoder} ! filesink location=\"{file}\""
    ));
    let source: gst_app::AppSrc = running.element("src").downcast().expect("an appsrc");
    source.set_caps(Some(&caps));
    running.start();
    for packet in packets {
        source
            .push_buffer(gst::Buffer::from_slice(packet))
            .expect("a push");
    }
    source.end_of_stream().expect("the end");
    running.wait_eos();
    fs::read(file).expect("the decoded file")
}

#[test]
fn another_sample_rate_goes_on_as_another_track_on_the_same_pad() {
    init();
    let relay = Relay::start().expect("the relay starts");
    // Opus always plays at 48 kHz: only its stream header has the rate of the input.
    for (encoder, field, rates) in [
        ("opusenc", "streamheader", [48_000, 48_000]),
        ("audio/x-raw,format=F32LE", "channel-mask", [48_000, 16_000]),
    ] {
        let broadcast = unique_broadcast("rate");
        let subscriber = Running::play(&format!(
            "{} ! fakesink sync=false",
            moqsrc(&relay.url(), &broadcast)
        ));
        let publisher = Running::play(&format!(
            "audiotestsrc is-live=true samplesperbuffer=480 ! audioconvert ! audioresample ! \
             capsfilter name=rate caps=audio/x-raw,rate=48000,channels=2 ! {encoder} ! moq.sink_0 {}",
            moqsink(&relay.url(), &broadcast)
        ));
        let source = subscriber.element("moq");
        let pad = wait_pad(&source, "audio_0", DEADLINE);
        let packets = Packets::of(&pad);
        packets.wait_count(10, DEADLINE);
        let before = pad.current_caps().expect("caps");
        let rate: gst::Caps = "audio/x-raw,rate=16000,channels=2".parse().expect("caps");
        publisher.element("rate").set_property("caps", rate);
        wait_property(&pad, "track", DEADLINE, |track: &Option<String>| {
            track.as_deref() == Some("audio-2")
        });
        let count = packets.count();
        packets.wait_count(count + 10, DEADLINE);
        let after = pad.current_caps().expect("caps");
        assert!(!before.is_strictly_equal(&after), "{after:?}");
        for (caps, rate) in [(before, rates[0]), (after, rates[1])] {
            let structure = caps.structure(0).expect("a structure");
            assert_eq!(structure.get::<i32>("rate"), Ok(rate));
            assert!(structure.has_field(field), "{caps:?}");
        }
        let packets = packets.so_far();
        let mut later = packets[1..].iter();
        assert!(later.any(|packet| packet.flags.contains(gst::BufferFlags::DISCONT)));
        assert_eq!(source.num_src_pads(), 1);
    }
}
