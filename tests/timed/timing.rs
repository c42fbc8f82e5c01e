// SPDX-License-Identifier: MIT
//! Video and audio are shown together, at the delay that was asked for, whenever one joins.

use gst::prelude::*;

use crate::common::{
    self, Delays, Packets, Relay, Running, Sample,
    media::{Video, live_aac, moqsink, moqsrc},
    median,
    pipeline::{DEADLINE, latency, wait_pad},
    probe::skews,
    unique_broadcast,
};

/// Frames until a subscriber has settled, and frames to judge it by; 30 fps.
const SETTLING: usize = 15;
const JUDGED: usize = 75;
/// How far the delay may be from what the LATENCY query said, and video from audio.
const DELAY_TOLERANCE: f64 = 20.0;
const SKEW_TOLERANCE: f64 = 5.0;

/// A live publisher of video and audio.
struct Publisher {
    pipeline: Running,
    broadcast: String,
    video: Packets,
}

impl Publisher {
    /// `delay` is put between the video encoder and the sink, as a launch line's element.
    fn start(relay: &Relay, delay: &str) -> Self {
        let broadcast = unique_broadcast("timing");
        let pipeline = Running::launch(&format!(
            "{} ! {delay} ! moq.sink_0 {} ! moq.sink_1 {}",
            Video::default().live(),
            live_aac(),
            moqsink(&relay.url(), &broadcast)
        ));
        let video = Packets::of(&sink_pad(&pipeline, "sink_0"));
        pipeline.start();
        Self {
            pipeline,
            broadcast,
            video,
        }
    }

    /// Waits until `frames` frames of a group have passed after its keyframe.
    fn wait_into_group(&self, frames: usize) {
        let gop = Video::default().gop as usize;
        let passed = self.video.count();
        let groups = passed.div_ceil(gop) + 1;
        self.video.wait_count(groups * gop + frames, DEADLINE);
    }
}

fn sink_pad(pipeline: &Running, name: &str) -> gst::Pad {
    let pad = pipeline.element("moq").static_pad(name);
    pad.expect("the launch line requested the pad")
}

/// What a subscriber showed.
struct Shown {
    /// What the LATENCY query told at the end, in ms.
    latency: f64,
    video: Vec<Sample>,
    audio: Vec<Sample>,
    first_frame: f64,
}

/// Joins now, `frames` into a group, and shows video and audio at clock-synced sinks.
fn watch(relay: &Relay, publisher: &Publisher, frames: usize) -> Shown {
    let subscriber = Running::launch(&format!(
        "{} moq.video_0 ! queue ! avdec_h264 ! fakesink name=video sync=true signal-handoffs=true \
         moq.audio_0 ! queue ! avdec_aac ! fakesink name=audio sync=true signal-handoffs=true",
        moqsrc(&relay.url(), &publisher.broadcast)
    ));
    let delays = [Delays::new(), Delays::new()];
    for (delays, (sink, output)) in delays
        .iter()
        .zip([("sink_0", "video"), ("sink_1", "audio")])
    {
        delays.capture(&sink_pad(&publisher.pipeline, sink));
        delays.render(&subscriber.element(output));
    }
    let [video, audio] = &delays;
    let shown = Packets::into_sink(&subscriber.element("video"));
    let source = subscriber.element("moq");
    let begun = common::probe::now();
    subscriber.start();
    video.receive(&wait_pad(&source, "video_0", DEADLINE));
    audio.receive(&wait_pad(&source, "audio_0", DEADLINE));
    shown.wait_count(frames + SETTLING + JUDGED, DEADLINE);
    let (live, least, _) = latency(&subscriber);
    assert!(live);
    let rendered = |samples: &[Sample]| samples.first().map(|sample| sample.rendered);
    let first = rendered(&video.samples()).expect("frames were shown");
    Shown {
        latency: least.nseconds() as f64 / 1e6,
        first_frame: (first - begun).nseconds() as f64 / 1e6,
        video: video.samples(),
        audio: audio.samples(),
    }
}

impl Shown {
    /// Video and audio from half a second after the first picture on.
    fn settled(&self) -> [Vec<Sample>; 2] {
        let start = self.video[0].rendered + gst::ClockTime::from_mseconds(500);
        [&self.video, &self.audio].map(|samples| {
            let settled = samples.iter().filter(|sample| sample.rendered > start);
            settled.copied().collect()
        })
    }
}

/// The machine holds up a frame now and then; a wrong timeline makes all of them late.
fn judge_lateness(latency: f64, samples: &[Sample], what: &str) {
    let late = samples.iter().filter(|sample| sample.is_late(latency));
    let (late, all) = (late.count(), samples.len());
    assert!(late * 10 <= all, "{late} of {all} are late, {what}");
}

/// What a subscriber has to show, whenever it joins.
fn judge(shown: &Shown, join: &str) {
    let [video, audio] = shown.settled();
    assert!(
        video.len() > JUDGED / 2 && audio.len() > JUDGED / 2,
        "{join}: enough is shown"
    );
    let delay = |samples: &[Sample]| median(samples.iter().map(Sample::delay)).expect("samples");
    let skew = median(skews(&video, &audio).into_iter().map(|(_, skew)| skew)).expect("skews");
    println!(
        "{join}: first video frame after {:.0} ms, latency {:.0} ms, delay of video {:.1} ms, of audio {:.1} ms, skew {skew:.2} ms",
        shown.first_frame,
        shown.latency,
        delay(&video),
        delay(&audio),
    );
    for (kind, samples) in [("video", &video), ("audio", &audio)] {
        let off = delay(samples) - shown.latency;
        assert!(
            off.abs() <= DELAY_TOLERANCE,
            "{join}: {kind} is {off:.1} ms off the latency"
        );
        judge_lateness(shown.latency, samples, &format!("{join}: {kind}"));
    }
    assert!(skew.abs() <= SKEW_TOLERANCE, "{join}: skew of {skew:.2} ms");
}

#[test]
fn whenever_one_joins_the_delay_is_the_latency_and_nothing_is_skewed() {
    common::init();
    let relay = Relay::start().expect("the relay starts");
    let publisher = Publisher::start(&relay, "identity");
    // 0.2, 0.9, 1.5 and 1.9 s into a group of 2 s.
    for frames in [6, 27, 45, 57] {
        publisher.wait_into_group(frames);
        let shown = watch(&relay, &publisher, frames);
        judge(
            &shown,
            &format!("{:.1} s into the group", frames as f64 / 30.0),
        );
    }
}

#[test]
fn a_picture_encoder_that_is_275_ms_slower_is_waited_for() {
    common::init();
    let relay = Relay::start().expect("the relay starts");
    let slow =
        "queue max-size-time=0 max-size-bytes=0 max-size-buffers=0 min-threshold-time=275000000";
    let publisher = Publisher::start(&relay, slow);
    publisher.wait_into_group(27);
    let shown = watch(&relay, &publisher, 27);
    assert!(shown.latency > 340.0, "{} ms of latency", shown.latency);
    for (kind, samples) in ["video", "audio"].iter().zip(shown.settled()) {
        judge_lateness(shown.latency, &samples, kind);
    }
    let skew = median(
        skews(&shown.video, &shown.audio)
            .into_iter()
            .map(|(_, skew)| skew),
    );
    assert!(
        skew.is_some_and(|skew| skew.abs() <= SKEW_TOLERANCE),
        "{skew:?}"
    );
}
