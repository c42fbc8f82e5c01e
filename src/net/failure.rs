//! Why there is no session, in words that say what to do.

use super::error;

/// What a failed dial or an ended session comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    Name,
    Refused,
    Silent,
    Untrusted,
    WrongHost,
    Expired,
    Fingerprint,
    Certificate,
    Version,
    Protocol,
    Other,
}

impl Cause {
    /// What the libraries say in each case: most causes come as text alone, whatever the transport.
    const WORDS: [(&str, Self); 19] = [
        ("failed DNS lookup", Self::Name),
        ("no DNS entries", Self::Name),
        ("failed to lookup address", Self::Name),
        ("Connection refused", Self::Refused),
        // The same on Linux (ECONNREFUSED), where its words follow the locale.
        ("(os error 111)", Self::Refused),
        ("peer certificate: UnknownIssuer", Self::Untrusted),
        ("certificate not valid for name", Self::WrongHost),
        ("NotValidForName", Self::WrongHost),
        ("certificate expired", Self::Expired),
        ("certificate not valid yet", Self::Expired),
        ("fingerprint mismatch", Self::Fingerprint),
        ("invalid peer certificate", Self::Certificate),
        ("unsupported versions", Self::Version),
        ("version negotiation failed", Self::Version),
        ("unknown ALPN", Self::Version),
        // The TLS alert no_application_protocol (RFC 7301 section 3.2).
        ("error 120", Self::Version),
        ("protocol violation", Self::Protocol),
        ("timed out", Self::Silent),
        ("timeout", Self::Silent),
    ];

    /// The cause of `error`, by its own words and those of its causes.
    pub(crate) fn of(error: &moq_tokio::Error) -> Self {
        Self::of_text(&error::chain(error))
    }

    fn of_text(text: &str) -> Self {
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
            | Self::Certificate => "certificate",
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
            Self::Silent => {
                "The relay does not answer: check host and port in the property \"url\", that the relay runs, and that no firewall stops UDP"
            }
            Self::Untrusted => {
                "The relay's certificate is not signed by an authority that this machine trusts: install that authority's certificate; for tests alone, set the property \"tls-disable-verify\""
            }
            Self::WrongHost => {
                "The relay's certificate is for another host: use a name in the property \"url\" that it is valid for"
            }
            Self::Expired => {
                "The relay's certificate is out of date, or this machine's clock is wrong: have the certificate renewed"
            }
            Self::Fingerprint => {
                "The relay's certificate is not the one whose fingerprint its web server gives: check host and port in the property \"url\", and that both are of the same relay"
            }
            Self::Certificate => "The relay's certificate is not valid: have it replaced",
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
        format!("{} ({})", self.sentence(), error::chain(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_precise_words_win() {
        for (text, cause) in [
            (
                "error 48: invalid peer certificate: UnknownIssuer",
                Cause::Untrusted,
            ),
            ("invalid peer certificate: BadSignature", Cause::Certificate),
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
            assert_eq!(Cause::of_text(text), cause, "{text}");
        }
    }
}
