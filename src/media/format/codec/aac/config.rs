// SPDX-License-Identifier: MIT
//! The AudioSpecificConfig (ISO/IEC 14496-3 section 1.6.2.1): rates, and how long a frame lasts.

use std::io;

use bitstream_io::{BigEndian, BitRead, BitReader, BitWrite, BitWriter};
use bytes::Bytes;
use gst_pbutils::{
    codec_utils_aac_get_index_from_sample_rate as index_of_rate,
    codec_utils_aac_get_sample_rate_from_index as rate_of_index,
};

/// Object types (ISO/IEC 14496-3 table 1.17).
const LC: u8 = 2;
const SBR: u8 = 5;
const BSAC: u8 = 22;
const LD: u8 = 23;
const PS: u8 = 29;
const ELD: u8 = 39;

/// The rate index that says that the rate itself follows.
const ESCAPE: u32 = 15;

/// What an AudioSpecificConfig says of its frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Config {
    /// Sample rate of the core in Hz, above zero.
    pub(super) core_rate: u32,
    /// Sample rate in Hz of what SBR makes of it, where that is said here.
    pub(super) extension_rate: Option<u32>,
    /// Samples of one frame at the core's rate.
    pub(super) samples: u64,
}

impl Config {
    /// `None` when it is truncated or has a reserved rate.
    pub(super) fn parse(data: &[u8]) -> Option<Self> {
        let mut bits = BitReader::endian(data, BigEndian);
        let outer_type = object_type(&mut bits)?;
        let core_rate = rate(&mut bits)?;
        bits.skip(4).ok()?; // channelConfiguration
        let (core_type, extension_rate) = match outer_type {
            SBR | PS => {
                let rate = rate(&mut bits)?;
                let core = object_type(&mut bits)?;
                if core == BSAC {
                    bits.skip(4).ok()?; // extensionChannelConfiguration
                }
                (core, Some(rate))
            }
            _ => (outer_type, None),
        };
        // frameLengthFlag comes first (sections 4.4.1 and 4.6.20); whoever cuts it off means 0.
        let short = bits.read_bit().unwrap_or(false);
        let samples = match (core_type, short) {
            (LD | ELD, false) => 512,
            (LD | ELD, true) => 480,
            (_, false) => 1024,
            (_, true) => 960,
        };
        Some(Self {
            core_rate,
            extension_rate,
            samples,
        })
    }

    /// The rate in Hz at which it plays, as far as this says.
    pub(super) fn output_rate(self) -> u32 {
        self.extension_rate.unwrap_or(self.core_rate)
    }
}

/// An AudioSpecificConfig from codec string, rate and channels; `None` when they do not say enough.
///
/// AAC Main, LC, SSR and LTP are complete with them. SBR and PS are taken to play at `rate`, with
/// an LC core at half of it, and PS makes two channels out of one.
pub(super) fn make_up(profile: u8, rate: u32, channels: u32) -> Option<Bytes> {
    // channelConfiguration (ISO/IEC 14496-3 table 1.19); 11 is 6.1, and 7 is 7.1.
    let configuration = match (profile, channels) {
        (PS, 2) => 1,
        (PS, _) => return None,
        (_, 1..=6) => channels,
        (_, 7) => 11,
        (_, 8) => 7,
        _ => return None,
    };
    if !(2..1 << 24).contains(&rate) {
        return None;
    }
    let mut bits = BitWriter::endian(Vec::new(), BigEndian);
    bits.write::<5, u8>(profile).ok()?;
    match profile {
        1..=4 => {
            put_rate(&mut bits, rate).ok()?;
            bits.write::<4, u32>(configuration).ok()?;
        }
        SBR | PS => {
            put_rate(&mut bits, rate / 2).ok()?;
            bits.write::<4, u32>(configuration).ok()?;
            put_rate(&mut bits, rate).ok()?;
            bits.write::<5, u8>(LC).ok()?;
        }
        _ => return None,
    }
    // A GASpecificConfig of three flags that are not set.
    bits.write::<3, u8>(0).ok()?;
    bits.byte_align().ok()?;
    Some(bits.into_writer().into())
}

type Bits<'a> = BitReader<&'a [u8], BigEndian>;

fn object_type(bits: &mut Bits<'_>) -> Option<u8> {
    match bits.read::<5, u8>().ok()? {
        31 => Some(32 + bits.read::<6, u8>().ok()?),
        object_type => Some(object_type),
    }
}

fn rate(bits: &mut Bits<'_>) -> Option<u32> {
    let rate = match bits.read::<4, u32>().ok()? {
        ESCAPE => bits.read::<24, u32>().ok()?,
        index => rate_of_index(index),
    };
    (rate > 0).then_some(rate)
}

fn put_rate(bits: &mut impl BitWrite, rate: u32) -> io::Result<()> {
    match u8::try_from(index_of_rate(rate)) {
        Ok(index) => bits.write::<4, u8>(index),
        Err(_) => {
            bits.write::<4, u32>(ESCAPE)?;
            bits.write::<24, u32>(rate)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn configs_say_how_long_a_frame_lasts() {
        gst::init().expect("GStreamer initializes");
        for (data, core_rate, extension_rate, samples) in [
            // LC 48 kHz 5.1, the same with 960 samples, LC with a rate of its own.
            (&[0x11, 0xb0][..], 48_000, None, 1024),
            (&[0x11, 0xb4], 48_000, None, 960),
            (&[0x17, 0x80, 0x56, 0x0c, 0x10], 44_056, None, 1024),
            // SBR 24 to 48 kHz, PS 22.05 to 44.1 kHz, both over LC; ER AAC LD.
            (&[0x2b, 0x11, 0x88, 0x00], 24_000, Some(48_000), 1024),
            (&[0xeb, 0x8a, 0x08, 0x00], 22_050, Some(44_100), 1024),
            (&[0xb9, 0x90], 48_000, None, 512),
        ] {
            let expected = Config {
                core_rate,
                extension_rate,
                samples,
            };
            assert_eq!(Config::parse(data), Some(expected), "{data:x?}");
        }
        // Reserved rate, and truncations.
        for data in [&[0x16, 0x90][..], &[0x11], &[], &[0x2b, 0x11]] {
            assert_eq!(Config::parse(data), None, "{data:x?}");
        }
    }

    #[test]
    fn only_what_says_enough_is_made_up() {
        gst::init().expect("GStreamer initializes");
        let made_up = |profile, channels| make_up(profile, 48_000, channels);
        assert_eq!(made_up(2, 6).as_deref(), Some(&[0x11, 0xb0][..]));
        assert_eq!(
            made_up(5, 2).as_deref(),
            Some(&[0x2b, 0x11, 0x88, 0x00][..])
        );
        for (profile, channels) in [(2, 0), (2, 9), (29, 1), (42, 2), (23, 2), (0, 2)] {
            assert_eq!(made_up(profile, channels), None, "{profile} {channels}");
        }
        assert_eq!(make_up(2, 0, 2), None);
        assert_eq!(make_up(2, 1 << 24, 2), None);
    }

    proptest! {
        #[test]
        fn what_is_made_up_reads_back(
            profile in prop::sample::select(vec![1u8, 2, 3, 4, 5]),
            rate in 2u32..1 << 24,
            channels in 1u32..=8,
        ) {
            gst::init().expect("GStreamer initializes");
            let data = make_up(profile, rate, channels).expect("a config");
            let config = Config::parse(&data).expect("it parses");
            prop_assert_eq!(config.output_rate(), rate);
            prop_assert_eq!(config.samples, 1024);
            let entry = moq_mux::codec::aac::config(&data).expect("others parse it");
            prop_assert_eq!(entry.channel_count, channels);
        }

        #[test]
        fn no_config_panics(data in prop::collection::vec(any::<u8>(), 0..16)) {
            gst::init().expect("GStreamer initializes");
            let _ = Config::parse(&data);
        }
    }
}
