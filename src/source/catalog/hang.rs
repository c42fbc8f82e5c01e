//! hang's catalog: tracks by section and name.

use serde_json::Value;

use super::entries::Found;
use crate::media::rendition::{Rendition, SECTIONS};

/// How many tracks the catalog lists.
pub(super) fn count(catalog: &Value) -> usize {
    let listed = SECTIONS.map(|(section, tracks)| catalog[section][tracks].as_object());
    listed.into_iter().flatten().map(serde_json::Map::len).sum()
}

/// What the catalog lists, in its order.
pub(super) fn renditions(catalog: &Value) -> impl Iterator<Item = Found<'_>> {
    SECTIONS.into_iter().flat_map(|(section, tracks)| {
        let listed = catalog[section][tracks].as_object();
        listed
            .into_iter()
            .flatten()
            .map(move |(name, value)| Found {
                name,
                rendition: Rendition::from_json(section, value).map_err(|err| err.to_string()),
            })
    })
}
