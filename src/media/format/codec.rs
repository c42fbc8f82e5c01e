//! The one codec table, used in both directions.
//!
//! A codec is one row of [`CODECS`] and one file below this module.

mod aac;
mod ac3;
mod audio;
mod av1;
mod data;
mod field;
mod flac;
mod h264;
mod h265;
mod mpeg;
mod nal;
mod opus;
mod pcm;
#[cfg(test)]
mod table;
pub mod text;
mod video;
mod vp8;
mod vp9;

use std::fmt;

use bytes::Bytes;
use hang::catalog::AudioCodec;

use self::{h264::H264, h265::H265};
use super::{
    caps::Span,
    rendition::{CapsError, FrameError, Rendition},
};

pub(super) use self::audio::Packet;

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
pub static CODECS: &[Codec] = &[
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
        name: "AV1",
        kind: Kind::Video,
        // av1enc of GStreamer 1.22 states no stream-format.
        sink_caps: "video/x-av1, alignment=(string)tu",
        src_caps: "video/x-av1, stream-format=(string)obu-stream, alignment=(string)tu, parsed=(boolean)true",
        takes: av1::takes,
        carries: av1::carries,
        intake: av1::intake,
        caps: av1::caps,
        reorder_depth: never_reordered,
    },
    Codec {
        name: "VP8",
        kind: Kind::Video,
        sink_caps: "video/x-vp8",
        src_caps: "video/x-vp8",
        takes: vp8::takes,
        carries: vp8::carries,
        intake: vp8::intake,
        caps: vp8::caps,
        reorder_depth: never_reordered,
    },
    Codec {
        name: "VP9",
        kind: Kind::Video,
        sink_caps: "video/x-vp9",
        src_caps: "video/x-vp9, profile=(string){ 0, 1, 2, 3 }",
        takes: vp9::takes,
        carries: vp9::carries,
        intake: vp9::intake,
        caps: vp9::caps,
        reorder_depth: never_reordered,
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
        sink_caps: "audio/x-opus, channel-mapping-family=(int)[ 0, 1 ]",
        src_caps: "audio/x-opus, channel-mapping-family=(int)[ 0, 1 ]",
        takes: |caps| caps.name() == "audio/x-opus",
        carries: |entry| audio::is(entry, &AudioCodec::Opus),
        intake: opus::intake,
        caps: opus::caps,
        reorder_depth: never_reordered,
    },
    Codec {
        name: "MP3",
        kind: Kind::Audio,
        sink_caps: "audio/mpeg, mpegversion=(int)1, layer=(int)3",
        src_caps: "audio/mpeg, mpegversion=(int)1, layer=(int)3, parsed=(boolean)true",
        takes: |caps| mpeg::takes(caps, 3),
        carries: |entry| audio::is(entry, &AudioCodec::Mp3),
        intake: |caps| mpeg::intake(caps, AudioCodec::Mp3),
        caps: |entry| mpeg::caps(entry, 3),
        reorder_depth: never_reordered,
    },
    Codec {
        name: "MP2",
        kind: Kind::Audio,
        sink_caps: "audio/mpeg, mpegversion=(int)1, layer=(int)2",
        src_caps: "audio/mpeg, mpegversion=(int)1, layer=(int)2, parsed=(boolean)true",
        takes: |caps| mpeg::takes(caps, 2),
        carries: |entry| audio::is(entry, &AudioCodec::Mp2),
        intake: |caps| mpeg::intake(caps, AudioCodec::Mp2),
        caps: |entry| mpeg::caps(entry, 2),
        reorder_depth: never_reordered,
    },
    Codec {
        name: "FLAC",
        kind: Kind::Audio,
        sink_caps: "audio/x-flac",
        src_caps: "audio/x-flac, framed=(boolean)true",
        takes: |caps| caps.name() == "audio/x-flac",
        carries: |entry| audio::is(entry, &AudioCodec::Flac),
        intake: flac::intake,
        caps: flac::caps,
        reorder_depth: never_reordered,
    },
    Codec {
        name: "AC-3",
        kind: Kind::Audio,
        sink_caps: "audio/x-ac3",
        src_caps: "audio/x-ac3, framed=(boolean)true, alignment=(string)frame",
        takes: |caps| caps.name() == "audio/x-ac3",
        carries: |entry| audio::is(entry, &AudioCodec::Ac3),
        intake: |caps| ac3::intake(caps, AudioCodec::Ac3),
        caps: |entry| ac3::caps(entry, "audio/x-ac3"),
        reorder_depth: never_reordered,
    },
    Codec {
        name: "E-AC-3",
        kind: Kind::Audio,
        sink_caps: "audio/x-eac3",
        src_caps: "audio/x-eac3, framed=(boolean)true, alignment=(string)frame",
        takes: |caps| caps.name() == "audio/x-eac3",
        carries: |entry| audio::is(entry, &AudioCodec::Ec3),
        intake: |caps| ac3::intake(caps, AudioCodec::Ec3),
        caps: |entry| ac3::caps(entry, "audio/x-eac3"),
        reorder_depth: never_reordered,
    },
    Codec {
        name: "PCM",
        kind: Kind::Audio,
        sink_caps: "audio/x-raw, format=(string)F32LE, layout=(string)interleaved",
        src_caps: "audio/x-raw, format=(string)F32LE, layout=(string)interleaved",
        takes: |caps| caps.name() == "audio/x-raw",
        carries: |entry| audio::is(entry, &AudioCodec::Pcm),
        intake: pcm::intake,
        caps: pcm::caps,
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
                    "application/x-subtitle" => "; insert subparse",
                    "application/x-ssa" | "application/x-ass" => "; insert ssaparse",
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

/// The kind of track that any of these caps make; `None` when they allow several, or none.
pub fn kind_of(caps: &gst::Caps) -> Option<Kind> {
    let allowed = |kind: &Kind| {
        let mut codecs = CODECS.iter().filter(|codec| codec.kind == *kind);
        codecs.any(|codec| caps.can_intersect(&union([codec.sink_caps].into_iter())))
    };
    let mut kinds = Kind::ALL.into_iter().filter(allowed);
    kinds.next().filter(|_| kinds.next().is_none())
}

/// Whether any codec is of this kind.
pub fn is_known(kind: Kind) -> bool {
    CODECS.iter().any(|codec| codec.kind == kind)
}

/// How a codec turns what a sink pad takes into what goes on the wire.
pub(super) trait Intake: fmt::Debug + Send {
    /// See [`Stream::rendition`](crate::media::format::caps::Stream::rendition).
    fn rendition(&self) -> Option<&Rendition>;

    /// See [`Stream::prepare`](crate::media::format::caps::Stream::prepare).
    fn prepare(&mut self, payload: Bytes, key_frame: bool) -> Result<Bytes, FrameError>;

    /// See [`Stream::prepare`](crate::media::format::caps::Stream::prepare), for what carries its own time.
    fn prepare_at(
        &mut self,
        payload: Bytes,
        key_frame: bool,
        _span: Span,
    ) -> Result<Bytes, FrameError> {
        self.prepare(payload, key_frame)
    }

    /// See [`Stream::reorder_depth`](crate::media::format::caps::Stream::reorder_depth).
    fn reorder_depth(&self) -> Option<u32>;

    /// See [`Stream::set_text`](crate::media::format::caps::Stream::set_text).
    fn set_text(&mut self, _settings: &text::Settings) {}

    /// See [`Stream::clears`](crate::media::format::caps::Stream::clears).
    fn clears(&self) -> bool {
        false
    }

    /// See [`Stream::is_key`](crate::media::format::caps::Stream::is_key); codecs whose payload tells
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
