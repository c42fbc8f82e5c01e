// SPDX-License-Identifier: MIT
//! Reading single caps fields.

use bytes::{BufMut, Bytes, BytesMut};
use gst::glib;

use crate::media::format::rendition::CapsError;

/// An integer field that must be 1 to `max` if it is there.
///
/// # Errors
///
/// `Broken` for another value or another type.
pub(super) fn positive(
    structure: &gst::StructureRef,
    name: &str,
    max: u32,
) -> Result<Option<u32>, CapsError> {
    let value = structure
        .get_optional::<i32>(name)
        .map_err(|_| CapsError::broken(format!("The caps field {name} is not an integer.")))?;
    let Some(value) = value else {
        return Ok(None);
    };
    match u32::try_from(value) {
        Ok(value) if (1..=max).contains(&value) => Ok(Some(value)),
        _ => Err(CapsError::broken(format!(
            "The caps say {name}={value}, which must be 1 to {max}."
        ))),
    }
}

/// A fraction field whose numerator and denominator are both above zero.
pub(super) fn fraction(structure: &gst::StructureRef, name: &str) -> Option<gst::Fraction> {
    let value = structure.get::<gst::Fraction>(name).ok()?;
    (value.numer() > 0 && value.denom() > 0).then_some(value)
}

/// The bytes of `codec_data`, without what is empty.
///
/// # Errors
///
/// `Broken` when the field is no buffer or cannot be read.
pub(super) fn codec_data(structure: &gst::StructureRef) -> Result<Option<Bytes>, CapsError> {
    let broken = || CapsError::broken("The caps field codec_data is not a readable buffer.");
    let buffer = structure
        .get_optional::<gst::Buffer>("codec_data")
        .map_err(|_| broken())?;
    let Some(buffer) = buffer else {
        return Ok(None);
    };
    let data = bytes(&buffer).ok_or_else(broken)?;
    Ok((!data.is_empty()).then_some(data))
}

/// A copy of a buffer's bytes, or `None` when it cannot be mapped.
pub(super) fn bytes(buffer: &gst::BufferRef) -> Option<Bytes> {
    let map = buffer.map_readable().ok()?;
    Some(Bytes::copy_from_slice(&map))
}

/// The bytes of the buffers in `streamheader`; none without such a field.
///
/// # Errors
///
/// `Broken` when one of them cannot be read.
pub(super) fn stream_headers(structure: &gst::StructureRef) -> Result<Vec<Bytes>, CapsError> {
    let Ok(headers) = structure.get::<gst::Array>("streamheader") else {
        return Ok(Vec::new());
    };
    let read = |header: &glib::SendValue| bytes(&*header.get::<gst::Buffer>().ok()?);
    let headers: Option<_> = headers.iter().map(read).collect();
    headers
        .ok_or_else(|| CapsError::broken("The caps field streamheader holds no readable buffer."))
}

/// What `streamheader` holds for these packets.
pub(super) fn header_buffers(packets: [Bytes; 2]) -> gst::Array {
    gst::Array::new(packets.map(|packet| {
        let mut buffer = gst::Buffer::from_slice(packet);
        buffer.make_mut().set_flags(gst::BufferFlags::HEADER);
        buffer
    }))
}

/// A Vorbis comment of no comments, without framing (RFC 7845 section 5.2, RFC 9639 section 8.6):
/// the vendor, and an empty list.
pub(super) fn no_comments() -> Bytes {
    let vendor = env!("CARGO_PKG_NAME");
    let mut comments = BytesMut::new();
    comments.put_u32_le(vendor.len() as u32);
    comments.put_slice(vendor.as_bytes());
    comments.put_u32_le(0);
    comments.freeze()
}

/// Refuses caps that say that their packets are no whole frames; encoders say nothing about it.
///
/// # Errors
///
/// `Unsupported` with the parser that fixes it.
pub(super) fn framed(
    structure: &gst::StructureRef,
    name: &str,
    parser: &str,
) -> Result<(), CapsError> {
    match structure.get::<bool>(name) {
        Ok(false) => Err(CapsError::unsupported(format!(
            "{} with {name}=false is not supported; insert {parser}.",
            structure.name()
        ))),
        _ => Ok(()),
    }
}

/// The `stream-format` field, or an empty string.
pub(super) fn stream_format(structure: &gst::StructureRef) -> &str {
    structure.get("stream-format").unwrap_or_default()
}
