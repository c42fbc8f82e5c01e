// SPDX-License-Identifier: MIT
//! Stopping `moqsink` takes a bounded time in every situation and leaves nothing behind.

use std::{
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use gst::prelude::*;

use crate::common::{
    self, Path, Proxy, Relay, Running, init,
    media::{Video, live_opus, moqsink},
    pipeline::{DEADLINE, wait_property},
    stops::{BOUND, Scene, leaves_nothing, stop, time_stop, wait},
    unique_broadcast,
};

/// An application's own buffers of audio into `sink_0`, which is no live input.
fn appsrc(url: &str, properties: &str) -> Running {
    Running::launch(&format!(
        "appsrc name=src format=time max-bytes=0 \
         caps=audio/x-opus,rate=48000,channels=2,channel-mapping-family=0 ! moq.sink_0 {} {properties}",
        moqsink(url, &unique_broadcast("stop"))
    ))
}

fn push(pipeline: &Running, pts: gst::ClockTime) {
    let source = pipeline.element("src");
    let source = source.downcast_ref::<gst_app::AppSrc>().expect("an appsrc");
    let mut buffer = gst::Buffer::from_slice([0xfc, 0xff, 0xfe]);
    let times = buffer.get_mut().expect("nobody else has the buffer");
    times.set_pts(pts);
    times.set_duration(gst::ClockTime::from_mseconds(20));
    source
        .push_buffer(buffer)
        .expect("the appsrc takes a buffer");
}

/// Reports each buffer that comes to the pad.
fn arrivals(pad: &gst::Pad) -> mpsc::Receiver<()> {
    let (arrived, arrivals) = mpsc::channel();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        // After the test has seen enough nobody listens any more.
        let _ = arrived.send(());
        gst::PadProbeReturn::Ok
    });
    arrivals
}

fn sink_pad(pipeline: &Running) -> gst::Pad {
    let pad = pipeline.element("moq").static_pad("sink_0");
    pad.expect("the sink has its first pad")
}

fn nowhere() -> String {
    Relay::url_at(Relay::free_port().expect("a free port"))
}

fn live(url: &str) -> Running {
    Running::launch(&format!(
        "{} ! moq.sink_0 {} ! moq.sink_1 {}",
        Video::default().live(),
        live_opus(),
        moqsink(url, &unique_broadcast("stop"))
    ))
}

fn connect(pipeline: &Running) {
    pipeline.start();
    wait_property(
        &pipeline.element("moq"),
        "connected",
        DEADLINE,
        |up: &bool| *up,
    );
}

#[test]
fn without_a_relay() {
    leaves_nothing(|| {
        let publisher = live(&nowhere());
        let arrivals = arrivals(&sink_pad(&publisher));
        publisher.start();
        wait("a frame comes", &arrivals);
        stop(&*publisher);
    });
}

#[test]
fn with_a_relay_that_cannot_be_reached_any_more() {
    leaves_nothing(|| {
        let relay = Relay::start().expect("the relay starts");
        let proxy = Proxy::start(relay.addr(), Path::default()).expect("the proxy starts");
        let publisher = live(&proxy.url());
        connect(&publisher);
        proxy.cut();
        stop(&*publisher);
    });
}

#[test]
fn while_it_publishes() {
    leaves_nothing(|| {
        let scene = Scene::new();
        let sink = scene.publisher.element("moq");
        wait_property(&sink, "connected", DEADLINE, |up: &bool| *up);
        let took = time_stop(&*scene.publisher);
        assert!(took < BOUND / 3, "a live connection ends at once: {took:?}");
    });
}

#[test]
fn while_a_buffer_waits_for_its_time() {
    leaves_nothing(|| {
        let publisher = appsrc(&nowhere(), "");
        let arrivals = arrivals(&sink_pad(&publisher));
        publisher.start();
        push(&publisher, gst::ClockTime::ZERO);
        push(&publisher, gst::ClockTime::from_seconds(3600));
        for _ in 0..2 {
            wait("a buffer comes", &arrivals);
        }
        stop(&*publisher);
    });
}

#[test]
fn while_a_buffer_waits_for_playing() {
    leaves_nothing(|| {
        let publisher = appsrc(&nowhere(), "");
        let arrivals = arrivals(&sink_pad(&publisher));
        publisher
            .set_state(gst::State::Paused)
            .expect("PAUSED needs nobody");
        push(&publisher, gst::ClockTime::ZERO);
        wait("a buffer comes", &arrivals);
        stop(&*publisher);
    });
}

/// Holds the session's thread at its next log line for as long as it lives.
struct Stall {
    held: Arc<(Mutex<bool>, Condvar)>,
    holds: mpsc::Receiver<()>,
}

impl Stall {
    fn new() -> Self {
        let held = Arc::new((Mutex::new(true), Condvar::new()));
        let (holding, holds) = mpsc::channel();
        let stall = Self {
            held: held.clone(),
            holds,
        };
        gst::log::set_threshold_for_name("moqsink", gst::DebugLevel::Debug);
        gst::log::remove_default_log_function();
        gst::log::add_log_function(move |_, _, _, _, _, _, _| {
            if thread::current().name() != Some("moq") {
                return;
            }
            // After the test nobody listens any more.
            let _ = holding.send(());
            let (held, changed) = &*held;
            let held = held.lock().unwrap_or_else(PoisonError::into_inner);
            drop(changed.wait_while(held, |held| *held));
        });
        stall
    }
}

impl Drop for Stall {
    fn drop(&mut self) {
        let (held, changed) = &*self.held;
        *held.lock().unwrap_or_else(PoisonError::into_inner) = false;
        changed.notify_all();
    }
}

#[test]
fn while_a_buffer_waits_for_room() {
    leaves_nothing(|| {
        let publisher = appsrc(&nowhere(), "sync=false max-bytes=1");
        let arrivals = arrivals(&sink_pad(&publisher));
        // Nothing is taken out of the channel, so that the second buffer finds no room.
        let stall = Stall::new();
        publisher.start();
        wait("the session is held", &stall.holds);
        for index in 0..3 {
            push(&publisher, gst::ClockTime::from_mseconds(20) * index);
        }
        for _ in 0..2 {
            wait("a buffer comes", &arrivals);
        }
        assert!(
            arrivals.recv_timeout(BOUND / 10).is_err(),
            "the second buffer waits"
        );
        stop(&*publisher);
        drop(stall);
    });
}

#[test]
fn a_pad_is_released_while_its_buffer_waits() {
    leaves_nothing(|| {
        let publisher = appsrc(&nowhere(), "");
        let (sink, pad) = (publisher.element("moq"), sink_pad(&publisher));
        let arrivals = arrivals(&pad);
        publisher.start();
        push(&publisher, gst::ClockTime::ZERO);
        push(&publisher, gst::ClockTime::from_seconds(3600));
        for _ in 0..2 {
            wait("a buffer comes", &arrivals);
        }
        let begun = Instant::now();
        common::watchdog("the pad is released", DEADLINE, || {
            sink.release_request_pad(&pad);
        });
        assert!(begun.elapsed() < BOUND, "it took {:?}", begun.elapsed());
        assert!(sink.static_pad("sink_0").is_none());
        stop(&*publisher);
    });
}

#[test]
fn from_a_notification() {
    leaves_nothing(|| {
        let relay = Relay::start().expect("the relay starts");
        let publisher = live(&relay.url());
        let (stopped, stops) = mpsc::channel();
        publisher
            .element("moq")
            .connect_notify(Some("connected"), move |sink, _| {
                if sink.property::<bool>("connected") {
                    sink.set_locked_state(true);
                    let begun = Instant::now();
                    let result = sink.set_state(gst::State::Null);
                    // After the first nobody listens any more.
                    let _ = stopped.send((begun.elapsed(), result));
                }
            });
        publisher.start();
        let (took, result) = wait("the handler stops moqsink", &stops);
        assert_eq!(result, Ok(gst::StateChangeSuccess::Success));
        assert!(took < BOUND, "stopping took {took:?}");
        stop(&*publisher);
    });
}

#[test]
fn from_its_own_chain() {
    leaves_nothing(|| {
        let relay = Relay::start().expect("the relay starts");
        let publisher = live(&relay.url());
        let sink = publisher.element("moq").downgrade();
        let (stopped, stops) = mpsc::channel();
        sink_pad(&publisher).add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            if let Some(sink) = sink.upgrade() {
                sink.set_locked_state(true);
                let begun = Instant::now();
                let result = sink.set_state(gst::State::Null);
                // After the first nobody listens any more.
                let _ = stopped.send((begun.elapsed(), result));
            }
            gst::PadProbeReturn::Remove
        });
        publisher.start();
        let (took, result) = wait("the probe stops moqsink", &stops);
        assert_eq!(result, Ok(gst::StateChangeSuccess::Success));
        assert!(took < BOUND, "stopping took {took:?}");
        stop(&*publisher);
    });
}

#[test]
fn from_inside_another_runtime() {
    leaves_nothing(|| {
        let scene = Scene::new();
        let sink = scene.publisher.element("moq");
        wait_property(&sink, "connected", DEADLINE, |up: &bool| *up);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            tokio::task::yield_now().await;
            stop(&*scene.publisher);
        });
    });
}

#[test]
fn alone_in_a_playing_pipeline_and_it_publishes_again() {
    leaves_nothing(|| {
        let relay = Relay::start().expect("the relay starts");
        // Between source and sink, so that a refused buffer does not end the source.
        let publisher = Running::launch(&format!(
            "{} ! identity name=before ! moq.sink_0 {}",
            live_opus(),
            moqsink(&relay.url(), &unique_broadcast("again"))
        ));
        let (sink, pad) = (publisher.element("moq"), sink_pad(&publisher));
        let gate = publisher
            .element("before")
            .static_pad("src")
            .expect("a pad");
        connect(&publisher);
        sink.set_locked_state(true);
        for _ in 0..3 {
            let (idle, idles) = mpsc::channel();
            let types = gst::PadProbeType::BLOCK_DOWNSTREAM | gst::PadProbeType::BUFFER;
            let block = gate.add_probe(types, move |_, _| {
                // After the first nobody listens any more.
                let _ = idle.send(());
                gst::PadProbeReturn::Ok
            });
            wait("the source is held", &idles);
            stop(&sink);
            let played = sink.set_state(gst::State::Playing);
            assert_eq!(played, Ok(gst::StateChangeSuccess::Success));
            gate.remove_probe(block.expect("the probe is there"));
            wait_property(&pad, "active-track", DEADLINE, Option::<String>::is_some);
        }
        sink.set_locked_state(false);
        stop(&*publisher);
    });
}

#[test]
fn a_start_that_fails_leaves_ready_and_can_be_tried_again() {
    leaves_nothing(|| {
        let sink = gst::ElementFactory::make("moqsink")
            .property("broadcast", unique_broadcast("try"))
            .build()
            .expect("moqsink");
        sink.set_state(gst::State::Ready)
            .expect("READY needs no settings");
        assert!(sink.set_state(gst::State::Playing).is_err());
        assert_eq!(sink.current_state(), gst::State::Ready);
        sink.set_property("url", nowhere());
        let paused = sink.set_state(gst::State::Paused);
        assert_eq!(paused, Ok(gst::StateChangeSuccess::Success));
        stop(&sink);
    });
}

/// Pushes into `pad` until it is told to end, as an upstream does that outlives every refusal.
fn pusher(pad: &gst::Pad, ended: &Arc<AtomicBool>) -> thread::JoinHandle<()> {
    let (pad, ended) = (pad.clone(), ended.clone());
    thread::spawn(move || {
        let caps = "audio/x-opus,rate=48000,channels=2,channel-mapping-family=0";
        let caps: gst::Caps = caps.parse().expect("caps");
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        // Kept, and sent again when the pad is linked to one that takes them.
        pad.push_event(gst::event::StreamStart::new("stress"));
        pad.push_event(gst::event::Caps::new(&caps));
        pad.push_event(gst::event::Segment::new(segment.as_ref()));
        while !ended.load(Ordering::Acquire) {
            let mut buffer = gst::Buffer::from_slice([0xfc, 0xff, 0xfe]);
            let times = buffer.get_mut().expect("nobody else has the buffer");
            times.set_pts(gst::ClockTime::ZERO);
            // A pad that is released or not active refuses it.
            let _ = pad.push(buffer);
            thread::yield_now();
        }
    })
}

#[test]
fn pads_come_and_go_while_states_change() {
    /// How often each thread does what it does.
    const ROUNDS: usize = 300;
    leaves_nothing(|| {
        init();
        let sink = gst::ElementFactory::make("moqsink")
            .property("url", nowhere())
            .property("broadcast", unique_broadcast("stress"))
            .build()
            .expect("moqsink");
        sink.set_state(gst::State::Ready).expect("READY");
        common::watchdog("pads come and go", 2 * DEADLINE, || {
            let ended = Arc::new(AtomicBool::new(false));
            let sources = [(); 2].map(|()| {
                let source = gst::Pad::new(gst::PadDirection::Src);
                source.set_active(true).expect("a pad activates");
                source
            });
            let pushers = sources.each_ref().map(|source| pusher(source, &ended));
            let pads = sources.map(|source| {
                let (sink, ended) = (sink.clone(), ended.clone());
                thread::spawn(move || {
                    for round in 0.. {
                        if ended.load(Ordering::Acquire) {
                            break;
                        }
                        let pad = sink.request_pad_simple("sink_%u").expect("a pad");
                        source.link(&pad).expect("the pads link");
                        thread::sleep(Duration::from_micros(100 * (round % 7)));
                        if round % 2 == 0 {
                            source.unlink(&pad).expect("the pads were linked");
                        }
                        sink.release_request_pad(&pad);
                    }
                })
            });
            for round in 0..ROUNDS {
                let up = [gst::State::Paused, gst::State::Playing][round % 2];
                let changed = sink.set_state(up);
                assert_eq!(changed, Ok(gst::StateChangeSuccess::Success));
                let changed = sink.set_state(gst::State::Ready);
                assert_eq!(changed, Ok(gst::StateChangeSuccess::Success));
            }
            ended.store(true, Ordering::Release);
            for thread in pads.into_iter().chain(pushers) {
                thread.join().expect("no panic");
            }
        });
        assert_eq!(sink.num_sink_pads(), 0);
        stop(&sink);
    });
}
