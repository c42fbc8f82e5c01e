// SPDX-License-Identifier: MIT
//! The pads of `moqsrc` follow the catalog, and each lives by itself.

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use gst::prelude::*;

use crate::common::{
    Packets, Publisher, Relay, Running, init,
    media::{moqsrc, publish_live},
    pipeline::{DEADLINE, describe, latency, wait_message_that, wait_pad},
    publisher, unique_broadcast, wait_message,
};

/// A catalog entry of Opus, whose packets can be anything.
const OPUS: &str =
    r#"{"codec":"opus","sampleRate":48000,"numberOfChannels":2,"container":{"kind":"legacy"}}"#;
/// An Opus packet of 20 ms of silence.
const SILENCE: [u8; 3] = [0xf8, 0xff, 0xfe];

#[test]
fn pads_have_the_same_names_in_every_run() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("names");
    let _publisher = Running::play(&publish_live(&relay.url(), &broadcast));
    let subscriber = Running::launch(&format!(
        "{} moq.video_0 ! fakesink moq.audio_0 ! fakesink",
        moqsrc(&relay.url(), &broadcast)
    ));
    let source = subscriber.element("moq");
    for _ in 0..2 {
        subscriber.start();
        let video = wait_pad(&source, "video_0", DEADLINE);
        wait_pad(&source, "audio_0", DEADLINE);
        assert_eq!(video.property::<String>("track"), "video");
        assert_eq!(source.num_src_pads(), 2);
        assert!(subscriber.set_state(gst::State::Ready).is_ok());
        assert_eq!(source.num_src_pads(), 0);
    }
}

#[test]
fn streams_are_told_as_one_group_and_one_collection() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("streams");
    let _publisher = Running::play(&publish_live(&relay.url(), &broadcast));
    let subscriber = Running::play(
        &moqsrc(&relay.url(), &broadcast)
            .replace("moqsrc", "fakesrc num-buffers=0 ! fakesink moqsrc"),
    );
    let collection = wait_message(
        &subscriber.bus(),
        &[gst::MessageType::StreamCollection],
        DEADLINE,
    );
    let gst::MessageView::StreamCollection(collection) = collection.view() else {
        unreachable!("only collections were asked for")
    };
    let collection = collection.stream_collection();
    assert_eq!(collection.len(), 2);
    let source = subscriber.element("moq");
    let starts = ["video_0", "audio_0"].map(|name| {
        let pad = wait_pad(&source, name, DEADLINE);
        let caps = pad.current_caps().expect("caps before any data");
        assert!(caps.is_fixed());
        pad.sticky_event::<gst::event::StreamStart>(0)
            .expect("a stream start")
    });
    assert_eq!(starts[0].group_id(), starts[1].group_id());
    for start in &starts {
        let id = start.stream_id();
        assert!(id.ends_with("video_0") || id.ends_with("audio_0"), "{id}");
        assert!(
            collection
                .iter()
                .any(|stream| stream.stream_id().as_deref() == Some(id))
        );
    }
}

#[test]
fn a_pad_that_is_linked_later_gets_its_track_then() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let name = unique_broadcast("unlinked");
    let catalog = format!(r#"{{"audio":{{"renditions":{{"a":{OPUS},"b":{OPUS}}}}}}}"#);
    let publisher = Publisher::start(&relay.url(), &name, &catalog);
    let [linked, unlinked] = ["a", "b"].map(|name| publisher.track(name));
    let subscriber = Running::play(&format!(
        "{} moq.audio_0 ! fakesink name=out sync=false",
        moqsrc(&relay.url(), &name)
    ));
    publisher.wait_used(&linked);
    publisher::write(&linked, 0, &SILENCE);
    Packets::into_sink(&subscriber.element("out")).wait_count(1, DEADLINE);
    assert!(!unlinked.is_used(), "nobody asks for what is not linked");
    let pad = wait_pad(&subscriber.element("moq"), "audio_1", DEADLINE);
    let late = link_late(&subscriber, &pad);
    publisher.wait_used(&unlinked);
    publisher::write(&unlinked, 20_000, &SILENCE);
    late.wait_count(1, DEADLINE);
}

/// Links a pad of a pipeline that plays already.
fn link_late(player: &Running, pad: &gst::Pad) -> Packets {
    let sink = gst::ElementFactory::make("fakesink")
        .property("sync", false)
        .build()
        .expect("a fakesink");
    player.add(&sink).expect("the sink is added");
    sink.sync_state_with_parent().expect("the sink plays");
    let packets = Packets::into_sink(&sink);
    let sink_pad = sink.static_pad("sink").expect("a pad");
    pad.link(&sink_pad).expect("the pads link");
    packets
}

#[test]
fn a_pad_whose_track_went_and_came_back_in_another_format_gives_it_when_it_is_linked() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let name = unique_broadcast("came-back");
    let catalog = |b: &str| format!(r#"{{"audio":{{"renditions":{{"a":{OPUS}{b}}}}}}}"#);
    let stereo = catalog(&format!(r#","b":{OPUS}"#));
    let mono = OPUS.replace(r#""numberOfChannels":2"#, r#""numberOfChannels":1"#);
    let mut publisher = Publisher::start(&relay.url(), &name, &stereo);
    let subscriber = Running::play(&format!(
        "{} moq.audio_0 ! fakesink sync=false",
        moqsrc(&relay.url(), &name)
    ));
    let pad = wait_pad(&subscriber.element("moq"), "audio_1", DEADLINE);
    let collection = |streams: usize| {
        let found = wait_message_that(&subscriber.bus(), DEADLINE, |message| {
            matches!(message.view(), gst::MessageView::StreamCollection(message)
                if message.stream_collection().len() == streams)
        });
        assert!(found.is_some(), "{streams} streams are reported");
    };
    collection(2);
    publisher.update(&catalog(""));
    collection(1);
    publisher.update(&stereo);
    collection(2);
    publisher.update(&catalog(&format!(r#","b":{mono}"#)));
    let changed = wait_message_that(&subscriber.bus(), DEADLINE, |message| {
        let told = message.structure();
        told.is_some_and(|told| {
            let caps = told.get::<gst::Caps>("caps");
            let channels = caps.map(|caps| caps.structure(0).map(|s| s.get::<i32>("channels")));
            told.name() == "moq-rendition-changed" && channels == Ok(Some(Ok(1)))
        })
    });
    assert!(changed.is_some(), "the format has changed");
    let late = link_late(&subscriber, &pad);
    let track = publisher.track("b");
    publisher.wait_used(&track);
    publisher::write(&track, 20_000, &SILENCE);
    late.wait_count(1, DEADLINE);
}

#[test]
fn a_format_that_is_stated_within_a_group_comes_with_the_next_keyframe() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let name = unique_broadcast("format");
    let catalog = |width: u32| {
        format!(
            r#"{{"video":{{"renditions":{{"v":{{"codec":"vp8","codedWidth":{width},"codedHeight":120,"container":{{"kind":"legacy"}}}}}}}}}}"#
        )
    };
    let mut publisher = Publisher::start(&relay.url(), &name, &catalog(160));
    let track = publisher.track("v");
    let subscriber = Running::launch(&format!(
        "{} moq.video_0 ! fakesink name=out sync=false",
        moqsrc(&relay.url(), &name)
    ));
    let packets = Packets::into_sink(&subscriber.element("out"));
    subscriber.start();
    publisher.wait_used(&track);
    let mut group = track.append_group().expect("the track takes a group");
    publisher::add(&mut group, 0, &[0x10; 20]);
    packets.wait_count(1, DEADLINE);
    publisher.update(&catalog(320));
    assert!(
        wait_message_that(&subscriber.bus(), DEADLINE, |message| {
            let told = message.structure();
            told.is_some_and(|told| told.name() == "moq-rendition-changed")
        })
        .is_some(),
        "the change is reported"
    );
    publisher::add(&mut group, 33_000, &[0x11; 20]);
    packets.wait_count(2, DEADLINE);
    let widths = || -> Vec<i32> {
        let events = packets.events();
        let caps = events.iter().filter_map(|event| match event.view() {
            gst::EventView::Caps(caps) => caps.caps().structure(0)?.get("width").ok(),
            _ => None,
        });
        caps.collect()
    };
    assert_eq!(widths(), [160], "the group goes on as it was");
    group.finish().expect("the group ends");
    publisher::write(&track, 66_000, &[0x10; 20]);
    packets.wait_count(3, DEADLINE);
    assert_eq!(widths(), [160, 320]);
}

#[test]
fn a_bad_catalog_entry_is_left_out_with_a_warning_and_harms_no_other() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let name = unique_broadcast("bad");
    let bad = [
        r#"{"codec":"avc1.zz","container":{"kind":"legacy"}}"#,
        r#"{"codec":"avc1.64001f","description":"00","codedWidth":0,"container":{"kind":"legacy"}}"#,
        r#"{"codec":"quantum","container":{"kind":"legacy"}}"#,
        r#"{"codec":"avc1.64001f","container":{"kind":"carrier-pigeon"}}"#,
        r#"{"codec":"avc1.64001f","container":{"kind":"cmaf","init":"AAAACG1vb3Y="}}"#,
        "17",
    ];
    let entries: Vec<String> = bad
        .iter()
        .enumerate()
        .map(|(i, entry)| format!(r#""bad-{i}":{entry}"#))
        .collect();
    let catalog = format!(
        r#"{{"video":{{"renditions":{{{}}}}},"audio":{{"renditions":{{"good":{OPUS},"mute":{{"codec":"opus"}}}}}},"text":5}}"#,
        entries.join(",")
    );
    let mut publisher = Publisher::start(&relay.url(), &name, "no JSON");
    let track = publisher.track("good");
    let subscriber = Running::play(&format!(
        "{} moq.audio_0 ! fakesink name=out sync=false",
        moqsrc(&relay.url(), &name)
    ));
    let warning = |hint: &str| {
        let found = wait_message_that(&subscriber.bus(), DEADLINE, |message| {
            message.type_() == gst::MessageType::Warning && describe(message).contains(hint)
        });
        assert!(found.is_some(), "a warning says {hint}");
    };
    warning("cannot be read");
    publisher.update(&catalog);
    for i in 0..bad.len() {
        warning(&format!("bad-{i}"));
    }
    warning("mute");
    publisher.wait_used(&track);
    publisher::write(&track, 0, &SILENCE);
    Packets::into_sink(&subscriber.element("out")).wait_count(1, DEADLINE);
    assert_eq!(subscriber.element("moq").num_src_pads(), 1);
}

#[test]
fn a_track_that_is_delisted_ends_and_goes_on_when_it_is_listed_again() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let name = unique_broadcast("delisted");
    let both = format!(r#"{{"audio":{{"renditions":{{"a":{OPUS},"b":{OPUS}}}}}}}"#);
    let one = format!(r#"{{"audio":{{"renditions":{{"b":{OPUS}}}}}}}"#);
    let mut publisher = Publisher::start(&relay.url(), &name, &both);
    let tracks = ["a", "b"].map(|name| publisher.track(name));
    let subscriber = Running::play(&format!(
        "{} moq.audio_0 ! fakesink name=a sync=false moq.audio_1 ! fakesink name=b sync=false",
        moqsrc(&relay.url(), &name)
    ));
    let packets = ["a", "b"].map(|name| Packets::into_sink(&subscriber.element(name)));
    for (track, packets) in tracks.iter().zip(&packets) {
        publisher.wait_used(track);
        publisher::write(track, 0, &SILENCE);
        packets.wait_count(1, DEADLINE);
    }
    publisher.update(&one);
    packets[0].wait_eos(DEADLINE);
    publisher.update(&both);
    publisher.wait_used(&tracks[0]);
    publisher::write(&tracks[0], 900_000, &SILENCE);
    packets[0].wait_count(2, DEADLINE);
    let tags = wait_pad(&subscriber.element("moq"), "audio_0", DEADLINE)
        .sticky_event::<gst::event::Tag>(0)
        .expect("a new stream has its tags");
    assert!(
        tags.tag().get::<gst::tags::AudioCodec>().is_some(),
        "{tags:?}"
    );
    publisher::write(&tracks[1], 900_000, &SILENCE);
    packets[1].wait_count(2, DEADLINE);
    assert_eq!(subscriber.element("moq").num_src_pads(), 2);
}

#[test]
fn a_broadcast_that_ends_on_purpose_is_eos_also_on_a_silent_pad() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let name = unique_broadcast("end");
    let catalog = format!(r#"{{"audio":{{"renditions":{{"a":{OPUS},"b":{OPUS}}}}}}}"#);
    let publisher = Publisher::start(&relay.url(), &name, &catalog);
    let tracks = ["a", "b"].map(|name| publisher.track(name));
    let subscriber = Running::play(&format!(
        "{} moq.audio_0 ! fakesink name=a sync=false moq.audio_1 ! fakesink sync=false",
        moqsrc(&relay.url(), &name)
    ));
    publisher.wait_used(&tracks[0]);
    publisher::write(&tracks[0], 0, &SILENCE);
    Packets::into_sink(&subscriber.element("a")).wait_count(1, DEADLINE);
    for track in &tracks {
        track.finish().expect("the track ends");
    }
    publisher.finish();
    subscriber.wait_eos();
}

#[test]
fn a_silent_track_holds_up_no_pipeline() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let name = unique_broadcast("silent");
    let catalog = format!(r#"{{"audio":{{"renditions":{{"a":{OPUS},"b":{OPUS}}}}}}}"#);
    let publisher = Publisher::start(&relay.url(), &name, &catalog);
    let [spoken, _silent] = ["a", "b"].map(|name| publisher.track(name));
    let subscriber = Running::play(&format!(
        "{} moq.audio_0 ! fakesink name=a sync=true moq.audio_1 ! fakesink sync=true",
        moqsrc(&relay.url(), &name)
    ));
    publisher.wait_used(&spoken);
    publisher::write(&spoken, 0, &SILENCE);
    Packets::into_sink(&subscriber.element("a")).wait_count(1, DEADLINE);
    let (result, state, _) = subscriber.state(gst::ClockTime::from_seconds(20));
    assert_eq!((result.is_ok(), state), (true, gst::State::Playing));
}

/// What passes the pad, by name, each with the thread that pushed it.
fn record(pad: &gst::Pad) -> mpsc::Receiver<(String, thread::ThreadId)> {
    let (passed, passes) = mpsc::channel();
    let types = gst::PadProbeType::BUFFER
        | gst::PadProbeType::EVENT_DOWNSTREAM
        | gst::PadProbeType::EVENT_FLUSH;
    pad.add_probe(types, move |_, info| {
        let name = match &info.data {
            Some(gst::PadProbeData::Event(event)) => {
                let name = event
                    .structure()
                    .map(|structure| structure.name().to_string());
                let custom = name.filter(|_| event.type_().to_string().contains("custom"));
                custom.unwrap_or_else(|| event.type_().to_string())
            }
            _ => "buffer".to_owned(),
        };
        // After the test nobody listens any more.
        let _ = passed.send((name, thread::current().id()));
        gst::PadProbeReturn::Ok
    });
    passes
}

/// Waits for what passes a pad by this name, and returns the names before it.
fn pass(
    passes: &mpsc::Receiver<(String, thread::ThreadId)>,
    name: &str,
) -> (Vec<String>, thread::ThreadId) {
    let mut before = Vec::new();
    loop {
        let next = passes.recv_timeout(DEADLINE);
        let (passed, thread) = next.unwrap_or_else(|_| panic!("{name} passes after {before:?}"));
        if passed == name {
            return (before, thread);
        }
        before.push(passed);
    }
}

/// A publisher of two tracks, and a player of both with what passes its sinks.
struct Two {
    _relay: Relay,
    _publisher: Publisher,
    tracks: [moq_net::track::Producer; 2],
    player: Running,
    passes: [mpsc::Receiver<(String, thread::ThreadId)>; 2],
}

impl Two {
    fn play(name: &str) -> Self {
        init();
        let relay = Relay::start().expect("the relay starts");
        let name = unique_broadcast(name);
        let catalog = format!(r#"{{"audio":{{"renditions":{{"a":{OPUS},"b":{OPUS}}}}}}}"#);
        let publisher = Publisher::start(&relay.url(), &name, &catalog);
        let tracks = ["a", "b"].map(|name| publisher.track(name));
        let player = Running::launch(&format!(
            "{} moq.audio_0 ! fakesink name=a sync=false moq.audio_1 ! fakesink name=b sync=false",
            moqsrc(&relay.url(), &name)
        ));
        let passes = ["a", "b"].map(|name| {
            let pad = player.element(name).static_pad("sink");
            record(&pad.expect("a sink has a pad"))
        });
        player.start();
        for track in &tracks {
            publisher.wait_used(track);
        }
        Self {
            _relay: relay,
            _publisher: publisher,
            tracks,
            player,
            passes,
        }
    }
}

#[test]
fn a_first_frame_comes_before_any_gap_and_a_silent_track_gets_its_gap_after_the_latency() {
    let begun = Instant::now();
    let two = Two::play("first");
    publisher::write(&two.tracks[0], 0, &SILENCE);
    let (before, _) = pass(&two.passes[0], "buffer");
    assert!(!before.iter().any(|name| name == "gap"), "{before:?}");
    assert!(before.iter().any(|name| name == "caps"), "{before:?}");
    let (before, _) = pass(&two.passes[1], "gap");
    let latency = Duration::from_millis(100);
    assert!(begun.elapsed() >= latency, "a gap while frames may come");
    assert!(!before.iter().any(|name| name == "buffer"), "{before:?}");
}

#[test]
fn events_of_the_application_reach_every_pad_in_order_from_its_thread() {
    let two = Two::play("events");
    let source = two.player.element("moq");
    let mut threads = Vec::new();
    for (track, passes) in two.tracks.iter().zip(&two.passes) {
        publisher::write(track, 0, &SILENCE);
        threads.push(pass(passes, "buffer").1);
    }
    let custom = |name: &str| gst::Structure::new_empty(name);
    let mut tags = gst::TagList::new();
    let title: &str = "a title";
    (tags.get_mut().expect("a list of its own"))
        .add::<gst::tags::Title>(&title, gst::TagMergeMode::Append);
    for event in [
        gst::event::CustomDownstream::new(custom("first")),
        gst::event::Tag::new(tags),
        gst::event::CustomBoth::new(custom("last")),
    ] {
        assert!(source.send_event(event));
    }
    let others = |names: Vec<String>| -> Vec<String> {
        names.into_iter().filter(|name| name != "gap").collect()
    };
    for (passes, thread) in two.passes.iter().zip(&threads) {
        for name in ["first", "tag", "last"] {
            let (between, pushed_by) = pass(passes, name);
            assert_eq!(others(between), [""; 0], "before {name}");
            assert_eq!(pushed_by, *thread, "{name} is serialized with the frames");
        }
    }
    assert!(source.send_event(gst::event::CustomDownstreamOob::new(custom("at-once"))));
    for passes in &two.passes {
        pass(passes, "at-once");
    }
    for refused in [
        gst::event::CustomUpstream::new(custom("up")),
        gst::event::Reconfigure::new(),
        gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new()),
        gst::event::Gap::builder(gst::ClockTime::ZERO).build(),
    ] {
        assert!(!source.send_event(refused.clone()), "{refused:?}");
    }
}

#[test]
fn a_flush_of_the_application_goes_to_every_pad_which_go_on() {
    let two = Two::play("flush");
    let source = two.player.element("moq");
    for (track, passes) in two.tracks.iter().zip(&two.passes) {
        publisher::write(track, 0, &SILENCE);
        pass(passes, "buffer");
    }
    assert!(source.send_event(gst::event::FlushStart::new()));
    for passes in &two.passes {
        pass(passes, "flush-start");
    }
    assert!(source.send_event(gst::event::FlushStop::new(true)));
    for (track, passes) in two.tracks.iter().zip(&two.passes) {
        pass(passes, "flush-stop");
        publisher::write(track, 900_000, &SILENCE);
        let (between, _) = pass(passes, "buffer");
        assert!(between.iter().any(|name| name == "segment"), "{between:?}");
    }
    let (result, state, _) = two.player.state(gst::ClockTime::from_seconds(20));
    assert_eq!((result.is_ok(), state), (true, gst::State::Playing));

    // An end that a flush takes away comes again.
    assert!(source.send_event(gst::event::Eos::new()));
    for passes in &two.passes {
        pass(passes, "eos");
    }
    assert!(source.send_event(gst::event::FlushStart::new()));
    assert!(source.send_event(gst::event::FlushStop::new(false)));
    for passes in &two.passes {
        pass(passes, "flush-stop");
        pass(passes, "eos");
    }
}

#[test]
fn a_blocked_pad_holds_up_no_other() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("blocked");
    let _publisher = Running::play(&publish_live(&relay.url(), &broadcast));
    let subscriber = Running::play(&format!(
        "{} moq.video_0 ! fakesink name=blocked sync=false async=false \
         moq.audio_0 ! fakesink name=free sync=false async=false",
        moqsrc(&relay.url(), &broadcast)
    ));
    let (release, released) = mpsc::channel::<()>();
    let blocked = subscriber.element("blocked").static_pad("sink");
    let released = std::sync::Mutex::new(released);
    blocked
        .expect("a sink has a pad")
        .add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            // Until the test ends, whose sender goes then.
            let _ = released.lock().expect("one thread at a time").recv();
            gst::PadProbeReturn::Ok
        });
    Packets::into_sink(&subscriber.element("free")).wait_count(100, DEADLINE);
    drop(release);
}

#[test]
fn the_latency_changes_while_playing() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("latency");
    let _publisher = Running::play(&publish_live(&relay.url(), &broadcast));
    let subscriber = Running::play(&format!(
        "{} moq.video_0 ! fakesink name=out sync=true",
        moqsrc(&relay.url(), &broadcast)
    ));
    Packets::into_sink(&subscriber.element("out")).wait_count(10, DEADLINE);
    while subscriber.bus().pop().is_some() {}
    subscriber.element("moq").set_property("latency", 700_u32);
    wait_message(&subscriber.bus(), &[gst::MessageType::Latency], DEADLINE);
    let (live, least, _) = latency(&subscriber);
    assert!(
        live && least >= gst::ClockTime::from_mseconds(700),
        "{least}"
    );
}

#[test]
fn a_long_latency_loses_nothing() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("long");
    let _publisher = Running::play(&publish_live(&relay.url(), &broadcast));
    let subscriber = Running::play(&format!(
        "{} latency=4000 moq.video_0 ! fakesink name=out sync=true",
        moqsrc(&relay.url(), &broadcast)
    ));
    let packets = Packets::into_sink(&subscriber.element("out")).wait_count(240, DEADLINE);
    for pair in packets[60..].windows(2) {
        let step = pair[1].pts.zip(pair[0].pts).map(|(b, a)| b - a);
        assert!(step < Some(gst::ClockTime::from_mseconds(40)), "{step:?}");
    }
}
