//! `moqsrc` keeps GStreamer's contract, whatever the network and the publisher do.

mod common;

use std::time::Duration;

use gst::prelude::*;

use common::{
    Packets, Publisher, Relay, Running, init,
    media::{Video, live_aac, live_opus, moqsink, moqsrc, publish_clip},
    pipeline::{DEADLINE, describe, wait_message_that, wait_pad, wait_property},
    publisher, unique_broadcast, wait_message, watchdog,
};

/// A catalog entry of Opus, whose packets can be anything.
const OPUS: &str =
    r#"{"codec":"opus","sampleRate":48000,"numberOfChannels":2,"container":{"kind":"legacy"}}"#;
/// An Opus packet of 20 ms of silence.
const SILENCE: [u8; 3] = [0xf8, 0xff, 0xfe];

fn live(relay: &Relay, broadcast: &str) -> Running {
    Running::play(&format!(
        "{} ! moq.sink_0 {} ! moq.sink_1 {}",
        Video::default().live(),
        live_aac(),
        moqsink(&relay.url(), broadcast)
    ))
}

fn error_of(bus: &gst::Bus) -> (gst::glib::Error, String) {
    let message = bus
        .timed_pop_filtered(gst::ClockTime::from_seconds(30), &[gst::MessageType::Error])
        .expect("an error is posted");
    let gst::MessageView::Error(error) = message.view() else {
        unreachable!("only errors were asked for")
    };
    (error.error(), describe(&message))
}

#[test]
fn wrong_settings_fail_the_state_change_with_one_clear_error() {
    init();
    for (properties, hint) in [
        ("broadcast=room", "\"url\""),
        ("url=https://relay.example", "\"broadcast\""),
        ("url=relay broadcast=room", "not a URL"),
        ("url=srt://relay broadcast=room", "use one of https"),
    ] {
        let pipeline = Running::launch(&format!("moqsrc {properties} ! fakesink"));
        assert!(pipeline.set_state(gst::State::Playing).is_err());
        let (error, text) = error_of(&pipeline.bus());
        assert!(error.matches(gst::ResourceError::Settings), "{text}");
        assert!(text.contains(hint), "{text}");
    }
}

#[test]
fn starting_needs_no_network_and_is_live() {
    init();
    let port = Relay::free_port().expect("a port");
    let pipeline = Running::launch(&format!(
        "{} ! fakesink",
        moqsrc(&Relay::url_at(port), "nobody")
    ));
    let source = pipeline.element("moq");
    watchdog("a state change", Duration::from_secs(2), || {
        let result = source.set_state(gst::State::Paused);
        assert_eq!(result, Ok(gst::StateChangeSuccess::NoPreroll));
    });
    let (live, least, most) = {
        let mut query = gst::query::Latency::new();
        assert!(source.query(&mut query));
        query.result()
    };
    assert_eq!(
        (live, least, most),
        (true, gst::ClockTime::from_mseconds(100), None)
    );
}

#[test]
fn a_relay_and_a_publisher_that_come_later_are_waited_for() {
    init();
    let port = Relay::free_port().expect("a port");
    let broadcast = unique_broadcast("later");
    let subscriber = Running::play(&format!(
        "{} moq.video_0 ! fakesink name=out sync=false",
        moqsrc(&Relay::url_at(port), &broadcast)
    ));
    let source = subscriber.element("moq");
    let failed = wait_message_that(&subscriber.bus(), DEADLINE, |message| {
        let structure = message.structure();
        structure.is_some_and(|structure| structure.name() == "moq-disconnected")
    });
    assert!(failed.is_some(), "each failed try is told");
    let packets = Packets::into_sink(&subscriber.element("out"));
    let relay = Relay::start_at(port).expect("the relay starts");
    wait_property(&source, "connected", DEADLINE, |connected: &bool| {
        *connected
    });
    assert!(source.property::<Option<String>>("moq-version").is_some());
    let _publisher = live(&relay, &broadcast);
    packets.wait_count(30, DEADLINE);
}

#[test]
fn a_refused_token_is_not_authorized_and_not_retried() {
    init();
    let relay = Relay::start_with_token("secret").expect("the relay starts");
    for element in ["moqsrc", "moqsink"] {
        let pipeline = Running::play(&format!(
            "fakesrc num-buffers=0 ! fakesink async=false \
             {element} name=moq url={} broadcast=room tls-disable-verify=true token=guess-what",
            relay.url()
        ));
        let (error, text) = error_of(&pipeline.bus());
        assert!(error.matches(gst::ResourceError::NotAuthorized), "{text}");
        assert!(!text.contains("guess-what"), "{text}");
        let moq = pipeline.element("moq");
        wait_property(&moq, "connected", DEADLINE, |connected: &bool| !connected);
    }
}

#[test]
fn a_token_opens_the_relay() {
    init();
    let relay = Relay::start_with_token("secret").expect("the relay starts");
    let broadcast = unique_broadcast("token");
    let _publisher = Running::play(&format!(
        "{} ! moq.sink_0 {} token=secret",
        live_opus(),
        moqsink(&relay.url(), &broadcast)
    ));
    let subscriber = Running::play(&format!(
        "{} moq.audio_0 ! fakesink name=out sync=false",
        moqsrc(&format!("{}?jwt=secret", relay.url()), &broadcast)
    ));
    Packets::into_sink(&subscriber.element("out")).wait_count(10, DEADLINE);
}

#[test]
fn an_http_url_trusts_the_certificate_whose_fingerprint_it_gets() {
    init();
    let port = Relay::free_port().expect("a port");
    let _relay = Relay::start_at(port).expect("the relay starts");
    let url = format!("http://127.0.0.1:{port}/");
    let broadcast = unique_broadcast("http");
    let _publisher = Running::play(&format!(
        "{} ! moqsink url={url} broadcast={broadcast}",
        live_opus()
    ));
    let subscriber = Running::play(&format!(
        "moqsrc name=moq url={url} broadcast={broadcast} \
         moq.audio_0 ! fakesink name=out sync=false"
    ));
    Packets::into_sink(&subscriber.element("out")).wait_count(10, DEADLINE);
}

#[test]
fn an_unknown_certificate_is_refused_with_its_reason() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let subscriber = Running::play(&format!(
        "fakesrc num-buffers=0 ! fakesink async=false moqsrc url={} broadcast=x",
        relay.url()
    ));
    let told = wait_message_that(&subscriber.bus(), DEADLINE, |message| {
        let structure = message.structure();
        let reason = structure.and_then(|s| s.get::<String>("reason").ok());
        reason.is_some_and(|reason| reason.contains("certificate"))
    });
    assert!(told.is_some());
}

#[test]
fn pads_have_the_same_names_in_every_run() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("names");
    let _publisher = live(&relay, &broadcast);
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
    let _publisher = live(&relay, &broadcast);
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
    let sink = gst::ElementFactory::make("fakesink")
        .property("sync", false)
        .build()
        .expect("a fakesink");
    subscriber.add(&sink).expect("the sink is added");
    sink.sync_state_with_parent().expect("the sink plays");
    let late = Packets::into_sink(&sink);
    let sink_pad = sink.static_pad("sink").expect("a pad");
    pad.link(&sink_pad).expect("the pads link");
    publisher.wait_used(&unlinked);
    publisher::write(&unlinked, 20_000, &SILENCE);
    late.wait_count(1, DEADLINE);
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
fn an_application_ends_the_stream_with_an_event() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("eos");
    let _publisher = live(&relay, &broadcast);
    let subscriber = Running::play(&format!(
        "{} moq.video_0 ! fakesink name=out sync=false moq.audio_0 ! fakesink sync=false",
        moqsrc(&relay.url(), &broadcast)
    ));
    Packets::into_sink(&subscriber.element("out")).wait_count(10, DEADLINE);
    subscriber.end();
}

#[test]
fn ending_before_anything_was_found_is_an_error_that_says_so() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let subscriber = Running::play(&format!("{} ! fakesink", moqsrc(&relay.url(), "nobody")));
    assert!(subscriber.send_event(gst::event::Eos::new()));
    let (error, text) = error_of(&subscriber.bus());
    assert!(error.matches(gst::ResourceError::NotFound), "{text}");
}

#[test]
fn a_pause_is_followed_by_a_key_frame_and_running_time_goes_on() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("pause");
    let _publisher = live(&relay, &broadcast);
    let subscriber = Running::play(&format!(
        "{} moq.video_0 ! fakesink name=out sync=false async=false",
        moqsrc(&relay.url(), &broadcast)
    ));
    let packets = Packets::into_sink(&subscriber.element("out"));
    packets.wait_count(10, DEADLINE);
    assert!(subscriber.set_state(gst::State::Paused).is_ok());
    let before = packets.count();
    subscriber.start();
    let all = packets.wait_count(before + 40, DEADLINE);
    let resumed = all[1..]
        .iter()
        .position(|packet| packet.is_key() && packet.flags.contains(gst::BufferFlags::DISCONT))
        .expect("a key frame marks the resumption");
    let (earlier, later) = all.split_at(resumed + 1);
    assert!(later[0].pts > earlier.last().expect("a frame before").pts);
}

#[test]
fn a_second_join_at_the_next_group_begins_with_its_key_frame() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("next");
    let publisher = live(&relay, &broadcast);
    let sink = publisher
        .element("moq")
        .static_pad("sink_0")
        .expect("a pad");
    let sent = Packets::of(&sink);
    // In the middle of a group.
    sent.wait_count(90, DEADLINE);
    let subscriber = Running::play(&format!(
        "{} join=next-group moq.video_0 ! fakesink name=out sync=false",
        moqsrc(&relay.url(), &broadcast)
    ));
    let got = Packets::into_sink(&subscriber.element("out")).wait_count(10, DEADLINE);
    assert!(got[0].is_key());
    let sent = sent.so_far();
    let keys = sent.iter().filter(|packet| packet.is_key());
    let newest = keys.filter(|packet| packet.bytes == got[0].bytes).count();
    assert_eq!(newest, 1, "one of the key frames");
    // At their own distance: nothing was compressed.
    for pair in got.windows(2) {
        let step = pair[1].pts.zip(pair[0].pts).map(|(b, a)| b - a);
        assert!(step > Some(gst::ClockTime::from_mseconds(25)), "{step:?}");
    }
}

#[test]
fn a_clip_without_a_waiting_subscriber_still_ends() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let publisher = Running::play(&publish_clip(&relay.url(), &unique_broadcast("alone")));
    publisher.wait_eos();
}
