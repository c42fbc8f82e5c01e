// SPDX-License-Identifier: MIT
//! VP9: frames and superframes in and out.

use std::io;

use bitstream_io::{BigEndian, BitRead, BitReader};
use hang::catalog::{VP9, VideoCodec, VideoConfig};

use super::video::{self, Picture};
use crate::media::format::rendition::{CapsError, FrameError, Rendition};

/// "Unspecified" for colour primaries, transfer and matrix (ITU-T H.273).
const UNSPECIFIED: u8 = 2;

/// Levels in the catalog's notation with their largest luma samples per second and per picture
/// (VP9 Bitstream & Decoding Process Specification, Annex A).
const LEVELS: [(u8, u64, u64); 14] = [
    (10, 829_440, 36_864),
    (11, 2_764_800, 73_728),
    (20, 4_608_000, 122_880),
    (21, 9_216_000, 245_760),
    (30, 20_736_000, 552_960),
    (31, 36_864_000, 983_040),
    (40, 83_558_400, 2_228_224),
    (41, 160_432_128, 2_228_224),
    (50, 311_951_360, 8_912_896),
    (51, 588_251_136, 8_912_896),
    (52, 1_176_502_272, 8_912_896),
    (60, 1_176_502_272, 35_651_584),
    (61, 2_353_004_544, 35_651_584),
    (62, 4_706_009_088, 35_651_584),
];

pub(super) fn caps(rendition: &Rendition) -> Result<gst::Caps, CapsError> {
    let Rendition::Video(
        config @ VideoConfig {
            codec: VideoCodec::VP9(vp9),
            ..
        },
    ) = rendition
    else {
        return Err(CapsError::broken("The entry is not a VP9 entry."));
    };
    let profile = vp9.profile;
    if profile > 3 {
        return Err(CapsError::broken(format!(
            "The catalog states VP9 profile {profile}, which does not exist."
        )));
    }
    let picture = Picture::from_config(config, None)?;
    let chroma = match vp9.chroma_subsampling {
        0 | 1 => Some("4:2:0"),
        2 => Some("4:2:2"),
        3 => Some("4:4:4"),
        4 => Some("4:4:0"),
        _ => None,
    };
    let mut structure = gst::Structure::new_empty("video/x-vp9");
    structure.set("profile", profile.to_string());
    video::fill_samples(&mut structure, chroma, vp9.bit_depth);
    // mp4mux of GStreamer 1.22 crashes on 4:2:0 without a chroma-site.
    if let Some(site) = ["mpeg2", "cosited"].get(usize::from(vp9.chroma_subsampling)) {
        structure.set("chroma-site", site);
    }
    Ok(picture.into_caps(structure))
}

/// The catalog entry if this is a keyframe, or a superframe that begins with one.
pub(super) fn describe(frame: &[u8], picture: Picture) -> Result<Option<Rendition>, FrameError> {
    const DAMAGED: FrameError = FrameError::Damaged("VP9 frame header");
    // frame_marker and frame_sync_code, section 7.2 of the specification.
    if frame.first().is_none_or(|first| first >> 6 != 0b10) {
        return Err(DAMAGED);
    }
    let Some(key) = Header::read(frame).map_err(|_| DAMAGED)? else {
        return Ok(None);
    };
    if key.sync_code != 0x49_8342 {
        return Err(DAMAGED);
    }
    let mut codec = key.codec;
    codec.level = level(key.size, picture.framerate);
    video::describe(VideoConfig::new(codec), picture, key.size)
        .map(Some)
        .ok_or(DAMAGED)
}

/// What the uncompressed header of a keyframe says (section 6.2 of the specification).
struct Header {
    sync_code: u32,
    codec: VP9,
    size: [u32; 2],
}

impl Header {
    /// `None` for a frame that is no keyframe.
    fn read(frame: &[u8]) -> io::Result<Option<Self>> {
        let mut bits = BitReader::endian(frame, BigEndian);
        bits.skip(2)?; // frame_marker
        // The low bit comes first.
        let profile = u8::from(bits.read_bit()?) | u8::from(bits.read_bit()?) << 1;
        if profile == 3 {
            bits.skip(1)?; // reserved_zero
        }
        let show_existing_frame = bits.read_bit()?;
        if show_existing_frame || bits.read_bit()? {
            return Ok(None);
        }
        bits.skip(2)?; // show_frame and error_resilient_mode
        let sync_code = bits.read::<24, u32>()?;
        let codec = color_config(&mut bits, profile)?;
        let width = bits.read::<16, u32>()? + 1;
        let height = bits.read::<16, u32>()? + 1;
        Ok(Some(Self {
            sync_code,
            codec,
            size: [width, height],
        }))
    }
}

/// Profile, samples and colours, without a level (section 6.2.2).
fn color_config(bits: &mut impl BitRead, profile: u8) -> io::Result<VP9> {
    const CS_RGB: u8 = 7;
    let bit_depth = match profile {
        0 | 1 => 8,
        _ if bits.read_bit()? => 12,
        _ => 10,
    };
    let color_space = bits.read::<3, u8>()?;
    let full_range = color_space == CS_RGB || bits.read_bit()?;
    // Profiles 1 and 3 are those of other sampling than 4:2:0.
    let chroma_subsampling = if profile & 1 == 0 {
        1
    } else {
        let coarse = match color_space {
            CS_RGB => (false, false),
            _ => (bits.read_bit()?, bits.read_bit()?),
        };
        bits.skip(1)?; // reserved_zero
        // The numbers of the vpcC box (VP codec ISO media file format binding).
        match coarse {
            (true, true) => 1,
            (true, false) => 2,
            (false, false) => 3,
            (false, true) => 4,
        }
    };
    Ok(VP9 {
        profile,
        level: 0,
        bit_depth,
        chroma_subsampling,
        color_primaries: UNSPECIFIED,
        transfer_characteristics: UNSPECIFIED,
        matrix_coefficients: matrix(color_space),
        full_range,
    })
}

/// The matrix of a `color_space` (section 7.2.2) in the numbers of ITU-T H.273.
fn matrix(color_space: u8) -> u8 {
    match color_space {
        1 => 5,
        2 => 1,
        3 => 6,
        4 => 7,
        5 => 9,
        7 => 0,
        _ => UNSPECIFIED,
    }
}

/// The least level for a picture and its frame rate; the stream itself does not say.
fn level(size: [u32; 2], framerate: Option<gst::Fraction>) -> u8 {
    let samples = u64::from(size[0]) * u64::from(size[1]);
    let rate = framerate.map_or(0, |rate| {
        // Both are above zero in a picture.
        let (numer, denom) = (rate.numer().unsigned_abs(), rate.denom().unsigned_abs());
        samples.saturating_mul(numer.into()) / u64::from(denom.max(1))
    });
    let fits =
        |&&(_, most_a_second, most): &&(u8, u64, u64)| samples <= most && rate <= most_a_second;
    LEVELS.iter().find(fits).map_or(62, |&(level, ..)| level)
}
