// SPDX-License-Identifier: MIT
//! A prefix in the place of a name: which broadcast is taken, and what is told of all of them.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use gst::prelude::*;
use serde_json::json;

use super::listen::Host;
use crate::common::{
    Packets, Publisher, Relay, Running, init,
    media::{live_opus, moqsink, moqsrc},
    pipeline::{
        DEADLINE, describe, wait_message_that, wait_pad, wait_property, wait_told, wait_until,
    },
    publisher::{wait_announced, write},
    scene::{SILENCE, catalog, opus},
    unique_broadcast,
};

/// Publishes live audio, and waits until the relay tells everyone.
fn publish(relay: &Relay, broadcast: &str) -> Running {
    let line = format!("{} ! {}", live_opus(), moqsink(&relay.url(), broadcast));
    let publisher = Running::play(&line);
    wait_announced(&relay.url(), broadcast);
    publisher
}

/// A source of all that is beneath `prefix`, whose audio goes nowhere.
fn listen(relay: &Relay, prefix: &str, properties: &str) -> Running {
    let source = moqsrc(&relay.url(), &format!("{prefix}/*"));
    Running::play(&format!(
        "{source} {properties} moq.audio_0 ! fakesink name=out sync=false async=false"
    ))
}

fn wait_active(source: &gst::Element, expected: &str) {
    wait_property(
        source,
        "active-broadcast",
        DEADLINE,
        |name: &Option<String>| name.as_deref() == Some(expected),
    );
}

/// Waits for more packets than have come until now.
fn wait_more(packets: &Packets) {
    packets.wait_count(packets.count() + 20, DEADLINE);
}

/// What the application hears of broadcasts.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<(String, bool)>>>);

impl Heard {
    /// By the signals of the element.
    fn of(source: &gst::Element) -> Self {
        let this = Self::default();
        for (signal, is_there) in [("broadcast-added", true), ("broadcast-removed", false)] {
            let heard = this.clone();
            source.connect(signal, false, move |values| {
                let name = values[1].get::<String>().expect("a name");
                heard
                    .0
                    .lock()
                    .expect("nobody panics")
                    .push((name, is_there));
                None
            });
        }
        this
    }

    fn all(&self) -> Vec<(String, bool)> {
        self.0.lock().expect("nobody panics").clone()
    }

    /// Those that are there, when each was told in turn to be there and to be gone.
    fn live(&self) -> BTreeSet<String> {
        let mut live = BTreeSet::new();
        for (name, is_there) in self.all() {
            let changed = match is_there {
                true => live.insert(name.clone()),
                false => live.remove(&name),
            };
            assert!(changed, "{name} is told in turn to be there and to be gone");
        }
        live
    }

    fn wait(&self, claim: &str, reached: impl Fn(&BTreeSet<String>) -> bool) {
        wait_until(claim, DEADLINE, || reached(&self.live()));
    }
}

#[test]
fn a_source_of_a_prefix_goes_on_with_another_broadcast() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let prefix = unique_broadcast("room");
    let [a, b, c] = ["a.hang", "deep/b.hang", "c.hang"].map(|name| format!("{prefix}/{name}"));
    let other = publish(&relay, &format!("{prefix}-other.hang"));
    let second = publish(&relay, &b);
    let subscriber = listen(&relay, &prefix, "");
    let source = subscriber.element("moq");
    let packets = Packets::into_sink(&subscriber.element("out"));
    wait_active(&source, &b);
    let told = wait_told(&subscriber.bus(), "moq-broadcast-selected", |_| true);
    assert_eq!(told.get("broadcast"), Ok(b.as_str()));
    wait_more(&packets);
    let pad = wait_pad(&source, "audio_0", DEADLINE);
    // It would have been first by name, and comes too late.
    let first = publish(&relay, &a);
    wait_more(&packets);
    assert_eq!(
        source.property::<Option<String>>("active-broadcast"),
        Some(b)
    );
    second.end();
    wait_active(&source, &a);
    wait_more(&packets);
    drop(second);
    // One that goes without an end.
    drop(first);
    let third = publish(&relay, &c);
    wait_active(&source, &c);
    wait_more(&packets);
    assert_eq!(source.src_pads(), [pad]);
    let ends = packets.events();
    let ends = ends
        .iter()
        .filter(|event| event.type_() == gst::EventType::Eos);
    assert_eq!(ends.count(), 0, "nothing has ended");
    let times: Vec<_> = packets
        .so_far()
        .iter()
        .map(|packet| packet.running_time)
        .collect();
    assert!(times.is_sorted(), "running time goes on");
    drop((other, third));
}

#[test]
fn of_broadcasts_that_are_there_the_first_by_name_is_taken() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let prefix = unique_broadcast("names");
    let names = ["c.hang", "a.hang", "b.hang"].map(|name| format!("{prefix}/{name}"));
    let _publishers = names.each_ref().map(|name| publish(&relay, name));
    // The relay does not speak what is still being worked on.
    for version in moq_net::Version::names().filter(|name| !name.ends_with("wip")) {
        let subscriber = listen(&relay, &prefix, &format!("moq-versions={version}"));
        let told = wait_told(&subscriber.bus(), "moq-broadcast-selected", |_| true);
        assert_eq!(told.get("broadcast"), Ok(names[1].as_str()), "{version}");
    }
}

#[test]
fn a_broadcast_that_cannot_be_read_is_passed_over() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let prefix = unique_broadcast("broken");
    let carrier = Publisher::start(&relay.url(), &unique_broadcast("carrier"), "{}");
    let names = ["a", "b", "c"].map(|name| format!("{prefix}/{name}"));
    let _broken = names.each_ref().map(|name| carrier.announce_other(name));
    for name in &names {
        wait_announced(&relay.url(), name);
    }
    let good = format!("{prefix}/d.hang");
    let _good = publish(&relay, &good);
    let subscriber = listen(&relay, &prefix, "");
    wait_active(&subscriber.element("moq"), &good);
    wait_more(&Packets::into_sink(&subscriber.element("out")));
}

#[test]
fn the_broadcast_before_is_taken_again_after_the_relay_was_lost() {
    init();
    let port = Relay::free_port().expect("a port");
    let relay = Relay::start_at(port).expect("the relay starts");
    let prefix = unique_broadcast("again");
    let [a, b] = ["a.hang", "b.hang"].map(|name| format!("{prefix}/{name}"));
    let _second = publish(&relay, &b);
    let subscriber = listen(&relay, &prefix, "");
    let source = subscriber.element("moq");
    wait_active(&source, &b);
    let _first = publish(&relay, &a);
    let packets = Packets::into_sink(&subscriber.element("out"));
    relay.stop();
    let relay = Relay::start_at(port).expect("the relay starts again");
    for name in [&a, &b] {
        wait_announced(&relay.url(), name);
    }
    wait_more(&packets);
    assert_eq!(
        source.property::<Option<String>>("active-broadcast"),
        Some(b)
    );
}

#[test]
fn without_another_broadcast_the_end_comes_after_the_timeout_alone() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let prefix = unique_broadcast("last");
    let name = format!("{prefix}/a.hang");
    let publisher = publish(&relay, &name);
    let patient = listen(&relay, &prefix, "");
    let hasty = listen(&relay, &prefix, "eos-timeout=500");
    let packets = Packets::into_sink(&patient.element("out"));
    wait_more(&packets);
    wait_more(&Packets::into_sink(&hasty.element("out")));
    publisher.end();
    drop(publisher);
    hasty.wait_eos();
    let _again = publish(&relay, &name);
    wait_more(&packets);
}

#[test]
fn what_is_beneath_a_prefix_is_told() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let prefix = unique_broadcast("list");
    let beneath = |name: &str| format!("{prefix}/{name}");
    let line = format!(
        "{} fakesrc num-buffers=0 ! fakesink",
        moqsrc(&relay.url(), &beneath("*"))
    );
    let lister = Running::launch(&line);
    let source = lister.element("moq");
    let heard = Heard::of(&source);
    lister.start();
    let listed = catalog(json!({}), json!({"good": opus()}), json!({}), json!({}));
    let publisher = Publisher::start(&relay.url(), &beneath("a"), &listed.to_string());
    let track = publisher.track("good");
    write(&track, 0, &SILENCE);
    let mut others = Vec::new();
    for name in ["deep/er/b", "c d", ".hidden", "deep/.return/1"] {
        others.push(publisher.announce_other(&beneath(name)));
    }
    let _beside = publisher.announce_other(&format!("{prefix}x/a"));
    let _itself = publisher.announce_other(&prefix);
    let expected = BTreeSet::from(["a", "c d", "deep/er/b"].map(beneath));
    heard.wait("all are told", |live| *live == expected);
    wait_pad(&source, "audio_0", DEADLINE);
    let told = wait_told(&lister.bus(), "moq-broadcast-added", |told| {
        told.get("broadcast") == Ok(beneath("c d"))
    });
    assert!(told.has_field("broadcast"));
    assert!(
        !track.is_used(),
        "nothing is linked, so nothing is received"
    );
    others.remove(1).close();
    heard.wait("one has gone", |live| !live.contains(&beneath("c d")));
    wait_told(&lister.bus(), "moq-broadcast-removed", |told| {
        told.get("broadcast") == Ok(beneath("c d"))
    });
    lister.set_state(gst::State::Ready).expect("it stops");
    assert_eq!(heard.live(), BTreeSet::new(), "with the run all are gone");
    assert_eq!(source.property::<Option<String>>("active-broadcast"), None);
}

#[test]
fn a_storm_of_announcements_is_bounded_and_each_is_told_in_turn() {
    const STORM: usize = 3000;
    init();
    let relay = Relay::start().expect("the relay starts");
    let prefix = unique_broadcast("storm");
    let good = format!("{prefix}/good.hang");
    let _good = publish(&relay, &good);
    let subscriber = listen(&relay, &prefix, "");
    let source = subscriber.element("moq");
    let heard = Heard::of(&source);
    let packets = Packets::into_sink(&subscriber.element("out"));
    wait_active(&source, &good);
    let carrier = Publisher::start(&relay.url(), &unique_broadcast("carrier"), "{}");
    for round in 0..2 {
        let others = (0..STORM).map(|number| carrier.announce_other(&format!("{prefix}/{number}")));
        let others: Vec<_> = others.collect();
        heard.wait("as many are told as are looked at", |live| {
            live.len() >= 1000
        });
        if round == 0 {
            let warned = wait_message_that(&subscriber.bus(), DEADLINE, |message| {
                message.type_() == gst::MessageType::Warning
            });
            let warned = warned.map(|message| describe(&message)).unwrap_or_default();
            assert!(warned.contains("left out"), "{warned}");
        }
        wait_more(&packets);
        assert!(heard.live().len() <= 1000);
        drop(others);
        heard.wait("all but one have gone", |live| live.len() <= 1);
    }
    wait_more(&packets);
    assert_eq!(
        source.property::<Option<String>>("active-broadcast"),
        Some(good)
    );
}

#[test]
fn a_listening_source_takes_whoever_comes() {
    let host = Host::source("broadcast=*", "! fakesink name=out sync=false async=false");
    let source = host.element();
    let packets = Packets::into_sink(&host.running.element("out"));
    let push = |name: &str| {
        let sink = format!("moqsink name=moq url={} broadcast={name}", host.url("http"));
        Running::play(&format!("{} ! {sink}", live_opus()))
    };
    let names = [(); 2].map(|()| unique_broadcast("guest"));
    let first = push(&names[0]);
    wait_active(&source, &names[0]);
    wait_more(&packets);
    let _second = push(&names[1]);
    drop(first);
    wait_active(&source, &names[1]);
    wait_more(&packets);
}

#[test]
fn a_pattern_that_is_no_prefix_is_one_clear_error() {
    init();
    for (element, name) in [("moqsrc", "ro*m/a"), ("moqsink", "room/*")] {
        let element = gst::ElementFactory::make(element)
            .property("url", "http://127.0.0.1:9/")
            .property("broadcast", name)
            .build()
            .expect("the element");
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        let paused = element.set_state(gst::State::Paused);
        assert!(paused.is_err(), "a name with an asterisk");
        let errors: Vec<_> = bus.iter_filtered(&[gst::MessageType::Error]).collect();
        assert_eq!(errors.len(), 1);
        assert!(
            describe(&errors[0]).contains("asterisk"),
            "{}",
            describe(&errors[0])
        );
        element.set_state(gst::State::Null).expect("it stops");
    }
}
