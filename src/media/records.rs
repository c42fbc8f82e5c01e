//! hang's own `json` and `binary` tracks: records without a time, as entries of data tracks.

use hang::catalog::{BinaryConfig, Compression, JsonConfig, Mode};
use serde::{Deserialize, de::Error as _};
use serde_json::{Error, Value};

use super::rendition::DataConfig;

const CAPS: &str = "application/octet-stream";

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
pub(super) fn json(entry: &Value) -> Result<DataConfig, Error> {
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
pub(super) fn binary(entry: &Value) -> Result<DataConfig, Error> {
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

    #[test]
    fn modes_and_compression_are_read() {
        let entry = json!({"mode": "snapshot", "compression": "deflate", "schema": "x"});
        let config = super::json(&entry).expect("an entry");
        assert!(matches!(&config.records, Some(Records::Json(json))
            if json.mode == Mode::Snapshot && json.compression == Some(Compression::Deflate)));
        assert_eq!(config.mime.as_deref(), Some("application/json"));
        let entry = json!({"mode": "snapshot", "mime": "image/jpeg", "bitrate": 5});
        let config = binary(&entry).expect("an entry");
        assert!(matches!(&config.records, Some(Records::Binary(binary))
            if binary.mode == Mode::Snapshot && binary.compression.is_none()));
        assert_eq!(config.mime.as_deref(), Some("image/jpeg"));
        assert_eq!(config.bitrate, Some(5));
        for read in [super::json, binary] {
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
            assert!(super::json(&entry).is_err(), "{entry}");
            assert!(binary(&entry).is_err(), "{entry}");
        }
    }
}
