//! Pads of a publisher that come and go while another one publishes.

mod common;

use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
    time::Duration,
};

use common::{
    Feeder, Packets, Relay, Resources, Running,
    feeder::{access_unit, number},
    init,
    media::moqsrc,
    pipeline::{DEADLINE, wait_until},
    unique_broadcast,
};
use gst::prelude::*;

const PADS: u32 = 1000;
/// Of so many pads one publishes a frame before it goes.
const PUBLISHES: u32 = 10;
const GROUP: u32 = 30;

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
        viewer.start();
        wait_until("media come", DEADLINE, || packets.count() > 0);
        let element = feeder.running.element("moq");
        // The first ones make what stays for the life of the process.
        come_and_go(&element, 0..PUBLISHES);
        let before = Resources::now();
        come_and_go(&element, PUBLISHES..PADS);
        assert_eq!(element.num_sink_pads(), 1, "all others are gone");
        before.wait_return(DEADLINE);
        stop.store(true, Ordering::Relaxed);
    });
    let last = next.load(Ordering::Relaxed) - 1;
    wait_until("the last frame comes", DEADLINE, || {
        let packets = packets.so_far();
        packets.last().map(|packet| number(&packet.bytes)) == Some(last)
    });
    let numbers: Vec<u32> = packets
        .so_far()
        .iter()
        .map(|packet| number(&packet.bytes))
        .collect();
    let expected: Vec<u32> = (numbers[0]..=last).collect();
    assert_eq!(numbers, expected, "the first pad is unharmed");
    assert!(last - numbers[0] > GROUP, "it published all the while");
}

fn come_and_go(element: &gst::Element, pads: std::ops::Range<u32>) {
    for index in pads {
        let pad = element.request_pad_simple("sink_%u").expect("a pad");
        if index % PUBLISHES == 0 {
            publish(&pad);
        }
        element.release_request_pad(&pad);
    }
}

/// One frame of what upstream would send.
fn publish(pad: &gst::Pad) {
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
    let mut buffer = gst::Buffer::from_mut_slice(access_unit(true, 100, 0));
    let fields = buffer.get_mut().expect("a new buffer");
    fields.set_pts(gst::ClockTime::ZERO);
    pad.chain(buffer).expect("the pad takes the frame");
}

/// Small frames at the pace of a live source, until `stop`.
fn feed(feeder: &Feeder, next: &AtomicU32, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let number = next.load(Ordering::Relaxed);
        feeder.push(feeder.now(), number % GROUP == 0, 1000, number);
        next.store(number + 1, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(10));
    }
}
