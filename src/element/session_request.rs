// SPDX-License-Identifier: MIT
//! The signal `session-request`, by which the application decides who is let in.

use std::{ops::ControlFlow, sync::Arc};

use gst::{glib::subclass::Signal, prelude::*};

use super::app_queue::AppQueue;
use crate::net::listen::Ask;

const SIGNAL: &str = "session-request";

/// The declaration of the signal: a handler gets the structure `moq-session-request` and returns whether
/// the session is let in. All handlers have to agree; without any, everybody is let in whom the
/// properties allow.
pub(crate) fn signal() -> Signal {
    Signal::builder(SIGNAL)
        .param_types([gst::Structure::static_type()])
        .return_type::<bool>()
        .run_last()
        .class_handler(|_| Some(true.to_value()))
        .accumulator(|_, _, returned| match returned.get() {
            Ok(true) => ControlFlow::Continue(returned.clone()),
            _ => ControlFlow::Break(false.to_value()),
        })
        .build()
}

/// Asks the handlers, on the thread where the application is called.
pub(crate) fn ask(queue: &Arc<AppQueue>) -> Ask {
    let queue = queue.clone();
    Arc::new(move |request| {
        queue.ask(SIGNAL, move |element| {
            element.emit_by_name::<bool>(SIGNAL, &[&request.structure()])
        })
    })
}
