// SPDX-License-Identifier: MIT
//! Data that has a time, such as KLV and captions: the catalog entry holds its caps as text.

use crate::media::format::input::{Fixed, InputFormat};
use crate::media::{
    catalog::data::DataConfig,
    format::rendition::{CapsError, Rendition},
};

/// What both elements take: everything that has no type in GStreamer is an octet-stream.
pub(super) const CAPS: &str = "meta/x-klv; \
    closedcaption/x-cea-608, format=(string){ raw, s334-1a }; \
    closedcaption/x-cea-708, format=(string){ cc_data, cdp }; \
    application/octet-stream";

const TYPES: [&str; 4] = [
    "meta/x-klv",
    "closedcaption/x-cea-608",
    "closedcaption/x-cea-708",
    "application/octet-stream",
];

/// The fields that caps may have: GStreamer keeps every name that it reads for ever.
const FIELDS: [&str; 6] = [
    "alignment",
    "field",
    "format",
    "framerate",
    "parsed",
    "stream-format",
];

/// How caps begin the values that they may have: no list, no range and nothing that nests.
const VALUES: [&str; 4] = ["(boolean)", "(fraction)", "(int)", "(string)"];

/// In bytes; caps of these fields are shorter.
const MAX_CAPS: usize = 256;

/// In bytes; RFC 6838 section 4.2 allows 127 on each side of the slash.
const MAX_MIME: usize = 255;

pub(super) fn matches_caps(structure: &gst::StructureRef) -> bool {
    TYPES.contains(&structure.name().as_str())
}

pub(super) fn matches_rendition(rendition: &Rendition) -> bool {
    matches!(rendition, Rendition::Data(_))
}

pub(super) fn input(structure: &gst::StructureRef) -> Result<Box<dyn InputFormat>, CapsError> {
    let caps = gst::Caps::from(structure.to_owned()).to_string();
    parse(&caps)?;
    Ok(Box::new(Fixed(Rendition::Data(DataConfig::new(caps)))))
}

pub(super) fn caps(rendition: &Rendition) -> Result<gst::Caps, CapsError> {
    let Rendition::Data(config) = rendition else {
        return Err(CapsError::broken("The entry is not a data entry."));
    };
    if config.mime.as_deref().is_some_and(|mime| !is_mime(mime)) {
        return Err(CapsError::broken("The MIME type is not one."));
    }
    parse(&config.caps)
}

/// Whether `text` can be the MIME type of a data track: 1 to 255 printable ASCII characters with a
/// slash among them.
pub fn is_mime(text: &str) -> bool {
    let printable = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    text.len() <= MAX_MIME && text.contains('/') && text.bytes().all(printable)
}

/// Reads caps that anybody may have written: GStreamer's parser sees only what is harmless to it.
fn parse(text: &str) -> Result<gst::Caps, CapsError> {
    let shown = || text.chars().take(MAX_CAPS).collect::<String>();
    if text.len() > MAX_CAPS {
        return Err(CapsError::broken(format!(
            "Caps of data may have {MAX_CAPS} characters, these have {}.",
            text.len()
        )));
    }
    let mut parts = text.split(',').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    if !TYPES.contains(&media_type) {
        return Err(CapsError::unsupported(format!(
            "{:?} is not supported as data; use application/octet-stream.",
            media_type
        )));
    }
    if let Some(field) = parts.find(|field| !is_plain(field)) {
        return Err(CapsError::broken(format!(
            "The caps field {field:?} cannot be published; data has only {} of type boolean, \
             fraction, int or string.",
            FIELDS.join(", ")
        )));
    }
    text.parse::<gst::Caps>()
        .ok()
        .filter(|caps| caps.is_fixed())
        .ok_or_else(|| CapsError::broken(format!("The caps {:?} cannot be read.", shown())))
}

/// Whether it is one field of a simple value: `parsed=(boolean)true`.
fn is_plain(field: &str) -> bool {
    let Some((name, value)) = field.split_once('=') else {
        return false;
    };
    let value = VALUES.iter().find_map(|kind| value.strip_prefix(kind));
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./+".contains(&byte);
    FIELDS.contains(&name) && value.is_some_and(|value| value.bytes().all(harmless))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TAKEN: [&str; 9] = [
        "meta/x-klv",
        "meta/x-klv, parsed=(boolean)true",
        "closedcaption/x-cea-608, format=(string)raw, framerate=(fraction)30000/1001",
        "closedcaption/x-cea-608, format=(string)raw, field=(int)1",
        "closedcaption/x-cea-608, format=(string)s334-1a, framerate=(fraction)25/1",
        "closedcaption/x-cea-708, format=(string)cc_data, framerate=(fraction)60/1",
        "closedcaption/x-cea-708, format=(string)cdp, framerate=(fraction)60/1",
        "application/octet-stream",
        "application/octet-stream, stream-format=(string)id3, alignment=(string)frame",
    ];

    fn entry(caps: &str) -> Rendition {
        gst::init().expect("GStreamer initializes");
        Rendition::Data(DataConfig::new(caps))
    }

    #[test]
    fn caps_come_back_as_they_were() {
        gst::init().expect("GStreamer initializes");
        for text in TAKEN {
            let expected: gst::Caps = text.parse().expect("caps");
            let structure = expected.structure(0).expect("a structure");
            assert!(matches_caps(structure), "{text}");
            let input = input(structure).expect(text);
            let back = caps(input.rendition().expect("an entry")).expect(text);
            assert!(back.is_strictly_equal(&expected), "{back:?}");
        }
    }

    #[test]
    fn what_is_no_plain_data_is_refused() {
        let long = format!("meta/x-klv, format=(string){}", "a".repeat(MAX_CAPS));
        for text in [
            "",
            "ANY",
            "EMPTY",
            "NONE",
            "video/x-raw, format=(string)I420",
            "meta/x-klv; meta/x-klv",
            "meta/x-klv(memory:DMABuf)",
            "meta/x-klv, parsed=true",
            "meta/x-klv, parsed=(boolean){ true, false }",
            "meta/x-klv, field=(int)[ 1, 2 ]",
            "meta/x-klv, field=(int)",
            "meta/x-klv, field=(int)99999999999999999999",
            "meta/x-klv, framerate=(fraction)1/0",
            "meta/x-klv, format=(buffer)00",
            "meta/x-klv, format=(structure)\"a;\"",
            "meta/x-klv, format=(void)a",
            "meta/x-klv, format=(string)\"a\\ b\"",
            "meta/x-klv, other=(int)1",
            "meta/x-klv, ",
            "meta/x-klv\0, parsed=(boolean)true",
            &long,
        ] {
            let error = caps(&entry(text)).expect_err(text);
            assert!(error.to_string().ends_with('.'), "{error}");
        }
        let other: gst::Caps = "application/octet-stream, type=json".parse().expect("caps");
        let error = input(other.structure(0).expect("a structure")).expect_err("a refusal");
        assert!(error.to_string().contains("type=(string)json"), "{error}");
    }

    #[test]
    fn a_mime_type_is_short_printable_and_has_a_slash() {
        for (text, good) in [
            ("application/json", true),
            ("text/plain; charset=utf-8", true),
            ("", false),
            ("json", false),
            ("a/\n", false),
            ("a/\u{e4}", false),
            (&format!("a/{}", "a".repeat(MAX_MIME)), false),
        ] {
            assert_eq!(is_mime(text), good, "{text}");
            let mut entry = entry("meta/x-klv");
            if let Rendition::Data(config) = &mut entry {
                config.mime = Some(text.to_owned());
            }
            assert_eq!(caps(&entry).is_ok(), good, "{text}");
        }
    }

    /// Caps as a hostile publisher may write them, most of them near to good ones.
    fn hostile() -> impl Strategy<Value = String> {
        let field = prop::sample::select(&FIELDS[..]);
        let kind = prop::sample::select(&VALUES[..]);
        let part = prop_oneof![
            (field, kind, "[-a-zA-Z0-9_./+]{0,24}")
                .prop_map(|(field, kind, value)| format!("{field}={kind}{value}")),
            "[-a-z=(){}<>;:\"\\\\0-9 ]{0,24}",
            any::<String>(),
        ];
        let media_type = prop_oneof![
            4 => prop::sample::select(&TYPES[..]).prop_map(str::to_owned),
            1 => any::<String>(),
        ];
        (media_type, prop::collection::vec(part, 0..4))
            .prop_map(|(media_type, parts)| [vec![media_type], parts].concat().join(", "))
    }

    proptest! {
        #[test]
        fn hostile_caps_are_valid_or_a_named_error(text in hostile()) {
            match caps(&entry(&text)) {
                Ok(caps) => {
                    prop_assert!(caps.is_fixed() && caps.size() == 1);
                    let structure = caps.structure(0).expect("a structure");
                    prop_assert!(matches_caps(structure));
                    let again = input(structure).expect("what was read can be published");
                    let back = super::caps(again.rendition().expect("an entry")).expect("the same");
                    prop_assert!(back.is_strictly_equal(&caps), "{:?} {:?}", back, caps);
                }
                Err(error) => prop_assert!(error.to_string().ends_with('.')),
            }
        }
    }
}
