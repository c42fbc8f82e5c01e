// SPDX-License-Identifier: MIT
//! Relay and broadcast by URI, for both elements.

use std::time::{Duration, Instant};

use gst::{ElementFactory, URIType, prelude::*};

use crate::common::{
    Answer, Packets, Peer, Refusal, Relay, Running, WebTransportRelay, init,
    media::live_opus,
    pipeline::{DEADLINE, wait_message_that, wait_told},
    unique_broadcast,
};

/// How long one attempt to connect takes at most, with room for a busy machine.
const ATTEMPT: Duration = Duration::from_secs(5);

/// The element that GStreamer makes for a URI, which trusts any certificate.
fn make(kind: URIType, uri: &str) -> gst::Element {
    init();
    let element = gst::Element::make_from_uri(kind, uri, None);
    let element = element.unwrap_or_else(|error| panic!("{uri}: {error}"));
    element.set_property("tls-disable-verify", true);
    element
}

/// A pipeline of a `moqsink` that is made for a URI, with live sound, and that sink.
fn publisher(uri: &str) -> (Running, gst::Element) {
    let sink = make(URIType::Sink, uri);
    assert_eq!(sink.factory().expect("a factory").name(), "moqsink");
    let upstream = gst::parse::bin_from_description(&live_opus(), true).expect("the line parses");
    let pipeline = gst::Pipeline::new();
    pipeline
        .add_many([upstream.upcast_ref(), &sink])
        .expect("two elements");
    upstream.link(&sink).expect("a pad is requested");
    (Running::new(pipeline), sink)
}

/// A pipeline of a `moqsrc` that is made for a URI, that source, and what its audio pad gives.
fn subscriber(uri: &str) -> (Running, gst::Element, Packets) {
    let source = make(URIType::Src, uri);
    assert_eq!(source.factory().expect("a factory").name(), "moqsrc");
    let sink = ElementFactory::make("fakesink").build().expect("a sink");
    let packets = Packets::into_sink(&sink);
    let pipeline = gst::Pipeline::new();
    pipeline.add_many([&source, &sink]).expect("two elements");
    source.connect_pad_added(move |_, pad| {
        let sink = sink.static_pad("sink").expect("a pad");
        pad.link(&sink).expect("one pad is there");
    });
    (Running::new(pipeline), source, packets)
}

/// The URI that an element reads back.
fn uri(element: &gst::Element) -> String {
    let handler = element.dynamic_cast_ref::<gst::URIHandler>();
    let uri = handler.expect("a URI handler").uri();
    uri.expect("a URI is set").into()
}

/// Sound gets from a sink that is made for `to` to a source that is made for `from`, in one version
/// of the protocol or the newest; the source, which still plays.
fn plays(to: &str, from: &str, version: Option<&str>) -> (Running, gst::Element) {
    let (publisher, sink) = publisher(to);
    let (subscriber, source, packets) = subscriber(from);
    for (pipeline, element) in [(&publisher, &sink), (&subscriber, &source)] {
        element.set_property("moq-versions", version);
        pipeline.start();
    }
    packets.wait_count(5, DEADLINE);
    (subscriber, source)
}

/// Names of a broadcast of no other test: the plain fragment, and that of MSF.
fn fragments() -> [String; 2] {
    let broadcast = unique_broadcast("uri");
    let field = broadcast.replace('.', ".2e").replace('-', ".2d");
    [
        format!("room/{broadcast}"),
        format!("msf:room-{field}--catalog"),
    ]
}

#[test]
fn each_form_is_for_both_elements() {
    // Its web server has the same port.
    let port = Relay::free_port().expect("a port");
    let relay = Relay::start_at(port).expect("the relay starts");
    for scheme in ["moqt", "moql", "moq+https", "moq+http", "moq+ws"] {
        for (fragment, catalog) in std::iter::zip(fragments(), ["auto", "msf"]) {
            let both = format!("{scheme}://{}/#{fragment}", relay.addr());
            let (_playing, source) = plays(&both, &both, None);
            assert_eq!(uri(&source), both);
            let format = source.property_value("catalog-format").serialize();
            assert_eq!(format.expect("text"), catalog, "{both}");
        }
    }
}

#[test]
fn both_forms_name_the_same_broadcast_in_each_family_of_versions() {
    let relay = Relay::start().expect("the relay starts");
    for version in ["moq-lite-06", "moq-transport-19"] {
        let [plain, msf] = fragments().map(|part| format!("moqt://{}/#{part}", relay.addr()));
        plays(&plain, &msf, Some(version));
        plays(&msf, &plain, Some(version));
    }
}

#[test]
fn a_catalog_that_was_set_by_hand_is_read() {
    let [_, msf] = fragments().map(|part| format!("moqt://127.0.0.1:9/#{part}"));
    let source = make(URIType::Src, &msf);
    source.set_property_from_str("catalog-format", "hang");
    let format = source.property_value("catalog-format").serialize();
    assert_eq!(format.expect("text"), "hang");
}

#[test]
fn web_transport_is_used_where_quic_is_refused_or_not_answered() {
    for refusal in [Refusal::Answer, Refusal::Silence] {
        let relay = WebTransportRelay::start(refusal);
        for parameter in ["", "&connection=wt"] {
            let [_, msf] = fragments();
            let both = format!("moqt://{}/#{msf}{parameter}", relay.addr());
            let (subscriber, source) = plays(&both, &both, None);
            assert_eq!(uri(&source), both);
            let told = wait_message_that(&subscriber.bus(), DEADLINE, |message| {
                message.has_name("moq-connected") || message.has_name("moq-disconnected")
            });
            let told = told.expect("the connection is told of");
            assert!(
                told.has_name("moq-connected"),
                "it is one attempt: {told:?}"
            );
        }
    }
}

#[test]
fn it_is_not_used_where_the_uri_asks_for_quic() {
    let relay = WebTransportRelay::start(Refusal::Answer);
    let [_, msf] = fragments();
    let both = format!("moqt://{}/#{msf}&connection=q", relay.addr());
    let (subscriber, source, _) = subscriber(&both);
    subscriber.start();
    let told = wait_told(&subscriber.bus(), "moq-disconnected", |_| true);
    assert_eq!(told.get("cause"), Ok("version"), "{told}");
    assert!(!source.property::<bool>("connected"));
}

#[test]
fn a_relay_that_speaks_another_version_both_ways_is_reported_within_one_attempt() {
    let peer = Peer::start(Answer::Accept, |config| {
        config.version = vec!["moq-lite-05".parse().expect("a version")];
    });
    let both = peer.url().replace("https:", "moqt:") + "#room";
    let (subscriber, source, _) = subscriber(&both);
    source.set_property("moq-versions", "moq-lite-06");
    let begun = Instant::now();
    subscriber.start();
    let told = wait_told(&subscriber.bus(), "moq-disconnected", |_| true);
    assert_eq!(told.get("cause"), Ok("version"), "{told}");
    assert!(begun.elapsed() < ATTEMPT, "{:?}", begun.elapsed());
}

#[test]
fn a_token_in_a_uri_goes_to_the_relay_and_is_not_read_back() {
    let relay = Relay::start_with_token("secret").expect("the relay starts");
    for scheme in ["moqt", "moq+https"] {
        for fragment in fragments() {
            let both = |query: &str| format!("{scheme}://{}/{query}#{fragment}", relay.addr());
            let (_playing, source) = plays(&both("?jwt=secret"), &both("?jwt=secret"), None);
            assert_eq!(uri(&source), both(""));
        }
    }
    assert_eq!(relay.admitted(), ["secret"; 8]);
}
