//! One track's catalog entry, and the reasons for which a format or a frame is refused.

use hang::catalog::{AudioConfig, Container, PRIORITY, VideoConfig};

use super::annexb;

/// The kind of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
}

impl Kind {
    /// The word that pad and track names begin with.
    pub fn name(self) -> &'static str {
        match self {
            Self::Video => "video",
            Self::Audio => "audio",
        }
    }

    /// Delivery priority of the track, 0 to 255, higher is sent first; hang's defaults.
    pub fn priority(self) -> u8 {
        match self {
            Self::Video => PRIORITY.video,
            Self::Audio => PRIORITY.audio,
        }
    }
}

/// One track as the catalog describes it.
#[derive(Clone, Debug, PartialEq)]
pub enum Rendition {
    /// A video track.
    Video(VideoConfig),
    /// An audio track.
    Audio(AudioConfig),
}

impl Rendition {
    /// The kind of the track.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Video(_) => Kind::Video,
            Self::Audio(_) => Kind::Audio,
        }
    }

    /// The codec string of the catalog (RFC 6381 style), such as `avc1.4d401f` or `opus`.
    pub fn codec(&self) -> String {
        match self {
            Self::Video(config) => config.codec.to_string(),
            Self::Audio(config) => config.codec.to_string(),
        }
    }

    /// The bitrate that the catalog states, in bits per second.
    pub fn bitrate(&self) -> Option<u64> {
        match self {
            Self::Video(config) => config.bitrate,
            Self::Audio(config) => config.bitrate,
        }
    }

    /// How frames are wrapped on the wire.
    pub fn container(&self) -> &Container {
        match self {
            Self::Video(config) => &config.container,
            Self::Audio(config) => &config.container,
        }
    }
}

/// Why caps or a catalog entry cannot be used. Each text is a sentence for a person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CapsError {
    /// A format that is never taken, with a hint what to do about it.
    #[error("{0}")]
    Unsupported(String),
    /// A format that is taken, in an instance that is unusable.
    #[error("{0}")]
    Broken(String),
}

impl CapsError {
    pub(super) fn unsupported(reason: impl Into<String>) -> Self {
        Self::Unsupported(reason.into())
    }

    pub(super) fn broken(reason: impl Into<String>) -> Self {
        Self::Broken(reason.into())
    }
}

/// Why a frame cannot be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Nobody could decode this key frame.
    #[error("the key frame has no parameter sets and none came before it")]
    NoParameterSets,
    /// The frame is not made of NAL units.
    #[error("the frame is malformed: {0}")]
    Malformed(#[from] annexb::Truncated),
}
