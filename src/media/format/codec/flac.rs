// SPDX-License-Identifier: MIT
//! FLAC (RFC 9639): frames, the STREAMINFO out of band.

use bytes::{BufMut, Bytes, BytesMut};
use hang::catalog::AudioConfig;
use moq_mux::codec::flac;

use super::{
    audio::{self, Limits, Packet, Packets},
    field,
};
use crate::media::format::{
    input::InputFormat,
    rendition::{CapsError, FrameError, Rendition},
};

/// What GStreamer's elements take; the format itself has 20 bits for the rate.
const LIMITS: Limits = Limits {
    rate: 655_350,
    channels: 8,
};

const MARKER: &[u8] = b"fLaC";

/// Length of a STREAMINFO with its block header (RFC 9639 sections 8.1 and 8.2).
const STREAMINFO: usize = 4 + 34;

/// What comes before the marker in Ogg (RFC 9639 section 10.1) and in GStreamer's stream headers:
/// signature, version 1.0, and the number of header packets that follow.
const OGG: &[u8] = b"\x7fFLAC\x01\x00\x00\x01";

pub(super) fn input(structure: &gst::StructureRef) -> Result<Box<dyn InputFormat>, CapsError> {
    field::framed(structure, "framed", "flacparse")?;
    let headers = field::stream_headers(structure)?;
    if headers.is_empty() {
        return Err(CapsError::broken(
            "FLAC needs streamheader in the caps; insert flacparse before it.",
        ));
    }
    let entry = flac::config(&description(&headers.concat())?).map_err(unreadable)?;
    LIMITS.check(entry.sample_rate, entry.channel_count)?;
    Ok(Packets::of(entry, packet))
}

pub(super) fn caps(rendition: &Rendition) -> Result<gst::Caps, CapsError> {
    let entry = audio::entry(rendition)?;
    let missing = || CapsError::broken("The catalog has no description for FLAC.");
    let description = description(entry.description.as_ref().ok_or_else(missing)?)?;
    let info = flac::config(&description).map_err(unreadable)?;
    let (rate, channels) = LIMITS.check(info.sample_rate, info.channel_count)?;
    let mut first = BytesMut::from(OGG);
    first.put_slice(&description);
    // Not the last block: comments follow.
    first[OGG.len() + MARKER.len()] = 0;
    let mut comments = BytesMut::new();
    let vendor = field::no_comments();
    // The last block, of type 4 (RFC 9639 section 8.6).
    comments.put_u32(0x8400_0000 | vendor.len() as u32);
    comments.put_slice(&vendor);
    Ok(gst::Caps::builder("audio/x-flac")
        .field("framed", true)
        .field("rate", rate)
        .field("channels", channels)
        .field(
            "streamheader",
            field::header_buffers([first.freeze(), comments.freeze()]),
        )
        .build())
}

/// The packet's block size, which its header says (RFC 9639 section 9.1).
pub(super) fn packet(config: &AudioConfig, payload: &[u8]) -> Result<Packet, FrameError> {
    let no_frame = FrameError::NoFrame("flacparse");
    let &[0xff, 0xf8 | 0xf9, sizes, _, number, ..] = payload else {
        return Err(match is_header(payload) {
            true => FrameError::Header,
            false => no_frame,
        });
    };
    // The coded number is as long as UTF-8 would be, whose first byte says so.
    let end = 4 + (number.leading_ones() as usize).max(1);
    let more = payload.get(end..).unwrap_or_default();
    let samples = match (sizes >> 4, more) {
        (1, _) => 192,
        (code @ 2..=5, _) => 144 << code,
        (6, &[size, ..]) => u64::from(size) + 1,
        (7, &[high, low, ..]) => u64::from(u16::from_be_bytes([high, low])) + 1,
        (code @ 8.., _) => 1 << code,
        _ => return Err(no_frame),
    };
    Ok(Packet {
        rate: config.sample_rate.max(1),
        channels: config.channel_count.max(1),
        samples,
    })
}

/// Whether a buffer is one of the header packets that also come in the stream: the marker, or a
/// metadata block of its stated length.
fn is_header(payload: &[u8]) -> bool {
    let block = |kind: u8, length: [u8; 3]| {
        let [a, b, c] = length;
        kind & 0x7f != 0x7f && u32::from_be_bytes([0, a, b, c]) as usize + 4 == payload.len()
    };
    payload.starts_with(MARKER)
        || payload.starts_with(&OGG[..5])
        || matches!(payload, &[kind, a, b, c, ..] if block(kind, [a, b, c]))
}

/// The marker and the STREAMINFO, marked as the last block, as players expect it (the WebCodecs
/// registration of FLAC); made from headers with or without Ogg's prefix and the marker.
fn description(headers: &[u8]) -> Result<Bytes, CapsError> {
    let native = match headers.starts_with(&OGG[..5]) {
        true => headers.get(OGG.len()..).unwrap_or_default(),
        false => headers,
    };
    let block = native.strip_prefix(MARKER).unwrap_or(native);
    let block = block
        .get(..STREAMINFO)
        .filter(|block| block[0] & 0x7f == 0 && block[1..4] == [0, 0, 34])
        .ok_or_else(|| unreadable("the STREAMINFO is not there"))?;
    let mut description = BytesMut::from(MARKER);
    description.put_slice(block);
    description[MARKER.len()] = 0x80;
    Ok(description.freeze())
}

fn unreadable(error: impl std::fmt::Display) -> CapsError {
    CapsError::broken(format!(
        "The stream header of FLAC does not parse: {error}."
    ))
}

#[cfg(test)]
mod tests {
    use hang::catalog::AudioCodec;

    use super::*;

    #[test]
    fn frames_say_how_many_samples_they_have() {
        let config = AudioConfig::new(AudioCodec::Flac, 48_000, 2);
        let samples = |payload: &[u8]| packet(&config, payload).map(|packet| packet.samples);
        for (payload, expected) in [
            (&[0xff, 0xf8, 0xca, 0x18, 0x00][..], Ok(4096)),
            (&[0xff, 0xf8, 0x1a, 0x18, 0x00], Ok(192)),
            (&[0xff, 0xf8, 0x5a, 0x18, 0x00], Ok(4608)),
            (&[0xff, 0xf8, 0x6a, 0x18, 0x07, 0x9f], Ok(160)),
            (&[0xff, 0xf9, 0x7a, 0x18, 0xc4, 0x80, 0x05, 0x6a], Ok(1387)),
            (b"fLaC", Err(FrameError::Header)),
            (b"\x7fFLAC\x01\x00", Err(FrameError::Header)),
            (&[0x84, 0, 0, 2, 1, 2], Err(FrameError::Header)),
            (
                &[0x84, 0, 0, 3, 1, 2],
                Err(FrameError::NoFrame("flacparse")),
            ),
            (&[0xff, 0xf8, 0xca], Err(FrameError::NoFrame("flacparse"))),
            (
                &[0xff, 0xf8, 0x0a, 0x18, 0],
                Err(FrameError::NoFrame("flacparse")),
            ),
            (
                &[0xff, 0xf8, 0x7a, 0x18, 0, 1],
                Err(FrameError::NoFrame("flacparse")),
            ),
        ] {
            assert_eq!(samples(payload), expected, "{payload:x?}");
        }
    }
}
