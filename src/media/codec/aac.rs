//! AAC: raw access units, the AudioSpecificConfig out of band.

use bytes::Bytes;
use hang::catalog::{AAC, AudioCodec, AudioConfig};
use moq_mux::codec::aac;

use super::{Intake, Plain, audio, field};
use crate::media::rendition::{CapsError, Rendition};

/// Object types whose AudioSpecificConfig is complete with type, rate and channels: AAC Main, LC,
/// SSR and LTP (ISO/IEC 14496-3 table 1.17). SBR and PS would need the core's rate as well.
const SELF_CONTAINED: std::ops::RangeInclusive<u8> = 1..=4;

pub(super) fn takes(structure: &gst::StructureRef) -> bool {
    structure.name() == "audio/mpeg" && matches!(structure.get::<i32>("mpegversion"), Ok(2) | Ok(4))
}

pub(super) fn carries(rendition: &Rendition) -> bool {
    matches!(rendition, Rendition::Audio(config) if matches!(config.codec, AudioCodec::AAC(_)))
}

pub(super) fn intake(structure: &gst::StructureRef) -> Result<Box<dyn Intake>, CapsError> {
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
    let (rate, channels) = audio::from_caps(structure)?;
    let config = field::codec_data(structure)?.ok_or_else(|| {
        CapsError::broken("Raw AAC needs codec_data in the caps; insert aacparse before it.")
    })?;
    let mut entry = parse(&config)?;
    // A parser resolves SBR, PS and channel elements that a bare AudioSpecificConfig leaves open.
    entry.sample_rate = rate.unwrap_or(entry.sample_rate);
    entry.channel_count = channels.unwrap_or(entry.channel_count);
    audio::to_caps(entry.sample_rate, entry.channel_count)?;
    Ok(Box::new(Plain(Rendition::Audio(entry))))
}

pub(super) fn caps(rendition: &Rendition) -> Result<gst::Caps, CapsError> {
    let Rendition::Audio(entry) = rendition else {
        return Err(CapsError::broken("The entry is not an audio entry."));
    };
    let (rate, channels) = audio::to_caps(entry.sample_rate, entry.channel_count)?;
    let config = audio_specific_config(entry)?;
    let mut caps = gst::Caps::builder("audio/mpeg")
        .field("mpegversion", 4)
        .field("stream-format", "raw")
        .field("framed", true)
        .field("rate", rate)
        .field("channels", channels)
        .field("codec_data", gst::Buffer::from_slice(config.clone()))
        .build();
    // An object type without a name in GStreamer only lacks profile and level.
    let _ = gst_pbutils::codec_utils_aac_caps_set_level_and_profile(caps.make_mut(), &config);
    Ok(caps)
}

/// The entry's own AudioSpecificConfig, else one made from codec string, rate and channels.
fn audio_specific_config(entry: &AudioConfig) -> Result<Bytes, CapsError> {
    if let Some(description) = entry.description.as_ref().filter(|bytes| !bytes.is_empty()) {
        parse(description)?;
        return Ok(description.clone());
    }
    let profile = match &entry.codec {
        AudioCodec::AAC(AAC { profile }) if SELF_CONTAINED.contains(profile) => *profile,
        other => {
            return Err(CapsError::broken(format!(
                "The catalog has no description for {other}, and it cannot be made up."
            )));
        }
    };
    // channelConfiguration counts 1 to 6 and has 7 for eight channels (ISO/IEC 14496-3 table 1.19).
    if !matches!(entry.channel_count, 1..=6 | 8) {
        return Err(CapsError::broken(format!(
            "The catalog has no description for {} channels of AAC, and it cannot be made up.",
            entry.channel_count
        )));
    }
    let config = aac::Config {
        profile,
        sample_rate: entry.sample_rate,
        channel_count: entry.channel_count,
    };
    Ok(config.encode())
}

fn parse(config: &[u8]) -> Result<AudioConfig, CapsError> {
    aac::config(config).map_err(|error| {
        CapsError::broken(format!("The AudioSpecificConfig does not parse: {error}."))
    })
}
