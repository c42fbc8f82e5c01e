// SPDX-License-Identifier: MIT
//! The connection to a relay: dialled, lost, and dialled again by a loop of our own.
//!
//! The library's own loop reports neither why a dial failed nor when the next one comes.

use std::{net::SocketAddr, time::Duration};

use moq_net::goaway::{self, Goaway};
use moq_tokio::{Client, Redirect};
use tokio::time::Instant;
use url::Url;

use super::{
    backoff::Backoff,
    config::Target,
    dial::{CLOSE_TIMEOUT, Dial, Dialer},
    error::Error,
    failure::Cause,
    listen::{PeerSession, Reason},
    stats::SessionMonitor,
};

/// How long a session is kept at most after its relay's GOAWAY, so that what it has begun is completed.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a session is kept once the one with the next token is up, so that what it serves is there by
/// the new one, too.
const RENEWAL_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a relay has to answer a new session with a GOAWAY.
const PROBE_TIMEOUT: Duration = Duration::from_millis(300);

/// Bounds the close where no session is up: no peer waits for it.
const IDLE_CLOSE_TIMEOUT: Duration = Duration::from_millis(50);

/// Why a new session is no session.
const SENT_AWAY_REASON: &str = "the relay asks it to leave at once";

/// What becomes of the connection.
#[derive(Debug)]
pub(crate) enum Event {
    /// A dial begins; `first` is the first one of the run, `serving` says that the session before
    /// still serves.
    Connecting { first: bool, serving: bool },
    /// The session is up and speaks `version`.
    Connected {
        version: String,
        monitor: SessionMonitor,
    },
    /// The relay asks to leave: the next dial begins while the session serves on.
    Goaway,
    /// A try has failed or a session ended; the next dial begins after `retry`. `serving` says that
    /// the session before still serves.
    Lost {
        cause: Cause,
        reason: String,
        retry: Duration,
        serving: bool,
    },
    /// Sessions are let in at this address, with the certificate of this fingerprint.
    Listening {
        address: SocketAddr,
        fingerprint: String,
    },
    /// Another certificate is served.
    Certificate { fingerprint: String },
    /// The local network cannot be told of the listener.
    NotAdvertised { reason: String },
    /// A peer has opened a session.
    SessionAdded(Box<PeerSession>),
    /// It has ended.
    SessionRemoved { id: u64, reason: Reason },
}

/// One element's connection, for the length of a run.
pub(crate) struct RelayConnection {
    target: Target,
    dialer: Dialer,
    /// Where the next dial goes: a relay may have named another place.
    url: Url,
    state: State,
    /// The session that hands over to the next one, until it has completed what it had begun.
    draining: Option<Draining>,
    backoff: Backoff,
    first: bool,
    /// Since when there is no session.
    down: Instant,
}

enum State {
    /// Nothing until the next dial is due.
    Waiting(Instant),
    /// Finding out whether the next session would be sent away, too, before media move to it.
    Probing(Dial),
    /// Until when such a session can be sent away.
    Watching(Live, Instant),
    Dialing(Dial),
    Live(Live),
}

/// A session that is up.
struct Live {
    connection: moq_tokio::Connection,
    since: Instant,
    /// Gives the GOAWAY of the relay, also after the session has ended for it.
    goaway: Option<goaway::Consumer>,
}

impl Live {
    fn new(connection: moq_tokio::Connection) -> Self {
        Self {
            goaway: connection.draining(),
            since: Instant::now(),
            connection,
        }
    }
}

/// A session that another one follows.
struct Draining {
    connection: moq_tokio::Connection,
    /// Missing until the next session is up.
    until: Option<Instant>,
}

/// What ends a session's tenure.
enum End {
    Closed(moq_tokio::Result<()>),
    /// The relay asks to leave, and serves on until the next session is up.
    Handover(Goaway),
}

impl RelayConnection {
    /// Binds the socket; `attach` says what every session publishes or subscribes.
    ///
    /// Needs the runtime's context.
    pub(crate) fn new(
        target: Target,
        attach: impl Fn(Client) -> Client + Send + 'static,
    ) -> Result<Self, Error> {
        Ok(Self {
            dialer: Dialer::new(&target, attach).map_err(Error::Setup)?,
            url: target.url.clone(),
            state: State::Waiting(Instant::now()),
            draining: None,
            backoff: Backoff::new(target.timeouts.min_delay, target.timeouts.max_delay),
            first: true,
            down: Instant::now(),
            target,
        })
    }

    /// The next change of the connection, or the error that no further dial can fix.
    ///
    /// Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Event, Error> {
        loop {
            let step = tokio::select! {
                biased;
                () = self.target.token_changed() => Step::TokenChanged,
                () = left(self.draining.as_ref()) => Step::Left,
                step = step(&self.state) => step,
            };
            if let Some(event) = self.take(step)? {
                return Ok(event);
            }
        }
    }

    fn take(&mut self, step: Step) -> Result<Option<Event>, Error> {
        let event = match step {
            Step::TokenChanged => return self.renew(),
            Step::Left => {
                self.draining = None;
                return Ok((!matches!(self.state, State::Live(_))).then(|| self.gone()));
            }
            Step::Due if self.draining.is_some() => {
                let fallback = self.target.fallback(&self.url);
                self.state = State::Probing(self.dialer.probe(&self.url, fallback));
                return Ok(None);
            }
            Step::Due => match self.dialer.renew(&self.target, self.backoff.upcoming()) {
                Ok(()) => self.dial(),
                Err(err) => self.lost(err)?,
            },
            Step::Probed(Ok(None)) | Step::Dialed(Ok(None)) => {
                self.try_web_transport();
                return Ok(None);
            }
            Step::Probed(Ok(Some(connection))) => {
                let until = Instant::now() + PROBE_TIMEOUT;
                self.state = State::Watching(Live::new(connection), until);
                return Ok(None);
            }
            Step::Watched(Fate::SentAway) => {
                self.lost(moq_tokio::Error::Reconnect(SENT_AWAY_REASON.into()))?
            }
            Step::Watched(Fate::Kept) => self.dial(),
            Step::Dialed(Ok(Some(connection))) => {
                let version = connection
                    .version()
                    .map(|version| version.to_string())
                    .unwrap_or_default();
                let monitor = self.dialer.monitor(&connection);
                self.state = State::Live(Live::new(connection));
                if let Some(Draining { until, .. }) = &mut self.draining {
                    until.get_or_insert(Instant::now() + RENEWAL_TIMEOUT);
                }
                Event::Connected { version, monitor }
            }
            Step::Dialed(Err(err)) | Step::Probed(Err(err)) => {
                let err = self.verdict(err)?;
                // The place that a relay named may be gone: the configured one is the way back.
                self.url = self.target.url.clone();
                self.lost(err)?
            }
            Step::Ended(since, End::Handover(goaway)) => self.hand_over(since, &goaway),
            Step::Ended(since, End::Closed(closed)) => {
                self.down = Instant::now();
                self.backoff.reset_if_lasted(since.elapsed());
                match closed {
                    Ok(()) => self.lost(moq_tokio::Error::Stopped)?,
                    Err(err) => {
                        let err = self.verdict(err)?;
                        self.lost(err)?
                    }
                }
            }
        };
        Ok(Some(event))
    }

    /// Keeps the session that is up `since` then until the next one is, as its `goaway` asks.
    fn hand_over(&mut self, since: Instant, goaway: &Goaway) -> Event {
        let url = Redirect::SameHost.resolve(goaway.uri(), &self.url);
        self.url = self.target.admit(url);
        let handover = goaway
            .timeout()
            .map_or(HANDOVER_TIMEOUT, |cap| cap.min(HANDOVER_TIMEOUT));
        // A relay that hands over again and again is not dialled without a pause, and one
        // that accepts and closes at once is no better than one that refuses.
        let pause = match self.backoff.reset_if_lasted(since.elapsed()) {
            true => Duration::ZERO,
            false => self.next_pause(),
        };
        let next = State::Waiting(Instant::now() + pause);
        if let State::Live(live) = std::mem::replace(&mut self.state, next) {
            self.draining = Some(Draining {
                connection: live.connection,
                until: Some(Instant::now() + handover),
            });
        }
        Event::Goaway
    }

    /// Dials with the token of now, and keeps the session that is up until the next one is.
    fn renew(&mut self) -> Result<Option<Event>, Error> {
        self.target.take_token()?;
        self.url = self.target.url.clone();
        let State::Live(live) = std::mem::replace(&mut self.state, State::Waiting(Instant::now()))
        else {
            return Ok(None);
        };
        self.draining = Some(Draining {
            connection: live.connection,
            until: None,
        });
        Ok(Some(self.dial()))
    }

    /// The error that ends the run, or that of a try: a place that a relay named has no last word, and
    /// none ends a session that still serves.
    fn verdict(&mut self, error: moq_tokio::Error) -> Result<moq_tokio::Error, Error> {
        let verdict = Error::terminal(error.clone());
        if self.url == self.target.url && self.draining.is_none() {
            return verdict;
        }
        if verdict.is_err() {
            self.url = self.target.url.clone();
        }
        Ok(error)
    }

    /// QUIC is of no avail in the dial that is under way.
    fn try_web_transport(&mut self) {
        if let State::Dialing(dial) | State::Probing(dial) = &mut self.state {
            self.dialer.fall_back(dial);
        }
    }

    fn dial(&mut self) -> Event {
        let fallback = self.target.fallback(&self.url);
        self.state = State::Dialing(self.dialer.dial(&self.url, fallback));
        Event::Connecting {
            first: std::mem::take(&mut self.first),
            serving: self.draining.is_some(),
        }
    }

    /// Ends the session so that the peer knows at once.
    pub(crate) async fn close(self) {
        let serves = matches!(self.state, State::Live(_)) || self.draining.is_some();
        let bound = if serves {
            CLOSE_TIMEOUT
        } else {
            IDLE_CLOSE_TIMEOUT
        };
        let close = async {
            match self.state {
                State::Dialing(dial) => dial.close().await,
                // An error here says that there was nobody left to take leave of.
                State::Live(live) => drop(live.connection.close().await),
                State::Waiting(_) | State::Probing(_) | State::Watching(..) => (),
            }
            drop(self.draining);
            self.dialer.close().await;
        };
        let _ = tokio::time::timeout(bound, close).await;
    }

    /// The session that handed over has ended before the next one was up.
    fn gone(&mut self) -> Event {
        self.down = Instant::now();
        let retry = match self.state {
            State::Waiting(due) => due.saturating_duration_since(self.down),
            _ => Duration::ZERO,
        };
        Event::Lost {
            cause: Cause::Other,
            reason: "The session that was to hand over has ended before the next one was up".into(),
            retry,
            serving: false,
        }
    }

    fn lost(&mut self, error: moq_tokio::Error) -> Result<Event, Error> {
        let timeouts = self.target.timeouts;
        let cause = self.target.cause(&error);
        let reason = self.target.redact(&cause.describe(&error));
        let (retry, serving) = (self.next_pause(), self.draining.is_some());
        if let Some(within) = timeouts.reconnect
            && !serving
            && self.down.elapsed() + retry > within
        {
            return Err(Error::GivenUp {
                within,
                cause,
                reason,
            });
        }
        self.state = State::Waiting(Instant::now() + retry);
        Ok(Event::Lost {
            cause,
            reason,
            retry,
            serving,
        })
    }

    fn next_pause(&mut self) -> Duration {
        self.backoff.next_jittered(fastrand::f64())
    }
}

/// What happens to a connection by itself.
enum Step {
    /// The token is another one.
    TokenChanged,
    /// The session that hands over has ended, or was given long enough.
    Left,
    /// It is time to dial.
    Due,
    Probed(moq_tokio::Result<Option<moq_tokio::Connection>>),
    Watched(Fate),
    Dialed(moq_tokio::Result<Option<moq_tokio::Connection>>),
    /// A session that was up since then.
    Ended(Instant, End),
}

/// What becomes of a new session.
enum Fate {
    Kept,
    /// The relay asked it to leave at once, as one does that ends.
    SentAway,
}

async fn step(state: &State) -> Step {
    match state {
        State::Waiting(due) => {
            tokio::time::sleep_until(*due).await;
            Step::Due
        }
        State::Probing(dial) => Step::Probed(dial.established().await),
        State::Watching(live, until) => {
            let asked = tokio::time::timeout_at(*until, goaway_received(live)).await;
            Step::Watched(match asked {
                Ok(Some(_)) => Fate::SentAway,
                Ok(None) | Err(_) => Fate::Kept,
            })
        }
        State::Dialing(dial) => Step::Dialed(dial.established().await),
        State::Live(live) => {
            let end = tokio::select! {
                biased;
                Some(goaway) = goaway_received(live) => End::Handover(goaway),
                closed = live.connection.closed() => End::Closed(closed),
            };
            Step::Ended(live.since, end)
        }
    }
}

async fn goaway_received(live: &Live) -> Option<Goaway> {
    live.goaway.as_ref()?.recv().await
}

/// Returns when a session that hands over has ended, or was given long enough.
async fn left(draining: Option<&Draining>) {
    let Some(Draining { connection, until }) = draining else {
        return std::future::pending().await;
    };
    // Its end is what was asked for, however it comes.
    match until {
        Some(until) => drop(tokio::time::timeout_at(*until, connection.closed()).await),
        None => drop(connection.closed().await),
    }
}

#[cfg(test)]
mod tests;
