// SPDX-License-Identifier: MIT
//! Why there is no session, in words that say what to do.

use std::{error::Error as StdError, io};

use moq_tokio::{
    noq,
    rustls::{self, AlertDescription},
    websocket,
};

/// The code of a session that may be let in later (RFC 9110 section 15.6.4).
pub(super) const UNAVAILABLE: u16 = 503;
/// What stands before the number of a TLS alert from the other end (RFC 8446 section 6).
const ALERT: &str = "aborted by peer: the cryptographic handshake failed: error ";
/// The relay refused the token, or the lack of one.
pub(super) const REFUSED: &str = "The relay refused access: check the property \"token\" (or \"tls-certificate\", if it asks for one), the path of \"url\" and the name in \"broadcast\"";

/// What a failed dial or an ended session comes from, the most precise first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cause {
    Name,
    Refused,
    Untrusted,
    WrongHost,
    Expired,
    /// Not that of the web server.
    Fingerprint,
    /// Not that of the property.
    Pinned,
    Certificate,
    /// The relay wants another certificate of this end, or one at all.
    ClientCertificate,
    /// The relay refused the token, or the lack of one.
    NotAuthorized,
    /// It lets nobody in for now.
    Busy,
    Version,
    Protocol,
    Silent,
    Other,
}

impl Cause {
    /// What the libraries say where they keep nothing but the text of their own causes.
    const WORDS: [(&str, Self); 23] = [
        ("failed to lookup address", Self::Name),
        ("Connection refused", Self::Refused),
        // The same on Linux (ECONNREFUSED), where its words follow the locale.
        ("(os error 111)", Self::Refused),
        ("peer certificate: UnknownIssuer", Self::Untrusted),
        ("peer certificate: BadSignature", Self::Untrusted),
        ("certificate not valid for name", Self::WrongHost),
        ("NotValidForName", Self::WrongHost),
        ("certificate expired", Self::Expired),
        ("certificate not valid yet", Self::Expired),
        ("fingerprint mismatch", Self::Fingerprint),
        ("unknown peer fingerprint", Self::ClientCertificate),
        ("fatal alert: CertificateRequired", Self::ClientCertificate),
        ("fatal alert: BadCertificate", Self::ClientCertificate),
        ("fatal alert: UnknownCA", Self::ClientCertificate),
        ("fatal alert: DecryptError", Self::ClientCertificate),
        ("invalid peer certificate", Self::Certificate),
        ("unsupported versions", Self::Version),
        ("unknown ALPN", Self::Version),
        // The TLS alert no_application_protocol (RFC 7301 section 3.2).
        ("error 120", Self::Version),
        ("version negotiation failed", Self::Version),
        ("protocol violation", Self::Protocol),
        ("timed out", Self::Silent),
        ("timeout", Self::Silent),
    ];

    /// The cause of `error`: by its type, else by its text.
    pub(crate) fn of(error: &moq_tokio::Error) -> Self {
        use moq_tokio::Error;
        let typed = match error {
            error if error.is_auth() => Some(Self::NotAuthorized),
            error if error.status() == Some(UNAVAILABLE) => Some(Self::Busy),
            Error::ConnectTimeout(_) => Some(Self::Silent),
            Error::Io(error) => Self::of_io(error),
            Error::MoqNet(error) => Self::of_session(error),
            Error::Noq(error) => return Self::of_quic(error),
            Error::WebSocket(error) => return Self::of_websocket(error),
            _ => None,
        };
        typed.unwrap_or_else(|| Self::of_text(error))
    }

    fn of_quic(error: &noq::Error) -> Self {
        use noq::Error;
        match error {
            Error::DnsLookup(_) | Error::NoDnsEntries => Self::Name,
            Error::Failover(attempts) => {
                let causes = attempts.iter().map(|attempt| Self::of_quic(&attempt.error));
                causes.min().unwrap_or(Self::Other)
            }
            error => Self::of_text(error),
        }
    }

    fn of_websocket(error: &websocket::Error) -> Self {
        use websocket::Error;
        let typed = match error {
            Error::Failover(attempts) => {
                let causes = attempts.iter();
                let causes = causes.map(|attempt| Self::of_websocket(&attempt.error));
                causes.min()
            }
            Error::Io(error) => Self::of_io(error),
            _ => None,
        };
        typed.unwrap_or_else(|| Self::of_text(error))
    }

    fn of_session(error: &moq_net::Error) -> Option<Self> {
        use moq_net::{Error, SessionError};
        match error {
            Error::Version | Error::UnknownAlpn(_) | Error::Session(SessionError::Version) => {
                Some(Self::Version)
            }
            Error::ProtocolViolation | Error::Session(SessionError::ProtocolViolation) => {
                Some(Self::Protocol)
            }
            Error::App(UNAVAILABLE) | Error::Session(SessionError::App(UNAVAILABLE)) => {
                Some(Self::Busy)
            }
            Error::Timeout
            | Error::Session(SessionError::Timeout | SessionError::GoawayTimeout) => {
                Some(Self::Silent)
            }
            _ => None,
        }
    }

    fn of_io(error: &io::Error) -> Option<Self> {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Some(Self::Refused),
            io::ErrorKind::TimedOut => Some(Self::Silent),
            _ => Self::of_tls(error.get_ref()?.downcast_ref()?),
        }
    }

    fn of_tls(error: &rustls::Error) -> Option<Self> {
        use rustls::{CertificateError, Error};
        match error {
            Error::InvalidCertificate(error) => Some(match error {
                // The second is that of an authority with the name of one that is trusted.
                CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::Untrusted,
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => Self::WrongHost,
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => Self::Expired,
                _ => Self::Certificate,
            }),
            Error::NoApplicationProtocol => Some(Self::Version),
            Error::AlertReceived(alert) => Self::of_alert(*alert),
            _ => None,
        }
    }

    /// What the peer complains of.
    fn of_alert(alert: AlertDescription) -> Option<Self> {
        use AlertDescription as Alert;
        match alert {
            Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied
            // Of a certificate, its signature.
            | Alert::DecryptError
            | Alert::CertificateRequired => Some(Self::ClientCertificate),
            Alert::NoApplicationProtocol => Some(Self::Version),
            _ => None,
        }
    }

    fn of_text(error: &dyn StdError) -> Self {
        let text = chain(error);
        if let Some((_, alert)) = text.split_once(ALERT)
            && let Some(code) = alert.split(|c: char| !c.is_ascii_digit()).next()
            && let Ok(code) = code.parse::<u8>()
            && let Some(cause) = Self::of_alert(code.into())
        {
            return cause;
        }
        let mut words = Self::WORDS.into_iter();
        let found = words.find(|(words, _)| text.contains(words));
        found.map_or(Self::Other, |(_, cause)| cause)
    }

    /// The word for it in messages.
    pub(crate) fn nick(self) -> &'static str {
        match self {
            Self::Name => "dns",
            Self::Refused => "refused",
            Self::Silent => "timeout",
            Self::Untrusted
            | Self::WrongHost
            | Self::Expired
            | Self::Fingerprint
            | Self::Pinned
            | Self::Certificate
            | Self::ClientCertificate => "certificate",
            Self::NotAuthorized => "not-authorized",
            Self::Busy => "busy",
            Self::Version => "version",
            Self::Protocol => "protocol",
            Self::Other => "other",
        }
    }

    /// The sentence for a person.
    fn sentence(self) -> &'static str {
        match self {
            Self::Name => {
                "The name of the relay's host is not known: check the property \"url\" and this machine's DNS"
            }
            Self::Refused => {
                "Nobody listens at the relay's host and port: check the property \"url\", and that the relay runs"
            }
            Self::Busy => {
                "The other end lets nobody in for now: it has all the sessions that it allows, or too much else to do"
            }
            Self::Silent => {
                "The relay does not answer: check host and port in the property \"url\", that the relay runs, and that no firewall stops UDP"
            }
            Self::Untrusted => {
                "The relay's certificate is not signed by an authority that is trusted: set that authority's certificate as the property \"tls-ca-file\", or the fingerprint of the relay's as \"tls-fingerprint\"; for tests alone, \"tls-disable-verify\""
            }
            Self::WrongHost => {
                "The relay's certificate is for another host: use a name in the property \"url\" that it is valid for, or set it as the property \"tls-server-name\""
            }
            Self::Expired => {
                "The relay's certificate is out of date, or this machine's clock is wrong: have the certificate renewed"
            }
            Self::Fingerprint => {
                "The relay's certificate is not the one whose fingerprint its web server gives: check host and port in the property \"url\", and that both are of the same relay"
            }
            Self::Pinned => {
                "The relay's certificate is none of those in the property \"tls-fingerprint\": set its fingerprint there, if it is the right one"
            }
            Self::Certificate => "The relay's certificate is not valid: have it replaced",
            Self::ClientCertificate => {
                "The relay lets nobody in without a certificate that it knows: check the property \"tls-certificate\""
            }
            Self::NotAuthorized => REFUSED,
            Self::Version => {
                "The relay speaks none of the MoQ versions that are offered: check the property \"moq-versions\""
            }
            Self::Protocol => {
                "The relay ended the session for a broken rule of the protocol: try another MoQ version with the property \"moq-versions\""
            }
            Self::Other => "No session with the relay came about, or it ended",
        }
    }

    /// The sentence, with the libraries' own words, which the caller redacts.
    pub(crate) fn describe(self, error: &moq_tokio::Error) -> String {
        format!("{} ({})", self.sentence(), chain(error))
    }
}

/// The causes of `error`, outermost first, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // A transparent wrapper repeats its cause word for word.
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use moq_tokio::failover::Attempt;

    use super::*;

    #[test]
    fn the_more_precise_words_win() {
        for (text, cause) in [
            (
                "error 48: invalid peer certificate: UnknownIssuer",
                Cause::Untrusted,
            ),
            ("invalid peer certificate: BadEncoding", Cause::Certificate),
            (
                "aborted by peer: the cryptographic handshake failed: error 48: UnknownIssuer",
                Cause::ClientCertificate,
            ),
            (
                "aborted by peer: the cryptographic handshake failed: error 120",
                Cause::Version,
            ),
            (
                "invalid peer certificate: certificate expired: x",
                Cause::Expired,
            ),
            (
                "error 120: peer doesn't support any known protocol",
                Cause::Version,
            ),
            (
                "IO error: Verbindungsaufbau abgelehnt (os error 111)",
                Cause::Refused,
            ),
            ("the moon is full", Cause::Other),
        ] {
            let error = moq_tokio::Error::Reconnect(text.into());
            assert_eq!(Cause::of(&error), cause, "{text}");
        }
    }

    #[test]
    fn types_count_before_any_text() {
        let io = |kind| io::Error::new(kind, "protocol violation");
        let expired = rustls::Error::InvalidCertificate(rustls::CertificateError::Expired);
        let noq = |error| moq_tokio::Error::Noq(Arc::new(error));
        for (error, cause) in [
            (
                noq(noq::Error::DnsLookup(io(io::ErrorKind::Other))),
                Cause::Name,
            ),
            (io(io::ErrorKind::ConnectionRefused).into(), Cause::Refused),
            (io(io::ErrorKind::TimedOut).into(), Cause::Silent),
            (io::Error::other(expired).into(), Cause::Expired),
            (moq_net::Error::Version.into(), Cause::Version),
        ] {
            assert_eq!(Cause::of(&error), cause, "{error}");
        }
    }

    #[test]
    fn of_several_addresses_the_most_precise_failure_counts() {
        let words = ["timed out", "invalid peer certificate: UnknownIssuer"];
        let attempts = words.map(|words| Attempt {
            addr: ([127, 0, 0, 1], 443).into(),
            error: noq::Error::Connection(words.into()),
        });
        let error = noq::Error::Failover(attempts.into());
        assert_eq!(
            Cause::of(&moq_tokio::Error::Noq(Arc::new(error))),
            Cause::Untrusted
        );
    }
}
