// SPDX-License-Identifier: MIT
//! Text as downstream takes it: with its markup or without, and for as long as it stays.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use gst::{ClockTime, prelude::*};

use super::stream::Pusher;
use crate::{media::text::Markup, source::message::Frame};

/// Text that stays is pushed again and again for this long: an overlay shows a cue without duration
/// for one picture only, and takes the next one when this one is over.
const SLICE: ClockTime = ClockTime::from_mseconds(500);
/// How long it stays when nothing follows; the players of browsers have the same.
const LONGEST: ClockTime = ClockTime::from_seconds(30);

/// What the streaming thread of a text pad knows.
#[derive(Default)]
pub(crate) struct Text {
    staying: Option<Staying>,
    /// The peer that was asked what it takes, and the wish of downstream that this answers.
    asked: Option<(gst::glib::WeakRef<gst::Pad>, u32)>,
    /// The caps of the track, which downstream may not take.
    caps: Option<gst::Caps>,
    /// Markup goes out as plain text.
    plain: bool,
}

struct Staying {
    /// As the track has it.
    payload: Bytes,
    until: ClockTime,
}

impl Text {
    /// The text that is shown is over at `end`.
    pub(crate) fn clear(&mut self, end: ClockTime) {
        if let Some(staying) = &mut self.staying {
            staying.until = staying.until.min(end);
        }
    }

    /// A payload as downstream takes it.
    fn form(&self, payload: &Bytes) -> Bytes {
        match str::from_utf8(payload) {
            Ok(markup) if self.plain => Markup::parse(markup).to_plain().into(),
            _ => payload.clone(),
        }
    }
}

impl Pusher {
    /// Brings a cue into the form that downstream takes.
    pub(crate) fn prepare_text(&mut self, pad: &gst::Pad, frame: &mut Frame) {
        self.choose_text_caps(pad);
        self.text.staying = frame.stays.then(|| Staying {
            payload: frame.payload.clone(),
            until: frame.pts + LONGEST,
        });
        frame.payload = self.text.form(&frame.payload);
        if frame.stays {
            frame.duration = Some(SLICE);
        }
    }

    /// Pushes the text that stays from `from` on; whether there is any.
    pub(crate) fn push_text(&mut self, pad: &gst::Pad, from: ClockTime) -> bool {
        self.choose_text_caps(pad);
        let staying = self.text.staying.as_ref();
        let Some(staying) = staying.filter(|staying| staying.until > from) else {
            self.text.staying = None;
            return false;
        };
        let duration = (staying.until - from).min(SLICE);
        let mut buffer = gst::Buffer::from_slice(self.text.form(&staying.payload));
        // Just made: nobody else holds it.
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(from);
            buffer.set_duration(duration);
        }
        self.push(pad, buffer, from + duration);
        true
    }

    /// Muxers take text without markup only: asks each new peer, and again when downstream has
    /// changed (RECONFIGURE), and says what it gets.
    fn choose_text_caps(&mut self, pad: &gst::Pad) {
        // Before the answer: a wish that comes meanwhile has it asked again.
        let wish = self.wishes.load(Ordering::Acquire);
        let Some(peer) = pad.peer() else { return };
        let asked = self.text.asked.as_ref();
        if asked.is_some_and(|(asked, answered)| *asked == peer && *answered == wish) {
            return;
        }
        self.text.asked = Some((peer.downgrade(), wish));
        let current = pad.current_caps();
        let Some(caps) = self.text.caps.clone().or_else(|| current.clone()) else {
            return;
        };
        let plain = gst::Caps::builder("text/x-raw")
            .field("format", "utf8")
            .build();
        self.text.plain =
            has_markup(&caps) && !peer.query_accept_caps(&caps) && peer.query_accept_caps(&plain);
        let wanted = match self.text.plain {
            true => &plain,
            false => &caps,
        };
        if current.as_ref() != Some(wanted) {
            pad.push_event(gst::event::Caps::new(wanted));
        }
        self.text.caps = Some(caps);
    }
}

fn has_markup(caps: &gst::Caps) -> bool {
    let format = |structure: &gst::StructureRef| structure.get::<String>("format");
    caps.structure(0)
        .is_some_and(|structure| format(structure).as_deref() == Ok("pango-markup"))
}
