// SPDX-License-Identifier: MIT
//! Uncompressed audio: F32LE, interleaved.
//!
//! The catalog has no channel mask: whatever the caps of moqsink say, moqsrc gives the default
//! layout of the channel count (`gst_audio_channel_get_fallback_mask`), and none for more than
//! eight channels. Send another layout with a codec that keeps it in the bitstream.

use gst_audio::AudioChannelPosition;
use hang::catalog::{AudioCodec, AudioConfig};

use super::audio::{self, Limits, Packet, Packets};
use crate::media::format::{
    input::InputFormat,
    rendition::{CapsError, FrameError, Rendition},
};

const LIMITS: Limits = Limits {
    rate: (1 << 24) - 1,
    channels: 64,
};

/// Bytes of one sample of one channel.
const SAMPLE: u64 = 4;

pub(super) fn input(structure: &gst::StructureRef) -> Result<Box<dyn InputFormat>, CapsError> {
    for (name, taken) in [("format", "F32LE"), ("layout", "interleaved")] {
        let value = structure.get::<&str>(name).unwrap_or_default();
        if value != taken {
            return Err(CapsError::unsupported(format!(
                "Raw audio with {name}={value:?} is not supported; insert audioconvert, which converts it to {taken}, or an encoder such as opusenc."
            )));
        }
    }
    let (rate, channels) = LIMITS.read(structure)?;
    let missing = || CapsError::broken("Raw audio needs rate and channels in the caps.");
    let (rate, channels) = rate.zip(channels).ok_or_else(missing)?;
    Ok(Packets::of(
        AudioConfig::new(AudioCodec::Pcm, rate, channels),
        packet,
    ))
}

pub(super) fn caps(rendition: &Rendition) -> Result<gst::Caps, CapsError> {
    let entry = audio::entry(rendition)?;
    let (rate, channels) = LIMITS.check(entry.sample_rate, entry.channel_count)?;
    let mask = AudioChannelPosition::fallback_mask(entry.channel_count);
    let caps = gst::Caps::builder("audio/x-raw")
        .field("format", "F32LE")
        .field("layout", "interleaved")
        .field("rate", rate)
        .field("channels", channels);
    Ok(match channels {
        // One channel has no place.
        1 => caps,
        _ => caps.field("channel-mask", gst::Bitmask::new(mask)),
    }
    .build())
}

pub(super) fn packet(config: &AudioConfig, payload: &[u8]) -> Result<Packet, FrameError> {
    let (rate, channels) = (config.sample_rate.max(1), config.channel_count.max(1));
    let sample = SAMPLE * u64::from(channels);
    let length = payload.len() as u64;
    if !length.is_multiple_of(sample) {
        return Err(FrameError::BrokenSample(sample));
    }
    Ok(Packet {
        rate,
        channels,
        samples: length / sample,
    })
}
