//! The one codec table, used in both directions.
//!
//! A codec is one row of [`CODECS`] and one file below this module.

mod aac;
mod audio;
mod field;
mod h264;
mod h265;
mod nal;
mod opus;
mod video;

use std::fmt;

use bytes::Bytes;

use self::{h264::H264, h265::H265};
use super::rendition::{CapsError, FrameError, Rendition};

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
pub static CODECS: [Codec; 4] = [
    Codec {
        name: "H.264",
        kind: Kind::Video,
        sink_caps: "video/x-h264, stream-format=(string){ avc, avc3, byte-stream }, alignment=(string)au",
        src_caps: "video/x-h264, stream-format=(string){ avc, byte-stream }, alignment=(string)au, parsed=(boolean)true",
        takes: nal::takes::<H264>,
        carries: nal::carries::<H264>,
        intake: nal::intake::<H264>,
        caps: nal::caps::<H264>,
        reorder_depth: nal::reorder_depth::<H264>,
    },
    Codec {
        name: "H.265",
        kind: Kind::Video,
        sink_caps: "video/x-h265, stream-format=(string){ hvc1, hev1, byte-stream }, alignment=(string)au",
        src_caps: "video/x-h265, stream-format=(string){ hvc1, byte-stream }, alignment=(string)au, parsed=(boolean)true",
        takes: nal::takes::<H265>,
        carries: nal::carries::<H265>,
        intake: nal::intake::<H265>,
        caps: nal::caps::<H265>,
        reorder_depth: nal::reorder_depth::<H265>,
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

    /// See [`Stream::reorder_depth`](crate::media::caps::Stream::reorder_depth).
    fn reorder_depth(&self) -> Option<u32>;

    /// See [`Stream::is_key`](crate::media::caps::Stream::is_key); codecs whose payload tells
    /// look there.
    fn is_key(&self, _payload: &[u8], marked: bool) -> bool {
        marked
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
