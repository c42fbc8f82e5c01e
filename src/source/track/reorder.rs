// SPDX-License-Identifier: MIT
//! The beginning of a track that continues another one: nothing of it that still comes is left out.

use std::{collections::BTreeMap, time::Duration};

use moq_net::{group, track};
use tokio::time::{Instant, timeout_at};

/// How much of such a track is taken, however late it comes, and for how long it may be late.
pub(super) const MAX_BACKLOG: Duration = Duration::from_secs(5);
/// How long its next group may be overtaken by later ones: a few round trips of a long way.
const REORDER_TIMEOUT: Duration = Duration::from_secs(2);
/// How many groups may overtake it.
const MAX_EARLY_GROUPS: usize = 1000;

/// Brings groups, which overtake each other on their own streams, back into order.
///
/// The library's own cursor cannot wait for one group: with a limit behind it, it takes the end of
/// what is within the limit for the end of the track.
pub(super) struct GroupReorderBuffer {
    subscriber: track::Subscriber,
    /// What is asked for afterwards.
    rest: track::Subscription,
    /// The number of the next group.
    next: u64,
    /// Groups that have overtaken it.
    early: BTreeMap<u64, group::Consumer>,
    /// When it is given up, once others have overtaken it.
    give_up_at: Option<Instant>,
    /// When the beginning is over, however much is missing.
    until: Instant,
    begun: bool,
    caught_up: bool,
}

impl GroupReorderBuffer {
    pub(super) fn new(subscriber: track::Subscriber, rest: track::Subscription) -> Self {
        Self {
            subscriber,
            rest,
            next: 0,
            early: BTreeMap::new(),
            give_up_at: None,
            until: Instant::now() + MAX_BACKLOG,
            begun: false,
            caught_up: false,
        }
    }

    /// Whether the rest can be read as every track is.
    pub(super) fn is_over(&self) -> bool {
        self.caught_up || (self.early.is_empty() && Instant::now() >= self.until)
    }

    /// What follows the beginning.
    pub(super) fn rest(self) -> track::Ordered {
        let mut groups = self.subscriber.ordered();
        groups.set_groups(self.next..);
        // Refused only when the track has ended.
        let _ = groups.update(self.rest);
        groups
    }

    /// The next group; cancel safe.
    pub(super) async fn next(&mut self) -> Result<Option<group::Consumer>, moq_net::Error> {
        loop {
            if let Some(group) = self.due() {
                self.hand_out(&group);
                return Ok(Some(group));
            }
            let received = self.subscriber.recv_group();
            let received = match self.give_up_at {
                Some(at) => timeout_at(at, received).await,
                None => Ok(received.await),
            };
            match received {
                Ok(Ok(Some(group))) => self.receive(group),
                Ok(end) if self.early.is_empty() => return end,
                // Whether it was waited for long enough, or the track has ended: it comes no more.
                Ok(_) | Err(_) => self.skip(),
            }
        }
    }

    fn due(&mut self) -> Option<group::Consumer> {
        let first = self.early.first_entry()?;
        (*first.key() == self.next).then(|| first.remove())
    }

    fn receive(&mut self, group: group::Consumer) {
        if group.sequence < self.next {
            return;
        }
        self.early.insert(group.sequence, group);
        let patience = (Instant::now() + REORDER_TIMEOUT).min(self.until);
        self.give_up_at.get_or_insert(patience);
        if self.early.len() > MAX_EARLY_GROUPS {
            self.skip();
        }
    }

    /// Gives up what is missing before the first group that is there.
    fn skip(&mut self) {
        if let Some(sequence) = self.early.keys().next() {
            self.next = *sequence;
        }
    }

    fn hand_out(&mut self, group: &group::Consumer) {
        self.next = group.sequence.saturating_add(1);
        self.give_up_at = match self.early.is_empty() {
            true => None,
            false => Some((Instant::now() + REORDER_TIMEOUT).min(self.until)),
        };
        // The first one may be the latest only because the next has not come yet.
        if std::mem::replace(&mut self.begun, true)
            && self.subscriber.latest() == Some(group.sequence)
        {
            self.caught_up = true;
            // Refused only when the track has ended.
            let _ = self.subscriber.update(self.rest.clone());
        }
    }
}
