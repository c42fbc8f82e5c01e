//! What H.264 and H.265 have in common: access units made of NAL units, with parameter sets in
//! codec_data or in band.

mod in_band;
mod key;
mod parameters;

use std::{fmt, marker::PhantomData, num::NonZeroUsize};

use bytes::Bytes;
use hang::catalog::{VideoCodec, VideoConfig};

pub(super) use self::parameters::{Bits, ParameterSets, Record, Set, Sps, bits, sized};

use self::in_band::InBand;
use super::video::Picture;
use super::{Intake, field};
use crate::media::format::annexb::{self, Unit};
use crate::media::format::rendition::{CapsError, FrameError, Rendition};

/// What a NAL unit is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
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
pub(super) trait Syntax: fmt::Debug + Send + 'static {
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
    /// `marked` says that upstream takes it for a key frame.
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
enum Framing {
    AnnexB,
    Prefixed { length_size: usize },
}

pub(super) fn takes<S: Syntax>(structure: &gst::StructureRef) -> bool {
    structure.name() == S::MEDIA_TYPE
}

pub(super) fn carries<S: Syntax>(rendition: &Rendition) -> bool {
    config::<S>(rendition).is_some()
}

pub(super) fn intake<S: Syntax>(
    structure: &gst::StructureRef,
) -> Result<Box<dyn Intake>, CapsError> {
    let (name, parser) = (S::NAME, S::PARSER);
    let alignment = structure.get::<&str>("alignment").unwrap_or_default();
    if alignment != "au" {
        return Err(CapsError::unsupported(format!(
            "{name} with alignment={alignment:?} is not supported; insert {parser}, which makes whole access units."
        )));
    }
    let picture = Picture::from_caps(structure)?;
    let codec_data = field::codec_data(structure)?;
    let format = field::stream_format(structure);
    if format == S::OUT_OF_BAND {
        let description = codec_data.ok_or_else(|| {
            CapsError::broken(format!(
                "{name} with stream-format={format} needs codec_data in the caps; insert {parser} before it."
            ))
        })?;
        Ok(Box::new(OutOfBand::<S>::new(picture, description)?))
    } else if format == S::IN_BAND {
        let record = codec_data.as_deref().map(record::<S>).transpose()?;
        // Without a record the length can only be guessed, and four bytes are usual.
        let length_size = record.as_ref().map_or(4, |record| record.length_size);
        let sets = record.map(|record| record.sets).unwrap_or_default();
        let framing = Framing::Prefixed { length_size };
        Ok(Box::new(InBand::<S>::new(framing, picture, sets)))
    } else if format == "byte-stream" {
        // Byte-stream needs no codec_data, so one that is no record is not an error.
        let record = codec_data.as_deref().and_then(S::record);
        let sets = record.map(|record| record.sets).unwrap_or_default();
        Ok(Box::new(InBand::<S>::new(Framing::AnnexB, picture, sets)))
    } else {
        Err(CapsError::unsupported(format!(
            "{name} with stream-format={format:?} is not supported; insert {parser}."
        )))
    }
}

pub(super) fn caps<S: Syntax>(rendition: &Rendition) -> Result<gst::Caps, CapsError> {
    let (config, mut profile) = config::<S>(rendition)
        .ok_or_else(|| CapsError::broken(format!("The entry is not an {} entry.", S::NAME)))?;
    // Without a description the parameter sets are in band and frames are Annex B, whatever the
    // four letters of the codec string are (WebCodecs AVC and HEVC registrations).
    let description = description(config);
    let mut size = None;
    if let Some(data) = description {
        let sps = first_sps::<S>(&record::<S>(data)?)?;
        profile = sps.profile;
        size = sps.picture.size;
    }
    let picture = Picture::from_config(config, size)?;
    if description.is_some() && picture.size.is_none() {
        return Err(unknown_size::<S>());
    }

    let mut caps = gst::Caps::builder(S::MEDIA_TYPE)
        .field("alignment", "au")
        .field("parsed", true)
        .build();
    let caps_ref = caps.make_mut();
    if let Some(structure) = caps_ref.structure_mut(0) {
        match description {
            Some(data) => {
                structure.set("stream-format", S::OUT_OF_BAND);
                structure.set("codec_data", gst::Buffer::from_slice(data.clone()));
            }
            None => structure.set("stream-format", "byte-stream"),
        }
        picture.fill_caps(structure);
    }
    S::fill_caps(caps_ref, profile);
    Ok(caps)
}

/// The depth from the description's SPS, else from a key frame's, else from the codec string.
pub(super) fn reorder_depth<S: Syntax>(
    rendition: &Rendition,
    key_frame: Option<&[u8]>,
) -> Option<u32> {
    let (config, profile) = config::<S>(rendition)?;
    if let Some(data) = description(config) {
        return first_sps::<S>(&S::record(data)?).ok()?.reorder_depth;
    }
    let mut sets = ParameterSets::default();
    let nals = header_units::<S>(key_frame.unwrap_or_default()).map(|unit| unit.nal());
    sets.observe::<S>(nals, true);
    match sets.first_sps().and_then(|sps| S::sps(sps)) {
        Some(sps) => sps.reorder_depth,
        None => S::never_reorders(profile).then_some(0),
    }
}

/// The intake of a stream whose caps say all and whose frames go out as they are.
#[derive(Debug)]
struct OutOfBand<S> {
    length_size: usize,
    rendition: Rendition,
    reorder_depth: Option<u32>,
    syntax: PhantomData<S>,
}

impl<S: Syntax> OutOfBand<S> {
    fn new(picture: Picture, description: Bytes) -> Result<Self, CapsError> {
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

impl<S: Syntax> Intake for OutOfBand<S> {
    fn rendition(&self) -> Option<&Rendition> {
        Some(&self.rendition)
    }

    fn prepare(&mut self, payload: Bytes, _key_frame: bool) -> Result<Bytes, FrameError> {
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

    fn is_key(&self, payload: &[u8], marked: bool) -> bool {
        let framing = Framing::Prefixed {
            length_size: self.length_size,
        };
        key::is_key::<S>(framing, payload, marked)
    }
}

fn is_slice<S: Syntax>(header: u8) -> bool {
    S::role(header) == Role::Slice
}

/// The NAL units before the first slice of an Annex B frame: parameter sets cannot come after it,
/// and the slices are most of the bytes.
fn header_units<S: Syntax>(data: &[u8]) -> impl Iterator<Item = Unit<'_>> {
    annexb::units(data).take_while(|unit| !is_slice::<S>(unit.header))
}

/// Reads the record in codec_data.
///
/// # Errors
///
/// `Broken` when it is cut short or of another version.
fn record<S: Syntax>(data: &[u8]) -> Result<Record<S::Profile>, CapsError> {
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
fn first_sps<S: Syntax>(record: &Record<S::Profile>) -> Result<Sps<S::Profile>, CapsError> {
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

fn config<S: Syntax>(rendition: &Rendition) -> Option<(&VideoConfig, S::Profile)> {
    match rendition {
        Rendition::Video(config) => Some((config, S::profile(&config.codec)?)),
        _ => None,
    }
}

fn description(config: &VideoConfig) -> Option<&Bytes> {
    config.description.as_ref().filter(|data| !data.is_empty())
}

fn unknown_size<S: Syntax>() -> CapsError {
    CapsError::broken(format!(
        "Nothing says how large the {} picture is.",
        S::NAME
    ))
}
