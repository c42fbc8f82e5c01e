// SPDX-License-Identifier: MIT
//! Statistics of the connection, for the properties of both elements.

use std::{collections::BTreeMap, fmt};

use moq_net::{
    session,
    stats::{Registry, Role, Tier, Traffic},
};
use moq_tokio::connection::Monitor;

use super::listen::PeerSession;
use crate::media::control::path::Counts;

/// Counts the media of one session, or of those that one endpoint dials.
#[derive(Clone)]
pub(super) struct SessionCounters(Registry);

/// Reads the counters of a session that was dialled, for as long as it lives.
#[derive(Clone)]
pub(crate) struct SessionMonitor {
    monitor: Monitor,
    counters: SessionCounters,
}

impl fmt::Debug for SessionMonitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionMonitor")
    }
}

/// What is known of the connection and of those before it in the same run.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    /// Of the live session.
    monitor: Option<SessionMonitor>,
    /// Those that peers have opened and that are up.
    peers: BTreeMap<u64, PeerSession>,
    started: u64,
    ended: u64,
}

impl Sessions {
    pub(crate) fn begin(&mut self, monitor: SessionMonitor) {
        // A relay that hands over leaves no time without a session.
        self.end();
        self.monitor = Some(monitor);
        self.started += 1;
    }

    pub(crate) fn end(&mut self) {
        if self.monitor.take().is_some() {
            self.ended += 1;
        }
    }

    /// A peer has opened one.
    pub(crate) fn add(&mut self, peer: PeerSession) {
        self.peers.insert(peer.id(), peer);
        self.started += 1;
    }

    pub(crate) fn remove(&mut self, id: u64) -> Option<PeerSession> {
        let removed = self.peers.remove(&id);
        self.ended += u64::from(removed.is_some());
        removed
    }

    /// The MoQ version of the newest one that a peer has opened.
    pub(crate) fn version(&self) -> Option<String> {
        let newest = self.peers.values().next_back()?;
        Some(newest.version().to_string())
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.peers.len() + usize::from(self.monitor.is_some())
    }

    /// The structure `moq-stats`; what is unknown is left out.
    ///
    /// `rtt-ms` is a double, all others are guint64: rates in bits per second, and what was sent,
    /// received and lost by the live session, with its retransmissions and overhead. In listen mode
    /// these are in `sessions`, a GstArray of a structure `moq-session-stats` for each.
    pub(crate) fn structure(&self) -> gst::Structure {
        let stats = self.live().unwrap_or_default();
        let sessions = self.peers.values().map(PeerSession::stats);
        let sessions = gst::Array::new(sessions);
        let structure = gst::Structure::builder("moq-stats")
            .field("sessions-started", self.started)
            .field("sessions-ended", self.ended)
            .field_if("sessions", sessions, !self.peers.is_empty());
        with_transport(structure, &stats).build()
    }

    /// The sessions, each by a number that no other session of the run has.
    pub(crate) fn ids(&self) -> Vec<u64> {
        let dialled = self.monitor.is_some().then_some(self.started);
        dialled
            .into_iter()
            .chain(self.peers.keys().copied())
            .collect()
    }

    /// What the estimate of a rate needs of a session; `None` where its transport does not count that.
    pub(crate) fn counts(&self, id: u64) -> Option<Counts> {
        match self.peers.get(&id) {
            Some(peer) => peer.counts(),
            None => self.monitor.as_ref()?.counts(),
        }
    }

    fn live(&self) -> Option<session::Stats> {
        self.monitor.as_ref()?.monitor.stats()
    }
}

impl SessionCounters {
    pub(super) fn new() -> Self {
        Self(Registry::new(moq_net::stats::Config::new()))
    }

    /// What a handshake takes.
    pub(super) fn meter(&self) -> moq_net::stats::Session {
        self.0.tier(Tier::default()).session("")
    }

    pub(super) fn traffic(&self) -> Traffic {
        let mut sum = Traffic::default();
        for (_, _, traffic) in self.0.snapshot().traffic() {
            sum.add(traffic);
        }
        sum
    }

    /// How often the peer has subscribed to a track, catalogs among them.
    pub(super) fn subscriptions(&self) -> u64 {
        let traffic = self.0.snapshot().traffic();
        let published = traffic
            .iter()
            .filter(|(_, role, _)| *role == Role::Publisher);
        published
            .map(|(_, _, traffic)| traffic.subscriptions_started)
            .sum()
    }
}

impl SessionMonitor {
    pub(super) fn new(monitor: Monitor, counters: SessionCounters) -> Self {
        Self { monitor, counters }
    }

    fn counts(&self) -> Option<Counts> {
        counts(&self.monitor.stats()?, &self.counters)
    }
}

/// What the estimate of a rate needs, if the transport counts it.
pub(super) fn counts(stats: &session::Stats, counters: &SessionCounters) -> Option<Counts> {
    Some(Counts {
        given: counters.traffic().bytes,
        sent: stats.bytes_sent?,
        lost: stats.bytes_lost?,
        packets: stats.packets_sent?,
        rtt: stats.rtt?,
    })
}

/// Adds the counters of a session's transport; what is unknown is left out.
pub(super) fn with_transport(
    structure: gst::structure::Builder,
    stats: &session::Stats,
) -> gst::structure::Builder {
    let bits = |rate: Option<moq_net::bandwidth::Rate>| rate.map(|rate| rate.as_bps());
    structure
        .field_if_some("rtt-ms", stats.rtt.map(|rtt| rtt.as_secs_f64() * 1e3))
        .field_if_some("estimated-send-rate", bits(stats.estimated_send_rate))
        .field_if_some("estimated-recv-rate", bits(stats.estimated_recv_rate))
        .field_if_some("bytes-sent", stats.bytes_sent)
        .field_if_some("bytes-received", stats.bytes_received)
        .field_if_some("bytes-lost", stats.bytes_lost)
        .field_if_some("packets-sent", stats.packets_sent)
        .field_if_some("packets-received", stats.packets_received)
        .field_if_some("packets-lost", stats.packets_lost)
}
