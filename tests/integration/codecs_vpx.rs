// SPDX-License-Identifier: MIT
//! VP8, VP9 and AV1 from real encoders through a real relay to real decoders and muxers.

use std::{collections::BTreeSet, fs, path::Path};

use gst::prelude::*;

use crate::common::{
    Packet, Packets, Relay, Running, Viewer, init,
    media::{moqsink, moqsrc},
    pipeline::{DEADLINE, describe, wait_message_that, wait_pad},
    unique_broadcast,
    viewer::Seen,
};

/// One row of the codec table, with what encodes and takes it.
struct Row {
    format: &'static str,
    encoder: &'static str,
    /// What matroskamux needs behind it.
    parser: &'static str,
    /// Each is linked without a parser and must decode to what the first one does locally.
    decoders: &'static [&'static str],
    muxers: &'static [&'static str],
    /// Fields of the caps of the source pad.
    caps: &'static str,
}

const FRAMES: usize = 24;
const SIZE: &str = "width=160,height=120,framerate=30/1";

const ROWS: [Row; 4] = [
    Row {
        format: "I420",
        encoder: "vp8enc deadline=1 keyframe-max-dist=8",
        parser: "identity",
        decoders: &["vp8dec", "avdec_vp8"],
        muxers: &["webmmux", "matroskamux"],
        caps: "video/x-vp8",
    },
    Row {
        format: "I420",
        encoder: "vp9enc deadline=1 cpu-used=8 keyframe-max-dist=8",
        parser: "identity",
        decoders: &["vp9dec", "avdec_vp9"],
        muxers: &["webmmux", "matroskamux", "mp4mux"],
        caps: "video/x-vp9,profile=(string)0,chroma-format=4:2:0,bit-depth-luma=(uint)8",
    },
    Row {
        format: "I420_10LE",
        encoder: "vp9enc deadline=1 cpu-used=8 keyframe-max-dist=8",
        parser: "identity",
        decoders: &["vp9dec", "avdec_vp9"],
        muxers: &["webmmux", "matroskamux", "mp4mux"],
        caps: "video/x-vp9,profile=(string)2,chroma-format=4:2:0,bit-depth-luma=(uint)10",
    },
    Row {
        format: "I420",
        encoder: "av1enc cpu-used=8 usage-profile=realtime keyframe-max-dist=8",
        parser: "av1parse",
        decoders: &["av1dec"],
        muxers: &["webmmux", "matroskamux", "mp4mux"],
        caps: "video/x-av1,stream-format=obu-stream,alignment=tu,parsed=true,profile=main",
    },
];

fn payloads(packets: &[Packet]) -> Vec<&[u8]> {
    packets.iter().map(|packet| &packet.bytes[..]).collect()
}

fn demuxer(muxer: &str) -> &'static str {
    match muxer {
        "mp4mux" => "qtdemux",
        _ => "matroskademux",
    }
}

/// What a file holds.
fn recorded(file: &Path, muxer: &str) -> Vec<Packet> {
    let player = Running::launch(&format!(
        "filesrc location=\"{}\" ! {} ! fakesink name=out sync=false",
        file.display(),
        demuxer(muxer)
    ));
    let packets = Packets::into_sink(&player.element("out"));
    player.start();
    player.wait_eos();
    packets.so_far()
}

impl Row {
    /// Encodes to a file, so that all get the same frames.
    fn encode(&self, file: &Path) {
        Running::play(&format!(
            "videotestsrc num-buffers={FRAMES} horizontal-speed=3 ! \
             video/x-raw,format={},{SIZE} ! {} ! tee name=t ! queue ! {} ! matroskamux ! \
             filesink location=\"{}\" \
             t. ! queue ! {} ! video/x-raw,format={} ! filesink location=\"{}\"",
            self.format,
            self.encoder,
            self.parser,
            file.display(),
            self.decoders[0],
            self.format,
            file.with_extension("expected").display(),
        ))
        .wait_eos();
    }

    /// Publishes the file and has it decoded and recorded at the other end.
    fn check(&self, relay: &Relay, folder: &Path) {
        let file = folder.join("film");
        self.encode(&file);
        let out = |name: &str| folder.join(name);
        let decode = self.decoders.iter().map(|decoder| {
            format!(
                "t. ! queue ! {decoder} ! video/x-raw,format={} ! filesink location=\"{}\"",
                self.format,
                out(decoder).display()
            )
        });
        let record = self.muxers.iter().map(|muxer| {
            format!(
                "t. ! queue ! {muxer}.video_0 {muxer} name={muxer} ! filesink location=\"{}\"",
                out(muxer).display()
            )
        });
        let branches: Vec<_> = decode.chain(record).collect();
        let broadcast = unique_broadcast("codecs");
        let subscriber = Running::play(&format!(
            "{} moq.video_0 ! tee name=t {}",
            moqsrc(&relay.url(), &broadcast),
            branches.join(" ")
        ));
        let publisher = Running::launch(&format!(
            "filesrc location=\"{}\" ! matroskademux ! queue ! moq.sink_0 {}",
            file.display(),
            moqsink(&relay.url(), &broadcast)
        ));
        let sent = Packets::of_pad(&publisher.element("moq"), "sink_0");
        let got = Packets::of_pad(&subscriber.element("moq"), "video_0");
        publisher.start();
        let pad = wait_pad(&subscriber.element("moq"), "video_0", DEADLINE);
        publisher.wait_eos();
        subscriber.wait_eos();
        self.judge_pad(&pad, &sent.so_far(), &got.so_far());
        let expected = fs::read(file.with_extension("expected")).expect("the local decode");
        assert!(!expected.is_empty());
        for decoder in self.decoders {
            let pictures = fs::read(out(decoder)).expect("the decoded file");
            assert!(pictures == expected, "{decoder}: the same frames");
        }
        for muxer in self.muxers {
            let recorded = recorded(&out(muxer), muxer);
            assert!(
                payloads(&recorded) == payloads(&got.so_far()),
                "{muxer}: the same frames"
            );
        }
    }

    fn judge_pad(&self, pad: &gst::Pad, sent: &[Packet], got: &[Packet]) {
        assert_eq!(sent.len(), FRAMES);
        assert!(
            payloads(sent) == payloads(got),
            "{}: as it was sent",
            self.encoder
        );
        let keys = |packets: &[Packet]| packets.iter().map(Packet::is_key).collect::<Vec<_>>();
        assert_eq!(keys(sent), keys(got));
        assert!(keys(got).iter().filter(|key| **key).count() >= 3);
        for pair in got.windows(2) {
            assert!(pair[0].pts < pair[1].pts, "times rise");
        }
        let given = pad.current_caps().expect("the pad has caps");
        let wanted = format!("{},{SIZE}", self.caps)
            .parse::<gst::Caps>()
            .expect("caps");
        assert!(given.is_subset(&wanted), "{given:?}");
    }
}

#[test]
fn every_row_arrives_decodes_and_is_recorded_without_a_parser() {
    init();
    let relay = Relay::start().expect("the relay starts");
    for row in &ROWS {
        let folder = tempfile::tempdir().expect("a folder");
        row.check(&relay, folder.path());
    }
}

/// The frames of an encoder with their caps.
fn encoded(encoder: &str) -> (gst::Caps, Vec<gst::Buffer>) {
    let running = Running::play(&format!("{encoder} ! appsink name=out sync=false"));
    let sink = running
        .element("out")
        .downcast::<gst_app::AppSink>()
        .expect("an appsink");
    let samples: Vec<_> = std::iter::from_fn(|| sink.pull_sample().ok()).collect();
    let caps = samples[0].caps_owned().expect("caps");
    (
        caps,
        samples
            .iter()
            .filter_map(|sample| sample.buffer_owned())
            .collect(),
    )
}

/// A publisher that is fed by hand, and the one who watches it.
struct Fed {
    source: gst_app::AppSrc,
    publisher: Running,
    viewer: Viewer,
}

impl Fed {
    fn start(relay: &Relay, caps: &gst::Caps) -> Self {
        let broadcast = unique_broadcast("fed");
        let viewer = Viewer::start(&relay.url(), &broadcast);
        let publisher = Running::launch(&format!(
            "appsrc name=in format=time ! moq.sink_0 {} sync=false",
            moqsink(&relay.url(), &broadcast)
        ));
        let source = publisher
            .element("in")
            .downcast::<gst_app::AppSrc>()
            .expect("an appsrc");
        source.set_caps(Some(caps));
        publisher.start();
        Self {
            source,
            publisher,
            viewer,
        }
    }

    fn push(&self, buffer: gst::Buffer) {
        self.source.push_buffer(buffer).expect("the sink takes it");
    }

    /// Ends the stream and returns all that was seen.
    fn end(self) -> Seen {
        self.source.end_of_stream().expect("the sink takes the end");
        self.publisher.wait_eos();
        self.viewer.wait("the end is seen", DEADLINE, |seen| {
            seen.broadcasts_ended == 1
        })
    }
}

/// The group lengths of a track.
fn groups(seen: &Seen, track: &str) -> Vec<usize> {
    seen.tracks[track].values().map(Vec::len).collect()
}

#[test]
fn flags_that_lie_do_not_cut_groups() {
    init();
    let relay = Relay::start().expect("the relay starts");
    for row in &ROWS {
        let (caps, frames) = encoded(&format!(
            "videotestsrc num-buffers=8 ! video/x-raw,format={},{SIZE} ! {}",
            row.format,
            row.encoder.replace("-dist=8", "-dist=4")
        ));
        let fed = Fed::start(&relay, &caps);
        for mut frame in frames {
            let marked = frame.flags().contains(gst::BufferFlags::DELTA_UNIT);
            let frame_ref = frame.make_mut();
            match marked {
                true => frame_ref.unset_flags(gst::BufferFlags::DELTA_UNIT),
                false => frame_ref.set_flags(gst::BufferFlags::DELTA_UNIT),
            }
            fed.push(frame);
        }
        assert_eq!(groups(&fed.end(), "video"), [4, 4], "{}", row.encoder);
    }
}

#[test]
fn a_keyframe_of_another_size_changes_the_entry_of_its_track() {
    init();
    let relay = Relay::start().expect("the relay starts");
    for row in &ROWS {
        let encoded = |size: &str| {
            encoded(&format!(
                "videotestsrc num-buffers=3 ! video/x-raw,format={},{size},framerate=30/1 ! {}",
                row.format, row.encoder
            ))
        };
        let (caps, small) = encoded("width=160,height=120");
        let (_, large) = encoded("width=320,height=180");
        let fed = Fed::start(&relay, &caps);
        let push = |frames: Vec<gst::Buffer>, start: u64| {
            for (mut frame, time) in frames.into_iter().zip(start..) {
                let frame_ref = frame.make_mut();
                frame_ref.set_pts(gst::ClockTime::from_mseconds(33 * time));
                frame_ref.set_dts(frame_ref.pts());
                fed.push(frame);
            }
        };
        push(small, 0);
        fed.viewer
            .wait("the first track is seen", DEADLINE, |seen| {
                seen.frames("video").len() == 3
            });
        push(large, 3);
        let seen = fed.end();
        assert_eq!(groups(&seen, "video"), [3, 3], "{}", row.encoder);
        let sizes: Vec<_> = seen
            .catalogs
            .iter()
            .filter_map(|catalog| catalog.video.renditions.get("video"))
            .map(|entry| (entry.coded_width, entry.coded_height))
            .collect();
        let sizes = BTreeSet::from_iter(sizes);
        let both = [(Some(160), Some(120)), (Some(320), Some(180))];
        assert_eq!(sizes, BTreeSet::from(both), "{}", row.encoder);
    }
}

#[test]
fn what_nobody_can_decode_is_dropped_and_the_rest_goes_on() {
    init();
    let relay = Relay::start().expect("the relay starts");
    for row in &ROWS {
        let (caps, frames) = encoded(&format!(
            "videotestsrc num-buffers=8 ! video/x-raw,format={},{SIZE} ! {}",
            row.format,
            row.encoder.replace("-dist=8", "-dist=4")
        ));
        let fed = Fed::start(&relay, &caps);
        for (index, frame) in frames.iter().enumerate() {
            let mut frame = frame.copy_deep().expect("a copy");
            if index == 1 {
                // One byte of the second frame is left, of which nothing can be read.
                frame.make_mut().set_size(1);
                let mut bytes = frame.make_mut().map_writable().expect("it maps");
                bytes[0] = 0x32;
            }
            fed.push(frame);
        }
        let warned = wait_message_that(&fed.publisher.bus(), DEADLINE, |message| {
            message.type_() == gst::MessageType::Warning
                && describe(message).contains("damaged or cut short")
        });
        assert!(warned.is_some(), "{}: a warning says why", row.encoder);
        assert_eq!(groups(&fed.end(), "video"), [1, 4], "{}", row.encoder);
    }
}
