// SPDX-License-Identifier: MIT
//! Playing behind the live edge: `start-offset`, seeks, and how the pads keep step.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use gst::{ClockTime, prelude::*};

use crate::common::{
    Delays, Packets, Path, Proxy, Relay, Running, Sample, init, ladder,
    media::{finite_aac, live_aac, moqsink, moqsrc},
    median,
    pipeline::{DEADLINE, latency, wait_pad, wait_told, wait_until},
    unique_broadcast,
};

const MEDIA: [&str; 2] = ["video", "audio"];

/// Live H.264 of noise, of which no two frames are the same, with a keyframe each second.
fn live_video() -> &'static str {
    "videotestsrc is-live=true pattern=snow ! video/x-raw,width=160,height=120,framerate=25/1 ! \
     x264enc speed-preset=ultrafast tune=zerolatency key-int-max=25 option-string=scenecut=0 \
     bitrate=400 ! video/x-h264,profile=main ! h264parse"
}

/// A live broadcast, of which `moqsink` keeps what `properties` say.
struct Broadcast {
    publisher: Running,
    name: String,
    delays: [Delays; 2],
}

impl Broadcast {
    fn start(relay: &Relay, properties: &str) -> Self {
        init();
        let name = unique_broadcast("rewind");
        let publisher = Running::launch(&format!(
            "{} ! moq.sink_0 {} ! moq.sink_1 {} {properties}",
            live_video(),
            live_aac(),
            moqsink(&relay.url(), &name),
        ));
        let delays = [Delays::new(), Delays::new()];
        for (delays, pad) in delays.iter().zip(["sink_0", "sink_1"]) {
            delays.capture(&wait_pad(&publisher.element("moq"), pad, DEADLINE));
        }
        publisher.start();
        Self {
            publisher,
            name,
            delays,
        }
    }

    /// Waits until it is this old.
    fn wait_age(&self, age: Duration) {
        wait_until("the broadcast has become so old", DEADLINE, || {
            let position = self.publisher.element("moq").static_pad("sink_0");
            let segment = position.and_then(|_| self.publisher.current_running_time());
            segment.is_some_and(|running| running > ClockTime::try_from(age).expect("a time"))
        });
    }

    /// A player of its video and audio.
    fn player(&self, relay: &Relay, properties: &str) -> Player {
        self.player_at(&relay.url(), properties)
    }

    fn player_at(&self, url: &str, properties: &str) -> Player {
        let pipeline = Running::launch(&format!(
            "{} {properties} \
             moq.video_0 ! queue ! fakesink name=video sync=true signal-handoffs=true \
             moq.audio_0 ! queue ! fakesink name=audio sync=true signal-handoffs=true",
            moqsrc(url, &self.name)
        ));
        let jumps = Arc::new(Mutex::new(Vec::new()));
        for (delays, media) in self.delays.iter().zip(MEDIA) {
            delays.render(&pipeline.element(media));
        }
        let (delays, seen) = (self.delays.clone(), jumps.clone());
        pipeline.element("moq").connect_pad_added(move |_, pad| {
            let place = usize::from(pad.name().starts_with("audio"));
            delays[place].receive(pad);
            let seen = seen.clone();
            pad.add_probe(
                gst::PadProbeType::EVENT_DOWNSTREAM | gst::PadProbeType::EVENT_FLUSH,
                move |pad, info| {
                    if let Some(event) = info.event() {
                        let jump = (pad.name().to_string(), event.type_(), event.seqnum());
                        seen.lock().expect("no panic").push(jump);
                    }
                    gst::PadProbeReturn::Ok
                },
            );
        });
        pipeline.start();
        Player {
            pipeline,
            delays: self.delays.clone(),
            events: jumps,
        }
    }
}

struct Player {
    pipeline: Running,
    delays: [Delays; 2],
    events: Arc<Mutex<Vec<(String, gst::EventType, gst::Seqnum)>>>,
}

impl Player {
    /// How much is shown after it was captured, in ms: video and audio.
    fn wait_delays(&self, claim: &str, least: usize) -> [f64; 2] {
        for delays in &self.delays {
            delays.take_samples();
        }
        let mut samples: [Vec<Sample>; 2] = [Vec::new(), Vec::new()];
        wait_until(claim, DEADLINE, || {
            for (samples, delays) in samples.iter_mut().zip(&self.delays) {
                samples.extend(delays.take_samples());
            }
            samples.iter().all(|samples| samples.len() >= least)
        });
        samples.map(|samples| {
            let delays = samples.iter().skip(least / 4).map(Sample::mapped_delay);
            median(delays).expect("samples")
        })
    }

    /// The answer to a SEEKING query.
    fn seekable(&self) -> Option<(ClockTime, ClockTime)> {
        let mut query = gst::query::Seeking::new(gst::Format::Time);
        assert!(self.pipeline.element("moq").query(&mut query));
        let (seekable, start, end) = query.result();
        let time = |value| match value {
            gst::GenericFormattedValue::Time(time) => time,
            other => panic!("{other:?}"),
        };
        seekable.then(|| (time(start).expect("a start"), time(end).expect("an end")))
    }

    fn position(&self) -> ClockTime {
        let position = self.pipeline.element("video").query_position::<ClockTime>();
        position.expect("the sink has a position")
    }

    /// Sends a SEEK into the pipeline, as applications do, and waits for what it makes the pads push.
    fn seek(&self, position: ClockTime) {
        self.events.lock().expect("no panic").clear();
        let event = gst::event::Seek::builder(
            1.0,
            gst::SeekFlags::FLUSH,
            gst::SeekType::Set,
            position,
            gst::SeekType::None,
            ClockTime::NONE,
        );
        let seqnum = gst::Seqnum::next();
        assert!(self.pipeline.send_event(event.seqnum(seqnum).build()));
        wait_until(
            "each pad is flushed and has a new segment",
            DEADLINE,
            || {
                let events = self.events.lock().expect("no panic");
                ["video_0", "audio_0"].iter().all(|pad| {
                    let of_pad = events
                        .iter()
                        .filter(|(name, _, number)| name == pad && *number == seqnum);
                    let types: Vec<_> = of_pad.map(|(_, event, _)| *event).collect();
                    types.starts_with(&[
                        gst::EventType::FlushStart,
                        gst::EventType::FlushStop,
                        gst::EventType::Segment,
                    ])
                })
            },
        );
    }
}

/// So much later than live, and by what a slow machine takes to find the groups.
fn assert_behind(delays: [f64; 2], expected: f64, claim: &str) {
    let [video, audio] = delays;
    let behind = expected - 300.0..expected + 1500.0;
    assert!(behind.contains(&video), "{claim}: {delays:?}");
    assert!((video - audio).abs() < 20.0, "in step, {claim}: {delays:?}");
}

#[test]
fn eight_seconds_behind_in_step_on_both_pads() {
    let relay = Relay::start().expect("the relay starts");
    let broadcast = Broadcast::start(&relay, "cache-time=20000000000");
    let player = broadcast.player(&relay, "");
    player.wait_delays("it plays live", 30);
    let (_, live, _) = latency(&player.pipeline);
    drop(player);
    broadcast.wait_age(Duration::from_secs(10));
    let player = broadcast.player(&relay, "start-offset=8000");
    let told = wait_told(&player.pipeline.bus(), "moq-rewound", |_| true);
    assert_eq!(told.get("limited"), Ok(false), "{told}");
    let delays = player.wait_delays("it plays", 100);
    assert_behind(delays, 8000.0, "at the start");
    let distance = ClockTime::absdiff(latency(&player.pipeline).1, live);
    assert!(
        distance < ClockTime::from_mseconds(30),
        "the distance is no latency: {distance}"
    );
    let (oldest, newest) = player.seekable().expect("it is seekable");
    let position = player.position();
    assert!(oldest < position && position + ClockTime::from_seconds(7) < newest);
}

#[test]
fn what_is_not_kept_any_more_begins_with_the_oldest_that_there_is() {
    let relay = Relay::start().expect("the relay starts");
    let broadcast = Broadcast::start(&relay, "cache-time=20000000000");
    broadcast.wait_age(Duration::from_secs(4));
    // A day is the most that can be asked for.
    let player = broadcast.player(&relay, "start-offset=86400000");
    let told = wait_told(&player.pipeline.bus(), "moq-rewound", |_| true);
    assert_eq!(told.get("limited"), Ok(true), "{told}");
    let [video, audio] = player.wait_delays("it plays", 50);
    assert!(
        video > 3000.0 && (video - audio).abs() < 20.0,
        "{video} {audio}"
    );
}

#[test]
fn a_seek_goes_back_three_times_and_to_the_live_edge_again() {
    let relay = Relay::start().expect("the relay starts");
    let broadcast = Broadcast::start(&relay, "cache-time=20000000000");
    broadcast.wait_age(Duration::from_secs(8));
    let player = broadcast.player(&relay, "");
    // The group that is under way is caught up with first.
    player.wait_delays("it plays", 30);
    let live = player.wait_delays("it plays live", 30);
    assert_behind(live, 0.0, "live");
    wait_until("it is seekable", DEADLINE, || player.seekable().is_some());
    for distance in [2000, 5000, 3000] {
        let (oldest, newest) = player.seekable().expect("it is seekable");
        let target = newest.saturating_sub(ClockTime::from_mseconds(distance));
        assert!(oldest < target, "{oldest} {target}");
        player.seek(target);
        let delays = player.wait_delays("it goes on", 40);
        assert_behind(delays, distance as f64, "after a seek");
    }
    player.seek(player.seekable().expect("it is seekable").1);
    player.wait_delays("it goes on", 30);
    let delays = player.wait_delays("it is live again", 40);
    assert_behind(delays, 0.0, "live again");
}

/// Plays what has ended from its beginning to its end, and once more from a seek.
fn plays_as_a_file(source: &str) {
    let player = Running::launch(&format!(
        "{source} moq.video_0 ! queue ! fakesink name=video sync=true \
         moq.audio_0 ! queue ! fakesink name=audio sync=true"
    ));
    let moq = player.element("moq");
    let video = Packets::of_pad(&moq, "video_0");
    let audio = Packets::of_pad(&moq, "audio_0");
    player.start();
    player.wait_eos();
    let video = video.so_far();
    assert_eq!(video.len(), FILE_FRAMES as usize, "each frame once");
    assert!(audio.so_far().len() >= 140, "{}", audio.so_far().len());
    let times: Vec<_> = video
        .iter()
        .filter_map(|packet| packet.running_time)
        .collect();
    let last = ClockTime::from_mseconds(40 * u64::from(FILE_FRAMES - 1));
    let span = *times.last().expect("frames") - times[0];
    assert!(span.absdiff(last) < ClockTime::from_mseconds(5), "{span}");
    let duration = moq.query_duration::<ClockTime>().expect("a duration");
    assert!(
        duration.absdiff(last) < ClockTime::from_mseconds(250),
        "{duration}"
    );
}

/// What the broadcast that ends has: 4 s.
const FILE_FRAMES: u32 = 100;

fn publish_file(target: &str) -> Running {
    let publisher = Running::play(&format!(
        "videotestsrc num-buffers={FILE_FRAMES} ! video/x-raw,width=160,height=120,framerate=25/1 ! \
         x264enc speed-preset=ultrafast tune=zerolatency key-int-max=25 option-string=scenecut=0 ! \
         video/x-h264,profile=main ! h264parse ! moq.sink_0 {} ! moq.sink_1 \
         {target} sync=false cache-time=60000000000",
        finite_aac(187),
    ));
    publisher.wait_eos();
    publisher
}

#[test]
fn a_broadcast_that_has_ended_plays_as_a_file_from_a_relay() {
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("file");
    let _publisher = publish_file(&moqsink(&relay.url(), &broadcast));
    plays_as_a_file(&moqsrc(&relay.url(), &broadcast));
}

#[test]
fn a_broadcast_that_has_ended_plays_as_a_file_from_a_listener() {
    let port = Relay::free_port().expect("a port");
    let broadcast = unique_broadcast("file");
    let _publisher = publish_file(&format!(
        "moqsink name=moq mode=listen bind=127.0.0.1:{port} broadcast={broadcast}"
    ));
    plays_as_a_file(&moqsrc(&Relay::url_at(port), &broadcast));
}

#[test]
fn what_is_behind_plays_on_to_the_end_of_the_broadcast() {
    let relay = Relay::start().expect("the relay starts");
    let broadcast = Broadcast::start(&relay, "cache-time=20000000000");
    broadcast.wait_age(Duration::from_secs(5));
    let player = broadcast.player(&relay, "start-offset=4000");
    player.wait_delays("it plays", 20);
    let source = Packets::of(
        &broadcast
            .publisher
            .element("moq")
            .static_pad("sink_0")
            .expect("a pad"),
    );
    let shown = Packets::of(
        &player
            .pipeline
            .element("moq")
            .static_pad("video_0")
            .expect("a pad"),
    );
    source.wait_count(10, DEADLINE);
    broadcast.publisher.end();
    let last = source.so_far().pop().expect("frames").bytes;
    player.pipeline.wait_eos();
    let shown = shown.so_far().pop().expect("frames").bytes;
    assert!(shown == last, "the last frame is shown");
}

#[test]
fn a_seek_while_paused_and_one_before_the_first_frame_are_done_in_playing() {
    let relay = Relay::start().expect("the relay starts");
    let broadcast = Broadcast::start(&relay, "cache-time=20000000000");
    broadcast.wait_age(Duration::from_secs(6));
    let player = broadcast.player(&relay, "");
    assert!(player.seekable().is_none(), "nothing is known yet");
    let early = gst::event::Seek::new(
        1.0,
        gst::SeekFlags::FLUSH,
        gst::SeekType::Set,
        ClockTime::SECOND,
        gst::SeekType::None,
        ClockTime::NONE,
    );
    assert!(!player.pipeline.element("moq").send_event(early));
    player.wait_delays("it plays", 30);
    wait_until("it is seekable", DEADLINE, || player.seekable().is_some());
    player
        .pipeline
        .set_state(gst::State::Paused)
        .expect("it pauses");
    let (_, newest) = player.seekable().expect("it is seekable");
    player.seek(newest - ClockTime::from_seconds(4));
    player.pipeline.start();
    let [video, audio] = player.wait_delays("it goes on", 40);
    assert!(
        video > 3900.0 && (video - audio).abs() < 20.0,
        "{video} {audio}"
    );
    // Behind the live edge a pause adds to the distance.
    player
        .pipeline
        .set_state(gst::State::Paused)
        .expect("it pauses");
    let before = player.position();
    player.pipeline.start();
    player.wait_delays("it goes on", 40);
    let gone_on = player.position() - before;
    assert!(gone_on < ClockTime::from_seconds(6), "{gone_on}");
    for flags in [
        gst::SeekFlags::empty(),
        gst::SeekFlags::FLUSH | gst::SeekFlags::SEGMENT,
    ] {
        assert!(
            player
                .pipeline
                .element("moq")
                .seek_simple(flags, newest)
                .is_err()
        );
    }
}

#[test]
fn a_version_without_fetch_plays_live() {
    let relay = Relay::start().expect("the relay starts");
    let broadcast = Broadcast::start(&relay, "cache-time=20000000000");
    broadcast.wait_age(Duration::from_secs(4));
    let player = broadcast.player(&relay, "start-offset=3000 moq-versions=moq-lite-04");
    let told = wait_told(&player.pipeline.bus(), "moq-rewound", |_| true);
    assert_eq!(told.get("limited"), Ok(true), "{told}");
    player.wait_delays("it plays", 30);
    let delays = player.wait_delays("it plays live", 30);
    assert_behind(delays, 0.0, "live");
}

#[test]
fn versions_of_the_ietf_rewind_too() {
    let relay = Relay::start().expect("the relay starts");
    let broadcast = Broadcast::start(&relay, "cache-time=20000000000");
    broadcast.wait_age(Duration::from_secs(5));
    for version in ["moq-transport-14", "moq-transport-17"] {
        let versions = format!("start-offset=3000 moq-versions={version}");
        let player = broadcast.player(&relay, &versions);
        let delays = player.wait_delays("it plays", 50);
        assert_behind(delays, 3000.0, version);
    }
}

#[test]
fn it_goes_on_at_the_same_distance_after_the_connection_was_lost() {
    let relay = Relay::start().expect("the relay starts");
    let proxy = Proxy::start(relay.addr(), Path::default()).expect("the proxy starts");
    let broadcast = Broadcast::start(&relay, "cache-time=30000000000");
    broadcast.wait_age(Duration::from_secs(4));
    let player = broadcast.player_at(
        &proxy.url(),
        "start-offset=3000 quic-idle-timeout=1000 quic-keep-alive=200",
    );
    let before = player.wait_delays("it plays", 40);
    assert_behind(before, 3000.0, "before");
    proxy.cut();
    let bus = player.pipeline.bus();
    wait_told(&bus, "moq-disconnected", |_| true);
    proxy.restore();
    wait_told(&bus, "moq-connected", |_| true);
    wait_told(&bus, "moq-rewound", |_| true);
    let after = player.wait_delays("it goes on", 60);
    assert!(
        after[0] > 2800.0 && after[0] < 3700.0,
        "{before:?} {after:?}"
    );
    assert!((after[0] - after[1]).abs() < 20.0, "in step: {after:?}");
}

#[test]
fn a_pad_that_is_linked_later_is_in_step() {
    let relay = Relay::start().expect("the relay starts");
    let broadcast = Broadcast::start(&relay, "cache-time=20000000000");
    broadcast.wait_age(Duration::from_secs(4));
    let player = broadcast.player(&relay, "start-offset=3000");
    let audio = wait_pad(&player.pipeline.element("moq"), "audio_0", DEADLINE);
    player.wait_delays("both play", 20);
    let peer = audio.peer().expect("it is linked");
    audio.unlink(&peer).expect("it is unlinked");
    let alone = player.pipeline.element("video");
    let count = Packets::into_sink(&alone);
    count.wait_count(25, DEADLINE);
    audio.link(&peer).expect("it is linked again");
    let delays = player.wait_delays("both play again", 40);
    assert_behind(delays, 3000.0, "linked again");
}

#[test]
fn renditions_change_behind_the_live_edge_without_a_seam() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("rewind-ladder");
    let kept = format!("{broadcast} cache-time=20000000000");
    let encoder = "tune=zerolatency";
    let _publisher = ladder::publish(&relay.url(), &kept, [15; 3], encoder, "");
    let live = ladder::watch(&relay.url(), &broadcast, "rendition-policy=best");
    live.1.wait("six seconds are published", DEADLINE, |shown| {
        shown.last().is_some_and(|shown| shown.number > 180)
    });
    let (watcher, pictures, _packets) = ladder::watch(
        &relay.url(),
        &broadcast,
        "rendition-policy=adaptive latency=300 start-offset=5000",
    );
    let shown = pictures.wait("it plays", DEADLINE, |shown| shown.len() >= 45);
    let ahead = live.1.so_far().last().expect("a picture").number - shown[44].number;
    assert!((145..=190).contains(&ahead), "{ahead} pictures behind");
    drop(live);
    let moq = watcher.element("moq");
    for (name, width) in [("cam-sd", 160), ("cam-md", 320), ("cam-hd", 640)] {
        moq.set_property("video-rendition", name);
        let count = pictures.so_far().len();
        pictures.wait("the rendition is shown", DEADLINE, |shown| {
            shown.len() > count && shown.last().is_some_and(|shown| shown.width == width)
        });
    }
    moq.set_property("video-rendition", None::<String>);
    let count = pictures.so_far().len();
    let shown = pictures.wait("it plays on", DEADLINE, |shown| shown.len() > count + 60);
    assert_eq!(
        shown.last().map(|shown| shown.width),
        Some(640),
        "nothing came late"
    );
    for pair in shown.windows(2) {
        assert_eq!(
            pair[1].number,
            pair[0].number + 1,
            "each picture once, in order"
        );
    }
}

#[test]
fn a_relay_serves_nothing_of_a_publisher_that_has_left() {
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("file");
    let publisher = publish_file(&moqsink(&relay.url(), &broadcast));
    plays_as_a_file(&moqsrc(&relay.url(), &broadcast));
    drop(publisher);
    let player = Running::play(&format!(
        "{} fakesrc num-buffers=0 ! fakesink async=false",
        moqsrc(&relay.url(), &broadcast)
    ));
    let missing = wait_told(&player.bus(), "moq-broadcast-missing", |_| true);
    assert_eq!(missing.get("broadcast"), Ok(broadcast));
}
