//! Parameter sets of H.264: the avcC record, the SPS, and the ones that came in band.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use h264_reader::nal::sps::{PicOrderCntType, SeqParameterSet};
use h264_reader::rbsp::{BitRead, BitReader, ByteReader};

use crate::media::annexb;
use crate::media::codec::video::{self, Picture};
use crate::media::rendition::CapsError;

/// Most frames that a decoder may hold back (MaxDpbFrames, ITU-T H.264 section A.3.1).
const MAX_DPB_FRAMES: u32 = 16;

// nal_unit_type, ITU-T H.264 table 7-1.
const SPS: u8 = 7;
const PPS: u8 = 8;
const DELIMITER: u8 = 9;

fn nal_unit_type(header: u8) -> u8 {
    header & 0x1f
}

/// Whether a NAL unit is part of the picture itself.
pub(super) fn is_slice(header: u8) -> bool {
    (1..=5).contains(&nal_unit_type(header))
}

/// Whether a NAL unit is an access unit delimiter.
pub(super) fn is_delimiter(header: u8) -> bool {
    nal_unit_type(header) == DELIMITER
}

/// An AVCDecoderConfigurationRecord (ISO/IEC 14496-15 section 5.3.3.1.2).
#[derive(Debug)]
pub(super) struct Avcc {
    /// Profile, constraint flags and level.
    pub(super) declared: [u8; 3],
    /// Bytes of the length before each NAL unit, 1 to 4.
    pub(super) length_size: usize,
    /// The parameter sets; avc3 may have none.
    pub(super) sets: ParameterSets,
}

impl Avcc {
    /// Reads a record. (The one of moq-mux 0.10 overflows on a damaged SPS, which is a panic where
    /// overflow is checked.)
    ///
    /// # Errors
    ///
    /// `Broken` when it is cut short or of another version.
    pub(super) fn parse(data: &[u8]) -> Result<Self, CapsError> {
        Self::read(data).ok_or_else(|| {
            CapsError::broken("The H.264 codec_data (avcC) is cut short or not of version 1.")
        })
    }

    fn read(data: &[u8]) -> Option<Self> {
        let (&[version, profile, constraints, level, sizes, count], mut rest) =
            data.split_first_chunk::<6>()?;
        if version != 1 {
            return None;
        }
        let mut sets = ParameterSets::default();
        for _ in 0..count & 0x1f {
            sets.insert(sized(&mut rest)?);
        }
        let (&count, mut rest) = rest.split_first()?;
        for _ in 0..count {
            sets.insert(sized(&mut rest)?);
        }
        Some(Self {
            declared: [profile, constraints, level],
            length_size: usize::from(sizes & 3) + 1,
            sets,
        })
    }

    /// The SPS, which a record for avc must have, and a PPS beside it.
    ///
    /// # Errors
    ///
    /// `Broken` without them.
    pub(super) fn first_sps(&self) -> Result<Sps, CapsError> {
        let sps = self.sets.first_sps().and_then(Sps::parse);
        sps.filter(|_| self.sets.is_complete()).ok_or_else(|| {
            CapsError::broken("The H.264 codec_data (avcC) has no usable SPS and PPS.")
        })
    }
}

/// A NAL unit with 16 bits of length before it.
fn sized<'a>(data: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = data.split_first_chunk::<2>()?;
    let (nal, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
    *data = rest;
    Some(nal)
}

/// What is used of a sequence parameter set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sps {
    /// Profile, constraint flags and level.
    pub(super) declared: [u8; 3],
    /// Cropped size and pixel aspect; empty when the rest of the SPS does not parse, since many
    /// streams exceed the limits of their own level and are decoded all the same.
    pub(super) picture: Picture,
    /// Frames by which decode order may differ from presentation order, if it is known.
    pub(super) reorder_depth: Option<u32>,
}

impl Sps {
    /// Reads an SPS NAL unit with its header byte; `None` when it is too short for a profile.
    pub(super) fn parse(nal: impl AsRef<[u8]>) -> Option<Self> {
        let nal = nal.as_ref();
        let declared: [u8; 3] = nal.get(1..4)?.try_into().ok()?;
        let bits = BitReader::new(ByteReader::skipping_h264_header(nal));
        let fallback = never_reorders(declared[0], declared[1]).then_some(0);
        let Ok(sps) = SeqParameterSet::from_bits(bits) else {
            return Some(Self {
                declared,
                picture: Picture::default(),
                reorder_depth: fallback,
            });
        };
        let size = sps.pixel_dimensions().ok();
        let vui = sps.vui_parameters.as_ref();
        let aspect = vui.and_then(|vui| vui.aspect_ratio_info.as_ref()?.get());
        Some(Self {
            declared,
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

/// Whether a profile and its constraint flags exclude B slices: Baseline, what obeys Baseline
/// (constraint_set0), what has no B slices (constraint_set5) or only intra pictures
/// (constraint_set3 and CAVLC 4:4:4 Intra): ITU-T H.264 sections 7.4.2.1.1 and E.2.1.
pub(super) fn never_reorders(profile: u8, constraints: u8) -> bool {
    let set = |index: u8| constraints & (0x80 >> index) != 0;
    match profile {
        66 | 44 => true,
        77 | 88 => set(0) || set(5),
        100 => set(3) || set(5),
        110 | 122 | 244 => set(3),
        _ => false,
    }
}

/// The parameter sets that are in force, by their ids.
#[derive(Clone, Debug, Default)]
pub(super) struct ParameterSets {
    sps: BTreeMap<u32, Bytes>,
    pps: BTreeMap<u32, Bytes>,
}

impl ParameterSets {
    /// Remembers the parameter sets of one frame and says whether it has both an SPS and a PPS.
    /// Those of a key frame replace all earlier ones of their type.
    pub(super) fn observe<'a>(
        &mut self,
        nals: impl Iterator<Item = &'a [u8]>,
        key_frame: bool,
    ) -> bool {
        let mut seen = Self::default();
        nals.for_each(|nal| seen.insert(nal));
        let complete = seen.is_complete();
        if key_frame && !seen.sps.is_empty() {
            self.sps.clear();
        }
        if key_frame && !seen.pps.is_empty() {
            self.pps.clear();
        }
        self.sps.append(&mut seen.sps);
        self.pps.append(&mut seen.pps);
        complete
    }

    /// Remembers one NAL unit if it is a parameter set.
    fn insert(&mut self, nal: &[u8]) {
        let Some(&header) = nal.first() else {
            return;
        };
        // An SPS has profile, flags and level before its id, and there are 32 ids; a PPS begins
        // with its id, of 256 (ITU-T H.264 sections 7.4.2.1.1 and 7.4.2.2).
        let (sets, skipped, ids) = match nal_unit_type(header) {
            SPS => (&mut self.sps, 24, 32),
            PPS => (&mut self.pps, 0, 256),
            _ => return,
        };
        let mut bits = BitReader::new(ByteReader::skipping_h264_header(nal));
        if bits.skip(skipped, "before the id").is_err() {
            return;
        }
        if let Some(id) = bits.read_ue("id").ok().filter(|&id| id < ids) {
            sets.insert(id, Bytes::copy_from_slice(nal));
        }
    }

    /// Whether there are both an SPS and a PPS.
    pub(super) fn is_complete(&self) -> bool {
        !self.sps.is_empty() && !self.pps.is_empty()
    }

    /// The SPS with the lowest id.
    pub(super) fn first_sps(&self) -> Option<&Bytes> {
        self.sps.values().next()
    }

    /// Appends all of them with start codes, each SPS before any PPS.
    pub(super) fn push_to(&self, out: &mut BytesMut) {
        self.iter().for_each(|nal| annexb::push(out, nal));
    }

    /// Bytes that [`push_to`](Self::push_to) appends.
    pub(super) fn annexb_len(&self) -> usize {
        let length = |nal: &Bytes| annexb::START_CODE.len() + nal.len();
        self.iter().map(length).sum()
    }

    fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.sps.values().chain(self.pps.values())
    }
}
