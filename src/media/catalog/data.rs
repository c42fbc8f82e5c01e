// SPDX-License-Identifier: MIT
//! Data tracks in the catalog: a section of ours, where they have a time, and hang's own `json` and
//! `binary` sections, where they have none.

use std::collections::BTreeMap;

use hang::catalog::{BinaryConfig, Compression, Container, JsonConfig, Mode};
use serde::{Deserialize, Serialize, de::Error as _};
use serde_json::{Error, Value};

/// The caps of what has no type in GStreamer.
const CAPS: &str = "application/octet-stream";

/// The field of [`Sections::end`] in the catalog's JSON.
pub const END_MARK: &str = "gstEnd";
/// The field of [`Sections::lineage`] in the catalog's JSON.
pub const LINEAGE: &str = "gstLineage";
/// The field of [`Sections::groups`] in the catalog's JSON.
pub const GROUPS: &str = "gstGroup";
/// The field of [`Sections::languages`] in the catalog's JSON.
pub const LANGUAGES: &str = "gstLang";

/// The sections that this plugin adds to hang's catalog.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sections {
    /// Data tracks; left out when there are none.
    #[serde(rename = "gstData", skip_serializing_if = "Data::is_empty")]
    pub data: Data,
    /// The broadcast was finished on purpose: several MoQ versions cannot tell that from a loss.
    #[serde(rename = "gstEnd", skip_serializing_if = "std::ops::Not::not")]
    pub end: bool,
    /// Of each track that follows another one, after a change of format: the name of the first, so
    /// that tracks that change at once are not taken for each other.
    #[serde(rename = "gstLineage", skip_serializing_if = "BTreeMap::is_empty")]
    pub lineage: BTreeMap<String, String>,
    /// Of each track that is one of several qualities of one picture or sound: the name of that group.
    #[serde(rename = "gstGroup", skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<String, String>,
    /// Of each track of speech whose language is known: that language. The library writes no `lang` of
    /// audio into either catalog, and these sections into both.
    #[serde(rename = "gstLang", skip_serializing_if = "BTreeMap::is_empty")]
    pub languages: BTreeMap<String, String>,
    /// The publisher takes the requests of [`super::return_path`].
    #[serde(rename = "gstReturn", skip_serializing_if = "std::ops::Not::not")]
    pub returns: bool,
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
    /// The other broadcast that has the track, relative to the one of the catalog.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broadcast: Option<moq_net::path::RelativeOwned>,
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
    /// How the records lie on the wire, of hang's own data tracks alone.
    #[serde(skip)]
    pub records: Option<Records>,
}

impl DataConfig {
    /// A track of these caps, without all that may be left out.
    pub fn new(caps: impl Into<String>) -> Self {
        Self {
            broadcast: None,
            caps: caps.into(),
            mime: None,
            label: None,
            container: Container::default(),
            bitrate: None,
            records: None,
        }
    }
}

/// How the records of a track are read.
#[derive(Clone, Debug, PartialEq)]
pub enum Records {
    /// The newest JSON value counts; merge patches (RFC 7396) change it.
    Json(JsonConfig),
    /// Each record stands for itself, or the newest one alone counts.
    Binary(BinaryConfig),
}

/// Reads an entry of the catalog's `json` section.
///
/// # Errors
///
/// When a field that must be there is not, or its mode or compression is not known.
pub(crate) fn json(entry: &Value) -> Result<DataConfig, Error> {
    let config = JsonConfig::deserialize(entry)?;
    check(&config.mode, config.compression.as_ref())?;
    let common = DataConfig {
        broadcast: config.broadcast.clone(),
        mime: Some("application/json".into()),
        bitrate: config.bitrate,
        ..DataConfig::new(CAPS)
    };
    let records = match config.mode {
        // The records of a log pass as they were written.
        Mode::Stream => {
            let mut binary = BinaryConfig::new(Mode::Stream);
            binary.compression = config.compression;
            Records::Binary(binary)
        }
        _ => Records::Json(config),
    };
    Ok(DataConfig {
        records: Some(records),
        ..common
    })
}

/// Reads an entry of the catalog's `binary` section.
///
/// # Errors
///
/// When a field that must be there is not, or its mode or compression is not known.
pub(crate) fn binary(entry: &Value) -> Result<DataConfig, Error> {
    let config = BinaryConfig::deserialize(entry)?;
    check(&config.mode, config.compression.as_ref())?;
    Ok(DataConfig {
        broadcast: config.broadcast.clone(),
        mime: config.mime.clone(),
        bitrate: config.bitrate,
        records: Some(Records::Binary(config)),
        ..DataConfig::new(CAPS)
    })
}

fn check(mode: &Mode, compression: Option<&Compression>) -> Result<(), Error> {
    let known = matches!(mode, Mode::Snapshot | Mode::Stream);
    if !known {
        return Err(Error::custom(format!("The mode {mode} is not known.")));
    }
    match compression {
        None | Some(Compression::Deflate) => Ok(()),
        Some(other) => Err(Error::custom(format!(
            "The compression {other} is not known."
        ))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::media::format::rendition::{Catalog, Rendition};

    #[test]
    fn modes_and_compression_are_read() {
        let entry = json!({"mode": "snapshot", "compression": "deflate", "schema": "x"});
        let config = json(&entry).expect("an entry");
        assert!(matches!(&config.records, Some(Records::Json(json))
            if json.mode == Mode::Snapshot && json.compression == Some(Compression::Deflate)));
        assert_eq!(config.mime.as_deref(), Some("application/json"));
        let entry = json!({"mode": "snapshot", "mime": "image/jpeg", "bitrate": 5});
        let config = binary(&entry).expect("an entry");
        assert!(matches!(&config.records, Some(Records::Binary(binary))
            if binary.mode == Mode::Snapshot && binary.compression.is_none()));
        assert_eq!(config.mime.as_deref(), Some("image/jpeg"));
        assert_eq!(config.bitrate, Some(5));
        for read in [json, binary] {
            let entry = json!({"mode": "stream", "compression": "deflate"});
            let config = read(&entry).expect("an entry");
            assert!(matches!(&config.records, Some(Records::Binary(binary))
                if binary.mode == Mode::Stream && binary.compression.is_some()));
        }
    }

    #[test]
    fn what_is_not_known_is_an_error() {
        for entry in [
            json!({"mode": "future"}),
            json!({"mode": "stream", "compression": "zstd"}),
            json!({}),
            json!(5),
        ] {
            assert!(json(&entry).is_err(), "{entry}");
            assert!(binary(&entry).is_err(), "{entry}");
        }
    }

    fn config() -> DataConfig {
        DataConfig {
            mime: Some("application/json".into()),
            label: Some("telemetry".into()),
            bitrate: Some(5),
            ..DataConfig::new("application/octet-stream")
        }
    }

    #[test]
    fn the_data_section_survives_the_catalog() {
        let mut catalog = Catalog::default();
        let empty = serde_json::to_value(&catalog).expect("JSON");
        assert_eq!(empty.get("gstData"), None);
        Rendition::Data(config()).list(&mut catalog, "events");
        let written = serde_json::to_value(&catalog).expect("JSON");
        let expected = json!({
            "caps": "application/octet-stream",
            "mime": "application/json",
            "label": "telemetry",
            "container": {"kind": "legacy"},
            "bitrate": 5,
        });
        assert_eq!(written["gstData"]["renditions"]["events"], expected);
        let read: Catalog = serde_json::from_value(written).expect("a catalog");
        assert_eq!(read, catalog);
        Rendition::delist(&mut catalog, "events");
        assert_eq!(catalog, Catalog::default());
    }

    #[test]
    fn the_end_is_marked_in_the_catalog_alone() {
        let mut catalog = Catalog::default();
        catalog.ext.end = true;
        let written = serde_json::to_value(&catalog).expect("JSON");
        assert_eq!(written[END_MARK], true);
        let read: Catalog = serde_json::from_value(written).expect("a catalog");
        assert!(read.ext.end);
    }

    #[test]
    fn unknown_fields_of_a_data_entry_are_ignored() {
        let entry = json!({"caps": "meta/x-klv", "future": {"a": [1]}, "records": 5});
        let rendition = Rendition::from_json("gstData", &entry).expect("an entry");
        assert_eq!(rendition, Rendition::Data(DataConfig::new("meta/x-klv")));
        for broken in [json!({}), json!({"caps": 5}), json!(null)] {
            assert!(
                Rendition::from_json("gstData", &broken).is_err(),
                "{broken}"
            );
        }
    }
}
