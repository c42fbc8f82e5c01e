//! The connection to a relay: dialled, lost, and dialled again by a loop of our own.
//!
//! The library's own loop reports neither why a dial failed nor when the next one comes.

use std::{net::SocketAddr, time::Duration};

use moq_tokio::{Client, connect, quic};
use tokio::time::Instant;

use super::{
    error::{self, Error},
    settings::Target,
};

/// Bounds one dial with its handshake; a shorter one would fail on a path of 500 ms.
const DIAL_TIMEOUT: Duration = Duration::from_secs(3);
/// A peer that is silent for this long is gone; with [`KEEP_ALIVE`] a live one never is.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3);
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// The pause after the first failure; it doubles up to [`MAX_PAUSE`].
const MIN_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// Bounds the goodbye at a stop, so that it fits the state change's own bound.
const GOODBYE: Duration = Duration::from_millis(500);

/// What becomes of the connection.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// A dial begins; `first` is the first one of the run.
    Connecting { first: bool },
    /// The session is up and speaks `version`.
    Connected { version: String },
    /// The dial failed or the session ended; the next dial begins after `retry`.
    Lost { reason: String, retry: Duration },
}

/// One element's connection, for the length of a run.
pub(crate) struct Link {
    target: Target,
    client: Client,
    state: State,
    pause: Duration,
    first: bool,
}

enum State {
    /// Nothing until the next dial is due.
    Waiting(Instant),
    Dialing(moq_tokio::Connection),
    /// Since when the session is up.
    Live(moq_tokio::Connection, Instant),
}

impl Link {
    /// Binds the socket; `attach` says what every session publishes or subscribes.
    ///
    /// Needs the runtime's context.
    pub(crate) fn new(
        target: Target,
        attach: impl FnOnce(Client) -> Client,
    ) -> Result<Self, Error> {
        let client = client(&target, None)
            // Hosts without IPv6 refuse the dual-stack default.
            .or_else(|_| client(&target, Some(([0, 0, 0, 0], 0).into())))
            .map_err(Error::Setup)?;
        Ok(Self {
            target,
            client: attach(client),
            state: State::Waiting(Instant::now()),
            pause: MIN_PAUSE,
            first: true,
        })
    }

    /// The next change of the connection, or the error that no further dial can mend.
    ///
    /// Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Event, Error> {
        match &self.state {
            State::Waiting(due) => {
                tokio::time::sleep_until(*due).await;
                self.state = State::Dialing(self.client.connect(self.target.url.clone()));
                Ok(Event::Connecting {
                    first: std::mem::take(&mut self.first),
                })
            }
            State::Dialing(connection) => match connection.clone().established().await {
                Ok(connection) => {
                    let version = connection
                        .version()
                        .map(|version| version.to_string())
                        .unwrap_or_default();
                    self.state = State::Live(connection, Instant::now());
                    Ok(Event::Connected { version })
                }
                Err(err) => self.lost(Error::terminal(err)?),
            },
            State::Live(connection, since) => {
                let (closed, since) = (connection.closed().await, *since);
                // A relay that accepts and closes at once is no better than one that refuses.
                if since.elapsed() > MAX_PAUSE {
                    self.pause = MIN_PAUSE;
                }
                match closed {
                    Ok(()) => self.lost(moq_tokio::Error::Stopped),
                    Err(err) => self.lost(Error::terminal(err)?),
                }
            }
        }
    }

    /// Ends the session so that the peer knows at once.
    pub(crate) async fn close(self) {
        let goodbye = async {
            if let State::Dialing(connection) | State::Live(connection, _) = self.state {
                // An error here says that there was nobody left to take leave of.
                let _ = connection.close().await;
            }
            self.client.close().await;
        };
        let _ = tokio::time::timeout(GOODBYE, goodbye).await;
    }

    fn lost(&mut self, error: moq_tokio::Error) -> Result<Event, Error> {
        // Half of the pause is random, so that a fleet does not dial a restarted relay in step.
        let retry = self.pause.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.pause = (self.pause * 2).min(MAX_PAUSE);
        self.state = State::Waiting(Instant::now() + retry);
        Ok(Event::Lost {
            reason: self.target.redact(&error::chain(&error)),
            retry,
        })
    }
}

fn client(target: &Target, bind: Option<SocketAddr>) -> moq_tokio::Result<Client> {
    let mut connect = connect::Config::default();
    connect.bind = bind;
    connect.timeout = DIAL_TIMEOUT;
    connect.once = Some(true);
    if target.tls_disable_verify {
        connect.tls.insecure = Some(true);
    }
    // One lost race would give TCP the lead on that host for the rest of the process.
    connect.websocket.enabled = Some(matches!(target.url.scheme(), "ws" | "wss"));
    let mut quic = quic::Config::default();
    quic.idle_timeout = IDLE_TIMEOUT;
    quic.keep_alive = KEEP_ALIVE;
    connect.init(quic)
}
