// SPDX-License-Identifier: MIT
//! MSF's catalog (draft-ietf-moq-msf-01, and -00 as far as it differs): a list of tracks, of which
//! video and audio are read, each read by itself.

use std::{collections::HashMap, str::FromStr};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use hang::catalog::{AudioCodec, AudioConfig, Container, VideoConfig};
use moq_msf::{Packaging, Role, Track};
use moq_mux::codec::{aac, flac, opus};
use serde::Deserialize;
use serde_json::Value;

use super::format::{ListedTrack, MAX_CODEC, MAX_INIT, check_length};
use crate::media::format::{caps::Rendition, rendition};

/// What the catalog lists, in its order, `most` of it.
pub(crate) fn renditions(catalog: &Value, most: usize) -> impl Iterator<Item = ListedTrack<'_>> {
    let list = catalog["initDataList"].as_array().into_iter().flatten();
    let inits: HashMap<&str, &Value> = list
        .filter_map(|init| Some((init["id"].as_str()?, init)))
        .collect();
    tracks(catalog)
        .iter()
        .take(most)
        .map(move |track| ListedTrack {
            name: track["name"].as_str().unwrap_or_default(),
            language: track["lang"].as_str(),
            group: track["altGroup"].as_u64().map(|group| group.to_string()),
            rendition: rendition(track, &inits),
        })
}

/// How many tracks the catalog lists beyond `most`.
pub(crate) fn left_out(catalog: &Value, most: usize) -> usize {
    tracks(catalog).len().saturating_sub(most)
}

/// What of the catalog as a whole is not followed.
pub(crate) fn limits(catalog: &Value) -> Vec<String> {
    let mut limits = Vec::new();
    if catalog["deltaUpdate"] == true {
        limits
            .push("The catalog's delta updates are left out: only whole catalogs are read".into());
    }
    limits
}

/// Whether the broadcast is over: it is complete, and nothing of it can be read any more.
pub(crate) fn is_complete(catalog: &Value) -> bool {
    catalog["isComplete"] == true && tracks(catalog).is_empty()
}

fn tracks(catalog: &Value) -> &[Value] {
    catalog["tracks"].as_array().map_or(&[], Vec::as_slice)
}

fn rendition(value: &Value, inits: &HashMap<&str, &Value>) -> Result<Rendition, String> {
    check_length("codec", &value["codec"], MAX_CODEC)?;
    let track = Track::deserialize(value).map_err(|err| err.to_string())?;
    let is_video = match &track.role {
        Some(Role::Video) => true,
        Some(Role::Audio) => false,
        Some(role) => return Err(format!("MSF tracks of the role {role} are not supported")),
        None => return Err("it has no role".into()),
    };
    let init = init_data(value, inits)?;
    let (container, description) = match &track.packaging {
        Packaging::Loc => (Container::Loc, init),
        Packaging::Legacy => (Container::Legacy, init),
        Packaging::Cmaf => {
            let init = init.ok_or("it has no initialization data")?;
            (Container::Cmaf { init }, None)
        }
        other => return Err(format!("the packaging {other} is not supported")),
    };
    let label = value["label"].as_str().map(str::to_owned);
    let codec = track.codec.as_deref().ok_or("it has no codec")?;
    match is_video {
        true => video(&track, codec, container, description, label).map(Rendition::Video),
        false => audio(&track, codec, container, description, label).map(Rendition::Audio),
    }
}

fn video(
    track: &Track,
    codec: &str,
    container: Container,
    description: Option<Bytes>,
    label: Option<String>,
) -> Result<VideoConfig, String> {
    let mut config = VideoConfig::new(parse_codec::<hang::catalog::VideoCodec>(codec)?);
    config.container = container;
    config.description = description;
    config.label = label;
    config.coded_width = track.width;
    config.coded_height = track.height;
    config.framerate = track.framerate;
    config.bitrate = track.bitrate;
    config.stalled = track.stalled;
    config.jitter = track.jitter;
    config.delay = track.delay;
    Ok(config)
}

fn audio(
    track: &Track,
    codec: &str,
    container: Container,
    description: Option<Bytes>,
    label: Option<String>,
) -> Result<AudioConfig, String> {
    let codec = parse_codec::<AudioCodec>(codec)?;
    let channels = track.channel_config.as_deref();
    let stated = track
        .samplerate
        .zip(channels.and_then(|text| text.parse().ok()));
    let (rate, channels) = match stated {
        Some(stated) => stated,
        // Both are optional here, and most codecs say them in their initialization data.
        None => {
            let derived = description
                .as_deref()
                .and_then(|bytes| parameters(&codec, bytes));
            derived.ok_or("it does not say its sample rate and channels")?
        }
    };
    let mut config = AudioConfig::new(codec, rate, channels);
    config.container = container;
    config.description = description;
    config.label = label;
    config.bitrate = track.bitrate;
    config.jitter = track.jitter;
    config.delay = track.delay;
    Ok(config)
}

fn parse_codec<T: FromStr<Err: std::fmt::Display>>(codec: &str) -> Result<T, String> {
    rendition::check_codec(codec)?;
    codec.parse().map_err(|err: T::Err| err.to_string())
}

/// Sample rate in Hz and channels by a codec's initialization data.
fn parameters(codec: &AudioCodec, mut init: &[u8]) -> Option<(u32, u32)> {
    match codec {
        AudioCodec::AAC(_) => {
            let config = aac::Config::parse(&mut init).ok()?;
            Some((config.sample_rate, config.channel_count))
        }
        AudioCodec::Opus => {
            let config = opus::Config::parse(&mut init).ok()?;
            Some((config.sample_rate, config.channel_count))
        }
        AudioCodec::Flac => {
            let config = flac::Config::parse(&mut init).ok()?;
            Some((config.sample_rate, config.channel_count))
        }
        _ => None,
    }
}

/// The track's initialization data: its own (draft-00), or what it refers to in the catalog's list.
fn init_data(track: &Value, inits: &HashMap<&str, &Value>) -> Result<Option<Bytes>, String> {
    let data = match track["initRef"].as_str() {
        Some(id) => {
            let init = inits.get(id);
            let init =
                init.filter(|init| init["type"].as_str().is_none_or(|kind| kind == "inline"));
            let data = init.map(|init| &init["data"]);
            let data = data.filter(|data| data.is_string());
            data.ok_or("its initialization data is not in the catalog")?
        }
        None => &track["initData"],
    };
    check_length("initialization data", data, MAX_INIT)?;
    let Some(text) = data.as_str() else {
        return Ok(None);
    };
    let data = BASE64_STANDARD.decode(text);
    let data = data.map_err(|err| format!("its initialization data is not base64: {err}"))?;
    Ok(Some(data.into()))
}
