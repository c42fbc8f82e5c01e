// SPDX-License-Identifier: MIT
//! Access units of a sink pad, with parameter sets in codec_data or in band.

use std::marker::PhantomData;

use bytes::{Bytes, BytesMut};
use h264_reader::nal::sei::{HeaderType, SeiReader};
use h264_reader::rbsp::ByteReader;
use hang::catalog::VideoConfig;

use super::syntax::{
    Framing, ParameterSets, Role, Syntax, first_sps, header_units, is_slice, record, unknown_size,
};
use crate::media::format::{
    annexb::{self, Unit},
    codec::video::Picture,
    input::InputFormat,
    rendition::{CapsError, FrameError, Rendition},
};

/// Bytes of a slice that are looked at: the NAL unit header and two Exp-Golomb codes fit.
const SLICE_HEADER: usize = 16;

/// The input of a stream whose caps say all and whose frames go out as they are.
#[derive(Debug)]
pub(super) struct OutOfBand<S> {
    length_size: usize,
    rendition: Rendition,
    reorder_depth: Option<u32>,
    syntax: PhantomData<S>,
}

impl<S: Syntax> OutOfBand<S> {
    pub(super) fn new(picture: Picture, description: Bytes) -> Result<Self, CapsError> {
        let record = record::<S>(&description)?;
        let sps = first_sps::<S>(&record)?;
        let picture = picture.with_parameter_sets(sps.picture);
        if picture.size.is_none() {
            return Err(unknown_size::<S>());
        }
        Ok(Self {
            length_size: record.length_size,
            rendition: entry::<S>(record.profile, picture, Some(description)),
            reorder_depth: sps.reorder_depth,
            syntax: PhantomData,
        })
    }
}

impl<S: Syntax> InputFormat for OutOfBand<S> {
    fn rendition(&self) -> Option<&Rendition> {
        Some(&self.rendition)
    }

    fn prepare(&mut self, payload: Bytes, _keyframe: bool) -> Result<Bytes, FrameError> {
        for nal in annexb::prefixed(&payload, self.length_size) {
            if nal?.first().is_some_and(|&header| is_slice::<S>(header)) {
                return Ok(payload);
            }
        }
        Err(FrameError::NoPicture)
    }

    fn reorder_depth(&self) -> Option<u32> {
        self.reorder_depth
    }

    fn is_keyframe(&self, payload: &[u8], marked: bool) -> bool {
        let framing = Framing::Prefixed {
            length_size: self.length_size,
        };
        is_keyframe::<S>(framing, payload, marked)
    }
}

/// The input of byte-stream and of length-prefixed frames with parameter sets in band.
#[derive(Debug)]
pub(super) struct InBand<S> {
    framing: Framing,
    picture: Picture,
    sets: ParameterSets,
    /// The SPS that `rendition` was made from.
    current: Option<Bytes>,
    rendition: Option<Rendition>,
    reorder_depth: Option<u32>,
    syntax: PhantomData<S>,
}

impl<S: Syntax> InBand<S> {
    pub(super) fn new(framing: Framing, picture: Picture, sets: ParameterSets) -> Self {
        let mut input = Self {
            framing,
            picture,
            sets,
            current: None,
            rendition: None,
            reorder_depth: None,
            syntax: PhantomData,
        };
        input.describe();
        input
    }

    /// Makes the catalog entry anew when the SPS is another one.
    fn describe(&mut self) {
        let sps = self.sets.first_sps();
        if sps == self.current.as_ref() {
            return;
        }
        let Some(parsed) = sps.and_then(|sps| S::sps(sps)) else {
            return;
        };
        self.current = sps.cloned();
        let picture = self.picture.with_parameter_sets(parsed.picture);
        self.rendition = Some(entry::<S>(parsed.profile, picture, None));
        self.reorder_depth = parsed.reorder_depth;
    }

    /// Whether a frame must be given the known parameter sets; `carried` says that it has its own.
    ///
    /// # Errors
    ///
    /// When it is a keyframe and there are none to give.
    fn missing(&mut self, keyframe: bool, carried: bool) -> Result<bool, FrameError> {
        if !keyframe {
            return Ok(false);
        }
        self.describe();
        if carried {
            return Ok(false);
        }
        if self.sets.is_complete::<S>() {
            Ok(true)
        } else {
            Err(FrameError::NoParameterSets)
        }
    }

    fn prepare_annexb(&mut self, payload: Bytes, keyframe: bool) -> Result<Bytes, FrameError> {
        let nals = header_units::<S>(&payload).map(|unit| unit.nal());
        let carried = self.sets.observe::<S>(nals, keyframe);
        if !annexb::units(&payload).any(|unit| is_slice::<S>(unit.header)) {
            return Err(FrameError::NoPicture);
        }
        if !self.missing(keyframe, carried)? {
            return Ok(payload);
        }
        // An access unit delimiter stays the first NAL unit (ITU-T H.264 section 7.4.1.2.3, H.265
        // section 7.4.2.4.4).
        let mut units = annexb::units(&payload);
        let position = match units.next() {
            Some(unit) if S::role(unit.header) == Role::Delimiter => {
                units.next().map_or(payload.len(), |next| next.start)
            }
            _ => 0,
        };
        let (before, after) = payload.split_at(position);
        let mut out = BytesMut::with_capacity(payload.len() + self.sets.annexb_len());
        out.extend_from_slice(before);
        self.sets.push_to(&mut out);
        out.extend_from_slice(after);
        Ok(out.freeze())
    }

    fn prepare_prefixed(
        &mut self,
        payload: Bytes,
        length_size: usize,
        keyframe: bool,
    ) -> Result<Bytes, FrameError> {
        let nals = annexb::prefixed(&payload, length_size).collect::<Result<Vec<_>, _>>()?;
        let carried = self.sets.observe::<S>(nals.iter().copied(), keyframe);
        if !nals.iter().any(|nal| is_slice::<S>(nal[0])) {
            return Err(FrameError::NoPicture);
        }
        let mut missing = self.missing(keyframe, carried)?;
        let capacity = payload.len() + nals.len() * annexb::START_CODE.len();
        let mut out = BytesMut::with_capacity(capacity + self.sets.annexb_len());
        for nal in nals {
            if missing && S::role(nal[0]) != Role::Delimiter {
                self.sets.push_to(&mut out);
                missing = false;
            }
            annexb::push(&mut out, nal);
        }
        Ok(out.freeze())
    }
}

impl<S: Syntax> InputFormat for InBand<S> {
    fn rendition(&self) -> Option<&Rendition> {
        self.rendition.as_ref()
    }

    fn prepare(&mut self, payload: Bytes, keyframe: bool) -> Result<Bytes, FrameError> {
        match self.framing {
            Framing::AnnexB => self.prepare_annexb(payload, keyframe),
            Framing::Prefixed { length_size } => {
                self.prepare_prefixed(payload, length_size, keyframe)
            }
        }
    }

    fn reorder_depth(&self) -> Option<u32> {
        self.reorder_depth
    }

    fn is_keyframe(&self, payload: &[u8], marked: bool) -> bool {
        is_keyframe::<S>(self.framing, payload, marked)
    }
}

/// The catalog entry; the parameter sets are in band when there is no description.
fn entry<S: Syntax>(
    profile: S::Profile,
    picture: Picture,
    description: Option<Bytes>,
) -> Rendition {
    let mut config = VideoConfig::new(S::codec(profile, description.is_none()));
    config.description = description;
    picture.fill_config(&mut config);
    Rendition::Video(config)
}

/// Whether a frame is a keyframe: it has a recovery point, or its first slice says so. Nothing
/// behind that slice's header is looked at.
fn is_keyframe<S: Syntax>(framing: Framing, payload: &[u8], marked: bool) -> bool {
    match framing {
        Framing::AnnexB => begins::<S>(annexb::units(payload), marked),
        Framing::Prefixed { length_size } => {
            let nals = annexb::prefixed(payload, length_size).map_while(Result::ok);
            begins::<S>(nals.filter_map(Unit::whole), marked)
        }
    }
}

fn begins<'a, S: Syntax>(units: impl Iterator<Item = Unit<'a>>, marked: bool) -> bool {
    for unit in units {
        match S::role(unit.header) {
            Role::Slice => {
                return S::is_random_access(unit.beginning(SLICE_HEADER), marked);
            }
            Role::Sei if has_recovery_point::<S>(unit.nal()) => return true,
            _ => {}
        }
    }
    marked
}

/// Whether an SEI NAL unit has a recovery point message: where refresh without keyframes begins,
/// or an open GOP (ITU-T H.264 section D.2.8, H.265 section D.3.8; both number it 6).
fn has_recovery_point<S: Syntax>(nal: &[u8]) -> bool {
    let mut scratch = Vec::new();
    let bytes = ByteReader::skipping_bytes(nal, S::HEADER);
    let mut messages = SeiReader::from_rbsp_bytes(bytes, &mut scratch);
    while let Ok(Some(message)) = messages.next() {
        if message.payload_type == HeaderType::RecoveryPoint {
            return true;
        }
    }
    false
}
