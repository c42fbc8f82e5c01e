// SPDX-License-Identifier: MIT
//! CMAF (ISO/IEC 23000-19): what an init segment says, the samples of a fragment, and the fragments
//! that are written.

mod reader;
#[cfg(test)]
mod tests;
mod ticks;
mod timeline;
mod writer;

use std::panic::{self, AssertUnwindSafe};

use bytes::Bytes;
use hang::catalog::{AudioCodec, AudioConfig, VideoCodec, VideoConfig};
use moq_mux::{
    codec::{flac, opus},
    container::fmp4::{
        Muxer,
        mp4_atom::{Atom, Codec, DecodeMaybe, FlacMetadataBlock, Header, Moov, Opus, Trex, Visual},
    },
};
use moq_net::Timescale;

use self::ticks::Ticks;
use crate::media::format::rendition::Rendition;

pub use self::writer::Fragments;

/// The track that [`Muxer`] declares.
const TRACK_ID: u32 = 1;
/// An init segment has no sample tables, so a larger one (bytes) is no init segment.
const MAX_INIT: usize = 256 << 10;

// Sample flags, ISO/IEC 14496-12 section 8.8.3.1.
const DEPENDS_ON: u32 = 0x0300_0000;
const INDEPENDENT: u32 = 0x0200_0000;
const DEPENDENT: u32 = 0x0100_0000;
const NON_SYNC: u32 = 0x0001_0000;

/// Why an init segment or a fragment cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(String);

impl From<&str> for Malformed {
    fn from(reason: &str) -> Self {
        Self(reason.to_owned())
    }
}

/// Makes the init segment (ftyp and moov) of a rendition whose frames are wrapped in nothing.
///
/// # Errors
///
/// When the library cannot describe it.
pub fn init(rendition: &Rendition) -> Result<Bytes, Malformed> {
    let init = guarded(|| {
        let muxer = match rendition {
            Rendition::Video(config) => Muxer::video(config),
            Rendition::Audio(config) => Muxer::audio(config),
            Rendition::Text(_) | Rendition::Data(_) => return Ok(None),
        };
        muxer?
            .with_timescale(Ticks::of(rendition).timescale())?
            .init()
    })?;
    init.map_err(|err: moq_mux::Error| Malformed(err.to_string()))?
        .ok_or_else(|| "nothing describes the stream".into())
}

/// What the init segment of a track says.
#[derive(Clone, Debug)]
pub struct Init {
    track_id: u32,
    timescale: Timescale,
    is_video: bool,
    defaults: Trex,
    codec: Codec,
}

impl Init {
    /// Reads an init segment.
    ///
    /// # Errors
    ///
    /// When it is damaged, or is not of one track of video or audio.
    pub fn parse(init: &[u8]) -> Result<Self, Malformed> {
        if init.len() > MAX_INIT {
            return Err("the CMAF init segment is larger than 256 KiB".into());
        }
        let moov = guarded(|| moov(init))??;
        let [trak] = <[_; 1]>::try_from(moov.trak)
            .map_err(|_| "the CMAF init segment is not of one track")?;
        let is_video = match trak.mdia.hdlr.handler.as_ref() {
            b"vide" => true,
            b"soun" => false,
            _ => return Err("the CMAF track is neither video nor audio".into()),
        };
        let track_id = trak.tkhd.track_id;
        let codecs = trak.mdia.minf.stbl.stsd.codecs;
        Ok(Self {
            track_id,
            timescale: Timescale::new(trak.mdia.mdhd.timescale.into())
                .map_err(|_| "the CMAF init segment has no timescale")?,
            is_video,
            defaults: moov
                .mvex
                .and_then(|mvex| mvex.trex.into_iter().find(|trex| trex.track_id == track_id))
                .unwrap_or_default(),
            codec: codecs
                .into_iter()
                .next()
                .ok_or("the CMAF init segment has no sample entry")?,
        })
    }

    /// Adds to a catalog entry what decoders need and only the init segment has.
    ///
    /// # Errors
    ///
    /// When both are of different codecs, or the init segment lacks what the codec needs.
    pub fn complete(&self, rendition: &mut Rendition) -> Result<(), Malformed> {
        match rendition {
            Rendition::Video(config) if self.is_video => self.complete_video(config),
            Rendition::Audio(config) if !self.is_video => self.complete_audio(config),
            _ => Err("the CMAF init segment is of another kind of track".into()),
        }
    }

    fn complete_video(&self, config: &mut VideoConfig) -> Result<(), Malformed> {
        let (description, visual) = match (&config.codec, &self.codec) {
            (VideoCodec::H264(_), Codec::Avc1(entry)) => (body(&entry.avcc)?, &entry.visual),
            (VideoCodec::H265(_), Codec::Hvc1(entry)) => (body(&entry.hvcc)?, &entry.visual),
            (VideoCodec::H265(_), Codec::Hev1(entry)) => (body(&entry.hvcc)?, &entry.visual),
            (VideoCodec::AV1(_), Codec::Av01(entry)) => (body(&entry.av1c)?, &entry.visual),
            (VideoCodec::VP8, Codec::Vp08(entry)) => (Bytes::new(), &entry.visual),
            (VideoCodec::VP9(_), Codec::Vp09(entry)) => (Bytes::new(), &entry.visual),
            (codec, _) => return Err(other_codec(codec)),
        };
        fill(&mut config.description, description);
        let Visual { width, height, .. } = *visual;
        if config.coded_width.zip(config.coded_height).is_none() && width > 0 && height > 0 {
            config.coded_width = Some(width.into());
            config.coded_height = Some(height.into());
        }
        Ok(())
    }

    fn complete_audio(&self, config: &mut AudioConfig) -> Result<(), Malformed> {
        let description = match (&config.codec, &self.codec) {
            (AudioCodec::AAC(_), Codec::Mp4a(entry)) => {
                let decoder = &entry.esds.es_desc.dec_config;
                let specific = decoder.dec_specific.as_ref();
                let specific = specific.ok_or("the CMAF init segment has no AAC configuration")?;
                Bytes::copy_from_slice(&specific.raw)
            }
            (AudioCodec::Opus, Codec::Opus(entry)) => opus_head(entry)?,
            (AudioCodec::Flac, Codec::Flac(entry)) => stream_info(&entry.dfla.blocks)?,
            (codec, _) => return Err(other_codec(codec)),
        };
        fill(&mut config.description, description);
        Ok(())
    }
}

/// The moov box: no other one reaches the parser.
fn moov(mut init: &[u8]) -> Result<Moov, Malformed> {
    let damaged = |err| Malformed(format!("the CMAF init segment is damaged: {err}"));
    let cut_short = || Malformed::from("the CMAF init segment ends within a box");
    loop {
        let mut body = init;
        let header = Header::decode_maybe(&mut body).map_err(damaged)?;
        let header = header.ok_or("the CMAF init segment has no moov box")?;
        if header.kind == Moov::KIND {
            let moov = Moov::decode_maybe(&mut init).map_err(damaged)?;
            return moov.ok_or_else(cut_short);
        }
        let size = header.size.unwrap_or(body.len());
        init = body.get(size..).ok_or_else(cut_short)?;
    }
}

/// What a library panics on is refused: the last line, after what can be checked before it reads
/// (`findings/README.md`).
fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, Malformed> {
    panic::catch_unwind(AssertUnwindSafe(work))
        .map_err(|_| "the CMAF init segment is damaged".into())
}

fn body(record: &impl Atom) -> Result<Bytes, Malformed> {
    let mut body = Vec::new();
    let written = guarded(|| record.encode_body(&mut body))?;
    written.map_err(|err| Malformed(format!("the decoder configuration is damaged: {err}")))?;
    Ok(body.into())
}

/// The OpusHead of a dOps box.
fn opus_head(entry: &Opus) -> Result<Bytes, Malformed> {
    let dops = &entry.dops;
    let head = opus::Config::new(dops.input_sample_rate, dops.output_channel_count.into());
    let mut head = head.with_pre_skip(dops.pre_skip);
    head.output_gain = dops.output_gain;
    head.encode()
        .map_err(|err| Malformed(format!("the dOps box cannot be used: {err}")))
}

/// The stream header of a dfLa box.
fn stream_info(blocks: &[FlacMetadataBlock]) -> Result<Bytes, Malformed> {
    let info = blocks.iter().find_map(|block| match block {
        FlacMetadataBlock::StreamInfo {
            minimum_block_size,
            maximum_block_size,
            minimum_frame_size,
            maximum_frame_size,
            sample_rate,
            num_channels_minus_one,
            bits_per_sample_minus_one,
            number_of_interchannel_samples,
            md5_checksum,
        } => Some(flac::Config {
            min_block_size: *minimum_block_size,
            max_block_size: *maximum_block_size,
            min_frame_size: (*minimum_frame_size).into(),
            max_frame_size: (*maximum_frame_size).into(),
            sample_rate: *sample_rate,
            channel_count: u32::from(*num_channels_minus_one) + 1,
            bits_per_sample: u32::from(*bits_per_sample_minus_one) + 1,
            total_samples: *number_of_interchannel_samples,
            md5: md5_checksum.as_slice().try_into().unwrap_or_default(),
        }),
        _ => None,
    });
    info.map(|info| info.description())
        .ok_or_else(|| "the dfLa box has no STREAMINFO".into())
}

/// The catalog's own description is believed more.
fn fill(description: &mut Option<Bytes>, from_init: Bytes) {
    if description.as_ref().is_none_or(Bytes::is_empty) && !from_init.is_empty() {
        *description = Some(from_init);
    }
}

fn other_codec(codec: &impl std::fmt::Display) -> Malformed {
    Malformed(format!(
        "the catalog says {codec}, and the CMAF init segment is of another codec"
    ))
}
