// SPDX-License-Identifier: MIT
//! One picture in several qualities, of which one is shown: chosen, changed without a seam, and counted.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use gst::prelude::*;
use moq_net::{group, track};

use crate::common::{
    Packets, Publisher, Relay, Running,
    barcode::{self, Pictures, Shown},
    init,
    ladder::{LADDER, publish, watch},
    media::{moqsink, moqsrc},
    pipeline::{
        DEADLINE, describe, wait_message, wait_message_that, wait_pad, wait_told, wait_until,
    },
    publisher, unique_broadcast,
};

/// Claims that each picture is shown once, in order, from the first on.
pub(crate) fn assert_seamless(shown: &[Shown]) {
    for (place, pair) in shown.windows(2).enumerate() {
        assert_eq!(
            pair[1].number,
            pair[0].number + 1,
            "after {place} pictures: {:?}",
            &shown[place.saturating_sub(3)..(place + 4).min(shown.len())]
        );
        let step = pair[1]
            .pts
            .zip(pair[0].pts)
            .map(|(one, before)| one.saturating_sub(before));
        let step = step.expect("pictures have a time").mseconds();
        // The first ones may be caught up with.
        assert!(
            place < 60 || (25..42).contains(&step),
            "{step} ms after {place} pictures"
        );
    }
}

/// Changes the rendition at random as often as `times`, while each picture is to be shown once.
fn change_at_random(gops: [u32; 3], encoder: &str, times: usize) {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("switch");
    let _publisher = publish(&relay.url(), &broadcast, gops, encoder, "");
    let (watcher, pictures, packets) = watch(
        &relay.url(),
        &broadcast,
        "rendition-policy=adaptive video-rendition=cam-sd latency=1000",
    );
    let source = watcher.element("moq");
    let pad = wait_pad(&source, "video_0", DEADLINE);
    pictures.wait("pictures come", DEADLINE, |shown| shown.len() > 60);
    let mut current = 2;
    for _ in 0..times {
        current = (current + fastrand::usize(1..3)) % 3;
        let (name, width, ..) = LADDER[current];
        source.set_property("video-rendition", name);
        let last = |shown: &[Shown]| shown.last().map(|shown| shown.width);
        pictures.wait(&format!("{name} is shown"), DEADLINE, |shown| {
            last(shown) == Some(width)
        });
        assert_eq!(pad.property::<String>("target-rendition"), name);
    }
    let shown = pictures.so_far();
    assert_seamless(&shown);
    assert_eq!(source.num_src_pads(), 1);
    let disconts = packets.so_far();
    let disconts = disconts
        .iter()
        .skip(1)
        .filter(|packet| packet.flags.contains(gst::BufferFlags::DISCONT));
    assert_eq!(disconts.count(), 0);
    let segments = packets.events();
    let segments = segments
        .iter()
        .filter(|event| event.type_() == gst::EventType::StreamStart);
    assert!(segments.count() <= 1, "it is one stream");
    // The property has been told before it changed.
    wait_until("the track is told", DEADLINE, || {
        pad.property::<String>("track") == LADDER[current].0
    });
}

#[test]
fn renditions_change_at_random_and_each_picture_is_shown_once() {
    change_at_random([15, 15, 15], "tune=zerolatency", 40);
}

#[test]
fn so_they_do_with_groups_that_are_not_aligned() {
    change_at_random([13, 17, 11], "tune=zerolatency", 30);
}

#[test]
fn so_they_do_with_b_frames() {
    change_at_random(
        [15, 15, 15],
        "bframes=2 b-adapt=false rc-lookahead=0 sync-lookahead=0",
        30,
    );
}

#[test]
fn what_is_not_shown_costs_nothing() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("unshown");
    let publisher = publish(&relay.url(), &broadcast, [15; 3], "tune=zerolatency", "");
    let (watcher, pictures, packets) = watch(
        &relay.url(),
        &broadcast,
        "rendition-policy=best max-width=200",
    );
    let shown = pictures.wait("pictures come", DEADLINE, |shown| shown.len() > 120);
    assert_seamless(&shown);
    assert!(shown.iter().all(|shown| shown.width == 160));
    let source = watcher.element("moq");
    let pad = wait_pad(&source, "video_0", DEADLINE);
    let read: u64 = pad
        .property::<gst::Structure>("stats")
        .get("bytes")
        .expect("bytes");
    let given: usize = packets
        .so_far()
        .iter()
        .map(|packet| packet.bytes.len())
        .sum();
    assert!(read <= given as u64 + 20_000, "{read} read, {given} given");
    for (place, expected) in [(0, false), (1, false), (2, true)] {
        let pad = wait_pad(
            &publisher.element("moq"),
            &format!("sink_{place}"),
            DEADLINE,
        );
        assert_eq!(pad.property::<bool>("subscribed"), expected, "{place}");
    }
}

/// How loud each block of sound is that passes a pad of raw audio, from 0 to 1.
fn loudness(pad: &gst::Pad) -> Arc<Mutex<Vec<f64>>> {
    let blocks = Arc::new(Mutex::new(Vec::new()));
    let heard = blocks.clone();
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let caps = pad.current_caps().expect("caps come first");
        let audio = gst_audio::AudioInfo::from_caps(&caps).expect("raw audio");
        if let Some(buffer) = info.buffer() {
            let map = buffer.map_readable().expect("readable");
            let loudest = match audio.format() {
                gst_audio::AUDIO_FORMAT_S16 => {
                    let samples = map
                        .chunks_exact(2)
                        .map(|two| i16::from_ne_bytes([two[0], two[1]]));
                    samples
                        .map(|sample| f64::from(sample) / 32768.0)
                        .fold(0.0, |most, one| one.abs().max(most))
                }
                gst_audio::AUDIO_FORMAT_F32 => {
                    let samples = map
                        .chunks_exact(4)
                        .map(|x| f32::from_ne_bytes([x[0], x[1], x[2], x[3]]));
                    samples
                        .map(f64::from)
                        .fold(0.0, |most, one| one.abs().max(most))
                }
                other => panic!("{other:?}"),
            };
            heard.lock().expect("no panic").push(loudest);
        }
        gst::PadProbeReturn::Ok
    });
    blocks
}

/// A live pipeline with a numbered picture and two sounds, the first of which is silence.
fn publish_two_languages(url: &str, broadcast: &str) -> Running {
    let sound = |wave: &str, place: u32| {
        format!(
            "audiotestsrc is-live=true {wave} samplesperbuffer=960 ! audio/x-raw,rate=48000,channels=2 ! \
             opusenc ! moq.sink_{place} "
        )
    };
    let publisher = Running::launch(&format!(
        "videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=320,height=180,framerate=30/1 ! \
         identity name=numbered ! x264enc speed-preset=ultrafast threads=1 tune=zerolatency key-int-max=15 ! \
         video/x-h264,profile=main ! h264parse ! moq.sink_0 {}{} {} \
         sink_1::track=english sink_2::track=german",
        sound("wave=silence", 1),
        sound("wave=sine volume=0.5", 2),
        moqsink(url, broadcast)
    ));
    barcode::write(
        &publisher
            .element("numbered")
            .static_pad("src")
            .expect("a pad"),
    );
    publisher.start();
    publisher
}

/// A playbin3 that plays the broadcast, and its source, once it has one.
fn player(relay: &Relay, broadcast: &str) -> (Running, mpsc::Receiver<gst::Element>) {
    let player = Running::launch(&format!(
        "playbin3 uri=moq+{}#{broadcast} flags=0x3 \
         video-sink=\"fakesink name=video sync=true\" audio-sink=\"fakesink name=audio sync=true\"",
        relay.url()
    ));
    let (sources, source) = mpsc::channel();
    player.connect("source-setup", false, move |values| {
        let source = values.get(1)?.get::<gst::Element>().ok()?;
        source.set_property("tls-disable-verify", true);
        source.set_property("latency", 500_u32);
        sources.send(source).expect("the test waits");
        None
    });
    (player, source)
}

/// The first collection of so many streams that is told.
fn wait_collection(player: &Running, count: usize) -> gst::StreamCollection {
    let told = wait_message_that(&player.bus(), DEADLINE, |message| match message.view() {
        gst::MessageView::StreamCollection(told) => told.stream_collection().len() == count,
        _ => false,
    });
    let told = told.expect("the streams are told");
    let gst::MessageView::StreamCollection(collection) = told.view() else {
        panic!("{told:?}")
    };
    collection.stream_collection()
}

/// The ids of the picture and of the sound in this language, of the collection that the player tells.
fn streams(collection: &gst::StreamCollection, language: &str) -> Vec<String> {
    let ids = collection.iter().filter_map(|stream| stream.stream_id());
    let ids = ids.filter(|id| id.contains("/video/") || id.ends_with(language));
    let ids: Vec<String> = ids.map(Into::into).collect();
    assert_eq!(ids.len(), 2, "{ids:?}");
    ids
}

#[test]
fn playbin3_changes_the_language_and_the_picture_does_not_flinch() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("languages");
    let publisher = publish_two_languages(&relay.url(), &broadcast);
    let (player, source) = player(&relay, &broadcast);
    let sink = |name: &str| {
        player
            .property::<gst::Element>(name)
            .static_pad("sink")
            .expect("a pad")
    };
    let (pictures, sound) = (
        Pictures::of(&sink("video-sink")),
        loudness(&sink("audio-sink")),
    );
    player.start();
    let source = source
        .recv_timeout(DEADLINE)
        .expect("playbin3 has a source");
    let collection = wait_collection(&player, 3);
    pictures.wait("pictures come", DEADLINE, |shown| shown.len() > 60);
    let begin = pictures.so_far().len();
    assert_eq!(
        source.num_src_pads(),
        2,
        "one for the picture, one for one sound"
    );
    assert!(
        sound
            .lock()
            .expect("no panic")
            .iter()
            .all(|loud| *loud < 0.01)
    );
    let moq = publisher.element("moq");
    let subscribed = |pad: &str| {
        moq.static_pad(pad)
            .expect(pad)
            .property::<bool>("subscribed")
    };
    for (language, is_loud) in [("german", true), ("english", false), ("german", true)] {
        let ids = streams(&collection, language);
        let ids = ids.iter().map(String::as_str);
        assert!(player.send_event(gst::event::SelectStreams::new(ids)));
        wait_until(&format!("{language} is heard"), DEADLINE, || {
            sound
                .lock()
                .expect("no panic")
                .last()
                .is_some_and(|loud| (*loud > 0.1) == is_loud)
        });
        wait_until("nobody asks for the other one", DEADLINE, || {
            (subscribed("sink_1"), subscribed("sink_2")) == (!is_loud, is_loud)
        });
    }
    let after = pictures.so_far().len();
    pictures.wait("pictures go on", DEADLINE, |shown| shown.len() > after + 30);
    assert_seamless(&pictures.so_far()[begin..]);
}

/// A catalog with these renditions of one picture.
fn catalog(heights: &[(&str, u32)]) -> String {
    let entries = heights.iter().map(|(name, height)| {
        let entry = serde_json::json!({"codec": "vp8", "container": {"kind": "legacy"},
            "codedWidth": height * 16 / 9, "codedHeight": height, "bitrate": height * 3000});
        ((*name).to_owned(), entry)
    });
    let entries: serde_json::Map<String, serde_json::Value> = entries.collect();
    serde_json::json!({"video": {"renditions": entries}}).to_string()
}

/// Frames that are written to some tracks at once, each with its number, in groups of five.
struct Writer {
    tracks: Vec<(track::Producer, Option<group::Producer>)>,
    number: u64,
}

impl Writer {
    fn new(tracks: Vec<track::Producer>) -> Self {
        let tracks = tracks.into_iter().map(|track| (track, None)).collect();
        Self { tracks, number: 0 }
    }

    /// The next frame, in its time.
    fn write(&mut self) {
        for (track, open) in &mut self.tracks {
            if self.number.is_multiple_of(5) {
                if let Some(group) = open.take() {
                    group.finish().expect("the group ends");
                }
                *open = Some(track.append_group().expect("the track takes a group"));
            }
            if let Some(group) = open {
                let payload = format!("{} {}", self.number, track.name());
                publisher::add(group, self.number * 20_000, payload.as_bytes());
            }
        }
        self.number += 1;
        thread::sleep(Duration::from_millis(20));
    }

    fn write_until(&mut self, claim: &str, mut reached: impl FnMut() -> bool) {
        let end = Instant::now() + DEADLINE;
        while !reached() {
            assert!(Instant::now() < end, "{claim}");
            self.write();
        }
    }
}

/// The numbers that came, with the tracks that they are of.
fn numbers(packets: &Packets) -> Vec<(u64, String)> {
    let packets = packets.so_far().into_iter();
    let texts = packets.map(|packet| String::from_utf8(packet.bytes).expect("text"));
    let parse = |text: String| {
        let (number, track) = text.split_once(' ').expect("two words");
        (number.parse().expect("a number"), track.to_owned())
    };
    texts.map(parse).collect()
}

/// A publisher of these renditions, and a subscriber with these settings.
fn synthetic(
    name: &str,
    heights: &[(&str, u32)],
    settings: &str,
) -> (Relay, Publisher, Running, Packets) {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast(name);
    let publisher = Publisher::start(&relay.url(), &broadcast, &catalog(heights));
    let subscriber = Running::launch(&format!(
        "{} {settings} moq.video_0 ! fakesink sync=false async=false",
        moqsrc(&relay.url(), &broadcast)
    ));
    let packets = Packets::of_pad(&subscriber.element("moq"), "video_0");
    subscriber.start();
    (relay, publisher, subscriber, packets)
}

#[test]
fn a_track_that_never_gives_a_frame_is_left_within_a_second() {
    let heights = [("v-hd", 720), ("v-sd", 360)];
    let (_relay, publisher, subscriber, packets) =
        synthetic("silent", &heights, "rendition-policy=adaptive");
    let [hd, sd] = ["v-hd", "v-sd"].map(|name| publisher.track(name));
    publisher.wait_used(&hd);
    let begin = Instant::now();
    let mut writer = Writer::new(vec![sd.clone()]);
    writer.write_until("the other one is asked for", || sd.is_used());
    let took = begin.elapsed();
    assert!(took < Duration::from_millis(1300), "{took:?}");
    writer.write_until("frames come", || packets.count() > 20);
    let told = wait_told(&subscriber.bus(), "moq-rendition-changed", |_| true);
    assert_eq!(
        (told.get("track"), told.get("reason")),
        (Ok("v-sd"), Ok("silent"))
    );
}

/// Has `choose` asked about each change; what it was asked.
fn ask(
    source: &gst::Element,
    choose: impl Fn(usize) -> Option<&'static str> + Send + Sync + 'static,
) -> mpsc::Receiver<gst::Structure> {
    let (told, asked) = mpsc::channel();
    let count = AtomicUsize::new(0);
    source.connect("choose-rendition", false, move |values| {
        let pad = values.get(1)?.get::<gst::Pad>().expect("the pad");
        assert_eq!(pad.name(), "video_0");
        told.send(values.get(2)?.get().expect("a structure"))
            .expect("the test listens");
        Some(choose(count.fetch_add(1, Ordering::Relaxed)).to_value())
    });
    asked
}

fn names(question: &gst::Structure) -> [&str; 3] {
    ["current", "proposed", "reason"].map(|field| question.get(field).expect(field))
}

#[test]
fn a_handler_names_another_rendition_than_the_proposed_one() {
    let heights = [("v-hd", 720), ("v-md", 480), ("v-sd", 360)];
    let (_relay, publisher, subscriber, packets) =
        synthetic("named", &heights, "rendition-policy=adaptive");
    let asked = ask(&subscriber.element("moq"), |_| Some("v-sd"));
    let [hd, md, sd] = ["v-hd", "v-md", "v-sd"].map(|name| publisher.track(name));
    publisher.wait_used(&hd);
    let mut writer = Writer::new(vec![md, sd]);
    writer.write_until("frames come", || packets.count() > 20);
    assert!(numbers(&packets).iter().all(|(_, track)| track == "v-sd"));
    let question = asked.recv().expect("it was asked");
    assert_eq!(names(&question), ["v-hd", "v-md", "silent"]);
}

#[test]
fn a_handler_keeps_the_rendition_until_it_agrees() {
    let heights = [("v-hd", 1080), ("v-sd", 360)];
    let (_relay, publisher, subscriber, packets) =
        synthetic("kept", &heights, "rendition-policy=adaptive latency=300");
    let asked = ask(&subscriber.element("moq"), |count| {
        (count == 0).then_some("v-sd")
    });
    let mut writer = Writer::new(["v-hd", "v-sd"].map(|name| publisher.track(name)).to_vec());
    let mut questions = Vec::new();
    let mut is_asked = || {
        questions.extend(asked.try_iter());
        questions.len()
    };
    writer.write_until("it is asked", || is_asked() == 1);
    let before = packets.count();
    writer.write_until("frames come", || packets.count() > before + 50);
    assert!(numbers(&packets).iter().all(|(_, track)| track == "v-sd"));
    writer.write_until("it is asked again", || is_asked() == 2);
    let is_last = |name: &str| {
        numbers(&packets)
            .last()
            .is_some_and(|(_, track)| track == name)
    };
    writer.write_until("it is given", || is_last("v-hd"));
    for question in &questions {
        assert_eq!(names(question), ["v-sd", "v-hd", "room"]);
    }
    for pair in numbers(&packets).windows(2) {
        assert_eq!(pair[1].0, pair[0].0 + 1, "{pair:?}");
    }
}

#[test]
fn a_catalog_that_drops_the_rendition_within_a_group_is_survived() {
    let heights = [("v-hd", 720), ("v-sd", 360)];
    let settings = "rendition-policy=adaptive latency=300";
    let (_relay, mut publisher, subscriber, packets) = synthetic("dropped", &heights, settings);
    let [hd, sd] = ["v-hd", "v-sd"].map(|name| publisher.track(name));
    publisher.wait_used(&hd);
    let mut writer = Writer::new(vec![hd, sd]);
    writer.write_until("frames come", || packets.count() > 20);
    while writer.number % 5 != 3 {
        writer.write();
    }
    publisher.update(&catalog(&heights[1..]));
    // Its group breaks off, and its track.
    let dropped = writer.number;
    drop(writer.tracks.remove(0));
    let is_last = |name: &str| {
        numbers(&packets)
            .last()
            .is_some_and(|(_, track)| track == name)
    };
    writer.write_until("the other one goes on", || {
        is_last("v-sd") && packets.count() > 40
    });
    let numbers = numbers(&packets);
    let pairs = || numbers.windows(2);
    let change = pairs()
        .position(|pair| pair[0].1 != pair[1].1)
        .expect("a change");
    let (last, first) = (numbers[change].0, numbers[change + 1].0);
    assert!(
        first % 5 == 0 && first > last && last < dropped && first < dropped + 30,
        "{last}, {first}"
    );
    assert_eq!(
        pairs().filter(|pair| pair[1].0 != pair[0].0 + 1).count(),
        usize::from(first != last + 1)
    );
    let events = packets.events();
    assert!(
        events
            .iter()
            .all(|event| event.type_() != gst::EventType::Eos)
    );
    let told = wait_told(&subscriber.bus(), "moq-rendition-changed", |_| true);
    assert_eq!(
        (told.get("track"), told.get("reason")),
        (Ok("v-sd"), Ok("catalog"))
    );
}

#[test]
fn a_rendition_that_does_not_exist_is_a_warning_and_the_policy_decides() {
    let heights = [("v-hd", 720), ("v-sd", 360)];
    let settings = "rendition-policy=best video-rendition=v-4k";
    let (_relay, publisher, subscriber, packets) = synthetic("missing", &heights, settings);
    let warning = wait_message(&subscriber.bus(), &[gst::MessageType::Warning], DEADLINE);
    assert!(
        describe(&warning).contains("v-4k"),
        "{}",
        describe(&warning)
    );
    let [hd, sd] = ["v-hd", "v-sd"].map(|name| publisher.track(name));
    let mut writer = Writer::new(vec![hd, sd]);
    writer.write_until("frames come", || packets.count() > 20);
    assert!(numbers(&packets).iter().all(|(_, track)| track == "v-hd"));
    let source = subscriber.element("moq");
    source.set_property("max-height", 400_u32);
    let is_last = |name: &str| {
        numbers(&packets)
            .last()
            .is_some_and(|(_, track)| track == name)
    };
    writer.write_until("the limit holds", || is_last("v-sd"));
    for pair in numbers(&packets).windows(2) {
        assert_eq!(pair[1].0, pair[0].0 + 1, "{pair:?}");
    }
    let pad = source.static_pad("video_0").expect("the pad");
    let mut query = gst::query::Selectable::new();
    assert!(pad.query(&mut query) && query.selectable());
}

#[test]
fn with_a_pad_for_each_rendition_nothing_is_selected() {
    let heights = [("v-hd", 720), ("v-sd", 360)];
    let (_relay, _publisher, subscriber, _packets) =
        synthetic("all", &heights, "video-rendition=v-sd");
    let source = subscriber.element("moq");
    let pads = ["video_0", "video_1"].map(|name| wait_pad(&source, name, DEADLINE));
    let mut query = gst::query::Selectable::new();
    assert!(pads[0].query(&mut query) && !query.selectable());
    assert!(!pads[0].send_event(gst::event::SelectStreams::new(["any"])));
}

#[test]
fn a_group_that_the_catalog_names_has_renditions_of_any_codec() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("codecs");
    let entry = |codec: &str, bitrate: u64| {
        serde_json::json!({"codec": codec, "container": {"kind": "legacy"}, "bitrate": bitrate,
            "codedWidth": 320, "codedHeight": 180})
    };
    let catalog = serde_json::json!({
        "video": {"renditions": {"new": entry("vp09.00.10.08", 900_000), "old": entry("vp8", 800_000)}},
        "gstGroup": {"new": "picture", "old": "picture"},
    });
    let publisher = Publisher::start(&relay.url(), &broadcast, &catalog.to_string());
    let subscriber = Running::launch(&format!(
        "{} rendition-policy=adaptive video-rendition=old latency=300 moq.video_0 ! fakesink sync=false async=false",
        moqsrc(&relay.url(), &broadcast)
    ));
    let packets = Packets::of_pad(&subscriber.element("moq"), "video_0");
    subscriber.start();
    let mut writer = Writer::new(["new", "old"].map(|name| publisher.track(name)).to_vec());
    let source = subscriber.element("moq");
    let is_last = |name: &str| {
        numbers(&packets)
            .last()
            .is_some_and(|(_, track)| track == name)
    };
    for name in ["old", "new", "old", "new"] {
        source.set_property("video-rendition", name);
        writer.write_until("it is given", || is_last(name));
    }
    for pair in numbers(&packets).windows(2) {
        assert_eq!(pair[1].0, pair[0].0 + 1, "{pair:?}");
    }
    let formats = packets
        .events()
        .into_iter()
        .filter_map(|event| match event.view() {
            gst::EventView::Caps(caps) => Some(caps.caps().structure(0)?.name().to_string()),
            _ => None,
        });
    // The first caps were there before the probe.
    let formats: Vec<String> = formats.collect();
    let changes = ["video/x-vp9", "video/x-vp8", "video/x-vp9"];
    assert!(
        formats.ends_with(&changes.map(str::to_owned)),
        "{formats:?}"
    );
    let disconts = packets.so_far().into_iter().skip(1);
    assert_eq!(
        disconts
            .filter(|packet| packet.flags.contains(gst::BufferFlags::DISCONT))
            .count(),
        0
    );
}
