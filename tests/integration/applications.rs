// SPDX-License-Identifier: MIT
//! Elements that applications play URIs with.

use gst::prelude::*;

use crate::common::{
    Packets, Relay, Running, init,
    media::publish_live,
    pipeline::{DEADLINE, wait_until},
    unique_broadcast,
};

/// How many buffers of each stream have to come.
const ENOUGH: usize = 10;

/// A relay with its web server on the same port, which URIs that begin with `moq+http:` find the
/// certificate's fingerprint by: who plays a URI sets no properties.
fn relay() -> Relay {
    init();
    let port = Relay::free_port().expect("a port");
    Relay::start_at(port).expect("the relay starts")
}

fn uri(relay: &Relay, broadcast: &str) -> String {
    format!("moq+http://{}/#{broadcast}", relay.addr())
}

/// Lets `source`, which adds its pads by itself, play into a sink for each; what comes of `count`.
fn play(line: &str, count: usize) -> (Running, Vec<Packets>) {
    let sinks: String = (0..count)
        .map(|place| format!(" source. ! fakesink name=sink{place}"))
        .collect();
    let player = Running::launch(&format!("{line} name=source{sinks}"));
    let sinks = (0..count).map(|place| player.element(&format!("sink{place}")));
    let packets = sinks.map(|sink| Packets::into_sink(&sink)).collect();
    player.start();
    (player, packets)
}

#[test]
fn uridecodebin3_decodes_both_streams_to_their_end() {
    let relay = relay();
    let broadcast = unique_broadcast("uridecodebin");
    let publisher = Running::play(&publish_live(&relay.url(), &broadcast));
    let (player, decoded) = play(&format!("uridecodebin3 uri={}", uri(&relay, &broadcast)), 2);
    let mut media: Vec<_> = decoded
        .iter()
        .map(|packets| {
            packets.wait_count(ENOUGH, DEADLINE);
            let mut events = packets.events().into_iter();
            let caps = events.find_map(|event| match event.view() {
                gst::EventView::Caps(caps) => Some(caps.caps_owned()),
                _ => None,
            });
            caps.expect("caps")
                .structure(0)
                .expect("of one kind")
                .name()
                .to_string()
        })
        .collect();
    media.sort();
    assert_eq!(media, ["audio/x-raw", "video/x-raw"]);
    publisher.end();
    player.wait_eos();
}

#[test]
fn urisourcebin_gives_both_streams_without_buffering_them() {
    let relay = relay();
    let broadcast = unique_broadcast("urisourcebin");
    let publisher = Running::play(&publish_live(&relay.url(), &broadcast));
    let (player, streams) = play(&format!("urisourcebin uri={}", uri(&relay, &broadcast)), 2);
    for packets in &streams {
        packets.wait_count(ENOUGH, DEADLINE);
    }
    let inside = player.iterate_recurse().into_iter().flatten();
    let queues = inside.filter(|element| element.type_().name() == "GstQueue2");
    assert_eq!(queues.count(), 0, "it is live");
    publisher.end();
    player.wait_eos();
}

/// How a broadcast ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// Its publisher finishes it.
    Eos,
    /// Its publisher goes, and may come back; until then GAP events say that nothing of it is missing.
    Loss,
}

/// `fallbacksrc` plays another picture and another sound after the end of a broadcast until it is back.
fn is_bridged(end: End) {
    init();
    // It drops upstream events in probes, at which GStreamer 1.22 tells of a critical.
    gst::glib::log_set_always_fatal(gst::glib::LogLevels::LEVEL_ERROR);
    // Refused for the second time in a process.
    let _ = gstfallbackswitch::plugin_register_static();
    let relay = relay();
    let broadcast = unique_broadcast("fallback");
    let publish = || Running::play(&publish_live(&relay.url(), &broadcast));
    let publisher = publish();
    let player = Running::launch(&format!(
        "fallbacksrc name=source uri={} timeout=500000000 restart-timeout=1000000000 restart-on-eos=true \
         source. ! videoconvert ! fakesink name=video source. ! audioconvert ! fakesink name=audio",
        uri(&relay, &broadcast)
    ));
    player.connect_deep_element_added(move |_, _, element| {
        if end == End::Loss && element.has_property("eos-timeout") {
            element.set_property("eos-timeout", 500_u32);
        }
    });
    let streams = ["video", "audio"].map(|sink| Packets::into_sink(&player.element(sink)));
    player.start();
    let source = player.element("source");
    let status = |wanted: &str| {
        let status = source.property_value("status").serialize();
        status.expect("text") == wanted
    };
    let more_comes = || {
        for packets in &streams {
            packets.wait_count(packets.count() + ENOUGH, DEADLINE);
        }
    };
    more_comes();
    wait_until("the broadcast plays", DEADLINE, || status("running"));
    if end == End::Eos {
        publisher.end();
    }
    drop(publisher);
    wait_until("it is looked for again", DEADLINE, || !status("running"));
    more_comes();
    let _publisher = publish();
    wait_until("it plays again", DEADLINE, || status("running"));
    more_comes();
}

#[test]
fn fallbacksrc_bridges_the_time_until_a_finished_broadcast_begins_anew() {
    is_bridged(End::Eos);
}

#[test]
fn fallbacksrc_bridges_an_outage() {
    is_bridged(End::Loss);
}
