// SPDX-License-Identifier: MIT
//! Messages to the application, posted from its own threads or from GStreamer's.
//!
//! The session task posts through [`super::app_queue::AppQueue`] instead.

use gst::prelude::*;

/// Posts `message` on the bus of `element`.
pub(crate) fn post(element: &impl IsA<gst::Element>, message: gst::Message) {
    // Refused only without a bus: then nobody listens.
    let _ = element.post_message(message);
}

/// Posts an element message of this name.
pub(crate) fn post_element(
    element: &gst::Element,
    name: &str,
    fields: impl FnOnce(gst::structure::Builder) -> gst::structure::Builder,
) {
    let structure = fields(gst::Structure::builder(name)).build();
    let message = gst::message::Element::builder(structure).src(element);
    post(element, message.build());
}

/// Posts how an operation of this `code` goes on.
pub(crate) fn post_progress(
    element: &gst::Element,
    kind: gst::ProgressType,
    code: &str,
    text: &str,
) {
    let message = gst::message::Progress::builder(kind, code, text).src(element);
    post(element, message.build());
}
