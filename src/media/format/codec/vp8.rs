// SPDX-License-Identifier: MIT
//! VP8: frames in and out.

use hang::catalog::{VideoCodec, VideoConfig};

use super::video::{self, Picture};
use crate::media::format::rendition::{CapsError, FrameError, Rendition};

pub(super) fn caps(rendition: &Rendition) -> Result<gst::Caps, CapsError> {
    let Rendition::Video(config) = rendition else {
        return Err(CapsError::broken("The entry is not a VP8 entry."));
    };
    let picture = Picture::from_config(config, None)?;
    Ok(picture.into_caps(gst::Structure::new_empty("video/x-vp8")))
}

/// The catalog entry if this is a keyframe (RFC 6386 section 9.1).
pub(super) fn describe(frame: &[u8], picture: Picture) -> Result<Option<Rendition>, FrameError> {
    const DAMAGED: FrameError = FrameError::Damaged("VP8 frame header");
    let (tag, rest) = frame.split_first_chunk::<3>().ok_or(DAMAGED)?;
    if tag[0] & 1 != 0 {
        return Ok(None);
    }
    let &[0x9d, 0x01, 0x2a, w0, w1, h0, h1, ..] = rest else {
        return Err(DAMAGED);
    };
    // The upper two bits ask for a scaled display, which decoders leave to others.
    let size = [[w0, w1], [h0, h1]].map(|bytes| u32::from(u16::from_le_bytes(bytes) & 0x3fff));
    let config = VideoConfig::new(VideoCodec::VP8);
    video::describe(config, picture, size)
        .map(Some)
        .ok_or(DAMAGED)
}
