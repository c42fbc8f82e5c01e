//! What the session warns of, each cause now and then.

use std::time::Duration;

use tokio::time::Instant;

use super::Session;
use crate::source::{
    CAT,
    message::{PadIndex, TrackProblem},
};

impl Session {
    pub(crate) fn warn_once(&mut self, warning: String) {
        if self.warned.as_ref() != Some(&warning) {
            self.warned = Some(warning.clone());
            self.warn(vec![warning]);
        }
    }

    /// Warns of problems of the catalog.
    pub(crate) fn warn(&mut self, warnings: Vec<String>) {
        for warning in warnings {
            self.warn_of(warning.clone(), gst::StreamError::Format, warning);
        }
    }

    /// Warns of what a reader has noticed, unless it was given up meanwhile.
    pub(crate) fn on_problem(&mut self, index: PadIndex, generation: u64, problem: &TrackProblem) {
        let reachable = self.broadcast.is_some() && self.config.connection.is_connected();
        let playback = self.playback.as_ref();
        let live = playback
            .is_some_and(|playback| playback.timeline().is_live(playback.clock.running_time()));
        let pad = &mut self.pads[index];
        if pad.generation != generation || pad.reader.is_none() {
            return;
        }
        let track = pad.entry.name.clone();
        match problem {
            TrackProblem::Dropping(cause) => {
                let warning = format!(
                    "No frame of the track \"{track}\" was shown for a second, they are dropped: {cause}"
                );
                let about = format!("{track} {cause:?}");
                self.warn_of(about, gst::StreamError::Failed, warning);
            }
            TrackProblem::Silent(silence) if silence.cached && live => gst::debug!(
                CAT,
                id = &self.config.name,
                "The track \"{track}\" may be switched off: {}",
                silence.reason
            ),
            TrackProblem::Silent(silence) if reachable && pad.tell_once() => {
                let warning = format!("The track \"{track}\" gives nothing: {}", silence.reason);
                self.warn_of(
                    format!("{track} is silent"),
                    gst::ResourceError::Read,
                    warning,
                );
            }
            TrackProblem::Silent(_) => {}
        }
    }

    /// Warns of each `cause` once a second at most, however often broadcasts come and go; whether it
    /// was done.
    pub(crate) fn warn_of<E>(&mut self, cause: String, code: E, warning: String) -> bool
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
        self.config.app_queue.offer(move |element| {
            gst::element_warning!(element, code, ("{warning}"));
        });
        true
    }
}
