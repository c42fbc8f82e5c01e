// SPDX-License-Identifier: MIT
//! How long a frame lasts, where its codec or its catalog entry tells.

use gst::ClockTime;

use super::{codec::Codec, rendition::Rendition};

/// The duration of one frame or packet of `rendition`; `None` when only the next one could tell.
pub fn of(rendition: &Rendition, payload: &[u8]) -> Option<ClockTime> {
    match rendition {
        Rendition::Video(video) => {
            // Beyond these it is no frame rate, and its inverse may be no time.
            let rate = video
                .framerate
                .filter(|rate| (0.1..=10_000.0).contains(rate))?;
            Some(ClockTime::from_nseconds((1e9 / rate) as u64))
        }
        Rendition::Audio(_) => Codec::packet(rendition, payload)?.duration(),
        Rendition::Text(_) | Rendition::Data(_) => None,
    }
}
