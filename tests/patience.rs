//! How a relay is dialled again.

mod common;

use common::{
    Answer, Peer, Relay, Resources, Running, init,
    media::moqsrc,
    pipeline::{DEADLINE, wait_told, wait_until},
    stops::leaves_nothing,
};

fn play(element: &str) -> Running {
    Running::play(&format!(
        "fakesrc num-buffers=0 ! fakesink async=false {element}"
    ))
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
        // The test's own pipeline, the try under way, and the one before.
        wait_until("the sockets of tries are closed", DEADLINE, || {
            Resources::now().sockets < before + 10
        });
        drop(retrying);
        // QUIC takes leave of these for a while.
        fail(&other.url(), 20);
    });
}
