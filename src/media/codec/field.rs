//! Reading single caps fields.

use bytes::Bytes;

use crate::media::rendition::CapsError;

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

/// The `stream-format` field, or an empty string.
pub(super) fn stream_format(structure: &gst::StructureRef) -> &str {
    structure.get("stream-format").unwrap_or_default()
}
