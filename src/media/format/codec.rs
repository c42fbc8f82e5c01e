// SPDX-License-Identifier: MIT
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
pub mod text;
mod video;
mod vp8;
mod vp9;

use std::fmt;

use hang::catalog::{AudioCodec, VideoCodec};

use self::{
    audio::{Packet, PacketReader},
    h264::H264,
    h265::H265,
    video::SelfDescribed,
};
use super::{
    input::InputFormat,
    rendition::{CapsError, Rendition},
};

pub use self::data::is_mime;
pub use super::rendition::Kind;

/// One codec that the elements know.
pub struct Codec {
    /// Name for people.
    pub name: &'static str,
    /// What the codec is for.
    pub kind: Kind,
    /// What moqsink's pads take.
    pub sink_caps: &'static str,
    /// What moqsrc's pads give.
    pub src_caps: &'static str,
    /// Whether caps are of this codec, in whatever form.
    matches_caps: fn(&gst::StructureRef) -> bool,
    /// Whether a catalog entry is of this codec.
    matches_rendition: fn(&Rendition) -> bool,
    /// Starts a stream with these caps.
    input: fn(&gst::StructureRef) -> Result<Box<dyn InputFormat>, CapsError>,
    /// Complete caps of a catalog entry.
    caps: fn(&Rendition) -> Result<gst::Caps, CapsError>,
    /// Reorder depth in frames of a catalog entry, or of a keyframe of it.
    reorder_depth: fn(&Rendition, Option<&[u8]>) -> Option<u32>,
    /// Reads a packet of audio.
    packet: Option<PacketReader>,
}

/// All codecs. Their order is the order in the pad templates.
pub static CODECS: &[Codec] = &[
    Codec {
        name: "H.264",
        kind: Kind::Video,
        sink_caps: "video/x-h264, stream-format=(string){ avc, avc3, byte-stream }, alignment=(string)au",
        src_caps: "video/x-h264, stream-format=(string){ avc, byte-stream }, alignment=(string)au, parsed=(boolean)true",
        matches_caps: nal::matches_caps::<H264>,
        matches_rendition: nal::matches_rendition::<H264>,
        input: nal::input::<H264>,
        caps: nal::caps::<H264>,
        reorder_depth: nal::reorder_depth::<H264>,
        packet: None,
    },
    Codec {
        name: "H.265",
        kind: Kind::Video,
        sink_caps: "video/x-h265, stream-format=(string){ hvc1, hev1, byte-stream }, alignment=(string)au",
        src_caps: "video/x-h265, stream-format=(string){ hvc1, byte-stream }, alignment=(string)au, parsed=(boolean)true",
        matches_caps: nal::matches_caps::<H265>,
        matches_rendition: nal::matches_rendition::<H265>,
        input: nal::input::<H265>,
        caps: nal::caps::<H265>,
        reorder_depth: nal::reorder_depth::<H265>,
        packet: None,
    },
    Codec {
        name: "AV1",
        kind: Kind::Video,
        // av1enc of GStreamer 1.22 states no stream-format.
        sink_caps: "video/x-av1, alignment=(string)tu",
        src_caps: "video/x-av1, stream-format=(string)obu-stream, alignment=(string)tu, parsed=(boolean)true",
        matches_caps: |caps| caps.name() == "video/x-av1",
        matches_rendition: |entry| video::is(entry, |codec| matches!(codec, VideoCodec::AV1(_))),
        input: av1::input,
        caps: av1::caps,
        reorder_depth: never_reordered,
        packet: None,
    },
    Codec {
        name: "VP8",
        kind: Kind::Video,
        sink_caps: "video/x-vp8",
        src_caps: "video/x-vp8",
        matches_caps: |caps| caps.name() == "video/x-vp8",
        matches_rendition: |entry| video::is(entry, |codec| *codec == VideoCodec::VP8),
        input: |caps| SelfDescribed::input(caps, vp8::describe),
        caps: vp8::caps,
        reorder_depth: never_reordered,
        packet: None,
    },
    Codec {
        name: "VP9",
        kind: Kind::Video,
        sink_caps: "video/x-vp9",
        src_caps: "video/x-vp9, profile=(string){ 0, 1, 2, 3 }",
        matches_caps: |caps| caps.name() == "video/x-vp9",
        matches_rendition: |entry| video::is(entry, |codec| matches!(codec, VideoCodec::VP9(_))),
        input: |caps| SelfDescribed::input(caps, vp9::describe),
        caps: vp9::caps,
        reorder_depth: never_reordered,
        packet: None,
    },
    Codec {
        name: "AAC",
        kind: Kind::Audio,
        sink_caps: "audio/mpeg, mpegversion=(int)4, stream-format=(string)raw",
        src_caps: "audio/mpeg, mpegversion=(int)4, stream-format=(string)raw, framed=(boolean)true",
        matches_caps: aac::matches_caps,
        matches_rendition: aac::matches_rendition,
        input: aac::input,
        caps: aac::caps,
        reorder_depth: never_reordered,
        packet: Some(aac::packet),
    },
    Codec {
        name: "Opus",
        kind: Kind::Audio,
        sink_caps: "audio/x-opus, channel-mapping-family=(int)[ 0, 1 ]",
        src_caps: "audio/x-opus, channel-mapping-family=(int)[ 0, 1 ]",
        matches_caps: |caps| caps.name() == "audio/x-opus",
        matches_rendition: |entry| audio::is(entry, &AudioCodec::Opus),
        input: opus::input,
        caps: opus::caps,
        reorder_depth: never_reordered,
        packet: Some(opus::packet),
    },
    Codec {
        name: "MP3",
        kind: Kind::Audio,
        sink_caps: "audio/mpeg, mpegversion=(int)1, layer=(int)3",
        src_caps: "audio/mpeg, mpegversion=(int)1, layer=(int)3, parsed=(boolean)true",
        matches_caps: |caps| mpeg::matches_caps(caps, 3),
        matches_rendition: |entry| audio::is(entry, &AudioCodec::Mp3),
        input: |caps| mpeg::input::<3>(caps, AudioCodec::Mp3),
        caps: |entry| mpeg::caps(entry, 3),
        reorder_depth: never_reordered,
        packet: Some(mpeg::packet::<3>),
    },
    Codec {
        name: "MP2",
        kind: Kind::Audio,
        sink_caps: "audio/mpeg, mpegversion=(int)1, layer=(int)2",
        src_caps: "audio/mpeg, mpegversion=(int)1, layer=(int)2, parsed=(boolean)true",
        matches_caps: |caps| mpeg::matches_caps(caps, 2),
        matches_rendition: |entry| audio::is(entry, &AudioCodec::Mp2),
        input: |caps| mpeg::input::<2>(caps, AudioCodec::Mp2),
        caps: |entry| mpeg::caps(entry, 2),
        reorder_depth: never_reordered,
        packet: Some(mpeg::packet::<2>),
    },
    Codec {
        name: "FLAC",
        kind: Kind::Audio,
        sink_caps: "audio/x-flac",
        src_caps: "audio/x-flac, framed=(boolean)true",
        matches_caps: |caps| caps.name() == "audio/x-flac",
        matches_rendition: |entry| audio::is(entry, &AudioCodec::Flac),
        input: flac::input,
        caps: flac::caps,
        reorder_depth: never_reordered,
        packet: Some(flac::packet),
    },
    Codec {
        name: "AC-3",
        kind: Kind::Audio,
        sink_caps: "audio/x-ac3",
        src_caps: "audio/x-ac3, framed=(boolean)true, alignment=(string)frame",
        matches_caps: |caps| caps.name() == "audio/x-ac3",
        matches_rendition: |entry| audio::is(entry, &AudioCodec::Ac3),
        input: |caps| ac3::input(caps, AudioCodec::Ac3, ac3::ac3_packet),
        caps: |entry| ac3::caps(entry, "audio/x-ac3"),
        reorder_depth: never_reordered,
        packet: Some(ac3::ac3_packet),
    },
    Codec {
        name: "E-AC-3",
        kind: Kind::Audio,
        sink_caps: "audio/x-eac3",
        src_caps: "audio/x-eac3, framed=(boolean)true, alignment=(string)frame",
        matches_caps: |caps| caps.name() == "audio/x-eac3",
        matches_rendition: |entry| audio::is(entry, &AudioCodec::Ec3),
        input: |caps| ac3::input(caps, AudioCodec::Ec3, ac3::eac3_packet),
        caps: |entry| ac3::caps(entry, "audio/x-eac3"),
        reorder_depth: never_reordered,
        packet: Some(ac3::eac3_packet),
    },
    Codec {
        name: "PCM",
        kind: Kind::Audio,
        sink_caps: "audio/x-raw, format=(string)F32LE, layout=(string)interleaved",
        src_caps: "audio/x-raw, format=(string)F32LE, layout=(string)interleaved",
        matches_caps: |caps| caps.name() == "audio/x-raw",
        matches_rendition: |entry| audio::is(entry, &AudioCodec::Pcm),
        input: pcm::input,
        caps: pcm::caps,
        reorder_depth: never_reordered,
        packet: Some(pcm::packet),
    },
    Codec {
        name: "WebVTT and plain text",
        kind: Kind::Text,
        sink_caps: "text/x-raw, format=(string){ utf8, pango-markup }; application/x-subtitle-vtt",
        src_caps: "text/x-raw, format=(string){ utf8, pango-markup }",
        matches_caps: text::matches_caps,
        matches_rendition: text::matches_rendition,
        input: text::input,
        caps: text::caps,
        reorder_depth: never_reordered,
        packet: None,
    },
    Codec {
        name: "TTML",
        kind: Kind::Text,
        sink_caps: "application/ttml+xml",
        src_caps: "application/ttml+xml",
        matches_caps: text::matches_caps_ttml,
        matches_rendition: text::matches_rendition_ttml,
        input: text::input,
        caps: text::caps,
        reorder_depth: never_reordered,
        packet: None,
    },
    Codec {
        name: "data",
        kind: Kind::Data,
        sink_caps: data::CAPS,
        src_caps: data::CAPS,
        matches_caps: data::matches_caps,
        matches_rendition: data::matches_rendition,
        input: data::input,
        caps: data::caps,
        reorder_depth: never_reordered,
        packet: None,
    },
];

impl Codec {
    /// The row for the caps of a sink pad.
    ///
    /// # Errors
    ///
    /// `Unsupported` when no row has them.
    pub(super) fn of_caps(structure: &gst::StructureRef) -> Result<&'static Self, CapsError> {
        CODECS
            .iter()
            .find(|codec| (codec.matches_caps)(structure))
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

    fn find(rendition: &Rendition) -> Option<&'static Self> {
        let mut codecs = CODECS.iter();
        codecs.find(|codec| (codec.matches_rendition)(rendition))
    }

    pub(super) fn input(
        &self,
        structure: &gst::StructureRef,
    ) -> Result<Box<dyn InputFormat>, CapsError> {
        (self.input)(structure)
    }

    /// Complete caps of a catalog entry.
    ///
    /// # Errors
    ///
    /// `Unsupported` when no row has it, `Broken` when no decoder could use it.
    pub(super) fn caps(rendition: &Rendition) -> Result<gst::Caps, CapsError> {
        let codec = Self::find(rendition).ok_or_else(|| {
            CapsError::unsupported(format!(
                "The codec {:?} is not supported (codecs: {}).",
                rendition.codec(),
                names()
            ))
        })?;
        (codec.caps)(rendition)
    }

    /// Reorder depth in frames of a catalog entry, or of a keyframe of it where the entry has no
    /// parameter sets: 0 when it never reorders, `None` when nothing says so.
    pub(super) fn reorder_depth(rendition: &Rendition, keyframe: Option<&[u8]>) -> Option<u32> {
        (Self::find(rendition)?.reorder_depth)(rendition, keyframe)
    }

    /// What a packet of audio says of itself; `None` for another kind, and for what is no packet.
    pub(super) fn packet(rendition: &Rendition, payload: &[u8]) -> Option<Packet> {
        let Rendition::Audio(config) = rendition else {
            return None;
        };
        (Self::find(rendition)?.packet?)(config, payload).ok()
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
