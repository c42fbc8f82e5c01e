// SPDX-License-Identifier: MIT
//! The broadcasts beneath a prefix, as they are announced, and which of them is the next to be taken.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use moq_net::{PathOwned, announce, origin};
use tokio::time::Instant;

use super::{broadcast::at, external};
use crate::{element::app_queue::AppQueue, media::catalog::name, source::discovery::Discovery};

/// More broadcasts are not looked at: each costs memory here and in the application.
const MAX_BROADCASTS: usize = 1000;
/// Those that are announced within this time, as all are when a session begins, count as announced at once:
/// a session gives them in no order.
const SETTLE_TIME: Duration = Duration::from_millis(50);

/// Follows the announcements beneath a prefix.
pub(super) struct Announcements {
    prefix: PathOwned,
    announced: announce::Consumer,
    candidates: Candidates,
    discovery: Arc<Discovery>,
    app_queue: Arc<AppQueue>,
    /// One was left out for want of room.
    left_out: bool,
}

impl Announcements {
    /// Those in `origin`, of which the application hears by `discovery`.
    pub(super) fn new(
        prefix: &str,
        origin: &origin::Producer,
        discovery: Arc<Discovery>,
        app_queue: Arc<AppQueue>,
    ) -> Self {
        let scoped = external::scope(origin, [prefix]);
        Self {
            prefix: moq_net::Path::new(prefix).to_owned(),
            announced: scoped.consume().announced(),
            candidates: Candidates::default(),
            discovery,
            app_queue,
            left_out: false,
        }
    }

    /// Takes in the next announcement; cancel safe.
    pub(super) async fn next(&mut self) {
        loop {
            let due = self.discovery.due().map(Instant::from_std);
            tokio::select! {
                biased;
                () = at(due) => self.discovery.tell(&self.app_queue),
                update = self.announced.next() => match update {
                    Some(update) => {
                        self.take(&update);
                        return;
                    }
                    // The run ends.
                    None => return std::future::pending().await,
                }
            }
        }
    }

    fn take(&mut self, update: &announce::Update) {
        let path = self.announced.absolute(&update.prefix);
        // Whoever announces a prefix serves what is asked for beneath it, and says no name.
        let is_name = path.has_prefix(&self.prefix) && path.len() > self.prefix.len();
        let name = path.as_str();
        if !is_name || name::fault(name).is_some() {
            return;
        }
        if !update.kind.is_active() {
            if self.candidates.remove(name) {
                self.discovery.remove(name);
            }
        } else if self.candidates.len() >= MAX_BROADCASTS {
            self.left_out |= !self.candidates.contains(name);
        } else if self.candidates.add(name, Instant::now()) {
            self.discovery.add(name);
        }
    }

    /// Whether broadcasts have been left out since this was asked last, because there are so many.
    pub(super) fn left_out(&mut self) -> Option<usize> {
        std::mem::take(&mut self.left_out).then_some(MAX_BROADCASTS)
    }

    pub(super) fn candidates(&mut self) -> &mut Candidates {
        &mut self.candidates
    }
}

/// The broadcasts that are there, in the order in which they are taken.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    /// The place of each; none once it has ended, or was found to be without a catalog too often.
    places: HashMap<String, Option<Place>>,
    order: BTreeSet<(Place, String)>,
    /// Those of one round were announced at once; when the newest round has begun.
    round: u64,
    began: Option<Instant>,
}

/// Where a broadcast stands: those that could not be read come last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    failed: bool,
    round: u64,
}

/// The next one to be taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) name: String,
    /// From when on no earlier one may appear.
    pub(super) settled_at: Instant,
    /// It could not be read before.
    pub(super) failed: bool,
}

impl Candidates {
    /// It is announced; whether it was not before.
    fn add(&mut self, name: &str, now: Instant) -> bool {
        if self.contains(name) {
            return false;
        }
        let round = self.round(now);
        self.set(
            name,
            Some(Place {
                failed: false,
                round,
            }),
        );
        true
    }

    /// It is announced no more; whether it was.
    fn remove(&mut self, name: &str) -> bool {
        let known = self.contains(name);
        self.set(name, None);
        self.places.remove(name);
        known
    }

    /// It has ended: it is taken no more until it is announced anew.
    pub(super) fn end(&mut self, name: &str) {
        if self.contains(name) {
            self.set(name, None);
        }
    }

    /// It cannot be read: all others are taken before.
    pub(super) fn fail(&mut self, name: &str, now: Instant) {
        if self.places.get(name).is_some_and(Option::is_some) {
            let round = self.round(now);
            self.set(
                name,
                Some(Place {
                    failed: true,
                    round,
                }),
            );
        }
    }

    /// Whether it is announced.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    fn len(&self) -> usize {
        self.places.len()
    }

    /// The one to take: `before`, which was taken before, if it is there and has not failed; else that which
    /// was announced first, and of those that were announced at once the first one by name.
    pub(super) fn first(&self, before: Option<&str>) -> Option<Candidate> {
        let before = before.and_then(|name| {
            let place = (*self.places.get(name)?)?;
            (!place.failed).then_some((place, name))
        });
        let first = self.order.first();
        let (place, name) =
            before.or_else(|| first.map(|(place, name)| (*place, name.as_str())))?;
        let began = self.began.filter(|_| place.round == self.round);
        Some(Candidate {
            name: name.to_owned(),
            settled_at: began.map_or_else(Instant::now, |began| began + SETTLE_TIME),
            failed: place.failed,
        })
    }

    /// The round of what happens `now`.
    fn round(&mut self, now: Instant) -> u64 {
        if self.began.is_none_or(|began| now >= began + SETTLE_TIME) {
            self.round += 1;
            self.began = Some(now);
        }
        self.round
    }

    fn set(&mut self, name: &str, place: Option<Place>) {
        let before = self.places.insert(name.to_owned(), place).flatten();
        if let Some(before) = before {
            self.order.remove(&(before, name.to_owned()));
        }
        if let Some(place) = place {
            self.order.insert((place, name.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(candidates: &Candidates, before: Option<&str>) -> Option<String> {
        candidates.first(before).map(|candidate| candidate.name)
    }

    #[test]
    fn the_first_is_that_which_was_announced_first_and_then_by_name() {
        let start = Instant::now();
        let mut candidates = Candidates::default();
        assert_eq!(candidates.first(None), None);
        for (name, ms) in [("c", 0), ("b", 40), ("a", 60), ("d", 200)] {
            assert!(candidates.add(name, start + Duration::from_millis(ms)));
            assert!(!candidates.add(name, start));
        }
        let mut order = Vec::new();
        while let Some(name) = first(&candidates, None) {
            assert!(candidates.remove(&name) && !candidates.remove(&name));
            order.push(name);
        }
        assert_eq!(order, ["b", "c", "a", "d"]);
    }

    #[test]
    fn nothing_is_taken_before_the_announcements_of_its_time_are_there() {
        let start = Instant::now();
        let mut candidates = Candidates::default();
        candidates.add("a", start);
        let settled = |candidates: &Candidates| candidates.first(None).expect("one").settled_at;
        assert_eq!(settled(&candidates), start + SETTLE_TIME);
        candidates.add("b", start + SETTLE_TIME);
        assert!(settled(&candidates) <= Instant::now());
    }

    #[test]
    fn the_one_before_is_taken_again_while_it_is_there_and_can_be_read() {
        let now = Instant::now();
        let mut candidates = Candidates::default();
        candidates.add("a", now);
        candidates.add("b", now);
        assert_eq!(first(&candidates, Some("b")).as_deref(), Some("b"));
        assert_eq!(first(&candidates, Some("c")).as_deref(), Some("a"));
        candidates.fail("b", now);
        assert_eq!(first(&candidates, Some("b")).as_deref(), Some("a"));
        candidates.fail("a", now + SETTLE_TIME);
        assert_eq!(first(&candidates, None).as_deref(), Some("b"));
        candidates.end("b");
        assert_eq!(first(&candidates, Some("b")).as_deref(), Some("a"));
        candidates.end("a");
        assert_eq!(first(&candidates, None), None);
        assert!(candidates.contains("a") && candidates.remove("a"));
        candidates.add("a", now);
        assert_eq!(first(&candidates, None).as_deref(), Some("a"));
    }
}
