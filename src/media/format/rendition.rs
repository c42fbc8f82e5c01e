// SPDX-License-Identifier: MIT
//! One track's catalog entry, and the reasons for which a format or a frame is refused.

use std::time::Duration;

use hang::catalog::{AudioConfig, Container, PRIORITY, TextConfig, VideoConfig};
use serde::Deserialize;

use super::annexb;
use crate::media::catalog::data::{self, DataConfig, Records, Sections};

/// The kind of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Video.
    Video,
    /// Audio.
    Audio,
    /// Subtitles and captions.
    Text,
    /// Anything else that has a time.
    Data,
}

impl Kind {
    /// All kinds, in the order of their pads.
    pub const ALL: [Self; 4] = [Self::Video, Self::Audio, Self::Text, Self::Data];

    /// The word that pad and track names begin with.
    pub fn name(self) -> &'static str {
        match self {
            Self::Video => "video",
            Self::Audio => "audio",
            Self::Text => "text",
            Self::Data => "data",
        }
    }

    /// Delivery priority of the track, 0 to 255, higher is sent first: hang's defaults, and data
    /// like audio.
    pub fn priority(self) -> u8 {
        match self {
            Self::Video => PRIORITY.video,
            Self::Audio | Self::Data => PRIORITY.audio,
            Self::Text => PRIORITY.text,
        }
    }

    /// Whether nothing may come for a long time although all is well.
    pub fn is_sparse(self) -> bool {
        matches!(self, Self::Text | Self::Data)
    }
}

/// The sections of a catalog that list tracks, with the field that holds them by name.
pub const SECTIONS: [(&str, &str); 6] = [
    ("video", "renditions"),
    ("audio", "renditions"),
    ("text", "renditions"),
    ("gstData", "renditions"),
    ("json", "tracks"),
    ("binary", "tracks"),
];

/// The catalog with the section of ours.
pub type Catalog = hang::Catalog<Sections>;

/// One track as the catalog describes it.
#[derive(Clone, Debug, PartialEq)]
pub enum Rendition {
    /// A video track.
    Video(VideoConfig),
    /// An audio track.
    Audio(AudioConfig),
    /// A text track.
    Text(TextConfig),
    /// A data track.
    Data(DataConfig),
}

/// The same expression for the entry of whichever kind.
macro_rules! each {
    ($rendition:expr, $config:ident => $value:expr) => {
        match $rendition {
            Self::Video($config) => $value,
            Self::Audio($config) => $value,
            Self::Text($config) => $value,
            Self::Data($config) => $value,
        }
    };
}

impl Rendition {
    /// The kind of the track.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Video(_) => Kind::Video,
            Self::Audio(_) => Kind::Audio,
            Self::Text(_) => Kind::Text,
            Self::Data(_) => Kind::Data,
        }
    }

    /// The codec string of the catalog (RFC 6381 style), such as `avc1.4d401f` or `opus`; of text
    /// the format, of data the caps.
    pub fn codec(&self) -> String {
        match self {
            Self::Video(config) => config.codec.to_string(),
            Self::Audio(config) => config.codec.to_string(),
            Self::Text(config) => config.format.to_string(),
            Self::Data(config) => config.caps.clone(),
        }
    }

    /// The bitrate that the catalog states, in bits per second.
    pub fn bitrate(&self) -> Option<u64> {
        match self {
            Self::Video(config) => config.bitrate,
            Self::Audio(config) => config.bitrate,
            Self::Text(_) => None,
            Self::Data(config) => config.bitrate,
        }
    }

    /// States the bitrate in bits per second, where the catalog has a field for it.
    pub fn set_bitrate(&mut self, bitrate: Option<u64>) {
        match self {
            Self::Video(config) => config.bitrate = bitrate,
            Self::Audio(config) => config.bitrate = bitrate,
            Self::Text(_) => {}
            Self::Data(config) => config.bitrate = bitrate,
        }
    }

    /// A name for people.
    pub fn label(&self) -> Option<&str> {
        each!(self, config => config.label.as_deref())
    }

    /// States a name for people.
    pub fn set_label(&mut self, label: Option<String>) {
        each!(self, config => config.label = label);
    }

    /// How frames are wrapped on the wire.
    pub fn container(&self) -> &Container {
        each!(self, config => &config.container)
    }

    /// States how frames are wrapped on the wire.
    pub fn set_container(&mut self, container: Container) {
        each!(self, config => config.container = container);
    }

    /// How much later than the broadcast's earliest track its frames are published.
    pub fn delay(&self) -> Option<Duration> {
        match self {
            Self::Video(config) => config.delay,
            Self::Audio(config) => config.delay,
            Self::Text(config) => config.delay,
            Self::Data(_) => None,
        }
    }

    /// States how much later than the broadcast's earliest track its frames are published.
    pub fn set_delay(&mut self, delay: Option<Duration>) {
        match self {
            Self::Video(config) => config.delay = delay,
            Self::Audio(config) => config.delay = delay,
            Self::Text(config) => config.delay = delay,
            Self::Data(_) => {}
        }
    }

    /// The other broadcast that has the track, relative to the one of the catalog.
    pub fn external_broadcast(&self) -> Option<&moq_net::path::RelativeOwned> {
        match self {
            Self::Video(config) => config.broadcast.as_ref(),
            Self::Audio(config) => config.broadcast.as_ref(),
            Self::Text(config) => config.broadcast.as_ref(),
            Self::Data(config) => config.broadcast.as_ref(),
        }
    }

    /// The MIME type of each payload, of data alone.
    pub fn mime(&self) -> Option<&str> {
        match self {
            Self::Data(config) => config.mime.as_deref(),
            _ => None,
        }
    }

    /// How the records lie on the wire, of hang's own data tracks alone.
    pub fn records(&self) -> Option<&Records> {
        match self {
            Self::Data(config) => config.records.as_ref(),
            _ => None,
        }
    }

    /// Reads one entry of a catalog's section, which is one of [`SECTIONS`].
    ///
    /// # Errors
    ///
    /// When a field that must be there is not, is of another type, or has a value that is not known.
    pub fn from_json(section: &str, entry: &serde_json::Value) -> Result<Self, serde_json::Error> {
        if let Some(codec) = entry["codec"].as_str() {
            check_codec(codec).map_err(serde::de::Error::custom)?;
        }
        match section {
            "video" => VideoConfig::deserialize(entry).map(Self::Video),
            "audio" => AudioConfig::deserialize(entry).map(Self::Audio),
            "text" => TextConfig::deserialize(entry).map(Self::Text),
            "json" => data::json(entry).map(Self::Data),
            "binary" => data::binary(entry).map(Self::Data),
            _ => DataConfig::deserialize(entry).map(Self::Data),
        }
    }

    /// Writes the entry of the track `name` into a catalog.
    pub fn list(self, catalog: &mut Catalog, name: &str) {
        let name = name.to_owned();
        match self {
            Self::Video(config) => drop(catalog.video.renditions.insert(name, config)),
            Self::Audio(config) => drop(catalog.audio.renditions.insert(name, config)),
            Self::Text(config) => drop(catalog.text.renditions.insert(name, config)),
            Self::Data(config) => drop(catalog.ext.data.renditions.insert(name, config)),
        }
    }

    /// Takes the track `name`, of whatever kind, out of a catalog.
    pub fn delist(catalog: &mut Catalog, name: &str) {
        catalog.video.renditions.remove(name);
        catalog.audio.renditions.remove(name);
        catalog.text.renditions.remove(name);
        catalog.ext.data.renditions.remove(name);
        catalog.ext.lineage.remove(name);
        catalog.ext.groups.remove(name);
        catalog.ext.languages.remove(name);
    }

    /// The delay that the catalog states for the track `name` of this kind.
    pub fn listed_delay(&self, catalog: &Catalog, name: &str) -> Option<Duration> {
        match self {
            Self::Video(_) => catalog.video.renditions.get(name)?.delay,
            Self::Audio(_) => catalog.audio.renditions.get(name)?.delay,
            Self::Text(_) => catalog.text.renditions.get(name)?.delay,
            Self::Data(_) => None,
        }
    }
}

/// Refuses a codec string that hang's parser must not see: it cuts at bytes, and panics inside a
/// character that has more than one.
///
/// # Errors
///
/// When the string is not ASCII.
pub fn check_codec(codec: &str) -> Result<(), String> {
    match codec.is_ascii() {
        true => Ok(()),
        false => Err(format!("the codec {codec:?} is not ASCII")),
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
    pub(crate) fn unsupported(reason: impl Into<String>) -> Self {
        Self::Unsupported(reason.into())
    }

    pub(super) fn broken(reason: impl Into<String>) -> Self {
        Self::Broken(reason.into())
    }
}

/// Why a frame cannot be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Nobody could decode this keyframe.
    #[error("the keyframe has no parameter sets and none came before it")]
    NoParameterSets,
    /// Text in another encoding.
    #[error("the text is not UTF-8")]
    NotText,
    /// A buffer of headers alone, which are remembered.
    #[error("there is no coded picture in it")]
    NoPicture,
    /// Nobody could decode this AV1 keyframe.
    #[error("the keyframe has no sequence header and none came before it")]
    NoSequenceHeader,
    /// The named part of the frame cannot be read.
    #[error("its {0} is damaged or cut short")]
    Damaged(&'static str),
    /// What the keyframe says of the stream is not enough for its container.
    #[error("the keyframe does not describe a stream that container=cmaf can carry")]
    NotContained,
    /// The frame is not made of NAL units.
    #[error("the frame is malformed: {0}")]
    Malformed(#[from] annexb::Truncated),
    /// It does not begin as a frame of the codec does; the parser that fixes it.
    #[error("it does not begin with a whole frame: insert {0} before moqsink")]
    NoFrame(&'static str),
    /// It ends before a frame does; the parser that fixes it.
    #[error("it ends within a frame: insert {0} before moqsink")]
    Incomplete(&'static str),
    /// The size of a sample of all channels, in bytes, of which it is no multiple.
    #[error("its size is no multiple of {0} bytes, one sample of each channel")]
    BrokenSample(u64),
    /// It is a header that the caps have already.
    #[error("it is a stream header")]
    Header,
}
