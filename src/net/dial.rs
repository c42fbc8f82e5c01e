// SPDX-License-Identifier: MIT
//! The socket that sessions are dialled from, and what each session publishes or subscribes.

use std::{net::SocketAddr, time::Duration};

use moq_tokio::{Client, Connection, Restart, connect};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until, timeout, timeout_at},
};
use url::Url;

use super::{
    config::Target,
    failure::Cause,
    stats::{SessionCounters, SessionMonitor},
};

/// Bounds one dial with its handshake; a shorter one would fail on a path of 500 ms.
const DIAL_TIMEOUT: Duration = Duration::from_secs(3);
/// Bounds it after tries in vain, for machines and paths on which a handshake takes longer; more would
/// delay the next try behind QUIC's growing retransmission timeouts.
const MAX_DIAL_TIMEOUT: Duration = Duration::from_secs(6);
/// Bounds the close of a socket's sessions, so that a stop fits the state change's own bound.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// How long a relay may be silent to QUIC itself until WebTransport is tried beside it: the library's own
/// server does not answer a handshake of another protocol.
const SILENT_TIMEOUT: Duration = Duration::from_secs(1);

/// A dial that is under way.
pub(super) struct Dial {
    connection: Connection,
    /// The same by WebTransport, after QUIC was met with silence.
    other: Option<Connection>,
    /// It is of a session that only finds out how it is received.
    probes: bool,
    /// Where WebTransport is tried if QUIC is of no avail.
    fallback: Option<Url>,
    began: Instant,
    /// Bounds it, wherever it goes on.
    bound: Duration,
}

impl Dial {
    /// The session, once it is up, or nothing when it is time for [`Dialer::fall_back`]; cancel safe.
    pub(super) async fn established(&self) -> moq_tokio::Result<Option<Connection>> {
        if let Some(other) = &self.other {
            return self.first(other).await.map(Some);
        }
        if self.fallback.is_none() {
            // The library bounds it.
            return up(&self.connection).await.map(Some);
        }
        match timeout_at(self.began + SILENT_TIMEOUT, up(&self.connection)).await {
            Ok(Err(error)) if Cause::of(&error) == Cause::Version => Ok(None),
            Ok(result) => result.map(Some),
            Err(_) => Ok(None),
        }
    }

    /// The session that is up first; if none is, the more precise of both errors.
    async fn first(&self, other: &Connection) -> moq_tokio::Result<Connection> {
        let until = self.began + self.bound;
        let (result, last) = tokio::select! {
            result = up(&self.connection) => (result, other),
            result = up(other) => (result, &self.connection),
            () = sleep_until(until) => return Err(moq_tokio::Error::ConnectTimeout(self.bound)),
        };
        let Err(error) = result else { return result };
        match timeout_at(until, up(last)).await {
            Ok(Err(last)) => Err(std::cmp::min_by_key(last, error, Cause::of)),
            Ok(up) => up,
            Err(_) => Err(error),
        }
    }

    /// Gives it up so that the relay knows at once.
    pub(super) async fn close(self) {
        // An error here says that there was nobody to take leave of.
        let _ = self.connection.close().await;
    }
}

async fn up(connection: &Connection) -> moq_tokio::Result<Connection> {
    connection.clone().established().await
}

/// Dials sessions, all from one socket until it is renewed.
pub(super) struct Dialer {
    attach: Box<dyn Fn(Client) -> Client + Send>,
    client: Client,
    counters: SessionCounters,
    /// Publishes and subscribes nothing.
    probe: Client,
    /// Bounds each dial.
    bound: Duration,
    /// Nothing was dialled from the socket yet.
    fresh: bool,
    /// Sockets that take leave of their sessions.
    retired: JoinSet<()>,
}

impl Dialer {
    /// Binds the socket; `attach` says what every session publishes or subscribes.
    ///
    /// Needs the runtime's context.
    pub(super) fn new(
        target: &Target,
        attach: impl Fn(Client) -> Client + Send + 'static,
    ) -> moq_tokio::Result<Self> {
        let probe = bind(target, DIAL_TIMEOUT)?;
        let counters = SessionCounters::new();
        Ok(Self {
            client: media_client(&probe, &attach, &counters),
            counters,
            probe,
            attach: Box::new(attach),
            bound: DIAL_TIMEOUT,
            fresh: true,
            retired: JoinSet::new(),
        })
    }

    /// Has the next session dialled from a socket of its own; on failure the one before stays.
    ///
    /// After a longer `pause` a dial gets more time.
    ///
    /// A socket whose reader has failed dials in vain for ever, and a NAT on the way may hold on to
    /// what has become of its port.
    pub(super) fn renew(&mut self, target: &Target, pause: Duration) -> moq_tokio::Result<()> {
        if self.fresh {
            return Ok(());
        }
        let bound = (DIAL_TIMEOUT + pause * 4).min(MAX_DIAL_TIMEOUT);
        let probe = bind(target, bound)?;
        self.bound = bound;
        self.client = media_client(&probe, &self.attach, &self.counters);
        let old = std::mem::replace(&mut self.probe, probe);
        self.fresh = true;
        while self.retired.try_join_next().is_some() {}
        self.retired.spawn(async move {
            // What is left after that ends by itself, as its peer knows.
            let _ = timeout(CLOSE_TIMEOUT, old.close()).await;
        });
        Ok(())
    }

    /// Dials a session for media; WebTransport is tried at `fallback` if QUIC is of no avail.
    pub(super) fn dial(&mut self, url: &Url, fallback: Option<Url>) -> Dial {
        self.begin(url, fallback, false)
    }

    /// Dials a session that only finds out how it is received.
    pub(super) fn probe(&mut self, url: &Url, fallback: Option<Url>) -> Dial {
        self.begin(url, fallback, true)
    }

    fn begin(&mut self, url: &Url, fallback: Option<Url>, probes: bool) -> Dial {
        Dial {
            connection: self.connect(url, probes),
            other: None,
            probes,
            fallback,
            began: Instant::now(),
            bound: self.bound,
        }
    }

    /// Tries WebTransport in `dial`, too: the library offers the one or the other, never both in one
    /// handshake.
    pub(super) fn fall_back(&mut self, dial: &mut Dial) {
        if let Some(url) = dial.fallback.take() {
            dial.other = Some(self.connect(&url, dial.probes));
        }
    }

    fn connect(&mut self, url: &Url, probes: bool) -> Connection {
        self.fresh = false;
        let client = match probes {
            true => &self.probe,
            false => &self.client,
        };
        client.connect(url.clone())
    }

    /// Reads what is counted of a session that was dialled for media.
    pub(super) fn monitor(&self, connection: &Connection) -> SessionMonitor {
        SessionMonitor::new(connection.monitor(), self.counters.clone())
    }

    /// Ends all sessions so that their peers know at once; to be bounded by the caller.
    pub(super) async fn close(mut self) {
        drop(self.client);
        self.probe.close().await;
        while self.retired.join_next().await.is_some() {}
    }
}

fn media_client(
    plain: &Client,
    attach: impl Fn(Client) -> Client,
    counters: &SessionCounters,
) -> Client {
    // Without it a relay that is leaving would take the session with it at once.
    let client = attach(plain.clone()).with_restart(Restart::Wait);
    client.with_stats(counters.meter())
}

fn bind(target: &Target, timeout: Duration) -> moq_tokio::Result<Client> {
    let any = ([0, 0, 0, 0], 0).into();
    // Hosts without IPv6 refuse the dual-stack default.
    client(target, None, timeout).or_else(|_| client(target, Some(any), timeout))
}

fn client(
    target: &Target,
    bind: Option<SocketAddr>,
    timeout: Duration,
) -> moq_tokio::Result<Client> {
    let mut connect = connect::Config::default();
    connect.bind = bind;
    connect.timeout = timeout;
    connect.once = Some(true);
    connect.version = target.versions.clone();
    connect.tls = target.tls.clone();
    // One lost race would give TCP the lead on that host for the rest of the process.
    connect.websocket.enabled = Some(matches!(target.url.scheme(), "ws" | "wss"));
    let (timeouts, cache) = (target.timeouts, target.cache);
    connect.init(timeouts.quic(cache.receive_window(), cache.send_window()))
}
