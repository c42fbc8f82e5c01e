//! Follows the catalog of a broadcast; each entry is read by itself, so a bad one harms no other.

mod entries;
mod format;
mod hang;
mod msf;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, time::Duration};

use moq_json::{Compression, snapshot};
use moq_net::{Path, PathOwned, broadcast, origin};
use serde_json::Value;
use tokio::time::Instant;

use format::Track;

pub(super) use entries::Entry;
pub(super) use format::CatalogFormat;

/// How long the catalog's end is waited for after the broadcast itself has gone.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// No greater catalog is read, in bytes of JSON.
const MAX_SIZE: usize = 4 << 20;

/// What the catalog track has to say next.
#[derive(Debug)]
pub(super) enum Update {
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
}

/// What comes from a catalog track.
type News = Result<Option<Value>, moq_json::Error>;

/// A broadcast that is being followed.
pub(super) struct Broadcast {
    pub(super) consumer: broadcast::Consumer,
    path: PathOwned,
    track: Track,
    catalog: snapshot::Consumer<Value>,
    /// What the catalog said when it was found.
    first: Option<News>,
    /// Since when the broadcast is gone, and how long its catalog may still speak.
    deadline: Option<Instant>,
    warned: BTreeSet<String>,
}

impl Broadcast {
    /// Waits until the broadcast is announced, and for the first of its catalogs that answers; one
    /// that is silent for longer than `patience` is given up.
    ///
    /// The error says for each catalog why it cannot be read.
    pub(super) async fn find(
        origin: origin::Consumer,
        name: String,
        format: CatalogFormat,
        patience: Duration,
    ) -> Result<Self, String> {
        let consumer = origin.routed_broadcast(name.as_str()).await;
        let consumer = consumer.map_err(|err| err.to_string())?;
        let mut reasons = Vec::new();
        let mut ended = None;
        for &track in format.tracks(&name) {
            let opened = tokio::select! {
                opened = tokio::time::timeout(patience, open(&consumer, track)) => opened,
                err = consumer.closed() => return Err(err.to_string()),
            };
            let reason = match opened {
                Ok(Ok((catalog, first))) => {
                    let says_nothing = matches!(first, Ok(None));
                    let found = Self {
                        consumer: consumer.clone(),
                        path: Path::new(&name).to_owned(),
                        track,
                        catalog,
                        first: Some(first),
                        deadline: None,
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

    /// The next update; cancel safe.
    pub(super) async fn next(&mut self) -> Update {
        if let Some(first) = self.first.take() {
            return self.update(first);
        }
        let next = match self.deadline {
            None => tokio::select! {
                biased;
                next = self.catalog.next() => next,
                _ = self.consumer.closed() => {
                    self.deadline = Some(Instant::now() + LAST_WORDS);
                    return Box::pin(self.next()).await;
                }
            },
            Some(deadline) => match tokio::time::timeout_at(deadline, self.catalog.next()).await {
                Ok(next) => next,
                Err(_) => return Update::Lost("the broadcast is gone".into()),
            },
        };
        self.update(next)
    }

    fn update(&mut self, news: News) -> Update {
        match news {
            Ok(Some(value)) if self.track == Track::Msf && msf::is_over(&value) => Update::Ended,
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
