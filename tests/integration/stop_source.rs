// SPDX-License-Identifier: MIT
//! Stopping `moqsrc` takes a bounded time in every situation and leaves nothing behind.

use std::{
    sync::{Mutex, mpsc},
    time::Instant,
};

use gst::prelude::*;

use crate::common::{
    self, Packets, Path, Proxy, Publisher, Relay, Running,
    media::moqsrc,
    pipeline::{DEADLINE, wait_property},
    publisher,
    scene::{SILENCE, opus},
    stops::{BOUND, Scene, leaves_nothing, stop, time_stop, wait},
    unique_broadcast,
};

const TWO_SINKS: &str = "moq.video_0 ! queue ! fakesink name=video sync=false \
     moq.audio_0 ! queue ! fakesink name=audio sync=false";

/// Plays until both tracks have come.
fn play(source: &str) -> Running {
    let player = Running::launch(&format!("{source} {TWO_SINKS}"));
    let tracks = ["video", "audio"].map(|name| Packets::into_sink(&player.element(name)));
    player.start();
    for track in tracks {
        track.wait_count(3, DEADLINE);
    }
    player
}

/// Stops moqsrc alone while a push of it is stuck, then lets go and stops the rest.
fn stop_stuck(player: &Running, release: impl FnOnce()) {
    let source = player.element("moq");
    source.set_locked_state(true);
    let time = player.base_time();
    stop(&source);
    assert!(source.src_pads().is_empty(), "the pads are gone");
    assert_eq!(player.base_time(), time, "the others play on");
    release();
    stop(&**player);
}

#[test]
fn without_a_relay() {
    leaves_nothing(|| {
        let port = Relay::free_port().expect("a free port");
        let line = format!("{} fakesink", moqsrc(&Relay::url_at(port), "nothing"));
        let player = Running::play(&line);
        let source = player.element("moq");
        wait_property(&source, "status", DEADLINE, |status: &gst::glib::Value| {
            format!("{status:?}").contains("Connecting")
        });
        stop(&*player);
    });
}

#[test]
fn with_a_relay_that_cannot_be_reached_any_more() {
    leaves_nothing(|| {
        let scene = Scene::new();
        let proxy = Proxy::start(scene.relay.addr(), Path::default()).expect("the proxy starts");
        let player = play(&moqsrc(&proxy.url(), &scene.broadcast));
        proxy.cut();
        stop(&*player);
    });
}

#[test]
fn while_a_dial_is_never_answered() {
    leaves_nothing(|| {
        let scene = Scene::new();
        let proxy = Proxy::start(scene.relay.addr(), Path::default()).expect("the proxy starts");
        proxy.cut();
        let line = format!("{} fakesink", moqsrc(&proxy.url(), &scene.broadcast));
        let player = Running::play(&line);
        while proxy.lost() == 0 {
            std::thread::yield_now();
        }
        stop(&*player);
    });
}

#[test]
fn while_it_plays() {
    leaves_nothing(|| {
        let scene = Scene::new();
        let player = play(&scene.moqsrc());
        let took = time_stop(&*player);
        assert!(took < BOUND / 3, "a live connection ends at once: {took:?}");
    });
}

/// Blocks the pad at its next buffer, and tells when it does.
fn block(pad: &gst::Pad, blocked: mpsc::Sender<gst::glib::GString>) {
    let types = gst::PadProbeType::BLOCK | gst::PadProbeType::BUFFER;
    pad.add_probe(types, move |pad, _| {
        // After the test has seen all that it wants nobody listens any more.
        let _ = blocked.send(pad.name());
        gst::PadProbeReturn::Ok
    });
}

#[test]
fn with_a_pad_that_a_probe_blocks() {
    leaves_nothing(|| {
        let scene = Scene::new();
        let player = Running::launch(&format!("{} {TWO_SINKS}", scene.moqsrc()));
        let (blocked, blocks) = mpsc::channel();
        player
            .element("moq")
            .connect_pad_added(move |_, pad| block(pad, blocked.clone()));
        player.start();
        for _ in 0..2 {
            wait("the probe blocks", &blocks);
        }
        stop(&*player);
    });
}

#[test]
fn with_many_pads_that_probes_block() {
    /// More than fit into the bound one after the other.
    const PADS: usize = 64;
    leaves_nothing(|| {
        let relay = Relay::start().expect("the relay starts");
        let name = unique_broadcast("many-blocked");
        let tracks = (0..PADS).map(|track| (format!("track-{track:02}"), opus()));
        let audio = serde_json::Value::Object(tracks.collect());
        let catalog = serde_json::json!({"audio": {"renditions": audio}});
        let publisher = Publisher::start(&relay.url(), &name, &catalog.to_string());
        let tracks: Vec<_> = (0..PADS)
            .map(|track| publisher.track(&format!("track-{track:02}")))
            .collect();
        let player = Running::launch(&format!(
            "{} moq.audio_0 ! fakesink async=false",
            moqsrc(&relay.url(), &name)
        ));
        let (blocked, blocks) = mpsc::channel();
        let pipeline = player.downgrade();
        player.element("moq").connect_pad_added(move |_, pad| {
            block(pad, blocked.clone());
            if pad.name() == "audio_0" {
                return;
            }
            let sink = gst::ElementFactory::make("fakesink").property("async", false);
            let sink = sink.build().expect("a fakesink");
            let pipeline = pipeline.upgrade().expect("the pipeline is there");
            pipeline.add(&sink).expect("the sink is added");
            sink.sync_state_with_parent().expect("the sink plays");
            let target = sink.static_pad("sink").expect("a pad");
            pad.link(&target).expect("the pads link");
        });
        player.start();
        for track in &tracks {
            publisher.wait_used(track);
            publisher::write(track, 0, &SILENCE);
        }
        for _ in 0..PADS {
            wait("the probe blocks", &blocks);
        }
        stop(&*player);
    });
}

#[test]
fn with_a_full_queue_before_a_sink_that_never_plays() {
    leaves_nothing(|| {
        let scene = Scene::new();
        let player = Running::launch(&format!(
            "{} moq.video_0 ! queue name=queue max-size-buffers=1 ! fakesink name=out",
            scene.moqsrc()
        ));
        let sink = player.element("out");
        sink.set_locked_state(true);
        let paused = sink.set_state(gst::State::Paused);
        assert_eq!(paused, Ok(gst::StateChangeSuccess::Async));
        let (full, fills) = mpsc::channel();
        player.element("queue").connect("overrun", false, move |_| {
            // After the first nobody listens any more.
            let _ = full.send(());
            None
        });
        player.start();
        wait("the queue is full", &fills);
        stop_stuck(&player, || {
            sink.set_locked_state(false);
        });
    });
}

#[test]
fn alone_while_downstream_plays_out_what_it_has() {
    leaves_nothing(|| {
        let scene = Scene::new();
        // Frames come 2 s before they are shown, and the queue has room for two thirds of a second.
        let player = Running::launch(&format!(
            "{} latency=2000 moq.video_0 ! queue name=queue max-size-buffers=20 max-size-bytes=0 \
             max-size-time=0 ! fakesink name=out sync=true",
            scene.moqsrc()
        ));
        let queue = player.element("queue");
        let [entered, shown] = [
            Packets::into_sink(&queue),
            Packets::into_sink(&player.element("out")),
        ];
        let (full, fills) = mpsc::channel();
        queue.connect("overrun", false, move |_| {
            // After the first nobody listens any more.
            let _ = full.send(());
            None
        });
        player.start();
        shown.wait_count(1, DEADLINE);
        while fills.try_recv().is_ok() {}
        wait("the queue is full again", &fills);
        let source = player.element("moq");
        source.set_locked_state(true);
        stop(&source);
        player.remove(&source).expect("moqsrc is taken out");
        let entered = entered.so_far();
        let shown = shown.wait_count(entered.len(), DEADLINE);
        assert_eq!(shown, entered);
        stop(&*player);
    });
}

/// A player whose sink's handoff sticks; it ends when the second channel is closed or written to.
fn stick(scene: &Scene) -> (Running, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let player = Running::launch(&format!(
        "{} moq.video_0 ! fakesink name=out sync=false signal-handoffs=true",
        scene.moqsrc()
    ));
    let (stuck, sticks) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let released = Mutex::new(released);
    player.element("out").connect("handoff", false, move |_| {
        // Both ends are gone once the test has seen enough.
        let _ = stuck.send(());
        let _ = released.lock().expect("no panic in a handoff").recv();
        None
    });
    (player, sticks, release)
}

#[test]
fn with_an_application_that_holds_a_frame_until_a_flush() {
    leaves_nothing(|| {
        let scene = Scene::new();
        let (player, sticks, release) = stick(&scene);
        let sink = player.element("out").static_pad("sink").expect("a pad");
        let release = Mutex::new(Some(release));
        sink.add_probe(gst::PadProbeType::EVENT_FLUSH, move |_, _| {
            release.lock().expect("no panic in a probe").take();
            gst::PadProbeReturn::Ok
        });
        player.start();
        wait("a frame is held", &sticks);
        stop_stuck(&player, || ());
    });
}

#[test]
fn with_an_application_that_holds_a_frame_for_ever() {
    leaves_nothing(|| {
        let scene = Scene::new();
        let (player, sticks, release) = stick(&scene);
        player.start();
        wait("a frame is held", &sticks);
        stop_stuck(&player, || drop(release));
    });
}

#[test]
fn alone_in_a_playing_pipeline_and_it_plays_again() {
    leaves_nothing(|| {
        let scene = Scene::new();
        let player = Running::launch(&format!("{} fakesink name=out sync=false", scene.moqsrc()));
        let (source, sink) = (player.element("moq"), player.element("out"));
        let target = sink.static_pad("sink").expect("a pad");
        source.connect_pad_added(move |_, pad| {
            if pad.name() == "video_0" {
                pad.link(&target).expect("the pad links");
            }
        });
        let packets = Packets::into_sink(&sink);
        player.start();
        packets.wait_count(3, DEADLINE);
        source.set_locked_state(true);
        for _ in 0..3 {
            stop(&source);
            let seen = packets.count();
            let played = source.set_state(gst::State::Playing);
            assert_eq!(played, Ok(gst::StateChangeSuccess::Success));
            packets.wait_count(seen + 3, DEADLINE);
        }
        source.set_locked_state(false);
        stop(&*player);
    });
}

#[test]
fn from_its_own_streaming_thread() {
    leaves_nothing(|| {
        let scene = Scene::new();
        let player = Running::launch(&format!(
            "{} moq.video_0 ! fakesink name=video sync=false signal-handoffs=true \
             moq.audio_0 ! fakesink name=audio sync=false",
            scene.moqsrc()
        ));
        let own = player.element("moq").downgrade();
        let (stopped, stops) = mpsc::channel();
        player.element("video").connect("handoff", false, move |_| {
            let begun = Instant::now();
            let own = own.upgrade()?;
            own.set_locked_state(true);
            let result = own.set_state(gst::State::Null);
            // After the first nobody listens any more.
            let _ = stopped.send((begun.elapsed(), result));
            None
        });
        player.start();
        let (took, result) = wait("the handoff stops moqsrc", &stops);
        assert_eq!(result, Ok(gst::StateChangeSuccess::Success));
        assert!(took < BOUND, "stopping took {took:?}");
        stop(&*player);
    });
}

#[test]
fn from_a_handler_of_pad_added() {
    leaves_nothing(|| {
        let scene = Scene::new();
        let player = Running::launch(&format!("{} fakesink", scene.moqsrc()));
        let source = player.element("moq");
        source.set_locked_state(true);
        let (stopped, stops) = mpsc::channel();
        source.connect_pad_added(move |source, _| {
            let begun = Instant::now();
            let result = source.set_state(gst::State::Null);
            // After the first nobody listens any more.
            let _ = stopped.send((begun.elapsed(), result));
        });
        let played = source.set_state(gst::State::Playing);
        assert_eq!(played, Ok(gst::StateChangeSuccess::Success));
        let (took, result) = wait("the handler stops moqsrc", &stops);
        assert_eq!(result, Ok(gst::StateChangeSuccess::Success));
        assert!(took < BOUND, "stopping took {took:?}");
        assert!(
            stops.recv_timeout(BOUND / 10).is_err(),
            "no further pad comes"
        );
        assert!(source.src_pads().is_empty(), "no pad stays");
        stop(&*player);
    });
}

#[test]
fn from_inside_another_runtime() {
    leaves_nothing(|| {
        let scene = Scene::new();
        let player = play(&scene.moqsrc());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            tokio::task::yield_now().await;
            stop(&*player);
        });
    });
}

#[test]
fn a_start_that_fails_leaves_ready_and_can_be_tried_again() {
    leaves_nothing(|| {
        let scene = Scene::new();
        let source = gst::ElementFactory::make("moqsrc")
            .property("url", scene.relay.url())
            .property("tls-disable-verify", true)
            .build()
            .expect("moqsrc");
        source
            .set_state(gst::State::Ready)
            .expect("READY needs no settings");
        assert!(source.set_state(gst::State::Playing).is_err());
        assert_eq!(source.current_state(), gst::State::Ready);
        source.set_property("broadcast", &scene.broadcast);
        let paused = source.set_state(gst::State::Paused);
        assert_eq!(paused, Ok(gst::StateChangeSuccess::NoPreroll));
        common::pipeline::wait_pad(&source, "video_0", DEADLINE);
        stop(&source);
    });
}
