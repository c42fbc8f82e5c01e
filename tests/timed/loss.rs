// SPDX-License-Identifier: MIT
//! A long way that loses packets, on either side of the relay, with defaults.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::common::{
    Feeder, Packets, Path, Proxy, Relay, Running,
    feeder::number,
    init,
    media::moqsrc,
    pipeline::{DEADLINE, wait_until},
    unique_broadcast,
};

const FPS: u32 = 30;
const SECONDS: u32 = 10;
/// One frame of 4 Mbit/s.
const BYTES: usize = 4_000_000 / 8 / FPS as usize;

/// 25 ms each way, and one packet of 100 lost, the same ones in every run.
fn lossy() -> Path {
    Path {
        delay: Duration::from_millis(25),
        loss: 0.01,
        ..Path::default()
    }
}

#[test]
fn nothing_is_lost_when_the_publishers_network_loses_one_percent() {
    run(true);
}

#[test]
fn nothing_is_lost_when_the_subscribers_network_loses_one_percent() {
    run(false);
}

fn run(publisher: bool) {
    init();
    let relay = Relay::start().expect("the relay starts");
    let proxy = Proxy::start(relay.addr(), lossy()).expect("the proxy starts");
    let (direct, lossy) = (relay.url(), proxy.url());
    let (to, from) = match publisher {
        true => (&lossy, &direct),
        false => (&direct, &lossy),
    };
    let broadcast = unique_broadcast("loss");
    let feeder = Feeder::start(to, &broadcast, true);
    let viewer = Running::launch(&format!(
        "{} moq.video_0 ! fakesink name=out sync=false",
        moqsrc(from, &broadcast)
    ));
    let packets = Packets::into_sink(&viewer.element("out"));
    viewer.start();
    feed(&feeder, 0, || packets.count() == 0);
    let first = FPS * 3600;
    let frames = SECONDS * FPS;
    feed(&feeder, first, || true);
    let last = first + frames - 1;
    let numbers = || {
        let packets = packets.so_far();
        let numbers = packets.iter().map(|packet| number(&packet.bytes));
        numbers
            .filter(|number| *number >= first)
            .collect::<Vec<_>>()
    };
    wait_until("the last frame comes", DEADLINE, || {
        numbers().last() == Some(&last)
    });
    let expected: Vec<u32> = (first..=last).collect();
    let numbers = numbers();
    let lost = expected.iter().filter(|number| !numbers.contains(number));
    assert_eq!(numbers, expected, "{} frames are lost", lost.count());
    assert!(proxy.lost() > 20, "the network loses packets");
}

/// Pushes frames from `first` on as a camera does, for as long as `goes_on` and no longer than
/// [`SECONDS`].
fn feed(feeder: &Feeder, first: u32, goes_on: impl Fn() -> bool) {
    let begun = Instant::now();
    for frame in 0..SECONDS * FPS {
        // The pace of a live source.
        thread::sleep((Duration::from_secs(1) * frame / FPS).saturating_sub(begun.elapsed()));
        if !goes_on() {
            return;
        }
        feeder.push(feeder.now(), frame % FPS == 0, BYTES, first + frame);
    }
}
