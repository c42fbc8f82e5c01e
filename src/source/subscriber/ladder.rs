// SPDX-License-Identifier: MIT
//! The renditions of one pad, and which of them it gives.

use std::time::Duration;

use crate::{
    media::{
        catalog::reconcile::Rendition as _,
        control::rendition::{Adaptation, Decision, Progress, Situation},
    },
    source::{
        catalog::Entry,
        selection::{Choice, RenditionPolicy},
    },
};

/// What a pad may give, by what people wish and by what the network carries.
pub(super) struct Ladder {
    policy: RenditionPolicy,
    choice: Choice,
    adaptation: Adaptation,
    /// A person has picked a rendition to begin with, which has not been done yet.
    picks: bool,
}

impl Ladder {
    pub(super) fn new(policy: RenditionPolicy, choice: Choice) -> Self {
        Self {
            policy,
            picks: choice.picked.is_some(),
            choice,
            adaptation: Adaptation::default(),
        }
    }

    /// Whether `choice` has a rendition that this has.
    pub(super) fn shares(&self, choice: &Choice) -> bool {
        let mut entries = choice.entries.iter();
        entries.any(|entry| self.place_of(entry).is_some())
    }

    /// The pad is to give one of these from now on.
    pub(super) fn update(&mut self, choice: Choice) {
        let picked = |choice: &Choice| {
            choice
                .picked
                .map(|place| choice.entries[place].name.clone())
        };
        self.picks = choice.picked.is_some() && picked(&choice) != picked(&self.choice);
        let names = |choice: &Choice| {
            let names = choice.entries.iter().map(|entry| entry.name.clone());
            names.collect::<Vec<_>>()
        };
        if names(&choice) != names(&self.choice) {
            self.adaptation.reset();
        }
        self.choice = choice;
    }

    /// The rendition that the pad is to give, which gives `shown`, unless the network says otherwise.
    pub(super) fn target(&mut self, shown: Option<&Entry>) -> Entry {
        let Choice { held, picked, .. } = self.choice;
        let picked = picked
            .filter(|_| std::mem::take(&mut self.picks) || self.policy == RenditionPolicy::Best);
        let shown = shown.and_then(|shown| self.place_of(shown));
        let place = held.or(picked).or_else(|| match self.policy {
            RenditionPolicy::Adaptive => shown.or_else(|| Some(Adaptation::first(&self.rates()))),
            RenditionPolicy::Best | RenditionPolicy::All => None,
        });
        self.entry(place.unwrap_or(0))
    }

    /// The entry at this place, which [`Self::decide`] gave.
    pub(super) fn entry(&self, place: usize) -> Entry {
        let last = self.choice.entries.len() - 1;
        self.choice.entries[place.min(last)].clone()
    }

    pub(super) fn place_of(&self, entry: &Entry) -> Option<usize> {
        self.choice.place_of(entry)
    }

    /// The place of the track of this name.
    pub(super) fn place_named(&self, name: &str) -> Option<usize> {
        let mut entries = self.choice.entries.iter();
        entries.position(|entry| entry.name == name)
    }

    /// What was decided last is not to be done.
    pub(super) fn refuse(&mut self, now: Duration) {
        self.adaptation.refuse(now);
    }

    /// Whether the network has a say.
    pub(super) fn is_adaptive(&self) -> bool {
        self.policy == RenditionPolicy::Adaptive
            && self.choice.held.is_none()
            && self.choice.entries.len() > 1
    }

    /// Another rendition is given now.
    pub(super) fn switched(&mut self) {
        self.adaptation.switched();
    }

    /// What is to be done, with the `current` rendition and the `other` one that is read.
    pub(super) fn decide(
        &mut self,
        now: Duration,
        latency: Duration,
        current: (usize, Progress),
        other: Option<(usize, Progress)>,
    ) -> Decision {
        let rates = self.rates();
        self.adaptation.decide(&Situation {
            now,
            latency,
            rates: &rates,
            current: current.0,
            progress: current.1,
            other,
        })
    }

    fn rates(&self) -> Vec<u64> {
        let entries = self.choice.entries.iter();
        entries.map(|entry| entry.traits.rate()).collect()
    }

    /// Whether the two are the same track, or follow each other.
    pub(super) fn is_same(one: &Entry, other: &Entry) -> bool {
        one.name == other.name || one.lineage() == other.lineage()
    }
}
