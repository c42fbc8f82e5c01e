// SPDX-License-Identifier: MIT
//! Warnings for the application.

use std::sync::Arc;

use tokio::time::Instant;

use crate::element::{app_queue::AppQueue, warn_limiter::WarnLimiter};

/// Posts WARNING messages, of each cause one a second at most, however often broadcasts come and go.
pub(super) struct Warnings {
    app_queue: Arc<AppQueue>,
    limiter: WarnLimiter,
}

impl Warnings {
    pub(super) fn new(app_queue: Arc<AppQueue>) -> Self {
        Self {
            app_queue,
            limiter: WarnLimiter::default(),
        }
    }

    /// Posts the problems of a catalog.
    pub(super) fn post_all(&mut self, problems: Vec<String>) {
        for problem in problems {
            self.post(&problem.clone(), gst::StreamError::Format, problem);
        }
    }

    /// Posts `text`, unless there was a warning of this `cause` within the last second; whether it did.
    pub(super) fn post<E>(&mut self, cause: &str, code: E, text: String) -> bool
    where
        E: gst::MessageErrorDomain + Send + 'static,
    {
        if !self.limiter.is_due(cause, Instant::now()) {
            return false;
        }
        self.app_queue.offer(move |element| {
            gst::element_warning!(element, code, ("{text}"));
        });
        true
    }
}
