// SPDX-License-Identifier: MIT
//! Follows the catalog of a broadcast; each entry is read by itself, so a bad one harms no other.

mod entries;
mod format;
#[cfg(feature = "testing")]
pub mod fuzzing;
mod hang;
mod msf;
#[cfg(test)]
mod tests;

use std::time::Duration;

use moq_json::{Compression, snapshot};
use moq_net::{Path, PathOwned, broadcast, origin};
use serde_json::Value;
use tokio::time::{Instant, timeout, timeout_at};

use crate::{
    element::warn_limiter::WarnLimiter,
    media::catalog::{data::END_MARK, return_path::RETURNS},
    net::backoff::Backoff,
};

pub(crate) use entries::Entry;
pub(crate) use format::{CatalogFormat, Track};

/// How long the catalog's end is waited for after the broadcast itself is gone, and the other way round.
pub(crate) const END_TIMEOUT: Duration = Duration::from_secs(1);
/// How long another publisher of the name, which a relay has already, takes to be found when a
/// broadcast has ended.
const SUCCESSOR_TIMEOUT: Duration = Duration::from_millis(100);
/// How often it is looked for meanwhile.
const SUCCESSOR_INTERVAL: Duration = Duration::from_millis(10);
/// No larger catalog is read, in bytes of JSON: parsing takes about 30 ms per MiB from all that shares
/// the runtime, and 64 renditions take a fraction of it.
const MAX_SIZE: usize = 1 << 20;

/// The pauses between the updates of a catalog that changes all the time.
const MIN_UPDATE_INTERVAL: Duration = Duration::from_millis(20);
const MAX_UPDATE_INTERVAL: Duration = Duration::from_secs(1);

/// What became of a broadcast.
#[derive(Debug)]
pub(crate) enum Update {
    /// The broadcast has these renditions now.
    Renditions {
        entries: Vec<Entry>,
        /// Why others cannot be used, each given once.
        warnings: Vec<String>,
        /// The publisher takes requests.
        returns: bool,
        /// Its publisher has ended it before it was found.
        ended: bool,
    },
    /// The catalog cannot be understood: what it said before stands.
    Unreadable { warnings: Vec<String> },
    /// The publisher finished the broadcast on purpose.
    Ended,
    /// The broadcast is gone, and may come back.
    Lost(String),
    /// Another publisher of the same name serves it now.
    Replaced {
        /// The one before has ended on purpose: without a successor that is the end.
        ended: bool,
    },
}

/// What the catalog track gives next: a whole catalog, or its end.
type CatalogResult = Result<Option<Value>, moq_json::Error>;

/// A broadcast that is announced, and its catalog.
pub(crate) struct Broadcast {
    consumer: broadcast::Consumer,
    origin: origin::Consumer,
    path: PathOwned,
    track: Track,
    catalog: snapshot::Consumer<Value>,
    /// What the catalog said when it was found.
    first: Option<CatalogResult>,
    phase: Phase,
    /// Its tracks were given.
    is_listed: bool,
    found_at: Instant,
    /// When the catalog is read again, and the pauses between its updates.
    read_at: Instant,
    backoff: Backoff,
    warnings: WarnLimiter,
}

#[derive(Clone, Copy)]
enum Phase {
    Live,
    /// It is not announced any more: its catalog may still say why for a while.
    Gone {
        since: Instant,
    },
    /// Its publisher has finished it: it goes soon.
    Finished {
        since: Instant,
    },
}

impl Broadcast {
    /// Waits until the broadcast is announced, and for the first of its catalogs that answers; one
    /// that is silent for longer than `answer_timeout` is given up.
    ///
    /// With `only`, no other catalog is tried. The error says for each catalog why it cannot be read.
    pub(crate) async fn find(
        origin: origin::Consumer,
        name: String,
        format: CatalogFormat,
        only: Option<Track>,
        answer_timeout: Duration,
    ) -> Result<Self, String> {
        let consumer = origin.routed_broadcast(name.as_str()).await;
        let consumer = consumer.map_err(|err| err.to_string())?;
        let path = Path::new(&name).to_owned();
        let mut reasons = Vec::new();
        let mut ended = None;
        let tracks = format.tracks(&name).iter().copied();
        for track in tracks.filter(|track| only.is_none_or(|only| only == *track)) {
            let opened = tokio::select! {
                opened = timeout(answer_timeout, open(&consumer, track)) => opened,
                err = consumer.closed() => return Err(err.to_string()),
            };
            let reason = match opened {
                Ok(Ok((catalog, first))) => {
                    let is_ended = matches!(first, Ok(None));
                    let found = Self {
                        consumer: consumer.clone(),
                        origin: origin.clone(),
                        path: path.clone(),
                        track,
                        catalog,
                        first: Some(first),
                        phase: Phase::Live,
                        is_listed: false,
                        found_at: Instant::now(),
                        read_at: Instant::now(),
                        backoff: Backoff::new(MIN_UPDATE_INTERVAL, MAX_UPDATE_INTERVAL),
                        warnings: WarnLimiter::once(),
                    };
                    if !is_ended {
                        return Ok(found);
                    }
                    // The end counts only if no other catalog can be read.
                    ended.get_or_insert(found);
                    continue;
                }
                Ok(Err(err)) => err.to_string(),
                Err(_) => "nothing came".into(),
            };
            reasons.push(format!("{}: {reason}", track.name()));
        }
        ended.ok_or_else(|| reasons.join(", "))
    }

    /// The broadcast's tracks.
    pub(crate) fn consumer(&self) -> &broadcast::Consumer {
        &self.consumer
    }

    /// Where other broadcasts are found.
    pub(crate) fn origin(&self) -> &origin::Consumer {
        &self.origin
    }

    /// The catalog that is read.
    pub(crate) fn track(&self) -> Track {
        self.track
    }

    /// When the broadcast was found.
    pub(crate) fn found_at(&self) -> Instant {
        self.found_at
    }

    /// Since when the broadcast is gone, though its catalog may still have been read.
    pub(crate) fn gone_since(&self) -> Option<Instant> {
        match self.phase {
            Phase::Gone { since } => Some(since),
            Phase::Live | Phase::Finished { .. } => None,
        }
    }

    /// The next update; cancel safe.
    pub(crate) async fn next(&mut self) -> Update {
        if let Some(first) = self.first.take() {
            return self.take(first).await;
        }
        let since = match self.phase {
            Phase::Finished { since } => return self.end(since).await,
            Phase::Gone { since } => since,
            Phase::Live => {
                let next = tokio::select! {
                    biased;
                    next = next_at(&mut self.catalog, self.read_at) => Some(next),
                    _ = self.consumer.closed() => None,
                };
                if let Some(next) = next {
                    self.pause();
                    return self.take(next).await;
                }
                let since = Instant::now();
                self.phase = Phase::Gone { since };
                since
            }
        };
        let next = next_at(&mut self.catalog, self.read_at);
        let next = tokio::select! {
            biased;
            next = timeout_at(since + END_TIMEOUT, next) => next,
            () = successor(&self.origin, &self.path, &self.consumer) => return Update::Replaced { ended: false },
        };
        let Ok(next) = next else {
            return Update::Lost("the broadcast is gone".into());
        };
        self.pause();
        self.take(next).await
    }

    /// What comes soon after this update has to wait.
    fn pause(&mut self) {
        let now = Instant::now();
        let since_last = now.saturating_duration_since(self.read_at);
        self.backoff.reset_if_lasted(since_last);
        self.read_at = now + self.backoff.next_pause();
    }

    /// Reads the catalog; an end counts once nobody else serves the broadcast.
    async fn take(&mut self, catalog: CatalogResult) -> Update {
        match catalog {
            Ok(Some(value))
                if is_ended(self.track, &value) && (self.is_listed || !value.is_object()) =>
            {
                self.finish().await
            }
            Ok(None) => self.finish().await,
            Ok(Some(value)) if value.is_object() => {
                let (entries, problems) = entries::read(self.track, &self.path, &value);
                let warnings = self.new_warnings(problems);
                self.is_listed = true;
                let ended = is_ended(self.track, &value);
                if ended && entries.is_empty() {
                    return self.finish().await;
                }
                Update::Renditions {
                    entries,
                    warnings,
                    returns: value[RETURNS] == true,
                    ended,
                }
            }
            Ok(Some(_)) => self.unreadable("it is not a JSON object"),
            Err(moq_json::Error::Net(err)) => Update::Lost(err.to_string()),
            Err(err) => self.unreadable(&err.to_string()),
        }
    }

    async fn finish(&mut self) -> Update {
        let since = Instant::now();
        self.phase = Phase::Finished { since };
        self.end(since).await
    }

    /// Waits until a broadcast that was finished is gone, and looks whether another publisher serves it.
    async fn end(&mut self, since: Instant) -> Update {
        let closed = timeout_at(since + END_TIMEOUT, self.consumer.closed());
        if closed.await.is_err() {
            return Update::Ended;
        }
        let successor = successor(&self.origin, &self.path, &self.consumer);
        match timeout(SUCCESSOR_TIMEOUT, successor).await {
            Ok(()) => Update::Replaced { ended: true },
            Err(_) => Update::Ended,
        }
    }

    fn unreadable(&mut self, reason: &str) -> Update {
        let warnings = self.new_warnings(vec![format!("The catalog cannot be read: {reason}")]);
        Update::Unreadable { warnings }
    }

    /// The problems that were not reported yet.
    fn new_warnings(&mut self, mut problems: Vec<String>) -> Vec<String> {
        let now = Instant::now();
        problems.retain(|problem| self.warnings.is_due(problem, now));
        problems
    }
}

/// Whether the catalog says that nothing more comes, as several MoQ versions cannot.
fn is_ended(track: Track, catalog: &Value) -> bool {
    catalog[END_MARK] == true || (track == Track::Msf && msf::is_complete(catalog))
}

/// The next state of a catalog, no earlier than `at`; cancel safe.
async fn next_at(catalog: &mut snapshot::Consumer<Value>, at: Instant) -> CatalogResult {
    tokio::time::sleep_until(at).await;
    catalog.next().await
}

/// Waits until another publisher serves the broadcast at `path` than the one of `lost`.
async fn successor(origin: &origin::Consumer, path: &PathOwned, lost: &broadcast::Consumer) {
    loop {
        match origin.routed_broadcast(path).await {
            Ok(found) if !found.is_closed() && !found.is_clone(lost) => return,
            // The one that was lost may be routed for another moment.
            Ok(_) => tokio::time::sleep(SUCCESSOR_INTERVAL).await,
            Err(_) => std::future::pending().await,
        }
    }
}

/// Subscribes to a catalog, and waits until it answers: a relay may accept what nobody serves.
async fn open(
    consumer: &broadcast::Consumer,
    track: Track,
) -> Result<(snapshot::Consumer<Value>, CatalogResult), moq_net::Error> {
    let subscription = ::hang::Catalog::default_subscription();
    let subscriber = consumer
        .track(track.name())?
        .subscribe(subscription)
        .await?;
    let mut config = snapshot::consumer::Config::default();
    config.max_size = Some(MAX_SIZE);
    if track == Track::HangZ {
        config.compression = Compression::Deflate;
    }
    let mut catalog = snapshot::Consumer::new(subscriber, config);
    match catalog.next().await {
        Err(moq_json::Error::Net(err)) => Err(err),
        first => Ok((catalog, first)),
    }
}

/// The entry of an audio track of this name.
#[cfg(test)]
pub(crate) fn audio_entry(name: &str) -> Entry {
    let entry = serde_json::json!({"codec": "opus", "sampleRate": 48_000, "numberOfChannels": 2,
        "container": {"kind": "legacy"}});
    entries_of(&serde_json::json!({"audio": {"renditions": {name: entry}}})).remove(0)
}

/// The entries of a catalog of hang's.
#[cfg(test)]
pub(crate) fn entries_of(catalog: &Value) -> Vec<Entry> {
    entries::read(Track::Hang, &Path::new("room/camera"), catalog).0
}
