// SPDX-License-Identifier: MIT
//! What is said of a track beside its format: tags to catalog, and catalog to tags.
//!
//! Colorimetry and HDR metadata have no field in the catalog; they stay in the bitstream.

use gst::{Tag as _, glib};
use serde_json::Value;

use crate::media::format::rendition::{Catalog, Kind, Rendition};

/// The longest label in characters that is believed of a catalog.
const MAX_LABEL: usize = 256;

/// What people and players want to know of a track before they decode it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Description {
    /// In bits per second, above zero.
    pub bitrate: Option<u64>,
    /// A name for people, not empty.
    pub label: Option<String>,
    /// Language of text or speech: an ISO 639 code as GStreamer has it, or a BCP 47 tag, which may
    /// be the same.
    pub language: Option<String>,
    /// How video is to be turned for display.
    pub orientation: Option<Orientation>,
}

impl Description {
    /// What a list of tags says.
    fn of_tags(tags: &gst::TagListRef) -> Self {
        let bitrate = number(tags, gst::tags::MaximumBitrate::TAG_NAME)
            .or_else(|| number(tags, gst::tags::NominalBitrate::TAG_NAME))
            .or_else(|| number(tags, gst::tags::Bitrate::TAG_NAME));
        let orientation = text(tags, gst::tags::ImageOrientation::TAG_NAME);
        Self {
            bitrate: bitrate.filter(|rate| *rate > 0).map(u64::from),
            label: text(tags, gst::tags::Title::TAG_NAME),
            language: text(tags, gst::tags::LanguageCode::TAG_NAME),
            orientation: orientation.and_then(|tag| Orientation::from_tag(&tag)),
        }
    }

    /// What a catalog entry says; `orientation` is the one of its broadcast.
    pub fn of_rendition(rendition: &Rendition, orientation: Orientation) -> Self {
        let readable = |text: &str| {
            let text = text.chars().filter(|c| !c.is_control()).take(MAX_LABEL);
            Some(text.collect::<String>()).filter(|text| !text.is_empty())
        };
        let language = match rendition {
            Rendition::Text(text) => text.lang.as_deref(),
            _ => None,
        };
        Self {
            bitrate: rendition.bitrate().filter(|rate| *rate > 0),
            label: rendition.label().and_then(readable),
            language: language.and_then(readable),
            orientation: Some(orientation).filter(|_| rendition.kind() == Kind::Video),
        }
    }

    /// Writes all but the orientation, which is not a track's own, into a catalog entry.
    ///
    /// What is not known leaves the entry as it is. The language has a field of text alone; that of audio is in a section of ours.
    pub fn describe(&self, rendition: &mut Rendition) {
        rendition.set_bitrate(self.bitrate.or(rendition.bitrate()));
        if self.label.is_some() {
            rendition.set_label(self.label.clone());
        }
        if let (Rendition::Text(text), Some(language)) = (rendition, &self.language) {
            text.lang = Some(language.clone());
        }
    }

    /// The tags that say it of a stream with these caps, with the name of its codec.
    pub fn tags(&self, caps: &gst::CapsRef, kind: Kind) -> gst::TagList {
        const REPLACE: gst::TagMergeMode = gst::TagMergeMode::Replace;
        let mut list = gst::TagList::new();
        let Some(tags) = list.get_mut() else {
            return list;
        };
        tags.set_scope(gst::TagScope::Stream);
        // A codec that GStreamer has no name for only lacks that tag.
        let _ = match kind {
            Kind::Video => codec::<gst::tags::VideoCodec>(tags, caps),
            Kind::Audio => codec::<gst::tags::AudioCodec>(tags, caps),
            Kind::Text => codec::<gst::tags::SubtitleCodec>(tags, caps),
            Kind::Data => Ok(()),
        };
        if let Some(bitrate) = self.bitrate.and_then(|rate| u32::try_from(rate).ok()) {
            tags.add::<gst::tags::NominalBitrate>(&bitrate, REPLACE);
        }
        if let Some(label) = &self.label {
            tags.add::<gst::tags::Title>(&label.as_str(), REPLACE);
        }
        // The tag holds an ISO 639 code: of BCP 47, the part before the first hyphen.
        let language = self.language.as_deref().unwrap_or_default();
        let primary = language.split('-').next().unwrap_or_default();
        if matches!(primary.len(), 2 | 3) && primary.bytes().all(|b| b.is_ascii_alphabetic()) {
            let primary = primary.to_ascii_lowercase();
            tags.add::<gst::tags::LanguageCode>(&primary.as_str(), REPLACE);
        }
        if let Some(orientation) = self.orientation {
            tags.add::<gst::tags::ImageOrientation>(&orientation.tag(), REPLACE);
        }
        list
    }

    /// The same, and what `newer` says wins.
    fn updated(self, newer: Self) -> Self {
        Self {
            bitrate: newer.bitrate.or(self.bitrate),
            label: newer.label.or(self.label),
            language: newer.language.or(self.language),
            orientation: newer.orientation.or(self.orientation),
        }
    }
}

fn codec<'a, T: gst_pbutils::functions::CodecTag<'a>>(
    tags: &mut gst::TagListRef,
    caps: &gst::CapsRef,
) -> Result<(), glib::BoolError> {
    gst_pbutils::functions::pb_utils_add_codec_description_to_tag_list_for_tag::<T>(tags, caps)
}

/// All that the TAG events of one stream have said.
#[derive(Clone, Debug, Default)]
pub struct Tags {
    global: Description,
    stream: Description,
}

impl Tags {
    /// Takes in a TAG event; what it does not mention stays.
    pub fn take(&mut self, tags: &gst::TagListRef) {
        let said = match tags.scope() {
            gst::TagScope::Global => &mut self.global,
            _ => &mut self.stream,
        };
        *said = std::mem::take(said).updated(Description::of_tags(tags));
    }

    /// What follows from them: of its whole medium a stream has the language and the orientation,
    /// but neither the title nor the bitrate.
    pub fn description(&self) -> Description {
        let medium = Description {
            bitrate: None,
            label: None,
            ..self.global.clone()
        };
        medium.updated(self.stream.clone())
    }
}

/// The value of a tag, unless it has none or one of another type: nobody checks what elements and
/// applications put in.
fn number(tags: &gst::TagListRef, name: &glib::GStr) -> Option<u32> {
    tags.generic(name)?.get().ok()
}

/// The same of a text.
fn text(tags: &gst::TagListRef, name: &glib::GStr) -> Option<String> {
    tags.generic(name)?.get().ok()
}

/// How video is to be turned for display: clockwise first, then mirrored, as the catalog says
/// it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Orientation {
    /// 0 to 3, clockwise.
    quarter_turns: u8,
    /// Whether left and right are exchanged after the turn.
    flip: bool,
}

/// The values of GST_TAG_IMAGE_ORIENTATION by quarter turns, plain and flipped.
///
/// By hand: gst_video reads them, and writes none.
const TAGS: [[&str; 4]; 2] = [
    ["rotate-0", "rotate-90", "rotate-180", "rotate-270"],
    [
        "flip-rotate-0",
        "flip-rotate-90",
        "flip-rotate-180",
        "flip-rotate-270",
    ],
];

impl Orientation {
    /// Reads a value of GST_TAG_IMAGE_ORIENTATION; `None` for another text.
    pub fn from_tag(tag: &str) -> Option<Self> {
        let find = |flip: bool| {
            let turns = TAGS[usize::from(flip)].iter().position(|t| *t == tag)?;
            Some(Self::flipped_first(turns as u8, flip))
        };
        find(false).or_else(|| find(true))
    }

    /// The value of GST_TAG_IMAGE_ORIENTATION.
    pub fn tag(self) -> &'static str {
        let Self {
            quarter_turns,
            flip,
        } = Self::flipped_first(self.quarter_turns, self.flip);
        TAGS[usize::from(flip)][usize::from(quarter_turns % 4)]
    }

    /// GStreamer mirrors before it turns, the catalog afterwards: what is mirrored turns the other
    /// way. The change is its own inverse.
    fn flipped_first(quarter_turns: u8, flip: bool) -> Self {
        let quarter_turns = match flip {
            true => (4 - quarter_turns % 4) % 4,
            false => quarter_turns % 4,
        };
        Self {
            quarter_turns,
            flip,
        }
    }

    /// Reads the `video` section of a catalog. Like hang's own readers, it takes the nearest
    /// quarter turn; what cannot be read counts as none.
    pub fn of_section(video: &Value) -> Self {
        let degrees = video["rotation"].as_f64().unwrap_or_default();
        Self {
            // The cast cannot wrap: the remainder is 0 to 360.
            quarter_turns: (degrees.rem_euclid(360.0) / 90.0).round() as u8 % 4,
            flip: video["flip"].as_bool().unwrap_or_default(),
        }
    }

    /// Writes what the video of a broadcast has in common into its catalog.
    pub fn list(orientation: Option<Self>, catalog: &mut Catalog) {
        let degrees = |orientation: Self| f64::from(orientation.quarter_turns) * 90.0;
        catalog.video.rotation = orientation.map(degrees);
        catalog.video.flip = orientation.map(|orientation| orientation.flip);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the corners of a picture go: the numbers of [top left, top right, bottom right,
    /// bottom left], turned clockwise.
    fn turned(mut corners: [u8; 4], turns: usize) -> [u8; 4] {
        corners.rotate_right(turns);
        corners
    }

    fn mirrored([a, b, c, d]: [u8; 4]) -> [u8; 4] {
        [b, a, d, c]
    }

    #[test]
    fn tags_of_another_type_say_nothing() {
        use gst::prelude::*;

        gst::init().expect("GStreamer initializes");
        let tags = "taglist, nominal-bitrate=(int)500000, title=(int)5, image-orientation=(int)1, \
                    language-code=(int)7, bitrate=(uint)9000";
        let tags = glib::Value::deserialize(tags, gst::TagList::static_type()).expect("tags");
        let tags: gst::TagList = tags.get().expect("a list of tags");
        let said = Description::of_tags(&tags);
        let expected = Description {
            bitrate: Some(9000),
            ..Description::default()
        };
        assert_eq!(said, expected);
    }

    #[test]
    fn all_eight_orientations_show_the_same_picture_on_both_sides() {
        const PICTURE: [u8; 4] = [0, 1, 2, 3];
        for (flip, tags) in [(false, TAGS[0]), (true, TAGS[1])] {
            for (turns, tag) in tags.into_iter().enumerate() {
                // "flip-rotate-90": mirrored, then turned.
                let by_tag = match flip {
                    true => turned(mirrored(PICTURE), turns),
                    false => turned(PICTURE, turns),
                };
                let orientation = Orientation::from_tag(tag).unwrap();
                assert_eq!(orientation.tag(), tag);
                let mut catalog = Catalog::default();
                Orientation::list(Some(orientation), &mut catalog);
                let degrees = catalog.video.rotation.unwrap();
                let mut by_catalog = turned(PICTURE, (degrees / 90.0) as usize);
                if catalog.video.flip.unwrap() {
                    by_catalog = mirrored(by_catalog);
                }
                assert_eq!(by_catalog, by_tag, "{tag}");
                let section = serde_json::to_value(&catalog.video).unwrap();
                assert_eq!(Orientation::of_section(&section), orientation);
            }
        }
        assert_eq!(Orientation::from_tag("rotate-45"), None);
    }

    #[test]
    fn a_hostile_rotation_is_some_quarter_turn() {
        for (rotation, tag) in [
            (serde_json::json!(-90), "rotate-270"),
            (serde_json::json!(359.9), "rotate-0"),
            (serde_json::json!(450), "rotate-90"),
            (serde_json::json!("90"), "rotate-0"),
            (serde_json::json!(null), "rotate-0"),
        ] {
            let section = serde_json::json!({ "rotation": rotation, "flip": 1 });
            let orientation = Orientation::of_section(&section);
            assert_eq!(orientation.tag(), tag, "{rotation}");
        }
        let section = serde_json::json!({ "rotation": 1e300, "flip": true });
        assert!(Orientation::of_section(&section).tag().starts_with("flip"));
    }

    fn tags(title: Option<&str>, language: Option<&str>, bitrate: u32) -> gst::TagList {
        gst::init().unwrap();
        let mut list = gst::TagList::new();
        let tags = list.make_mut();
        if let Some(title) = title {
            tags.add::<gst::tags::Title>(&title, gst::TagMergeMode::Append);
        }
        if let Some(language) = language {
            tags.add::<gst::tags::LanguageCode>(&language, gst::TagMergeMode::Append);
        }
        tags.add::<gst::tags::Bitrate>(&bitrate, gst::TagMergeMode::Append);
        list
    }

    #[test]
    fn tags_of_the_stream_win_over_those_of_the_medium_in_any_order() {
        let mut all = Tags::default();
        let stream = tags(Some("camera"), None, 500);
        let mut medium = tags(Some("holiday"), Some("de"), 900);
        medium.make_mut().set_scope(gst::TagScope::Global);
        all.take(&stream);
        all.take(&medium);
        all.take(&tags(None, None, 0));
        let said = all.description();
        assert_eq!(said.label.as_deref(), Some("camera"));
        assert_eq!(said.language.as_deref(), Some("de"));
        assert_eq!(said.bitrate, Some(500));
    }

    #[test]
    fn what_a_catalog_says_comes_out_as_tags() {
        gst::init().unwrap();
        let caps = gst::Caps::builder("video/x-vp8").build();
        let label = format!("a\u{7}b\0{}", "x".repeat(2 * MAX_LABEL));
        let entry = serde_json::json!({ "codec": "vp8", "bitrate": 1000, "label": label });
        let rendition = Rendition::from_json("video", &entry).unwrap();
        let orientation = Orientation::from_tag("flip-rotate-90").unwrap();
        let description = Description::of_rendition(&rendition, orientation);
        let back = description.tags(&caps, Kind::Video);
        let mut said = Description::of_tags(&back);
        let label = said.label.take().unwrap();
        assert!(
            label.starts_with("abx") && label.len() == MAX_LABEL,
            "{label}"
        );
        assert_eq!(said.bitrate, Some(1000));
        assert_eq!(said.orientation, Some(orientation));
        assert!(back.get::<gst::tags::VideoCodec>().is_some());
    }

    #[test]
    fn language_belongs_to_text_and_is_an_iso_639_code_in_a_tag() {
        gst::init().unwrap();
        let caps = gst::Caps::builder("text/x-raw").build();
        let entry = serde_json::json!({ "format": "utf8", "lang": "en-US" });
        let mut text = Rendition::from_json("text", &entry).unwrap();
        let description = Description::of_rendition(&text, Orientation::default());
        assert_eq!(description.orientation, None);
        let back = Description::of_tags(&description.tags(&caps, Kind::Text));
        assert_eq!(back.language.as_deref(), Some("en"));
        back.describe(&mut text);
        let again = Description::of_rendition(&text, Orientation::default());
        assert_eq!(again.language.as_deref(), Some("en"));
    }
}
