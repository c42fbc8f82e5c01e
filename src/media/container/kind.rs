// SPDX-License-Identifier: MIT
//! How frames are wrapped on the wire, and which streams can be wrapped so.

use gst::glib;
use hang::catalog::{self, AudioCodec, VideoCodec};

use super::cmaf;
use crate::media::format::rendition::{CapsError, Kind, Rendition};

/// Highest sample rate (Hz) of AAC in CMAF: the sample entry has 16 bits for it, and rates above this
/// one do not fit.
const MAX_AAC_RATE: u32 = 48_000;

/// The highest rate that a sample entry has room for (ISO/IEC 14496-12 section 12.2.3).
const MAX_ENTRY_RATE: u32 = 65_535;
/// What a fragment has room for, as far as the choice is upstream's: an encoder or a parser makes one of
/// these, while a sample rate or a channel count has to be changed before the encoder, so they are
/// refused with their caps, which says so.
const CMAF: &str = "video/x-h264, stream-format=(string)avc; \
    video/x-h265, stream-format=(string)hvc1; \
    video/x-av1; video/x-vp8; video/x-vp9; \
    audio/mpeg, mpegversion=(int)4; audio/x-opus; audio/x-flac";
/// More channels need a mapping table, which the init segment of the library has no room for.
const MAX_OPUS_CHANNELS: u32 = 2;

/// How frames are wrapped on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[repr(u32)]
#[enum_type(name = "GstMoqContainer")]
pub enum Container {
    /// A timestamp before each frame.
    #[default]
    #[enum_value(
        name = "Timestamp and frame, what all MoQ players read",
        nick = "legacy"
    )]
    Legacy,
    /// Low Overhead Container: properties before each frame.
    #[enum_value(name = "Low Overhead Container (draft-ietf-moq-loc)", nick = "loc")]
    Loc,
    /// An ISO BMFF fragment for each frame.
    #[enum_value(
        name = "CMAF, fragmented MP4: H.264, H.265, AV1, VP8, VP9, AAC, FLAC and Opus only",
        nick = "cmaf"
    )]
    Cmaf,
}

impl Container {
    /// What of `caps` can be wrapped so, for upstream to choose from.
    pub fn narrow(self, caps: &gst::Caps) -> gst::Caps {
        match self {
            Self::Legacy | Self::Loc => caps.clone(),
            Self::Cmaf => {
                let room = CMAF
                    .parse::<gst::Caps>()
                    .expect("the caps are a literal, and a test parses them");
                caps.intersect(&room)
            }
        }
    }

    /// Refuses a stream of which its caps say already that it cannot be wrapped so.
    ///
    /// # Errors
    ///
    /// `Unsupported`, with what to do about it.
    pub(crate) fn check(self, kind: Kind, structure: &gst::StructureRef) -> Result<(), CapsError> {
        if self != Self::Cmaf {
            return Ok(());
        }
        if matches!(kind, Kind::Text | Kind::Data) {
            return Err(not_in_cmaf(&format!("{} tracks", kind.name())));
        }
        let (codec, parser, format) = match structure.name().as_str() {
            "video/x-h264" => ("H.264", "h264parse", "avc"),
            "video/x-h265" => ("H.265", "h265parse", "hvc1"),
            _ => return Ok(()),
        };
        match structure.get::<&str>("stream-format") {
            Ok(given) if given == format => Ok(()),
            given => Err(CapsError::unsupported(format!(
                "With container=cmaf, {codec} must have stream-format={format}, not {}; insert {parser} and require video/x-{},stream-format={format} after it.",
                given.unwrap_or("none"),
                &structure.name()["video/x-".len()..],
            ))),
        }
    }

    /// The catalog's container for a rendition.
    ///
    /// # Errors
    ///
    /// `Unsupported` when the rendition cannot be wrapped so.
    pub(crate) fn of(self, rendition: &Rendition) -> Result<catalog::Container, CapsError> {
        match self {
            Self::Legacy => Ok(catalog::Container::Legacy),
            Self::Loc => Ok(catalog::Container::Loc),
            Self::Cmaf => {
                check_rendition(rendition)?;
                let init = cmaf::init(rendition).map_err(|err| {
                    not_in_cmaf(&format!("this {} stream ({err})", rendition.codec()))
                })?;
                Ok(catalog::Container::Cmaf { init })
            }
        }
    }
}

fn check_rendition(rendition: &Rendition) -> Result<(), CapsError> {
    match rendition {
        Rendition::Video(config) => {
            if config.coded_width.zip(config.coded_height).is_none() {
                return Err(CapsError::unsupported(
                    "With container=cmaf, the caps must say how large the picture is; insert a parser.",
                ));
            }
            let described = config.description.as_ref();
            let described = described.is_some_and(|description| !description.is_empty());
            match &config.codec {
                VideoCodec::H264(_) | VideoCodec::H265(_) if !described => {
                    Err(not_in_cmaf("a stream without codec_data"))
                }
                VideoCodec::H264(_)
                | VideoCodec::H265(_)
                | VideoCodec::AV1(_)
                | VideoCodec::VP8
                | VideoCodec::VP9(_) => Ok(()),
                other => Err(not_in_cmaf(&other.to_string())),
            }
        }
        Rendition::Audio(config) => match &config.codec {
            AudioCodec::AAC(_) if config.sample_rate > MAX_AAC_RATE => Err(CapsError::unsupported(
                "With container=cmaf, AAC can have 48 kHz at most; insert audioresample before the encoder, or use container=legacy.",
            )),
            AudioCodec::Flac if config.sample_rate > MAX_ENTRY_RATE => Err(CapsError::unsupported(
                "With container=cmaf, FLAC can have 65535 Hz at most; insert audioresample before the encoder, or use container=legacy.",
            )),
            AudioCodec::Opus if config.channel_count > MAX_OPUS_CHANNELS => {
                Err(not_in_cmaf("Opus of more than two channels"))
            }
            AudioCodec::AAC(_) | AudioCodec::Opus | AudioCodec::Flac => Ok(()),
            other => Err(not_in_cmaf(&other.to_string())),
        },
        Rendition::Text(_) | Rendition::Data(_) => Err(not_in_cmaf("this kind of track")),
    }
}

fn not_in_cmaf(what: &str) -> CapsError {
    CapsError::unsupported(format!(
        "{what} cannot be published with container=cmaf; use container=legacy or loc."
    ))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hang::catalog::{AAC, AudioConfig, H264, TextConfig, TextFormat, VideoConfig};

    use super::*;

    fn audio(codec: impl Into<AudioCodec>, rate: u32, channels: u32) -> Rendition {
        Rendition::Audio(AudioConfig::new(codec, rate, channels))
    }

    fn picture(codec: impl Into<VideoCodec>, size: Option<u32>) -> Rendition {
        let mut config = VideoConfig::new(codec);
        (config.coded_width, config.coded_height) = (size, size);
        Rendition::Video(config)
    }

    fn h264() -> H264 {
        H264 {
            profile: 0x64,
            constraints: 0,
            level: 0x1f,
            inline: true,
        }
    }

    #[test]
    fn what_cmaf_cannot_carry_is_refused_with_a_reason() {
        for (rendition, reason) in [
            (audio(AudioCodec::Mp3, 48_000, 2), "mp3"),
            (audio(AudioCodec::Pcm, 48_000, 2), "pcm"),
            (audio(AudioCodec::Opus, 48_000, 6), "more than two channels"),
            (audio(AAC { profile: 2 }, 96_000, 2), "insert audioresample"),
            (audio(AAC { profile: 2 }, 48_000, 2), "AudioSpecificConfig"),
            (audio(AudioCodec::Flac, 48_000, 2), "flac"),
            (picture(h264(), Some(320)), "without codec_data"),
            (picture(VideoCodec::VP8, None), "how large the picture is"),
            (picture(VideoCodec::VP8, Some(70_000)), "vp8"),
            (Rendition::Text(TextConfig::new(TextFormat::Vtt)), "track"),
        ] {
            let refused = Container::Cmaf.of(&rendition).expect_err(reason);
            assert!(matches!(refused, CapsError::Unsupported(_)));
            assert!(refused.to_string().contains(reason), "{refused}");
            assert!(Container::Loc.of(&rendition).is_ok());
            assert!(Container::Legacy.of(&rendition).is_ok());
        }
    }

    #[test]
    fn upstream_is_told_what_cmaf_has_room_for() {
        gst::init().expect("GStreamer initializes");
        let all = crate::media::format::codec::sink_caps();
        assert_eq!(Container::Legacy.narrow(&all), all);
        assert_eq!(Container::Loc.narrow(&all), all);
        let narrowed = Container::Cmaf.narrow(&all);
        assert!(narrowed.is_subset(&all));
        let names: Vec<_> = narrowed.iter().map(|caps| caps.name().as_str()).collect();
        assert_eq!(
            names,
            [
                "video/x-h264",
                "video/x-h265",
                "video/x-av1",
                "video/x-vp8",
                "video/x-vp9",
                "audio/mpeg",
                "audio/x-opus",
                "audio/x-flac"
            ]
        );
        for (index, format) in ["avc", "hvc1"].into_iter().enumerate() {
            let structure = narrowed.structure(index).expect("a structure");
            assert_eq!(structure.get("stream-format"), Ok(format));
            assert!(Container::Cmaf.check(Kind::Video, structure).is_ok());
        }
    }

    #[test]
    fn a_damaged_record_is_refused() {
        let Rendition::Video(mut config) = picture(h264(), Some(320)) else {
            unreachable!("it is a picture")
        };
        config.description = Some(Bytes::from_static(&[1, 2, 3]));
        assert!(Container::Cmaf.of(&Rendition::Video(config)).is_err());
    }
}
