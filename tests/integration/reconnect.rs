// SPDX-License-Identifier: MIT
//! How soon a relay is dialled again, when it counts as gone, and what a stop makes of a dial.

use gst::prelude::*;

use crate::common::{
    Answer, Path, Peer, Proxy, Relay, Resources, Running, init,
    media::{moqsink, moqsrc},
    pipeline::{DEADLINE, tells_of_silence, wait_property, wait_told, wait_until},
    stops::leaves_nothing,
};

fn play(element: &str) -> Running {
    Running::play(&format!(
        "fakesrc num-buffers=0 ! fakesink async=false {element}"
    ))
}

fn sessions(pipeline: &Running) -> u64 {
    let stats: gst::Structure = pipeline.element("moq").property("stats");
    stats.get("sessions-started").expect("a count")
}

#[test]
fn pauses_keep_to_the_least_and_the_greatest_delay() {
    init();
    let port = Relay::free_port().expect("a port");
    let pipeline = play(&format!(
        "{} reconnect-min-delay=20 reconnect-max-delay=70",
        moqsrc(&format!("ws://127.0.0.1:{port}/"), "x")
    ));
    let bus = pipeline.bus();
    let mut pauses = Vec::new();
    while pauses.len() < 6 {
        let told = wait_told(&bus, "moq-disconnected", |_| true);
        let pause: u64 = told.get("retry-in-ms").expect("a pause");
        pauses.push(pause);
    }
    for (pause, longest) in pauses.iter().zip([20, 40, 70, 70, 70, 70]) {
        assert!((longest / 2..=longest).contains(pause), "{pauses:?}");
    }
}

#[test]
fn a_relay_that_died_is_noticed_after_the_idle_timeout() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let proxy = Proxy::start(relay.addr(), Path::default()).expect("the proxy starts");
    for element in [moqsink, moqsrc] {
        let line = element(&proxy.url(), "x");
        let hasty = play(&format!("{line} quic-idle-timeout=500 quic-keep-alive=100"));
        let patient = play(&format!(
            "{line} quic-idle-timeout=20000 quic-keep-alive=100"
        ));
        for pipeline in [&hasty, &patient] {
            wait_told(&pipeline.bus(), "moq-connected", |_| true);
        }
        proxy.cut();
        let told = wait_told(&hasty.bus(), "moq-disconnected", |_| true);
        assert!(tells_of_silence(&told), "{told}");
        assert!(patient.element("moq").property::<bool>("connected"));
        proxy.restore();
        wait_told(&hasty.bus(), "moq-connected", |_| true);
        assert_eq!(sessions(&patient), 1, "its session outlived the cut");
    }
}

#[test]
fn keep_alives_hold_a_session_that_has_nothing_to_say() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let line = moqsink(&relay.url(), "x");
    let lively = play(&format!("{line} quic-idle-timeout=600 quic-keep-alive=100"));
    wait_told(&lively.bus(), "moq-connected", |_| true);
    let silent = play(&format!("{line} quic-idle-timeout=600 quic-keep-alive=0"));
    for _ in 0..2 {
        wait_told(&silent.bus(), "moq-disconnected", |_| true);
    }
    assert_eq!(sessions(&lively), 1);
    assert!(lively.element("moq").property::<bool>("connected"));
}

#[test]
fn a_stop_while_dialling_cancels_the_progress() {
    init();
    let port = Relay::free_port().expect("a port");
    for element in [moqsink, moqsrc] {
        let pipeline = play(&element(&Relay::url_at(port), "x"));
        let bus = pipeline.bus();
        let started = bus.timed_pop_filtered(
            gst::ClockTime::try_from(DEADLINE).expect("a short time"),
            &[gst::MessageType::Progress],
        );
        assert_eq!(
            kind(&started.expect("the dial is reported")),
            gst::ProgressType::Start
        );
        assert!(pipeline.set_state(gst::State::Ready).is_ok());
        let ended = bus.pop_filtered(&[gst::MessageType::Progress]);
        let ended = ended.expect("what was begun has ended");
        assert_eq!(kind(&ended), gst::ProgressType::Canceled);
        assert!(bus.pop_filtered(&[gst::MessageType::Progress]).is_none());
        wait_property(
            &pipeline.element("moq"),
            "connected",
            DEADLINE,
            |up: &bool| !up,
        );
    }
}

#[test]
fn tries_that_failed_leave_no_socket() {
    init();
    let other = Peer::start(Answer::Accept, |config| {
        config.version = vec!["moq-lite-06".parse().expect("a version")];
    });
    let nobody = format!("ws://127.0.0.1:{}/", Relay::free_port().expect("a port"));
    leaves_nothing(|| {
        let before = Resources::now().sockets;
        let fail = |url: &str, tries: usize| {
            let pipeline = play(&format!(
                "{} moq-versions=moq-transport-17 reconnect-min-delay=20 reconnect-max-delay=50",
                moqsrc(url, "x")
            ));
            for _ in 0..tries {
                wait_told(&pipeline.bus(), "moq-disconnected", |_| true);
            }
            pipeline
        };
        let retrying = fail(&nobody, 40);
        // The test's own pipeline, the attempt under way, and the one before.
        wait_until("the sockets of attempts are closed", DEADLINE, || {
            Resources::now().sockets < before + 10
        });
        drop(retrying);
        // QUIC takes leave of these for a while.
        fail(&other.url(), 20);
    });
}

fn kind(message: &gst::Message) -> gst::ProgressType {
    match message.view() {
        gst::MessageView::Progress(progress) => progress.get().0,
        _ => unreachable!("only that was asked for"),
    }
}
