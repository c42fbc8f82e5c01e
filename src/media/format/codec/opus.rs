// SPDX-License-Identifier: MIT
//! Opus of one to eight channels: channel mapping families 0 and 1 (RFC 7845 section 5.1.1).
//!
//! Family 1 has its channels in Vorbis order; the decoder puts them into GStreamer's.

use bytes::Bytes;
use gst_pbutils::codec_utils_opus_create_caps_from_header;
use hang::catalog::AudioConfig;
use moq_mux::codec::opus::{self, Mapping, mapping};

use super::{
    audio::{self, Limits, Packet, Packets},
    field,
};
use crate::media::format::{
    input::InputFormat,
    rendition::{CapsError, FrameError, Rendition},
};

/// The clock of all Opus streams in Hz (RFC 7845 section 4).
const RATE: u32 = 48_000;

/// The rate is that of the encoder's input, and informational.
const LIMITS: Limits = Limits {
    rate: (1 << 24) - 1,
    channels: 8,
};

/// What the two header packets begin with (RFC 7845 section 5).
const HEADERS: [&[u8]; 2] = [b"OpusHead", b"OpusTags"];

/// Channels when caps say nothing: RTP signals Opus as two (RFC 7587 section 7), and a decoder may
/// play any packet in stereo.
const DEFAULT_CHANNELS: u32 = 2;

pub(super) fn input(structure: &gst::StructureRef) -> Result<Box<dyn InputFormat>, CapsError> {
    let fields = LIMITS.read(structure)?;
    let head = match field::stream_headers(structure)?.into_iter().next() {
        Some(head) => head,
        None => made_of(structure, fields)?,
    };
    parse(&head)?;
    Ok(Packets::of(
        opus::config(&head).map_err(unreadable)?,
        packet,
    ))
}

pub(super) fn caps(rendition: &Rendition) -> Result<gst::Caps, CapsError> {
    let entry = audio::entry(rendition)?;
    LIMITS.check(entry.sample_rate, entry.channel_count)?;
    let (config, head) = head(entry)?;
    LIMITS.check(RATE, config.channel_count)?;
    let mut caps = codec_utils_opus_create_caps_from_header(&gst::Buffer::from_slice(head), None)
        .map_err(unreadable)?;
    // Not that of the encoder's input, which the header has.
    caps.make_mut().set("rate", RATE as i32);
    Ok(caps)
}

/// How long a packet lasts (RFC 6716 section 3.1): configuration and frame count come first.
pub(super) fn packet(config: &AudioConfig, payload: &[u8]) -> Result<Packet, FrameError> {
    if HEADERS.iter().any(|header| payload.starts_with(header)) {
        return Err(FrameError::Header);
    }
    let samples = samples(payload).ok_or(FrameError::NoFrame("opusparse"))?;
    Ok(Packet {
        rate: RATE,
        channels: config.channel_count.max(1),
        samples,
    })
}

fn samples(payload: &[u8]) -> Option<u64> {
    let toc = *payload.first()?;
    // In units of 2.5 ms.
    let frame = match toc >> 3 {
        config @ 0..=11 => [4, 8, 16, 24][usize::from(config % 4)],
        config @ 12..=15 => [4, 8][usize::from(config % 2)],
        config => [1, 2, 4, 8][usize::from(config % 4)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u64::from(payload.get(1)? & 0x3f),
    };
    Some(frame * frames * u64::from(RATE / 400)).filter(|samples| *samples > 0)
}

/// The entry's own OpusHead, else one made from its channels.
fn head(entry: &AudioConfig) -> Result<(opus::Config, Bytes), CapsError> {
    if let Some(head) = entry.description.as_ref().filter(|bytes| !bytes.is_empty()) {
        return Ok((parse(head)?, head.clone()));
    }
    let config = opus::Config::new(entry.sample_rate, entry.channel_count);
    let head = config.encode().map_err(|_| {
        CapsError::broken(format!(
            "The catalog has no description for {} channels of Opus, and it cannot be made up.",
            entry.channel_count
        ))
    })?;
    Ok((config, head))
}

/// An OpusHead of the other caps fields, without pre-skip; `fields` are rate and channels.
///
/// By hand: GStreamer's functions for it assert where fields are missing or do not fit together.
fn made_of(
    structure: &gst::StructureRef,
    fields: (Option<u32>, Option<u32>),
) -> Result<Bytes, CapsError> {
    let (rate, channels) = fields;
    let channels = channels.unwrap_or(DEFAULT_CHANNELS);
    let mut config = opus::Config::new(rate.unwrap_or(RATE), channels);
    match structure.get::<i32>("channel-mapping-family") {
        Ok(0) | Err(_) => {}
        Ok(1) => {
            config.mapping_family = 1;
            config.mapping = Some(mapping(structure)?);
        }
        Ok(family) => return Err(unmapped(family)),
    }
    config.encode().map_err(|error| {
        CapsError::broken(format!(
            "The Opus caps do not fit together: {error}; insert opusparse or send a streamheader."
        ))
    })
}

fn mapping(structure: &gst::StructureRef) -> Result<Mapping, CapsError> {
    let count = |name: &str| u8::try_from(structure.get::<i32>(name).ok()?).ok();
    let channels = structure.get::<gst::Array>("channel-mapping").ok();
    let table: Option<Vec<u8>> = channels.and_then(|channels| {
        let channels = channels.iter();
        channels
            .map(|channel| u8::try_from(channel.get::<i32>().ok()?).ok())
            .collect()
    });
    let mapping = (|| {
        Mapping::new(mapping::Config {
            family: 1,
            streams: count("stream-count")?,
            coupled: count("coupled-count")?,
            table: table.as_deref()?,
        })
        .ok()
    })();
    mapping.ok_or_else(|| {
        CapsError::broken(
            "Opus with channel-mapping-family=1 needs a streamheader, or stream-count, coupled-count and channel-mapping that fit together; insert opusparse before it.",
        )
    })
}

fn parse(mut head: &[u8]) -> Result<opus::Config, CapsError> {
    let config = opus::Config::parse(&mut head).map_err(unreadable)?;
    match config.mapping_family {
        0 | 1 => Ok(config),
        family => Err(unmapped(family.into())),
    }
}

fn unreadable(error: impl std::fmt::Display) -> CapsError {
    CapsError::broken(format!("The OpusHead does not parse: {error}."))
}

fn unmapped(family: i32) -> CapsError {
    CapsError::unsupported(format!(
        "Opus with channel-mapping-family={family} is not supported; let audioconvert give it the layout of at most eight channels before the encoder."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_say_how_long_they_last() {
        // 20 ms CELT fullband, one frame; the same with two; three 60 ms SILK frames; 2.5 ms.
        assert_eq!(samples(&[31 << 3]), Some(960));
        assert_eq!(samples(&[31 << 3 | 1]), Some(1920));
        assert_eq!(samples(&[3 << 3 | 3, 3]), Some(8640));
        assert_eq!(samples(&[16 << 3]), Some(120));
        assert_eq!(samples(&[15 << 3]), Some(960));
        for broken in [&[3][..], &[3, 0], &[]] {
            assert_eq!(samples(broken), None);
        }
    }
}
