//! hang's catalog: tracks by section and name.

use serde_json::Value;

use super::entries::Found;
use crate::media::format::rendition::{Rendition, SECTIONS};

/// How many tracks the catalog lists beyond `most` of a section.
pub(crate) fn left_out(catalog: &Value, most: usize) -> usize {
    let listed = SECTIONS.map(|(section, tracks)| catalog[section][tracks].as_object());
    let counts = listed.into_iter().flatten().map(serde_json::Map::len);
    counts.map(|count| count.saturating_sub(most)).sum()
}

/// What the catalog lists, in its order, `most` of each section.
pub(crate) fn renditions(catalog: &Value, most: usize) -> impl Iterator<Item = Found<'_>> {
    SECTIONS.into_iter().flat_map(move |(section, tracks)| {
        let listed = catalog[section][tracks].as_object();
        let listed = listed.into_iter().flatten().take(most);
        listed.map(move |(name, value)| Found {
            name,
            rendition: Rendition::from_json(section, value).map_err(|err| err.to_string()),
        })
    })
}
