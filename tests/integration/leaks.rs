// SPDX-License-Identifier: MIT
//! Whatever states the elements go through, they leave nothing behind.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use gst::{glib, prelude::*};

use crate::common::{
    self, Path, Proxy, Relay, Resources, Running, Viewer, init,
    media::{Video, live_opus, moqsink, moqsrc},
    pipeline::{DEADLINE, wait_pad, wait_property, wait_told, wait_until},
    stops::BOUND,
    unique_broadcast, watchdog,
};

const SEQUENCES: usize = 250;
/// How many of them one pair of pipelines goes through.
const PER_PAIR: usize = 25;
const STATES: [gst::State; 4] = [
    gst::State::Null,
    gst::State::Ready,
    gst::State::Paused,
    gst::State::Playing,
];
/// The whole test, on a slow machine.
const LIMIT: Duration = Duration::from_secs(150);
/// How long threads and references may take to go after the last state change.
const RETURN: Duration = Duration::from_secs(40);

/// The tracer that knows which objects of GStreamer are alive.
fn leaks_tracer() -> gst::Tracer {
    let factories = gst::TracerFactory::factories();
    let mut factories = factories.iter();
    let leaks = factories
        .find(|factory| factory.name() == "leaks")
        .expect("GStreamer has its tracer of leaks");
    let leaks = leaks.load().expect("the tracer loads");
    let leaks = leaks
        .downcast::<gst::TracerFactory>()
        .expect("it is a tracer's factory");
    glib::Object::with_type(leaks.tracer_type())
        .downcast()
        .expect("the factory makes tracers")
}

/// How many objects of each type are alive, without those that GStreamer keeps for ever.
fn alive(tracer: &gst::Tracer) -> BTreeMap<String, usize> {
    let kept = [
        gst::Caps::static_type(),
        gst::PadTemplate::static_type(),
        gst::PluginFeature::static_type(),
        gst::Plugin::static_type(),
        gst::Clock::static_type(),
        gst::TaskPool::static_type(),
        gst::Registry::static_type(),
    ];
    let live: gst::Structure = tracer.emit_by_name("get-live-objects", &[]);
    let objects = live.get::<gst::List>("live-objects-list").expect("a list");
    let mut alive = BTreeMap::new();
    for object in objects.iter() {
        let object = object.get::<gst::Structure>().expect("a structure");
        let type_ = object.value("object").expect("the object").type_();
        if !kept.iter().any(|kept| type_.is_a(*kept)) {
            *alive.entry(type_.name().to_owned()).or_default() += 1;
        }
    }
    // GStreamer 1.22 never gets done freeing an answer that holds buffers.
    std::mem::forget(live);
    alive
}

/// A publisher and a subscriber that go through states by a deterministic dice.
struct Pair {
    publisher: Running,
    player: Running,
    requested: Vec<gst::Pad>,
}

impl Pair {
    fn new(url: &str) -> Self {
        let broadcast = unique_broadcast("leaks");
        let video = Video {
            width: 64,
            height: 48,
            ..Video::default()
        };
        let publisher = Running::launch(&format!(
            "{} ! moq.sink_0 {} ! moq.sink_1 {}",
            video.live(),
            live_opus(),
            moqsink(url, &broadcast)
        ));
        let player = Running::launch(&format!(
            "{} fakesink name=video_0 sync=false fakesink name=audio_0 sync=false",
            moqsrc(url, &broadcast)
        ));
        let weak = player.downgrade();
        player.element("moq").connect_pad_added(move |_, pad| {
            let sink = weak
                .upgrade()
                .and_then(|player| player.by_name(&pad.name()));
            if let Some(sink) = sink.and_then(|sink| sink.static_pad("sink")) {
                // A pad of an earlier run may still be leaving.
                let _ = pad.link(&sink);
            }
        });
        Self {
            publisher,
            player,
            requested: Vec::new(),
        }
    }

    /// One sequence of changes on both pipelines, with pads that come and go.
    fn change(&mut self, dice: &mut Dice) {
        for _ in 0..dice.below(4) + 2 {
            self.request_or_release(dice);
            let pipeline = match dice.below(2) {
                0 => &self.publisher,
                _ => &self.player,
            };
            let state = STATES[dice.below(STATES.len())];
            let changed = watchdog(&format!("a change to {state:?}"), 4 * BOUND, || {
                pipeline.set_state(state)
            });
            assert!(changed.is_ok(), "a change to {state:?}");
            // Pace alone: changes come in any phase of what the earlier ones began.
            let pace = gst::ClockTime::from_mseconds(dice.below(60) as u64);
            let message = pipeline
                .bus()
                .timed_pop_filtered(pace, &[gst::MessageType::Error]);
            if let Some(message) = message {
                panic!(
                    "no error is posted: {}",
                    common::pipeline::describe(&message)
                );
            }
        }
    }

    fn request_or_release(&mut self, dice: &mut Dice) {
        let sink = self.publisher.element("moq");
        match dice.below(4) {
            0 => self.requested.extend(sink.request_pad_simple("sink_%u")),
            1 => {
                if let Some(pad) = self.requested.pop() {
                    sink.release_request_pad(&pad);
                }
            }
            _ => {}
        }
    }

    /// Both play in the end, however they got there.
    fn settle(&self) {
        for pipeline in [&self.publisher, &self.player] {
            pipeline.start();
        }
        wait_pad(&self.player.element("moq"), "video_0", RETURN);
    }
}

/// The same numbers in every run.
struct Dice(u64);

impl Dice {
    /// A number below `limit`, by Knuth's multiplier for a linear congruential generator.
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as usize % limit
    }
}

/// A relay behind a bad network.
struct Faults {
    relay: Option<Relay>,
    proxy: Proxy,
    path: Path,
}

impl Faults {
    fn start() -> Self {
        let relay = Relay::start().expect("the relay starts");
        let path = Path {
            delay: Duration::from_millis(5),
            loss: 0.02,
            ..Path::default()
        };
        let proxy = Proxy::start(relay.addr(), path).expect("the proxy starts");
        Self {
            relay: Some(relay),
            proxy,
            path,
        }
    }

    /// Something happens to the network or the relay, or is over.
    fn happen(&mut self, dice: &mut Dice) {
        match dice.below(16) {
            0 | 1 => self.proxy.cut(),
            2 => self.proxy.rebind(),
            3 | 4 => self.proxy.set_path(self.path),
            5 => self.restart_relay(),
            _ => self.end(),
        }
    }

    fn restart_relay(&mut self) {
        let Some(relay) = self.relay.take() else {
            return;
        };
        let port = relay.addr().port();
        relay.kill();
        self.relay = Some(Relay::start_at(port).expect("its port is free"));
    }

    fn end(&self) {
        self.proxy.restore();
        self.proxy.set_path(Path::default());
    }
}

#[test]
fn random_changes_of_state_in_faults_leave_nothing() {
    change_states(1);
}

#[test]
fn other_changes_of_state_in_faults_leave_nothing() {
    change_states(2);
}

fn change_states(seed: u64) {
    init();
    let tracer = leaks_tracer();
    let mut faults = Faults::start();
    let mut dice = Dice(seed);
    let begun = Instant::now();
    let mut run = |dice: &mut Dice, sequences: usize| {
        let mut pair = Pair::new(&faults.proxy.url());
        for _ in 0..sequences {
            faults.happen(dice);
            pair.change(dice);
        }
        faults.end();
        pair.settle();
    };
    // The first one makes what stays for the life of the process.
    run(&mut dice, 1);
    let before = Resources::now();
    let pairs = SEQUENCES.div_ceil(PER_PAIR);
    for _ in 0..pairs {
        run(&mut dice, PER_PAIR);
    }
    before.wait_return(RETURN);
    let left = alive(&tracer);
    assert!(left.is_empty(), "objects are alive: {left:?}");
    let took = begun.elapsed();
    eprintln!("{} sequences in {took:?}", pairs * PER_PAIR);
    assert!(took < LIMIT, "it took {took:?}");
}

#[test]
fn two_hundred_sessions_that_come_and_go_leave_nothing() {
    init();
    let tracer = leaks_tracer();
    let broadcast = unique_broadcast("sessions");
    let host = Running::launch(&format!(
        "{} ! moq.sink_0 moqsink name=moq mode=listen bind=127.0.0.1:0 broadcast={broadcast}",
        live_opus(),
    ));
    host.start();
    let told = wait_told(&host.bus(), "moq-listening", |_| true);
    let port: u32 = told.get("port").expect("a port");
    drop(told);
    let element = host.element("moq");
    let see = || {
        let viewer = Viewer::start(&format!("https://127.0.0.1:{port}/"), &broadcast);
        viewer.wait("a frame comes", DEADLINE, |seen| seen.count("audio") > 0);
    };
    let wait_gone = || {
        wait_property(&element, "sessions", DEADLINE, |count: &u32| *count == 0);
        wait_until("every end is told", DEADLINE, || {
            while host.bus().pop().is_some() {}
            let stats: gst::Structure = element.property("stats");
            stats.get::<u64>("sessions-started") == stats.get("sessions-ended")
        });
    };
    see();
    wait_gone();
    let before = Resources::now();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..25).for_each(|_| see()));
        }
    });
    wait_gone();
    before.wait_return(RETURN);
    let stats: gst::Structure = element.property("stats");
    assert_eq!(stats.get::<u64>("sessions-started"), Ok(201), "{stats}");
    drop((element, host));
    let left = alive(&tracer);
    assert!(left.is_empty(), "objects are alive: {left:?}");
}
