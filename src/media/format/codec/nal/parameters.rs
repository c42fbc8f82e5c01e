//! Parameter sets: those of a record, and the ones that came in band.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use h264_reader::rbsp::{BitReader, ByteReader};

use super::{Role, Syntax};
use crate::media::format::annexb;
use crate::media::format::codec::video::Picture;

/// Longest parameter set in bytes; records have 16 bits for the length.
const MAX_LENGTH: usize = 65_535;

/// The kinds of parameter sets, in the order in which decoders want them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::media::format::codec) enum Set {
    Vps,
    Sps,
    Pps,
}

/// A decoder configuration record.
#[derive(Debug)]
pub(in crate::media::format::codec) struct Record<P> {
    /// What it says of profile and level.
    pub(in crate::media::format::codec) profile: P,
    /// Bytes of the length before each NAL unit, 1 to 4.
    pub(in crate::media::format::codec) length_size: usize,
    /// The parameter sets, which may also be in band alone.
    pub(in crate::media::format::codec) sets: ParameterSets,
}

/// What is used of a sequence parameter set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::media::format::codec) struct Sps<P> {
    /// Profile, constraint flags and level.
    pub(in crate::media::format::codec) profile: P,
    /// Cropped size and pixel aspect; empty when the rest of the SPS does not parse, since many
    /// streams exceed the limits of their own level and are decoded all the same.
    pub(in crate::media::format::codec) picture: Picture,
    /// Frames by which decode order may differ from presentation order, if it is known.
    pub(in crate::media::format::codec) reorder_depth: Option<u32>,
}

/// Reads the payload of a NAL unit bit by bit.
pub(in crate::media::format::codec) type Bits<'a> = BitReader<ByteReader<&'a [u8]>>;

/// The bits of a NAL unit after its header.
pub(in crate::media::format::codec) fn bits<S: Syntax>(nal: &[u8]) -> Bits<'_> {
    BitReader::new(ByteReader::skipping_bytes(nal, S::HEADER))
}

/// Takes a NAL unit with 16 bits of length before it.
pub(in crate::media::format::codec) fn sized<'a>(data: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = data.split_first_chunk::<2>()?;
    let (nal, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
    *data = rest;
    Some(nal)
}

/// The parameter sets that are in force, by their ids.
#[derive(Clone, Debug, Default)]
pub(in crate::media::format::codec) struct ParameterSets(BTreeMap<(Set, u32), Bytes>);

impl ParameterSets {
    /// Remembers the parameter sets of one frame and says whether it has all kinds. Those of a key
    /// frame replace all earlier ones of their kind.
    pub(super) fn observe<'a, S: Syntax>(
        &mut self,
        nals: impl Iterator<Item = &'a [u8]>,
        key_frame: bool,
    ) -> bool {
        let mut seen = Self::default();
        nals.for_each(|nal| seen.insert::<S>(nal));
        let complete = seen.is_complete::<S>();
        if key_frame {
            self.0.retain(|&(set, _), _| !seen.has(set));
        }
        self.0.append(&mut seen.0);
        complete
    }

    /// Remembers one NAL unit if it is a parameter set.
    pub(in crate::media::format::codec) fn insert<S: Syntax>(&mut self, nal: &[u8]) {
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
    pub(super) fn is_complete<S: Syntax>(&self) -> bool {
        S::SETS.iter().all(|&set| self.has(set))
    }

    /// The SPS with the lowest id.
    pub(super) fn first_sps(&self) -> Option<&Bytes> {
        let mut sps = self.0.range((Set::Sps, 0)..=(Set::Sps, u32::MAX));
        sps.next().map(|(_, nal)| nal)
    }

    /// Appends all of them with start codes, in the order of their kinds.
    pub(super) fn push_to(&self, out: &mut BytesMut) {
        self.0.values().for_each(|nal| annexb::push(out, nal));
    }

    /// Bytes that [`push_to`](Self::push_to) appends.
    pub(super) fn annexb_len(&self) -> usize {
        let length = |nal: &Bytes| annexb::START_CODE.len() + nal.len();
        self.0.values().map(length).sum()
    }
}
