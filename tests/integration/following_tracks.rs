// SPDX-License-Identifier: MIT
//! A track that takes the place of another one on its pad is read, whatever happens meanwhile.

use std::{thread, time::Duration};

use gst::prelude::*;
use moq_net::{group, track};

use crate::common::{
    Packet, Packets, Publisher, Relay, Running, init,
    media::moqsrc,
    payloads,
    pipeline::{DEADLINE, wait_pad},
    publisher, unique_broadcast,
};

/// A catalog entry of Opus, whose packets can be anything.
const OPUS: &str =
    r#"{"codec":"opus","sampleRate":48000,"numberOfChannels":2,"container":{"kind":"legacy"}}"#;
/// An Opus packet of 20 ms of silence of the first track, and one of what follows it.
const FIRST: [u8; 3] = [0xf8, 0xff, 0xfe];
const SECOND: [u8; 3] = [0xf8, 0xff, 0xfd];

/// A catalog with these tracks.
fn catalog(names: &[&str]) -> String {
    let entries: Vec<String> = names
        .iter()
        .map(|name| format!(r#""{name}":{OPUS}"#))
        .collect();
    format!(r#"{{"audio":{{"renditions":{{{}}}}}}}"#, entries.join(","))
}

/// A subscriber that plays the track "a", which "b" is to follow.
struct Following {
    publisher: Publisher,
    tracks: [track::Producer; 2],
    subscriber: Running,
    packets: Packets,
    micros: u64,
    _relay: Relay,
}

impl Following {
    fn start() -> Self {
        init();
        let relay = Relay::start().expect("the relay starts");
        let name = unique_broadcast("following");
        let publisher = Publisher::start(&relay.url(), &name, &catalog(&["a"]));
        let tracks = ["a", "b"].map(|name| publisher.track(name));
        let subscriber = Running::play(&format!(
            "{} moq.audio_0 ! fakesink sync=false async=false",
            moqsrc(&relay.url(), &name)
        ));
        let pad = wait_pad(&subscriber.element("moq"), "audio_0", DEADLINE);
        let packets = Packets::of(&pad);
        publisher.wait_used(&tracks[0]);
        let mut this = Self {
            publisher,
            tracks,
            subscriber,
            packets,
            micros: 0,
            _relay: relay,
        };
        this.write_first();
        this.packets.wait_count(1, DEADLINE);
        this
    }

    /// The next packet of the first track, in its time.
    fn write_first(&mut self) {
        publisher::write(&self.tracks[0], self.micros, &FIRST);
        thread::sleep(Duration::from_millis(20));
        self.micros += 20_000;
    }

    /// Lists "b" in the place of "a", of which the tail still comes when this returns.
    fn list_second(&mut self) {
        // The other pad tells that the catalog was read.
        self.publisher.update(&catalog(&["b", "c"]));
        let source = self.subscriber.element("moq");
        while source.static_pad("audio_1").is_none() {
            self.write_first();
        }
    }

    /// One group of the second track.
    fn write_group(&self, sequence: u64, payload: &[u8]) {
        let mut group = self.tracks[1]
            .create_group(group::Info { sequence })
            .expect("the track takes a group");
        publisher::add(&mut group, self.micros + sequence * 20_000, payload);
        group.finish().expect("the group ends");
    }

    /// The second track in these groups.
    fn write_second(&self, groups: std::ops::Range<u64>) {
        groups.for_each(|sequence| self.write_group(sequence, &SECOND));
        self.tracks[1].finish().expect("the track ends");
    }
}

/// How many packets of the second track there are.
fn seconds(packets: &[Packet]) -> usize {
    let seconds = payloads(packets).into_iter();
    seconds.filter(|bytes| *bytes == SECOND).count()
}

#[test]
fn a_pause_in_the_tail_of_the_track_before_goes_on_with_the_next_one() {
    let mut following = Following::start();
    following.list_second();
    for state in [gst::State::Paused, gst::State::Playing] {
        let changed = following.subscriber.set_state(state);
        assert!(changed.is_ok(), "{state:?}");
    }
    following.publisher.wait_used(&following.tracks[1]);
}

#[test]
fn an_end_in_the_tail_of_the_track_before_loses_nothing_of_the_next_one() {
    let mut following = Following::start();
    following.list_second();
    following.publisher.finish_catalog();
    for _ in 0..50 {
        following.write_first();
    }
    following.write_second(0..3);
    following.tracks[0].finish().expect("the track ends");
    assert_eq!(seconds(&following.packets.wait_eos(DEADLINE)), 3);
}

#[test]
fn a_first_group_that_never_comes_is_not_the_end_of_the_track() {
    let mut following = Following::start();
    following.list_second();
    following.write_second(1..4);
    following.tracks[0].finish().expect("the track ends");
    following.publisher.finish_catalog();
    assert_eq!(seconds(&following.packets.wait_eos(DEADLINE)), 3);
}

#[test]
fn a_track_with_ever_new_holes_is_caught_up_with() {
    /// So many last for longer than any hole is waited for.
    const GROUPS: u64 = 200;
    /// So many may be on their way.
    const UNDER_WAY: u64 = 20;
    let mut following = Following::start();
    following.list_second();
    following.tracks[0].finish().expect("the track ends");
    for number in 0.. {
        let newest = following.packets.so_far().pop();
        let newest = newest.and_then(|newest| number_of(&newest));
        if number > GROUPS && newest > Some(number - UNDER_WAY) {
            break;
        }
        assert!(number < 4 * GROUPS, "{newest:?} of {number} is the newest");
        // Each second group never comes.
        following.write_group(2 * number, &number.to_be_bytes());
        thread::sleep(Duration::from_millis(40));
    }
}

/// The number that is the payload.
fn number_of(packet: &Packet) -> Option<u64> {
    let bytes = packet.bytes.as_slice().try_into().ok()?;
    Some(u64::from_be_bytes(bytes))
}
