// SPDX-License-Identifier: MIT
//! Properties that both elements have, and their validated form.

use std::{fmt, time::Duration};

use moq_net::{Version, cache, origin};
use moq_tokio::{quic, tls};
use tokio::sync::watch;
use url::Url;

use super::{
    endpoint::Mode,
    error::Error,
    failure::Cause,
    listen::ListenSettings,
    secrets,
    trust::{self, Trust},
    uri::{self, BroadcastUri, Transports, UriError},
};
use crate::media::catalog::name;

/// The URL schemes that a relay can be reached by, each with its transport.
const SCHEMES: [&str; 6] = ["https", "http", "moqt", "moql", "wss", "ws"];

/// The first pause between two tries in ms: a relay that only restarts is back soon.
pub(crate) const DEFAULT_RECONNECT_MIN_DELAY_MS: u32 = 100;
/// The longest pause between two tries in ms.
pub(crate) const DEFAULT_RECONNECT_MAX_DELAY_MS: u32 = 5_000;
/// A peer that is silent for this long, in ms, is gone.
pub(crate) const DEFAULT_QUIC_IDLE_TIMEOUT_MS: u32 = 3_000;
/// How often a peer that has nothing to say shows in ms that it lives.
pub(crate) const DEFAULT_QUIC_KEEP_ALIVE_MS: u32 = 1_000;

/// How long a subscriber keeps media, and a publisher those that subscribers may come back for.
pub(crate) const DEFAULT_CACHE_TIME_NS: u64 = 5_000_000_000;

/// Where to connect, how, and what to call the broadcast, as the user set it.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(super) role: Role,
    pub(crate) mode: Mode,
    pub(crate) listen: ListenSettings,
    pub(crate) url: Option<String>,
    pub(crate) broadcast: Option<String>,
    /// That of the URI that set these two, if one did.
    pub(crate) uri_form: uri::Form,
    /// A run follows its changes.
    pub(crate) token: watch::Sender<Option<String>>,
    pub(crate) tls_disable_verify: bool,
    pub(crate) trust: Trust,
    /// PEM files of the certificate that this end shows, and of its key.
    pub(crate) tls_certificate: Option<String>,
    pub(crate) tls_private_key: Option<String>,
    /// Separated by commas.
    pub(crate) moq_versions: Option<String>,
    /// Whether receivers may ask the publisher for keyframes.
    pub(crate) return_path: bool,
    /// What is sent keeps to what the path carries by itself.
    pub(crate) keeps_to_rate: bool,
    /// These are in ms.
    pub(crate) reconnect_timeout: u32,
    pub(crate) reconnect_min_delay: u32,
    pub(crate) reconnect_max_delay: u32,
    pub(crate) quic_idle_timeout: u32,
    pub(crate) quic_keep_alive: u32,
    /// In bytes.
    pub(crate) cache_size: u64,
    /// In ns.
    pub(crate) cache_time: u64,
}

/// Which end of a broadcast an element is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Publisher,
    Subscriber,
}

impl Role {
    /// How much media is kept, in bytes: a publisher's are for subscribers that come or come back.
    pub(crate) fn cache_size(self) -> u64 {
        match self {
            Self::Publisher => 64 << 20,
            Self::Subscriber => 16 << 20,
        }
    }
}

impl Settings {
    pub(crate) fn new(role: Role) -> Self {
        Self {
            role,
            mode: Mode::default(),
            listen: ListenSettings::default(),
            url: None,
            broadcast: None,
            uri_form: uri::Form::default(),
            token: watch::Sender::default(),
            tls_disable_verify: false,
            trust: Trust::default(),
            tls_certificate: None,
            tls_private_key: None,
            moq_versions: None,
            return_path: false,
            keeps_to_rate: false,
            reconnect_timeout: 0,
            reconnect_min_delay: DEFAULT_RECONNECT_MIN_DELAY_MS,
            reconnect_max_delay: DEFAULT_RECONNECT_MAX_DELAY_MS,
            quic_idle_timeout: DEFAULT_QUIC_IDLE_TIMEOUT_MS,
            quic_keep_alive: DEFAULT_QUIC_KEEP_ALIVE_MS,
            cache_size: role.cache_size(),
            cache_time: DEFAULT_CACHE_TIME_NS,
        }
    }

    /// The `url` property as it reads back: without its query, which may hold a token, and without
    /// user and password.
    pub(crate) fn public_url(&self) -> Option<String> {
        self.url.as_deref().map(secrets::public)
    }

    /// Sets the token; what runs comes with it from now on.
    pub(crate) fn set_token(&mut self, token: Option<String>) {
        self.token.send_if_modified(|current| {
            let changed = *current != token;
            *current = token;
            changed
        });
    }

    /// Takes relay and broadcast from a URI; one that is wrong changes nothing.
    pub(crate) fn set_uri(&mut self, uri: &str) -> Result<(), UriError> {
        let (url, broadcast, form) = BroadcastUri::parse(uri)?.into_parts();
        self.url = Some(url);
        self.broadcast = Some(broadcast);
        self.uri_form = form;
        Ok(())
    }

    /// The URI that [`Settings::set_uri`] takes, with what [`Settings::public_url`] leaves.
    pub(crate) fn public_uri(&self) -> Option<String> {
        let (url, broadcast) = (self.url.clone()?, self.broadcast.clone()?);
        let uri = BroadcastUri::new(url, broadcast, self.uri_form);
        Some(uri.public().to_string())
    }

    /// Checks the settings once, so that nothing after it has to.
    pub(crate) fn target(&self) -> Result<Target, Error> {
        let text = self
            .url
            .as_deref()
            .filter(|url| !url.is_empty())
            .ok_or_else(|| {
                Error::settings(
                    "No relay: set the property \"url\", or mode=listen to do without one",
                )
            })?;
        let url = Url::parse(text)
            .map_err(|err| Error::settings(format!("The property \"url\" is not a URL: {err}")))?;
        if !SCHEMES.contains(&url.scheme()) {
            return Err(Error::settings(format!(
                "The property \"url\" has the scheme \"{}\": use one of {}",
                url.scheme(),
                SCHEMES.join(", ")
            )));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(Error::settings("The property \"url\" has no host"));
        }
        let transports = self.uri_form.transports();
        let url = match transports {
            Transports::WebTransport => uri::by_web_transport(&url).unwrap_or(url),
            Transports::Any | Transports::Quic => url,
        };
        let mut target = Target {
            transports,
            tls: trust::checked(self, &url)?,
            allow_insecure_token: self.trust.allow_insecure_token,
            base: url.clone(),
            url,
            token: self.token.subscribe(),
            broadcast: self.broadcast()?,
            versions: self.versions()?,
            timeouts: self.timeouts()?,
            cache: self.cache(),
        };
        target.take_token()?;
        Ok(target)
    }

    pub(super) fn broadcast(&self) -> Result<String, Error> {
        let name = self.broadcast.as_deref().map(|name| name.trim_matches('/'));
        let name = name
            .filter(|name| !name.is_empty())
            .ok_or_else(|| Error::settings("No broadcast name: set the property \"broadcast\""))?;
        let faulty = |fault| {
            let text = format!("The name of the broadcast, {name:?}, {fault}");
            Err(Error::settings(text))
        };
        if let Some(fault) = name::fault(name) {
            return faulty(fault);
        }
        let literal = match self.role {
            Role::Subscriber => name::prefix(name).unwrap_or(name),
            Role::Publisher => name,
        };
        match (literal.contains('*'), self.role) {
            (false, _) => Ok(name.to_owned()),
            (true, Role::Subscriber) => faulty(
                "has an asterisk that is not its last part: \"room/*\" stands for every broadcast whose \
                 name begins with \"room/\", and \"*\" for every one",
            ),
            (true, Role::Publisher) => {
                faulty("has an asterisk, by which receivers name a prefix: choose another name")
            }
        }
    }

    pub(super) fn cache(&self) -> Cache {
        Cache {
            bytes: self.cache_size,
            time: Duration::from_nanos(self.cache_time),
        }
    }

    pub(super) fn versions(&self) -> Result<Vec<Version>, Error> {
        let names = self.moq_versions.as_deref().unwrap_or_default().split(',');
        let names = names.map(str::trim).filter(|name| !name.is_empty());
        names
            .map(|name| {
                name.parse().map_err(|_| {
                    let known: Vec<_> = Version::names().collect();
                    Error::settings(format!(
                        "The property \"moq-versions\" has the unknown version \"{name}\": use some of {}",
                        known.join(", ")
                    ))
                })
            })
            .collect()
    }

    pub(super) fn timeouts(&self) -> Result<Timeouts, Error> {
        if self.reconnect_min_delay > self.reconnect_max_delay {
            return Err(Error::settings(
                "The property \"reconnect-min-delay\" is larger than \"reconnect-max-delay\"",
            ));
        }
        if self.quic_keep_alive >= self.quic_idle_timeout {
            return Err(Error::settings(
                "The property \"quic-keep-alive\" must be less than \"quic-idle-timeout\", or a live peer is given up",
            ));
        }
        let ms = |ms: u32| Duration::from_millis(ms.into());
        Ok(Timeouts {
            reconnect: Some(ms(self.reconnect_timeout)).filter(|timeout| !timeout.is_zero()),
            min_delay: ms(self.reconnect_min_delay),
            max_delay: ms(self.reconnect_max_delay),
            idle_timeout: ms(self.quic_idle_timeout),
            keep_alive: ms(self.quic_keep_alive),
            keeps_to_rate: self.keeps_to_rate,
        })
    }
}

/// How long a peer may be silent, how soon and how long it is dialled again, and how the path is used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// Time without a session after which no further try is made; `None` is for ever.
    pub(crate) reconnect: Option<Duration>,
    pub(crate) min_delay: Duration,
    pub(crate) max_delay: Duration,
    pub(crate) idle_timeout: Duration,
    /// Zero sends none.
    pub(crate) keep_alive: Duration,
    keeps_to_rate: bool,
}

impl Timeouts {
    /// QUIC's settings with these, and with so many bytes under way each way.
    pub(super) fn quic(self, receive_window: u64, send_window: u64) -> quic::Config {
        let mut quic = quic::Config::default();
        quic.idle_timeout = self.idle_timeout;
        quic.keep_alive = self.keep_alive;
        // Larger packets where the way takes them: each costs as much as a small one.
        quic.mtu_discovery = Some(true);
        quic.receive_window = Some(receive_window);
        quic.send_window = Some(send_window);
        if self.keeps_to_rate {
            // The default, BBR, holds everything back every few seconds to measure the round trip. Who
            // keeps the queue short needs none of its bounds.
            quic.congestion_control = Some(quic::CongestionControl::Loss);
        }
        quic
    }
}

/// Validated settings of one run.
#[derive(Clone)]
pub(crate) struct Target {
    /// With the token.
    pub(crate) url: Url,
    pub(crate) broadcast: String,
    /// As the property says.
    base: Url,
    transports: Transports,
    token: watch::Receiver<Option<String>>,
    allow_insecure_token: bool,
    pub(super) tls: tls::Connect,
    /// The MoQ versions that are offered; none stands for all.
    pub(crate) versions: Vec<Version>,
    pub(crate) timeouts: Timeouts,
    pub(crate) cache: Cache,
}

/// What is kept of the media that were sent or received.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cache {
    /// Beside the newest group of each track, which is always kept.
    pub(crate) bytes: u64,
    pub(crate) time: Duration,
}

impl Cache {
    /// Of requests, which are a few bytes long.
    pub(crate) const REQUESTS: Self = Self {
        bytes: 256 << 10,
        time: Duration::from_secs(5),
    };

    /// Whether more is kept than those need who join or rejoin.
    pub(crate) fn is_for_rewind(self) -> bool {
        self.time > Duration::from_nanos(DEFAULT_CACHE_TIME_NS)
    }
}

/// The least and the most that one end sends ahead of the other, in bytes; the most is the library's
/// default.
const MIN_WINDOW: u64 = 1 << 20;
const MAX_WINDOW: u64 = 64 << 20;

impl Cache {
    /// What a peer may send ahead of its readers: it is kept, too.
    pub(crate) fn receive_window(self) -> u64 {
        self.bytes.clamp(MIN_WINDOW, MAX_WINDOW)
    }

    /// What is sent but not acknowledged: it is kept beside the cache.
    pub(crate) fn send_window(self) -> u64 {
        (self.bytes / 8).clamp(MIN_WINDOW, MAX_WINDOW)
    }

    /// The same where one element serves many: each session may hold as much.
    pub(crate) fn shared_send_window(self) -> u64 {
        (self.bytes / 64).clamp(MIN_WINDOW, MAX_WINDOW)
    }

    /// An origin that keeps no more than this; needs the runtime's context.
    pub(crate) fn origin(self) -> origin::Producer {
        let pool = cache::Config::default()
            .with_capacity(self.bytes)
            .with_expiry(self.time);
        let mut config = origin::Config::default();
        config.pool = cache::Pool::new(pool);
        moq_tokio::origin::spawn_config(config)
    }
}

impl Target {
    /// Scheme, host and port: what may be shown and logged of the URL.
    pub(crate) fn endpoint(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        match self.url.port() {
            Some(port) => format!("{}://{host}:{port}", self.url.scheme()),
            None => format!("{}://{host}", self.url.scheme()),
        }
    }

    /// Waits until the token is another one, which [`Target::take_token`] takes; cancel safe.
    pub(super) async fn token_changed(&mut self) {
        if self.token.changed().await.is_err() {
            // The element is gone.
            std::future::pending().await
        }
    }

    /// Has [`Target::url`] carry the token of now, if it may.
    pub(super) fn take_token(&mut self) -> Result<(), Error> {
        let token = self.token.borrow_and_update().clone();
        let mut url = self.base.clone();
        if let Some(token) = token.filter(|token| !token.is_empty()) {
            secrets::set_token(&mut url, &token);
        }
        if !self.may_dial(&url) {
            return Err(trust::exposed(&url));
        }
        self.url = url;
        Ok(())
    }

    /// Where the dial to `url` goes on if the relay refuses QUIC there (draft-ietf-moq-transport-19
    /// section 3.1.3).
    pub(super) fn fallback(&self, url: &Url) -> Option<Url> {
        uri::by_web_transport(url).filter(|_| self.transports == Transports::Any)
    }

    fn may_dial(&self, url: &Url) -> bool {
        self.allow_insecure_token || !trust::exposes_secret(url, &self.tls)
    }

    /// `url`, which a relay named on its own host, with our token unless it brings one; our own URL if
    /// a token would not be safe there.
    pub(crate) fn admit(&self, mut url: Url) -> Url {
        if let Some(ours) = secrets::token(&self.url)
            && secrets::token(&url).is_none()
            && url.host() == self.url.host()
        {
            secrets::set_token(&mut url, &ours);
        }
        match self.may_dial(&url) {
            true => url,
            false => self.url.clone(),
        }
    }

    /// What `error` of a dial to this target comes from.
    pub(super) fn cause(&self, error: &moq_tokio::Error) -> Cause {
        match Cause::of(error) {
            Cause::Fingerprint if !self.tls.fingerprint.is_empty() => Cause::Pinned,
            cause => cause,
        }
    }

    /// `text` with every secret of the URL blotted out.
    pub(crate) fn redact(&self, text: &str) -> String {
        let mut known = secrets::secrets(&self.url);
        // The URL may be that of an older token.
        known.extend(self.token.borrow().clone());
        secrets::redact(text, &known)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.broadcast, self.endpoint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str, token: Option<&str>) -> Settings {
        Settings {
            url: Some(url.into()),
            broadcast: Some("room/camera".into()),
            token: watch::Sender::new(token.map(Into::into)),
            ..Settings::new(Role::Subscriber)
        }
    }

    #[test]
    fn a_broadcast_has_no_control_characters_in_its_name() {
        for (name, fine) in [("room/my cam", true), ("a\nb", false), ("\u{7f}", false)] {
            let mut settings = settings("https://relay.example", None);
            settings.broadcast = Some(name.into());
            assert_eq!(settings.target().is_ok(), fine, "{name:?}");
        }
    }

    #[test]
    fn an_asterisk_stands_for_what_is_beneath_a_prefix() {
        for (name, receives) in [
            ("room/*", true),
            ("*", true),
            ("/*", true),
            ("room/*/camera", false),
            ("room*", false),
            ("*/*", false),
            ("room/**", false),
        ] {
            let mut settings = settings("https://relay.example", None);
            settings.broadcast = Some(name.into());
            let error = settings.target().err().map(|error| error.to_string());
            assert_eq!(error.is_none(), receives, "{name}: {error:?}");
            settings.role = Role::Publisher;
            let error = settings.target().expect_err(name).to_string();
            assert!(error.contains("asterisk"), "{name}: {error}");
        }
    }

    #[test]
    fn a_url_reads_back_without_its_query() {
        let settings = settings("https://relay.example/demo?jwt=secret#part", None);
        assert_eq!(
            settings.public_url().as_deref(),
            Some("https://relay.example/demo")
        );
        let settings = self::settings("https://user:pass@relay.example:4443/demo", None);
        assert_eq!(
            settings.public_url().as_deref(),
            Some("https://relay.example:4443/demo")
        );
    }

    #[test]
    fn a_uri_sets_relay_and_broadcast_and_reads_back_without_its_token() {
        let mut settings = Settings::new(Role::Subscriber);
        for (uri, public) in [
            (
                "moq+https://u:secret@relay.example/a?jwt=secret&x=1#room/my%20cam",
                "moq+https://relay.example/a#room/my%20cam",
            ),
            (
                "moqt://relay.example:4443/a?jwt=secret&x=1#msf:room-my.20cam--catalog",
                "moqt://relay.example:4443/a#msf:room-my.20cam--catalog",
            ),
        ] {
            settings.set_uri(uri).expect(uri);
            assert_eq!(settings.broadcast.as_deref(), Some("room/my cam"));
            assert_eq!(settings.public_uri().as_deref(), Some(public));
            let target = settings.target().expect("valid settings");
            assert_eq!(target.url.query(), Some("jwt=secret&x=1"));
            assert_eq!(target.url.fragment(), None);
            assert!(!target.redact(uri).contains("secret"));
            settings
                .set_uri("moqt://other.example#%ff")
                .expect_err("a wrong escape");
            assert_eq!(settings.public_uri().as_deref(), Some(public));
        }
    }

    #[test]
    fn a_uri_may_say_how_the_relay_is_reached() {
        let mut settings = Settings::new(Role::Subscriber);
        for (parameter, url, fallback) in [
            (
                "",
                "moqt://relay.example/a",
                Some("https://relay.example/a"),
            ),
            ("&connection=q", "moqt://relay.example/a", None),
            ("&connection=wt", "https://relay.example/a", None),
        ] {
            let uri = format!("moqt://relay.example/a#msf:room--catalog{parameter}");
            settings.set_uri(&uri).expect("a URI");
            let target = settings.target().expect("valid settings");
            assert_eq!(target.url.as_str(), url);
            let found = target.fallback(&target.url);
            assert_eq!(found.as_ref().map(Url::as_str), fallback);
            assert_eq!(settings.public_uri(), Some(uri));
        }
    }

    #[test]
    fn the_token_replaces_the_one_of_the_url() {
        let target = settings("https://relay.example/?jwt=old&x=1", Some("new"))
            .target()
            .expect("valid settings");
        assert_eq!(target.url.query(), Some("x=1&jwt=new"));
    }

    #[test]
    fn the_token_goes_along_on_the_same_host_alone() {
        let target = settings("https://relay.example/?jwt=ours&x=1", None)
            .target()
            .expect("valid settings");
        for (named, dialled) in [
            (
                "https://relay.example:4443/a?b=c",
                "https://relay.example:4443/a?b=c&jwt=ours",
            ),
            (
                "https://relay.example/?jwt=theirs",
                "https://relay.example/?jwt=theirs",
            ),
            ("https://other.example/", "https://other.example/"),
        ] {
            let named = named.parse().expect("a URL");
            assert_eq!(target.admit(named).as_str(), dialled);
        }
    }

    #[test]
    fn a_token_goes_where_nobody_else_reads_it() {
        let pin = "ab".repeat(32);
        for (url, token, pin, admitted) in [
            ("http://relay.example", None, None, true),
            ("http://relay.example", Some(""), None, true),
            ("http://relay.example", Some("x"), None, false),
            ("http://relay.example/?jwt=x", None, None, false),
            ("http://relay.example/?token=x", None, None, false),
            ("http://relay.example/?jwt=", None, None, true),
            ("http://u:p@relay.example", None, None, false),
            ("http://u@relay.example", None, None, false),
            ("http://relay.example", Some("x"), Some(&pin), true),
            ("ws://relay.example", Some("x"), None, false),
            ("https://relay.example", Some("x"), None, true),
            ("wss://relay.example", Some("x"), None, true),
            ("moqt://relay.example", Some("x"), None, true),
            ("http://localhost:4443", Some("x"), None, true),
            ("ws://LOCALHOST", Some("x"), None, true),
            ("ws://127.8.9.1", Some("x"), None, true),
            ("ws://2130706433", Some("x"), None, true),
            ("ws://[::1]:80", Some("x"), None, true),
            ("ws://[::ffff:127.0.0.1]", Some("x"), None, true),
            ("ws://[::2]", Some("x"), None, false),
            ("ws://localhost.example", Some("x"), None, false),
            ("ws://127.0.0.1.example", Some("x"), None, false),
            ("ws://0.0.0.0", Some("x"), None, false),
        ] {
            let mut settings = settings(url, token);
            settings.trust.fingerprint = pin.cloned();
            assert_eq!(settings.target().is_ok(), admitted, "{url} {token:?}");
            settings.trust.allow_insecure_token = true;
            assert!(settings.target().is_ok(), "{url} {token:?}");
        }
    }

    #[test]
    fn a_hand_over_takes_no_token_into_the_open() {
        let mut settings = settings("http://relay.example", Some("ours"));
        settings.trust.fingerprint = Some("ab".repeat(32));
        for (named, dialled) in [
            (
                "http://relay.example:1/",
                "http://relay.example:1/?jwt=ours",
            ),
            ("ws://relay.example/", "http://relay.example/?jwt=ours"),
            (
                "ws://relay.example/?jwt=theirs",
                "http://relay.example/?jwt=ours",
            ),
        ] {
            let target = settings.target().expect("valid settings");
            assert_eq!(
                target.admit(named.parse().expect("a URL")).as_str(),
                dialled
            );
        }
    }

    #[test]
    fn a_run_takes_each_new_token_that_is_safe() {
        let mut settings = settings("https://relay.example/?jwt=of-url", None);
        let mut target = settings.target().expect("valid settings");
        for (token, query) in [
            (Some("one"), "jwt=one"),
            (Some("two"), "jwt=two"),
            (None, "jwt=of-url"),
        ] {
            settings.set_token(token.map(Into::into));
            target.take_token().expect("a token that is safe");
            assert_eq!(target.url.query(), Some(query));
        }
        let mut settings = self::settings("ws://relay.example/", None);
        let mut target = settings.target().expect("valid settings");
        settings.set_token(Some("secret".into()));
        assert!(target.take_token().is_err());
        assert_eq!(target.url.query(), None);
    }

    #[test]
    fn no_view_of_a_target_shows_its_token() {
        let target = settings("https://u:password@relay.example:4443/?jwt=secret", None)
            .target()
            .expect("valid settings");
        assert_eq!(target.endpoint(), "https://relay.example:4443");
        assert!(!format!("{target:?}").contains("secret"));
        assert_eq!(
            target.redact("GET /?jwt=secret&a=b by password"),
            "GET /?jwt=***&a=b by ***"
        );
    }

    #[test]
    fn versions_are_offered_by_name() {
        for (names, count) in [
            (None, 0),
            (Some(""), 0),
            (Some("moq-lite-06, moq-transport-17,"), 2),
        ] {
            let settings = Settings {
                moq_versions: names.map(Into::into),
                ..settings("https://relay.example", None)
            };
            let target = settings.target().expect("valid settings");
            assert_eq!(target.versions.len(), count, "{names:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (url, hint) in [
            ("", "set the property \"url\""),
            ("relay", "not a URL"),
            ("ftp://relay", "use one of https"),
            ("https:///", "not a URL"),
        ] {
            let err = settings(url, None).target().expect_err(url);
            assert!(err.to_string().contains(hint), "{url}: {err}");
        }
        let unnamed = Settings {
            broadcast: Some("/".into()),
            ..settings("https://relay", None)
        };
        let err = unnamed.target().expect_err("no name");
        assert!(err.to_string().contains("broadcast"), "{err}");
        let deaf = Settings {
            quic_keep_alive: DEFAULT_QUIC_IDLE_TIMEOUT_MS,
            ..settings("https://relay", None)
        };
        let err = deaf.target().expect_err("no keep-alive in time");
        assert!(err.to_string().contains("quic-keep-alive"), "{err}");
    }
}
