//! The intake of streams whose parameter sets come with key frames.

use std::marker::PhantomData;

use bytes::{Bytes, BytesMut};

use super::{Framing, ParameterSets, Role, Syntax, entry, header_units, is_slice, key};
use crate::media::format::annexb;
use crate::media::format::codec::{Intake, video::Picture};
use crate::media::format::rendition::{FrameError, Rendition};

/// The intake of byte-stream and of length-prefixed frames with parameter sets in band.
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
        let mut intake = Self {
            framing,
            picture,
            sets,
            current: None,
            rendition: None,
            reorder_depth: None,
            syntax: PhantomData,
        };
        intake.describe();
        intake
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
    /// When it is a key frame and there are none to give.
    fn missing(&mut self, key_frame: bool, carried: bool) -> Result<bool, FrameError> {
        if !key_frame {
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

    fn prepare_annexb(&mut self, payload: Bytes, key_frame: bool) -> Result<Bytes, FrameError> {
        let nals = header_units::<S>(&payload).map(|unit| unit.nal());
        let carried = self.sets.observe::<S>(nals, key_frame);
        if !annexb::units(&payload).any(|unit| is_slice::<S>(unit.header)) {
            return Err(FrameError::NoPicture);
        }
        if !self.missing(key_frame, carried)? {
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
        key_frame: bool,
    ) -> Result<Bytes, FrameError> {
        let nals = annexb::prefixed(&payload, length_size).collect::<Result<Vec<_>, _>>()?;
        let carried = self.sets.observe::<S>(nals.iter().copied(), key_frame);
        if !nals.iter().any(|nal| is_slice::<S>(nal[0])) {
            return Err(FrameError::NoPicture);
        }
        let mut missing = self.missing(key_frame, carried)?;
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

impl<S: Syntax> Intake for InBand<S> {
    fn rendition(&self) -> Option<&Rendition> {
        self.rendition.as_ref()
    }

    fn prepare(&mut self, payload: Bytes, key_frame: bool) -> Result<Bytes, FrameError> {
        match self.framing {
            Framing::AnnexB => self.prepare_annexb(payload, key_frame),
            Framing::Prefixed { length_size } => {
                self.prepare_prefixed(payload, length_size, key_frame)
            }
        }
    }

    fn reorder_depth(&self) -> Option<u32> {
        self.reorder_depth
    }

    fn is_key(&self, payload: &[u8], marked: bool) -> bool {
        key::is_key::<S>(self.framing, payload, marked)
    }
}
