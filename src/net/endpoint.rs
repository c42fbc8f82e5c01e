// SPDX-License-Identifier: MIT
//! How an element comes to its sessions: it dials a relay, or listens.

use gst::glib;
use moq_net::origin;
use moq_tokio::{Client, server::Request};

use super::{
    config::{Cache, Settings, Target},
    connection::{Event, RelayConnection},
    error::Error,
    listen::{Ask, Bound, ListenConfig, Listener, SubscriptionCount, refuse_listening},
};

/// Whether an element dials or listens.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[repr(u32)]
#[enum_type(name = "GstMoqMode")]
pub enum Mode {
    /// Connects to the relay, or the listening element, that the property `url` names.
    #[default]
    #[enum_value(name = "Connect to a relay", nick = "connect")]
    Connect,
    /// Waits for sessions at the address and port of the property `bind`.
    #[enum_value(name = "Listen for sessions", nick = "listen")]
    Listen,
}

/// The checked settings of a run.
#[derive(Clone)]
pub(crate) enum EndpointConfig {
    Relay(Box<Target>),
    Listener(Box<ListenConfig>),
}

impl EndpointConfig {
    pub(crate) fn new(settings: &Settings) -> Result<Self, Error> {
        Ok(match settings.mode {
            Mode::Connect => {
                let target = settings.target()?;
                refuse_listening(settings)?;
                Self::Relay(Box::new(target))
            }
            Mode::Listen => Self::Listener(Box::new(ListenConfig::new(settings)?)),
        })
    }

    pub(crate) fn broadcast(&self) -> &str {
        match self {
            Self::Relay(target) => &target.broadcast,
            Self::Listener(config) => &config.broadcast,
        }
    }

    pub(crate) fn cache(&self) -> Cache {
        match self {
            Self::Relay(target) => target.cache,
            Self::Listener(config) => config.cache,
        }
    }

    /// The relay to dial, if there is one.
    pub(crate) fn relay(&self) -> Option<&Target> {
        match self {
            Self::Relay(target) => Some(target),
            Self::Listener(_) => None,
        }
    }

    /// Where sessions come from, without secrets.
    pub(crate) fn address(&self) -> String {
        match self {
            Self::Relay(target) => target.endpoint(),
            Self::Listener(config) => format!("moq-listen://{}", config.bind),
        }
    }

    /// `text` without the secrets of the settings.
    pub(crate) fn redact(&self, text: &str) -> String {
        match self.relay() {
            Some(target) => target.redact(text),
            // Nothing that fails here knows one.
            None => text.to_owned(),
        }
    }

    /// Does what a state change has to wait for: a port that cannot be bound fails it. Needs the
    /// runtime's context.
    pub(crate) fn prepare(self) -> Result<Prepared, Error> {
        Ok(match self {
            Self::Relay(target) => Prepared::Relay(target),
            Self::Listener(config) => Prepared::Listener(Box::new(Bound::new(*config)?)),
        })
    }
}

impl std::fmt::Debug for EndpointConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Relay(target) => target.fmt(f),
            Self::Listener(config) => write!(f, "{} at {}", config.broadcast, config.bind),
        }
    }
}

/// What every session publishes and subscribes, the one or the other, or with a return path both.
#[derive(Clone, Default)]
pub(crate) struct Attachment {
    pub(crate) publishes: Option<origin::Consumer>,
    pub(crate) subscribes: Option<origin::Producer>,
}

impl Attachment {
    pub(super) fn client(&self, mut client: Client) -> Client {
        if let Some(origin) = &self.publishes {
            client = client.with_publisher(origin.clone());
        }
        if let Some(origin) = &self.subscribes {
            client = client.with_subscriber(origin.clone());
        }
        client
    }

    pub(super) fn request(&self, mut request: Request) -> Request {
        if let Some(origin) = &self.publishes {
            request = request.with_publisher(origin.clone());
        }
        if let Some(origin) = &self.subscribes {
            request = request.with_subscriber(origin.clone());
        }
        request
    }

    pub(super) fn server(&self, mut server: moq_net::Server) -> moq_net::Server {
        if let Some(origin) = &self.publishes {
            server = server.with_publisher(origin.clone());
        }
        if let Some(origin) = &self.subscribes {
            server = server.with_subscriber(origin.clone());
        }
        server
    }
}

/// An endpoint that nothing has come to yet.
pub(crate) enum Prepared {
    Relay(Box<Target>),
    Listener(Box<Bound>),
}

impl Prepared {
    /// Dials, or lets sessions in as `ask` decides. Needs the runtime's context.
    pub(crate) async fn open(self, attachment: Attachment, ask: Ask) -> Result<Endpoint, Error> {
        Ok(match self {
            Self::Relay(target) => {
                Endpoint::Relay(Box::new(RelayConnection::new(*target, move |client| {
                    attachment.client(client)
                })?))
            }
            Self::Listener(bound) => Endpoint::Listener(bound.listen(attachment, ask).await?),
        })
    }

    pub(crate) fn listens(&self) -> bool {
        matches!(self, Self::Listener(_))
    }
}

/// Where sessions come from, for the length of a run.
pub(crate) enum Endpoint {
    Relay(Box<RelayConnection>),
    Listener(Listener),
}

impl Endpoint {
    /// The next change, or the error that ends the run; cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Event, Error> {
        match self {
            Self::Relay(connection) => connection.next().await,
            Self::Listener(listener) => listener.next().await,
        }
    }

    /// Counts what the sessions of a listener subscribe to.
    pub(crate) fn subscriptions(&self) -> Option<SubscriptionCount> {
        match self {
            Self::Relay(_) => None,
            Self::Listener(listener) => Some(listener.subscriptions()),
        }
    }

    /// Ends all sessions so that their peers know at once.
    pub(crate) async fn close(self) {
        match self {
            Self::Relay(connection) => connection.close().await,
            Self::Listener(listener) => listener.close().await,
        }
    }
}
