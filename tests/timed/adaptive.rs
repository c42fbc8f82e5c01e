// SPDX-License-Identifier: MIT
//! The network changes, and the picture follows: down before it stops, up as soon as there is room.

use std::time::{Duration, Instant};

use gst::prelude::*;

use crate::common::{
    Path, Proxy, Relay,
    barcode::Shown,
    init,
    ladder::{LADDER, publish, watch},
    pipeline::{DEADLINE, wait_pad},
    unique_broadcast,
};

/// x264enc that fills its bit rate.
const CBR: &str = "tune=zerolatency vbv-buf-capacity=200";

fn path(bandwidth: u64) -> Path {
    Path {
        bandwidth: Some(bandwidth),
        queue: bandwidth as usize / 8 / 5,
        delay: Duration::from_millis(10),
        ..Path::default()
    }
}

/// The longest time between two pictures, and how many were left out between two.
fn gaps(shown: &[Shown]) -> (Duration, u32) {
    let gaps = shown.windows(2).map(|pair| pair[1].at - pair[0].at).max();
    let skipped = shown
        .windows(2)
        .map(|pair| pair[1].number.saturating_sub(pair[0].number + 1))
        .max();
    (gaps.unwrap_or_default(), skipped.unwrap_or_default())
}

#[test]
fn a_path_that_narrows_and_opens_again_is_followed() {
    follow(30);
}

#[test]
fn it_is_so_within_long_groups() {
    follow(120);
}

/// With so many pictures from keyframe to keyframe.
fn follow(group: u32) {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("adaptive");
    let _publisher = publish(&relay.url(), &broadcast, [group; 3], CBR, ":nal-hrd=cbr");
    let proxy = Proxy::start(relay.addr(), path(4_000_000)).expect("the proxy starts");
    let (watcher, pictures, _packets) = watch(
        &proxy.url(),
        &broadcast,
        "rendition-policy=adaptive latency=300",
    );
    let source = watcher.element("moq");
    let pad = wait_pad(&source, "video_0", DEADLINE);
    let begin = Instant::now();
    let width_of = |place: usize| LADDER[place].1;
    let is_last =
        |width: u32| move |shown: &[Shown]| shown.last().is_some_and(|shown| shown.width == width);
    pictures.wait("the best is shown", DEADLINE, is_last(width_of(0)));
    eprintln!("the best after {:?}", begin.elapsed());
    let more = |count: usize| {
        let end = pictures.so_far().len() + count;
        pictures.wait("more pictures are shown", DEADLINE, |shown| {
            shown.len() >= end
        });
    };
    // Five seconds of it.
    more(150);
    let before = pictures.so_far().len();
    let (_, bytes_before) = proxy.delivered();
    let narrow = Instant::now();
    proxy.set_path(path(500_000));
    pictures.wait("the least is shown", DEADLINE, is_last(width_of(2)));
    eprintln!("the least after {:?}", narrow.elapsed());
    // Fifteen.
    more(450);
    let down = pictures.so_far();
    let (_, bytes) = proxy.delivered();
    let (gap, skipped) = gaps(&down[before..]);
    eprintln!(
        "{} bytes while narrow, the longest gap {gap:?}, {skipped} pictures left out at most; target {}",
        bytes - bytes_before,
        pad.property::<String>("target-rendition")
    );
    // Within a group of 4 s, too: the other one's is decoded up to where the picture stopped.
    assert!(
        gap < Duration::from_millis(1200) && skipped < 36,
        "{gap:?}, {skipped}"
    );
    assert!(is_last(width_of(2))(&down), "it stays there");
    for pair in down.windows(2) {
        assert!(
            pair[0].number < pair[1].number,
            "nothing is shown twice: {pair:?}"
        );
    }
    let wide = Instant::now();
    proxy.set_path(path(4_000_000));
    pictures.wait(
        "the best is shown again",
        2 * DEADLINE,
        is_last(width_of(0)),
    );
    eprintln!("the best again after {:?}", wide.elapsed());
}
