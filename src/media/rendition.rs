//! One track's catalog entry, and the reasons for which a format or a frame is refused.

use std::{collections::BTreeMap, time::Duration};

use hang::catalog::{AudioConfig, Container, PRIORITY, TextConfig, VideoConfig};
use serde::{Deserialize, Serialize};

use super::annexb;

/// The kind of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Pictures.
    Video,
    /// Sound.
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
    /// like sound.
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

/// The catalog with the section of ours.
pub type Catalog = hang::Catalog<Sections>;

/// The sections that this plugin adds to hang's catalog.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sections {
    /// Data tracks; left out when there are none.
    #[serde(rename = "gstData", skip_serializing_if = "Data::is_empty")]
    pub data: Data,
}

impl moq_mux::catalog::hang::CatalogExt for Sections {}

/// The data tracks of a broadcast.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Data {
    /// The tracks by name.
    pub renditions: BTreeMap<String, DataConfig>,
}

impl Data {
    fn is_empty(&self) -> bool {
        self.renditions.is_empty()
    }
}

/// One data track.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataConfig {
    /// The caps as GStreamer writes them.
    pub caps: String,
    /// The MIME type of each payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mime: Option<String>,
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// How frames are wrapped on the wire.
    #[serde(default)]
    pub container: Container,
    /// In bits per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bitrate: Option<u64>,
}

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
    pub fn elsewhere(&self) -> Option<&moq_net::path::RelativeOwned> {
        match self {
            Self::Video(config) => config.broadcast.as_ref(),
            Self::Audio(config) => config.broadcast.as_ref(),
            Self::Text(config) => config.broadcast.as_ref(),
            Self::Data(_) => None,
        }
    }

    /// Reads one entry of a catalog.
    ///
    /// # Errors
    ///
    /// When a field that must be there is not, or is of another type.
    pub fn from_json(kind: Kind, entry: &serde_json::Value) -> Result<Self, serde_json::Error> {
        if let Some(codec) = entry["codec"].as_str() {
            check_codec(codec).map_err(serde::de::Error::custom)?;
        }
        match kind {
            Kind::Video => VideoConfig::deserialize(entry).map(Self::Video),
            Kind::Audio => AudioConfig::deserialize(entry).map(Self::Audio),
            Kind::Text => TextConfig::deserialize(entry).map(Self::Text),
            Kind::Data => DataConfig::deserialize(entry).map(Self::Data),
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
    /// A buffer of headers alone, which are remembered.
    #[error("it has no picture, only headers")]
    NoPicture,
    /// The frame is not made of NAL units.
    #[error("the frame is malformed: {0}")]
    Malformed(#[from] annexb::Truncated),
}
