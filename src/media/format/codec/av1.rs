// SPDX-License-Identifier: MIT
//! AV1: temporal units of the low-overhead format in and out.

mod obu;

use bytes::{Bytes, BytesMut};
use hang::catalog::{VideoCodec, VideoConfig};

use self::obu::{Head, Sequence};
use super::field;
use super::video::{self, Picture};
use crate::media::format::{
    input::InputFormat,
    rendition::{CapsError, FrameError, Rendition},
};

/// Names of the profiles (AV1 specification section 6.4.1, table "seq_profile").
const PROFILES: [&str; 3] = ["main", "high", "professional"];

pub(super) fn input(structure: &gst::StructureRef) -> Result<Box<dyn InputFormat>, CapsError> {
    let alignment = structure.get::<&str>("alignment").unwrap_or_default();
    if alignment != "tu" {
        return Err(CapsError::unsupported(format!(
            "AV1 with alignment={alignment:?} is not supported; insert av1parse, which makes whole temporal units."
        )));
    }
    let format = field::stream_format(structure);
    if !matches!(format, "" | "obu-stream") {
        return Err(CapsError::unsupported(format!(
            "AV1 with stream-format={format:?} is not supported; insert av1parse ! video/x-av1,stream-format=obu-stream."
        )));
    }
    let record = field::codec_data(structure)?;
    Ok(Box::new(TemporalUnits {
        picture: Picture::from_caps(structure)?,
        sequence: record.map(sequence_of).transpose()?.flatten(),
        described: None,
        rendition: None,
    }))
}

pub(super) fn caps(rendition: &Rendition) -> Result<gst::Caps, CapsError> {
    let Rendition::Video(
        config @ VideoConfig {
            codec: VideoCodec::AV1(av1),
            ..
        },
    ) = rendition
    else {
        return Err(CapsError::broken("The entry is not an AV1 entry."));
    };
    let profile = PROFILES.get(usize::from(av1.profile)).ok_or_else(|| {
        CapsError::broken(format!(
            "The catalog states AV1 profile {}, which does not exist.",
            av1.profile
        ))
    })?;
    let picture = Picture::from_config(config, None)?;
    let chroma = match (av1.chroma_subsampling_x, av1.chroma_subsampling_y) {
        _ if av1.mono_chrome => Some("4:0:0"),
        (true, true) => Some("4:2:0"),
        (true, false) => Some("4:2:2"),
        (false, false) => Some("4:4:4"),
        (false, true) => None,
    };
    let description = config.description.as_ref();
    let mut structure = gst::Structure::builder("video/x-av1")
        .field("stream-format", "obu-stream")
        .field("alignment", "tu")
        .field("parsed", true)
        .field("profile", profile)
        // Decoders need none, so one that is no av1C is only left out.
        .field_if_some(
            "codec_data",
            description
                .filter(|record| config_obus(record).is_some())
                .map(|record| gst::Buffer::from_slice(record.clone())),
        )
        .build();
    video::fill_samples(&mut structure, chroma, av1.bitdepth);
    Ok(picture.into_caps(structure))
}

/// The OBUs of an AV1CodecConfigurationRecord (AV1 Codec ISO Media File Format Binding section
/// 2.3.3): a marker and version 1, three bytes of what the sequence header says, too, and the OBUs.
fn config_obus(record: &[u8]) -> Option<&[u8]> {
    match record {
        [0x81, _, _, _, obus @ ..] => Some(obus),
        _ => None,
    }
}

/// The sequence header of a codec_data, which may lack it.
fn sequence_of(record: Bytes) -> Result<Option<Bytes>, CapsError> {
    let head = config_obus(&record).and_then(|obus| Head::read(obus).ok());
    let head = head.ok_or_else(|| {
        CapsError::broken("The AV1 codec_data (av1C) is cut short or not of version 1.")
    })?;
    Ok(head.sequence.map(Bytes::copy_from_slice))
}

/// The input of AV1: each keyframe goes out with a sequence header.
#[derive(Debug)]
struct TemporalUnits {
    picture: Picture,
    /// The last sequence header, a whole OBU.
    sequence: Option<Bytes>,
    /// The sequence header that `rendition` was made from.
    described: Option<Bytes>,
    rendition: Option<Rendition>,
}

impl TemporalUnits {
    /// Makes the catalog entry anew when the sequence header is another one.
    fn describe(&mut self) -> Result<(), FrameError> {
        let sequence = self.sequence.as_ref().ok_or(FrameError::NoSequenceHeader)?;
        if self.described.as_ref() == Some(sequence) {
            return Ok(());
        }
        let Sequence { codec, size } = Sequence::parse(sequence)?;
        let config = VideoConfig::new(codec);
        let rendition = video::describe(config, self.picture, size);
        self.rendition = Some(rendition.ok_or(obu::DAMAGED_SEQUENCE)?);
        self.described = Some(sequence.clone());
        Ok(())
    }
}

impl InputFormat for TemporalUnits {
    fn rendition(&self) -> Option<&Rendition> {
        self.rendition.as_ref()
    }

    fn prepare(&mut self, payload: Bytes, keyframe: bool) -> Result<Bytes, FrameError> {
        let head = Head::read(&payload)?;
        if let Some(sequence) = head.sequence
            && self.sequence.as_deref() != Some(sequence)
        {
            self.sequence = Some(Bytes::copy_from_slice(sequence));
        }
        if !keyframe {
            return Ok(payload);
        }
        self.describe()?;
        let Some(sequence) = self.sequence.as_ref().filter(|_| head.sequence.is_none()) else {
            return Ok(payload);
        };
        // A temporal delimiter stays the first OBU (AV1 specification section 7.5).
        let (before, after) = payload.split_at(head.start);
        let mut out = BytesMut::with_capacity(payload.len() + sequence.len());
        out.extend_from_slice(before);
        out.extend_from_slice(sequence);
        out.extend_from_slice(after);
        Ok(out.freeze())
    }

    fn is_keyframe(&self, payload: &[u8], _marked: bool) -> bool {
        Head::read(payload).is_ok_and(|head| head.is_keyframe(self.sequence.as_deref()))
    }
}
