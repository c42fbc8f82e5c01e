// SPDX-License-Identifier: MIT
//! Cues: what a frame of text becomes, and when plain text ends.

use std::sync::Arc;

use bytes::Bytes;
use gst::ClockTime;

use crate::media::format::{
    codec::{Kind, text},
    rendition::Rendition,
};

/// How long plain text waits for the frame that says when it ends; a publisher that knows the end
/// sends that frame at once.
const END_TIMEOUT: ClockTime = ClockTime::from_mseconds(20);

/// Reads the cues of one text track.
pub(super) struct CueReader {
    rendition: Arc<Rendition>,
    /// The end of the text that is shown was sent.
    cleared: bool,
}

/// One cue, in timestamps of its track.
pub(super) struct Cue {
    pub(super) begin: ClockTime,
    /// `None` when only what follows ends it.
    pub(super) end: Option<ClockTime>,
    pub(super) text: Bytes,
}

impl CueReader {
    /// The reader of a track of text; of any other there are no cues.
    pub(super) fn of(rendition: &Arc<Rendition>) -> Option<Self> {
        (rendition.kind() == Kind::Text).then(|| Self {
            rendition: rendition.clone(),
            cleared: false,
        })
    }

    /// Whether the text carries no times: an empty frame ends it.
    pub(super) fn is_plain(&self) -> bool {
        text::clears(&self.rendition)
    }

    /// From when on a frame that came `now` is emitted although nothing says when it ends.
    pub(super) fn emit_at(&self, now: ClockTime) -> ClockTime {
        match self.is_plain() {
            true => now + END_TIMEOUT,
            false => ClockTime::ZERO,
        }
    }

    /// The cues of a frame; `end` is the end of those without one of their own.
    pub(super) fn cues(
        &self,
        timestamp: ClockTime,
        payload: &Bytes,
        end: Option<ClockTime>,
    ) -> impl Iterator<Item = Cue> + use<> {
        let cues = text::cues(&self.rendition, payload).into_iter();
        cues.map(move |cue| {
            let begin = timestamp + cue.after;
            let own = cue.duration.map(|duration| begin.saturating_add(duration));
            Cue {
                begin,
                end: own.or(end),
                text: cue.text,
            }
        })
    }

    /// Text is shown.
    pub(super) fn begin(&mut self) {
        self.cleared = false;
    }

    /// The text that is shown is over; whether that is news.
    pub(super) fn end_is_new(&mut self) -> bool {
        !std::mem::replace(&mut self.cleared, true)
    }
}
