//! Which broadcasts of the relay are heard of: its own, and those that a catalog refers to.
//!
//! A relay tells a session of every broadcast that is in the session's scope, and the library keeps a
//! few KiB for each: of all that a large relay has, hardly any is of use here.

use std::collections::BTreeSet;

use gst::glib;
use moq_net::{PathOwned, Pattern, Patterns, origin};

use crate::net::{config::Target, connection::RelayConnection, error::Error};
use crate::source::CAT;

/// The part of `origin` that has these broadcasts, and what is beneath them.
pub(crate) fn scope<'a>(
    origin: &origin::Producer,
    names: impl IntoIterator<Item = &'a str>,
) -> origin::Producer {
    let patterns: Result<Patterns, _> = names.into_iter().map(Pattern::subtree).collect();
    // A name with an asterisk is no pattern: it is found among all.
    let scoped = patterns
        .ok()
        .and_then(|names| origin.scope("", &names).ok());
    scoped.unwrap_or_else(|| origin.clone())
}

/// A session of its own for the broadcasts that a catalog refers to: there is none without them.
pub(crate) struct Elsewhere {
    /// The element's name, for the log.
    log: glib::GString,
    target: Target,
    origin: origin::Producer,
    names: BTreeSet<PathOwned>,
    connection: Option<RelayConnection>,
}

impl Elsewhere {
    /// What it finds is found in `origin`.
    pub(crate) fn new(log: glib::GString, target: Target, origin: origin::Producer) -> Self {
        Self {
            log,
            target,
            origin,
            names: BTreeSet::new(),
            connection: None,
        }
    }

    /// Hears of these broadcasts from now on, and of no others.
    pub(crate) fn hear_of(&mut self, names: BTreeSet<PathOwned>) {
        if names.is_subset(&self.names) {
            return;
        }
        let scoped = scope(&self.origin, names.iter().map(|name| name.as_str()));
        let connection = RelayConnection::new(self.target.clone(), move |client| {
            client.with_subscriber(scoped.clone())
        });
        match connection {
            Ok(connection) => {
                self.connection = Some(connection);
                self.names = names;
            }
            // The next catalog tries again.
            Err(err) => self.warn(&err),
        }
    }

    /// Whoever waits for the others tells that they are missing.
    fn warn(&self, err: &Error) {
        gst::warning!(CAT, id = &self.log, "Other broadcasts are not found: {err}");
    }

    /// Keeps the session up; cancel safe.
    pub(crate) async fn run(&mut self) {
        while let Some(connection) = &mut self.connection {
            match connection.next().await {
                Ok(event) => gst::debug!(CAT, id = &self.log, "Other broadcasts: {event:?}"),
                Err(err) => {
                    self.warn(&err);
                    self.connection = None;
                    self.names.clear();
                }
            }
        }
        std::future::pending().await
    }

    pub(crate) async fn close(self) {
        if let Some(connection) = self.connection {
            connection.close().await;
        }
    }
}
