// SPDX-License-Identifier: MIT
//! The formats of catalogs, and what the reader of each one gives.

use gst::glib;
use moq_mux::catalog;
use serde_json::Value;

use crate::media::format::rendition::Rendition;

/// The catalog that `moqsrc` reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[repr(u32)]
#[enum_type(name = "GstMoqCatalogFormat")]
pub enum CatalogFormat {
    /// The one that the suffix of the broadcast's name promises, `.hang` or `.msf`, then hang, MSF
    /// and compressed hang: the first that is served.
    #[default]
    #[enum_value(
        name = "By the suffix of the broadcast's name, then by what is served",
        nick = "auto"
    )]
    Auto,
    /// hang, plain or compressed.
    #[enum_value(name = "hang", nick = "hang")]
    Hang,
    /// MSF, which has video and audio only.
    #[enum_value(
        name = "MSF (MOQT Streaming Format), video and audio only",
        nick = "msf"
    )]
    Msf,
}

/// A track that a catalog can be on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Track {
    Hang,
    /// The same, compressed.
    HangZ,
    Msf,
}

impl Track {
    /// The track's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hang => hang::Catalog::DEFAULT_NAME,
            Self::HangZ => hang::Catalog::COMPRESSED_NAME,
            Self::Msf => moq_msf::DEFAULT_NAME,
        }
    }
}

/// No codec string (RFC 6381) that is known has as many characters.
pub(super) const MAX_CODEC: usize = 128;
/// No more initialization data of one track is read, in characters of hex or base64: tracks can share
/// theirs, so that a small catalog could make much work.
pub(super) const MAX_INIT: usize = 256 << 10;

/// Refuses a string of an entry that is longer than `max` characters, before a library reads it.
pub(super) fn check_length(what: &str, text: &Value, max: usize) -> Result<(), String> {
    match text.as_str() {
        Some(text) if text.len() > max => Err(format!("its {what} is too long")),
        _ => Ok(()),
    }
}

/// One entry of a catalog.
pub(super) struct ListedTrack<'a> {
    /// Name of the track.
    pub(super) name: &'a str,
    /// The language of its speech or text, where the catalog says it.
    pub(super) language: Option<&'a str>,
    /// The group of its alternatives, where the entry itself says it.
    pub(super) group: Option<String>,
    /// What the entry says, or why it cannot be read.
    pub(super) rendition: Result<Rendition, String>,
}

impl CatalogFormat {
    /// The tracks to try for a broadcast of this name, the best first.
    pub(crate) fn tracks(self, broadcast: &str) -> &'static [Track] {
        let suffix = catalog::CatalogFormat::detect(broadcast);
        match (self, suffix) {
            (Self::Hang, _) => &[Track::Hang, Track::HangZ],
            (Self::Msf, _) => &[Track::Msf],
            (Self::Auto, Some(catalog::CatalogFormat::Msf)) => {
                &[Track::Msf, Track::Hang, Track::HangZ]
            }
            (Self::Auto, _) => &[Track::Hang, Track::Msf, Track::HangZ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suffix_decides_what_is_tried_first() {
        for (format, broadcast, first, count) in [
            (CatalogFormat::Auto, "camera", Track::Hang, 3),
            (CatalogFormat::Auto, "camera.hang", Track::Hang, 3),
            (CatalogFormat::Auto, "camera.msf", Track::Msf, 3),
            (CatalogFormat::Hang, "camera.msf", Track::Hang, 2),
            (CatalogFormat::Msf, "camera.hang", Track::Msf, 1),
        ] {
            let tracks = format.tracks(broadcast);
            assert_eq!((tracks[0], tracks.len()), (first, count), "{broadcast}");
        }
    }
}
