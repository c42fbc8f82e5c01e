// SPDX-License-Identifier: MIT
//! The fields of an H.265 SPS that are used (ITU-T H.265 section 7.3.2.2).
//!
//! scuffle-h265 0.2 is of no use for bytes from outside: it subtracts unchecked, and refuses colour
//! descriptions that cameras do send.

use h264_reader::rbsp::{BitRead, BitReaderError};

use crate::media::format::codec::{
    nal::{Bits, Sps},
    video::{self, Picture},
};

/// The first bytes of profile_tier_level, which the SPS, the record and GStreamer's helpers share:
/// profile space, tier and profile, compatibility flags, constraint flags, level (ITU-T H.265
/// section 7.3.3).
pub(super) type Profile = [u8; 12];

/// Most frames that a decoder may hold back (MaxDpbSize, ITU-T H.265 section A.4.2).
const MAX_DPB_SIZE: u32 = 16;

/// aspect_ratio_idc 1 to 16 (ITU-T H.265 table E.1).
const ASPECTS: [(u32, u32); 16] = [
    (1, 1),
    (12, 11),
    (10, 11),
    (16, 11),
    (40, 33),
    (24, 11),
    (20, 11),
    (32, 11),
    (80, 33),
    (18, 11),
    (15, 11),
    (64, 33),
    (160, 99),
    (4, 3),
    (3, 2),
    (2, 1),
];

/// Why an SPS cannot be read to its end; nobody asks for more.
#[derive(Debug)]
struct Unreadable;

impl From<BitReaderError> for Unreadable {
    fn from(_: BitReaderError) -> Self {
        Self
    }
}

/// Reads an SPS after its header; `None` when it is too short for a profile.
pub(super) fn read(mut bits: Bits<'_>) -> Option<Sps<Profile>> {
    let mut sps = None;
    // What was read before the end is good all the same.
    let _ = fill(&mut bits, &mut sps);
    sps
}

/// The id of an SPS after its header.
pub(super) fn id(mut bits: Bits<'_>) -> Option<u32> {
    profile(&mut bits).ok().map(|profile| profile.id)
}

struct Beginning {
    profile: Profile,
    sub_layers: u32,
    id: u32,
}

/// Everything up to the id.
fn profile(bits: &mut Bits<'_>) -> Result<Beginning, Unreadable> {
    bits.skip(4, "sps_video_parameter_set_id")?;
    let sub_layers = bits.read::<3, u32>("sps_max_sub_layers_minus1")?;
    bits.skip(1, "sps_temporal_id_nesting_flag")?;
    let profile = bits.read_to::<Profile>("general_profile_tier_level")?;
    let mut length = 0;
    for _ in 0..sub_layers {
        length += 88 * bits.read::<1, u32>("sub_layer_profile_present_flag")?;
        length += 8 * bits.read::<1, u32>("sub_layer_level_present_flag")?;
    }
    if sub_layers > 0 {
        bits.skip(2 * (8 - sub_layers), "reserved_zero_2bits")?;
    }
    bits.skip(length, "sub_layer_profile_tier_level")?;
    let id = at_most(bits, 15)?;
    Ok(Beginning {
        profile,
        sub_layers,
        id,
    })
}

fn fill(bits: &mut Bits<'_>, out: &mut Option<Sps<Profile>>) -> Result<(), Unreadable> {
    let Beginning {
        profile,
        sub_layers,
        ..
    } = profile(bits)?;
    let sps = out.insert(Sps {
        profile,
        picture: Picture::default(),
        reorder_depth: None,
    });
    let chroma_format = at_most(bits, 3)?;
    if chroma_format == 3 {
        bits.skip(1, "separate_colour_plane_flag")?;
    }
    sps.picture.size = size(bits, chroma_format)?;
    at_most(bits, 8)?; // bit_depth_luma_minus8
    at_most(bits, 8)?; // bit_depth_chroma_minus8
    let poc_bits = 4 + at_most(bits, 12)?;
    let layers = match bits.read_bit("sps_sub_layer_ordering_info_present_flag")? {
        true => sub_layers + 1,
        false => 1,
    };
    let mut depth = 0;
    for _ in 0..layers {
        at_most(bits, MAX_DPB_SIZE)?; // sps_max_dec_pic_buffering_minus1
        depth = at_most(bits, MAX_DPB_SIZE)?;
        bits.read_ue("sps_max_latency_increase_plus1")?;
    }
    sps.reorder_depth = Some(depth);
    skip_to_vui(bits, poc_bits)?;
    if bits.read_bit("vui_parameters_present_flag")? {
        sps.picture.pixel_aspect = aspect(bits)?;
    }
    Ok(())
}

/// The picture inside the conformance window; `None` when it is empty or absurd.
fn size(bits: &mut Bits<'_>, chroma_format: u32) -> Result<Option<(u32, u32)>, Unreadable> {
    let width = bits.read_ue("pic_width_in_luma_samples")?;
    let height = bits.read_ue("pic_height_in_luma_samples")?;
    let mut window = [0; 4];
    if bits.read_bit("conformance_window_flag")? {
        for offset in &mut window {
            *offset = bits.read_ue("conf_win_offset")?;
        }
    }
    let [left, right, top, bottom] = window;
    // SubWidthC and SubHeightC, ITU-T H.265 table 6-1.
    let (across, down) = match chroma_format {
        1 => (2, 2),
        2 => (2, 1),
        _ => (1, 1),
    };
    let crop = |size: u32, unit: u32, before: u32, after: u32| {
        size.checked_sub(before.checked_add(after)?.checked_mul(unit)?)
    };
    let size = crop(width, across, left, right).zip(crop(height, down, top, bottom));
    Ok(size.filter(|&(width, height)| video::is_sane(width, height)))
}

fn skip_to_vui(bits: &mut Bits<'_>, poc_bits: u32) -> Result<(), Unreadable> {
    for name in [
        "log2_min_luma_coding_block_size_minus3",
        "log2_diff_max_min_luma_coding_block_size",
        "log2_min_luma_transform_block_size_minus2",
        "log2_diff_max_min_luma_transform_block_size",
        "max_transform_hierarchy_depth_inter",
        "max_transform_hierarchy_depth_intra",
    ] {
        bits.read_ue(name)?;
    }
    if bits.read_bit("scaling_list_enabled_flag")?
        && bits.read_bit("sps_scaling_list_data_present_flag")?
    {
        skip_scaling_lists(bits)?;
    }
    bits.skip(2, "amp and sample_adaptive_offset")?;
    if bits.read_bit("pcm_enabled_flag")? {
        bits.skip(8, "pcm_sample_bit_depth")?;
        bits.read_ue("log2_min_pcm_luma_coding_block_size_minus3")?;
        bits.read_ue("log2_diff_max_min_pcm_luma_coding_block_size")?;
        bits.skip(1, "pcm_loop_filter_disabled_flag")?;
    }
    let mut pictures = 0;
    for index in 0..at_most(bits, 64)? {
        pictures = skip_reference_set(bits, index, pictures)?;
    }
    if bits.read_bit("long_term_ref_pics_present_flag")? {
        for _ in 0..at_most(bits, 32)? {
            bits.skip(poc_bits + 1, "lt_ref_pic")?;
        }
    }
    bits.skip(2, "temporal_mvp and strong_intra_smoothing")?;
    Ok(())
}

/// ITU-T H.265 section 7.3.4.
fn skip_scaling_lists(bits: &mut Bits<'_>) -> Result<(), Unreadable> {
    for size in 0..4u32 {
        for _ in (0..6).step_by(if size == 3 { 3 } else { 1 }) {
            if !bits.read_bit("scaling_list_pred_mode_flag")? {
                bits.read_ue("scaling_list_pred_matrix_id_delta")?;
                continue;
            }
            let coefficients = 64.min(1 << (4 + 2 * size)) + u32::from(size > 1);
            for _ in 0..coefficients {
                bits.read_se("scaling_list_coef")?;
            }
        }
    }
    Ok(())
}

/// The number of pictures in a st_ref_pic_set (ITU-T H.265 section 7.3.7) that follows one with
/// `before` pictures.
fn skip_reference_set(bits: &mut Bits<'_>, index: u32, before: u32) -> Result<u32, Unreadable> {
    if index > 0 && bits.read_bit("inter_ref_pic_set_prediction_flag")? {
        bits.skip(1, "delta_rps_sign")?;
        bits.read_ue("abs_delta_rps_minus1")?;
        let mut pictures = 0;
        for _ in 0..=before {
            let used = bits.read_bit("used_by_curr_pic_flag")?;
            pictures += u32::from(used || bits.read_bit("use_delta_flag")?);
        }
        return Ok(pictures);
    }
    let pictures = at_most(bits, MAX_DPB_SIZE)? + at_most(bits, MAX_DPB_SIZE)?;
    for _ in 0..pictures {
        bits.read_ue("delta_poc_minus1")?;
        bits.skip(1, "used_by_curr_pic_flag")?;
    }
    Ok(pictures)
}

/// The pixel aspect at the start of the VUI (ITU-T H.265 section E.2.1).
fn aspect(bits: &mut Bits<'_>) -> Result<Option<(u32, u32)>, Unreadable> {
    const EXTENDED: u8 = 255;
    if !bits.read_bit("aspect_ratio_info_present_flag")? {
        return Ok(None);
    }
    let aspect = match bits.read_to::<u8>("aspect_ratio_idc")? {
        0 => None,
        EXTENDED => Some((
            bits.read::<16, u32>("sar_width")?,
            bits.read::<16, u32>("sar_height")?,
        )),
        index => ASPECTS.get(usize::from(index) - 1).copied(),
    };
    Ok(aspect.filter(|&(width, height)| width > 0 && height > 0))
}

/// An Exp-Golomb code that must not be above `max`.
fn at_most(bits: &mut Bits<'_>, max: u32) -> Result<u32, Unreadable> {
    let value = bits.read_ue("bounded")?;
    (value <= max).then_some(value).ok_or(Unreadable)
}
