//! Caps to catalog entry, and catalog entry to caps.

#[cfg(test)]
mod tests;

use bytes::Bytes;
use gst::prelude::MulDiv;
use hang::catalog::Container;

use super::codec::{Codec, Intake, Kind};

pub use super::rendition::{CapsError, FrameError, Rendition};

/// What one sink pad takes in, from one CAPS event to the next.
#[derive(Debug)]
pub struct Stream {
    codec: &'static Codec,
    frame_duration: Option<gst::ClockTime>,
    intake: Box<dyn Intake>,
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
        })
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
        self.intake.rendition()
    }

    /// Turns one access unit or packet into what goes on the wire, and remembers its parameter
    /// sets.
    ///
    /// H.264 avc, AAC and Opus go out as they are. H.264 avc3 is rewritten as Annex B. H.264
    /// byte-stream goes out as it is, except for a key frame without parameter sets: it gets the
    /// last ones, so that whoever joins there can decode.
    ///
    /// # Errors
    ///
    /// When nobody could decode the key frame, or the frame is malformed. The stream can go on with
    /// the next key frame.
    pub fn prepare(&mut self, payload: Bytes, key_frame: bool) -> Result<Bytes, FrameError> {
        self.intake.prepare(payload, key_frame)
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
