//! Pads that come and change while the element runs; all of it is done by the application queue.

use gst::prelude::*;

use super::{
    MoqSrcPad,
    pad::{self, stop_all, template_name},
};
use crate::element::app_queue::AppQueue;

/// Adds the pads of new renditions and tells of all streams.
pub(crate) fn expose(
    element: &gst::Element,
    added: Vec<pad::Config>,
    collection: &gst::StreamCollection,
    first: bool,
    app_queue: &AppQueue,
) {
    for config in added {
        let template = template_name(config.kind);
        let Some(template) = element.pad_template(&template) else {
            continue;
        };
        let pad = MoqSrcPad::new(&template, config, collection);
        if app_queue.is_closed() || element.add_pad(&pad).is_err() {
            continue;
        }
        // The run may have ended while the pad was added: it goes with its run, if it has not yet.
        if app_queue.is_closed() {
            stop_all(std::slice::from_ref(&pad));
            if pad.parent_element().as_ref() == Some(element) {
                let _ = element.remove_pad(&pad);
            }
        }
    }
    if app_queue.is_closed() {
        return;
    }
    let message = gst::message::StreamCollection::builder(collection)
        .src(element)
        .build();
    // Refused only without a bus: then nobody asks.
    let _ = element.post_message(message);
    if first {
        element.no_more_pads();
    }
}

/// The pad gives another track.
pub(crate) fn rename(element: &gst::Element, pad: &str, track: &str, mime: Option<String>) {
    let pad = element.static_pad(pad).and_downcast::<MoqSrcPad>();
    if let Some(pad) = pad {
        pad.set_track(track, mime);
    }
}
