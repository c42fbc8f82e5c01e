//! Cues: what a frame of text becomes, and when plain text ends.

use gst::ClockTime;
use moq_mux::container;

use super::playout::{Held, Output, timestamp};
use crate::{
    media::{format::codec::text, time::playout::Stamp},
    source::message::{Frame, Message},
};

/// How long plain text waits for the frame that says when it ends; a publisher that knows the end
/// sends that frame at once.
const END_WAIT: ClockTime = ClockTime::from_mseconds(20);

impl Held {
    /// From when on it can be shown.
    pub(crate) fn ready(&self) -> ClockTime {
        match self.end {
            Some(_) => ClockTime::ZERO,
            None => self.ready,
        }
    }
}

impl Output {
    /// From when on a frame that came `now` is shown although nothing says when it ends.
    pub(crate) fn ready(&self, now: ClockTime) -> ClockTime {
        match text::clears(&self.rendition) {
            true => now + END_WAIT,
            false => ClockTime::ZERO,
        }
    }

    /// Takes in an empty frame: plain text is over at its timestamp.
    pub(crate) fn clear(&mut self, frame: &container::Frame) {
        if !text::clears(&self.rendition) {
            return;
        }
        let Some(timestamp) = timestamp(frame) else {
            return;
        };
        if let Some(held) = self.held.back_mut() {
            held.end = Some(timestamp);
            return self.release_if_settled();
        }
        let end = self.playback.timeline().edge(timestamp);
        if let Some(end) = end
            && !std::mem::replace(&mut self.cleared, true)
            && !self.budget.is_over()
        {
            let charge = self.budget.charge(0, end);
            // Refused only when the pad has gone.
            let _ = self.messages.send(Message::Clear(end, charge));
        }
    }

    pub(crate) fn show_text(&mut self, held: &Held) {
        for cue in text::cues(&self.rendition, &held.payload) {
            let begin = held.timestamp + cue.after;
            let end = cue.duration.map(|duration| begin.saturating_add(duration));
            let end = end.or(held.end);
            let shown = self.playback.timeline().stamp_span(self.track, begin, end);
            let Some((Stamp { pts, discont, .. }, duration)) = shown else {
                // Nothing is wrong with a cue that was over before the start.
                self.counters.before_start.add(1);
                continue;
            };
            self.shown();
            self.position.advance(pts);
            self.cleared = false;
            let frame = Frame {
                pts,
                dts: None,
                duration,
                discont: std::mem::take(&mut self.discont) | discont,
                delta: false,
                stays: duration.is_none() && text::clears(&self.rendition),
                charge: self.budget.charge(cue.text.len(), pts),
                payload: cue.text,
            };
            // Refused only when the pad has gone.
            let _ = self.messages.send(Message::Frame(frame));
        }
    }
}
