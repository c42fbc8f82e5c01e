// SPDX-License-Identifier: MIT
//! The properties that both elements have, in one list.

use gst::{
    glib::{
        self, HasParamSpec, ParamSpec, ParamSpecBoolean, ParamSpecBoxed, ParamSpecBoxedBuilder,
        ParamSpecEnum, ParamSpecString, ParamSpecUInt, ParamSpecUInt64, value::FromValue,
    },
    prelude::*,
};

use super::status::{ConnectionStatus, Status};
use crate::net::{
    config::{self, Role, Settings},
    endpoint::Mode,
    listen,
};

/// The longest time of a property in ms: 10 minutes.
const MAX_MS: u32 = 600_000;
/// The shortest `cache-time` in ns.
const MIN_CACHE_TIME_NS: u64 = 1_000_000;
/// What a host has ports and file descriptors for.
const MAX_SESSIONS: u32 = 10_000;

type Get = Box<dyn Fn(&Settings, &ConnectionStatus) -> glib::Value + Send + Sync>;
type Set = Box<dyn Fn(&mut Settings, &glib::Value) + Send + Sync>;

/// One property: its declaration and what it stands for.
struct Property {
    spec: ParamSpec,
    /// Missing where it cannot be read back.
    get: Option<Get>,
    /// Missing where it is read-only.
    set: Option<Set>,
}

/// The common properties of an element, beside those that it declares itself.
pub(crate) struct CommonProperties(Vec<Property>);

impl CommonProperties {
    pub(crate) fn new(role: Role) -> Self {
        let mut properties = relay(role);
        properties.extend(trust());
        properties.extend(listening());
        properties.extend(advertising(role));
        properties.extend(timeouts());
        properties.extend(cache(role));
        properties.extend(connection());
        Self(properties)
    }

    /// The declarations of all properties of an element; the numbers of its `own` stay.
    pub(crate) fn beside(&self, own: &[ParamSpec]) -> Vec<ParamSpec> {
        let common = self.0.iter().map(|property| &property.spec);
        own.iter().chain(common).cloned().collect()
    }

    /// The value of the property of this `name`; none if it is not one of the list.
    pub(crate) fn get(
        &self,
        name: &str,
        settings: &Settings,
        connection: &ConnectionStatus,
    ) -> Option<glib::Value> {
        let get = self.find(name)?.get.as_ref()?;
        Some(get(settings, connection))
    }

    /// Sets the property of this `name`; whether it is one of the list.
    pub(crate) fn set(&self, name: &str, value: &glib::Value, settings: &mut Settings) -> bool {
        let set = self.find(name).and_then(|property| property.set.as_ref());
        if let Some(set) = set {
            set(settings, value);
        }
        set.is_some()
    }

    fn find(&self, name: &str) -> Option<&Property> {
        self.0.iter().find(|property| property.spec.name() == name)
    }
}

/// A property that a user sets before the element runs: declaration, nick, blurb, getter, setter.
macro_rules! setting {
    ($spec:expr, $nick:literal, $blurb:expr, $get:expr, $set:expr) => {
        setting(
            $spec.nick($nick).blurb($blurb).mutable_ready().build(),
            $get,
            $set,
        )
    };
}

/// A property of the connection: declaration, nick, blurb, getter.
macro_rules! status {
    ($spec:expr, $nick:literal, $blurb:expr, $get:expr) => {
        status($spec.nick($nick).blurb($blurb).read_only().build(), $get)
    };
}

/// Where the relay is and how it is reached.
fn relay(role: Role) -> Vec<Property> {
    let token = ParamSpecString::builder("token")
        .nick("Token")
        .blurb("Token (JWT) for the relay in place of the one in the URL; a new one opens a new session; cannot be read back")
        .write_only()
        .mutable_playing()
        .build();
    let token = setting(token, |_| None, Settings::set_token);
    vec![
        setting! {
            ParamSpecString::builder("url"), "URL",
            "URL of the relay with its path, of scheme https, http (local development), moqt, moql, wss or ws; reads back without query, user and password",
            Settings::public_url, |settings, url| settings.url = url
        },
        setting! {
            ParamSpecString::builder("broadcast"), "Broadcast",
            match role {
                Role::Publisher => "Name of the broadcast",
                Role::Subscriber => "Name of the broadcast, or a prefix such as room/* for any whose name begins with room/",
            },
            |settings| settings.broadcast.clone(), |settings, name| settings.broadcast = name
        },
        Property { get: None, ..token },
        setting! {
            ParamSpecString::builder("moq-versions"), "MoQ versions",
            "MoQ versions to offer, separated by commas, such as moq-lite-06,moq-transport-17 (NULL or empty = all)",
            |settings| settings.moq_versions.clone(), |settings, versions| settings.moq_versions = versions
        },
        setting! {
            ParamSpecBoolean::builder("return-path"), "Return path",
            "Carry requests for keyframes from moqsrc to moqsink where both have this set",
            |settings| settings.return_path, |settings, carry| settings.return_path = carry
        },
    ]
}

/// Whom to trust, and with what.
fn trust() -> Vec<Property> {
    vec![
        setting! {
            ParamSpecString::builder("tls-ca-file"), "TLS CA file",
            "PEM file of the CA certificates to trust in place of the system's (NULL or empty = the system's)",
            |settings| settings.trust.ca_file.clone(), |settings, file| settings.trust.ca_file = file
        },
        setting! {
            ParamSpecString::builder("tls-fingerprint"), "TLS fingerprint",
            "SHA-256 of the relay's certificate in hexadecimal, several separated by commas, in place of all other checks (NULL or empty = any certificate of a trusted CA)",
            |settings| settings.trust.fingerprint.clone(), |settings, fingerprint| settings.trust.fingerprint = fingerprint
        },
        setting! {
            ParamSpecString::builder("tls-server-name"), "TLS server name",
            "Host name to ask for and to check in the relay's certificate (NULL or empty = that of the URL)",
            |settings| settings.trust.server_name.clone(), |settings, name| settings.trust.server_name = name
        },
        setting! {
            ParamSpecString::builder("tls-certificate"), "TLS certificate",
            "PEM file of the certificate that this element shows, with those that lead to its CA (NULL or empty = none)",
            |settings| settings.tls_certificate.clone(), |settings, file| settings.tls_certificate = file
        },
        setting! {
            ParamSpecString::builder("tls-private-key"), "TLS private key",
            "PEM file of the private key of tls-certificate (NULL or empty = none)",
            |settings| settings.tls_private_key.clone(), |settings, file| settings.tls_private_key = file
        },
        setting! {
            ParamSpecBoolean::builder("tls-disable-verify"), "Disable TLS verification",
            "Accept any certificate of the relay, for tests only",
            |settings| settings.tls_disable_verify, |settings, disable| settings.tls_disable_verify = disable
        },
        setting! {
            ParamSpecBoolean::builder("allow-insecure-token"), "Allow insecure token",
            "Send the token where others on the network can read it, as to an http: or ws: URL of another host",
            |settings| settings.trust.allow_insecure_token, |settings, allow| settings.trust.allow_insecure_token = allow
        },
    ]
}

/// How sessions are let in that others open.
fn listening() -> Vec<Property> {
    let token = setting! {
        ParamSpecString::builder("listen-token").write_only(), "Listen token",
        "Token that whoever opens a session has to bring, as the URL parameter jwt (NULL or empty = none); cannot be read back",
        |_| None, |settings, token: Option<String>| settings.listen.token = token
    };
    vec![
        setting! {
            ParamSpecEnum::builder::<Mode>("mode"), "Mode",
            "Whether to connect to the relay of the property url, or to listen for sessions",
            |settings| settings.mode, |settings, mode| settings.mode = mode
        },
        setting! {
            ParamSpecString::builder("bind").default_value(Some(listen::DEFAULT_BIND_TEXT)), "Bind",
            "Address and port to listen at, UDP for QUIC and TCP for HTTP; the default becomes 0.0.0.0:4443 where the host has no IPv6",
            |settings| Some(settings.listen.bind.clone().unwrap_or_else(|| listen::DEFAULT_BIND_TEXT.into())),
            |settings, bind: Option<String>| settings.listen.bind = bind.filter(|bind| bind != listen::DEFAULT_BIND_TEXT)
        },
        setting! {
            ParamSpecString::builder("web-root"), "Web root",
            "Folder whose files are served by HTTP at the same port number, with index.html for a folder (NULL = none)",
            |settings| settings.listen.web_root.clone(), |settings, root| settings.listen.web_root = root
        },
        setting! {
            ParamSpecUInt::builder("max-sessions").minimum(1).maximum(MAX_SESSIONS).default_value(listen::DEFAULT_MAX_SESSIONS), "Maximum sessions",
            "Sessions that are let in at a time; further ones are refused",
            |settings| settings.listen.max_sessions, |settings, count| settings.listen.max_sessions = count
        },
        Property { get: None, ..token },
        setting! {
            ParamSpecString::builder("tls-client-ca"), "TLS client CA",
            "PEM file of the authorities of which one has to have signed the certificate of whoever opens a session (NULL = none is asked for)",
            |settings| settings.listen.client_ca.clone(), |settings, file| settings.listen.client_ca = file
        },
        setting! {
            ParamSpecString::builder("tls-client-fingerprint"), "TLS client fingerprint",
            "SHA-256 in hexadecimal of the certificates that whoever opens a session may show, separated by commas (NULL = none is asked for)",
            |settings| settings.listen.client_fingerprints.clone(),
            |settings, list| settings.listen.client_fingerprints = list
        },
    ]
}

/// What of a listener the local network is told.
fn advertising(role: Role) -> Vec<Property> {
    let advertise = setting! {
        ParamSpecBoolean::builder("advertise"), "Advertise",
        "Advertise the broadcast on the local network by multicast DNS in listen mode, for moqdeviceprovider to find",
        |settings| settings.listen.advertise, |settings, advertise| settings.listen.advertise = advertise
    };
    match role {
        Role::Publisher => vec![advertise],
        Role::Subscriber => Vec::new(),
    }
}

/// How soon a relay is given up and dialled again.
fn timeouts() -> Vec<Property> {
    vec![
        setting! {
            ParamSpecUInt::builder("reconnect-timeout"), "Reconnect timeout",
            "Time in ms without a connection that ends in an error (0 = retry for ever)",
            |settings| settings.reconnect_timeout, |settings, ms| settings.reconnect_timeout = ms
        },
        setting! {
            ms("reconnect-min-delay", 10, config::DEFAULT_RECONNECT_MIN_DELAY_MS), "Reconnect minimum delay",
            "Delay in ms before the first retry to connect, which doubles with each further one",
            |settings| settings.reconnect_min_delay, |settings, ms| settings.reconnect_min_delay = ms
        },
        setting! {
            ms("reconnect-max-delay", 10, config::DEFAULT_RECONNECT_MAX_DELAY_MS), "Reconnect maximum delay",
            "Longest delay in ms between two attempts to connect",
            |settings| settings.reconnect_max_delay, |settings, ms| settings.reconnect_max_delay = ms
        },
        setting! {
            ms("quic-idle-timeout", 100, config::DEFAULT_QUIC_IDLE_TIMEOUT_MS), "QUIC idle timeout",
            "Time in ms that the relay may be silent until the connection is lost",
            |settings| settings.quic_idle_timeout, |settings, ms| settings.quic_idle_timeout = ms
        },
        setting! {
            ms("quic-keep-alive", 0, config::DEFAULT_QUIC_KEEP_ALIVE_MS), "QUIC keep-alive",
            "Interval in ms of packets that keep an idle connection alive, less than quic-idle-timeout (0 = none)",
            |settings| settings.quic_keep_alive, |settings, ms| settings.quic_keep_alive = ms
        },
    ]
}

/// What is kept of the media.
fn cache(role: Role) -> Vec<Property> {
    let (size, time) = match role {
        Role::Publisher => (
            "Bytes of media kept for subscribers that join or rejoin, beside the newest group of each track",
            "Time in ns that media are kept for subscribers that join or rejoin, beside the newest group of each track",
        ),
        Role::Subscriber => (
            "Bytes of received media kept until they are read, beside the newest group of each track",
            "Time in ns that received media are kept until they are read, beside the newest group of each track",
        ),
    };
    vec![
        setting! {
            ParamSpecUInt64::builder("cache-size").default_value(role.cache_size()), "Cache size",
            size,
            |settings| settings.cache_size, |settings, bytes| settings.cache_size = bytes
        },
        setting! {
            ParamSpecUInt64::builder("cache-time").minimum(MIN_CACHE_TIME_NS).default_value(config::DEFAULT_CACHE_TIME_NS), "Cache time",
            time,
            |settings| settings.cache_time, |settings, time| settings.cache_time = time
        },
    ]
}

/// What is known of the connection.
fn connection() -> Vec<Property> {
    vec![
        status! {
            ParamSpecEnum::builder::<Status>("status"), "Status",
            "State of the connection to the relay",
            ConnectionStatus::status
        },
        status! {
            ParamSpecBoolean::builder("connected"), "Connected",
            "Whether there is a session with the relay",
            ConnectionStatus::is_connected
        },
        status! {
            ParamSpecString::builder("moq-version"), "MoQ version",
            "MoQ version of the session (NULL = none)",
            ConnectionStatus::version
        },
        status! {
            ParamSpecUInt::builder("sessions"), "Sessions",
            "Number of sessions that are up",
            ConnectionStatus::sessions
        },
        status! {
            ParamSpecString::builder("certificate-fingerprint"), "Certificate fingerprint",
            "SHA-256 in hexadecimal of the certificate that is served in listen mode (NULL = none)",
            ConnectionStatus::fingerprint
        },
        status! {
            ParamSpecBoxed::builder::<gst::Structure>("stats"), "Statistics",
            "Statistics of the connection",
            ConnectionStatus::stats
        },
        status! {
            ParamSpecUInt64::builder("estimated-send-rate"), "Estimated send rate",
            "Estimated bandwidth to the relay in bits per second (0 = unknown)",
            |connection| connection.rate("estimated-send-rate")
        },
        status! {
            ParamSpecUInt64::builder("estimated-recv-rate"), "Estimated receive rate",
            "Estimated bandwidth from the relay in bits per second (0 = unknown)",
            |connection| connection.rate("estimated-recv-rate")
        },
    ]
}

fn ms(name: &str, minimum: u32, default: u32) -> glib::ParamSpecUIntBuilder<'_> {
    ParamSpecUInt::builder(name)
        .minimum(minimum)
        .maximum(MAX_MS)
        .default_value(default)
}

fn setting<T>(spec: ParamSpec, get: fn(&Settings) -> T, set: fn(&mut Settings, T)) -> Property
where
    T: Into<glib::Value> + for<'v> FromValue<'v> + 'static,
{
    Property {
        spec,
        get: Some(Box::new(move |settings, _| get(settings).into())),
        set: Some(Box::new(move |settings, value| {
            // GObject refuses values of another type before.
            if let Ok(value) = value.get() {
                set(settings, value);
            }
        })),
    }
}

fn status<T>(spec: ParamSpec, get: fn(&ConnectionStatus) -> T) -> Property
where
    T: Into<glib::Value> + 'static,
{
    Property {
        spec,
        get: Some(Box::new(move |_, connection| get(connection).into())),
        set: None,
    }
}

/// The value of a property `stats`: a GstStructure, for which glib's macro has no rule.
#[derive(Clone, Debug)]
pub struct Statistics(gst::Structure);

impl From<gst::Structure> for Statistics {
    fn from(structure: gst::Structure) -> Self {
        Self(structure)
    }
}

impl HasParamSpec for Statistics {
    type ParamSpec = ParamSpecBoxed;
    type SetValue = gst::Structure;
    type BuilderFn = fn(&str) -> ParamSpecBoxedBuilder<'_, gst::Structure>;

    fn param_spec_builder() -> Self::BuilderFn {
        ParamSpecBoxed::builder
    }
}

impl ToValue for Statistics {
    fn to_value(&self) -> glib::Value {
        self.0.to_value()
    }

    fn value_type(&self) -> glib::Type {
        self.0.value_type()
    }
}

// SAFETY: the checker has let through nothing but a GstStructure, and that is what is read.
unsafe impl<'a> FromValue<'a> for Statistics {
    type Checker = glib::value::GenericValueTypeChecker<gst::Structure>;

    unsafe fn from_value(value: &'a glib::Value) -> Self {
        // SAFETY: as above.
        Self(unsafe { gst::Structure::from_value(value) })
    }
}

impl From<Statistics> for glib::Value {
    fn from(statistics: Statistics) -> Self {
        statistics.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value of the property that is not its default.
    fn other_value(spec: &ParamSpec) -> glib::Value {
        if let Some(spec) = spec.downcast_ref::<ParamSpecUInt>() {
            return (spec.default_value() + 1).into();
        }
        if let Some(spec) = spec.downcast_ref::<ParamSpecUInt64>() {
            return (spec.default_value() + 1).into();
        }
        match spec.value_type() {
            glib::Type::BOOL => true.into(),
            type_ if type_ == Mode::static_type() => Mode::Listen.to_value(),
            _ => Some("https://relay.example/").into(),
        }
    }

    #[test]
    fn each_setting_changes_itself_alone() {
        gst::init().expect("GStreamer initializes");
        let connection = ConnectionStatus::default();
        for role in [Role::Publisher, Role::Subscriber] {
            let properties = CommonProperties::new(role);
            let values = |settings: &Settings| {
                let names = properties.0.iter().map(|property| property.spec.name());
                let value = |name: &str| properties.get(name, settings, &connection);
                names
                    .map(|name| (name, format!("{:?}", value(name))))
                    .collect::<Vec<_>>()
            };
            for property in properties
                .0
                .iter()
                .filter(|property| property.set.is_some())
            {
                let name = property.spec.name();
                let mut settings = Settings::new(role);
                let before = values(&settings);
                assert!(properties.set(name, &other_value(&property.spec), &mut settings));
                let changed = std::iter::zip(before, values(&settings))
                    .filter(|(before, after)| before != after)
                    .map(|(_, (name, _))| name);
                let own = property.get.is_some().then_some(name);
                assert_eq!(changed.collect::<Vec<_>>(), Vec::from_iter(own), "{name}");
            }
        }
    }
}
