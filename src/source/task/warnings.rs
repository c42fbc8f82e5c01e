//! What the session warns of, each cause now and then.

use std::time::Duration;

use tokio::time::Instant;

use super::Session;

impl Session {
    pub(super) fn warn_once(&mut self, warning: String) {
        if self.warned.as_ref() != Some(&warning) {
            self.warned = Some(warning.clone());
            self.warn(vec![warning]);
        }
    }

    /// Warns of problems of the catalog.
    pub(super) fn warn(&mut self, warnings: Vec<String>) {
        for warning in warnings {
            self.warn_of(warning.clone(), gst::StreamError::Format, warning);
        }
    }

    /// Warns of each `cause` once a second at most, however often broadcasts come and go; whether it
    /// was done.
    pub(super) fn warn_of<E>(&mut self, cause: String, code: E, warning: String) -> bool
    where
        E: gst::MessageErrorDomain + Send + 'static,
    {
        const SECOND: Duration = Duration::from_secs(1);
        const MAX: usize = 64;
        self.warnings.retain(|_, told| told.elapsed() < SECOND);
        if self.warnings.contains_key(&cause) || self.warnings.len() == MAX {
            return false;
        }
        self.warnings.insert(cause, Instant::now());
        self.config.courier.offer(move |element| {
            gst::element_warning!(element, code, ("{warning}"));
        });
        true
    }
}
