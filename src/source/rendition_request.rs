// SPDX-License-Identifier: MIT
//! The signal `choose-rendition`, by which the application overrules what the network makes of renditions.

use std::{ops::ControlFlow, sync::Arc};

use gst::{glib::subclass::Signal, prelude::*};

use super::{MoqSrcPad, subscriber::AskRendition};
use crate::element::app_queue::AppQueue;

const SIGNAL: &str = "choose-rendition";

/// The declaration of the signal: a handler gets the pad and the structure `moq-rendition-change`, with
/// `current`, `proposed` (the names of tracks) and `reason`, and returns the name of the track to give, or NULL for
/// the proposed one. The first handler that names one decides.
pub(super) fn signal() -> Signal {
    Signal::builder(SIGNAL)
        .param_types([MoqSrcPad::static_type(), gst::Structure::static_type()])
        .return_type::<Option<String>>()
        .run_last()
        .accumulator(
            |_, _, returned| match returned.get::<Option<String>>().ok().flatten() {
                Some(_) => ControlFlow::Break(returned.clone()),
                None => ControlFlow::Continue(returned.clone()),
            },
        )
        .build()
}

/// Asks the handlers, on the thread where the application is called.
pub(super) fn ask(queue: &Arc<AppQueue>) -> AskRendition {
    let queue = queue.clone();
    Arc::new(move |change| {
        queue.ask(SIGNAL, move |element| {
            let structure = gst::Structure::builder("moq-rendition-change")
                .field("current", change.current)
                .field("proposed", change.proposed)
                .field("reason", change.reason.name())
                .build();
            let pad = element.static_pad(&change.pad)?;
            element.emit_by_name::<Option<String>>(SIGNAL, &[&pad, &structure])
        })
    })
}
