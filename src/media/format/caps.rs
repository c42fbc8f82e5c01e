//! Caps to catalog entry, and catalog entry to caps.

#[cfg(test)]
mod tests;

use bytes::Bytes;
use gst::prelude::MulDiv;
use hang::catalog::Container;

use super::codec::{Codec, Intake, Kind, text};
use crate::media::container::kind;

pub use super::rendition::{CapsError, FrameError, Rendition};

/// What one sink pad takes in, from one CAPS event to the next.
#[derive(Debug)]
pub struct Stream {
    codec: &'static Codec,
    frame_duration: Option<gst::ClockTime>,
    intake: Box<dyn Intake>,
    container: kind::Container,
    /// An entry of the intake, and the same with its container.
    wrapped: Option<(Rendition, Rendition)>,
}

/// When a frame is shown, in MoQ time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Its timestamp.
    pub begin: gst::ClockTime,
    /// How long it lasts, if its buffer says so.
    pub duration: Option<gst::ClockTime>,
}

impl Stream {
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
            intake: codec.intake(structure)?,
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

    /// Keeps the entry with its container in line with the intake's.
    fn wrap(&mut self) -> Result<(), CapsError> {
        let plain = self.intake.rendition();
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
    pub fn codec(&self) -> &'static str {
        self.codec.name
    }

    /// The complete catalog entry, or `None` while it waits for the first key frame.
    ///
    /// It may change with a key frame that brings new parameter sets.
    pub fn rendition(&self) -> Option<&Rendition> {
        match self.container {
            kind::Container::Legacy => self.intake.rendition(),
            _ => self.wrapped.as_ref().map(|(_, wrapped)| wrapped),
        }
    }

    /// Turns one access unit or packet into what goes on the wire, and remembers its parameter
    /// sets.
    ///
    /// H.264 avc3 and H.265 hev1 are rewritten as Annex B; all else goes out as it is, except for a
    /// key frame of a byte-stream without parameter sets: it gets the last ones, so that whoever
    /// joins there can decode.
    ///
    /// # Errors
    ///
    /// When nobody could decode the key frame, or the frame is malformed. The stream can go on with
    /// the next key frame.
    pub fn prepare(&mut self, payload: Bytes, key_frame: bool) -> Result<Bytes, FrameError> {
        let payload = self.intake.prepare(payload, key_frame)?;
        self.wrap().map_err(|_| FrameError::NotContained)?;
        Ok(payload)
    }

    /// The same for a frame whose time is known, which text carries in its payload.
    ///
    /// Raw text becomes WebVTT, or plain text; times of WebVTT are moved to MoQ time. Nothing is left
    /// of a buffer that has no cue, such as a header.
    ///
    /// # Errors
    ///
    /// As [`Stream::prepare`]; and when text is not UTF-8.
    pub fn prepare_at(
        &mut self,
        payload: Bytes,
        key_frame: bool,
        span: Span,
    ) -> Result<Bytes, FrameError> {
        let payload = self.intake.prepare_at(payload, key_frame, span)?;
        self.wrap().map_err(|_| FrameError::NotContained)?;
        Ok(payload)
    }

    /// Takes in a header without a time of its own: its parameter sets count for what follows.
    pub fn remember(&mut self, header: &gst::BufferRef) {
        if let Ok(header) = header.map_readable() {
            // A header alone is no frame: what else is wrong with it shows at the next one.
            let _ = self.intake.prepare(Bytes::copy_from_slice(&header), false);
        }
    }

    /// Says how text is published; other kinds do not care.
    pub fn set_text(&mut self, settings: &text::Settings) {
        self.intake.set_text(settings);
    }

    /// Whether an empty frame is published where a frame ends, and where nothing is left of one.
    pub fn clears(&self) -> bool {
        self.intake.clears()
    }

    /// Duration of a frame by the frame rate of the caps; `None` when they have none or it varies.
    pub fn frame_duration(&self) -> Option<gst::ClockTime> {
        self.frame_duration
    }

    /// How many frames can come before one that is presented earlier: 0 when the stream never
    /// reorders, `None` when nothing says so (yet).
    pub fn reorder_depth(&self) -> Option<u32> {
        self.intake.reorder_depth()
    }

    /// Whether a decoder can begin with this frame; `marked` is what the buffer's flag says, which
    /// encoders and parsers do not always set right.
    pub fn is_key(&self, payload: &[u8], marked: bool) -> bool {
        self.intake.is_key(payload, marked)
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
    Codec::of_rendition(rendition)?.caps(rendition)
}

/// Reorder depth in frames of a catalog entry, from its description or codec string: 0 when it
/// never reorders, `None` when nothing says so.
pub fn reorder_depth(rendition: &Rendition) -> Option<u32> {
    Codec::of_rendition(rendition)
        .ok()?
        .reorder_depth(rendition, None)
}

/// The same with a key frame of the track, whose parameter sets count when the entry has none.
pub fn reorder_depth_in_band(rendition: &Rendition, key_frame: &[u8]) -> Option<u32> {
    Codec::of_rendition(rendition)
        .ok()?
        .reorder_depth(rendition, Some(key_frame))
}

fn frame_duration(structure: &gst::StructureRef) -> Option<gst::ClockTime> {
    let rate = structure.get::<gst::Fraction>("framerate").ok()?;
    let numer = u64::try_from(rate.numer()).ok().filter(|&n| n > 0)?;
    let denom = u64::try_from(rate.denom()).ok().filter(|&n| n > 0)?;
    gst::ClockTime::SECOND.mul_div_floor(denom, numer)
}
