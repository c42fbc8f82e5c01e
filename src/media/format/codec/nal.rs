// SPDX-License-Identifier: MIT
//! What H.264 and H.265 have in common: access units made of NAL units, with parameter sets in
//! codec_data or in band.

mod input;
mod syntax;

use bytes::Bytes;
use hang::catalog::VideoConfig;

pub(super) use self::syntax::{Bits, ParameterSets, Record, Role, Set, Sps, Syntax, bits, sized};

use self::{
    input::{InBand, OutOfBand},
    syntax::{Framing, first_sps, header_units, record, unknown_size},
};
use super::{field, video::Picture};
use crate::media::format::{
    input::InputFormat,
    rendition::{CapsError, Rendition},
};

pub(super) fn matches_caps<S: Syntax>(structure: &gst::StructureRef) -> bool {
    structure.name() == S::MEDIA_TYPE
}

pub(super) fn matches_rendition<S: Syntax>(rendition: &Rendition) -> bool {
    config::<S>(rendition).is_some()
}

pub(super) fn input<S: Syntax>(
    structure: &gst::StructureRef,
) -> Result<Box<dyn InputFormat>, CapsError> {
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

/// The depth from the description's SPS, else from a keyframe's, else from the codec string.
pub(super) fn reorder_depth<S: Syntax>(
    rendition: &Rendition,
    keyframe: Option<&[u8]>,
) -> Option<u32> {
    let (config, profile) = config::<S>(rendition)?;
    if let Some(data) = description(config) {
        return first_sps::<S>(&S::record(data)?).ok()?.reorder_depth;
    }
    let mut sets = ParameterSets::default();
    let nals = header_units::<S>(keyframe.unwrap_or_default()).map(|unit| unit.nal());
    sets.observe::<S>(nals, true);
    match sets.first_sps().and_then(|sps| S::sps(sps)) {
        Some(sps) => sps.reorder_depth,
        None => S::never_reorders(profile).then_some(0),
    }
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
