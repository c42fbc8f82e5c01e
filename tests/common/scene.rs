// SPDX-License-Identifier: MIT
//! A broadcast with a good track beside bad ones, and a subscriber that takes all of them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use gst::prelude::*;
use moq_net::track;
use serde_json::{Value, json};

use super::{
    Packets, Pad, Publisher, Relay, Running, init,
    pipeline::{DEADLINE, describe},
    publisher::write,
    subscribe, unique_broadcast,
};

/// An Opus packet of 20 ms of silence.
pub(crate) const SILENCE: [u8; 3] = [0xf8, 0xff, 0xfe];
/// How many packets of the good track have to follow whatever the bad one did.
const MORE: usize = 25;

pub(crate) fn opus() -> Value {
    json!({"codec": "opus", "sampleRate": 48_000, "numberOfChannels": 2,
        "container": {"kind": "legacy"}})
}

/// A catalog of one good track and the others of each section.
pub(crate) fn catalog(video: Value, audio: Value, text: Value, data: Value) -> Value {
    let mut audio = audio;
    audio["good"] = opus();
    json!({"video": {"renditions": video}, "audio": {"renditions": audio},
        "text": {"renditions": text}, "gstData": {"renditions": data}})
}

pub(crate) fn legacy(entry: Value) -> Value {
    let mut entry = entry;
    entry["container"] = json!({"kind": "legacy"});
    entry
}

/// A bad track of each kind, named by its kind.
pub(crate) fn one_of_each() -> Value {
    catalog(
        json!({"video": legacy(json!({"codec": "vp8"}))}),
        json!({"audio": opus()}),
        json!({"text": legacy(json!({"format": "vtt"}))}),
        json!({"data": legacy(json!({"caps": "meta/x-klv, parsed=(boolean)true"}))}),
    )
}

pub(crate) const KINDS: [&str; 4] = ["video", "audio", "text", "data"];

/// A track that is as it should be, written in real time until it is dropped.
pub(crate) struct Good {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Good {
    fn start(track: track::Producer) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            for tick in 0.. {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                write(&track, tick * 20_000, &SILENCE);
                thread::sleep(Duration::from_millis(20));
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Good {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the good track goes on to the end");
        }
    }
}

/// A broadcast with a good track, and a subscriber that takes all of its tracks.
pub(crate) struct Scene {
    pub(crate) good: Option<Good>,
    pub(crate) publisher: Publisher,
    /// Tracks that were there before anybody asked for them.
    tracks: Vec<track::Producer>,
    pub(crate) subscriber: Running,
    pads: Vec<Pad>,
    added: mpsc::Receiver<Pad>,
    _relay: Relay,
}

impl Scene {
    pub(crate) fn start(name: &str, catalog: &Value) -> Self {
        init();
        let relay = Relay::start().expect("the relay starts");
        let broadcast = unique_broadcast(name);
        let publisher = Publisher::start(&relay.url(), &broadcast, &catalog.to_string());
        let sections = catalog.as_object().into_iter().flatten();
        let lists = sections.filter_map(|(_, section)| section["renditions"].as_object());
        let tracks = lists
            .flat_map(|list| list.keys())
            .map(|name| publisher.track(name));
        let mut tracks: Vec<_> = tracks.collect();
        let good = tracks.iter().position(|track| track.name() == "good");
        let good = tracks.swap_remove(good.expect("a good track"));
        let (subscriber, added) = subscribe(&relay, &broadcast);
        publisher.wait_used(&good);
        let mut this = Self {
            good: Some(Good::start(good)),
            publisher,
            tracks,
            subscriber,
            pads: Vec::new(),
            added,
            _relay: relay,
        };
        while !this.pads.iter().any(|pad| pad.track == "good") {
            let pad = this.added.recv_timeout(DEADLINE).expect("a pad is added");
            this.pads.push(pad);
        }
        this.good_goes_on();
        this
    }

    /// What passes the pad of a track.
    pub(crate) fn packets(&mut self, track: &str) -> Packets {
        loop {
            if let Some(pad) = self.pads.iter().find(|pad| pad.track == track) {
                return pad.packets.clone();
            }
            let pad = self.added.recv_timeout(DEADLINE).expect("a pad is added");
            self.pads.push(pad);
        }
    }

    /// A bad track that is read.
    pub(crate) fn track(&self, name: &str) -> track::Producer {
        let track = self.tracks.iter().find(|track| track.name() == name);
        let track = track.expect("a track of the catalog").clone();
        self.publisher.wait_used(&track);
        track
    }

    /// Waits for more packets of the good track, which are neither late nor out of order.
    pub(crate) fn good_goes_on(&self) {
        let good = self.pads.iter().find(|pad| pad.track == "good");
        let packets = &good.expect("the good track has a pad").packets;
        let before = packets.count();
        let passed = packets.wait_count(before + MORE, DEADLINE);
        let times: Vec<_> = passed[before..].iter().map(|packet| packet.pts).collect();
        assert!(times.is_sorted(), "{times:?}");
        let now = self.subscriber.current_running_time();
        let age = now
            .unwrap_or_default()
            .saturating_sub(times[MORE - 1].unwrap_or_default());
        assert!(age < gst::ClockTime::from_seconds(5), "{age} late");
    }

    /// The messages so far that `wanted` accepts.
    pub(crate) fn messages(&self, wanted: impl Fn(&gst::Message) -> bool) -> Vec<gst::Message> {
        let bus = self.subscriber.bus();
        std::iter::from_fn(|| bus.pop())
            .filter(|message| wanted(message))
            .collect()
    }

    /// The warnings so far, without those of bad tracks to which nothing was written.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let silent = self.tracks.iter().filter(|track| track.latest().is_none());
        let silent: Vec<_> = silent
            .map(|track| format!("\"{}\" gives nothing", track.name()))
            .collect();
        let mut warnings = self.all_warnings();
        warnings.retain(|warning| !silent.iter().any(|silent| warning.contains(silent)));
        warnings
    }

    /// All warnings so far.
    pub(crate) fn all_warnings(&self) -> Vec<String> {
        let warnings = self.messages(|message| {
            let kind = message.type_();
            assert_ne!(kind, gst::MessageType::Error, "{}", describe(message));
            kind == gst::MessageType::Warning
        });
        warnings.iter().map(describe).collect()
    }
}
