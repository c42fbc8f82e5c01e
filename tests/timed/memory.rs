// SPDX-License-Identifier: MIT
//! Peak memory of one element at a high rate: each scene in a process of its own, as nextest runs them,
//! with the relay and the other end in processes beside it.
//!
//! `cargo nextest run --test timed memory:: --no-capture` prints the peaks; with `MEMORY_SECONDS=60` in front of
//! it each scene lasts a minute.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use gst::prelude::*;

use crate::common::{
    Feeder, Packets, Path, Proxy, Relay, Running, init,
    media::moqsrc,
    pipeline::{DEADLINE, wait_until},
    resources::status,
    unique_broadcast,
};

const ROLE: &str = "MOQ_MEMORY_ROLE";
const MIB: u64 = 1 << 20;
/// What an element may need beyond its cache and the newest group.
const ALLOWED: u64 = 40 * MIB;
const FPS: u64 = 30;
/// Frames from keyframe to keyframe.
const GOP: u64 = 15;
/// How long the media of a scene last, in seconds, unless [`LENGTH_VARIABLE`] says something else.
const LENGTH: u64 = 10;
const LENGTH_VARIABLE: &str = "MEMORY_SECONDS";
/// The defaults of `cache-size`.
const SINK_CACHE: u64 = 64 * MIB;
const SOURCE_CACHE: u64 = 16 * MIB;

fn length() -> Duration {
    let seconds = std::env::var(LENGTH_VARIABLE).ok();
    let seconds = seconds.map(|text| text.parse().expect("seconds"));
    Duration::from_secs(seconds.unwrap_or(LENGTH))
}

/// Resident memory from now on.
struct Meter {
    idle: u64,
}

impl Meter {
    fn start() -> Self {
        init();
        // Has the kernel forget the peak so far, proc(5).
        fs::write("/proc/self/clear_refs", "5").expect("one's own peak can be reset");
        Self {
            idle: status("VmRSS"),
        }
    }

    /// Prints the peak over the idle process, which stays within the bound.
    fn check(&self, scene: &str, cache: u64, mbit: u64) {
        let group = mbit * 1_000_000 / 8 * GOP / FPS;
        let (peak, most) = (status("VmHWM") - self.idle, cache + group + ALLOWED);
        eprintln!(
            "{scene}: peak {} MiB, allowed {} MiB",
            peak / MIB,
            most / MIB
        );
        assert!(
            peak <= most,
            "{scene}: {} of {} MiB",
            peak / MIB,
            most / MIB
        );
    }
}

/// Another process of this program, ended when it is dropped.
struct Other(Child);

impl Other {
    fn start(role: &str) -> Self {
        let program = std::env::current_exe().expect("this program has a path");
        let child = Command::new(program)
            .args(["--exact", "memory::the_other_process", "--nocapture"])
            .env(ROLE, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        Self(child.expect("another process starts"))
    }

    /// A relay, and its address.
    fn relay() -> (Self, String) {
        let mut this = Self::start("relay");
        let output = this.0.stdout.take().expect("piped");
        let mut lines = BufReader::new(output).lines().map_while(Result::ok);
        let url = lines.find_map(|line| Some(line.split_once("URL ")?.1.to_owned()));
        (this, url.expect("the relay comes up"))
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the other processes do, until their standard input ends; nothing in the test run itself.
#[test]
fn the_other_process() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let words: Vec<&str> = role.split(' ').collect();
    match words[..] {
        ["relay"] => {
            let relay = Relay::start().expect("a relay");
            println!("\nURL {}", relay.url());
            wait_end();
        }
        ["view", url, broadcast] => {
            let _viewer = view(url, broadcast);
            wait_end();
        }
        ["publish", url, broadcast, mbit] => {
            let feeder = Feeder::start(url, broadcast, true);
            let stop = AtomicBool::new(false);
            thread::scope(|scope| {
                scope.spawn(|| feed(&feeder, mbit.parse().expect("a number"), &stop));
                wait_end();
                stop.store(true, Ordering::Relaxed);
            });
        }
        _ => panic!("no such role: {role}"),
    }
}

fn wait_end() {
    // It ends with the test, however that ends.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

fn view(url: &str, broadcast: &str) -> Running {
    let sink = "fakesink name=out sync=false async=false";
    Running::play(&format!("{} ! {sink}", moqsrc(url, broadcast)))
}

/// Pushes access units in real time until `stop`.
fn feed(feeder: &Feeder, mbit: u64, stop: &AtomicBool) {
    let bytes = (mbit * 1_000_000 / 8 / FPS) as usize;
    let begun = Instant::now();
    for number in 0.. {
        let due = Duration::from_secs(1) * number as u32 / FPS as u32;
        thread::sleep(due.saturating_sub(begun.elapsed()));
        if stop.load(Ordering::Relaxed) {
            return;
        }
        feeder.push(feeder.now(), number % GOP == 0, bytes, number as u32);
    }
}

/// Feeds a second, and [`length`] more.
fn feed_long(feeder: &Feeder, mbit: u64, after_a_second: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| feed(feeder, mbit, &stop));
        thread::sleep(Duration::from_secs(1));
        after_a_second();
        thread::sleep(length());
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_publisher_at_200_mbit() {
    let (_relay, url) = Other::relay();
    let broadcast = unique_broadcast("fast");
    let _viewer = Other::start(&format!("view {url} {broadcast}"));
    let meter = Meter::start();
    let feeder = Feeder::start(&url, &broadcast, true);
    feed_long(&feeder, 200, || {});
    meter.check("publisher, 200 Mbit/s", SINK_CACHE, 200);
}

#[test]
fn a_publisher_whose_relay_is_gone() {
    let (relay, url) = Other::relay();
    let broadcast = unique_broadcast("gone");
    let _viewer = Other::start(&format!("view {url} {broadcast}"));
    let meter = Meter::start();
    let feeder = Feeder::start(&url, &broadcast, true);
    feed_long(&feeder, 50, || drop(relay));
    meter.check("publisher, relay gone, 50 Mbit/s", SINK_CACHE, 50);
}

#[test]
fn a_publisher_on_a_slow_path() {
    slow_publisher("publisher, a tenth of 50 Mbit/s", 50, 5);
}

#[test]
fn a_publisher_on_a_path_that_is_far_too_slow() {
    slow_publisher("publisher, a twentieth of 200 Mbit/s", 200, 10);
}

fn slow_publisher(scene: &str, mbit: u64, carried: u64) {
    let (_relay, url) = Other::relay();
    let broadcast = unique_broadcast("slow");
    let _viewer = Other::start(&format!("view {url} {broadcast}"));
    let meter = Meter::start();
    let proxy = slow(&url, carried * 1_000_000);
    let feeder = Feeder::start(&proxy.url(), &broadcast, true);
    feed_long(&feeder, mbit, || {});
    meter.check(scene, SINK_CACHE, mbit);
}

#[test]
fn a_publisher_of_a_file_at_once() {
    burst("publisher, a file at once", false);
}

#[test]
fn a_publisher_of_a_live_burst() {
    burst("publisher, a live burst", true);
}

/// What is 10 s at 200 Mbit/s, as fast as it is taken.
fn burst(scene: &str, live: bool) {
    let (_relay, url) = Other::relay();
    let broadcast = unique_broadcast("burst");
    let _viewer = Other::start(&format!("view {url} {broadcast}"));
    let meter = Meter::start();
    let proxy = slow(&url, 10_000_000);
    let feeder = Feeder::start(&proxy.url(), &broadcast, live);
    for number in 0..300 {
        let pts = gst::ClockTime::SECOND * number / FPS;
        feeder.push(pts, number % GOP == 0, 833_333, number as u32);
    }
    meter.check(scene, SINK_CACHE, 200);
}

/// A path of `bandwidth` to the relay.
fn slow(url: &str, bandwidth: u64) -> Proxy {
    let addr = url.trim_start_matches("https://").trim_end_matches('/');
    let path = Path {
        bandwidth: Some(bandwidth),
        ..Path::default()
    };
    Proxy::start(addr.parse().expect("an address"), path).expect("a proxy")
}

/// A subscriber to 200 Mbit/s, whose downstream is `out`.
fn subscriber(scene: &str, mbit: u64, slowed: bool, then: impl FnOnce(&Running, Other)) {
    let (relay, url) = Other::relay();
    let broadcast = unique_broadcast("subscriber");
    let _publisher = Other::start(&format!("publish {url} {broadcast} {mbit}"));
    let meter = Meter::start();
    let proxy = slowed.then(|| slow(&url, 40_000_000));
    let front = proxy.as_ref().map_or(url, Proxy::url);
    let viewer = view(&front, &broadcast);
    let out = viewer.element("out").static_pad("sink").expect("a pad");
    let came = Arc::new(AtomicU64::new(0));
    let seen = came.clone();
    out.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        seen.fetch_add(1, Ordering::Relaxed);
        gst::PadProbeReturn::Ok
    });
    wait_until("media come", DEADLINE, || came.load(Ordering::Relaxed) > 0);
    then(&viewer, relay);
    eprintln!("{} frames came", came.load(Ordering::Relaxed));
    meter.check(scene, SOURCE_CACHE, mbit);
}

#[test]
fn a_subscriber_at_200_mbit() {
    subscriber("subscriber, 200 Mbit/s", 200, false, |_, _relay| {
        thread::sleep(length());
    });
}

#[test]
fn a_subscriber_whose_downstream_is_blocked() {
    subscriber(
        "subscriber, downstream blocked, 200 Mbit/s",
        200,
        false,
        |viewer, _relay| {
            let out = viewer.element("out").static_pad("sink").expect("a pad");
            let block = gst::PadProbeType::BLOCK | gst::PadProbeType::BUFFER;
            let probe = out
                .add_probe(block, |_, _| gst::PadProbeReturn::Ok)
                .expect("a probe");
            thread::sleep(length());
            out.remove_probe(probe);
            let packets = Packets::of(&out);
            packets.wait_count(1, DEADLINE);
        },
    );
}

#[test]
fn a_subscriber_on_a_slow_path() {
    subscriber("subscriber, 40 Mbit/s for 50", 50, true, |_, _relay| {
        thread::sleep(length());
    });
}

#[test]
fn a_subscriber_whose_relay_is_gone() {
    subscriber(
        "subscriber, relay gone, 50 Mbit/s",
        50,
        false,
        |_, relay| {
            drop(relay);
            thread::sleep(length());
        },
    );
}
