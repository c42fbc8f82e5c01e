// SPDX-License-Identifier: MIT
//! H.264: avc, avc3 and byte-stream in, avc and byte-stream out.

use std::num::NonZeroUsize;

use h264_reader::nal::sps::{PicOrderCntType, SeqParameterSet};
use h264_reader::rbsp::BitRead;
use hang::catalog::{self, VideoCodec};

use super::nal::{self, ParameterSets, Record, Role, Set, Sps, Syntax};
use super::video::{self, Picture};

/// Most frames that a decoder may hold back (MaxDpbFrames, ITU-T H.264 section A.3.1).
const MAX_DPB_FRAMES: u32 = 16;

/// The syntax of H.264.
#[derive(Debug)]
pub(super) enum H264 {}

impl Syntax for H264 {
    type Profile = [u8; 3];

    const NAME: &'static str = "H.264";
    const MEDIA_TYPE: &'static str = "video/x-h264";
    const PARSER: &'static str = "h264parse";
    const RECORD: &'static str = "avcC";
    const OUT_OF_BAND: &'static str = "avc";
    const IN_BAND: &'static str = "avc3";
    const HEADER: NonZeroUsize = NonZeroUsize::MIN;
    const SETS: &'static [Set] = &[Set::Sps, Set::Pps];

    fn role(header: u8) -> Role {
        // nal_unit_type, ITU-T H.264 table 7-1.
        match header & 0x1f {
            1..=5 => Role::Slice,
            6 => Role::Sei,
            7 => Role::Parameters(Set::Sps),
            8 => Role::Parameters(Set::Pps),
            9 => Role::Delimiter,
            _ => Role::Other,
        }
    }

    /// An IDR picture always, and a picture of I slices where upstream says so.
    fn is_random_access(slice: &[u8], marked: bool) -> bool {
        const IDR: u8 = 5;
        let is_idr = slice.first().is_some_and(|header| header & 0x1f == IDR);
        is_idr || (marked && is_intra(slice))
    }

    fn set_id(set: Set, nal: &[u8]) -> Option<u32> {
        // An SPS has profile, flags and level before its id, and there are 32 ids; a PPS begins
        // with its id, of 256 (ITU-T H.264 sections 7.4.2.1.1 and 7.4.2.2).
        let (skipped, ids) = match set {
            Set::Sps => (24, 32),
            _ => (0, 256),
        };
        let mut bits = nal::bits::<Self>(nal);
        bits.skip(skipped, "before the id").ok()?;
        bits.read_ue("id").ok().filter(|&id| id < ids)
    }

    fn sps(nal: &[u8]) -> Option<Sps<[u8; 3]>> {
        let profile: [u8; 3] = nal.get(1..4)?.try_into().ok()?;
        let fallback = Self::never_reorders(profile).then_some(0);
        let Ok(sps) = SeqParameterSet::from_bits(nal::bits::<Self>(nal)) else {
            return Some(Sps {
                profile,
                picture: Picture::default(),
                reorder_depth: fallback,
            });
        };
        let size = sps.pixel_dimensions().ok();
        let vui = sps.vui_parameters.as_ref();
        let aspect = vui.and_then(|vui| vui.aspect_ratio_info.as_ref()?.get());
        Some(Sps {
            profile,
            picture: Picture {
                size: size.filter(|&(width, height)| video::is_sane(width, height)),
                pixel_aspect: aspect
                    .map(|(width, height)| (width.into(), height.into()))
                    .filter(|&(width, height): &(u32, u32)| width > 0 && height > 0),
                framerate: None,
            },
            reorder_depth: declared_depth(&sps).or(fallback),
        })
    }

    /// Reads an AVCDecoderConfigurationRecord (ISO/IEC 14496-15 section 5.3.3.1.2). (The one of
    /// moq-mux 0.10 overflows on a damaged SPS, which is a panic where overflow is checked.)
    fn record(data: &[u8]) -> Option<Record<[u8; 3]>> {
        let (&[version, profile, constraints, level, sizes, count], mut rest) =
            data.split_first_chunk::<6>()?;
        if version != 1 {
            return None;
        }
        let mut sets = ParameterSets::default();
        for _ in 0..count & 0x1f {
            sets.insert::<Self>(nal::sized(&mut rest)?);
        }
        let (&count, mut rest) = rest.split_first()?;
        for _ in 0..count {
            sets.insert::<Self>(nal::sized(&mut rest)?);
        }
        Some(Record {
            profile: [profile, constraints, level],
            length_size: usize::from(sizes & 3) + 1,
            sets,
        })
    }

    fn profile(codec: &VideoCodec) -> Option<[u8; 3]> {
        match codec {
            VideoCodec::H264(h264) => Some([h264.profile, h264.constraints, h264.level]),
            _ => None,
        }
    }

    fn codec([profile, constraints, level]: [u8; 3], in_band: bool) -> VideoCodec {
        VideoCodec::H264(catalog::H264 {
            inline: in_band,
            profile,
            constraints,
            level,
        })
    }

    /// Baseline, what obeys Baseline (constraint_set0), what has no B slices (constraint_set5) or
    /// only intra pictures (constraint_set3 and CAVLC 4:4:4 Intra): ITU-T H.264 sections 7.4.2.1.1
    /// and E.2.1.
    fn never_reorders([profile, constraints, _]: [u8; 3]) -> bool {
        let set = |index: u8| constraints & (0x80 >> index) != 0;
        match profile {
            66 | 44 => true,
            77 | 88 => set(0) || set(5),
            100 => set(3) || set(5),
            110 | 122 | 244 => set(3),
            _ => false,
        }
    }

    fn fill_caps(caps: &mut gst::CapsRef, profile: [u8; 3]) {
        // A profile without a name in GStreamer only lacks that field.
        let _ = gst_pbutils::codec_utils_h264_caps_set_level_and_profile(caps, &profile);
    }
}

/// Whether a slice is an I or SI slice (slice_type, ITU-T H.264 table 7-6).
fn is_intra(slice: &[u8]) -> bool {
    let mut bits = nal::bits::<H264>(slice);
    bits.read_ue("first_mb_in_slice").is_ok()
        && matches!(bits.read_ue("slice_type"), Ok(2 | 4 | 7 | 9))
}

/// `max_num_reorder_frames` of the VUI, else 0 for a stream whose output order is its decode
/// order (`pic_order_cnt_type` 2, ITU-T H.264 section 8.2.1.3).
fn declared_depth(sps: &SeqParameterSet) -> Option<u32> {
    let vui = sps.vui_parameters.as_ref();
    let restrictions = vui.and_then(|vui| vui.bitstream_restrictions.as_ref());
    if let Some(restrictions) = restrictions {
        let depth = restrictions.max_num_reorder_frames;
        return (depth <= MAX_DPB_FRAMES).then_some(depth);
    }
    (sps.pic_order_cnt == PicOrderCntType::TypeTwo).then_some(0)
}
