// SPDX-License-Identifier: MIT
//! How far the groups of a track came on their way to the next hop, and what a slow network makes of them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use moq_net::{group, track};
use tokio::task::JoinSet;

use crate::media::format::codec::Kind;

/// The groups of one track that have not reached the next hop.
///
/// A group is pending until the next hop has acknowledged it or it is too late. It is stuck when it was
/// too late after it had been finished: the library goes on sending it, below everything else, and
/// nothing takes it back from QUIC's send window.
pub(super) struct Delivery {
    kind: Kind,
    /// How much newer media may come until a group counts as late.
    max_late: Duration,
    /// The newest group of the track, delivered or not.
    newest: Option<group::Producer>,
    /// The oldest first.
    pending: Vec<Pending>,
    stuck: Vec<Pending>,
    /// How many bytes may be stuck before nothing new is put beside them; `None` where the next hops
    /// are many, of which each is only slow for itself.
    max_stuck: Option<usize>,
    /// What was given up since it was last asked for.
    given_up: GivenUp,
}

/// Groups, and the frames in them, that the network has not carried in time.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct GivenUp {
    pub(super) groups: u64,
    pub(super) frames: u64,
}

/// A group on its way to the next hop.
struct Pending {
    group: group::Producer,
    /// Both 0 until the group is finished.
    frames: u64,
    bytes: usize,
    /// The first timestamp of the next group, in microseconds.
    end: Option<u64>,
    /// Nobody took it in time: it is kept for those who want it as old as it is.
    is_past: bool,
    progress: Arc<Progress>,
}

/// What the task that watches a group knows of it.
#[derive(Default)]
struct Progress {
    /// A session has begun to send it.
    taken: AtomicBool,
    /// All of it was acknowledged, or the cache gave it up.
    done: AtomicBool,
}

/// The tasks that watch the groups of all tracks, one for each group.
#[derive(Default)]
pub(super) struct DeliveryTasks(JoinSet<()>);

impl Delivery {
    /// For groups of `kind`, which may be late by `max_late`; `max_stuck` is in bytes.
    pub(super) fn new(kind: Kind, max_late: Duration, max_stuck: Option<usize>) -> Self {
        Self {
            kind,
            max_late,
            newest: None,
            pending: Vec::new(),
            stuck: Vec::new(),
            max_stuck,
            given_up: GivenUp::default(),
        }
    }

    /// A group begins at `timestamp` microseconds.
    pub(super) fn begin(
        &mut self,
        group: &group::Producer,
        timestamp: u64,
        tasks: &mut DeliveryTasks,
    ) {
        if let Some(newest) = self.pending.last_mut().filter(|last| last.is_newest()) {
            newest.end = Some(timestamp);
        }
        self.newest = Some(group.clone());
        self.watch(group.clone(), tasks);
    }

    /// The newest group was finished with so many frames and bytes.
    pub(super) fn finished(&mut self, frames: usize, bytes: usize) {
        if let Some(newest) = self.pending.last_mut().filter(|last| last.is_newest()) {
            newest.frames = frames as u64;
            newest.bytes = bytes;
        }
    }

    /// The newest group was aborted with so many frames.
    pub(super) fn aborted(&mut self, frames: usize) {
        self.given_up.groups += 1;
        self.given_up.frames += frames as u64;
        self.pending.pop_if(|last| last.is_newest());
    }

    /// Takes back what nobody has taken, so that whoever comes later does not begin with it.
    pub(super) fn forget(&mut self) {
        let pending = self.pending.drain(..).map(|pending| pending.group);
        for group in pending.chain(self.newest.take()) {
            // Refused only when the group is over anyway.
            let _ = group.abort(moq_net::Error::Old);
        }
    }

    /// Whether the network has more to carry than it can: what is not finished yet is aborted then.
    ///
    /// Audio, text and data are small: late is better than lost, until much of it is stuck.
    pub(super) fn is_congested(&mut self) -> bool {
        self.stuck.retain(|stuck| !stuck.is_done());
        match (self.kind, self.max_stuck) {
            (_, None) => false,
            (Kind::Video, _) => !self.stuck.is_empty(),
            (Kind::Audio | Kind::Text | Kind::Data, Some(most)) => self.stuck_bytes() > most / 8,
        }
    }

    /// Whether so much is stuck that nothing new may be put beside it.
    pub(super) fn is_blocked(&self) -> bool {
        self.max_stuck.is_some_and(|most| self.stuck_bytes() > most)
    }

    /// Gives up what is too late now that `timestamp` microseconds was written, and returns what was
    /// given up since the last call.
    ///
    /// A group has until the newest frame is later than its end by the `max_age` of the most patient
    /// subscriber, which the track's own limits. One that nobody has taken by then is no more on its way:
    /// whoever fetches it later wants it as old as it is.
    pub(super) fn give_up(&mut self, timestamp: u64, track: &track::Producer) -> GivenUp {
        let max_late = self.max_late;
        let age = |pending: &Pending| {
            let age = pending.end.map(|end| timestamp.saturating_sub(end));
            age.map(Duration::from_micros)
        };
        for pending in &mut self.pending {
            pending.is_past |= !pending.is_taken() && age(pending) >= Some(max_late);
        }
        if self.pending.iter().any(Pending::is_outdated)
            && let Some(subscription) = track.subscription()
        {
            let late = |pending: &mut Pending| {
                pending.is_outdated() && age(pending) >= Some(subscription.max_age.min(max_late))
            };
            let late = self.pending.extract_if(.., late);
            // What one of many was too slow for has reached the others.
            for pending in late.filter(|_| self.max_stuck.is_some()) {
                self.given_up.groups += 1;
                self.given_up.frames += pending.frames;
                self.stuck.push(pending);
            }
        }
        std::mem::take(&mut self.given_up)
    }

    /// Whether all that a subscriber can still use has reached the next hop; `wanted` says that there
    /// is a subscriber.
    pub(super) fn is_complete(&mut self, wanted: bool) -> bool {
        self.pending.retain(|pending| !pending.is_done());
        // Older groups that nobody took are older than what the subscriber began with.
        let moving = self.pending.iter().any(Pending::is_moving);
        let owed = wanted && self.pending.iter().any(Pending::is_newest);
        !(moving || owed)
    }

    /// The connection was lost, and what was under way with it: the newest group is delivered again.
    pub(super) fn restart(&mut self, tasks: &mut DeliveryTasks) {
        self.stuck.clear();
        if let Some(newest) = self.newest.clone() {
            self.pending.clear();
            self.watch(newest, tasks);
        }
    }

    fn watch(&mut self, group: group::Producer, tasks: &mut DeliveryTasks) {
        self.pending.retain(|pending| !pending.is_done());
        let progress = tasks.watch(group.clone());
        self.pending.push(Pending {
            group,
            frames: 0,
            bytes: 0,
            end: None,
            is_past: false,
            progress,
        });
    }

    fn stuck_bytes(&self) -> usize {
        self.stuck.iter().map(|stuck| stuck.bytes).sum()
    }
}

impl Pending {
    /// Whether no group was begun after it: the newest one leaves the list when it is delivered, the
    /// last of the list may be older.
    fn is_newest(&self) -> bool {
        self.end.is_none()
    }

    fn is_taken(&self) -> bool {
        self.progress.taken.load(Ordering::Acquire)
    }

    /// Whether it was taken and has not got through.
    fn is_moving(&self) -> bool {
        !self.is_past && self.is_taken() && !self.is_done()
    }

    /// Whether it is under way still after a newer one has begun.
    fn is_outdated(&self) -> bool {
        !self.is_newest() && self.is_moving()
    }

    fn is_done(&self) -> bool {
        self.progress.done.load(Ordering::Acquire)
    }
}

impl DeliveryTasks {
    fn watch(&mut self, group: group::Producer) -> Arc<Progress> {
        let progress = Arc::<Progress>::default();
        let watched = progress.clone();
        // Ends by itself when nobody ever subscribes: the cache gives the group up.
        self.0.spawn(async move {
            if group.used().await.is_ok() {
                watched.taken.store(true, Ordering::Release);
                // An error says that the group was given up.
                let _ = group.unused().await;
            }
            watched.done.store(true, Ordering::Release);
        });
        progress
    }

    /// Returns when a group was delivered or given up, never while none is watched. Cancel safe.
    pub(super) async fn next(&mut self) {
        if self.0.join_next().await.is_none() {
            std::future::pending().await
        }
        while self.0.try_join_next().is_some() {}
    }
}
