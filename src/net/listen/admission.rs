// SPDX-License-Identifier: MIT
//! Who is let in.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use gst::structure::Builder;
use moq_tokio::tls::PeerIdentity;
use subtle::ConstantTimeEq;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::timeout,
};
use url::form_urlencoded;

use super::config::ListenConfig;
use crate::net::secrets::TOKEN_PARAMETER;

/// How long the application may take to decide; less than players wait for a connection.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(2500);
/// Sessions that are being decided on or have not finished their handshake; others are refused for now.
const MAX_PENDING: usize = 256;

/// Somebody who asks for a session.
#[derive(Clone)]
pub(crate) struct SessionRequest {
    pub(crate) address: Option<SocketAddr>,
    /// `quic` or `websocket`.
    pub(crate) transport: &'static str,
    /// Of the URL, without its query; empty for the root.
    pub(crate) path: String,
    token: Option<String>,
    /// Of the certificate that the peer has shown, if any.
    subject: Option<String>,
    fingerprint: Option<String>,
}

impl SessionRequest {
    pub(super) fn new(
        address: Option<SocketAddr>,
        transport: &'static str,
        path: &str,
        query: Option<&str>,
        identity: Option<&PeerIdentity>,
    ) -> Self {
        let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        let token = pairs.find(|(name, _)| name == TOKEN_PARAMETER);
        Self {
            address,
            transport,
            path: if path == "/" {
                String::new()
            } else {
                path.to_owned()
            },
            token: token.map(|(_, token)| token.into_owned()),
            subject: identity.and_then(PeerIdentity::name),
            fingerprint: identity.and_then(PeerIdentity::fingerprint),
        }
    }

    /// The token that a version of MoQ carries in its SETUP, where the URL had none.
    pub(super) fn with_setup_token(mut self, token: Option<&moq_net::setup::Token>) -> Self {
        let text = token.and_then(|token| String::from_utf8(token.value.clone()).ok());
        self.token = self.token.or(text);
        self
    }

    /// The structure `moq-session-request`; what is unknown is left out. It holds the token, so it is for
    /// the handler alone.
    pub(crate) fn structure(&self) -> gst::Structure {
        let structure = gst::Structure::builder("moq-session-request");
        let structure = structure.field_if_some("token", self.token.as_ref());
        self.describe(structure).build()
    }

    /// Adds what anybody may see of it.
    pub(super) fn describe(&self, structure: Builder) -> Builder {
        structure
            .field_if_some("address", self.address.map(|address| address.to_string()))
            .field("transport", self.transport)
            .field("path", &self.path)
            .field_if_some("subject", self.subject.as_ref())
            .field_if_some("fingerprint", self.fingerprint.as_ref())
    }
}

impl fmt::Debug for SessionRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address.map(|address| address.to_string());
        let address = address.as_deref().unwrap_or("an unknown address");
        write!(f, "{address} by {}", self.transport)
    }
}

/// Asks the application, if it wants to be asked.
pub(crate) type Ask = Arc<dyn Fn(SessionRequest) -> Option<oneshot::Receiver<bool>> + Send + Sync>;

/// Why somebody is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("there are as many sessions as \"max-sessions\" allows")]
    Full,
    #[error("too many others ask at the same time")]
    Busy,
    #[error("it has not shown a certificate that the settings let in")]
    Certificate,
    #[error("it has not brought the token that \"listen-token\" asks for")]
    Token,
    #[error("the handler of \"session-request\" has refused it")]
    Application,
    #[error("the handler of \"session-request\" has not answered in time")]
    Silence,
}

impl Refusal {
    /// Whether the same request may be let in later.
    pub(super) fn may_pass(self) -> bool {
        match self {
            Self::Full | Self::Busy | Self::Silence => true,
            Self::Certificate | Self::Token | Self::Application => false,
        }
    }
}

/// Decides on each session.
pub(super) struct Admission {
    places: Arc<Semaphore>,
    pending: Arc<Semaphore>,
    asks_for_certificate: bool,
    fingerprints: Vec<String>,
    token: Option<String>,
    ask: Ask,
}

/// Somebody who may come in, once the handshake is done: who never gets that far takes nobody's place.
#[derive(Debug)]
pub(super) struct Admitted {
    places: Arc<Semaphore>,
    _pending: OwnedSemaphorePermit,
}

impl Admitted {
    pub(super) fn enter(self) -> Result<Place, Refusal> {
        let place = self.places.try_acquire_owned();
        place.map(Place).map_err(|_| Refusal::Full)
    }
}

/// A session's place, for as long as it lives.
#[derive(Debug)]
pub(super) struct Place(#[expect(dead_code, reason = "held")] OwnedSemaphorePermit);

impl Admission {
    pub(super) fn new(config: &ListenConfig, ask: Ask) -> Self {
        Self {
            places: Arc::new(Semaphore::new(config.max_sessions)),
            pending: Arc::new(Semaphore::new(MAX_PENDING)),
            asks_for_certificate: config.asks_for_certificate(),
            fingerprints: config.client_fingerprints.clone(),
            token: config.token.clone(),
            ask,
        }
    }

    /// Lets somebody in; what costs least is asked first, and the application last.
    pub(super) async fn admit(&self, request: &SessionRequest) -> Result<Admitted, Refusal> {
        if self.asks_for_certificate && !self.knows(request.fingerprint.as_deref()) {
            return Err(Refusal::Certificate);
        }
        if let Some(token) = &self.token {
            let brought = request.token.as_deref().unwrap_or_default();
            if !bool::from(brought.as_bytes().ct_eq(token.as_bytes())) {
                return Err(Refusal::Token);
            }
        }
        if self.places.available_permits() == 0 {
            return Err(Refusal::Full);
        }
        let pending = self.pending.clone().try_acquire_owned();
        let pending = pending.map_err(|_| Refusal::Busy)?;
        if let Some(answer) = (self.ask)(request.clone()) {
            match timeout(ANSWER_TIMEOUT, answer).await {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => return Err(Refusal::Application),
                Ok(Err(_)) | Err(_) => return Err(Refusal::Silence),
            }
        }
        Ok(Admitted {
            places: self.places.clone(),
            _pending: pending,
        })
    }

    /// Whether a certificate is one that is let in: the handshake has checked the chain.
    fn knows(&self, fingerprint: Option<&str>) -> bool {
        let Some(fingerprint) = fingerprint else {
            return false;
        };
        self.fingerprints.is_empty() || self.fingerprints.iter().any(|known| known == fingerprint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::config::{Role, Settings};

    fn admission(change: impl FnOnce(&mut Settings), ask: Ask) -> Admission {
        let mut settings = Settings::new(Role::Publisher);
        settings.broadcast = Some("camera".into());
        change(&mut settings);
        Admission::new(&ListenConfig::new(&settings).expect("valid settings"), ask)
    }

    fn nobody() -> Ask {
        Arc::new(|_| None)
    }

    fn request(query: &str) -> SessionRequest {
        SessionRequest::new(None, "quic", "/", Some(query), None)
    }

    #[tokio::test]
    async fn the_token_counts_as_a_whole() {
        let admission = admission(
            |settings| settings.listen.token = Some("a+b".into()),
            nobody(),
        );
        for (query, fits) in [
            ("jwt=a%2Bb", true),
            ("x=1&jwt=a%2Bb&y", true),
            ("jwt=a", false),
            ("jwt=a%2Bbc", false),
            ("jwt=", false),
            ("token=a%2Bb", false),
            ("", false),
        ] {
            let admitted = admission.admit(&request(query)).await;
            assert_eq!(admitted.is_ok(), fits, "{query}");
        }
        let token = |value: &str| moq_net::setup::Token {
            kind: 0,
            value: value.into(),
        };
        let request = request("").with_setup_token(Some(&token("a+b")));
        assert!(admission.admit(&request).await.is_ok());
    }

    #[tokio::test]
    async fn a_place_is_taken_by_a_session_and_free_again_when_it_ends() {
        let admission = admission(|settings| settings.listen.max_sessions = 1, nobody());
        let request = request("");
        let pending = admission.admit(&request).await.expect("it may come in");
        let other = admission.admit(&request).await.expect("so may others");
        let place = other.enter().expect("the place is free");
        assert_eq!(pending.enter().err(), Some(Refusal::Full));
        assert_eq!(admission.admit(&request).await.err(), Some(Refusal::Full));
        drop(place);
        assert!(admission.admit(&request).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn the_application_has_the_last_word_and_limited_time() {
        let (send, _keep) = std::sync::mpsc::channel();
        for (answer, expected) in [
            (Some(true), None),
            (Some(false), Some(Refusal::Application)),
            (None, Some(Refusal::Silence)),
        ] {
            let send = send.clone();
            let ask: Ask = Arc::new(move |_| {
                let (sender, receiver) = oneshot::channel();
                match answer {
                    Some(answer) => sender.send(answer).expect("it waits"),
                    // It never answers.
                    None => send.send(sender).expect("the test keeps it"),
                }
                Some(receiver)
            });
            let admission = admission(|_| {}, ask);
            assert_eq!(admission.admit(&request("")).await.err(), expected);
        }
    }

    #[tokio::test]
    async fn without_a_certificate_nobody_is_known() {
        let known = "ab".repeat(32);
        let admission = admission(
            |settings| settings.listen.client_fingerprints = Some("ab".repeat(32)),
            nobody(),
        );
        for (fingerprint, fits) in [
            (None, false),
            (Some("cd".repeat(32)), false),
            (Some(known), true),
        ] {
            let request = SessionRequest {
                fingerprint,
                ..request("")
            };
            let admitted = admission.admit(&request).await;
            assert_eq!(admitted.is_ok(), fits, "{:?}", request.fingerprint);
        }
    }

    #[test]
    fn no_view_of_a_request_but_the_handlers_shows_its_token() {
        gst::init().expect("GStreamer initializes");
        let request = request("jwt=secret");
        assert!(!format!("{request:?}").contains("secret"));
        assert_eq!(request.structure().get("token"), Ok("secret"));
    }
}
