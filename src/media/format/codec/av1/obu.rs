// SPDX-License-Identifier: MIT
//! Open bitstream units: how they are framed, and what the sequence header says. Sections are
//! those of the AV1 Bitstream & Decoding Process Specification.

use std::io;

use bitstream_io::{BigEndian, BitRead, BitReader};
use hang::catalog::AV1;

use crate::media::format::rendition::FrameError;

// obu_type, section 6.2.2.
const SEQUENCE_HEADER: u8 = 1;
const TEMPORAL_DELIMITER: u8 = 2;
const FRAME_HEADER: u8 = 3;
const FRAME: u8 = 6;

/// "Unspecified" for colour primaries, transfer and matrix (section 6.4.2).
const UNSPECIFIED: u8 = 2;

pub(super) const DAMAGED_SEQUENCE: FrameError = FrameError::Damaged("AV1 sequence header");

/// One OBU.
struct Obu<'a> {
    kind: u8,
    /// It says where it ends.
    sized: bool,
    whole: &'a [u8],
    payload: &'a [u8],
}

impl<'a> Obu<'a> {
    /// Takes the first one off `data` (section 5.3).
    fn take(data: &mut &'a [u8]) -> Option<Self> {
        let header = *data.first()?;
        let [forbidden, extended, sized] = [0x80, 0x04, 0x02].map(|bit| header & bit != 0);
        let start = if extended { 2 } else { 1 };
        let (start, length) = match sized {
            true => {
                let (length, bytes) = leb128(data.get(start..)?)?;
                (start + bytes, length)
            }
            // The last one may do without a size.
            false => (start, data.len().checked_sub(start)?),
        };
        let (whole, rest) = data.split_at_checked(start.checked_add(length)?)?;
        *data = rest;
        (!forbidden).then(|| Self {
            kind: header >> 3 & 0xf,
            sized,
            whole,
            payload: &whole[start..],
        })
    }
}

/// A number and how many bytes it takes (section 4.10.5).
fn leb128(data: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (index, &byte) in data.iter().enumerate().take(8) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, index + 1));
        }
    }
    None
}

/// A temporal unit up to its first frame.
#[derive(Debug, Default)]
pub(super) struct Head<'a> {
    /// Where the temporal delimiter ends, if there is one.
    pub(super) start: usize,
    /// The sequence header, a whole OBU.
    pub(super) sequence: Option<&'a [u8]>,
    /// The first frame without its OBU header.
    frame: Option<&'a [u8]>,
}

impl<'a> Head<'a> {
    /// # Errors
    ///
    /// When the OBUs do not fit the temporal unit.
    pub(super) fn read(unit: &'a [u8]) -> Result<Self, FrameError> {
        let mut rest = unit;
        let mut head = Self::default();
        while !rest.is_empty() && head.frame.is_none() {
            let obu = Obu::take(&mut rest).ok_or(FrameError::Damaged("AV1 OBU header"))?;
            match obu.kind {
                TEMPORAL_DELIMITER if head.start == 0 => head.start = obu.whole.len(),
                // One without a size cannot be put before anything else.
                SEQUENCE_HEADER if obu.sized => head.sequence = Some(obu.whole),
                FRAME_HEADER | FRAME => head.frame = Some(obu.payload),
                _ => {}
            }
        }
        Ok(head)
    }

    /// Whether its first frame is a keyframe that is shown at once; `sequence` is the sequence
    /// header before it.
    pub(super) fn is_keyframe(&self, sequence: Option<&[u8]>) -> bool {
        let Some(&first) = self.frame.and_then(<[u8]>::first) else {
            return false;
        };
        // show_existing_frame 0, frame_type KEY_FRAME, show_frame 1 (section 5.9.2).
        first & 0xf0 == 0x10 || self.sequence.or(sequence).is_some_and(is_reduced)
    }
}

/// Whether a sequence header says `reduced_still_picture_header`: then all frames are keyframes.
fn is_reduced(mut sequence: &[u8]) -> bool {
    let payload = Obu::take(&mut sequence).map(|obu| obu.payload);
    payload.is_some_and(|payload| payload.first().is_some_and(|first| first & 0x08 != 0))
}

/// What the catalog says of a sequence header.
#[derive(Debug, PartialEq)]
pub(super) struct Sequence {
    pub(super) codec: AV1,
    /// Width and height of the largest frame.
    pub(super) size: [u32; 2],
}

impl Sequence {
    /// Reads a whole OBU. (The parser of scuffle-av1 0.1 overflows on long runs of zero bits, which
    /// is a panic where overflow is checked.)
    ///
    /// # Errors
    ///
    /// When it is cut short or of a profile that does not exist.
    pub(super) fn parse(mut obu: &[u8]) -> Result<Self, FrameError> {
        let payload = Obu::take(&mut obu).map(|obu| obu.payload);
        let sequence = payload.and_then(|payload| Self::read(payload).ok());
        sequence
            .filter(|sequence| sequence.codec.profile <= 2)
            .ok_or(DAMAGED_SEQUENCE)
    }

    /// sequence_header_obu(), section 5.5.1.
    fn read(payload: &[u8]) -> io::Result<Self> {
        let mut bits = BitReader::endian(payload, BigEndian);
        let profile = bits.read::<3, u8>()?;
        bits.skip(1)?; // still_picture
        let reduced = bits.read_bit()?;
        let (level, high_tier) = match reduced {
            true => (bits.read::<5, u8>()?, false),
            false => operating_points(&mut bits)?,
        };
        let size_bits = [bits.read::<4, u32>()? + 1, bits.read::<4, u32>()? + 1];
        let size = [
            bits.read_var::<u32>(size_bits[0])? + 1,
            bits.read_var::<u32>(size_bits[1])? + 1,
        ];
        let frame_ids = !reduced && bits.read_bit()?;
        if frame_ids {
            bits.skip(7)?; // their lengths
        }
        bits.skip(3)?; // 128x128 superblocks, filter intra, intra edge filter
        if !reduced {
            skip_inter_tools(&mut bits)?;
        }
        bits.skip(3)?; // superres, cdef, restoration
        let codec = color_config(&mut bits, profile)?;
        Ok(Self {
            codec: AV1 {
                profile,
                level,
                tier: if high_tier { 'H' } else { 'M' },
                ..codec
            },
            size,
        })
    }
}

/// Level and tier of the first operating point, with all that comes before the picture size.
fn operating_points(bits: &mut impl BitRead) -> io::Result<(u8, bool)> {
    let mut delay_bits = None;
    let timing_info = bits.read_bit()?;
    if timing_info {
        bits.skip(64)?; // num_units_in_display_tick and time_scale
        let equal_picture_interval = bits.read_bit()?;
        if equal_picture_interval {
            skip_uvlc(bits)?; // num_ticks_per_picture_minus_1
        }
        let decoder_model_info = bits.read_bit()?;
        if decoder_model_info {
            delay_bits = Some(bits.read::<5, u32>()? + 1);
            bits.skip(42)?; // the rest of decoder_model_info
        }
    }
    let display_delays = bits.read_bit()?;
    let count = bits.read::<5, u8>()? + 1;
    let mut first = None;
    for _ in 0..count {
        bits.skip(12)?; // operating_point_idc
        let level = bits.read::<5, u8>()?;
        let high_tier = level > 7 && bits.read_bit()?;
        if let Some(delay_bits) = delay_bits
            && bits.read_bit()?
        // decoder_model_present_for_this_op
        {
            bits.skip(2 * delay_bits + 1)?; // operating_parameters_info
        }
        let display_delay = display_delays && bits.read_bit()?;
        if display_delay {
            bits.skip(4)?; // initial_display_delay_minus_1
        }
        first.get_or_insert((level, high_tier));
    }
    Ok(first.unwrap_or_default())
}

/// uvlc(), section 4.10.3.
fn skip_uvlc(bits: &mut impl BitRead) -> io::Result<()> {
    match bits.read_unary::<1>()? {
        zeros @ ..32 => bits.skip(zeros),
        _ => Ok(()),
    }
}

/// From `enable_interintra_compound` to `order_hint_bits_minus_1`.
fn skip_inter_tools(bits: &mut impl BitRead) -> io::Result<()> {
    bits.skip(4)?; // interintra, masked compound, warped motion, dual filter
    let order_hint = bits.read_bit()?;
    if order_hint {
        bits.skip(2)?; // jnt_comp and ref_frame_mvs
    }
    let choose_screen_content = bits.read_bit()?;
    let screen_content = choose_screen_content || bits.read_bit()?;
    let force_integer_mv = screen_content && !bits.read_bit()?;
    if force_integer_mv {
        bits.skip(1)?; // seq_force_integer_mv
    }
    if order_hint {
        bits.skip(3)?; // order_hint_bits_minus_1
    }
    Ok(())
}

/// color_config(), section 5.5.2.
fn color_config(bits: &mut impl BitRead, profile: u8) -> io::Result<AV1> {
    let high = bits.read_bit()?;
    let bitdepth = match (high, profile) {
        (true, 2) if bits.read_bit()? => 12,
        (true, _) => 10,
        (false, _) => 8,
    };
    let mono_chrome = profile != 1 && bits.read_bit()?;
    let mut colors = [UNSPECIFIED; 3];
    let color_description = bits.read_bit()?;
    if color_description {
        for color in &mut colors {
            *color = bits.read::<8, u8>()?;
        }
    }
    // BT.709 primaries, sRGB transfer and identity matrix are RGB, which is full range and 4:4:4.
    let rgb = colors == [1, 13, 0] && !mono_chrome;
    let full_range = rgb || bits.read_bit()?;
    let (x, y) = match (profile, bitdepth) {
        _ if mono_chrome => (true, true),
        _ if rgb => (false, false),
        (0, _) => (true, true),
        (1, _) => (false, false),
        (_, 12) => {
            let x = bits.read_bit()?;
            (x, x && bits.read_bit()?)
        }
        _ => (true, false),
    };
    let position = match x && y && !mono_chrome {
        true => bits.read::<2, u8>()?,
        false => 0,
    };
    // The catalog's codec string has two digits, and none above is assigned (ITU-T H.273).
    let [primaries, transfer, matrix] = colors.map(|color| match color {
        0..=99 => color,
        _ => UNSPECIFIED,
    });
    Ok(AV1 {
        bitdepth,
        mono_chrome,
        chroma_subsampling_x: x,
        chroma_subsampling_y: y,
        chroma_sample_position: position,
        color_primaries: primaries,
        transfer_characteristics: transfer,
        matrix_coefficients: matrix,
        full_range,
        ..AV1::default()
    })
}
