// SPDX-License-Identifier: MIT
//! H.265: hvc1, hev1 and byte-stream in, hvc1 and byte-stream out.

mod sps;

use std::num::NonZeroUsize;

use h264_reader::rbsp::BitRead;
use hang::catalog::{self, VideoCodec};

use self::sps::Profile;
use super::nal::{self, ParameterSets, Record, Role, Set, Sps, Syntax};

/// The syntax of H.265.
#[derive(Debug)]
pub(super) enum H265 {}

impl Syntax for H265 {
    type Profile = Profile;

    const NAME: &'static str = "H.265";
    const MEDIA_TYPE: &'static str = "video/x-h265";
    const PARSER: &'static str = "h265parse";
    const RECORD: &'static str = "hvcC";
    const OUT_OF_BAND: &'static str = "hvc1";
    const IN_BAND: &'static str = "hev1";
    const HEADER: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);
    const SETS: &'static [Set] = &[Set::Vps, Set::Sps, Set::Pps];

    fn role(header: u8) -> Role {
        match nal_unit_type(header) {
            0..=31 => Role::Slice,
            32 => Role::Parameters(Set::Vps),
            33 => Role::Parameters(Set::Sps),
            34 => Role::Parameters(Set::Pps),
            35 => Role::Delimiter,
            39 => Role::Sei,
            _ => Role::Other,
        }
    }

    /// IRAP pictures alone, whatever upstream says: IDR, BLA and CRA (ITU-T H.265 section 3.69).
    fn is_random_access(slice: &[u8], _marked: bool) -> bool {
        let header = slice.first().copied();
        header.is_some_and(|header| (16..=23).contains(&nal_unit_type(header)))
    }

    /// The id in its layer, with those of the base layer first.
    fn set_id(set: Set, nal: &[u8]) -> Option<u32> {
        let [first, second, ..] = *nal else {
            return None;
        };
        let layer = u32::from(first & 1) << 5 | u32::from(second >> 3);
        // ITU-T H.265 sections 7.4.3.1 to 7.4.3.3.
        let mut bits = nal::bits::<Self>(nal);
        let id = match set {
            Set::Vps => bits.read::<4, u32>("id").ok()?,
            Set::Sps => sps::id(bits)?,
            Set::Pps => bits.read_ue("id").ok().filter(|&id| id < 64)?,
        };
        Some(layer << 8 | id)
    }

    fn sps(nal: &[u8]) -> Option<Sps<Profile>> {
        sps::read(nal::bits::<Self>(nal))
    }

    /// Reads an HEVCDecoderConfigurationRecord (ISO/IEC 14496-15 section 8.3.3.1.2). (The one of
    /// moq-mux 0.10 looks at no version.)
    fn record(data: &[u8]) -> Option<Record<Profile>> {
        const LENGTH_SIZE: usize = 21;
        const ARRAYS: usize = 22;
        let (head, mut rest) = data.split_first_chunk::<23>()?;
        let (&version, profile) = head.split_first()?;
        if version != 1 {
            return None;
        }
        let mut sets = ParameterSets::default();
        for _ in 0..head[ARRAYS] {
            let (&[_, high, low], nals) = rest.split_first_chunk::<3>()?;
            rest = nals;
            for _ in 0..u16::from_be_bytes([high, low]) {
                sets.insert::<Self>(nal::sized(&mut rest)?);
            }
        }
        Some(Record {
            profile: *profile.first_chunk()?,
            length_size: usize::from(head[LENGTH_SIZE] & 3) + 1,
            sets,
        })
    }

    fn profile(codec: &VideoCodec) -> Option<Profile> {
        let VideoCodec::H265(h265) = codec else {
            return None;
        };
        let mut profile = [0; 12];
        let tier = u8::from(h265.tier_flag) << 5;
        profile[0] = (h265.profile_space & 3) << 6 | tier | h265.profile_idc & 0x1f;
        profile[1..5].copy_from_slice(&h265.profile_compatibility_flags);
        profile[5..11].copy_from_slice(&h265.constraint_flags);
        profile[11] = h265.level_idc;
        Some(profile)
    }

    fn codec(profile: Profile, in_band: bool) -> VideoCodec {
        let [first, a, b, c, d, flags @ .., level_idc] = profile;
        VideoCodec::H265(catalog::H265 {
            in_band,
            profile_space: first >> 6,
            profile_idc: first & 0x1f,
            profile_compatibility_flags: [a, b, c, d],
            tier_flag: first & 0x20 != 0,
            level_idc,
            constraint_flags: flags,
        })
    }

    fn never_reorders(_: Profile) -> bool {
        false
    }

    fn fill_caps(caps: &mut gst::CapsRef, profile: Profile) {
        // A profile without a name in GStreamer only lacks that field.
        let _ = gst_pbutils::codec_utils_h265_caps_set_level_tier_and_profile(caps, &profile);
    }
}

/// ITU-T H.265 section 7.3.1.2.
fn nal_unit_type(header: u8) -> u8 {
    (header >> 1) & 0x3f
}
