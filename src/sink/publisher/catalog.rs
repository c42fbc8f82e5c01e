// SPDX-License-Identifier: MIT
//! What a broadcast lists: the names of its tracks and their entries.

use std::{collections::BTreeSet, time::Duration};

use moq_mux::{Clock, catalog};
use moq_net::broadcast;
use tokio::time::Instant;

use crate::{
    media::{
        catalog::{data::Sections, description::Orientation, name::Names},
        format::rendition::{self, Rendition},
    },
    net::error::Error,
    sink::message::PadId,
};

/// Descriptions that change all the time are listed at this interval.
const DESCRIPTION_INTERVAL: Duration = Duration::from_millis(250);

/// The catalog of one broadcast, from its first track to its end.
pub(super) struct Catalog {
    producer: catalog::Producer<Sections>,
    /// Withholds the catalog until it is complete: relays hand on every one that was published, and
    /// some players read the first alone.
    withheld: Option<catalog::Reserved<Sections>>,
    names: Names,
    /// The pads whose new descriptions are not listed yet, and when they may be.
    described: BTreeSet<PadId>,
    described_due: Instant,
}

/// What is listed of one track.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) rendition: Rendition,
    /// The name of the first of the tracks that it follows, if it follows any.
    pub(super) lineage: Option<String>,
    /// The track that it follows, which is listed still.
    pub(super) replaces: Option<String>,
}

impl Catalog {
    /// Creates the catalog tracks; nothing is published before [`Self::publish`].
    pub(super) fn new(broadcast: &mut broadcast::Producer, clock: Clock) -> Result<Self, Error> {
        let config = catalog::Config::default()
            .with_catalog(rendition::Catalog::default())
            .with_clock(clock);
        let producer = catalog::Producer::new(broadcast, config).map_err(Error::Publish)?;
        Ok(Self {
            withheld: Some(producer.reserve()),
            producer,
            names: Names::default(),
            described: BTreeSet::new(),
            described_due: Instant::now(),
        })
    }

    /// The next free track name of `base`, such as `camera-2`.
    pub(super) fn take_name(&mut self, base: &str) -> String {
        self.names.take(base)
    }

    /// Publishes what is listed, and from now on each change.
    pub(super) fn publish(&mut self) {
        self.withheld = None;
    }

    /// Lists a track in the place of the one that it follows. Without a `delay`, the listed one stays.
    pub(super) fn list(
        &mut self,
        entry: Entry,
        delay: Option<Duration>,
        orientation: Option<Orientation>,
    ) -> Result<(), Error> {
        let Entry {
            name,
            mut rendition,
            lineage,
            replaces,
        } = entry;
        self.edit(|catalog| {
            if let Some(replaced) = replaces {
                Rendition::delist(catalog, &replaced);
            }
            rendition.set_delay(delay.or(rendition.listed_delay(catalog, &name)));
            rendition.list(catalog, &name);
            if let Some(first) = lineage {
                catalog.ext.lineage.insert(name, first);
            }
            Orientation::list(orientation, catalog);
        })
    }

    pub(super) fn delist(&mut self, name: &str) -> Result<(), Error> {
        self.edit(|catalog| Rendition::delist(catalog, name))
    }

    /// States how the video of the broadcast is to be turned.
    pub(super) fn set_orientation(
        &mut self,
        orientation: Option<Orientation>,
    ) -> Result<(), Error> {
        self.edit(|catalog| Orientation::list(orientation, catalog))
    }

    /// A pad has a new description, which [`Self::take_described`] returns when it may be listed.
    pub(super) fn describe(&mut self, pad: PadId) {
        self.described.insert(pad);
    }

    /// The pads whose descriptions are to be listed at `now`.
    pub(super) fn take_described(&mut self, now: Instant) -> BTreeSet<PadId> {
        if self.described.is_empty() || now < self.described_due {
            return BTreeSet::new();
        }
        self.described_due = now + DESCRIPTION_INTERVAL;
        std::mem::take(&mut self.described)
    }

    /// When [`Self::take_described`] has something to return.
    pub(super) fn described_due(&self) -> Option<Instant> {
        (!self.described.is_empty()).then_some(self.described_due)
    }

    /// Says that the broadcast ends on purpose.
    pub(super) fn mark_end(&mut self) {
        // Refused only when the catalog is over anyway.
        let _ = self.edit(|catalog| catalog.ext.end = true);
        self.publish();
    }

    /// Ends the catalog tracks.
    pub(super) fn finish(&mut self) {
        // Refused only when the catalog is over anyway.
        let _ = self.producer.finish();
    }

    fn edit(&mut self, edit: impl FnOnce(&mut rendition::Catalog)) -> Result<(), Error> {
        self.producer.mutate(edit).map_err(Error::Catalog)
    }
}
