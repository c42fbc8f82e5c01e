// SPDX-License-Identifier: MIT
//! One session that a peer has opened.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use moq_net::Session;

use super::admission::SessionRequest;
use crate::{
    media::control::path::Counts,
    net::stats::{SessionCounters, counts, with_transport},
};

/// A session, with what is known of its peer.
pub(crate) struct PeerSession {
    id: u64,
    request: SessionRequest,
    session: Session,
    counters: PeerCounters,
}

/// The counters of one session, which count for its listener, too.
pub(super) struct PeerCounters {
    id: u64,
    counters: SessionCounters,
    subscriptions: SubscriptionCount,
}

/// Counts the subscriptions that all sessions of a listener have ever made to tracks, catalogs among them.
#[derive(Clone, Default)]
pub(crate) struct SubscriptionCount(Arc<Mutex<Subscriptions>>);

#[derive(Default)]
struct Subscriptions {
    sessions: HashMap<u64, SessionCounters>,
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
        counters: PeerCounters,
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
        let traffic = self.counters.counters.traffic();
        let structure = self
            .describe(gst::Structure::builder("moq-session-stats"))
            .field("bytes", traffic.bytes)
            .field("frames", traffic.frames)
            .field("groups", traffic.groups)
            .field("dropped-frames", traffic.stale.frames)
            .field("dropped-groups", traffic.stale.groups);
        with_transport(structure, &self.session.stats()).build()
    }

    /// What the estimate of its rate needs; `None` where the transport does not count that.
    pub(in crate::net) fn counts(&self) -> Option<Counts> {
        counts(&self.session.stats(), &self.counters.counters)
    }
}

impl PeerCounters {
    /// Of the session `id`, for `subscriptions` too.
    pub(super) fn new(id: u64, subscriptions: &SubscriptionCount) -> Self {
        let counters = SessionCounters::new();
        subscriptions.all().sessions.insert(id, counters.clone());
        Self {
            id,
            counters,
            subscriptions: subscriptions.clone(),
        }
    }

    /// What a handshake takes.
    pub(super) fn meter(&self) -> moq_net::stats::Session {
        self.counters.meter()
    }
}

impl Drop for PeerCounters {
    fn drop(&mut self) {
        let mut all = self.subscriptions.all();
        all.sessions.remove(&self.id);
        all.ended += self.counters.subscriptions();
    }
}

impl SubscriptionCount {
    pub(crate) fn total(&self) -> u64 {
        let all = self.all();
        let live = all.sessions.values().map(SessionCounters::subscriptions);
        all.ended + live.sum::<u64>()
    }

    fn all(&self) -> MutexGuard<'_, Subscriptions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for PeerSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "session {} of {:?}", self.id, self.request)
    }
}
