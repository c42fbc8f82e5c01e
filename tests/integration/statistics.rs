// SPDX-License-Identifier: MIT
//! What the pads say of their tracks: the property `stats`, and QOS messages.

use gst::prelude::*;

use crate::common::{
    Feeder, Packets, Path, Proxy, Relay, Running, init,
    media::{moqsrc, publish_live},
    pipeline::{DEADLINE, wait_message_that, wait_pad, wait_until},
    unique_broadcast,
};

#[test]
fn both_ends_count_what_goes_through() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("stats");
    let publisher = Running::launch(&publish_live(&relay.url(), &broadcast));
    let sink = publisher.element("moq");
    let before = statistics(&wait_pad(&sink, "sink_0", DEADLINE));
    assert_eq!(before.n_fields(), 0, "unknown is absent: {before}");
    publisher.start();
    let subscriber = Running::play(&format!(
        "{} moq.video_0 ! fakesink name=out sync=false moq.audio_0 ! fakesink sync=false",
        moqsrc(&relay.url(), &broadcast)
    ));
    let packets = Packets::into_sink(&subscriber.element("out"));
    packets.wait_count(90, DEADLINE);
    for (pad, groups) in [("sink_0", 2), ("sink_1", 20)] {
        let stats: gst::Structure = sink
            .dynamic_cast_ref::<gst::ChildProxy>()
            .expect("a child proxy")
            .child_property(&format!("{pad}::stats"));
        assert!(count(&stats, "frames") >= 60, "{stats}");
        assert!(count(&stats, "bytes") > count(&stats, "frames"), "{stats}");
        assert!(count(&stats, "groups") >= groups, "{stats}");
        nothing_was_dropped(&stats);
        assert!(count(&stats, "queue-bytes") < 1 << 20, "{stats}");
    }
    let source = subscriber.element("moq");
    let stats = statistics(&wait_pad(&source, "video_0", DEADLINE));
    let frames = packets.count() as u64;
    assert!(count(&stats, "frames") >= 90, "{stats} of {frames}");
    assert!(count(&stats, "groups") >= 2, "{stats}");
    assert_eq!(count(&stats, "groups-lost"), 0, "{stats}");
    let delay: f64 = stats.get("delay-ms").expect("a delay");
    assert!((0.0..2000.0).contains(&delay), "{stats}");
    assert!(!stats.has_field("qos-jitter"), "no event came: {stats}");
}

#[test]
fn qos_events_from_downstream_are_counted() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("qos");
    let _publisher = Running::play(&publish_live(&relay.url(), &broadcast));
    let subscriber = Running::play(&format!(
        "{} moq.video_0 ! fakesink name=out sync=false",
        moqsrc(&relay.url(), &broadcast)
    ));
    Packets::into_sink(&subscriber.element("out")).wait_count(1, DEADLINE);
    let pad = wait_pad(&subscriber.element("moq"), "video_0", DEADLINE);
    for jitter in [5_000_000, -7_000_000] {
        let event = gst::event::Qos::new(gst::QOSType::Underflow, 1.5, jitter, None);
        assert!(pad.send_event(event), "the event is answered");
    }
    let stats = statistics(&pad);
    assert_eq!(count(&stats, "qos-events"), 2);
    assert_eq!(stats.get("qos-jitter"), Ok(-7_000_000i64));
    assert_eq!(stats.get("qos-proportion"), Ok(1.5));
}

#[test]
fn drops_are_counted_by_their_reason() {
    let relay = Relay::start().expect("the relay starts");
    let feeder = Feeder::start(&relay.url(), &unique_broadcast("drops"), false);
    let time = gst::ClockTime::from_mseconds;
    feeder.push(time(0), false, 100, 0);
    feeder.push(time(40), true, 100, 1);
    feeder.push(time(80), false, 100, 2);
    feeder.push_raw(time(120), false, Vec::new());
    // Longer than any group may be: the frames before it are published, it is not.
    feeder.push(time(160), false, (32 << 20) + 1, 3);
    let expected = [
        ("frames", 2),
        ("groups", 1),
        ("dropped-no-keyframe", 1),
        ("dropped-refused", 2),
        ("dropped-budget", 0),
        ("dropped-no-timestamp", 0),
        ("dropped-too-old", 0),
    ];
    let reached = || {
        let stats = statistics(&feeder.sink);
        expected
            .iter()
            .all(|(field, value)| count(&stats, field) == *value)
    };
    wait_until("the counts are right", DEADLINE, reached);
}

#[test]
fn what_the_network_does_not_carry_is_reported_by_qos_messages() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let slow = Path {
        bandwidth: Some(250_000),
        queue: 250_000 / 8 / 10,
        ..Path::default()
    };
    let proxy = Proxy::start(relay.addr(), slow).expect("the proxy starts");
    let broadcast = unique_broadcast("qos-messages");
    let publisher = Running::play(&publish_live(&proxy.url(), &broadcast));
    let _subscriber = Running::play(&format!(
        "{} moq.video_0 ! fakesink sync=false",
        moqsrc(&relay.url(), &broadcast)
    ));
    let pad = wait_pad(&publisher.element("moq"), "sink_0", DEADLINE);
    let message = wait_message_that(&publisher.bus(), DEADLINE, |message| {
        message.type_() == gst::MessageType::Qos
    });
    let message = message.expect("a QOS message");
    assert_eq!(message.src(), Some(pad.upcast_ref()));
    let gst::MessageView::Qos(qos) = message.view() else {
        unreachable!("it was waited for");
    };
    let (processed, dropped) = qos.stats();
    assert!(qos.live());
    assert_eq!(dropped.format(), gst::Format::Buffers);
    assert!(dropped.value() > 0, "{dropped:?}");
    assert!(processed.value() >= dropped.value(), "{processed:?}");
    let stats = statistics(&pad);
    assert!(count(&stats, "groups-given-up") > 0, "{stats}");
    assert!(count(&stats, "dropped-too-old") > 0, "{stats}");
}

fn nothing_was_dropped(stats: &gst::Structure) {
    for field in [
        "no-keyframe",
        "no-timestamp",
        "budget",
        "refused",
        "too-old",
    ] {
        assert_eq!(count(stats, &format!("dropped-{field}")), 0, "{stats}");
    }
}

fn statistics(pad: &gst::Pad) -> gst::Structure {
    pad.property("stats")
}

fn count(stats: &gst::Structure, field: &str) -> u64 {
    stats
        .get(field)
        .unwrap_or_else(|_| panic!("{field} of {stats}"))
}
