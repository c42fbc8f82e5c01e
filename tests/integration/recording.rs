// SPDX-License-Identifier: MIT
//! What is recorded from `moqsrc` is a file that others can play.

use std::path::{Path, PathBuf};

use crate::common::{
    Packet, Packets, Relay, Running, init,
    media::{Video, moqsink, moqsrc},
    pipeline::DEADLINE,
    unique_broadcast,
};

const FRAMES: usize = 120;

/// The muxers that recorders use, each with the demuxer that reads it.
///
/// qtdemux ends an MP4 file at its duration in decode order, whoever wrote it. The last frames of a
/// fragmented one, as many as B-frames in a row, are in the file and are not shown; nor are they in any
/// other if the stream was cut off between a frame and the B-frames before it.
const MUXERS: [(&str, &str); 4] = [
    ("mp4mux", "qtdemux"),
    ("mp4mux fragment-duration=500", "qtdemux"),
    ("matroskamux", "matroskademux"),
    ("mpegtsmux", "tsdemux"),
];

/// A subscriber that records one broadcast with every muxer.
struct Recorder {
    pipeline: Running,
    packets: Packets,
    files: Vec<PathBuf>,
}

impl Recorder {
    fn start(url: &str, broadcast: &str, folder: &Path) -> Self {
        let files: Vec<PathBuf> = (0..MUXERS.len())
            .map(|i| folder.join(format!("recording-{i}")))
            .collect();
        let branches: Vec<String> = MUXERS
            .iter()
            .zip(&files)
            .map(|((muxer, _), file)| {
                let file = file.display();
                format!("t. ! queue ! h264parse ! {muxer} ! filesink location=\"{file}\"")
            })
            .collect();
        let pipeline = Running::play(&format!(
            "{} moq.video_0 ! tee name=t {}",
            moqsrc(url, broadcast),
            branches.join(" ")
        ));
        let tee = pipeline.element("t");
        let packets = Packets::into_sink(&tee);
        Self {
            pipeline,
            packets,
            files,
        }
    }

    /// Checks what was received, and each file against it; `cut_off` says that it ended anywhere.
    fn judge(&self, b_frames: usize, cut_off: bool) {
        let received = self.packets.so_far();
        assert!(received[0].is_key(), "begins with a keyframe");
        for pair in received.windows(2) {
            assert!(pair[0].dts < pair[1].dts, "decode times rise");
        }
        assert!(received.iter().all(|packet| packet.dts <= packet.pts));
        for ((muxer, demuxer), file) in MUXERS.iter().zip(&self.files) {
            let pictures = play(file, demuxer);
            // How many of a tail that was cut off are shown depends on where the first DTS lies.
            let hidden = match muxer.contains("fragment") {
                _ if muxer.contains("mp4") && cut_off => 0..=b_frames,
                true => b_frames..=b_frames,
                false => 0..=0,
            };
            let missing = received.len() - pictures.len();
            assert!(
                hidden.contains(&missing),
                "{muxer}: {missing} frames missing"
            );
            for pair in pictures.windows(2) {
                let times = (pair[0].pts, pair[1].pts);
                assert!(times.0 < times.1, "{muxer}: {times:?}");
            }
            // What was caught up with is behind: the stream's own time base, but for a tail that was
            // cut off before its B-frames.
            let whole = &pictures[pictures.len() - 40..pictures.len() - 3];
            for pair in whole.windows(2) {
                let step = pair[1]
                    .pts
                    .zip(pair[0].pts)
                    .map(|(b, a)| (b - a).mseconds());
                assert!(
                    step.is_some_and(|step| (31..=36).contains(&step)),
                    "{muxer}: {step:?}"
                );
            }
        }
    }
}

/// The frames of a file with their times, as a player decodes them.
fn play(file: &Path, demuxer: &str) -> Vec<Packet> {
    let player = Running::launch(&format!(
        "filesrc location=\"{}\" ! {demuxer} ! h264parse ! avdec_h264 ! fakesink name=out sync=false",
        file.display()
    ));
    let pictures = Packets::into_sink(&player.element("out"));
    player.start();
    player.wait_eos();
    pictures.so_far()
}

/// Records a live stream from each of the given places in its groups of 2 s.
fn record_live(b_frames: u32, joins: &[usize]) {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("record");
    let video = Video {
        b_frames,
        ..Video::default()
    };
    let gop = video.gop as usize;
    let publisher = Running::play(&format!(
        "{} ! moq.sink_0 {}",
        video.live(),
        moqsink(&relay.url(), &broadcast)
    ));
    let sent = Packets::of_pad(&publisher.element("moq"), "sink_0");
    for join in joins {
        let folder = tempfile::tempdir().expect("a folder");
        let next = (sent.count().div_ceil(gop) + 1) * gop;
        sent.wait_count(next + join, DEADLINE);
        let recorder = Recorder::start(&relay.url(), &broadcast, folder.path());
        recorder.packets.wait_count(FRAMES + join, DEADLINE);
        recorder.pipeline.end();
        recorder.judge(b_frames as usize, true);
    }
}

#[test]
fn a_live_stream_is_recorded_whole_whenever_one_joins() {
    // 0.2, 0.9, 1.5 and 1.9 s into a group.
    record_live(0, &[6, 27, 45, 57]);
}

#[test]
fn a_live_stream_with_b_frames_is_recorded_whole_and_in_order() {
    record_live(2, &[3, 45]);
}

#[test]
fn a_file_with_b_frames_is_recorded_whole_and_in_order() {
    init();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("film.mp4");
    let video = Video {
        b_frames: 2,
        ..Video::default()
    };
    Running::play(&format!(
        "{} ! mp4mux ! filesink location=\"{}\"",
        video.finite(FRAMES as u32),
        file.display()
    ))
    .wait_eos();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("film");
    let recorder = Recorder::start(&relay.url(), &broadcast, folder.path());
    let publisher = Running::play(&format!(
        "filesrc location=\"{}\" ! qtdemux ! h264parse ! moq.sink_0 {}",
        file.display(),
        moqsink(&relay.url(), &broadcast)
    ));
    publisher.wait_eos();
    recorder.pipeline.wait_eos();
    assert_eq!(recorder.packets.count(), FRAMES);
    recorder.judge(2, false);
}
