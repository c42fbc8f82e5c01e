//! Stopping `moqsink` from everywhere, at any moment.

mod common;

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use common::{
    Relay, Running, init, media,
    pipeline::{DEADLINE, wait_property},
    unique_broadcast, watchdog,
};
use gst::prelude::*;

/// What a stop may take: the bound of the session and some time for the machine.
const BOUND: Duration = Duration::from_secs(5);

fn live(relay: &Relay) -> Running {
    let running = Running::launch(&format!(
        "{} ! moq.sink_0 {}",
        media::Video::default().live(),
        media::moqsink(&relay.url(), &unique_broadcast("stop"))
    ));
    running.start();
    running
}

fn wait_connected(publisher: &Running) {
    let sink = publisher.element("moq");
    wait_property(&sink, "connected", DEADLINE, |connected: &bool| *connected);
}

#[test]
fn a_live_session_stops_quickly_and_starts_again() {
    init();
    let relay = Relay::start().expect("a relay");
    let publisher = live(&relay);
    for _ in 0..3 {
        wait_connected(&publisher);
        let begun = Instant::now();
        watchdog("a stop", BOUND, || {
            assert!(publisher.set_state(gst::State::Ready).is_ok());
        });
        assert!(begun.elapsed() < Duration::from_millis(900));
        assert!(!publisher.element("moq").property::<bool>("connected"));
        publisher.start();
    }
}

#[test]
fn a_pad_that_waits_for_the_clock_or_for_playing_is_let_go() {
    init();
    let relay = Relay::start().expect("a relay");
    for state in [gst::State::Paused, gst::State::Playing] {
        let publisher = Running::launch(&media::publish_clip(
            &relay.url(),
            &unique_broadcast("waiting"),
        ));
        let pad = publisher
            .element("moq")
            .static_pad("sink_0")
            .expect("a pad");
        let passed = common::Packets::of(&pad);
        assert!(publisher.set_state(state).is_ok());
        passed.wait_count(1, DEADLINE);
        watchdog("a stop", BOUND, || {
            assert!(publisher.set_state(gst::State::Null).is_ok());
        });
    }
}

#[test]
fn a_waiting_pad_can_be_released() {
    init();
    let relay = Relay::start().expect("a relay");
    let publisher = Running::launch(&media::publish_clip(
        &relay.url(),
        &unique_broadcast("release"),
    ));
    let sink = publisher.element("moq");
    let pad = sink.static_pad("sink_0").expect("a pad");
    let passed = common::Packets::of(&pad);
    assert!(publisher.set_state(gst::State::Paused).is_ok());
    passed.wait_count(1, DEADLINE);
    watchdog("a release", BOUND, || sink.release_request_pad(&pad));
    publisher.start();
}

#[test]
fn a_stop_from_the_pads_own_thread_returns() {
    init();
    let relay = Relay::start().expect("a relay");
    let publisher = live(&relay);
    wait_connected(&publisher);
    let sink = publisher.element("moq");
    let pad = sink.static_pad("sink_0").expect("a pad");
    let (stopped, stop) = mpsc::channel();
    let element = sink.clone();
    sink.set_locked_state(true);
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        let result = element.set_state(gst::State::Null);
        // Only the first frame's answer is waited for.
        let _ = stopped.send(result.is_ok());
        gst::PadProbeReturn::Remove
    });
    watchdog("a stop from the streaming thread", BOUND, || {
        assert_eq!(stop.recv_timeout(DEADLINE), Ok(true));
    });
}

#[test]
fn a_stop_inside_another_runtime_returns() {
    init();
    let relay = Relay::start().expect("a relay");
    let publisher = live(&relay);
    wait_connected(&publisher);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    watchdog("a stop inside a runtime", BOUND, || {
        runtime.block_on(async {
            assert!(publisher.set_state(gst::State::Null).is_ok());
        });
    });
}

#[test]
fn a_stop_from_a_notification_returns() {
    init();
    let relay = Relay::start().expect("a relay");
    let publisher = Running::launch(&format!(
        "{} ! moq.sink_0 {}",
        media::Video::default().live(),
        media::moqsink(&relay.url(), &unique_broadcast("notify"))
    ));
    let sink = publisher.element("moq");
    let (stopped, stop) = mpsc::channel();
    sink.connect_notify(Some("connected"), move |sink, _| {
        if sink.property::<bool>("connected") {
            sink.set_locked_state(true);
            // Only the first stop's answer is waited for.
            let _ = stopped.send(sink.set_state(gst::State::Null).is_ok());
        }
    });
    publisher.start();
    watchdog("a stop from a notification", DEADLINE, || {
        assert_eq!(stop.recv_timeout(DEADLINE), Ok(true));
    });
}
