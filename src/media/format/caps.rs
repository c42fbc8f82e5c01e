// SPDX-License-Identifier: MIT
//! Caps to catalog entry, and catalog entry to caps.

#[cfg(test)]
mod tests;

use bytes::Bytes;
use gst::prelude::MulDiv;
use hang::catalog::Container;

use super::{
    codec::Codec,
    input::{InputFormat, Span, TextSettings},
    rendition::Kind,
};
use crate::media::container::kind;

pub use super::rendition::{CapsError, FrameError, Rendition};

/// What one sink pad takes in, from one CAPS event to the next.
#[derive(Debug)]
pub struct InputStream {
    codec: &'static Codec,
    frame_duration: Option<gst::ClockTime>,
    input: Box<dyn InputFormat>,
    container: kind::Container,
    /// An entry of the input, and the same with its container.
    wrapped: Option<(Rendition, Rendition)>,
}

impl InputStream {
    /// Starts a stream with the caps of a CAPS event.
    ///
    /// # Errors
    ///
    /// `Unsupported` for caps that are never taken: the event is to be refused. `Broken` for a
    /// format that is taken but unusable here (no codec_data, a size or rate of zero): it fails
    /// this pad alone.
    pub fn from_caps(caps: &gst::CapsRef) -> Result<Self, CapsError> {
        let structure = caps
            .structure(0)
            .filter(|_| caps.is_fixed())
            .ok_or_else(|| {
                CapsError::Unsupported("The caps are not fixed: a parser is missing.".into())
            })?;
        let codec = Codec::of_caps(structure)?;
        Ok(Self {
            codec,
            frame_duration: frame_duration(structure),
            input: codec.input(structure)?,
            container: kind::Container::default(),
            wrapped: None,
        })
    }

    /// Has the frames of a stream with these caps wrapped in `container`.
    ///
    /// # Errors
    ///
    /// `Unsupported` when the container has no room for such a stream.
    pub fn in_container(
        mut self,
        container: kind::Container,
        caps: &gst::CapsRef,
    ) -> Result<Self, CapsError> {
        if let Some(structure) = caps.structure(0) {
            container.check(self.kind(), structure)?;
        }
        self.container = container;
        self.wrap()?;
        Ok(self)
    }

    /// Keeps the entry with its container in line with the input's.
    fn wrap(&mut self) -> Result<(), CapsError> {
        let plain = self.input.rendition();
        if self.container == kind::Container::Legacy
            || plain == self.wrapped.as_ref().map(|(plain, _)| plain)
        {
            return Ok(());
        }
        let plain = plain.cloned();
        self.wrapped = None;
        if let Some(plain) = plain {
            let mut wrapped = plain.clone();
            wrapped.set_container(self.container.of(&plain)?);
            self.wrapped = Some((plain, wrapped));
        }
        Ok(())
    }

    /// The kind of the track.
    pub fn kind(&self) -> Kind {
        self.codec.kind
    }

    /// Name of the codec for people.
    #[cfg(feature = "testing")]
    pub fn codec(&self) -> &'static str {
        self.codec.name
    }

    /// The complete catalog entry, or `None` while it waits for the first keyframe.
    ///
    /// It may change with a keyframe that brings new parameter sets.
    pub fn rendition(&self) -> Option<&Rendition> {
        match self.container {
            kind::Container::Legacy => self.input.rendition(),
            _ => self.wrapped.as_ref().map(|(_, wrapped)| wrapped),
        }
    }

    /// [`Self::prepare_at`] for a frame whose time does not matter, as it does for text alone.
    ///
    /// # Errors
    ///
    /// The same.
    #[cfg(feature = "testing")]
    pub fn prepare(&mut self, payload: Bytes, keyframe: bool) -> Result<Bytes, FrameError> {
        let payload = self.input.prepare(payload, keyframe)?;
        self.wrap().map_err(|_| FrameError::NotContained)?;
        Ok(payload)
    }

    /// Turns one access unit or packet into what goes on the wire, and remembers its parameter
    /// sets.
    ///
    /// H.264 avc3 and H.265 hev1 are rewritten as Annex B; all else goes out as it is, except for a
    /// keyframe of a byte-stream without parameter sets: it gets the last ones, so that whoever
    /// joins there can decode. Raw text becomes WebVTT, or plain text; times of WebVTT are moved to
    /// MoQ time. Nothing is left of a buffer that has no cue, such as a header.
    ///
    /// # Errors
    ///
    /// When nobody could decode the keyframe, the frame is malformed, or text is not UTF-8. The
    /// stream can go on with the next keyframe.
    pub fn prepare_at(
        &mut self,
        payload: Bytes,
        keyframe: bool,
        span: Span,
    ) -> Result<Bytes, FrameError> {
        let payload = self.input.prepare_at(payload, keyframe, span)?;
        self.wrap().map_err(|_| FrameError::NotContained)?;
        Ok(payload)
    }

    /// Takes in a header without a time of its own: its parameter sets count for what follows.
    pub fn remember(&mut self, header: &gst::BufferRef) {
        if let Ok(header) = header.map_readable() {
            // A header alone is no frame: what else is wrong with it shows at the next one.
            let _ = self.input.prepare(Bytes::copy_from_slice(&header), false);
        }
    }

    /// Says how text is published; other kinds do not care.
    pub fn set_text(&mut self, settings: &TextSettings) {
        self.input.set_text(settings);
    }

    /// Whether an empty frame is published where a frame ends, and where nothing is left of one.
    pub fn clears(&self) -> bool {
        self.input.clears()
    }

    /// Duration of a frame by the frame rate of the caps; `None` when they have none or it varies.
    pub fn frame_duration(&self) -> Option<gst::ClockTime> {
        self.frame_duration
    }

    /// How many frames can come before one that is presented earlier: 0 when the stream never
    /// reorders, `None` when nothing says so (yet).
    pub fn reorder_depth(&self) -> Option<u32> {
        self.input.reorder_depth()
    }

    /// Whether a decoder can begin with this frame; `marked` is what the buffer's flag says, which
    /// encoders and parsers do not always set right.
    pub fn is_keyframe(&self, payload: &[u8], marked: bool) -> bool {
        self.input.is_keyframe(payload, marked)
    }
}

/// Complete, decoder-ready caps of a catalog entry.
///
/// # Errors
///
/// `Unsupported` for a codec or container that is not known, `Broken` for an entry that no decoder
/// could use, such as an unreadable description or a size of zero.
pub fn from_rendition(rendition: &Rendition) -> Result<gst::Caps, CapsError> {
    if let Container::Unknown(container) = rendition.container() {
        return Err(CapsError::Unsupported(format!(
            "The container {:?} is not supported.",
            container.kind().unwrap_or_default()
        )));
    }
    Codec::caps(rendition)
}

/// Reorder depth in frames of a catalog entry, from its description or codec string: 0 when it
/// never reorders, `None` when nothing says so.
pub fn reorder_depth(rendition: &Rendition) -> Option<u32> {
    Codec::reorder_depth(rendition, None)
}

/// The same with a keyframe of the track, whose parameter sets count when the entry has none.
pub fn reorder_depth_in_band(rendition: &Rendition, keyframe: &[u8]) -> Option<u32> {
    Codec::reorder_depth(rendition, Some(keyframe))
}

fn frame_duration(structure: &gst::StructureRef) -> Option<gst::ClockTime> {
    let rate = structure.get::<gst::Fraction>("framerate").ok()?;
    let numer = u64::try_from(rate.numer()).ok().filter(|&n| n > 0)?;
    let denom = u64::try_from(rate.denom()).ok().filter(|&n| n > 0)?;
    gst::ClockTime::SECOND.mul_div_floor(denom, numer)
}
