//! Follows the catalog of a broadcast; each entry is read by itself, so a bad one harms no other.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use moq_json::snapshot;
use moq_mux::{catalog::hang::Container, container};
use moq_net::{broadcast, origin};
use serde_json::Value;
use tokio::time::Instant;

use crate::media::{
    caps::{self, Rendition},
    codec::Kind,
    reconcile,
    rendition::SECTIONS,
};

/// No more renditions of one broadcast are used (as hang's own readers do).
const MAX_RENDITIONS: usize = 64;
/// How long the catalog's end is waited for after the broadcast itself has gone.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A catalog entry that can be used.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Name of the track.
    pub(super) name: String,
    pub(super) rendition: Arc<Rendition>,
    pub(super) caps: gst::Caps,
}

/// Markers at the end of a group are ours to tell by their empty payload: a publisher whose markers
/// claim a rewind cannot make us stumble.
const CONTENT: container::Kind = container::Kind::Data;

impl Entry {
    /// How its frames are framed.
    pub(super) fn container(&self) -> moq_mux::Result<Container> {
        Container::new(self.rendition.container(), CONTENT)
    }
}

impl reconcile::Rendition for Entry {
    type Kind = Kind;

    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> Kind {
        self.rendition.kind()
    }
}

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

/// A broadcast that is being followed.
pub(super) struct Broadcast {
    pub(super) consumer: broadcast::Consumer,
    catalog: snapshot::Consumer<Value>,
    /// Since when the broadcast is gone, and how long its catalog may still speak.
    deadline: Option<Instant>,
    warned: BTreeSet<String>,
}

impl Broadcast {
    /// Waits until the broadcast is announced and its catalog answers.
    pub(super) async fn find(
        origin: &origin::Consumer,
        name: &str,
    ) -> Result<Self, moq_net::Error> {
        let consumer = origin.routed_broadcast(name).await?;
        let catalog = consumer
            .track(hang::Catalog::DEFAULT_NAME)?
            .subscribe(hang::Catalog::default_subscription());
        let catalog = tokio::select! {
            catalog = catalog => catalog?,
            err = consumer.closed() => return Err(err),
        };
        Ok(Self {
            consumer,
            catalog: snapshot::Consumer::new(catalog, snapshot::consumer::Config::default()),
            deadline: None,
            warned: BTreeSet::new(),
        })
    }

    /// The next update; cancel safe.
    pub(super) async fn next(&mut self) -> Update {
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
        match next {
            Ok(Some(value)) => self.renditions(&value),
            Ok(None) => Update::Ended,
            Err(moq_json::Error::Net(err)) => Update::Lost(err.to_string()),
            Err(err) => {
                let warnings = self.fresh([format!("The catalog cannot be read: {err}")]);
                Update::Unreadable { warnings }
            }
        }
    }

    fn renditions(&mut self, catalog: &Value) -> Update {
        let mut entries = Vec::new();
        let mut problems = Vec::new();
        for (section, tracks) in SECTIONS {
            let renditions = &catalog[section][tracks];
            for (name, value) in renditions.as_object().into_iter().flatten() {
                match entry(section, name, value) {
                    Ok(_) if entries.len() == MAX_RENDITIONS => {
                        problems.push(format!("Only {MAX_RENDITIONS} renditions are used"));
                    }
                    Ok(entry) => entries.push(entry),
                    Err(reason) => {
                        problems.push(format!(
                            "The {section} track \"{}\" is left out: {}",
                            name.escape_debug(),
                            reason.escape_debug()
                        ));
                    }
                }
            }
        }
        let warnings = self.fresh(problems);
        Update::Renditions { entries, warnings }
    }

    /// The problems that have not been told yet.
    fn fresh(&mut self, problems: impl IntoIterator<Item = String>) -> Vec<String> {
        /// A hostile catalog may have a new problem in every update.
        const MAX_WARNINGS: usize = 64;
        let fresh = problems.into_iter().filter(|problem| {
            self.warned.len() < MAX_WARNINGS && self.warned.insert(problem.clone())
        });
        fresh.collect()
    }
}

fn entry(section: &str, name: &str, value: &Value) -> Result<Entry, String> {
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err("its name has characters that no name has".into());
    }
    let rendition = Rendition::from_json(section, value).map_err(|err| err.to_string())?;
    if rendition.elsewhere().is_some() {
        return Err("it refers to another broadcast".into());
    }
    let caps = caps::from_rendition(&rendition).map_err(|err| err.to_string())?;
    let entry = Entry {
        name: name.to_owned(),
        rendition: Arc::new(rendition),
        caps,
    };
    entry.container().map_err(|err| err.to_string())?;
    Ok(entry)
}
