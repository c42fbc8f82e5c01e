// SPDX-License-Identifier: MIT
//! The broadcast over the length of a run: looked for, followed, lost and looked for again.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use moq_net::origin;
use tokio::time::{Instant, sleep_until};

use super::{config::Config, watchdog::BroadcastWatchdog};
use crate::{
    element::warn_limiter::WarnLimiter,
    net::{backoff::Backoff, connection},
    source::{
        CAT,
        catalog::{Broadcast, END_TIMEOUT, Entry, Track as CatalogTrack, Update},
    },
};

/// The pauses after a broadcast that could not be read, or that broke off.
const MIN_RETRY_INTERVAL: Duration = Duration::from_millis(100);
const MAX_RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// As long as the pauses are no longer, only the catalog that was read before is waited for.
const SAME_CATALOG_INTERVAL: Duration = Duration::from_secs(1);
/// How long a catalog may be silent before another one is tried.
const CATALOG_TIMEOUT: Duration = Duration::from_secs(3);

/// What becomes of the broadcast.
pub(super) enum Event {
    /// It was found, maybe again: its timestamps and its tracks are others than before.
    Found,
    /// It has these renditions now; its publisher may take requests.
    Renditions {
        entries: Vec<Entry>,
        warnings: Vec<String>,
        returns: bool,
        /// Its publisher has ended it, and what is kept of it is still served.
        ended: bool,
    },
    /// Something is wrong with its catalog.
    Warnings(Vec<String>),
    /// It is gone, and looked for again.
    Lost,
    /// It has ended: nothing of it is read any more but what is under way.
    Ended,
    /// Nobody publishes it, which was not reported yet.
    Missing,
}

type Search = Pin<Box<dyn Future<Output = Result<Broadcast, String>> + Send>>;

enum State {
    /// It is looked for. If it was found before, it counts as ended from `over_at` on.
    Searching {
        search: Search,
        over_at: Option<Instant>,
    },
    /// It was found; its tracks are not known before its catalog was read.
    Found(Box<Broadcast>),
    /// Its tracks are known.
    Listed(Box<Broadcast>),
    /// It has ended, or the application has ended the stream: nothing is waited for any more.
    Ended(Option<Box<Broadcast>>),
}

/// Follows the broadcast that the element subscribes to.
pub(super) struct BroadcastFollower {
    config: Arc<Config>,
    origin: origin::Consumer,
    state: State,
    backoff: Backoff,
    /// The catalog that was read last: another one may list fewer tracks.
    catalog: Option<CatalogTrack>,
    watchdog: BroadcastWatchdog,
    warnings: WarnLimiter,
}

impl BroadcastFollower {
    /// Begins to look for the broadcast in `origin`.
    pub(super) fn new(config: Arc<Config>, origin: origin::Consumer) -> Self {
        let mut follower = Self {
            config,
            origin,
            state: State::Ended(None),
            backoff: Backoff::new(MIN_RETRY_INTERVAL, MAX_RETRY_INTERVAL),
            catalog: None,
            watchdog: BroadcastWatchdog::default(),
            warnings: WarnLimiter::once(),
        };
        follower.search(Duration::ZERO, None);
        follower
    }

    /// The broadcast, once its tracks are known.
    pub(super) fn listed(&self) -> Option<&Broadcast> {
        match &self.state {
            State::Listed(broadcast) | State::Ended(Some(broadcast)) => Some(broadcast),
            State::Searching { .. } | State::Found(_) | State::Ended(None) => None,
        }
    }

    /// Whether the broadcast is there.
    pub(super) fn is_found(&self) -> bool {
        matches!(self.state, State::Found(_)) || self.listed().is_some()
    }

    /// The connection has changed.
    pub(super) fn on_connection(&mut self, event: &connection::Event) {
        self.watchdog.follow(event, Instant::now());
    }

    /// The application ends the stream, or the broadcast has ended: what is listed is read to its end.
    pub(super) fn end(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Ended(None)) {
            State::Listed(broadcast) => State::Ended(Some(broadcast)),
            State::Searching { .. } | State::Found(_) => State::Ended(None),
            ended @ State::Ended(_) => ended,
        };
    }

    /// What becomes of it next; cancel safe.
    ///
    /// Without pads there is nothing to end: then another publisher is waited for.
    pub(super) async fn next(&mut self, has_pads: bool) -> Event {
        let missing_at = self.watchdog.due();
        match &mut self.state {
            State::Searching { search, over_at } => {
                let over_at = *over_at;
                tokio::select! {
                    biased;
                    found = search => self.on_search(found, over_at),
                    () = at(over_at), if has_pads => {
                        self.end();
                        Event::Ended
                    }
                    () = at(missing_at) => {
                        self.watchdog.reported();
                        Event::Missing
                    }
                }
            }
            State::Found(broadcast) | State::Listed(broadcast) => {
                let update = broadcast.next().await;
                self.on_update(update, has_pads)
            }
            State::Ended(_) => std::future::pending().await,
        }
    }

    fn on_search(&mut self, found: Result<Broadcast, String>, over_at: Option<Instant>) -> Event {
        let reason = match found {
            Ok(broadcast) => {
                self.catalog = Some(broadcast.track());
                self.watchdog.end();
                self.warnings.reset();
                self.state = State::Found(Box::new(broadcast));
                return Event::Found;
            }
            Err(reason) => reason,
        };
        // It is announced all the same.
        let now = Instant::now();
        self.watchdog.begin(now);
        let mut warnings = vec![format!(
            "The broadcast has no catalog that can be read ({reason})"
        )];
        // Once may be a publisher that goes away just now.
        let is_first = self.backoff.upcoming() == MIN_RETRY_INTERVAL;
        warnings.retain(|warning| !is_first && self.warnings.is_due(warning, now));
        let pause = self.backoff.next_pause();
        self.search(pause, over_at);
        Event::Warnings(warnings)
    }

    fn on_update(&mut self, update: Update, has_pads: bool) -> Event {
        match update {
            Update::Renditions {
                entries,
                warnings,
                returns,
                ended,
            } => {
                let state = std::mem::replace(&mut self.state, State::Ended(None));
                self.state = match state {
                    State::Found(broadcast) if ended => State::Ended(Some(broadcast)),
                    State::Found(broadcast) => State::Listed(broadcast),
                    state => state,
                };
                Event::Renditions {
                    entries,
                    warnings,
                    returns,
                    ended,
                }
            }
            Update::Unreadable { warnings } => Event::Warnings(warnings),
            Update::Ended if has_pads => {
                self.end();
                Event::Ended
            }
            Update::Ended => self.lose("it ended before it had any track"),
            Update::Lost(reason) => self.lose(&reason),
            Update::Replaced { ended } => {
                let event = self.lose("another publisher serves it now");
                // Of publishers that end together the last one may be gone before it is found.
                let timeout = match ended {
                    true => Some(END_TIMEOUT),
                    false => self.config.eos_timeout,
                };
                self.search(
                    Duration::ZERO,
                    timeout.map(|timeout| Instant::now() + timeout),
                );
                event
            }
        }
    }

    /// The broadcast is gone.
    fn lose(&mut self, reason: &str) -> Event {
        let endpoint = &self.config.endpoint;
        gst::info!(CAT, id = &self.config.name, "Lost {endpoint:?}: {reason}");
        let now = Instant::now();
        let mut since = now;
        if let State::Found(broadcast) | State::Listed(broadcast) = &self.state {
            // A catalog that breaks off as soon as it is read is not read without a growing pause.
            self.backoff.reset_if_lasted(now - broadcast.found_at());
            since = broadcast.gone_since().unwrap_or(now);
        }
        self.watchdog.begin(now);
        let pause = self.backoff.next_pause();
        self.search(
            pause,
            self.config.eos_timeout.map(|timeout| since + timeout),
        );
        Event::Lost
    }

    /// Looks for the broadcast after a `pause`.
    fn search(&mut self, pause: Duration, over_at: Option<Instant>) {
        let (origin, begin) = (self.origin.clone(), Instant::now() + pause);
        let name = self.config.endpoint.broadcast().to_owned();
        let format = self.config.catalog_format;
        let interval = self.backoff.upcoming();
        let only = self.catalog.filter(|_| interval <= SAME_CATALOG_INTERVAL);
        // A network on which a catalog takes longer gets more time with each try.
        let timeout = CATALOG_TIMEOUT + 4 * interval;
        let search = Box::pin(async move {
            sleep_until(begin).await;
            Broadcast::find(origin, name, format, only, timeout).await
        });
        self.state = State::Searching { search, over_at };
    }
}

/// Waits until `time`, or for ever.
pub(super) async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
