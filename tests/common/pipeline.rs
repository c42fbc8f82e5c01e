// SPDX-License-Identifier: MIT
//! Pipelines that are waited for by their events and always taken down again.

use std::{
    ops::Deref,
    process,
    sync::{
        Once,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use gst::{glib, prelude::*};

/// How long a test waits for what must come; a slow machine needs far less.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// How long taking a pipeline down may take before the whole test process is ended.
const STOP_BOUND: Duration = Duration::from_secs(20);

/// Initializes GStreamer and registers the plugin, once.
pub(crate) fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        gst::init().expect("GStreamer initializes");
        gstmoq::plugin_register_static().expect("the plugin registers");
    });
}

/// A broadcast name that no other test uses, in this process or another.
pub(crate) fn unique_broadcast(test: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{test}-{}-{number}.hang", process::id())
}

/// Runs `work` and ends the test process if it takes longer than `bound`.
///
/// A hung streaming thread cannot be unwound, so that a panic would hang as well.
pub(crate) fn watchdog<T>(claim: &str, bound: Duration, work: impl FnOnce() -> T) -> T {
    let (done, finished) = mpsc::channel::<()>();
    let claim = claim.to_owned();
    let guard = thread::spawn(move || {
        if finished.recv_timeout(bound) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("watchdog: not within {bound:?}: {claim}");
            process::abort();
        }
    });
    let result = work();
    drop(done);
    guard.join().expect("the watchdog itself ends");
    result
}

/// A pipeline that is set to NULL when it is dropped, under a watchdog.
pub(crate) struct Running(gst::Pipeline);

impl Running {
    /// Guards `pipeline`, lets it run on the system clock so that pipelines compare, and keeps
    /// its latency up to date as applications do.
    pub(crate) fn new(pipeline: gst::Pipeline) -> Self {
        pipeline.use_clock(Some(&gst::SystemClock::obtain()));
        let bus = pipeline.bus().expect("a pipeline has a bus");
        let weak = pipeline.downgrade();
        bus.set_sync_handler(move |_, message| {
            if message.type_() == gst::MessageType::Latency
                && let Some(pipeline) = weak.upgrade()
            {
                // Another thread, because the one that posts may hold locks.
                pipeline.call_async(|pipeline| {
                    // The next LATENCY message retries.
                    let _ = pipeline.recalculate_latency();
                });
            }
            gst::BusSyncReply::Pass
        });
        Self(pipeline)
    }

    /// Builds the pipeline of a launch line.
    pub(crate) fn launch(description: &str) -> Self {
        init();
        let pipeline = gst::parse::launch(description)
            .unwrap_or_else(|error| panic!("the pipeline parses: {error}\n{description}"))
            .downcast::<gst::Pipeline>()
            .expect("more than one element is a pipeline");
        Self::new(pipeline)
    }

    /// Builds the pipeline of a launch line and starts it.
    pub(crate) fn play(description: &str) -> Self {
        let running = Self::launch(description);
        running.start();
        running
    }

    /// Sets the pipeline to PLAYING without waiting for it.
    pub(crate) fn start(&self) {
        if self.0.set_state(gst::State::Playing).is_err() {
            panic!("the pipeline starts: {}", self.last_error());
        }
    }

    /// The element named `name`.
    pub(crate) fn element(&self, name: &str) -> gst::Element {
        self.0
            .by_name(name)
            .unwrap_or_else(|| panic!("the pipeline has an element {name}"))
    }

    /// The bus of the pipeline.
    pub(crate) fn bus(&self) -> gst::Bus {
        self.0.bus().expect("a pipeline has a bus")
    }

    /// Waits for EOS and panics with the text of an error that comes first.
    pub(crate) fn wait_eos(&self) {
        wait_message(&self.bus(), &[gst::MessageType::Eos], DEADLINE);
    }

    /// Sends EOS into the pipeline, as `gst-launch-1.0 -e` does, and waits for it to arrive.
    pub(crate) fn end(&self) {
        assert!(
            self.0.send_event(gst::event::Eos::new()),
            "the pipeline takes an EOS event"
        );
        self.wait_eos();
    }

    fn last_error(&self) -> String {
        match self.bus().pop_filtered(&[gst::MessageType::Error]) {
            Some(message) => describe(&message),
            None => "no error was posted".to_owned(),
        }
    }
}

impl Deref for Running {
    type Target = gst::Pipeline;

    fn deref(&self) -> &gst::Pipeline {
        &self.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        watchdog("the pipeline goes to NULL", STOP_BOUND, || {
            // A failed change to NULL leaves nothing that a test could do about it.
            let _ = self.0.set_state(gst::State::Null);
        });
    }
}

/// Waits for the next message of one of `types` and panics if an error or nothing comes.
pub(crate) fn wait_message(
    bus: &gst::Bus,
    types: &[gst::MessageType],
    deadline: Duration,
) -> gst::Message {
    try_wait_message(bus, types, deadline)
        .unwrap_or_else(|| panic!("within {deadline:?} a message of {types:?} comes"))
}

/// Waits for the next message of one of `types` and panics with the text of an error that
/// nobody asked for.
pub(crate) fn try_wait_message(
    bus: &gst::Bus,
    types: &[gst::MessageType],
    deadline: Duration,
) -> Option<gst::Message> {
    wait_message_that(bus, deadline, |message| types.contains(&message.type_()))
}

/// Waits for a message that `wanted` accepts, under the same rules.
pub(crate) fn wait_message_that(
    bus: &gst::Bus,
    deadline: Duration,
    wanted: impl Fn(&gst::Message) -> bool,
) -> Option<gst::Message> {
    let end = Instant::now() + deadline;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let message = bus.timed_pop(clock_time(left))?;
        if wanted(&message) {
            return Some(message);
        }
        assert!(
            message.type_() != gst::MessageType::Error,
            "no error is posted: {}",
            describe(&message)
        );
    }
}

/// Waits for an element message of this name that `wanted` accepts, under the same rules.
pub(crate) fn wait_told(
    bus: &gst::Bus,
    name: &str,
    wanted: impl Fn(&gst::StructureRef) -> bool,
) -> gst::Structure {
    let told = wait_message_that(bus, DEADLINE, |message| {
        let structure = message.structure();
        message.type_() == gst::MessageType::Element
            && structure.is_some_and(|structure| structure.name() == name && wanted(structure))
    });
    let told = told.unwrap_or_else(|| panic!("within {DEADLINE:?} such a {name} is reported"));
    told.structure().expect("an element message").to_owned()
}

/// Whether a `moq-disconnected` reports a relay that fell silent.
///
/// When a stream notices that first, the library only says that it has closed the session itself.
pub(crate) fn tells_of_silence(told: &gst::StructureRef) -> bool {
    let closed = |reason: &str| reason.contains("connection error: closed");
    told.get("cause") == Ok("timeout") || told.get("reason").is_ok_and(closed)
}

/// The text of an error or warning, with the element that posted it.
pub(crate) fn describe(message: &gst::Message) -> String {
    let source = message.src().map(|source| source.path_string());
    let source = source.unwrap_or_default();
    let (error, debug) = match message.view() {
        gst::MessageView::Error(error) => (error.error(), error.debug()),
        gst::MessageView::Warning(warning) => (warning.error(), warning.debug()),
        _ => return format!("{source}: {:?}", message.type_()),
    };
    format!("{source}: {error} ({})", debug.unwrap_or_default())
}

/// Waits until the property satisfies `reached`, woken by its notifications.
pub(crate) fn wait_property<T>(
    object: &impl IsA<glib::Object>,
    name: &str,
    deadline: Duration,
    reached: impl Fn(&T) -> bool,
) -> T
where
    T: for<'a> glib::value::FromValue<'a> + std::fmt::Debug + 'static,
{
    let object = object.upcast_ref::<glib::Object>();
    let (changed, changes) = mpsc::channel();
    let handler = object.connect_notify(Some(name), move |_, _| {
        // After the wait nobody listens any more.
        let _ = changed.send(());
    });
    let end = Instant::now() + deadline;
    let value = loop {
        let value = object.property::<T>(name);
        if reached(&value) {
            break value;
        }
        let left = end.saturating_duration_since(Instant::now());
        assert!(
            changes.recv_timeout(left).is_ok(),
            "within {deadline:?} {name} changes as expected, it is {value:?}"
        );
    };
    object.disconnect(handler);
    value
}

/// Waits for the pad, now or when the element adds it.
pub(crate) fn wait_pad(element: &gst::Element, name: &str, deadline: Duration) -> gst::Pad {
    let (added, additions) = mpsc::channel();
    let handler = element.connect_pad_added(move |_, _| {
        // After the wait nobody listens any more.
        let _ = added.send(());
    });
    let end = Instant::now() + deadline;
    let pad = loop {
        if let Some(pad) = element.static_pad(name) {
            break pad;
        }
        let left = end.saturating_duration_since(Instant::now());
        assert!(
            additions.recv_timeout(left).is_ok(),
            "within {deadline:?} {} adds its pad {name}",
            element.name()
        );
    };
    element.disconnect(handler);
    pad
}

/// Waits for what nothing reports.
pub(crate) fn wait_until(claim: &str, deadline: Duration, mut reached: impl FnMut() -> bool) {
    let end = Instant::now() + deadline;
    while !reached() {
        assert!(Instant::now() < end, "within {deadline:?}: {claim}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// The pipeline's answer to a LATENCY query: live, least and greatest latency.
pub(crate) fn latency(pipeline: &gst::Pipeline) -> (bool, gst::ClockTime, Option<gst::ClockTime>) {
    let mut query = gst::query::Latency::new();
    assert!(
        pipeline.query(&mut query),
        "the pipeline answers a LATENCY query"
    );
    query.result()
}

/// The same span in GStreamer's unit.
pub(crate) fn clock_time(duration: Duration) -> gst::ClockTime {
    gst::ClockTime::try_from(duration).unwrap_or(gst::ClockTime::MAX)
}
