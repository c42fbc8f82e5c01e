//! Follows the catalog of a broadcast; each entry is read by itself, so a bad one harms no other.

mod entries;
mod format;
#[cfg(feature = "testing")]
pub mod fuzzing;
mod hang;
mod msf;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, time::Duration};

use moq_json::{Compression, snapshot};
use moq_net::{Path, PathOwned, broadcast, origin};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::media::catalog::data::END_MARK;

pub(crate) use entries::Entry;
pub(crate) use format::{CatalogFormat, Track};

/// How long the catalog's end is waited for after the broadcast itself has gone, and the other way
/// round.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long another publisher of the name, which a relay has already, takes to be found when a
/// broadcast has ended.
const SUCCESSOR: Duration = Duration::from_millis(100);
/// How often it is looked for meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// No greater catalog is read, in bytes of JSON: parsing takes about 30 ms per MiB from all that shares
/// the runtime, and 64 renditions take a fraction of it.
const MAX_SIZE: usize = 1 << 20;

/// A catalog that changes all the time is read after pauses, each twice as long as the one before.
const MIN_PAUSE: Duration = Duration::from_millis(20);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// What the catalog track has to say next.
#[derive(Debug)]
pub(crate) enum Update {
    /// The broadcast has these renditions now.
    Renditions {
        entries: Vec<Entry>,
        /// Why others cannot be used, each said once.
        warnings: Vec<String>,
    },
    /// The catalog says nothing that can be understood: what it said before stands.
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

/// What comes from a catalog track.
type News = Result<Option<Value>, moq_json::Error>;

/// A broadcast that is being followed.
pub(crate) struct Broadcast {
    pub(crate) consumer: broadcast::Consumer,
    origin: origin::Consumer,
    path: PathOwned,
    track: Track,
    catalog: snapshot::Consumer<Value>,
    /// What the catalog said when it was found.
    first: Option<News>,
    /// Since when the broadcast is gone: its catalog may still speak for a while.
    gone: Option<Instant>,
    /// Since when its publisher is known to have finished it.
    over: Option<Instant>,
    /// When the catalog is read again, and the pause before.
    read_at: Instant,
    pause: Duration,
    warned: BTreeSet<String>,
}

impl Broadcast {
    /// Waits until the broadcast is announced, and for the first of its catalogs that answers; one
    /// that is silent for longer than `patience` is given up.
    ///
    /// With `only`, no other catalog is tried. The error says for each catalog why it cannot be read.
    pub(crate) async fn find(
        origin: origin::Consumer,
        name: String,
        format: CatalogFormat,
        only: Option<Track>,
        patience: Duration,
    ) -> Result<Self, String> {
        let consumer = origin.routed_broadcast(name.as_str()).await;
        let consumer = consumer.map_err(|err| err.to_string())?;
        let mut reasons = Vec::new();
        let mut ended = None;
        let tracks = format.tracks(&name).iter().copied();
        for track in tracks.filter(|track| only.is_none_or(|only| only == *track)) {
            let opened = tokio::select! {
                opened = tokio::time::timeout(patience, open(&consumer, track)) => opened,
                err = consumer.closed() => return Err(err.to_string()),
            };
            let reason = match opened {
                Ok(Ok((catalog, first))) => {
                    let says_nothing = matches!(first, Ok(None));
                    let found = Self {
                        consumer: consumer.clone(),
                        origin: origin.clone(),
                        path: Path::new(&name).to_owned(),
                        track,
                        catalog,
                        first: Some(first),
                        gone: None,
                        over: None,
                        read_at: Instant::now(),
                        pause: MIN_PAUSE,
                        warned: BTreeSet::new(),
                    };
                    if !says_nothing {
                        return Ok(found);
                    }
                    // It tells of the end only if there is no other one.
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

    /// The catalog that is read.
    pub(crate) fn track(&self) -> Track {
        self.track
    }

    /// The next update; cancel safe.
    pub(crate) async fn next(&mut self) -> Update {
        if let Some(over) = self.over {
            return self.part(over).await;
        }
        if let Some(first) = self.first.take() {
            return self.tell(first).await;
        }
        if self.gone.is_none() {
            let next = tokio::select! {
                biased;
                next = paced(&mut self.catalog, self.read_at) => Some(next),
                _ = self.consumer.closed() => None,
            };
            if let Some(next) = next {
                self.rest();
                return self.tell(next).await;
            }
        }
        let gone = *self.gone.get_or_insert_with(Instant::now);
        let paced = paced(&mut self.catalog, self.read_at);
        let next = tokio::select! {
            biased;
            next = timeout_at(gone + LAST_WORDS, paced) => next,
            () = successor(&self.origin, &self.path, &self.consumer) => return Update::Replaced { ended: false },
        };
        let Ok(next) = next else {
            return Update::Lost("the broadcast is gone".into());
        };
        self.rest();
        self.tell(next).await
    }

    /// What `news` tell; an end counts once nobody else serves the broadcast.
    async fn tell(&mut self, news: News) -> Update {
        match self.update(news) {
            Update::Ended => {
                let over = *self.over.insert(Instant::now());
                self.part(over).await
            }
            update => update,
        }
    }

    /// Waits until a broadcast that is `over` is gone, and looks whether another publisher serves it.
    async fn part(&mut self, over: Instant) -> Update {
        if timeout_at(over + LAST_WORDS, self.consumer.closed())
            .await
            .is_err()
        {
            return Update::Ended;
        }
        let successor = successor(&self.origin, &self.path, &self.consumer);
        match tokio::time::timeout(SUCCESSOR, successor).await {
            Ok(()) => Update::Replaced { ended: true },
            Err(_) => Update::Ended,
        }
    }

    /// Since when the broadcast is gone, though its catalog may still have spoken.
    pub(crate) fn gone_since(&self) -> Option<Instant> {
        self.gone
    }

    /// What comes soon after this update has to wait.
    fn rest(&mut self) {
        let now = Instant::now();
        self.pause = match now < self.read_at + MAX_PAUSE {
            true => (self.pause * 2).min(MAX_PAUSE),
            false => MIN_PAUSE,
        };
        self.read_at = now + self.pause;
    }

    fn update(&mut self, news: News) -> Update {
        match news {
            Ok(Some(value)) if is_over(self.track, &value) => Update::Ended,
            Ok(Some(value)) if value.is_object() => {
                let (entries, problems) = entries::read(self.track, &self.path, &value);
                let warnings = self.fresh(problems);
                Update::Renditions { entries, warnings }
            }
            Ok(Some(_)) => self.unreadable("it is not a JSON object"),
            Ok(None) => Update::Ended,
            Err(moq_json::Error::Net(err)) => Update::Lost(err.to_string()),
            Err(err) => self.unreadable(&err.to_string()),
        }
    }

    fn unreadable(&mut self, reason: &str) -> Update {
        let warnings = self.fresh(vec![format!("The catalog cannot be read: {reason}")]);
        Update::Unreadable { warnings }
    }

    /// The problems that have not been told yet.
    fn fresh(&mut self, problems: Vec<String>) -> Vec<String> {
        /// A hostile catalog may have a new problem in every update.
        const MAX_WARNINGS: usize = 64;
        let fresh = problems.into_iter().filter(|problem| {
            self.warned.len() < MAX_WARNINGS && self.warned.insert(problem.clone())
        });
        fresh.collect()
    }
}

/// Whether the catalog says that nothing more comes, as several MoQ versions cannot.
fn is_over(track: Track, catalog: &Value) -> bool {
    catalog[END_MARK] == true || (track == Track::Msf && msf::is_over(catalog))
}

/// The next news of a catalog, no earlier than `at`; cancel safe.
async fn paced(catalog: &mut snapshot::Consumer<Value>, at: Instant) -> News {
    tokio::time::sleep_until(at).await;
    catalog.next().await
}

/// Waits until another publisher serves the broadcast at `path` than the one of `lost`.
async fn successor(origin: &origin::Consumer, path: &PathOwned, lost: &broadcast::Consumer) {
    loop {
        match origin.routed_broadcast(path).await {
            Ok(found) if !found.is_closed() && !found.is_clone(lost) => return,
            // The one that was lost may be routed for another moment.
            Ok(_) => tokio::time::sleep(LOOK_AGAIN).await,
            Err(_) => std::future::pending().await,
        }
    }
}

/// Subscribes a catalog, and waits for its first word: a relay may accept what nobody serves.
async fn open(
    consumer: &broadcast::Consumer,
    track: Track,
) -> Result<(snapshot::Consumer<Value>, News), moq_net::Error> {
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
