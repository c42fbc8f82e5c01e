//! How long a frame lasts, where its codec or its catalog entry tells.

use gst::ClockTime;

use super::{caps::Rendition, codec::Packet};

/// The duration of one frame or packet of `rendition`; `None` when only the next one could tell.
pub fn of(rendition: &Rendition, payload: &[u8]) -> Option<ClockTime> {
    match rendition {
        Rendition::Video(video) => {
            // Beyond these it is no rate of pictures, and its inverse may be no time.
            let rate = video
                .framerate
                .filter(|rate| (0.1..=10_000.0).contains(rate))?;
            Some(ClockTime::from_nseconds((1e9 / rate) as u64))
        }
        Rendition::Audio(audio) => Packet::read(audio, payload).ok()??.duration(),
        Rendition::Text(_) | Rendition::Data(_) => None,
    }
}
