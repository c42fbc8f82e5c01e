// SPDX-License-Identifier: MIT
//! Pads of a publisher that come and go while another one publishes.

use std::{
    ops::Range,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
    time::Duration,
};

use gst::{glib, prelude::*};

use crate::common::{
    self, Feeder, Packets, Relay, Resources, Running,
    feeder::number,
    init,
    media::moqsrc,
    pipeline::{DEADLINE, wait_property, wait_until},
    resources::resident,
    unique_broadcast,
};

const PADS: u32 = 1000;
/// What the first pads make stays for the life of the process.
const FIRST: u32 = 100;
/// One pad of so many is published before it goes, and one goes with a frame under way.
const KINDS: u32 = 10;
const GROUP: u32 = 30;
/// How much larger the process may be in the end, the relay and what is kept of what came included.
const GROWTH: u64 = 16 << 20;

/// Pads that come and go.
struct Visitors<'a> {
    element: gst::Element,
    /// The number of the next frame of the pad that stays.
    next: &'a AtomicU32,
    gone: Vec<glib::WeakRef<gst::Pad>>,
}

impl Visitors<'_> {
    fn come_and_go(&mut self, pads: Range<u32>) {
        for index in pads {
            let pad = self.element.request_pad_simple("sink_%u").expect("a pad");
            match index % KINDS {
                0 => self.publish(&pad),
                1 => push(&pad),
                _ => {}
            }
            self.element.release_request_pad(&pad);
            self.gone.push(pad.downgrade());
        }
    }

    /// Publishes a track until subscribers have been told, while the pad that stays goes on.
    fn publish(&self, pad: &gst::Pad) {
        let before = self.next.load(Ordering::Relaxed);
        push(pad);
        wait_property(pad, "active-track", DEADLINE, Option::<String>::is_some);
        wait_until("the other pad goes on", DEADLINE, || {
            self.next.load(Ordering::Relaxed) > before
        });
    }

    fn are_gone(&self) -> bool {
        self.gone.iter().all(|pad| pad.upgrade().is_none())
    }
}

/// One frame of a stream of its own.
fn push(pad: &gst::Pad) {
    let caps = "audio/x-opus, channel-mapping-family=0, rate=48000, channels=2";
    let caps: gst::Caps = caps.parse().expect("caps");
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    for event in [
        gst::event::StreamStart::new("short"),
        gst::event::Caps::new(&caps),
        gst::event::Segment::new(segment.as_ref()),
    ] {
        assert!(pad.send_event(event), "the pad takes the event");
    }
    let mut buffer = gst::Buffer::from_mut_slice(common::noise(1000));
    let fields = buffer.get_mut().expect("a new buffer");
    fields.set_pts(gst::ClockTime::ZERO);
    pad.chain(buffer).expect("the pad takes the frame");
}

/// Stops what feeds, also when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Small frames at the pace of a live source, until `stop`.
fn feed(feeder: &Feeder, next: &AtomicU32, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let number = next.load(Ordering::Relaxed);
        feeder.push(feeder.now(), number.is_multiple_of(GROUP), 100, number);
        next.store(number + 1, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(10));
    }
}

fn numbers(packets: &Packets) -> Vec<u32> {
    let packets = packets.so_far();
    packets.iter().map(|packet| number(&packet.bytes)).collect()
}

#[test]
fn a_thousand_pads_come_and_go_beside_one_that_publishes() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("pads");
    let feeder = Feeder::start(&relay.url(), &broadcast, true);
    let viewer = Running::launch(&format!(
        "{} moq.video_0 ! fakesink name=out sync=false",
        moqsrc(&relay.url(), &broadcast)
    ));
    let packets = Packets::into_sink(&viewer.element("out"));
    let (next, stop) = (AtomicU32::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| feed(&feeder, &next, &stop));
        let _stop = Stop(&stop);
        viewer.start();
        wait_until("media come", DEADLINE, || packets.count() > 0);
        let mut visitors = Visitors {
            element: feeder.running.element("moq"),
            next: &next,
            gone: Vec::new(),
        };
        visitors.come_and_go(0..FIRST);
        let (before, memory) = (Resources::now(), resident());
        visitors.come_and_go(FIRST..PADS);
        let growth = resident().saturating_sub(memory);
        eprintln!("{PADS} pads: the process grew by {} KiB", growth / 1024);
        assert!(growth < GROWTH, "it grew by {growth} bytes");
        assert_eq!(visitors.element.num_sink_pads(), 1, "one pad has stayed");
        wait_until("no pad is kept", DEADLINE, || visitors.are_gone());
        before.wait_return(DEADLINE);
    });
    let last = next.load(Ordering::Relaxed) - 1;
    wait_until("the last frame comes", DEADLINE, || {
        numbers(&packets).last() == Some(&last)
    });
    let numbers = numbers(&packets);
    let expected: Vec<u32> = (numbers[0]..=last).collect();
    assert_eq!(numbers, expected, "the pad that stays is unharmed");
    let pads = viewer.element("moq").num_src_pads();
    assert!(
        pads <= 2,
        "what came and went took {pads} pads of the subscriber"
    );
}
