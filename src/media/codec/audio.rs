//! What all audio codecs have in common: sample rate and channels.

use super::field;
use crate::media::rendition::CapsError;

/// Highest sample rate in Hz: an AudioSpecificConfig has 24 bits for it (ISO/IEC 14496-3).
pub(super) const MAX_RATE: u32 = (1 << 24) - 1;

/// Most channels: an OpusHead has one byte for them (RFC 7845).
pub(super) const MAX_CHANNELS: u32 = 255;

/// Sample rate in Hz and channel count, as far as caps have them.
///
/// # Errors
///
/// `Broken` when one is there and zero or absurd.
pub(super) fn from_caps(
    structure: &gst::StructureRef,
) -> Result<(Option<u32>, Option<u32>), CapsError> {
    Ok((
        field::positive(structure, "rate", MAX_RATE)?,
        field::positive(structure, "channels", MAX_CHANNELS)?,
    ))
}

/// Sample rate and channel count of a catalog entry as caps hold them.
///
/// # Errors
///
/// `Broken` when one is zero or absurd.
pub(super) fn to_caps(rate: u32, channels: u32) -> Result<(i32, i32), CapsError> {
    let limited = |value: u32, max: u32| {
        i32::try_from(value)
            .ok()
            .filter(|_| (1..=max).contains(&value))
    };
    let caps_rate = limited(rate, MAX_RATE)
        .ok_or_else(|| CapsError::broken(format!("A sample rate of {rate} Hz is not possible.")))?;
    let caps_channels = limited(channels, MAX_CHANNELS)
        .ok_or_else(|| CapsError::broken(format!("{channels} channels are not possible.")))?;
    Ok((caps_rate, caps_channels))
}
