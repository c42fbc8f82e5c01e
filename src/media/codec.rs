//! The one codec table, used in both directions.
//!
//! A codec is one row of [`CODECS`] and one file below this module.

mod aac;
mod audio;
mod data;
mod field;
mod h264;
mod opus;
pub mod text;
mod video;

use std::fmt;

use bytes::Bytes;

use super::{
    caps::Span,
    rendition::{CapsError, FrameError, Rendition},
};

pub use self::data::is_mime;
pub use super::rendition::Kind;

/// One codec that the elements know.
pub struct Codec {
    /// Name for people.
    pub name: &'static str,
    /// What the codec carries.
    pub kind: Kind,
    /// What moqsink's pad takes.
    sink_caps: &'static str,
    /// What moqsrc's pads give.
    src_caps: &'static str,
    /// Whether caps are of this codec, in whatever form.
    takes: fn(&gst::StructureRef) -> bool,
    /// Whether a catalog entry is of this codec.
    carries: fn(&Rendition) -> bool,
    /// Starts the intake of a stream with these caps.
    intake: fn(&gst::StructureRef) -> Result<Box<dyn Intake>, CapsError>,
    /// Complete caps of a catalog entry.
    caps: fn(&Rendition) -> Result<gst::Caps, CapsError>,
    /// Reorder depth in frames of a catalog entry, or of a key frame of it.
    reorder_depth: fn(&Rendition, Option<&[u8]>) -> Option<u32>,
}

/// All codecs. Their order is the order in the pad templates.
pub static CODECS: [Codec; 6] = [
    Codec {
        name: "H.264",
        kind: Kind::Video,
        sink_caps: "video/x-h264, stream-format=(string){ avc, avc3, byte-stream }, alignment=(string)au",
        src_caps: "video/x-h264, stream-format=(string){ avc, byte-stream }, alignment=(string)au, parsed=(boolean)true",
        takes: h264::takes,
        carries: h264::carries,
        intake: h264::intake,
        caps: h264::caps,
        reorder_depth: h264::reorder_depth,
    },
    Codec {
        name: "AAC",
        kind: Kind::Audio,
        sink_caps: "audio/mpeg, mpegversion=(int)4, stream-format=(string)raw",
        src_caps: "audio/mpeg, mpegversion=(int)4, stream-format=(string)raw, framed=(boolean)true",
        takes: aac::takes,
        carries: aac::carries,
        intake: aac::intake,
        caps: aac::caps,
        reorder_depth: never_reordered,
    },
    Codec {
        name: "Opus",
        kind: Kind::Audio,
        sink_caps: "audio/x-opus, channel-mapping-family=(int)0",
        src_caps: "audio/x-opus, channel-mapping-family=(int)0",
        takes: opus::takes,
        carries: opus::carries,
        intake: opus::intake,
        caps: opus::caps,
        reorder_depth: never_reordered,
    },
    Codec {
        name: "WebVTT and plain text",
        kind: Kind::Text,
        sink_caps: "text/x-raw, format=(string){ utf8, pango-markup }; application/x-subtitle-vtt",
        src_caps: "text/x-raw, format=(string){ utf8, pango-markup }",
        takes: text::takes,
        carries: text::carries,
        intake: text::intake,
        caps: text::caps,
        reorder_depth: never_reordered,
    },
    Codec {
        name: "TTML",
        kind: Kind::Text,
        sink_caps: "application/ttml+xml",
        src_caps: "application/ttml+xml",
        takes: text::takes_ttml,
        carries: text::carries_ttml,
        intake: text::intake,
        caps: text::caps,
        reorder_depth: never_reordered,
    },
    Codec {
        name: "data",
        kind: Kind::Data,
        sink_caps: data::CAPS,
        src_caps: data::CAPS,
        takes: data::takes,
        carries: data::carries,
        intake: data::intake,
        caps: data::caps,
        reorder_depth: never_reordered,
    },
];

impl Codec {
    /// The row for the caps of a sink pad.
    ///
    /// # Errors
    ///
    /// `Unsupported` when no row takes them.
    pub(super) fn of_caps(structure: &gst::StructureRef) -> Result<&'static Self, CapsError> {
        CODECS
            .iter()
            .find(|codec| (codec.takes)(structure))
            .ok_or_else(|| {
                let hint = match structure.name().as_str() {
                    "video/x-raw" => "; insert a video encoder such as x264enc",
                    "audio/x-raw" => "; insert an audio encoder such as opusenc",
                    _ => "",
                };
                CapsError::unsupported(format!(
                    "{} is not supported{hint} (codecs: {}).",
                    structure.name(),
                    names()
                ))
            })
    }

    /// The row for a catalog entry.
    ///
    /// # Errors
    ///
    /// `Unsupported` when no row carries it.
    pub(super) fn of_rendition(rendition: &Rendition) -> Result<&'static Self, CapsError> {
        CODECS
            .iter()
            .find(|codec| (codec.carries)(rendition))
            .ok_or_else(|| {
                CapsError::unsupported(format!(
                    "The codec {:?} is not supported (codecs: {}).",
                    rendition.codec(),
                    names()
                ))
            })
    }

    pub(super) fn intake(
        &self,
        structure: &gst::StructureRef,
    ) -> Result<Box<dyn Intake>, CapsError> {
        (self.intake)(structure)
    }

    pub(super) fn caps(&self, rendition: &Rendition) -> Result<gst::Caps, CapsError> {
        (self.caps)(rendition)
    }

    pub(super) fn reorder_depth(
        &self,
        rendition: &Rendition,
        key_frame: Option<&[u8]>,
    ) -> Option<u32> {
        (self.reorder_depth)(rendition, key_frame)
    }
}

impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The union of what moqsink takes, for its pad template.
pub fn sink_caps() -> gst::Caps {
    union(CODECS.iter().map(|codec| codec.sink_caps))
}

/// The union of what moqsrc gives on pads of one kind, for its pad templates.
pub fn src_caps(kind: Kind) -> gst::Caps {
    let codecs = CODECS.iter().filter(|codec| codec.kind == kind);
    union(codecs.map(|codec| codec.src_caps))
}

/// Whether any codec is of this kind.
pub fn is_known(kind: Kind) -> bool {
    CODECS.iter().any(|codec| codec.kind == kind)
}

/// How a codec turns what a sink pad takes into what goes on the wire.
pub(super) trait Intake: fmt::Debug + Send {
    /// See [`Stream::rendition`](crate::media::caps::Stream::rendition).
    fn rendition(&self) -> Option<&Rendition>;

    /// See [`Stream::prepare`](crate::media::caps::Stream::prepare).
    fn prepare(&mut self, payload: Bytes, key_frame: bool) -> Result<Bytes, FrameError>;

    /// See [`Stream::prepare`](crate::media::caps::Stream::prepare), for what carries its own time.
    fn prepare_at(
        &mut self,
        payload: Bytes,
        key_frame: bool,
        _span: Span,
    ) -> Result<Bytes, FrameError> {
        self.prepare(payload, key_frame)
    }

    /// See [`Stream::reorder_depth`](crate::media::caps::Stream::reorder_depth).
    fn reorder_depth(&self) -> Option<u32>;

    /// See [`Stream::set_text`](crate::media::caps::Stream::set_text).
    fn set_text(&mut self, _settings: &text::Settings) {}

    /// See [`Stream::clears`](crate::media::caps::Stream::clears).
    fn clears(&self) -> bool {
        false
    }
}

/// The intake of a codec whose caps say everything and whose packets go out as they are.
#[derive(Debug)]
struct Plain(Rendition);

impl Intake for Plain {
    fn rendition(&self) -> Option<&Rendition> {
        Some(&self.0)
    }

    fn prepare(&mut self, payload: Bytes, _key_frame: bool) -> Result<Bytes, FrameError> {
        Ok(payload)
    }

    fn reorder_depth(&self) -> Option<u32> {
        Some(0)
    }
}

fn never_reordered(_: &Rendition, _: Option<&[u8]>) -> Option<u32> {
    Some(0)
}

fn names() -> String {
    let names: Vec<_> = CODECS.iter().map(|codec| codec.name).collect();
    names.join(", ")
}

fn union(caps: impl Iterator<Item = &'static str>) -> gst::Caps {
    caps.map(|caps| {
        caps.parse::<gst::Caps>()
            .expect("caps of the table are literals, and a test parses them all")
    })
    .collect()
}
