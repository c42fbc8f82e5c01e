// SPDX-License-Identifier: MIT
//! AC-3 and E-AC-3: whole frames, each with its own header.

use hang::catalog::{AudioCodec, AudioConfig};

use super::{
    audio::{self, Frame, Limits, Packet, PacketReader, Packets},
    field,
};
use crate::media::format::{
    input::InputFormat,
    rendition::{CapsError, FrameError, Rendition},
};

/// By fscod (ETSI TS 102 366 table 4.1).
const RATES: [u32; 3] = [48_000, 44_100, 32_000];

/// Bit rates in kbit/s by half of frmsizecod (ETSI TS 102 366 table 4.13).
const BIT_RATES: [usize; 19] = [
    32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640,
];

/// Full-bandwidth channels by acmod (ETSI TS 102 366 table 4.3).
const CHANNELS: [u32; 8] = [2, 1, 2, 3, 3, 4, 4, 5];

/// The input of AC-3 or E-AC-3.
pub(super) fn input(
    structure: &gst::StructureRef,
    codec: AudioCodec,
    reader: PacketReader,
) -> Result<Box<dyn InputFormat>, CapsError> {
    field::framed(structure, "framed", "ac3parse")?;
    let alignment = structure.get::<&str>("alignment").unwrap_or("frame");
    if alignment != "frame" {
        return Err(CapsError::unsupported(format!(
            "{codec} with alignment={alignment:?} is not supported; insert ac3parse, which converts it to frame."
        )));
    }
    let limits = limits(&codec);
    Packets::framed(codec, structure, limits, reader)
}

/// Caps of AC-3 or E-AC-3 under this name.
pub(super) fn caps(rendition: &Rendition, name: &str) -> Result<gst::Caps, CapsError> {
    let entry = audio::entry(rendition)?;
    let limits = limits(&entry.codec);
    let (rate, channels) = limits.check(entry.sample_rate, entry.channel_count)?;
    Ok(gst::Caps::builder(name)
        .field("framed", true)
        .field("alignment", "frame")
        .field("rate", rate)
        .field("channels", channels)
        .build())
}

pub(super) fn ac3_packet(_: &AudioConfig, payload: &[u8]) -> Result<Packet, FrameError> {
    Packet::of_frames(payload, ac3, "ac3parse")
}

pub(super) fn eac3_packet(_: &AudioConfig, payload: &[u8]) -> Result<Packet, FrameError> {
    Packet::of_frames(payload, eac3, "ac3parse")
}

/// Six channels (ETSI TS 102 366 section 4.4.2.3), or as many as dependent substreams add, up to
/// 13.1 (section E.1.3.1.8).
fn limits(codec: &AudioCodec) -> Limits {
    Limits {
        rate: RATES[0],
        channels: match codec {
            AudioCodec::Ac3 => 6,
            _ => 14,
        },
    }
}

/// The AC-3 frame that begins with this header (ETSI TS 102 366 sections 4.3.1 and 4.3.2).
fn ac3(data: &[u8]) -> Option<Frame> {
    let &[0x0b, 0x77, _, _, codes, stream, modes, ..] = data else {
        return None;
    };
    // Beyond the standard's 8 there are 9 and 10 in use, for half and quarter of the rate.
    let halvings = match stream >> 3 {
        ..=8 => 0,
        id @ 9..=10 => id - 8,
        _ => return None,
    };
    let rate = RATES.get(usize::from(codes >> 6))?;
    let size = usize::from(codes & 0x3f);
    let bit_rate = BIT_RATES.get(size / 2)?;
    let words = match rate {
        48_000 => bit_rate * 2,
        32_000 => bit_rate * 3,
        _ => bit_rate * 320 / 147 + size % 2,
    };
    let mode = modes >> 5;
    // Mix levels come first where there is a centre, a surround, or plain stereo.
    let levels = match mode {
        2 => 1,
        _ => u8::from(mode & 1 == 1 && mode != 1) + u8::from(mode & 4 != 0),
    };
    let lfe = modes >> (4 - 2 * levels) & 1;
    Some(Frame {
        packet: Packet {
            rate: rate >> halvings,
            channels: CHANNELS[usize::from(mode)] + u32::from(lfe),
            samples: 1536,
        },
        length: Some(words * 2),
    })
}

/// The E-AC-3 frame that begins with this header (ETSI TS 102 366 section E.1.2.2).
///
/// Only the first independent substream takes time: the others go with it.
fn eac3(data: &[u8]) -> Option<Frame> {
    let &[0x0b, 0x77, kind, size, modes, stream, ..] = data else {
        return None;
    };
    if !(11..=16).contains(&(stream >> 3)) || kind >> 6 == 3 {
        return None;
    }
    let (rate, blocks) = match modes >> 6 {
        // The lower rates have no block code: there are always six.
        3 => (RATES.get(usize::from(modes >> 4 & 3))? / 2, 6),
        code => (
            RATES[usize::from(code)],
            [1, 2, 3, 6][usize::from(modes >> 4 & 3)],
        ),
    };
    let accompanies = kind >> 6 == 1 || kind >> 3 & 7 != 0;
    let words = usize::from(u16::from_be_bytes([kind & 7, size])) + 1;
    Some(Frame {
        packet: Packet {
            rate,
            channels: CHANNELS[usize::from(modes >> 1 & 7)] + u32::from(modes & 1),
            samples: if accompanies { 0 } else { 256 * blocks },
        },
        length: Some(words * 2),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rate: u32, channels: u32, samples: u64, length: usize) -> Option<Frame> {
        Some(Frame {
            packet: Packet {
                rate,
                channels,
                samples,
            },
            length: Some(length),
        })
    }

    #[test]
    fn ac3_headers_say_how_long_a_frame_is() {
        // 448 kbit/s 3/2 with LFE, 192 kbit/s 2/0, 44.1 kHz with its odd word, 1/0 at half rate.
        let five_one = [0x0b, 0x77, 0, 0, 0x1e, 0x40, 0xe1];
        assert_eq!(ac3(&five_one), of(48_000, 6, 1536, 1792));
        let stereo = [0x0b, 0x77, 0, 0, 0x14, 0x40, 0x40];
        assert_eq!(ac3(&stereo), of(48_000, 2, 1536, 768));
        let odd = [0x0b, 0x77, 0, 0, 0x55, 0x40, 0x44];
        assert_eq!(ac3(&odd), of(44_100, 3, 1536, 836));
        let half = [0x0b, 0x77, 0, 0, 0x80, 0x48, 0x20];
        assert_eq!(ac3(&half), of(16_000, 1, 1536, 192));
    }

    #[test]
    fn eac3_headers_say_how_long_a_frame_is() {
        let five_one = [0x0b, 0x77, 0x00, 0xff, 0x3f, 0x80];
        assert_eq!(eac3(&five_one), of(48_000, 6, 1536, 512));
        let one_block = [0x0b, 0x77, 0x00, 0xff, 0x04, 0x80];
        assert_eq!(eac3(&one_block), of(48_000, 2, 256, 512));
        let low = [0x0b, 0x77, 0x00, 0xff, 0xcf, 0x80];
        assert_eq!(eac3(&low), of(24_000, 6, 1536, 512));
        let dependent = [0x0b, 0x77, 0x40, 0xff, 0x3f, 0x80];
        assert_eq!(eac3(&dependent), of(48_000, 6, 0, 512));
    }

    #[test]
    fn what_no_frame_begins_with_is_none() {
        for data in [
            &[0x0b, 0x77, 0, 0, 0x1e, 0x40][..],
            &[0x77, 0x0b, 0, 0, 0x1e, 0x40, 0xe1],
            &[0x0b, 0x77, 0, 0, 0xde, 0x40, 0xe1],
            &[0x0b, 0x77, 0, 0, 0x3f, 0x40, 0xe1],
            &[0x0b, 0x77, 0, 0, 0x1e, 0x80, 0xe1],
        ] {
            assert_eq!(ac3(data), None, "{data:x?}");
        }
        assert_eq!(eac3(&[0x0b, 0x77, 0xc0, 0xff, 0x3f, 0x80]), None);
        assert_eq!(eac3(&[0x0b, 0x77, 0x00, 0xff, 0xff, 0x80]), None);
        assert_eq!(eac3(&[0x0b, 0x77, 0x00, 0xff, 0x3f, 0x40]), None);
    }
}
