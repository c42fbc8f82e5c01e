// SPDX-License-Identifier: MIT
//! AAC: raw access units, the AudioSpecificConfig out of band.

mod config;

use bytes::Bytes;
use hang::catalog::{AAC, AudioCodec, AudioConfig};
use moq_mux::codec::aac;

use self::config::Config;
use super::{
    audio::{self, Limits, Packet},
    field,
};
use crate::media::format::{
    input::{Fixed, InputFormat},
    rendition::{CapsError, FrameError, Rendition},
};

/// The escape of an AudioSpecificConfig has 24 bits for the rate (ISO/IEC 14496-3 1.6.2.1).
const LIMITS: Limits = Limits {
    rate: (1 << 24) - 1,
    channels: 8,
};

pub(super) fn matches_caps(structure: &gst::StructureRef) -> bool {
    structure.name() == "audio/mpeg" && matches!(structure.get::<i32>("mpegversion"), Ok(2) | Ok(4))
}

pub(super) fn matches_rendition(rendition: &Rendition) -> bool {
    matches!(rendition, Rendition::Audio(config) if matches!(config.codec, AudioCodec::AAC(_)))
}

pub(super) fn input(structure: &gst::StructureRef) -> Result<Box<dyn InputFormat>, CapsError> {
    if structure.get::<i32>("mpegversion") != Ok(4) {
        return Err(CapsError::unsupported(
            "MPEG-2 AAC is not supported; encode to MPEG-4 AAC.",
        ));
    }
    let format = field::stream_format(structure);
    if format != "raw" {
        return Err(CapsError::unsupported(format!(
            "AAC with stream-format={format:?} is not supported; insert aacparse, which converts it to raw."
        )));
    }
    let (rate, channels) = LIMITS.read(structure)?;
    let data = field::codec_data(structure)?.ok_or_else(|| {
        CapsError::broken("Raw AAC needs codec_data in the caps; insert aacparse before it.")
    })?;
    let (mut entry, config) = parse(&data)?;
    // A parser resolves SBR, PS and channel elements that a bare AudioSpecificConfig leaves open.
    entry.sample_rate = rate.unwrap_or_else(|| config.output_rate());
    entry.channel_count = channels.unwrap_or(entry.channel_count);
    LIMITS.check(entry.sample_rate, entry.channel_count)?;
    Ok(Box::new(Fixed(Rendition::Audio(entry))))
}

pub(super) fn caps(rendition: &Rendition) -> Result<gst::Caps, CapsError> {
    let entry = audio::entry(rendition)?;
    let data = audio_specific_config(entry)?;
    let (_, config) = parse(&data)?;
    // Other publishers state the rate of the core.
    let rate = config.extension_rate.unwrap_or(entry.sample_rate);
    LIMITS.check(entry.sample_rate, entry.channel_count)?;
    let (rate, channels) = LIMITS.check(rate, entry.channel_count)?;
    let mut caps = gst::Caps::builder("audio/mpeg")
        .field("mpegversion", 4)
        .field("stream-format", "raw")
        .field("framed", true)
        .field("rate", rate)
        .field("channels", channels)
        .field("codec_data", gst::Buffer::from_slice(data.clone()))
        .build();
    // An object type without a name in GStreamer only lacks profile and level.
    let _ = gst_pbutils::codec_utils_aac_caps_set_level_and_profile(caps.make_mut(), &data);
    Ok(caps)
}

/// All access units of a track last equally long.
pub(super) fn packet(entry: &AudioConfig, _payload: &[u8]) -> Result<Packet, FrameError> {
    let data = audio_specific_config(entry).ok();
    let config = data.and_then(|data| Config::parse(&data));
    let config = config.ok_or(FrameError::NoFrame("aacparse"))?;
    Ok(Packet {
        rate: config.core_rate,
        channels: entry.channel_count.max(1),
        samples: config.samples,
    })
}

/// The entry's own AudioSpecificConfig, else one made from codec string, rate and channels.
fn audio_specific_config(entry: &AudioConfig) -> Result<Bytes, CapsError> {
    if let Some(description) = entry.description.as_ref().filter(|bytes| !bytes.is_empty()) {
        return Ok(description.clone());
    }
    let made_up = match &entry.codec {
        AudioCodec::AAC(AAC { profile }) => {
            config::make_up(*profile, entry.sample_rate, entry.channel_count)
        }
        _ => None,
    };
    made_up.ok_or_else(|| {
        CapsError::broken(format!(
            "The catalog has no description for {} with {} channels at {} Hz, and it cannot be made up.",
            entry.codec, entry.channel_count, entry.sample_rate
        ))
    })
}

fn parse(data: &[u8]) -> Result<(AudioConfig, Config), CapsError> {
    let unreadable = |error: &dyn std::fmt::Display| {
        CapsError::broken(format!("The AudioSpecificConfig does not parse: {error}."))
    };
    let entry = aac::config(data).map_err(|error| unreadable(&error))?;
    let config = Config::parse(data).ok_or_else(|| unreadable(&"it is truncated"))?;
    Ok((entry, config))
}
