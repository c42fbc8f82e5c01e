// SPDX-License-Identifier: MIT
//! One session that a peer has opened.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use moq_net::{
    Session,
    stats::{Registry, Role, Tier, Traffic},
};

use super::admission::SessionRequest;
use crate::net::stats::with_transport;

/// A session, with what is known of its peer.
pub(crate) struct PeerSession {
    id: u64,
    request: SessionRequest,
    session: Session,
    counters: SessionCounters,
}

/// Counts the media of one session.
pub(super) struct SessionCounters {
    id: u64,
    registry: Registry,
    subscriptions: SubscriptionCount,
}

/// Counts the subscriptions that all sessions of a listener have ever made to tracks, catalogs among them.
#[derive(Clone, Default)]
pub(crate) struct SubscriptionCount(Arc<Mutex<Subscriptions>>);

#[derive(Default)]
struct Subscriptions {
    sessions: HashMap<u64, Registry>,
    /// Of the sessions that have ended.
    ended: u64,
}

/// Why a session has ended.
#[derive(Debug, Clone)]
pub(crate) enum Reason {
    /// The element has stopped.
    Stopped,
    /// It was closed, or its path has failed, in the words of the library.
    Ended(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("the element has stopped"),
            Self::Ended(text) => f.write_str(text),
        }
    }
}

impl PeerSession {
    /// `counters` are those that its handshake was given.
    pub(super) fn new(
        id: u64,
        request: SessionRequest,
        session: Session,
        counters: SessionCounters,
    ) -> Self {
        Self {
            id,
            request,
            session,
            counters,
        }
    }

    /// Counts the sessions of a run.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn version(&self) -> moq_net::Version {
        self.session.version()
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// Adds who it is: `session` (guint64), `address`, `transport`, `path`, `moq-version`, and of a
    /// client certificate `subject` and `fingerprint`, all strings.
    pub(crate) fn describe(&self, structure: gst::structure::Builder) -> gst::structure::Builder {
        let structure = structure
            .field("session", self.id)
            .field("moq-version", self.session.version().to_string());
        self.request.describe(structure)
    }

    /// The structure `moq-session-stats`: who it is; `bytes`, `frames` and `groups` of all tracks that went to it
    /// or came from it, `dropped-frames` and `dropped-groups` that were too old for it by then (all
    /// guint64); and its transport's counters.
    pub(crate) fn stats(&self) -> gst::Structure {
        let traffic = self.counters.traffic();
        let structure = self
            .describe(gst::Structure::builder("moq-session-stats"))
            .field("bytes", traffic.bytes)
            .field("frames", traffic.frames)
            .field("groups", traffic.groups)
            .field("dropped-frames", traffic.stale.frames)
            .field("dropped-groups", traffic.stale.groups);
        with_transport(structure, &self.session.stats()).build()
    }
}

impl SessionCounters {
    /// Of the session `id`, for `subscriptions` too.
    pub(super) fn new(id: u64, subscriptions: &SubscriptionCount) -> Self {
        let registry = Registry::new(moq_net::stats::Config::new());
        let mut all = subscriptions.all();
        all.sessions.insert(id, registry.clone());
        drop(all);
        Self {
            id,
            registry,
            subscriptions: subscriptions.clone(),
        }
    }

    /// What a handshake takes.
    pub(super) fn meter(&self) -> moq_net::stats::Session {
        self.registry.tier(Tier::default()).session("")
    }

    fn traffic(&self) -> Traffic {
        let mut sum = Traffic::default();
        for (_, _, traffic) in self.registry.snapshot().traffic() {
            sum.add(traffic);
        }
        sum
    }
}

impl Drop for SessionCounters {
    fn drop(&mut self) {
        let mut all = self.subscriptions.all();
        all.sessions.remove(&self.id);
        all.ended += subscribed(&self.registry);
    }
}

impl SubscriptionCount {
    pub(crate) fn total(&self) -> u64 {
        let all = self.all();
        let live: u64 = all.sessions.values().map(subscribed).sum();
        all.ended + live
    }

    fn all(&self) -> MutexGuard<'_, Subscriptions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How often the peer of a session has subscribed to a track.
fn subscribed(registry: &Registry) -> u64 {
    let traffic = registry.snapshot().traffic();
    let published = traffic
        .iter()
        .filter(|(_, role, _)| *role == Role::Publisher);
    published
        .map(|(_, _, traffic)| traffic.subscriptions_started)
        .sum()
}

impl fmt::Debug for PeerSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "session {} of {:?}", self.id, self.request)
    }
}
