// SPDX-License-Identifier: MIT
//! Text of cues: what plain text, Pango's markup and WebVTT have in common.
//!
//! Bold, italic and underlined text is kept, all other markup is dropped. What is written is valid
//! Pango markup and a valid WebVTT cue text at once: the same three tags, the same escapes.

pub mod vtt;

/// The styles that are kept, by their tags.
const STYLES: [&str; 3] = ["b", "i", "u"];

/// The longest entity is `&#x10ffff;`.
const MAX_ENTITY: usize = 10;

/// Styled text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Markup(Vec<Run>);

/// Text of one style.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Run {
    styles: [bool; STYLES.len()],
    text: String,
}

impl Markup {
    /// Text without any markup.
    pub fn plain(text: &str) -> Self {
        let mut markup = Self::default();
        markup.push([false; STYLES.len()], text);
        markup
    }

    /// Text of Pango or of a WebVTT cue. Whatever is malformed counts as text.
    pub fn parse(mut rest: &str) -> Self {
        let mut markup = Self::default();
        let mut styles = [false; STYLES.len()];
        while let Some((text, tag)) = rest.split_once('<')
            && let Some((tag, after)) = tag.split_once('>')
        {
            markup.push(styles, &decode(text));
            let name = tag.trim_start_matches('/');
            let name = name.split(|c: char| !c.is_ascii_alphanumeric()).next();
            if let Some(style) = STYLES.iter().position(|style| Some(*style) == name) {
                styles[style] = !tag.starts_with('/');
            }
            rest = after;
        }
        markup.push(styles, &decode(rest));
        markup
    }

    /// Whether there is nothing to see.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|run| run.text.trim().is_empty())
    }

    /// The text alone.
    pub fn to_plain(&self) -> String {
        self.0.iter().map(|run| run.text.as_str()).collect()
    }

    /// Pango markup, which is a WebVTT cue text too; lines without text, which would end a cue, are
    /// left out.
    pub fn to_markup(&self) -> String {
        let mut markup = String::new();
        for Run { styles, text } in &self.0 {
            let tags = || STYLES.iter().zip(styles).filter(|(_, set)| **set);
            tags().for_each(|(tag, _)| markup.extend(["<", *tag, ">"]));
            markup.push_str(&escape(text));
            tags()
                .rev()
                .for_each(|(tag, _)| markup.extend(["</", *tag, ">"]));
        }
        let lines: Vec<&str> = markup
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        lines.join("\n")
    }

    fn push(&mut self, styles: [bool; STYLES.len()], text: &str) {
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let seen = |c: &char| !c.is_control() || matches!(c, '\n' | '\t');
        let text: String = text.chars().filter(seen).collect();
        match self.0.last_mut() {
            _ if text.is_empty() => {}
            Some(run) if run.styles == styles => run.text.push_str(&text),
            _ => self.0.push(Run { styles, text }),
        }
    }
}

/// Text as WebVTT (section 4.2.2) and XML escape it; without `>` no line holds `-->`.
///
/// By hand: `glib::markup_escape_text` escapes quotes and control characters too, which WebVTT does not.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// Text without the entities of XML and WebVTT; unknown ones stay as they are.
fn decode(text: &str) -> String {
    let mut parts = text.split('&');
    let mut decoded = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let entity = part
            .split_once(';')
            .filter(|(name, _)| name.len() < MAX_ENTITY)
            .and_then(|(name, after)| Some((character(name)?, after)));
        match entity {
            Some((character, after)) => {
                decoded.push(character);
                decoded.push_str(after);
            }
            None => decoded.extend(["&", part]),
        }
    }
    decoded
}

fn character(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "nbsp" => Some('\u{a0}'),
        "lrm" => Some('\u{200e}'),
        "rlm" => Some('\u{200f}'),
        _ => {
            let digits = name.strip_prefix('#')?;
            let code = match digits.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => digits.parse(),
            };
            char::from_u32(code.ok()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn three_styles_are_kept_and_other_markup_is_dropped() {
        for (markup, expected) in [
            ("<b>a</b> <i>b</i>", "<b>a</b> <i>b</i>"),
            ("<b>a<i>b</b>c", "<b>a</b><b><i>b</i></b><i>c</i>"),
            ("<span color=\"red\">a</span>", "a"),
            ("<v Ann>Hi</v><c.x> <00:01.000>you", "Hi you"),
            ("<b.loud>a", "<b>a</b>"),
            (
                "a < b &amp; &lt;c&gt; &#x41;&apos; &x;",
                "a &lt; b &amp; &lt;c&gt; A' &amp;x;",
            ),
            ("a\r\n\r\n<i>\r</i>\rb --> c", "a\n<i>\n</i>\nb --&gt; c"),
            ("&#0;&#27;a\u{0}", "a"),
        ] {
            assert_eq!(Markup::parse(markup).to_markup(), expected, "{markup}");
        }
    }

    proptest! {
        #[test]
        fn plain_text_survives_markup(text in "[^\\p{Cc}]{0,40}") {
            let markup = Markup::plain(&text).to_markup();
            prop_assert!(!markup.contains("-->"));
            if !text.trim().is_empty() {
                prop_assert_eq!(Markup::parse(&markup).to_plain(), text);
            }
        }

        #[test]
        fn what_is_written_is_well_formed_and_reads_back(text in "([<>&;/biu# \n]|&lt;|<b>|</i>|<u>){0,40}") {
            let markup = Markup::parse(&text).to_markup();
            prop_assert_eq!(Markup::parse(&markup).to_markup(), markup);
        }
    }
}
