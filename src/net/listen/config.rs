// SPDX-License-Identifier: MIT
//! What the properties of an element that listens say, checked.

use std::{
    net::{Ipv6Addr, SocketAddr},
    path::PathBuf,
};

use moq_net::Version;
use moq_tokio::tls;

use crate::net::{
    config::{Cache, Settings, Timeouts},
    error::Error,
};

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
        if settings.url.as_deref().is_some_and(|url| !url.is_empty()) {
            return Err(Error::settings(
                "The property \"url\" names a relay to connect to, which mode=listen does not: unset one of them",
            ));
        }
        let listen = &settings.listen;
        let text = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        let bind = text(&listen.bind);
        Ok(Self {
            bind: match &bind {
                Some(text) => text.parse().map_err(|_| {
                    Error::settings(format!(
                        "The property \"bind\" is not an address and a port, as 0.0.0.0:4443 and [::]:4443 are: {text:?}"
                    ))
                })?,
                None => DEFAULT_BIND,
            },
            may_fall_back: bind.is_none(),
            broadcast: settings.broadcast()?,
            versions: settings.versions()?,
            timeouts: settings.timeouts()?,
            cache: settings.cache(),
            web_root: text(&listen.web_root).map(web_root).transpose()?,
            certificate: certificate(
                text(&settings.tls_certificate),
                text(&settings.tls_private_key),
            )?,
            max_sessions: listen.max_sessions as usize,
            token: text(&listen.token),
            client_ca: text(&listen.client_ca).map(Into::into),
            client_fingerprints: fingerprints(listen.client_fingerprints.as_deref())?,
        })
    }

    /// Whether a peer has to show a certificate of its own.
    pub(crate) fn asks_for_certificate(&self) -> bool {
        self.client_ca.is_some() || !self.client_fingerprints.is_empty()
    }
}

fn web_root(root: String) -> Result<PathBuf, Error> {
    let folder = PathBuf::from(&root);
    match folder.is_dir() {
        true => Ok(folder),
        false => Err(Error::settings(format!(
            "The property \"web-root\" names no folder that can be read: {root:?}"
        ))),
    }
}

fn certificate(
    certificate: Option<String>,
    key: Option<String>,
) -> Result<Option<(PathBuf, PathBuf)>, Error> {
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some((certificate.into(), key.into()))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(Error::settings(
            "The property \"tls-certificate\" needs its key: set \"tls-private-key\", too",
        )),
        (None, Some(_)) => Err(Error::settings(
            "The property \"tls-private-key\" needs its certificate: set \"tls-certificate\", too",
        )),
    }
}

fn fingerprints(list: Option<&str>) -> Result<Vec<String>, Error> {
    let list = list.unwrap_or_default().split(',').map(str::trim);
    list.filter(|text| !text.is_empty())
        .map(|text| {
            // As openssl prints it.
            let hex = text.replace(':', "").to_ascii_lowercase();
            match tls::parse_fingerprint(&hex) {
                Ok(_) => Ok(hex),
                Err(_) => Err(Error::settings(format!(
                    "The property \"tls-client-fingerprint\" has {text:?}, which is no SHA-256 in 64 hexadecimal digits"
                ))),
            }
        })
        .collect()
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
        let cases: [(Change, &str); 8] = [
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
    fn fingerprints_come_with_colons_too() {
        let plain = "ab".repeat(32);
        let colons = vec!["AB"; 32].join(":");
        let list = format!("{plain}, {colons},");
        assert_eq!(
            fingerprints(Some(&list)).ok(),
            Some(vec![plain.clone(), plain])
        );
    }
}
