// SPDX-License-Identifier: MIT
//! The signal `session-request`, by which the application decides who is let in.

use std::{ops::ControlFlow, sync::Arc};

use gst::{
    glib::{self, subclass::Signal},
    prelude::*,
};
use tokio::sync::oneshot;

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

/// Asks the handlers of `element`, on the thread where its application is called; nobody is asked
/// where there is none.
pub(crate) fn ask(queue: &Arc<AppQueue>, element: &gst::Element) -> Ask {
    let (queue, element) = (queue.clone(), element.downgrade());
    Arc::new(move |request| {
        let element = element.upgrade()?;
        let signal = glib::subclass::SignalId::lookup(SIGNAL, element.type_())?;
        if !glib::signal::signal_has_handler_pending(&element, signal, None, false) {
            return None;
        }
        let (answer, answered) = oneshot::channel();
        queue.offer(move |element| {
            // Whoever asked may have given up meanwhile.
            if !answer.is_closed() {
                let admitted = element.emit_by_name::<bool>(SIGNAL, &[&request.structure()]);
                let _ = answer.send(admitted);
            }
        });
        Some(answered)
    })
}
