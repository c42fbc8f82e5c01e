//! H.264: avc, avc3 and byte-stream in, avc and byte-stream out.

mod parameters;

use bytes::{Bytes, BytesMut};
use hang::catalog::{H264, VideoCodec, VideoConfig};

use self::parameters::{Avcc, ParameterSets, Sps, is_delimiter, is_slice};
use super::video::Picture;
use super::{Intake, field};
use crate::media::annexb;
use crate::media::rendition::{CapsError, FrameError, Rendition};

pub(super) fn takes(structure: &gst::StructureRef) -> bool {
    structure.name() == "video/x-h264"
}

pub(super) fn carries(rendition: &Rendition) -> bool {
    matches!(rendition, Rendition::Video(config) if matches!(config.codec, VideoCodec::H264(_)))
}

pub(super) fn intake(structure: &gst::StructureRef) -> Result<Box<dyn Intake>, CapsError> {
    let alignment = structure.get::<&str>("alignment").unwrap_or_default();
    if alignment != "au" {
        return Err(CapsError::unsupported(format!(
            "H.264 with alignment={alignment:?} is not supported; insert h264parse, which makes whole access units."
        )));
    }
    let picture = Picture::from_caps(structure)?;
    let codec_data = field::codec_data(structure)?;
    match field::stream_format(structure) {
        "avc" => {
            let description = codec_data.ok_or_else(|| {
                CapsError::broken("H.264 with stream-format=avc needs codec_data in the caps; insert h264parse before it.")
            })?;
            Ok(Box::new(avc(picture, description)?))
        }
        "avc3" => {
            let record = codec_data.as_deref().map(Avcc::parse).transpose()?;
            // Without a record the length can only be guessed, and four bytes are usual.
            let length_size = record.as_ref().map_or(4, |record| record.length_size);
            let sets = record.map(|record| record.sets).unwrap_or_default();
            let framing = Framing::Prefixed { length_size };
            Ok(Box::new(InBand::new(framing, picture, sets)))
        }
        "byte-stream" => {
            // Byte-stream needs no codec_data, so one that is no avcC is not an error.
            let record = codec_data.and_then(|data| Avcc::parse(&data).ok());
            let sets = record.map(|record| record.sets).unwrap_or_default();
            Ok(Box::new(InBand::new(Framing::AnnexB, picture, sets)))
        }
        other => Err(CapsError::unsupported(format!(
            "H.264 with stream-format={other:?} is not supported; insert h264parse."
        ))),
    }
}

pub(super) fn caps(rendition: &Rendition) -> Result<gst::Caps, CapsError> {
    let Rendition::Video(
        config @ VideoConfig {
            codec: VideoCodec::H264(h264),
            ..
        },
    ) = rendition
    else {
        return Err(CapsError::broken("The entry is not an H.264 entry."));
    };
    // Without a description the parameter sets are in band and frames are Annex B, whatever the
    // four letters of the codec string are (WebCodecs AVC registration).
    let description = description(config);
    let record = description.map(|avcc| Avcc::parse(avcc)).transpose()?;
    let mut declared = [h264.profile, h264.constraints, h264.level];
    let mut size = None;
    if let Some(record) = &record {
        let sps = record.first_sps()?;
        declared = sps.declared;
        size = sps.picture.size;
    }
    let picture = Picture::from_config(config, size)?;
    if record.is_some() && picture.size.is_none() {
        return Err(unknown_size());
    }

    let mut caps = gst::Caps::builder("video/x-h264")
        .field("alignment", "au")
        .field("parsed", true)
        .build();
    let caps_ref = caps.make_mut();
    if let Some(structure) = caps_ref.structure_mut(0) {
        match description {
            Some(avcc) => {
                structure.set("stream-format", "avc");
                structure.set("codec_data", gst::Buffer::from_slice(avcc.clone()));
            }
            None => structure.set("stream-format", "byte-stream"),
        }
        picture.fill_caps(structure);
    }
    // A profile without a name in GStreamer only lacks that field.
    let _ = gst_pbutils::codec_utils_h264_caps_set_level_and_profile(caps_ref, &declared);
    Ok(caps)
}

/// The depth from a key frame's SPS, else from the description's, else from the codec string.
pub(super) fn reorder_depth(rendition: &Rendition, key_frame: Option<&[u8]>) -> Option<u32> {
    let Rendition::Video(config) = rendition else {
        return None;
    };
    let VideoCodec::H264(h264) = &config.codec else {
        return None;
    };
    if let Some(avcc) = description(config) {
        return Avcc::parse(avcc).ok()?.first_sps().ok()?.reorder_depth;
    }
    let mut sets = ParameterSets::default();
    sets.observe(header_nals(key_frame.unwrap_or_default()), true);
    match sets.first_sps().and_then(Sps::parse) {
        Some(sps) => sps.reorder_depth,
        None => parameters::never_reorders(h264.profile, h264.constraints).then_some(0),
    }
}

/// The intake of avc: all is said in the caps, and frames go out as they are.
#[derive(Debug)]
struct Avc {
    rendition: Rendition,
    reorder_depth: Option<u32>,
}

fn avc(picture: Picture, description: Bytes) -> Result<Avc, CapsError> {
    let record = Avcc::parse(&description)?;
    let sps = record.first_sps()?;
    let picture = picture.with_parameter_sets(sps.picture);
    if picture.size.is_none() {
        return Err(unknown_size());
    }
    Ok(Avc {
        rendition: entry(record.declared, picture, Some(description)),
        reorder_depth: sps.reorder_depth,
    })
}

impl Intake for Avc {
    fn rendition(&self) -> Option<&Rendition> {
        Some(&self.rendition)
    }

    fn prepare(&mut self, payload: Bytes, _key_frame: bool) -> Result<Bytes, FrameError> {
        Ok(payload)
    }

    fn reorder_depth(&self) -> Option<u32> {
        self.reorder_depth
    }
}

/// How the NAL units of a frame are told apart on the sink pad.
#[derive(Clone, Copy, Debug)]
enum Framing {
    AnnexB,
    Prefixed { length_size: usize },
}

/// The intake of avc3 and byte-stream: parameter sets come with key frames.
#[derive(Debug)]
struct InBand {
    framing: Framing,
    picture: Picture,
    sets: ParameterSets,
    /// The SPS that `rendition` was made from.
    current: Option<Bytes>,
    rendition: Option<Rendition>,
    reorder_depth: Option<u32>,
}

impl InBand {
    fn new(framing: Framing, picture: Picture, sets: ParameterSets) -> Self {
        let mut intake = Self {
            framing,
            picture,
            sets,
            current: None,
            rendition: None,
            reorder_depth: None,
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
        let Some(parsed) = sps.and_then(Sps::parse) else {
            return;
        };
        self.current = sps.cloned();
        let picture = self.picture.with_parameter_sets(parsed.picture);
        self.rendition = Some(entry(parsed.declared, picture, None));
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
        if self.sets.is_complete() {
            Ok(true)
        } else {
            Err(FrameError::NoParameterSets)
        }
    }

    fn prepare_annexb(&mut self, payload: Bytes, key_frame: bool) -> Result<Bytes, FrameError> {
        let carried = self.sets.observe(header_nals(&payload), key_frame);
        if !self.missing(key_frame, carried)? {
            return Ok(payload);
        }
        // An access unit delimiter stays the first NAL unit (ITU-T H.264 section 7.4.1.2.3).
        let mut units = annexb::units(&payload);
        let position = match units.next() {
            Some(unit) if is_delimiter(unit.header) => {
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
        let carried = self.sets.observe(nals.iter().copied(), key_frame);
        let mut missing = self.missing(key_frame, carried)?;
        let capacity = payload.len() + nals.len() * annexb::START_CODE.len();
        let mut out = BytesMut::with_capacity(capacity + self.sets.annexb_len());
        for nal in nals {
            if missing && !nal.first().is_some_and(|&header| is_delimiter(header)) {
                self.sets.push_to(&mut out);
                missing = false;
            }
            annexb::push(&mut out, nal);
        }
        Ok(out.freeze())
    }
}

impl Intake for InBand {
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
}

/// The NAL units before the first slice: parameter sets cannot come after it, and the slices are
/// most of the bytes.
fn header_nals(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    annexb::units(data)
        .take_while(|unit| !is_slice(unit.header))
        .map(|unit| unit.nal())
}

/// The catalog entry; the parameter sets are in band when there is no description.
fn entry(declared: [u8; 3], picture: Picture, description: Option<Bytes>) -> Rendition {
    let [profile, constraints, level] = declared;
    let mut config = VideoConfig::new(H264 {
        inline: description.is_none(),
        profile,
        constraints,
        level,
    });
    config.description = description;
    picture.fill_config(&mut config);
    Rendition::Video(config)
}

fn description(config: &VideoConfig) -> Option<&Bytes> {
    config.description.as_ref().filter(|avcc| !avcc.is_empty())
}

fn unknown_size() -> CapsError {
    CapsError::broken("Nothing says how large the H.264 picture is.")
}
