// SPDX-License-Identifier: MIT
//! What the tests of stopping share: a scene with a relay, and a stop that is measured.

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use gst::prelude::*;

use super::{
    Relay, Resources, Running, init,
    media::{self, live_opus, moqsink, moqsrc},
    pipeline::DEADLINE,
    unique_broadcast, watchdog,
};

/// What stopping takes at most, whatever happens.
pub(crate) const BOUND: Duration = Duration::from_secs(3);

/// How long the process may take to give back its threads, which end some time after their stop.
const RETURN: Duration = Duration::from_secs(40);

/// Waits for what another thread of the test has to say.
pub(crate) fn wait<T>(claim: &str, receiver: &mpsc::Receiver<T>) -> T {
    let waited = receiver.recv_timeout(DEADLINE);
    waited.unwrap_or_else(|error| panic!("within {DEADLINE:?} {claim}: {error}"))
}

/// Sets the element to NULL and returns how long that took.
pub(crate) fn time_stop(element: &impl IsA<gst::Element>) -> Duration {
    let element = element.upcast_ref::<gst::Element>();
    let claim = format!("{} goes to NULL", element.name());
    let begun = Instant::now();
    let stopped = watchdog(&claim, Duration::from_secs(20), || {
        element.set_state(gst::State::Null)
    });
    assert_eq!(stopped, Ok(gst::StateChangeSuccess::Success), "{claim}");
    begun.elapsed()
}

/// Sets the element to NULL, which takes less than [`BOUND`].
pub(crate) fn stop(element: &impl IsA<gst::Element>) {
    let took = time_stop(element);
    assert!(took < BOUND, "stopping took {took:?}");
}

/// Runs `test` and checks that it leaves no thread and no socket behind.
pub(crate) fn leaves_nothing(test: impl FnOnce()) {
    init();
    // The runtime and what it needs stay for the life of the process.
    let port = Relay::free_port().expect("a free port");
    let line = format!("{} fakesink", moqsrc(&Relay::url_at(port), "nothing"));
    let warm_up = Running::play(&line);
    drop(warm_up);
    let before = Resources::now();
    test();
    before.wait_return(RETURN);
}

/// A relay with a live publisher of video and audio.
pub(crate) struct Scene {
    pub(crate) publisher: Running,
    pub(crate) broadcast: String,
    pub(crate) relay: Relay,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let relay = Relay::start().expect("the relay starts");
        let broadcast = unique_broadcast("stop");
        let publisher = Running::play(&format!(
            "{} ! moq.sink_0 {} ! moq.sink_1 {}",
            media::Video::default().live(),
            live_opus(),
            moqsink(&relay.url(), &broadcast)
        ));
        Self {
            publisher,
            broadcast,
            relay,
        }
    }

    /// A launch line's `moqsrc` for the broadcast, named `moq`.
    pub(crate) fn moqsrc(&self) -> String {
        moqsrc(&self.relay.url(), &self.broadcast)
    }
}
