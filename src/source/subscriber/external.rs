// SPDX-License-Identifier: MIT
//! Other broadcasts of the relay, whose tracks the catalog lists.
//!
//! A relay announces every broadcast that is in a session's scope, and the library keeps a few KiB for
//! each: of all that a large relay has, only those that the catalog refers to are of use here.

use std::{collections::BTreeSet, convert::Infallible, pin::pin, sync::Arc, time::Duration};

use moq_net::{Path, PathOwned, Pattern, Patterns, origin};
use tokio_util::sync::CancellationToken;

use super::config::Config;
use crate::{
    media::catalog::name,
    net::{connection::RelayConnection, error::Error},
    source::{CAT, catalog::Entry, message::TrackEnd, track::Reader},
};

/// How long an external broadcast is waited for until it is reported as missing, and waited for again.
const FIND_TIMEOUT: Duration = Duration::from_secs(5);

/// The part of `origin` that has these broadcasts, and what is beneath them.
pub(super) fn scope<'a>(
    origin: &origin::Producer,
    names: impl IntoIterator<Item = &'a str>,
) -> origin::Producer {
    let patterns: Result<Patterns, _> = names.into_iter().map(Pattern::subtree).collect();
    // A name with an asterisk, which a catalog may have, is no pattern: it is found among all.
    let scoped = patterns
        .ok()
        .and_then(|names| origin.scope("", &names).ok());
    scoped.unwrap_or_else(|| origin.clone())
}

/// The broadcasts that the catalog refers to, announced over a connection of their own; without them
/// there is no such connection.
pub(super) struct ExternalBroadcasts {
    config: Arc<Config>,
    origin: origin::Producer,
    names: BTreeSet<PathOwned>,
    connection: Option<RelayConnection>,
}

impl ExternalBroadcasts {
    /// What is announced is found in `origin`.
    pub(super) fn new(config: Arc<Config>, origin: origin::Producer) -> Self {
        Self {
            config,
            origin,
            names: BTreeSet::new(),
            connection: None,
        }
    }

    /// Has the broadcasts of `entries` announced from now on, and no others.
    pub(super) fn follow(&mut self, entries: &[Entry]) {
        let Some(relay) = self.config.endpoint.relay() else {
            // Only what a publisher brings of its own broadcast is let in.
            return;
        };
        let own = name::prefix(&relay.broadcast).unwrap_or(&relay.broadcast);
        let own = Path::new(own);
        let names = entries.iter().filter_map(|entry| entry.external.clone());
        let names: BTreeSet<_> = names.filter(|path| !path.has_prefix(&own)).collect();
        if names.is_subset(&self.names) {
            return;
        }
        let scoped = scope(&self.origin, names.iter().map(|name| name.as_str()));
        let connection = RelayConnection::new(relay.clone(), move |client| {
            client.with_subscriber(scoped.clone())
        });
        match connection {
            Ok(connection) => {
                self.connection = Some(connection);
                self.names = names;
            }
            // The next catalog tries again.
            Err(err) => self.log(&err),
        }
    }

    /// The readers of their tracks warn that they are missing.
    fn log(&self, err: &Error) {
        let name = &self.config.name;
        gst::warning!(CAT, id = name, "External broadcasts are not found: {err}");
    }

    /// Keeps the session up; cancel safe.
    pub(super) async fn run(&mut self) -> Infallible {
        while let Some(connection) = &mut self.connection {
            match connection.next().await {
                Ok(event) => {
                    let name = &self.config.name;
                    gst::debug!(CAT, id = name, "External broadcasts: {event:?}");
                }
                Err(err) => {
                    self.log(&err);
                    self.connection = None;
                    self.names.clear();
                }
            }
        }
        std::future::pending().await
    }

    pub(super) async fn close(self) {
        if let Some(connection) = self.connection {
            connection.close().await;
        }
    }
}

/// Reads a track of the external broadcast at `path`, until it ends or that broadcast goes.
///
/// The catalog of that broadcast is not read: a reference leads one step, and never in a circle.
/// `retired` is the token of the reader's own configuration.
pub(super) async fn read(
    reader: Reader,
    origin: origin::Consumer,
    path: PathOwned,
    retired: CancellationToken,
) -> TrackEnd {
    let finding = tokio::time::timeout(FIND_TIMEOUT, origin.routed_broadcast(&path));
    let broadcast = tokio::select! {
        biased;
        () = retired.cancelled() => return TrackEnd::Retired,
        found = finding => match found {
            Ok(Ok(broadcast)) => broadcast,
            Ok(Err(_)) | Err(_) => return TrackEnd::Missing(path.to_string()),
        },
    };
    let gone = || TrackEnd::Lost(format!("the broadcast \"{path}\" is gone"));
    let mut reading = pin!(reader.run(broadcast.clone()));
    let end = tokio::select! {
        biased;
        end = &mut reading => end,
        _ = broadcast.closed() => {
            // What is under way is still read.
            retired.cancel();
            reading.await;
            return gone();
        }
    };
    if !matches!(end, TrackEnd::Finished) {
        return end;
    }
    // Only the catalog ends the pad: the track goes on when its broadcast comes again.
    tokio::select! {
        biased;
        () = retired.cancelled() => end,
        _ = broadcast.closed() => gone(),
    }
}
