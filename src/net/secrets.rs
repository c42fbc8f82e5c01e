// SPDX-License-Identifier: MIT
//! Secrets in URLs, and texts without them: tokens, users and passwords.

use percent_encoding::percent_decode_str;
use url::Url;

/// The query parameter that relays read a token from.
pub(super) const TOKEN_PARAMETER: &str = "jwt";
/// The query parameters whose values are secret.
const SECRET_PARAMETERS: [&str; 2] = [TOKEN_PARAMETER, "token"];
/// A shorter word may stand in a text by chance.
const MIN_WORD_CHARS: usize = 8;
/// What a secret is replaced by.
const MASK: &str = "***";

/// Sets the token of `url`, in place of any that it has.
pub(super) fn set_token(url: &mut Url, token: &str) {
    let others: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(name, _)| name != TOKEN_PARAMETER)
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    url.query_pairs_mut()
        .clear()
        .extend_pairs(others)
        .append_pair(TOKEN_PARAMETER, token);
}

/// The token in `url`.
pub(super) fn token(url: &Url) -> Option<String> {
    let mut pairs = url.query_pairs();
    let found = pairs.find(|(name, _)| name == TOKEN_PARAMETER);
    found.map(|(_, token)| token.into_owned())
}

/// Whether `url` has a token, a user or a password.
pub(super) fn has_secret(url: &Url) -> bool {
    let mut pairs = url.query_pairs();
    has_user(url) || pairs.any(|(name, value)| is_secret(&name) && !value.is_empty())
}

fn has_user(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

fn is_secret(parameter: &str) -> bool {
    let mut names = SECRET_PARAMETERS.into_iter();
    names.any(|name| name.eq_ignore_ascii_case(parameter))
}

/// The secrets of `url`, as they are written there and decoded.
pub(super) fn secrets(url: &Url) -> Vec<String> {
    let written = url.query().unwrap_or_default().split('&');
    let written = written.filter_map(|pair| pair.split_once('='));
    let written = written.filter(|(name, _)| is_secret(&decoded(name)));
    let pairs = url.query_pairs().filter(|(name, _)| is_secret(name));
    // A user without a password is a token.
    let password = url.password().unwrap_or_else(|| url.username());
    let mut secrets = vec![password.to_owned(), decoded(password)];
    secrets.extend(written.map(|(_, value)| value.to_owned()));
    secrets.extend(pairs.map(|(_, value)| value.into_owned()));
    secrets
}

/// A URL as it may be shown: without user, password, query and fragment.
pub(super) fn public(text: &str) -> String {
    match Url::parse(text) {
        Ok(mut url) if has_user(&url) => {
            // Refused only for a URL without a host, which has no user either.
            let _ = url.set_username("");
            let _ = url.set_password(None);
            url.set_query(None);
            url.set_fragment(None);
            url.into()
        }
        Ok(url) if url.has_host() => before_query(text).to_owned(),
        _ => public_by_hand(text),
    }
}

/// The same of what is no URL: a secret may stand everywhere before an "@".
fn public_by_hand(text: &str) -> String {
    let schemes = text.split_once("://");
    let (scheme, rest) = match schemes.filter(|(scheme, _)| scheme.chars().all(is_scheme)) {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), text),
    };
    let rest = rest.rsplit('@').next().unwrap_or_default();
    format!("{scheme}{}", before_query(rest))
}

fn before_query(text: &str) -> &str {
    text.split(['?', '#']).next().unwrap_or_default()
}

/// `text` without the secrets of the URLs in it, the values of secret parameters, and the words that
/// are one of `known`.
pub(super) fn redact(text: &str, known: &[String]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let start = rest[..at].trim_end_matches(is_scheme).len();
        let end = rest[at..].find(ends_url).map_or(rest.len(), |len| at + len);
        let url = rest[start..end].trim_end_matches(ends_sentence);
        out.push_str(&rest[..start]);
        out.push_str(&without_secrets(url));
        rest = &rest[start + url.len()..];
    }
    out.push_str(rest);
    for name in SECRET_PARAMETERS {
        out = mask_values(&out, name);
    }
    known.iter().fold(out, |out, word| mask_word(&out, word))
}

fn is_scheme(char: char) -> bool {
    char.is_ascii_alphanumeric() || "+-.".contains(char)
}

fn ends_url(char: char) -> bool {
    char.is_whitespace() || char.is_control() || "\"<>".contains(char)
}

fn ends_sentence(char: char) -> bool {
    ".,;:!')]}".contains(char)
}

/// A URL out of a text, as it stands there if it has no secret.
fn without_secrets(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else {
        return public_by_hand(text);
    };
    if !has_secret(&url) {
        return text.to_owned();
    }
    // Refused only for a URL without a host, which has no user either.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    let masked = |pair: &str| match pair.split_once('=') {
        Some((name, _)) if is_secret(&decoded(name)) => format!("{name}={MASK}"),
        _ => pair.to_owned(),
    };
    let query = url.query().map(|query| {
        let pairs: Vec<_> = query.split('&').map(masked).collect();
        pairs.join("&")
    });
    url.set_query(query.as_deref());
    url.into()
}

/// Masks what follows `name=` where that is no part of a longer name.
fn mask_values(text: &str, name: &str) -> String {
    // Of the same length, so that an index into one is one into the other.
    let lower = text.to_ascii_lowercase();
    let pattern = format!("{name}=");
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for (at, _) in lower.match_indices(&pattern) {
        let value = at + pattern.len();
        if at < done || text[..at].ends_with(is_word) {
            continue;
        }
        let from = text[value..].trim_start_matches(['"', '\'']);
        let from = text.len() - from.len();
        let is_end = |char| ends_url(char) || "&#".contains(char);
        let len = text[from..].find(is_end).unwrap_or(text.len() - from);
        let len = text[from..from + len].trim_end_matches(ends_sentence).len();
        out.push_str(&text[done..from]);
        if len > 0 {
            out.push_str(MASK);
        }
        done = from + len;
    }
    out.push_str(&text[done..]);
    out
}

fn mask_word(text: &str, word: &str) -> String {
    if word.chars().count() < MIN_WORD_CHARS {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for (at, _) in text.match_indices(word) {
        let end = at + word.len();
        if text[..at].ends_with(is_word) || text[end..].starts_with(is_word) {
            continue;
        }
        out.push_str(&text[done..at]);
        out.push_str(MASK);
        done = end;
    }
    out.push_str(&text[done..]);
    out
}

fn is_word(char: char) -> bool {
    char.is_alphanumeric() || char == '_' || char == '-'
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_secrets() {
        for (url, shown) in [
            ("https://relay.example", "https://relay.example"),
            (
                "https://relay.example/a@b?jwt=x#y",
                "https://relay.example/a@b",
            ),
            (
                "https://u:p@relay.example:4443/a?b=c#d",
                "https://relay.example:4443/a",
            ),
            ("https://user@relay.example/", "https://relay.example/"),
            ("https://u:p%40q@relay.example/", "https://relay.example/"),
            ("https://u:p@q@relay.example/", "https://relay.example/"),
            (
                "moqt://u:p@relay.example:4443?jwt=x",
                "moqt://relay.example:4443",
            ),
            ("https:\\\\u:p@relay.example\\a", "https://relay.example/a"),
            ("https:u:p@relay.example/", "https://relay.example/"),
            // These are no URLs of a host.
            ("https://u:p/w@relay.example/a", "https://relay.example/a"),
            ("https://u:p?w@relay.example/a", "https://relay.example/a"),
            ("https://u:p#w@relay.example/a", "https://relay.example/a"),
            ("u:secret@relay.example", "relay.example"),
            ("relay.example?jwt=x", "relay.example"),
            ("?jwt=x://y", ""),
            ("", ""),
        ] {
            assert_eq!(public(url), shown, "{url}");
        }
    }

    #[test]
    fn no_secret_gets_through_and_nothing_else_is_changed() {
        let url = "https://subscriber:pa%20ssword@h/?jwt=a%2Bb.cd_efgh&token=e";
        let known = secrets(&Url::parse(url).expect("a URL"));
        for (text, shown) in [
            ("no URL, e and all", "no URL, e and all"),
            (url, "https://h/?jwt=***&token=***"),
            (
                "(https://u:p@h/a?x=1&jwt=b), next",
                "(https://h/a?x=1&jwt=***), next",
            ),
            ("see https://h?x=1#y.", "see https://h?x=1#y."),
            (
                "wss://h/?JWT=a;b,c moqt://h?%6Awt=b",
                "wss://h/?JWT=*** moqt://h?%6Awt=***",
            ),
            (
                "https://h/#jwt=b and https://",
                "https://h/#jwt=*** and https://",
            ),
            ("https://u:p/w@h/x ://jwt=b", "https://h/x ://jwt=***"),
            ("GET /?a=b&jwt=b&c=d HTTP", "GET /?a=b&jwt=***&c=d HTTP"),
            ("jwt=\"b\", token='b'; a", "jwt=\"***\", token='***'; a"),
            ("my_jwt=b jwt=", "my_jwt=b jwt="),
            ("a+b.cd_efgh a%2Bb.cd_efgh", "*** ***"),
            ("a+b.cd_efghi xa+b.cd_efgh", "a+b.cd_efghi xa+b.cd_efgh"),
            ("pa ssword of subscriber", "*** of subscriber"),
            ("ü://ü jwt=ü€, ü", "ü://ü jwt=***, ü"),
        ] {
            assert_eq!(redact(text, &known), shown, "{text}");
        }
    }

    #[test]
    fn a_user_without_a_password_is_a_token() {
        let url = Url::parse("https://0123456789@h/").expect("a URL");
        assert!(has_secret(&url));
        assert_eq!(redact("0123456789!", &secrets(&url)), "***!");
    }
}
