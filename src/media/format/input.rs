// SPDX-License-Identifier: MIT
//! What a codec makes of the buffers of one sink pad.

use std::fmt;

use bytes::Bytes;
use gst::ClockTime;
use hang::catalog::TextRole;

use super::rendition::{FrameError, Rendition};

/// When a frame is presented, in MoQ time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Its timestamp.
    pub begin: ClockTime,
    /// How long it lasts, if its buffer says so.
    pub duration: Option<ClockTime>,
}

/// How a text track is published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextSettings {
    /// Raw text goes out as plain text rather than as WebVTT.
    pub plain: bool,
    /// What the text is for.
    pub role: TextRole,
}

/// The codec's side of [`InputStream`](super::caps::InputStream), whose methods of the same names say
/// what each does.
pub(super) trait InputFormat: fmt::Debug + Send {
    fn rendition(&self) -> Option<&Rendition>;

    fn prepare(&mut self, payload: Bytes, keyframe: bool) -> Result<Bytes, FrameError>;

    /// For what carries its own time.
    fn prepare_at(
        &mut self,
        payload: Bytes,
        keyframe: bool,
        _span: Span,
    ) -> Result<Bytes, FrameError> {
        self.prepare(payload, keyframe)
    }

    fn reorder_depth(&self) -> Option<u32> {
        Some(0)
    }

    fn set_text(&mut self, _settings: &TextSettings) {}

    fn clears(&self) -> bool {
        false
    }

    /// Codecs whose payload tells look there.
    fn is_keyframe(&self, _payload: &[u8], marked: bool) -> bool {
        marked
    }
}

/// A format whose caps say everything and whose packets go out as they are.
#[derive(Debug)]
pub(super) struct Fixed(pub(super) Rendition);

impl InputFormat for Fixed {
    fn rendition(&self) -> Option<&Rendition> {
        Some(&self.0)
    }

    fn prepare(&mut self, payload: Bytes, _keyframe: bool) -> Result<Bytes, FrameError> {
        Ok(payload)
    }
}
