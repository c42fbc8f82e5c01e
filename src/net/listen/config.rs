// SPDX-License-Identifier: MIT
//! What the properties of an element that listens say, checked.

use std::{
    net::{Ipv6Addr, SocketAddr},
    path::PathBuf,
};

use crate::net::{
    config::{Cache, Settings, Timeouts},
    error::Error,
    trust::{check_authorities, fingerprints, identity, set},
};
use moq_net::Version;

const CLIENT_CA: &str = "tls-client-ca";
const CLIENT_FINGERPRINT: &str = "tls-client-fingerprint";

/// Where an element listens unless `bind` says otherwise.
const DEFAULT_BIND: SocketAddr = SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::UNSPECIFIED), 4443);
/// The text of it.
pub(crate) const DEFAULT_BIND_TEXT: &str = "[::]:4443";
/// How many sessions there are at most by default.
pub(crate) const DEFAULT_MAX_SESSIONS: u32 = 100;

/// The properties of listen mode, as the user set them.
#[derive(Clone)]
pub(crate) struct ListenSettings {
    /// `None` is the default.
    pub(crate) bind: Option<String>,
    pub(crate) web_root: Option<String>,
    pub(crate) advertise: bool,
    pub(crate) max_sessions: u32,
    pub(crate) token: Option<String>,
    pub(crate) client_ca: Option<String>,
    /// Separated by commas.
    pub(crate) client_fingerprints: Option<String>,
}

impl Default for ListenSettings {
    fn default() -> Self {
        Self {
            bind: None,
            web_root: None,
            advertise: false,
            max_sessions: DEFAULT_MAX_SESSIONS,
            token: None,
            client_ca: None,
            client_fingerprints: None,
        }
    }
}

/// Validated settings of one run that listens.
#[derive(Clone)]
pub(crate) struct ListenConfig {
    pub(crate) bind: SocketAddr,
    /// Where the host has no IPv6, the same port of IPv4 will do.
    pub(crate) may_fall_back: bool,
    pub(crate) broadcast: String,
    pub(crate) versions: Vec<Version>,
    pub(crate) timeouts: Timeouts,
    pub(crate) cache: Cache,
    pub(crate) web_root: Option<PathBuf>,
    /// Whether the local network is told of it.
    pub(crate) advertise: bool,
    /// Files of certificate and key; made by ourselves if there are none.
    pub(crate) certificate: Option<(PathBuf, PathBuf)>,
    pub(crate) max_sessions: usize,
    pub(crate) token: Option<String>,
    pub(crate) client_ca: Option<PathBuf>,
    /// In lower-case hex; empty lets in every certificate that the CA has signed.
    pub(crate) client_fingerprints: Vec<String>,
}

impl ListenConfig {
    /// Checks the settings once, so that nothing after it has to.
    pub(crate) fn new(settings: &Settings) -> Result<Self, Error> {
        refuse_dialling(settings)?;
        let listen = &settings.listen;
        let client_ca = set(&listen.client_ca);
        if let Some(file) = client_ca {
            check_authorities(CLIENT_CA, file)?;
        }
        let client_fingerprints = set(&listen.client_fingerprints);
        let client_fingerprints =
            client_fingerprints.map(|list| fingerprints(CLIENT_FINGERPRINT, list));
        let certificate = identity(settings)?;
        Ok(Self {
            bind: match set(&listen.bind) {
                Some(text) => text.parse().map_err(|_| {
                    Error::settings(format!(
                        "The property \"bind\" is not an address and a port, as 0.0.0.0:4443 and [::]:4443 are: {text:?}"
                    ))
                })?,
                None => DEFAULT_BIND,
            },
            may_fall_back: set(&listen.bind).is_none(),
            broadcast: settings.broadcast()?,
            versions: settings.versions()?,
            timeouts: settings.timeouts()?,
            cache: settings.cache(),
            web_root: set(&listen.web_root).map(web_root).transpose()?,
            advertise: listen.advertise,
            certificate: certificate.map(|(file, key)| (file.into(), key.into())),
            max_sessions: listen.max_sessions as usize,
            token: set(&listen.token).map(str::to_owned),
            client_ca: client_ca.map(Into::into),
            client_fingerprints: client_fingerprints.transpose()?.unwrap_or_default(),
        })
    }

    /// Whether a peer has to show a certificate of its own.
    pub(crate) fn asks_for_certificate(&self) -> bool {
        self.client_ca.is_some() || !self.client_fingerprints.is_empty()
    }
}

/// An error for what has a meaning to who connects alone.
fn refuse_dialling(settings: &Settings) -> Result<(), Error> {
    let trust = &settings.trust;
    let has_token = settings
        .token
        .borrow()
        .as_deref()
        .is_some_and(|token| !token.is_empty());
    let used = [
        ("url", set(&settings.url).is_some(), "unset one of them"),
        (
            "token",
            has_token,
            "the token that others have to bring is \"listen-token\"",
        ),
        (
            "tls-ca-file",
            set(&trust.ca_file).is_some(),
            "that of others' certificates is \"tls-client-ca\"",
        ),
        (
            "tls-fingerprint",
            set(&trust.fingerprint).is_some(),
            "those of others' certificates are \"tls-client-fingerprint\"",
        ),
        (
            "tls-server-name",
            set(&trust.server_name).is_some(),
            "unset it",
        ),
        (
            "tls-disable-verify",
            settings.tls_disable_verify,
            "unset it",
        ),
    ];
    match used.into_iter().find(|(_, used, _)| *used) {
        Some((name, _, advice)) => Err(Error::settings(format!(
            "The property \"{name}\" is for mode=connect and has no effect with mode=listen: {advice}"
        ))),
        None => Ok(()),
    }
}

/// An error for what has a meaning to who listens alone.
pub(crate) fn refuse_listening(settings: &Settings) -> Result<(), Error> {
    let listen = &settings.listen;
    let used = [
        ("advertise", listen.advertise),
        ("bind", set(&listen.bind).is_some()),
        ("web-root", set(&listen.web_root).is_some()),
        ("listen-token", set(&listen.token).is_some()),
        (CLIENT_CA, set(&listen.client_ca).is_some()),
        (
            CLIENT_FINGERPRINT,
            set(&listen.client_fingerprints).is_some(),
        ),
    ];
    match used.into_iter().find(|(_, used)| *used) {
        Some((name, _)) => Err(Error::settings(format!(
            "The property \"{name}\" has no effect with mode=connect: set mode=listen, or unset it"
        ))),
        None => Ok(()),
    }
}

fn web_root(root: &str) -> Result<PathBuf, Error> {
    let folder = PathBuf::from(root);
    match folder.is_dir() {
        true => Ok(folder),
        false => Err(Error::settings(format!(
            "The property \"web-root\" names no folder that can be read: {root:?}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::config::Role;

    fn settings(change: impl FnOnce(&mut Settings)) -> Settings {
        let mut settings = Settings::new(Role::Publisher);
        settings.broadcast = Some("camera".into());
        change(&mut settings);
        settings
    }

    #[test]
    fn without_settings_it_listens_everywhere() {
        let config = ListenConfig::new(&settings(|_| {})).expect("valid settings");
        assert_eq!(config.bind.to_string(), DEFAULT_BIND_TEXT);
        assert!(config.may_fall_back && !config.asks_for_certificate());
    }

    #[test]
    fn what_is_wrong_is_said() {
        type Change = fn(&mut Settings);
        let cases: [(Change, &str); 9] = [
            (
                |settings| drop(settings.token.send_replace(Some("x".into()))),
                "\"listen-token\"",
            ),
            (
                |settings| settings.url = Some("https://relay".into()),
                "\"url\"",
            ),
            (|settings| settings.broadcast = None, "\"broadcast\""),
            (
                |settings| settings.listen.bind = Some("4443".into()),
                "\"bind\"",
            ),
            (
                |settings| settings.listen.bind = Some("host:port".into()),
                "\"bind\"",
            ),
            (
                |settings| settings.listen.web_root = Some("/no/such".into()),
                "\"web-root\"",
            ),
            (
                |settings| settings.tls_certificate = Some("a.pem".into()),
                "\"tls-private-key\"",
            ),
            (
                |settings| settings.tls_private_key = Some("a.pem".into()),
                "\"tls-certificate\"",
            ),
            (
                |settings| settings.listen.client_fingerprints = Some("abc".into()),
                "\"tls-client-fingerprint\"",
            ),
        ];
        for (change, hint) in cases {
            let error = ListenConfig::new(&settings(change)).err().expect(hint);
            assert!(error.to_string().contains(hint), "{hint}: {error}");
        }
    }

    #[test]
    fn who_dials_is_not_advertised() {
        let error = refuse_listening(&settings(|settings| settings.listen.advertise = true));
        let error = error.expect_err("it has no effect").to_string();
        assert!(error.contains("\"advertise\""), "{error}");
        assert!(refuse_listening(&settings(|_| {})).is_ok());
    }

    #[test]
    fn fingerprints_come_with_colons_too() {
        let plain = "ab".repeat(32);
        let colons = vec!["AB"; 32].join(":");
        let list = format!("{plain}, {colons}");
        let parsed = fingerprints(CLIENT_FINGERPRINT, &list);
        assert_eq!(parsed.ok(), Some(vec![plain.clone(), plain]));
    }
}
