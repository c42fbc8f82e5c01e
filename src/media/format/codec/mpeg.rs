// SPDX-License-Identifier: MIT
//! MPEG audio, layers II and III (MP2 and MP3): whole frames, each with its own header.

use hang::catalog::{AudioCodec, AudioConfig};

use super::{
    audio::{self, Frame, Limits, Packet, Packets},
    field,
};
use crate::media::format::{
    input::InputFormat,
    rendition::{CapsError, FrameError, Rendition},
};

/// ISO/IEC 11172-3 section 2.4.2.3.
const LIMITS: Limits = Limits {
    rate: 48_000,
    channels: 2,
};

/// Bit rates in kbit/s by index (ISO/IEC 11172-3 section 2.4.2.3): layer II and layer III of
/// MPEG-1, and both layers at the lower sample rates (ISO/IEC 13818-3 section 2.4.2.3).
const LAYER_2: [u32; 14] = [
    32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384,
];
const LAYER_3: [u32; 14] = [
    32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320,
];
const LOWER_RATES: [u32; 14] = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];

/// Whether caps are of this layer.
pub(super) fn matches_caps(structure: &gst::StructureRef, layer: i32) -> bool {
    structure.name() == "audio/mpeg"
        && structure.get("mpegversion") == Ok(1)
        && structure.get("layer") == Ok(layer)
}

pub(super) fn input<const LAYER: u8>(
    structure: &gst::StructureRef,
    codec: AudioCodec,
) -> Result<Box<dyn InputFormat>, CapsError> {
    field::framed(structure, "parsed", "mpegaudioparse")?;
    Packets::framed(codec, structure, LIMITS, packet::<LAYER>)
}

pub(super) fn caps(rendition: &Rendition, layer: i32) -> Result<gst::Caps, CapsError> {
    let entry = audio::entry(rendition)?;
    let (rate, channels) = LIMITS.check(entry.sample_rate, entry.channel_count)?;
    let version = match rate {
        ..=12_000 => 3,
        12_001..=24_000 => 2,
        _ => 1,
    };
    Ok(gst::Caps::builder("audio/mpeg")
        .field("mpegversion", 1)
        .field("mpegaudioversion", version)
        .field("layer", layer)
        .field("rate", rate)
        .field("channels", channels)
        .field("parsed", true)
        .build())
}

pub(super) fn packet<const LAYER: u8>(
    _: &AudioConfig,
    payload: &[u8],
) -> Result<Packet, FrameError> {
    Packet::of_frames(payload, |data| frame(data, LAYER), "mpegaudioparse")
}

/// The frame of this layer that begins with its header (ISO/IEC 11172-3 section 2.4.1.3, ISO/IEC 13818-3 section 2.4.1.3).
fn frame(data: &[u8], layer: u8) -> Option<Frame> {
    let &[0xff, kind, rates, mode, ..] = data else {
        return None;
    };
    // The layer is counted down from 4; version 0 is MPEG-2.5, whose rates are half of MPEG-2's.
    if kind & 0xe0 != 0xe0 || (kind >> 1) & 3 != 4 - layer {
        return None;
    }
    let halvings = match (kind >> 3) & 3 {
        3 => 0,
        2 => 1,
        0 => 2,
        _ => return None,
    };
    let rate = [44_100, 48_000, 32_000].get(usize::from((rates >> 2) & 3))? >> halvings;
    let samples: u32 = match (layer, halvings) {
        (3, 1..) => 576,
        _ => 1152,
    };
    let table = match (layer, halvings) {
        (_, 1..) => LOWER_RATES,
        (2, _) => LAYER_2,
        _ => LAYER_3,
    };
    let length = match usize::from(rates >> 4) {
        // Free format: only the next header would tell.
        0 => None,
        index => {
            let bits = samples * 1000 / 8 * table.get(index - 1)?;
            Some((bits / rate + u32::from((rates >> 1) & 1)) as usize)
        }
    };
    let channels = if mode >> 6 == 3 { 1 } else { 2 };
    let packet = Packet {
        rate,
        channels,
        samples: samples.into(),
    };
    Some(Frame { packet, length })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_say_how_long_a_frame_is() {
        // As LAME and TwoLAME write them, and an MPEG-2.5 one.
        for (layer, header, rate, channels, samples, length) in [
            (3, [0xff, 0xfb, 0x94, 0x64], 48_000, 2, 1152, 384),
            (3, [0xff, 0xfb, 0x92, 0xc4], 44_100, 1, 1152, 418),
            (3, [0xff, 0xf3, 0x80, 0xc4], 22_050, 1, 576, 208),
            (3, [0xff, 0xe3, 0x18, 0xc4], 8_000, 1, 576, 72),
            (2, [0xff, 0xfd, 0xa4, 0x04], 48_000, 2, 1152, 576),
        ] {
            let packet = Packet {
                rate,
                channels,
                samples,
            };
            let expected = Frame {
                packet,
                length: Some(length),
            };
            assert_eq!(frame(&header, layer), Some(expected), "{header:x?}");
        }
        let free_format = frame(&[0xff, 0xfb, 0x04, 0x64], 3).expect("a frame");
        assert_eq!(free_format.length, None);
    }

    #[test]
    fn what_no_frame_begins_with_is_none() {
        for header in [
            &[0xff, 0xfb, 0x94][..],
            &[0xff, 0xdb, 0x94, 0x64],
            // Layer II, a reserved version, a reserved rate, an invalid bit rate.
            &[0xff, 0xfd, 0x94, 0x64],
            &[0xff, 0xeb, 0x94, 0x64],
            &[0xff, 0xfb, 0x9c, 0x64],
            &[0xff, 0xfb, 0xf4, 0x64],
            b"ID3\x04",
        ] {
            assert_eq!(frame(header, 3), None, "{header:x?}");
        }
    }
}
