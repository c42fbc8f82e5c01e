// SPDX-License-Identifier: MIT
//! What a source does whose downstream takes nothing for a while.

use gst::prelude::*;

use crate::common::{
    self, Delays, Packet, Packets, Relay, Running, init,
    media::{live_aac, moqsink, moqsrc},
    pipeline::{DEADLINE, wait_pad, wait_until},
    unique_broadcast,
};

/// Frames that are all different, with a keyframe each second.
const NOISE: &str = "videotestsrc is-live=true pattern=snow ! \
    video/x-raw,width=160,height=120,framerate=30/1 ! \
    x264enc speed-preset=ultrafast tune=zerolatency bitrate=500 key-int-max=30 \
    option-string=scenecut=0 ! video/x-h264,profile=main ! h264parse";
/// How long the video is blocked, in audio packets.
const BLOCKED: usize = 10 * 48_000 / 1024;
/// What may wait in a pad: 2 s and the latency, and the frame that makes it too much.
const QUEUE: gst::ClockTime = gst::ClockTime::from_mseconds(2100 + 100);

/// A subscriber to video and audio, and what is measured of it.
struct Scene {
    _publisher: Running,
    _subscriber: Running,
    pad: gst::Pad,
    delays: Delays,
    pictures: Packets,
    sound: Packets,
    _relay: Relay,
}

impl Scene {
    fn start() -> Self {
        init();
        let relay = Relay::start().expect("the relay starts");
        let broadcast = unique_broadcast("blocked");
        let publisher = Running::launch(&format!(
            "{NOISE} ! moq.sink_0 {} ! moq.sink_1 {}",
            live_aac(),
            moqsink(&relay.url(), &broadcast)
        ));
        let subscriber = Running::launch(&format!(
            "{} moq.video_0 ! fakesink name=video sync=false signal-handoffs=true \
             moq.audio_0 ! fakesink name=audio sync=false",
            moqsrc(&relay.url(), &broadcast)
        ));
        let delays = Delays::new();
        delays.capture(&wait_pad(&publisher.element("moq"), "sink_0", DEADLINE));
        delays.render(&subscriber.element("video"));
        let sound = Packets::into_sink(&subscriber.element("audio"));
        let pictures = Packets::into_sink(&subscriber.element("video"));
        publisher.start();
        subscriber.start();
        let pad = wait_pad(&subscriber.element("moq"), "video_0", DEADLINE);
        delays.receive(&pad);
        Self {
            _publisher: publisher,
            _subscriber: subscriber,
            pad,
            delays,
            pictures,
            sound,
            _relay: relay,
        }
    }

    /// Blocks the video for as long as [`BLOCKED`] audio packets take, which come all the same.
    fn block(&self) {
        let stuck = gst::PadProbeType::BLOCK | gst::PadProbeType::BUFFER;
        let probe = self.pad.add_probe(stuck, |_, _| gst::PadProbeReturn::Ok);
        let probe = probe.expect("a probe");
        let before = self.sound.count();
        let heard = self.sound.wait_count(before + BLOCKED, 2 * DEADLINE);
        let times: Vec<_> = heard.iter().filter_map(|packet| packet.pts).collect();
        let hole = times.windows(2).map(|pair| pair[1] - pair[0]).max();
        let longest = gst::ClockTime::from_mseconds(100);
        assert!(hole < Some(longest), "the audio has a hole of {hole:?}");
        let stats = self.statistics();
        let waiting = gst::ClockTime::from_nseconds(stats.get("queue-time").expect("a level"));
        let bounded = waiting > gst::ClockTime::SECOND && waiting <= QUEUE;
        assert!(bounded, "{stats}");
        self.delays.take_samples();
        self.pad.remove_probe(probe);
    }

    /// The first video frame after a hole of more than a second.
    fn after_the_hole(&self) -> Packet {
        let pictures = self.pictures.so_far();
        let mut pairs = pictures.windows(2);
        let hole = pairs.rfind(|pair| {
            let times = pair[1].pts.zip(pair[0].pts);
            times.is_some_and(|(next, last)| next.saturating_sub(last) > gst::ClockTime::SECOND)
        });
        hole.expect("what was dropped is missing")[1].clone()
    }

    fn statistics(&self) -> gst::Structure {
        self.pad.property("stats")
    }
}

#[test]
fn a_downstream_that_blocked_is_back_at_the_live_edge_within_a_group() {
    let scene = Scene::start();
    scene.pictures.wait_count(60, DEADLINE);
    scene.block();
    let resumed = common::probe::now();
    let live = || {
        let samples = scene.delays.samples();
        let back = samples.iter().find(|sample| sample.delay() < 200.0);
        back.copied()
    };
    wait_until("a frame of the live edge comes", DEADLINE, || {
        live().is_some()
    });
    let back = live().expect("just seen").rendered;
    let back = back.saturating_sub(resumed);
    assert!(back < gst::ClockTime::from_mseconds(1500), "after {back}");
    let stats = scene.statistics();
    for field in ["dropped-late", "groups-lost"] {
        let count: u64 = stats.get(field).expect("a count");
        assert!(count > 0, "{field} of {stats}");
    }
    let first = scene.after_the_hole();
    assert!(
        first.is_key() && first.flags.contains(gst::BufferFlags::DISCONT),
        "the live edge begins with a keyframe after DISCONT: {first:?}"
    );
}
