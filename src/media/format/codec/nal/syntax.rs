// SPDX-License-Identifier: MIT
//! The syntax that H.264 and H.265 share: roles of NAL units, records, and parameter sets.

use std::{collections::BTreeMap, fmt, num::NonZeroUsize};

use bytes::{Bytes, BytesMut};
use h264_reader::rbsp::{BitReader, ByteReader};
use hang::catalog::VideoCodec;

use crate::media::format::{
    annexb::{self, Unit},
    codec::video::Picture,
    rendition::CapsError,
};

/// Longest parameter set in bytes; records have 16 bits for the length.
const MAX_LENGTH: usize = 65_535;

/// What a NAL unit is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A part of the picture itself.
    Slice,
    /// Supplemental enhancement information before the picture.
    Sei,
    /// An access unit delimiter.
    Delimiter,
    /// A parameter set.
    Parameters(Set),
    /// Anything else.
    Other,
}

/// What tells one codec from the other.
pub(crate) trait Syntax: fmt::Debug + Send + 'static {
    /// Profile, constraint flags and level as the record and the SPS have them.
    type Profile: Copy + fmt::Debug + Send;

    /// Name for people.
    const NAME: &'static str;
    /// Media type of the caps.
    const MEDIA_TYPE: &'static str;
    /// The parser element that makes any stream fit.
    const PARSER: &'static str;
    /// Name of the record that codec_data holds.
    const RECORD: &'static str;
    /// The stream-format with all parameter sets in codec_data.
    const OUT_OF_BAND: &'static str;
    /// The stream-format with length prefixes and parameter sets in band.
    const IN_BAND: &'static str;
    /// Bytes of a NAL unit's header.
    const HEADER: NonZeroUsize;
    /// The kinds of parameter sets without which nothing can be decoded.
    const SETS: &'static [Set];

    /// What a NAL unit is for, by the first byte of its header.
    fn role(header: u8) -> Role;

    /// Whether decoders can begin with a picture that has no recovery point, by its first slice;
    /// `marked` says that upstream takes it for a keyframe.
    fn is_random_access(slice: &[u8], marked: bool) -> bool;

    /// The id of a parameter set among those of its kind.
    fn set_id(set: Set, nal: &[u8]) -> Option<u32>;

    /// Reads an SPS; `None` when it is too short for a profile.
    fn sps(nal: &[u8]) -> Option<Sps<Self::Profile>>;

    /// Reads the record; `None` when it is cut short or of another version.
    fn record(data: &[u8]) -> Option<Record<Self::Profile>>;

    /// The profile in a codec string; `None` for another codec.
    fn profile(codec: &VideoCodec) -> Option<Self::Profile>;

    /// The codec string.
    fn codec(profile: Self::Profile, in_band: bool) -> VideoCodec;

    /// Whether the profile excludes reordering.
    fn never_reorders(profile: Self::Profile) -> bool;

    /// Writes profile and level into caps, as far as they have a name in GStreamer.
    fn fill_caps(caps: &mut gst::CapsRef, profile: Self::Profile);
}

/// How the NAL units of a frame are told apart.
#[derive(Clone, Copy, Debug)]
pub(super) enum Framing {
    AnnexB,
    Prefixed { length_size: usize },
}

/// The kinds of parameter sets, in the order in which decoders want them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Set {
    Vps,
    Sps,
    Pps,
}

/// A decoder configuration record.
#[derive(Debug)]
pub(crate) struct Record<P> {
    /// What it says of profile and level.
    pub(crate) profile: P,
    /// Bytes of the length before each NAL unit, 1 to 4.
    pub(crate) length_size: usize,
    /// The parameter sets, which may also be in band alone.
    pub(crate) sets: ParameterSets,
}

/// What is used of a sequence parameter set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sps<P> {
    /// Profile, constraint flags and level.
    pub(crate) profile: P,
    /// Cropped size and pixel aspect; empty when the rest of the SPS does not parse, since many
    /// streams exceed the limits of their own level and are decoded all the same.
    pub(crate) picture: Picture,
    /// Frames by which decode order may differ from presentation order, if it is known.
    pub(crate) reorder_depth: Option<u32>,
}

/// Reads the payload of a NAL unit bit by bit.
pub(crate) type Bits<'a> = BitReader<ByteReader<&'a [u8]>>;

/// The bits of a NAL unit after its header.
pub(crate) fn bits<S: Syntax>(nal: &[u8]) -> Bits<'_> {
    BitReader::new(ByteReader::skipping_bytes(nal, S::HEADER))
}

/// Takes a NAL unit with 16 bits of length before it.
pub(crate) fn sized<'a>(data: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = data.split_first_chunk::<2>()?;
    let (nal, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
    *data = rest;
    Some(nal)
}

/// The parameter sets that are in force, by their ids.
#[derive(Clone, Debug, Default)]
pub(crate) struct ParameterSets(BTreeMap<(Set, u32), Bytes>);

impl ParameterSets {
    /// Remembers the parameter sets of one frame and says whether it has all kinds. Those of a key
    /// frame replace all earlier ones of their kind.
    pub(super) fn observe<'a, S: Syntax>(
        &mut self,
        nals: impl Iterator<Item = &'a [u8]>,
        keyframe: bool,
    ) -> bool {
        let mut seen = Self::default();
        nals.for_each(|nal| seen.insert::<S>(nal));
        let complete = seen.is_complete::<S>();
        if keyframe {
            self.0.retain(|&(set, _), _| !seen.has(set));
        }
        self.0.append(&mut seen.0);
        complete
    }

    /// Remembers one NAL unit if it is a parameter set.
    pub(crate) fn insert<S: Syntax>(&mut self, nal: &[u8]) {
        let role = nal.first().map(|&header| S::role(header));
        if let Some(Role::Parameters(set)) = role
            && nal.len() <= MAX_LENGTH
            && let Some(id) = S::set_id(set, nal)
        {
            self.0.insert((set, id), Bytes::copy_from_slice(nal));
        }
    }

    fn has(&self, set: Set) -> bool {
        self.0.range((set, 0)..=(set, u32::MAX)).next().is_some()
    }

    /// Whether there is one of each kind that decoders need.
    pub(crate) fn is_complete<S: Syntax>(&self) -> bool {
        S::SETS.iter().all(|&set| self.has(set))
    }

    /// The SPS with the lowest id.
    pub(crate) fn first_sps(&self) -> Option<&Bytes> {
        let mut sps = self.0.range((Set::Sps, 0)..=(Set::Sps, u32::MAX));
        sps.next().map(|(_, nal)| nal)
    }

    /// Appends all of them with start codes, in the order of their kinds.
    pub(crate) fn push_to(&self, out: &mut BytesMut) {
        self.0.values().for_each(|nal| annexb::push(out, nal));
    }

    /// Bytes that [`push_to`](Self::push_to) appends.
    pub(crate) fn annexb_len(&self) -> usize {
        let length = |nal: &Bytes| annexb::START_CODE.len() + nal.len();
        self.0.values().map(length).sum()
    }
}

pub(super) fn is_slice<S: Syntax>(header: u8) -> bool {
    S::role(header) == Role::Slice
}

/// The NAL units before the first slice of an Annex B frame: parameter sets cannot come after it,
/// and the slices are most of the bytes.
pub(super) fn header_units<S: Syntax>(data: &[u8]) -> impl Iterator<Item = Unit<'_>> {
    annexb::units(data).take_while(|unit| !is_slice::<S>(unit.header))
}

/// Reads the record in codec_data.
///
/// # Errors
///
/// `Broken` when it is cut short or of another version.
pub(super) fn record<S: Syntax>(data: &[u8]) -> Result<Record<S::Profile>, CapsError> {
    S::record(data).ok_or_else(|| {
        CapsError::broken(format!(
            "The {} codec_data ({}) is cut short or not of version 1; insert {}.",
            S::NAME,
            S::RECORD,
            S::PARSER
        ))
    })
}

/// The SPS of a record that must have all parameter sets.
///
/// # Errors
///
/// `Broken` when one kind is missing.
pub(super) fn first_sps<S: Syntax>(
    record: &Record<S::Profile>,
) -> Result<Sps<S::Profile>, CapsError> {
    let sps = record.sets.first_sps().and_then(|sps| S::sps(sps));
    sps.filter(|_| record.sets.is_complete::<S>())
        .ok_or_else(|| {
            CapsError::broken(format!(
                "The {} codec_data ({}) lacks usable parameter sets (needed: {:?}).",
                S::NAME,
                S::RECORD,
                S::SETS
            ))
        })
}

pub(super) fn unknown_size<S: Syntax>() -> CapsError {
    CapsError::broken(format!(
        "Nothing says how large the {} picture is.",
        S::NAME
    ))
}
