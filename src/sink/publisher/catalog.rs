// SPDX-License-Identifier: MIT
//! What a broadcast lists: the names of its tracks and their entries.

use std::{collections::BTreeSet, time::Duration};

use moq_mux::{Clock, catalog};
use moq_net::broadcast;
use tokio::time::Instant;

use crate::{
    media::{
        catalog::{data::Sections, name::Names},
        format::rendition,
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

impl Catalog {
    /// Creates the catalog tracks; nothing is published before [`Self::publish`].
    /// `returns` says that the requests of receivers are taken.
    pub(super) fn new(
        broadcast: &mut broadcast::Producer,
        clock: Clock,
        returns: bool,
    ) -> Result<Self, Error> {
        let mut initial = rendition::Catalog::default();
        initial.ext.returns = returns;
        let config = catalog::Config::default()
            .with_catalog(initial)
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

    /// Changes what is listed.
    pub(super) fn edit(&mut self, edit: impl FnOnce(&mut rendition::Catalog)) -> Result<(), Error> {
        self.producer.mutate(edit).map_err(Error::Catalog)
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
}
