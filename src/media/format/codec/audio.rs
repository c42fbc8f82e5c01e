// SPDX-License-Identifier: MIT
//! What all audio codecs have in common: sample rate, channels, and packets that go out as they are.
//!
//! Timestamps stay as upstream says, also where audio begins before the first frame: decoders leave
//! out the encoder's delay by the stream header (the pre-skip of Opus). `GstAudioClippingMeta`, by
//! which encoders and demuxers mark samples to leave out at the ends, has no place on the wire and
//! is lost. So is the channel layout where it is not in the bitstream, that is with PCM.

use bytes::Bytes;
use gst::prelude::MulDiv;
use hang::catalog::{AudioCodec, AudioConfig};

use super::field;
use crate::media::format::{
    input::InputFormat,
    rendition::{CapsError, FrameError, Rendition},
};

/// The most that a codec has of both, at least 1 each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Sample rate in Hz.
    pub(super) rate: u32,
    /// Channels.
    pub(super) channels: u32,
}

impl Limits {
    /// Sample rate in Hz and channel count, as far as caps have them.
    ///
    /// # Errors
    ///
    /// `Broken` when one is there and zero or absurd.
    pub(super) fn read(
        self,
        structure: &gst::StructureRef,
    ) -> Result<(Option<u32>, Option<u32>), CapsError> {
        Ok((
            field::positive(structure, "rate", self.rate)?,
            field::positive(structure, "channels", self.channels)?,
        ))
    }

    /// Sample rate and channel count of a catalog entry as caps hold them.
    ///
    /// # Errors
    ///
    /// `Broken` when one is zero or absurd.
    pub(super) fn check(self, rate: u32, channels: u32) -> Result<(i32, i32), CapsError> {
        let limited = |value: u32, max: u32| {
            i32::try_from(value)
                .ok()
                .filter(|_| (1..=max).contains(&value))
        };
        let caps_rate = limited(rate, self.rate).ok_or_else(|| {
            CapsError::broken(format!("A sample rate of {rate} Hz is not possible."))
        })?;
        let caps_channels = limited(channels, self.channels)
            .ok_or_else(|| CapsError::broken(format!("{channels} channels are not possible.")))?;
        Ok((caps_rate, caps_channels))
    }
}

/// The entry of an audio track.
///
/// # Errors
///
/// `Broken` for an entry of another kind.
pub(super) fn entry(rendition: &Rendition) -> Result<&AudioConfig, CapsError> {
    match rendition {
        Rendition::Audio(entry) => Ok(entry),
        _ => Err(CapsError::broken("The entry is not an audio entry.")),
    }
}

/// Whether a catalog entry is of this codec.
pub(super) fn is(rendition: &Rendition, codec: &AudioCodec) -> bool {
    matches!(rendition, Rendition::Audio(entry) if entry.codec == *codec)
}

/// Reads a packet of a track with this entry.
///
/// It is an error when it is none of the codec.
pub(super) type PacketReader = fn(&AudioConfig, &[u8]) -> Result<Packet, FrameError>;

/// What one packet says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    /// Sample rate in Hz, above zero.
    pub(super) rate: u32,
    /// Channels, above zero.
    pub(super) channels: u32,
    /// Samples of each channel, at that rate.
    pub(super) samples: u64,
}

impl Packet {
    /// How long it lasts; `None` when it says nothing about it.
    pub(crate) fn duration(self) -> Option<gst::ClockTime> {
        gst::ClockTime::SECOND
            .mul_div_floor(self.samples, u64::from(self.rate))
            .filter(|duration| !duration.is_zero())
    }

    /// Adds up the frames of a packet; what follows the last one is ancillary.
    ///
    /// # Errors
    ///
    /// When it does not begin with a frame, or ends within one.
    pub(super) fn of_frames(
        payload: &[u8],
        header: fn(&[u8]) -> Option<Frame>,
        parser: &'static str,
    ) -> Result<Self, FrameError> {
        let first = header(payload).ok_or(FrameError::NoFrame(parser))?;
        let mut packet = first.packet;
        packet.samples = 0;
        let mut rest = payload;
        while let Some(frame) = header(rest) {
            packet.samples += frame.packet.samples;
            let Some(length) = frame.length else { break };
            rest = rest
                .get(length.max(1)..)
                .ok_or(FrameError::Incomplete(parser))?;
        }
        Ok(packet)
    }
}

/// One frame by its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) packet: Packet,
    /// In bytes, with the header; `None` when the header does not say.
    pub(super) length: Option<usize>,
}

/// The input of a codec whose packets go out as they are, once they were seen to be such.
#[derive(Debug)]
pub(super) struct Packets {
    rendition: Rendition,
    reader: PacketReader,
    /// Rate and channels are known.
    complete: bool,
}

impl Packets {
    /// The input of packets of a complete entry.
    pub(super) fn of(entry: AudioConfig, reader: PacketReader) -> Box<dyn InputFormat> {
        Box::new(Self {
            complete: true,
            reader,
            rendition: Rendition::Audio(entry),
        })
    }

    /// The input of packets that have their own headers: caps without rate or channels are
    /// completed by the first one.
    ///
    /// # Errors
    ///
    /// `Broken` when the caps have a rate or channels beyond the limits.
    pub(super) fn framed(
        codec: AudioCodec,
        structure: &gst::StructureRef,
        limits: Limits,
        reader: PacketReader,
    ) -> Result<Box<dyn InputFormat>, CapsError> {
        let (rate, channels) = limits.read(structure)?;
        let complete = rate.is_some() && channels.is_some();
        let entry = AudioConfig::new(codec, rate.unwrap_or(0), channels.unwrap_or(0));
        Ok(Box::new(Self {
            complete,
            reader,
            rendition: Rendition::Audio(entry),
        }))
    }
}

impl InputFormat for Packets {
    fn rendition(&self) -> Option<&Rendition> {
        Some(&self.rendition).filter(|_| self.complete)
    }

    fn prepare(&mut self, payload: Bytes, _keyframe: bool) -> Result<Bytes, FrameError> {
        let Rendition::Audio(entry) = &mut self.rendition else {
            return Ok(payload);
        };
        let packet = (self.reader)(entry, &payload)?;
        if !self.complete {
            (entry.sample_rate, entry.channel_count) = (packet.rate, packet.channels);
            self.complete = true;
        }
        Ok(payload)
    }
}
