// SPDX-License-Identifier: MIT
//! Who subscribes to a pad's track, and whether the pad rests while nobody does.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use moq_net::track;
use tokio::{
    sync::Notify,
    task::{AbortHandle, JoinSet},
    time::Instant,
};

use crate::net::listen::SubscriptionCount;

/// How long a track without a subscriber goes on, and how long subscribers have to follow it to the next.
const REST_DELAY: Duration = Duration::from_secs(3);

/// The tasks that watch who subscribes to the tracks of all pads, one for each track.
#[derive(Default)]
pub(super) struct DemandTasks {
    tasks: JoinSet<()>,
    changed: Arc<Notify>,
    /// Counts for the sessions of a listener; a relay subscribes once for all.
    count: Option<SubscriptionCount>,
}

/// Whether a track has a subscriber, kept up to date until this is dropped.
pub(super) struct Subscribers {
    watched: Arc<Watched>,
    /// Holds on to the track.
    task: AbortHandle,
}

#[derive(Default)]
struct Watched {
    exist: AtomicBool,
    /// Another one has come since this was last asked for.
    joined: AtomicBool,
}

impl Drop for Subscribers {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Whether somebody subscribes to a pad's track, and what that means for its frames.
#[derive(Default)]
pub(super) struct Demand {
    drops_unwatched: bool,
    /// Those of the track, if there is one.
    subscribers: Option<Subscribers>,
    subscribed: bool,
    /// The subscribers of the track before are still expected.
    follows: bool,
    /// Since when the track has had no subscriber.
    unwatched_since: Option<Instant>,
    resting: bool,
    /// There is no room for it beside smaller renditions.
    crowded_out: bool,
    /// A subscriber has come since this was last asked for.
    joined: bool,
}

impl DemandTasks {
    /// Tells a subscriber that comes beside another one by this count.
    pub(super) fn count_by(&mut self, count: Option<SubscriptionCount>) {
        self.count = count;
    }

    pub(super) fn watch(&mut self, mut track: track::Producer) -> Subscribers {
        // The tasks of tracks that are gone.
        while self.tasks.try_join_next().is_some() {}
        let shared = Arc::<Watched>::default();
        let (watched, changed) = (shared.clone(), self.changed.clone());
        let count = self.count.clone();
        let task = self.tasks.spawn(async move {
            let mut counted = 0;
            let mut existed = false;
            while let Ok(change) =
                subscribers_changed(&mut track, count.as_ref(), &mut counted).await
            {
                let exist = change.exist.unwrap_or(existed);
                let joined = exist && (change.more || !existed);
                watched.joined.fetch_or(joined, Ordering::Relaxed);
                watched.exist.store(exist, Ordering::Relaxed);
                existed = exist;
                changed.notify_one();
            }
        });
        Subscribers {
            watched: shared,
            task,
        }
    }

    /// Returns when a track has got a subscriber or lost its last one. Cancel safe.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}

/// What has happened to the subscribers of a track.
struct Change {
    /// Whether there are any, if that may have changed.
    exist: Option<bool>,
    /// Sessions have subscribed to something.
    more: bool,
}

/// Waits until what the subscribers of a track want together has changed, or until one of them has and
/// `count` is above `counted`.
///
/// The library says how the subscriptions of a track combine, not how many they are, but it wakes whoever
/// waits for that with each one that comes, goes or changes. One has come if sessions have subscribed to
/// something meanwhile.
async fn subscribers_changed(
    track: &mut track::Producer,
    count: Option<&SubscriptionCount>,
    counted: &mut u64,
) -> Result<Change, moq_net::Error> {
    // Not by `used`: whoever only asks what the track is uses it, too.
    let mut combined = pin!(track.subscription_changed());
    poll_fn(|context| {
        let exist = match combined.as_mut().poll(context) {
            Poll::Ready(Ok(combined)) => Some(combined.is_some()),
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => None,
        };
        let total = count.map_or(0, SubscriptionCount::total);
        let more = std::mem::replace(counted, total) < total;
        match exist.is_some() || more {
            true => Poll::Ready(Ok(Change { exist, more })),
            false => Poll::Pending,
        }
    })
    .await
}

impl Demand {
    pub(super) fn set_drops_unwatched(&mut self, drops: bool) {
        self.drops_unwatched = drops;
        self.resting &= drops;
    }

    /// A track begins.
    pub(super) fn begin(&mut self, subscribers: Subscribers, now: Instant) {
        self.subscribers = Some(subscribers);
        self.follows = self.subscribed;
        self.update(now);
    }

    /// The track is over; another one may follow.
    pub(super) fn suspend(&mut self) {
        (self.subscribers, self.unwatched_since, self.resting) = (None, None, false);
    }

    /// The track is over, and none follows.
    pub(super) fn end(&mut self) {
        self.suspend();
        self.subscribed = false;
    }

    /// Takes in who subscribes at `now`.
    pub(super) fn update(&mut self, now: Instant) {
        let Some(subscribers) = &self.subscribers else {
            return;
        };
        self.joined |= subscribers.watched.joined.swap(false, Ordering::Relaxed);
        if subscribers.watched.exist.load(Ordering::Relaxed) {
            (self.unwatched_since, self.resting) = (None, false);
            (self.subscribed, self.follows) = (true, false);
            return;
        }
        let since = *self.unwatched_since.get_or_insert(now);
        self.follows &= now < since + REST_DELAY;
        self.subscribed &= self.follows;
    }

    /// When [`Self::update`] has something to do although no subscriber has come or left.
    pub(super) fn wake(&self) -> Option<Instant> {
        let since = self.unwatched_since.filter(|_| self.follows)?;
        Some(since + REST_DELAY)
    }

    /// Rests where a group has ended, if nobody has subscribed for long enough.
    pub(super) fn group_ended(&mut self) {
        let unwatched = self.unwatched_since.filter(|_| self.drops_unwatched);
        self.resting |= unwatched.is_some_and(|since| since.elapsed() >= REST_DELAY);
    }

    pub(super) fn is_subscribed(&self) -> bool {
        self.subscribed
    }

    /// Whether a subscriber has come since the last call.
    pub(super) fn take_joined(&mut self) -> bool {
        std::mem::take(&mut self.joined)
    }

    /// Whether frames are dropped because nobody subscribes, or for lack of room.
    pub(super) fn is_resting(&self) -> bool {
        self.resting || self.crowded_out
    }

    /// Whether the network has no room for it beside smaller renditions.
    pub(super) fn set_crowded_out(&mut self, crowded_out: bool) {
        self.crowded_out = crowded_out;
    }

    pub(super) fn is_crowded_out(&self) -> bool {
        self.crowded_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscribers(exist: bool) -> (Subscribers, Arc<Watched>) {
        let watched = Arc::new(Watched {
            exist: AtomicBool::new(exist),
            joined: AtomicBool::new(exist),
        });
        let subscribers = Subscribers {
            watched: watched.clone(),
            task: tokio::spawn(async {}).abort_handle(),
        };
        (subscribers, watched)
    }

    #[tokio::test(start_paused = true)]
    async fn a_pad_rests_at_the_end_of_a_group_once_nobody_has_subscribed_for_a_while() {
        let mut demand = Demand::default();
        let (track, watched) = subscribers(false);
        demand.begin(track, Instant::now());
        demand.set_drops_unwatched(true);
        demand.group_ended();
        assert!(!demand.is_resting(), "subscribers may be on their way");
        tokio::time::advance(REST_DELAY).await;
        demand.update(Instant::now());
        assert!(!demand.is_resting(), "the group is open");
        demand.group_ended();
        assert!(demand.is_resting());
        watched.exist.store(true, Ordering::Relaxed);
        demand.update(Instant::now());
        assert!(demand.is_subscribed() && !demand.is_resting());
    }

    #[tokio::test(start_paused = true)]
    async fn always_never_rests() {
        let mut demand = Demand::default();
        demand.begin(subscribers(false).0, Instant::now());
        tokio::time::advance(REST_DELAY).await;
        demand.group_ended();
        assert!(!demand.is_resting());
        demand.set_drops_unwatched(true);
        demand.group_ended();
        assert!(demand.is_resting());
        demand.set_drops_unwatched(false);
        assert!(!demand.is_resting());
    }

    #[tokio::test(start_paused = true)]
    async fn a_track_that_follows_another_is_subscribed_until_its_subscribers_stay_away() {
        let mut demand = Demand::default();
        demand.begin(subscribers(true).0, Instant::now());
        demand.suspend();
        demand.begin(subscribers(false).0, Instant::now());
        assert!(demand.is_subscribed());
        tokio::time::advance(REST_DELAY / 2).await;
        demand.update(Instant::now());
        assert!(demand.is_subscribed());
        let wake = demand.wake().expect("they are waited for");
        demand.update(wake);
        assert!(!demand.is_subscribed());
        demand.begin(subscribers(true).0, Instant::now());
        demand.end();
        assert!(!demand.is_subscribed());
    }
}
