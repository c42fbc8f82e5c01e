// SPDX-License-Identifier: MIT
//! URIs that name a relay and a broadcast of it.

use std::fmt;

use gst::glib;
use moq_net::Path;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use url::Url;

use super::secrets;
use crate::media::catalog::name;

/// The schemes of such URIs, for applications that find elements by them.
pub(crate) const URI_SCHEMES: [&str; 6] =
    ["moqt", "moql", "moq+https", "moq+http", "moq+wss", "moq+ws"];
/// Marks such a URI where its scheme is one of the web.
const PREFIX: &str = "moq+";
/// The scheme that leaves open how the relay is reached.
const MOQT: &str = "moqt";
/// The type of a fragment that names a track of MSF.
const MSF_FRAGMENT: &str = "msf:";
/// The name of MSF's catalog track.
const CATALOG: &str = moq_msf::DEFAULT_NAME;
/// The parameter of such a fragment that says how the relay is reached.
const CONNECTION: &str = "connection";
/// The parameters that would be missed if they were left out.
const UNSUPPORTED: [(&str, &str); 4] = [
    (
        "wallclock-range",
        "a part of a broadcast cannot be asked for",
    ),
    (
        "mediatime-range",
        "a part of a broadcast cannot be asked for",
    ),
    (
        "location-range",
        "a part of a broadcast cannot be asked for",
    ),
    (
        "c4m",
        "set the token as the property \"token\", or as \"jwt\" in the query",
    ),
];
/// What is escaped in a plain fragment: all but unreserved characters and the slash (RFC 3986 section 3.5).
const ESCAPED: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

/// Why a text is no such URI, in words that say what to do; without any secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UriError {
    #[error("{0}")]
    Scheme(String),
    #[error("{0}")]
    Bad(String),
}

impl UriError {
    fn bad(text: impl Into<String>) -> Self {
        Self::Bad(text.into())
    }
}

impl From<UriError> for glib::Error {
    fn from(error: UriError) -> Self {
        let code = match error {
            UriError::Scheme(_) => gst::URIError::UnsupportedProtocol,
            UriError::Bad(_) => gst::URIError::BadUri,
        };
        Self::new(code, &error.to_string())
    }
}

/// How a URI names its broadcast, and what follows from that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Form {
    /// By the name as it is.
    #[default]
    Plain,
    /// By MSF's catalog track.
    Msf(Transports),
}

impl Form {
    /// Whether the catalog that the URI names is MSF's.
    pub(crate) fn names_msf(self) -> bool {
        matches!(self, Self::Msf(_))
    }

    pub(super) fn transports(self) -> Transports {
        match self {
            Self::Plain => Transports::default(),
            Self::Msf(transports) => transports,
        }
    }
}

/// How a relay is reached whose scheme leaves that open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Transports {
    /// By QUIC, and by WebTransport where the relay refuses that.
    #[default]
    Any,
    Quic,
    WebTransport,
}

impl Transports {
    const NAMED: [(&str, Self); 2] = [("q", Self::Quic), ("wt", Self::WebTransport)];

    fn name(self) -> Option<&'static str> {
        let mut named = Self::NAMED.into_iter();
        named.find(|(_, one)| *one == self).map(|(name, _)| name)
    }
}

/// A URI that names a relay and a broadcast of it, in one of two forms:
///
/// * plain: the relay's URL, with `moq+` before a scheme of the web, and the broadcast's name as the
///   fragment, percent-encoded: `moq+https://relay.example/demo#room/camera`;
/// * that of MSF (draft-ietf-moq-msf-01 section 11.1), with the schemes of the plain form, too:
///   `moqt://relay.example/demo#msf:room-camera--catalog`. Its namespace fields are those of
///   draft-ietf-moq-transport-19 section 1.5, joined by `-` and escaped as `.hh`, and make up the
///   broadcast's name, joined by `/`, as moq-net takes names apart.
///
/// The query belongs to the relay: nothing in it is for us, and nothing of ours goes into it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct BroadcastUri {
    /// Without the prefix, the scheme in lower case.
    url: String,
    broadcast: String,
    form: Form,
}

impl BroadcastUri {
    /// The URI of a relay and a broadcast that were set by themselves.
    pub(super) fn new(url: String, broadcast: String, form: Form) -> Self {
        Self {
            url,
            broadcast,
            form,
        }
    }

    /// Reads a URI of either form.
    pub(crate) fn parse(text: &str) -> Result<Self, UriError> {
        let (relay, fragment) = text.split_once('#').ok_or_else(|| {
            UriError::bad("The URI names no broadcast: add its name as \"#name\", or as \"#msf:name--catalog\"")
        })?;
        if fragment.contains('#') {
            return Err(UriError::bad(
                "The URI has two fragments: write a \"#\" in the name of a broadcast as \"%23\"",
            ));
        }
        let url = relay_url(relay)?;
        let (broadcast, form) = match fragment.strip_prefix(MSF_FRAGMENT) {
            Some(value) => msf_fragment(value)?,
            None => (percent_decoded(fragment)?, Form::Plain),
        };
        if form.transports() != Transports::Any && scheme(&url) != MOQT {
            return Err(UriError::bad(format!(
                "The URI has the parameter \"{CONNECTION}\", but its scheme says already how the relay is reached: use \"{MOQT}:\", or leave it out"
            )));
        }
        let bare = broadcast.trim_matches('/');
        match name::fault(bare) {
            Some(fault) => Err(UriError::bad(format!(
                "The name of the broadcast in the URI, {bare:?}, {fault}"
            ))),
            None => Ok(Self::new(url, broadcast, form)),
        }
    }

    /// The relay's URL, the broadcast's name, and how the URI says it.
    pub(super) fn into_parts(self) -> (String, String, Form) {
        (self.url, self.broadcast, self.form)
    }

    /// The same without what is secret.
    pub(super) fn public(self) -> Self {
        Self {
            url: secrets::public(&self.url),
            ..self
        }
    }
}

impl fmt::Display for BroadcastUri {
    /// With what is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = match URI_SCHEMES.contains(&scheme(&self.url)) {
            true => "",
            false => PREFIX,
        };
        write!(f, "{prefix}{}#", self.url)?;
        let Form::Msf(transports) = self.form else {
            return utf8_percent_encode(&self.broadcast, &ESCAPED).fmt(f);
        };
        let fields: Vec<_> = fields(&self.broadcast)
            .iter()
            .map(|field| escaped(field))
            .collect();
        write!(
            f,
            "{MSF_FRAGMENT}{}--{}",
            fields.join("-"),
            escaped(CATALOG)
        )?;
        match transports.name() {
            Some(name) => write!(f, "&{CONNECTION}={name}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for BroadcastUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.clone().public(), f)
    }
}

/// The URL of the same relay by WebTransport (draft-ietf-moq-transport-19 section 3.1), if `url` leaves
/// open how it is reached.
pub(super) fn by_web_transport(url: &Url) -> Option<Url> {
    let rest = url.as_str().strip_prefix(MOQT)?.strip_prefix(':')?;
    Url::parse(&format!("https:{rest}")).ok()
}

fn scheme(url: &str) -> &str {
    url.split_once(':').map_or("", |(scheme, _)| scheme)
}

/// The URL of the relay, from what stands before the fragment.
fn relay_url(text: &str) -> Result<String, UriError> {
    let (scheme, rest) = text.split_once(':').unwrap_or_default();
    let scheme = scheme.to_ascii_lowercase();
    if !URI_SCHEMES.contains(&scheme.as_str()) {
        return Err(UriError::Scheme(format!(
            "The scheme of the URI is none of {}: write for example \"moq+https://\" before the relay's host",
            URI_SCHEMES.join(", ")
        )));
    }
    let url = format!("{}:{rest}", scheme.strip_prefix(PREFIX).unwrap_or(&scheme));
    let host = match Url::parse(&url) {
        Ok(parsed) => parsed.host_str().is_some_and(|host| !host.is_empty()),
        Err(err) => {
            return Err(UriError::bad(format!(
                "What stands before the \"#\" of the URI is not a URL of a relay: {err}"
            )));
        }
    };
    match host {
        true => Ok(url),
        false => Err(UriError::bad(
            "The URI has no host: write it after the scheme, as in \"moqt://relay.example/\"",
        )),
    }
}

fn percent_decoded(text: &str) -> Result<String, UriError> {
    let mut rest = text.split('%').skip(1).map(str::as_bytes);
    let is_hex = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    if !rest.all(|after| is_hex(after.first()) && is_hex(after.get(1))) {
        return Err(UriError::bad(
            "The name of the broadcast in the URI has a \"%\" without two hexadecimal digits: write a percent sign as \"%25\"",
        ));
    }
    let decoded = percent_decode_str(text).decode_utf8();
    let decoded = decoded.map_err(|_| {
        UriError::bad("The name of the broadcast in the URI is not UTF-8: encode it in UTF-8 first, then with \"%\"")
    })?;
    Ok(decoded.into_owned())
}

/// The broadcast that an `msf-fragment-value` names: the namespace of a track, and parameters.
fn msf_fragment(value: &str) -> Result<(String, Form), UriError> {
    let mut parts = value.split('&');
    let (namespace, track) = parts.next().unwrap_or_default().split_once("--").ok_or_else(|| {
        UriError::bad(format!(
            "The URI names no track: write \"#{MSF_FRAGMENT}\", the fields of the namespace with \"-\" between them, and \"--{CATALOG}\""
        ))
    })?;
    let track = unescaped(track)?;
    if track != CATALOG {
        return Err(UriError::bad(format!(
            "The URI names the track {track:?}: only the catalog of a broadcast can be opened, as \"--{CATALOG}\""
        )));
    }
    let mut transports = Transports::Any;
    for parameter in parts {
        let (name, value) = parameter.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
            UriError::bad("What stands after \"&\" in the fragment of the URI is no parameter: write \"name=value\"")
        })?;
        if let Some((name, reason)) = UNSUPPORTED.into_iter().find(|(one, _)| *one == name) {
            return Err(UriError::bad(format!(
                "The parameter \"{name}\" in the fragment of the URI is not supported: {reason}"
            )));
        }
        // What others mean is for applications that know them.
        if name == CONNECTION {
            let mut named = Transports::NAMED.into_iter();
            let found = named.find(|(one, _)| *one == value);
            let (_, one) = found.filter(|_| transports == Transports::Any).ok_or_else(|| {
                UriError::bad(format!(
                    "The parameter \"{CONNECTION}\" in the fragment of the URI has to be one of \"q\" and \"wt\", once"
                ))
            })?;
            transports = one;
        }
    }
    Ok((joined(namespace)?, Form::Msf(transports)))
}

/// The name of the broadcast that a namespace is.
fn joined(namespace: &str) -> Result<String, UriError> {
    let fields: Vec<_> = namespace
        .split('-')
        .map(unescaped)
        .collect::<Result<_, _>>()?;
    if fields.iter().any(String::is_empty) {
        return Err(UriError::bad(
            "The namespace in the URI has an empty field: write one \"-\" between two fields, and a hyphen within one as \".2d\"",
        ));
    }
    if fields.len() > Path::MAX_PARTS {
        return Err(UriError::bad(format!(
            "The namespace in the URI has more than {} fields",
            Path::MAX_PARTS
        )));
    }
    // moq-net would take such slashes for its own.
    if fields.iter().any(|field| field.ends_with('/')) {
        return Err(UriError::bad(
            "A field of the namespace in the URI ends in a slash (\".2f\"), which the name of a broadcast cannot",
        ));
    }
    let fields = fields
        .iter()
        .map(|field| field.replace('\\', "\\\\").replace('/', "\\/"));
    Ok(fields.collect::<Vec<_>>().join("/"))
}

/// The fields of the namespace that a broadcast's name is: what [`joined`] joins.
fn fields(broadcast: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut chars = broadcast.trim_start_matches('/').chars().peekable();
    while let Some(char) = chars.next() {
        if char == '/' {
            fields.push(String::new());
            continue;
        }
        let char = match char {
            '\\' => chars
                .next_if(|next| matches!(next, '/' | '\\'))
                .unwrap_or('\\'),
            other => other,
        };
        if let Some(field) = fields.last_mut() {
            field.push(char);
        }
    }
    fields.retain(|field| !field.is_empty());
    fields
}

fn is_literal(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// A field or a track's name, escaped.
fn escaped(text: &str) -> String {
    let bytes = text.bytes().map(|byte| match is_literal(byte) {
        true => char::from(byte).to_string(),
        false => format!(".{byte:02x}"),
    });
    bytes.collect()
}

/// A field or a track's name without its escapes, of which each has one right form.
fn unescaped(text: &str) -> Result<String, UriError> {
    let wrong = || {
        UriError::bad(
            "The namespace or the track in the URI is not escaped as it has to be: letters, digits and \"_\" as they are, and each other byte as \".\" and two hexadecimal digits in lower case",
        )
    };
    let mut bytes = text.bytes();
    let mut plain = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'.' => {
                let mut digit = || bytes.next().filter(|digit| !digit.is_ascii_uppercase());
                let digits = [digit().ok_or_else(wrong)?, digit().ok_or_else(wrong)?];
                let digits = digits.map(|digit| char::from(digit).to_digit(16));
                let [Some(high), Some(low)] = digits else {
                    return Err(wrong());
                };
                let byte = u8::try_from(high * 16 + low).map_err(|_| wrong())?;
                Some(byte).filter(|byte| !is_literal(*byte))
            }
            byte => Some(byte).filter(|byte| is_literal(*byte)),
        };
        plain.push(byte.ok_or_else(wrong)?);
    }
    String::from_utf8(plain).map_err(|_| {
        UriError::bad("The namespace or the track in the URI is not UTF-8, which the name of a broadcast has to be")
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> BroadcastUri {
        BroadcastUri::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_plain_uri_names_relay_and_broadcast() {
        for (uri, url) in [
            (
                "moq+https://relay.example/demo#room/my%20cam",
                "https://relay.example/demo",
            ),
            (
                "moq+http://127.0.0.1:4443/#room/my%20cam",
                "http://127.0.0.1:4443/",
            ),
            (
                "moq+wss://relay.example/?x=1#room/my%20cam",
                "wss://relay.example/?x=1",
            ),
            (
                "moqt://relay.example:4443#room/my%20cam",
                "moqt://relay.example:4443",
            ),
            ("moql://[::1]:4443/a#room/my%20cam", "moql://[::1]:4443/a"),
        ] {
            let parsed = parsed(uri);
            assert_eq!(parsed.to_string(), uri);
            let (of, broadcast, form) = parsed.into_parts();
            assert_eq!(
                (of.as_str(), broadcast.as_str(), form),
                (url, "room/my cam", Form::Plain)
            );
        }
        let (url, ..) = parsed("MOQ+HTTPS://relay.example/#camera").into_parts();
        assert_eq!(url, "https://relay.example/");
    }

    #[test]
    fn a_name_that_looks_like_a_fragment_of_msf_is_escaped() {
        let uri = BroadcastUri::new("moqt://h".into(), "msf:a--catalog".into(), Form::Plain);
        assert_eq!(uri.to_string(), "moqt://h#msf%3Aa--catalog");
        assert_eq!(parsed(&uri.to_string()), uri);
    }

    #[test]
    fn a_uri_of_msf_names_a_namespace() {
        for (fragment, broadcast, transports) in [
            (
                "customer-livestream-123--catalog",
                "customer/livestream/123",
                Transports::Any,
            ),
            ("a_B--catalog", "a_B", Transports::Any),
            ("test.2ehang--catalog", "test.hang", Transports::Any),
            ("a.2db-.c3.a9.20--catalog", "a-b/é ", Transports::Any),
            ("a.2fb-.5c--catalog", "a\\/b/\\\\", Transports::Any),
            ("a--catalog&connection=q", "a", Transports::Quic),
            ("a--catalog&connection=wt", "a", Transports::WebTransport),
        ] {
            let uri = format!("moqt://relay.example/app?a=1&b=2#msf:{fragment}");
            let parsed = parsed(&uri);
            assert_eq!(parsed.to_string(), uri);
            let (url, name, form) = parsed.into_parts();
            assert_eq!(url, "moqt://relay.example/app?a=1&b=2");
            assert_eq!((name.as_str(), form), (broadcast, Form::Msf(transports)));
        }
        let (url, name, form) = parsed("moq+http://h:1/#msf:a-b--catalog&event=x").into_parts();
        assert_eq!((url.as_str(), name.as_str()), ("http://h:1/", "a/b"));
        assert!(form.names_msf());
    }

    /// Fragments of MSF that are wrong, with what is said of them.
    const WRONG_FRAGMENTS: &[(&str, &str)] = &[
        ("moqt://h#msf:", "names no track"),
        ("moqt://h#msf:a-catalog", "names no track"),
        ("moqt://h#msf:--catalog", "empty field"),
        ("moqt://h#msf:a---catalog", "not escaped"),
        ("moqt://h#msf:-a--catalog", "empty field"),
        ("moqt://h#msf:a--", "the track \"\""),
        ("moqt://h#msf:a--video", "the track \"video\""),
        ("moqt://h#msf:a--b--catalog", "not escaped"),
        ("moqt://h#msf:a.b--catalog", "not escaped"),
        ("moqt://h#msf:a.--catalog", "not escaped"),
        ("moqt://h#msf:a.2D--catalog", "not escaped"),
        ("moqt://h#msf:.61--catalog", "not escaped"),
        ("moqt://h#msf:.+1--catalog", "not escaped"),
        ("moqt://h#msf:a%2d--catalog", "not escaped"),
        ("moqt://h#msf:é--catalog", "not escaped"),
        ("moqt://h#msf:.ff--catalog", "not UTF-8"),
        ("moqt://h#msf:a.0a--catalog", "control characters"),
        ("moqt://h#msf:a.2f--catalog", "ends in a slash"),
        ("moqt://h#msf:a--catalog&q", "\"name=value\""),
        ("moqt://h#msf:a--catalog&=q", "\"name=value\""),
        ("moqt://h#msf:a--catalog&connection=tcp", "one of \"q\""),
        ("moqt://h#msf:a--catalog&connection=q&connection=wt", "once"),
        (
            "moqt://h#msf:a--catalog&mediatime-range=0-1",
            "\"mediatime-range\"",
        ),
        ("moqt://h#msf:a--catalog&c4m=secret", "property \"token\""),
        ("moq+https://h#msf:a--catalog&connection=q", "\"moqt:\""),
    ];

    fn assert_wrong(uri: &str, hint: &str) {
        let error = BroadcastUri::parse(uri).expect_err(uri);
        let text = error.to_string();
        assert!(
            text.contains(hint) && !text.contains("secret"),
            "{uri}: {text}"
        );
        let error = glib::Error::from(error);
        assert!(error.matches(gst::URIError::BadUri), "{uri}: {error}");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (uri, hint) in [
            ("moqt://h", "add its name as \"#name\""),
            ("moqt://h#", "is empty"),
            ("moqt://h#/", "is empty"),
            ("moqt://h#a#b", "two fragments"),
            ("moqt://h#%f", "\"%25\""),
            ("moqt://h#%zz", "\"%25\""),
            ("moqt://h#100%", "\"%25\""),
            ("moqt://h#%ff", "not UTF-8"),
            ("moqt://h#a%0ab", "control characters"),
            ("moqt:///a#b", "host"),
            ("moqt:a#b", "no host"),
            ("moq+https://#b", "empty host"),
            ("moqt://h:99999#b", "port"),
        ] {
            assert_wrong(uri, hint);
        }
        for (uri, hint) in WRONG_FRAGMENTS {
            assert_wrong(uri, hint);
        }
        let many = ["a"; 33].join("-");
        assert_wrong(
            &format!("moqt://h#msf:{many}--catalog"),
            "more than 32 fields",
        );
        for uri in [
            "https://h#a",
            "moq+ftp://h#a",
            "moq+moqt://h#a",
            "#a",
            "://#a",
        ] {
            let error = glib::Error::from(BroadcastUri::parse(uri).expect_err(uri));
            assert!(
                error.matches(gst::URIError::UnsupportedProtocol),
                "{uri}: {error}"
            );
        }
    }

    #[test]
    fn nothing_that_is_shown_has_a_secret() {
        for uri in [
            "moq+https://u:secret@h/?x=1#a",
            "moqt://h/?jwt=secret#msf:a--catalog",
        ] {
            let uri = parsed(uri);
            assert!(uri.to_string().contains("secret"));
            assert!(!format!("{uri:?}").contains("secret"));
            assert!(!uri.public().to_string().contains("secret"));
        }
    }

    #[test]
    fn web_transport_takes_path_and_query_along() {
        for (url, other) in [
            ("moqt://relay.example", Some("https://relay.example/")),
            (
                "moqt://[::1]:4443/a/b?c=d",
                Some("https://[::1]:4443/a/b?c=d"),
            ),
            ("moql://relay.example/", None),
            ("https://relay.example/", None),
        ] {
            let found = by_web_transport(&url.parse().expect("a URL"));
            assert_eq!(found.as_ref().map(Url::as_str), other, "{url}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(moq[tl]|moq\\+https?)://h[a-z:1-9/?=&]{0,8}#(msf:)?\\PC*") {
            if let Ok(uri) = BroadcastUri::parse(&text) {
                prop_assert_eq!(&parsed(&uri.to_string()), &uri);
            }
        }

        #[test]
        fn escapes_are_read_or_refused(text in "[a-c._%#&=/-]{0,12}(--catalog)?(&connection=q)?") {
            if let Ok(uri) = BroadcastUri::parse(&format!("moqt://h#msf:{text}")) {
                prop_assert_eq!(&parsed(&uri.to_string()), &uri);
            }
        }

        #[test]
        fn each_name_reads_back(fields in prop::collection::vec("[^/\\p{Cc}]{1,6}", 1..5)) {
            let name = fields.join("/");
            let plain = BroadcastUri::new("moqt://h".into(), name.clone(), Form::Plain);
            prop_assert_eq!(&parsed(&plain.to_string()), &plain);
            let msf = BroadcastUri::new("moqt://h".into(), name.clone(), Form::Msf(Transports::Any));
            // A lone backslash is the same as an escaped one.
            let (_, back, _) = parsed(&msf.to_string()).into_parts();
            prop_assert_eq!(super::fields(&back), super::fields(&name));
        }
    }
}
