// SPDX-License-Identifier: MIT
//! Whom a dialled connection trusts, as whom it comes, and where a token may go.

use std::{fs, net::IpAddr};

use moq_tokio::{
    crypto,
    rustls::{
        RootCertStore,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
        sign::CertifiedKey,
    },
    tls,
};
use url::Url;

use super::{
    config::Settings,
    error::Error,
    secrets::{TOKEN_PARAMETER, has_secret},
};

/// More than any list of authorities.
const MAX_FILE_BYTES: u64 = 4 << 20;

const CA_FILE: &str = "tls-ca-file";
const FINGERPRINT: &str = "tls-fingerprint";
const SERVER_NAME: &str = "tls-server-name";
const CERTIFICATE: &str = "tls-certificate";
const PRIVATE_KEY: &str = "tls-private-key";

/// What is trusted beside the defaults, as the user set it.
#[derive(Clone, Default)]
pub(crate) struct Trust {
    pub(crate) ca_file: Option<String>,
    /// Separated by commas.
    pub(crate) fingerprint: Option<String>,
    pub(crate) server_name: Option<String>,
    pub(crate) allow_insecure_token: bool,
}

/// The TLS configuration for a dial to `url`, with its files read once.
pub(super) fn checked(settings: &Settings, url: &Url) -> Result<tls::Connect, Error> {
    refuse_useless(settings, url)?;
    let trust = &settings.trust;
    let mut tls = tls::Connect::default();
    if let Some(file) = set(&trust.ca_file) {
        check_authorities(CA_FILE, file)?;
        tls.root = vec![file.into()];
    }
    if let Some(name) = set(&trust.server_name) {
        ServerName::try_from(name).map_err(|_| {
            Error::settings(format!(
                "The property \"{SERVER_NAME}\" is not the name of a host: {name:?}"
            ))
        })?;
        tls.host_name = Some(name.to_owned());
    }
    if let Some((certificate, key)) = identity(settings)? {
        tls.cert = Some(certificate.into());
        tls.key = Some(key.into());
    }
    if let Some(list) = set(&trust.fingerprint) {
        tls.fingerprint = fingerprints(FINGERPRINT, list)?;
    }
    tls.insecure = settings.tls_disable_verify.then_some(true);
    Ok(tls)
}

/// Whether the file has certificates of authorities.
pub(super) fn check_authorities(property: &str, file: &str) -> Result<(), Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(property, file)? {
        roots.add(certificate).map_err(|err| {
            file_error(
                property,
                file,
                &format!("has no certificate of a CA: {err}"),
            )
        })?;
    }
    Ok(())
}

/// An error for what would be set in vain.
fn refuse_useless(settings: &Settings, url: &Url) -> Result<(), Error> {
    let trust = &settings.trust;
    let used = [
        (CA_FILE, &trust.ca_file),
        (FINGERPRINT, &trust.fingerprint),
        (SERVER_NAME, &trust.server_name),
        (CERTIFICATE, &settings.tls_certificate),
    ]
    .map(|(name, value)| (name, set(value).is_some()));
    for (applies, count, reason) in [
        (
            settings.tls_disable_verify,
            2,
            "\"tls-disable-verify\" accepts any certificate: unset one of them",
        ),
        (
            set(&trust.fingerprint).is_some(),
            1,
            "\"tls-fingerprint\" replaces it: unset one of them",
        ),
        (
            url.scheme() == "http",
            1,
            "a URL that begins with \"http:\" trusts the fingerprint that the relay's web server gives: use \"https:\"",
        ),
        (
            url.scheme() == "ws",
            used.len(),
            "a URL that begins with \"ws:\" has no TLS: use \"wss:\"",
        ),
    ] {
        let mut useless = used.iter().take(count).filter(|(_, used)| *used);
        if applies && let Some((name, _)) = useless.next() {
            let text = format!("The property \"{name}\" would have no effect, because {reason}");
            return Err(Error::settings(text));
        }
    }
    Ok(())
}

/// Whether a token in `url` would be read by others on the way, or given to whoever answers.
pub(super) fn exposes_secret(url: &Url, tls: &tls::Connect) -> bool {
    let open = match url.scheme() {
        "ws" => true,
        // Without a fingerprint whoever answers says which certificate is right.
        "http" => tls.fingerprint.is_empty(),
        _ => false,
    };
    open && has_secret(url) && !is_loopback(url)
}

/// The error of a `url` that exposes its token.
pub(super) fn exposed(url: &Url) -> Error {
    let (scheme, remedy) = match url.scheme() {
        "ws" => ("ws", "use \"wss:\" or \"https:\""),
        _ => (
            "http",
            "use \"https:\", or set the property \"tls-fingerprint\"",
        ),
    };
    Error::settings(format!(
        "A token would not be safe on its way to the host of a URL that begins with \"{scheme}:\": {remedy}; \
         on a network that you trust, set the property \"allow-insecure-token\" \
         (tokens are the property \"token\", \"{TOKEN_PARAMETER}=\" in the property \"url\", and its user and password)"
    ))
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    match address.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

pub(super) fn set(property: &Option<String>) -> Option<&str> {
    property.as_deref().filter(|value| !value.is_empty())
}

/// The files of the certificate and its key that this end shows, which belong together.
pub(super) fn identity(settings: &Settings) -> Result<Option<(&str, &str)>, Error> {
    let (certificate, key) = match (
        set(&settings.tls_certificate),
        set(&settings.tls_private_key),
    ) {
        (Some(certificate), Some(key)) => (certificate, key),
        (None, None) => return Ok(None),
        (Some(_), None) => return Err(incomplete(CERTIFICATE, PRIVATE_KEY)),
        (None, Some(_)) => return Err(incomplete(PRIVATE_KEY, CERTIFICATE)),
    };
    let chain = certificates(CERTIFICATE, certificate)?;
    let pem = read(PRIVATE_KEY, key)?;
    let der = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
        file_error(
            PRIVATE_KEY,
            key,
            "has no private key: set a PEM file of one",
        )
    })?;
    CertifiedKey::from_der(chain, der, &crypto::provider()).map_err(|err| {
        let fault = format!("has no key for the certificate of \"{CERTIFICATE}\": {err}");
        file_error(PRIVATE_KEY, key, &fault)
    })?;
    Ok(Some((certificate, key)))
}

/// The fingerprints of a list with commas, in lower-case hex.
pub(super) fn fingerprints(property: &str, list: &str) -> Result<Vec<String>, Error> {
    let wrong = || {
        Error::settings(format!(
            "The property \"{property}\" is not the SHA-256 of a certificate: set 64 hexadecimal digits, with or without colons, and commas between several"
        ))
    };
    let parse = |text: &str| {
        let digits = text.trim().replace(':', "").to_ascii_lowercase();
        tls::parse_fingerprint(&digits).map_err(|_| wrong())?;
        Ok(digits)
    };
    list.split(',').map(parse).collect()
}

fn certificates(property: &str, file: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let pem = read(property, file)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    found
        .ok()
        .filter(|found| !found.is_empty())
        .ok_or_else(|| file_error(property, file, "has no certificate: set a PEM file of one"))
}

fn read(property: &str, file: &str) -> Result<Vec<u8>, Error> {
    let unreadable = |err| file_error(property, file, &format!("cannot be read: {err}"));
    let metadata = fs::metadata(file).map_err(unreadable)?;
    if !metadata.is_file() || metadata.len() > MAX_FILE_BYTES {
        return Err(file_error(property, file, "is not a PEM file"));
    }
    fs::read(file).map_err(unreadable)
}

fn file_error(property: &str, file: &str, fault: &str) -> Error {
    Error::settings(format!(
        "The file {file:?} of the property \"{property}\" {fault}"
    ))
}

fn incomplete(given: &str, missing: &str) -> Error {
    Error::settings(format!(
        "The property \"{given}\" is set without \"{missing}\": set both"
    ))
}
