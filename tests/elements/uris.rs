// SPDX-License-Identifier: MIT
//! Both elements as URI handlers, while no relay answers.

use gst::prelude::*;

use crate::common::pipeline::init;

/// Each element that handles URIs, with the kind of them.
const ELEMENTS: [(&str, gst::URIType); 2] = [
    ("moqsrc", gst::URIType::Src),
    ("moqsink", gst::URIType::Sink),
];

fn make(factory: &str) -> (gst::Element, gst::URIHandler) {
    init();
    let element = gst::ElementFactory::make(factory).build();
    let element = element.expect("the element is made");
    let handler = element.clone().dynamic_cast().expect("a URI handler");
    (element, handler)
}

#[test]
fn a_uri_names_relay_and_broadcast_until_the_element_runs() {
    for (factory, kind) in ELEMENTS {
        let (element, handler) = make(factory);
        assert_eq!(handler.uri_type(), kind);
        assert_eq!(handler.uri(), None);
        for (uri, url, broadcast) in [
            (
                "moql://relay.example/room#camera",
                "moql://relay.example/room",
                "camera",
            ),
            (
                "MOQT://relay.example#msf:a-b.2ec--catalog",
                "moqt://relay.example",
                "a/b.c",
            ),
        ] {
            handler.set_uri(uri).expect("such a URI is taken");
            assert_eq!(element.property::<String>("url"), url);
            assert_eq!(element.property::<String>("broadcast"), broadcast);
        }
        element.set_property("url", "http://127.0.0.1:9");
        element.set_state(gst::State::Paused).expect("it pauses");
        let error = handler.set_uri("moql://relay.example/room#other");
        let error = error.expect_err("a running element keeps its URI");
        assert!(error.matches(gst::URIError::BadState), "{error}");
        element.set_state(gst::State::Null).expect("it stops");
        handler
            .set_uri("moql://relay.example/room#other")
            .expect("it runs no more");
    }
}

#[test]
fn a_uri_that_is_wrong_is_an_error_and_changes_nothing() {
    for (factory, kind) in ELEMENTS {
        let (element, handler) = make(factory);
        let uri = "moqt://relay.example/?jwt=secret#msf:camera--catalog";
        handler.set_uri(uri).expect("such a URI is taken");
        let public = "moqt://relay.example/#msf:camera--catalog";
        for (wrong, code) in [
            ("moqt://relay.example", gst::URIError::BadUri),
            ("moqt://relay.example#", gst::URIError::BadUri),
            ("moqt://relay.example#a#b", gst::URIError::BadUri),
            ("moqt://relay.example#%zz", gst::URIError::BadUri),
            ("moqt://relay.example#msf:a--video", gst::URIError::BadUri),
            (
                "moqt://relay.example#msf:a.2G--catalog",
                gst::URIError::BadUri,
            ),
            ("moqt://#camera", gst::URIError::BadUri),
            (
                "https://relay.example#camera",
                gst::URIError::UnsupportedProtocol,
            ),
        ] {
            let error = handler.set_uri(wrong).expect_err(wrong);
            assert!(error.matches(code), "{wrong}: {error}");
            assert_eq!(handler.uri().as_deref(), Some(public), "{wrong}");
            if factory == "moqsrc" {
                let format = element.property_value("catalog-format").serialize();
                assert_eq!(format.expect("text"), "msf", "{wrong}");
            }
            if wrong.starts_with("moqt") {
                let error = gst::Element::make_from_uri(kind, wrong, None);
                let error = error.expect_err(wrong);
                assert!(error.matches(code), "{wrong}: {error}");
            }
        }
    }
}
