//! hang's catalog: renditions by kind and name.

use serde_json::Value;

use super::entries::Found;
use crate::media::{caps::Rendition, codec::Kind};

/// What the catalog lists, in its order.
pub(super) fn renditions(catalog: &Value) -> impl Iterator<Item = Found<'_>> {
    Kind::ALL.into_iter().flat_map(|kind| {
        let listed = catalog[section(kind)]["renditions"].as_object();
        listed
            .into_iter()
            .flatten()
            .map(move |(name, value)| Found {
                name,
                rendition: Rendition::from_json(kind, value).map_err(|err| err.to_string()),
            })
    })
}

/// The catalog's section for tracks of a kind.
fn section(kind: Kind) -> &'static str {
    match kind {
        Kind::Video | Kind::Audio | Kind::Text => kind.name(),
        Kind::Data => "gstData",
    }
}
