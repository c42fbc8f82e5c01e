// SPDX-License-Identifier: MIT
//! The broadcast over the length of a run: looked for, followed, lost and looked for again.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use moq_net::origin;
use tokio::time::{Instant, sleep_until};

use super::{announcements::Announcements, config::Config, watchdog::BroadcastWatchdog};
use crate::{
    element::warn_limiter::WarnLimiter,
    media::catalog::name,
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
/// How long no other broadcast is taken after an outage of the connection: publishers need time to come back, too.
const RETURN_TIMEOUT: Duration = Duration::from_secs(2);
/// How many announcements are taken in at once.
const MAX_BATCH: usize = 64;
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

type SearchResult = Result<Box<Broadcast>, String>;
type Search = Pin<Box<dyn Future<Output = SearchResult> + Send>>;

enum State {
    /// One of those that are announced is to be taken, after a `pause` if it is the one before, or could not
    /// be read. `over_at` as below.
    Choosing {
        since: Instant,
        pause: Duration,
        over_at: Option<Instant>,
    },
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
    /// The name of the broadcast; with a prefix of the one that was taken last.
    name: Option<String>,
    /// What is announced beneath the prefix, if the element has one.
    announcements: Option<Announcements>,
    /// The connection was lost since a broadcast was taken.
    had_outage: bool,
    /// Until when the broadcast that was taken before may come back.
    returns_by: Option<Instant>,
    state: State,
    backoff: Backoff,
    /// The catalog that was read last: another one may list fewer tracks.
    catalog: Option<CatalogTrack>,
    watchdog: BroadcastWatchdog,
    warnings: WarnLimiter,
}

impl BroadcastFollower {
    /// Begins to look for the broadcast in `origin`.
    pub(super) fn new(config: Arc<Config>, origin: &origin::Producer) -> Self {
        let name = config.endpoint.broadcast();
        let announcements = name::prefix(name).map(|prefix| {
            let (discovery, queue) = (config.discovery.clone(), config.app_queue.clone());
            Announcements::new(prefix, origin, discovery, queue)
        });
        let mut follower = Self {
            name: announcements.is_none().then(|| name.to_owned()),
            announcements,
            had_outage: false,
            returns_by: None,
            config,
            origin: origin.consume(),
            state: State::Ended(None),
            backoff: Backoff::new(MIN_RETRY_INTERVAL, MAX_RETRY_INTERVAL),
            catalog: None,
            watchdog: BroadcastWatchdog::default(),
            warnings: WarnLimiter::once(),
        };
        follower.search(Duration::ZERO, None);
        follower
    }

    /// The name of the broadcast that is read, or was read last.
    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The broadcast, once its tracks are known.
    pub(super) fn listed(&self) -> Option<&Broadcast> {
        match &self.state {
            State::Listed(broadcast) | State::Ended(Some(broadcast)) => Some(broadcast),
            State::Choosing { .. }
            | State::Searching { .. }
            | State::Found(_)
            | State::Ended(None) => None,
        }
    }

    /// Whether the broadcast is there.
    pub(super) fn is_found(&self) -> bool {
        matches!(self.state, State::Found(_)) || self.listed().is_some()
    }

    /// The connection has changed.
    pub(super) fn on_connection(&mut self, event: &connection::Event) {
        let now = Instant::now();
        self.watchdog.follow(event, now);
        match event {
            connection::Event::Lost { serving: false, .. } => self.had_outage = true,
            connection::Event::Connected { .. } if std::mem::take(&mut self.had_outage) => {
                self.returns_by = self.name.as_ref().map(|_| now + RETURN_TIMEOUT);
            }
            _ => {}
        }
    }

    /// The application ends the stream, or the broadcast has ended: what is listed is read to its end.
    pub(super) fn end(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Ended(None)) {
            State::Listed(broadcast) => State::Ended(Some(broadcast)),
            State::Choosing { .. } | State::Searching { .. } | State::Found(_) => {
                State::Ended(None)
            }
            ended @ State::Ended(_) => ended,
        };
    }

    /// What becomes of it next; cancel safe.
    ///
    /// Without pads there is nothing to end: then another publisher is waited for.
    pub(super) async fn next(&mut self, has_pads: bool) -> Event {
        let mut steps = 0_usize;
        loop {
            let step = self.step(has_pads).await;
            if let Some(event) = self.on_step(step, has_pads) {
                return event;
            }
            steps += 1;
            if steps.is_multiple_of(MAX_BATCH) {
                // A storm of announcements holds up nothing else.
                tokio::task::yield_now().await;
            }
        }
    }

    async fn step(&mut self, has_pads: bool) -> Step {
        let missing_at = self.watchdog.due();
        let announcements = &mut self.announcements;
        let chosen_at = match &self.state {
            State::Choosing { since, pause, .. } => {
                let candidate = announcements.as_mut().and_then(|announcements| {
                    announcements.candidates().first(self.name.as_deref())
                });
                candidate.map(|candidate| {
                    let is_before = self.name.as_ref() == Some(&candidate.name);
                    // Those that could not be read are tried one after another without growing pauses.
                    let pause = match is_before || candidate.failed {
                        true => *pause,
                        false => (*pause).min(MIN_RETRY_INTERVAL),
                    };
                    let at = candidate.settled_at.max(*since + pause);
                    let returns_by = self.returns_by.filter(|_| !is_before);
                    returns_by.map_or(at, |by| by.max(at))
                })
            }
            _ => None,
        };
        let announced = async {
            match announcements {
                Some(announcements) => announcements.next().await,
                None => std::future::pending().await,
            }
        };
        let progress = async {
            match &mut self.state {
                State::Choosing { over_at, .. } => tokio::select! {
                    biased;
                    () = at(chosen_at), if chosen_at.is_some() => Step::Choose,
                    () = at(*over_at), if has_pads => Step::Over,
                    () = at(missing_at) => Step::Missing,
                },
                State::Searching { search, over_at } => tokio::select! {
                    biased;
                    found = search => Step::Searched(found),
                    () = at(*over_at), if has_pads => Step::Over,
                    () = at(missing_at) => Step::Missing,
                },
                State::Found(broadcast) | State::Listed(broadcast) => {
                    Step::Updated(broadcast.next().await)
                }
                State::Ended(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            () = announced => Step::Announced,
            step = progress => step,
        }
    }

    fn on_step(&mut self, step: Step, has_pads: bool) -> Option<Event> {
        match step {
            Step::Announced => self.on_announcement(),
            Step::Choose => {
                self.choose();
                None
            }
            Step::Searched(found) => Some(self.on_search(found)),
            Step::Updated(update) => Some(self.on_update(update, has_pads)),
            Step::Over => {
                self.end();
                Some(Event::Ended)
            }
            Step::Missing => {
                self.watchdog.reported();
                Some(Event::Missing)
            }
        }
    }

    /// What is announced beneath the prefix has changed.
    fn on_announcement(&mut self) -> Option<Event> {
        let announcements = self.announcements.as_mut()?;
        if let State::Searching { over_at, .. } = &self.state
            && let Some(name) = &self.name
            && !announcements.candidates().contains(name)
        {
            // Gone before it was found: others may be there.
            self.state = State::Choosing {
                since: Instant::now(),
                pause: self.backoff.next_pause(),
                over_at: *over_at,
            };
        }
        let limit = announcements.left_out()?;
        let warning = format!(
            "More than {limit} broadcasts are announced beneath the prefix: the others are left out"
        );
        let due = self.warnings.is_due(&warning, Instant::now());
        due.then(|| Event::Warnings(vec![warning]))
    }

    /// Looks for the broadcast that is the next to be taken.
    fn choose(&mut self) {
        let State::Choosing { over_at, .. } = self.state else {
            return;
        };
        let Some(announcements) = &mut self.announcements else {
            return;
        };
        let first = announcements.candidates().first(self.name.as_deref());
        let Some(candidate) = first else { return };
        if self.name.as_ref() != Some(&candidate.name) {
            self.catalog = None;
            self.name = Some(candidate.name.clone());
        }
        self.look_for(candidate.name, Instant::now(), over_at);
    }

    fn on_search(&mut self, found: SearchResult) -> Event {
        let over_at = match self.state {
            State::Searching { over_at, .. } => over_at,
            _ => None,
        };
        let reason = match found {
            Ok(broadcast) => {
                self.catalog = Some(broadcast.track());
                self.watchdog.end();
                self.warnings.reset();
                self.state = State::Found(broadcast);
                return Event::Found;
            }
            Err(reason) => reason,
        };
        // It is announced all the same.
        let now = Instant::now();
        self.watchdog.begin(now);
        let subject = match (&mut self.announcements, &self.name) {
            (Some(announcements), Some(name)) => {
                announcements.candidates().fail(name, now);
                format!("The broadcast \"{name}\"")
            }
            _ => "The broadcast".to_owned(),
        };
        let mut warnings = vec![format!(
            "{subject} has no catalog that can be read ({reason})"
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
            Update::Ended if self.announcements.is_some() => {
                // Another one is taken, even if this one is announced for a while.
                if let (Some(announcements), Some(name)) = (&mut self.announcements, &self.name) {
                    announcements.candidates().end(name);
                }
                self.returns_by = None;
                self.lose("it has ended")
            }
            Update::Ended if has_pads => {
                self.end();
                Event::Ended
            }
            Update::Ended => self.lose("it ended before it had any track"),
            Update::Lost(reason) => self.lose(&reason),
            Update::Replaced { ended } => {
                let event = self.lose("another publisher serves it now");
                // Of publishers that end together the last one may be gone before it is found.
                let timeout = match ended && self.announcements.is_none() {
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
            let lasted = self.backoff.reset_if_lasted(now - broadcast.found_at());
            if let (Some(announcements), Some(name), false) =
                (&mut self.announcements, &self.name, lasted)
            {
                announcements.candidates().fail(name, now);
            }
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

    /// Looks for the broadcast, or for one beneath the prefix, after a `pause`.
    fn search(&mut self, pause: Duration, over_at: Option<Instant>) {
        let since = Instant::now();
        match (&self.announcements, &self.name) {
            (None, Some(name)) => self.look_for(name.clone(), since + pause, over_at),
            _ => {
                self.state = State::Choosing {
                    since,
                    pause,
                    over_at,
                };
            }
        }
    }

    /// Looks for the broadcast of this name from `begin` on.
    fn look_for(&mut self, name: String, begin: Instant, over_at: Option<Instant>) {
        let origin = self.origin.clone();
        let format = self.config.catalog_format;
        let interval = self.backoff.upcoming();
        let only = self.catalog.filter(|_| interval <= SAME_CATALOG_INTERVAL);
        // A network on which a catalog takes longer gets more time with each try.
        let timeout = CATALOG_TIMEOUT + 4 * interval;
        let search = Box::pin(async move {
            sleep_until(begin).await;
            let found = Broadcast::find(origin, name, format, only, timeout).await;
            found.map(Box::new)
        });
        self.state = State::Searching { search, over_at };
    }
}

/// What the follower waits for.
enum Step {
    /// What is announced beneath the prefix has changed.
    Announced,
    /// One of them is to be taken.
    Choose,
    Searched(SearchResult),
    Updated(Update),
    /// It has been gone for too long.
    Over,
    /// Its absence is to be reported.
    Missing,
}

/// Waits until `time`, or for ever.
pub(super) async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
