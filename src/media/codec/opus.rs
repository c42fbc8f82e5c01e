//! Opus, mono and stereo (channel mapping family 0 of RFC 7845).

use bytes::{BufMut, Bytes, BytesMut};
use hang::catalog::{AudioCodec, AudioConfig};
use moq_mux::codec::opus;

use super::{Intake, Plain, audio, field};
use crate::media::rendition::{CapsError, Rendition};

/// The clock of all Opus streams in Hz (RFC 7845 section 4).
const RATE: u32 = 48_000;

/// Channels when caps say nothing: RTP signals Opus as two (RFC 7587 section 7), and a decoder may
/// play any packet in stereo.
const DEFAULT_CHANNELS: u32 = 2;

pub(super) fn takes(structure: &gst::StructureRef) -> bool {
    structure.name() == "audio/x-opus"
}

pub(super) fn carries(rendition: &Rendition) -> bool {
    matches!(rendition, Rendition::Audio(config) if config.codec == AudioCodec::Opus)
}

pub(super) fn intake(structure: &gst::StructureRef) -> Result<Box<dyn Intake>, CapsError> {
    let family = structure.get_optional::<i32>("channel-mapping-family");
    if !matches!(family, Ok(None | Some(0))) {
        return Err(too_many_channels("a channel-mapping-family other than 0"));
    }
    let (rate, channels) = audio::from_caps(structure)?;
    let channels = channels.unwrap_or(DEFAULT_CHANNELS);
    if channels > 2 {
        return Err(too_many_channels(&format!("{channels} channels")));
    }
    let entry = match stream_header(structure)? {
        Some(head) => {
            parse(&head)?;
            opus::config(&head).map_err(unreadable)?
        }
        None => opus::Config::new(rate.unwrap_or(RATE), channels).into(),
    };
    Ok(Box::new(Plain(Rendition::Audio(entry))))
}

pub(super) fn caps(rendition: &Rendition) -> Result<gst::Caps, CapsError> {
    let Rendition::Audio(entry) = rendition else {
        return Err(CapsError::broken("The entry is not an audio entry."));
    };
    audio::to_caps(entry.sample_rate, entry.channel_count)?;
    let (config, head) = head(entry)?;
    let coupled = i32::from(config.channel_count == 2);
    let headers = [head, tags()].map(|header| {
        let mut buffer = gst::Buffer::from_slice(header);
        buffer.make_mut().set_flags(gst::BufferFlags::HEADER);
        buffer
    });
    Ok(gst::Caps::builder("audio/x-opus")
        .field("rate", RATE as i32)
        .field("channels", 1 + coupled)
        .field("channel-mapping-family", 0)
        .field("stream-count", 1)
        .field("coupled-count", coupled)
        .field("streamheader", gst::Array::new(headers))
        .build())
}

/// The entry's own OpusHead, else one made from its channels.
fn head(entry: &AudioConfig) -> Result<(opus::Config, Bytes), CapsError> {
    if let Some(head) = entry.description.as_ref().filter(|bytes| !bytes.is_empty()) {
        return Ok((parse(head)?, head.clone()));
    }
    if entry.channel_count > 2 {
        return Err(too_many_channels(&format!(
            "{} channels",
            entry.channel_count
        )));
    }
    let config = opus::Config::new(entry.sample_rate, entry.channel_count);
    let head = config.encode().map_err(unreadable)?;
    Ok((config, head))
}

/// The OpusHead that encoders and parsers put first into `streamheader`.
fn stream_header(structure: &gst::StructureRef) -> Result<Option<Bytes>, CapsError> {
    let Ok(headers) = structure.get::<gst::Array>("streamheader") else {
        return Ok(None);
    };
    let Some(first) = headers.as_slice().first() else {
        return Ok(None);
    };
    let head = first
        .get::<gst::Buffer>()
        .ok()
        .and_then(|head| field::bytes(&head));
    head.map(Some)
        .ok_or_else(|| CapsError::broken("The caps field streamheader holds no readable buffer."))
}

fn parse(mut head: &[u8]) -> Result<opus::Config, CapsError> {
    let config = opus::Config::parse(&mut head).map_err(unreadable)?;
    if config.mapping_family != 0 {
        return Err(too_many_channels("a channel-mapping-family other than 0"));
    }
    Ok(config)
}

/// A comment header without comments (RFC 7845 section 5.2): vendor, and a list of none.
fn tags() -> Bytes {
    let vendor = env!("CARGO_PKG_NAME");
    let mut tags = BytesMut::new();
    tags.put_slice(b"OpusTags");
    tags.put_u32_le(vendor.len() as u32);
    tags.put_slice(vendor.as_bytes());
    tags.put_u32_le(0);
    tags.freeze()
}

fn unreadable(error: impl std::fmt::Display) -> CapsError {
    CapsError::broken(format!("The OpusHead does not parse: {error}."))
}

fn too_many_channels(what: &str) -> CapsError {
    CapsError::unsupported(format!(
        "Opus with {what} is not supported; send mono or stereo, for example with audioconvert before the encoder."
    ))
}
