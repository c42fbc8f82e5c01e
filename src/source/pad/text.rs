// SPDX-License-Identifier: MIT
//! Text as downstream takes it: with its markup or without, and for as long as it stays.

use bytes::Bytes;
use gst::{ClockTime, prelude::*};

use crate::{media::text::Markup, source::message::Frame};

/// Text that stays is pushed again and again for this long: an overlay shows a cue without duration
/// for one video frame only, and takes the next one when this one is over.
const REPEAT_DURATION: ClockTime = ClockTime::from_mseconds(500);
/// How long it stays when nothing follows; the players of browsers have the same.
const MAX_STAY: ClockTime = ClockTime::from_seconds(30);

/// What the streaming task of a text pad knows.
#[derive(Default)]
pub(super) struct TextOutput {
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

impl TextOutput {
    /// The text that is shown is over at `end`.
    pub(super) fn clear(&mut self, end: ClockTime) {
        if let Some(staying) = &mut self.staying {
            staying.until = staying.until.min(end);
        }
    }

    /// Brings a cue into the form that downstream takes since its newest `wish`.
    pub(super) fn prepare(&mut self, pad: &gst::Pad, wish: u32, frame: &mut Frame) {
        self.choose_caps(pad, wish);
        self.staying = frame.stays.then(|| Staying {
            payload: frame.payload.clone(),
            until: frame.pts + MAX_STAY,
        });
        frame.payload = self.form(&frame.payload);
        if frame.stays {
            frame.duration = Some(REPEAT_DURATION);
        }
    }

    /// The text that stays, from `from` on, if there is any.
    pub(super) fn repeat(
        &mut self,
        pad: &gst::Pad,
        wish: u32,
        from: ClockTime,
    ) -> Option<gst::Buffer> {
        self.choose_caps(pad, wish);
        self.staying.take_if(|staying| staying.until <= from);
        let staying = self.staying.as_ref()?;
        let mut buffer = gst::Buffer::from_slice(self.form(&staying.payload));
        // Just made: nobody else holds it.
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(from);
            buffer.set_duration((staying.until - from).min(REPEAT_DURATION));
        }
        Some(buffer)
    }

    /// A payload as downstream takes it.
    fn form(&self, payload: &Bytes) -> Bytes {
        match str::from_utf8(payload) {
            Ok(markup) if self.plain => Markup::parse(markup).to_plain().into(),
            _ => payload.clone(),
        }
    }

    /// Muxers take text without markup only: asks each new peer, and again after each `wish` of
    /// downstream (RECONFIGURE), and says what it gets.
    ///
    /// A wish that comes while it is asked has it asked again.
    fn choose_caps(&mut self, pad: &gst::Pad, wish: u32) {
        let Some(peer) = pad.peer() else { return };
        let asked = self.asked.as_ref();
        if asked.is_some_and(|(asked, answered)| *asked == peer && *answered == wish) {
            return;
        }
        self.asked = Some((peer.downgrade(), wish));
        let current = pad.current_caps();
        let Some(caps) = self.caps.clone().or_else(|| current.clone()) else {
            return;
        };
        let plain = gst::Caps::builder("text/x-raw")
            .field("format", "utf8")
            .build();
        self.plain =
            has_markup(&caps) && !peer.query_accept_caps(&caps) && peer.query_accept_caps(&plain);
        let wanted = match self.plain {
            true => &plain,
            false => &caps,
        };
        if current.as_ref() != Some(wanted) {
            pad.push_event(gst::event::Caps::new(wanted));
        }
        self.caps = Some(caps);
    }
}

fn has_markup(caps: &gst::Caps) -> bool {
    let format = |structure: &gst::StructureRef| structure.get::<String>("format");
    caps.structure(0)
        .is_some_and(|structure| format(structure).as_deref() == Ok("pango-markup"))
}
