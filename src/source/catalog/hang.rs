// SPDX-License-Identifier: MIT
//! hang's catalog: tracks by section and name.

use serde_json::Value;

use super::format::{ListedTrack, MAX_CODEC, MAX_INIT, check_length};
use crate::media::format::rendition::{Rendition, SECTIONS};

/// How many tracks the catalog lists beyond `most` of a section.
pub(crate) fn left_out(catalog: &Value, most: usize) -> usize {
    let listed = SECTIONS.map(|(section, tracks)| catalog[section][tracks].as_object());
    let counts = listed.into_iter().flatten().map(serde_json::Map::len);
    counts.map(|count| count.saturating_sub(most)).sum()
}

/// What the catalog lists, in its order, `most` of each section.
pub(crate) fn renditions(catalog: &Value, most: usize) -> impl Iterator<Item = ListedTrack<'_>> {
    SECTIONS.into_iter().flat_map(move |(section, tracks)| {
        let listed = catalog[section][tracks].as_object();
        let listed = listed.into_iter().flatten().take(most);
        listed.map(move |(name, value)| ListedTrack {
            name,
            language: value["lang"].as_str(),
            group: None,
            rendition: rendition(section, value),
        })
    })
}

fn rendition(section: &str, entry: &Value) -> Result<Rendition, String> {
    check_length("codec", &entry["codec"], MAX_CODEC)?;
    check_length("description", &entry["description"], MAX_INIT)?;
    let init = &entry["container"]["init"];
    check_length("initialization data", init, MAX_INIT)?;
    Rendition::from_json(section, entry).map_err(|err| err.to_string())
}
