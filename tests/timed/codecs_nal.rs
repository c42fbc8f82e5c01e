// SPDX-License-Identifier: MIT
//! H.264 and H.265 in each of their forms: encoder, moqsink, relay, moqsrc, decoder.

use std::{fs, path::Path};

use gst::prelude::*;

use crate::common::{
    Packet, Packets, Relay, Running, init,
    media::{moqsink, moqsrc},
    nal::{FRAMES, X264, X265, source},
    pipeline::{DEADLINE, wait_pad},
    unique_broadcast,
};

const OPENH264: &str = "openh264enc gop-size=30";

/// What happens to the bytes of a frame.
#[derive(Clone, Copy, PartialEq)]
enum Sent {
    AsItCame,
    /// Later keyframes come without parameter sets and get them.
    Completed,
    /// Length prefixes become start codes.
    Rewritten,
}

/// The same with parameter sets on each keyframe.
const X265_REPEATING: &str = "x265enc speed-preset=ultrafast key-int-max=30 \
    option-string=\"bframes=3:b-pyramid=1:b-adapt=0:open-gop=1:scenecut=0:repeat-headers=1:pools=none\"";

/// A form of H.264 or H.265.
struct Row {
    encoder: &'static str,
    /// What follows the encoder, up to the sink pad.
    form: &'static str,
    codec: &'static str,
    decoder: &'static str,
    /// The stream-format that moqsrc gives.
    given: &'static str,
    sent: Sent,
    reorders: bool,
}

const ROW: Row = Row {
    encoder: X264,
    form: "video/x-h264,stream-format=byte-stream",
    codec: "h264",
    decoder: "avdec_h264",
    given: "byte-stream",
    sent: Sent::AsItCame,
    reorders: true,
};

impl Row {
    /// Publishes the stream, receives it, and checks all that comes.
    fn passes(&self) {
        init();
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str| folder.path().join(name);
        let relay = Relay::start().expect("the relay starts");
        let broadcast = unique_broadcast("nal");
        let pictures = |file: &Path| {
            format!(
                "{} ! video/x-raw,format=I420 ! filesink location=\"{}\"",
                self.decoder,
                file.display()
            )
        };
        let recording = |muxer: &str| {
            let file = file(muxer);
            format!(
                "t. ! queue ! {}parse ! {muxer} ! filesink location=\"{}\"",
                self.codec,
                file.display()
            )
        };
        let subscriber = Running::play(&format!(
            "{} moq.video_0 ! tee name=t t. ! queue ! {} {} {}",
            moqsrc(&relay.url(), &broadcast),
            pictures(&file("received")),
            recording("mp4mux"),
            recording("matroskamux"),
        ));
        let publisher = Running::launch(&format!(
            "{} ! {} ! {} ! tee name=t ! queue ! moq.sink_0 t. ! queue ! {}parse ! {} {}",
            source(FRAMES),
            self.encoder,
            self.form,
            self.codec,
            pictures(&file("sent")),
            moqsink(&relay.url(), &broadcast)
        ));
        let sent = Packets::of_pad(&publisher.element("moq"), "sink_0");
        let got = Packets::of_pad(&subscriber.element("moq"), "video_0");
        publisher.start();
        let pad = wait_pad(&subscriber.element("moq"), "video_0", DEADLINE);
        publisher.wait_eos();
        subscriber.wait_eos();

        self.judge_caps(&pad);
        self.judge(&sent.so_far(), &got.so_far());
        let read = |name: &str| fs::read(file(name)).expect("the decoded file");
        assert_eq!(read("sent").len(), FRAMES * 320 * 180 * 3 / 2);
        assert!(read("received") == read("sent"), "the same frames");
        for (muxer, demuxer) in [("mp4mux", "qtdemux"), ("matroskamux", "matroskademux")] {
            self.judge_recording(&file(muxer), demuxer);
        }
    }

    fn judge_caps(&self, pad: &gst::Pad) {
        let caps = pad.current_caps().expect("the pad has caps");
        let caps = caps.structure(0).expect("one structure");
        assert_eq!(caps.get("stream-format"), Ok(self.given));
        assert_eq!(caps.get("alignment"), Ok("au"));
        assert_eq!(caps.get("parsed"), Ok(true));
        assert_eq!(caps.get("width"), Ok(320));
        assert_eq!(caps.get("height"), Ok(180));
        assert_eq!(caps.get("framerate"), Ok(gst::Fraction::new(30, 1)));
        assert!(caps.has_field("profile") && caps.has_field("level"));
        assert_eq!(caps.has_field("tier"), self.codec == "h265");
        assert_eq!(caps.has_field("codec_data"), self.given != "byte-stream");
    }

    fn judge(&self, sent: &[Packet], got: &[Packet]) {
        assert_eq!((sent.len(), got.len()), (FRAMES, FRAMES));
        for (index, (sent, got)) in sent.iter().zip(got).enumerate() {
            let same = match self.sent {
                Sent::AsItCame => got.bytes == sent.bytes,
                Sent::Completed if sent.is_key() => got.bytes.ends_with(&sent.bytes),
                Sent::Completed => got.bytes == sent.bytes,
                Sent::Rewritten => true,
            };
            assert!(same, "frame {index} as it was sent");
            assert_eq!(got.is_key(), sent.is_key(), "frame {index}");
        }
        let reordered = got.windows(2).any(|pair| pair[0].pts > pair[1].pts);
        assert_eq!(reordered, self.reorders);
        for pair in got.windows(2) {
            assert!(pair[0].dts.is_some() && pair[0].dts < pair[1].dts);
        }
        assert!(got.iter().all(|packet| packet.dts <= packet.pts));
    }

    /// All frames are in the file, and in order.
    fn judge_recording(&self, file: &Path, demuxer: &str) {
        let player = Running::launch(&format!(
            "filesrc location=\"{}\" ! {demuxer} ! {}parse ! avdec_{} ! fakesink name=out sync=false",
            file.display(),
            self.codec,
            self.codec
        ));
        let pictures = Packets::into_sink(&player.element("out"));
        player.start();
        player.wait_eos();
        let pictures = pictures.so_far();
        assert_eq!(pictures.len(), FRAMES, "{demuxer}");
        for (index, pair) in pictures.windows(2).enumerate() {
            let times = (pair[0].pts, pair[1].pts);
            // In the first second a smaller transit moves the edge at once: on a busy machine two frames can
            // then be less than a tick of the file apart.
            let ordered = times.0 < times.1 || (index < 30 && times.0 == times.1);
            assert!(ordered, "{demuxer}: {times:?}");
        }
    }
}

#[test]
fn h264_byte_stream_with_b_frames() {
    ROW.passes();
}

#[test]
fn h264_avc_with_b_frames() {
    Row {
        form: "h264parse ! video/x-h264,stream-format=avc",
        given: "avc",
        ..ROW
    }
    .passes();
}

#[test]
fn h264_avc3_with_b_frames() {
    Row {
        form: "h264parse ! video/x-h264,stream-format=avc3",
        sent: Sent::Rewritten,
        ..ROW
    }
    .passes();
}

#[test]
fn openh264_byte_stream() {
    Row {
        encoder: OPENH264,
        decoder: "openh264dec",
        reorders: false,
        ..ROW
    }
    .passes();
}

#[test]
fn openh264_avc() {
    Row {
        encoder: OPENH264,
        form: "h264parse ! video/x-h264,stream-format=avc",
        given: "avc",
        reorders: false,
        ..ROW
    }
    .passes();
}

const H265: Row = Row {
    encoder: X265_REPEATING,
    form: "video/x-h265,stream-format=byte-stream",
    codec: "h265",
    decoder: "avdec_h265",
    ..ROW
};

#[test]
fn h265_byte_stream_with_b_frames() {
    H265.passes();
}

#[test]
fn h265_byte_stream_without_repeated_headers() {
    Row {
        encoder: X265,
        sent: Sent::Completed,
        ..H265
    }
    .passes();
}

#[test]
fn h265_hvc1_with_b_frames() {
    Row {
        form: "h265parse ! video/x-h265,stream-format=hvc1",
        given: "hvc1",
        ..H265
    }
    .passes();
}

#[test]
fn h265_hev1_with_b_frames() {
    Row {
        form: "h265parse ! video/x-h265,stream-format=hev1",
        sent: Sent::Rewritten,
        ..H265
    }
    .passes();
}
