// SPDX-License-Identifier: MIT
//! Which renditions belong together: one picture or one sound in several qualities, among which the network
//! may choose. What differs in anything else is for a person to choose.

use crate::media::format::rendition::Kind;

/// Aspect ratios that differ by less than this part are the same, rounded to whole pixels.
const ASPECT_PARTS: u64 = 40;
/// Words that say how good a rendition is, and nothing else.
const QUALITY_WORDS: [&str; 19] = [
    "low", "mid", "medium", "high", "lq", "mq", "hq", "sd", "hd", "fhd", "qhd", "uhd", "ld", "md",
    "src", "source", "orig", "original", "best",
];

/// What of a rendition counts for this.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    /// The name of the track.
    pub name: String,
    /// A name for people.
    pub label: Option<String>,
    /// The group that the publisher says it is in.
    pub group: Option<String>,
    /// Its language, if it is known.
    pub language: Option<String>,
    /// The codec without its profile and level.
    pub codec: String,
    /// Width and height of video in pixels.
    pub size: Option<(u32, u32)>,
    /// Sample rate and channels of audio.
    pub audio: Option<(u32, u32)>,
    /// In bits per second.
    pub bitrate: Option<u64>,
}

impl Traits {
    /// The bit rate, or what a picture of the size mostly takes.
    pub fn rate(&self) -> u64 {
        let pixels = self
            .size
            .map(|(width, height)| u64::from(width) * u64::from(height));
        self.bitrate
            .or(pixels.map(|pixels| pixels.saturating_mul(2)))
            .unwrap_or(0)
    }

    /// The greatest is the best.
    fn quality(&self) -> (u64, u64) {
        let pixels = self
            .size
            .map(|(width, height)| u64::from(width) * u64::from(height));
        (pixels.unwrap_or(0), self.rate())
    }

    /// Whether `wish` is its name or its label.
    pub fn is_called(&self, wish: &str) -> bool {
        self.name == wish || self.label.as_deref() == Some(wish)
    }

    /// Whether its language is `wanted`, of which the first part (of `en-GB`) counts.
    pub fn speaks(&self, wanted: &str) -> bool {
        let primary = |text: &str| text.split(['-', '_']).next().map(str::to_ascii_lowercase);
        let language = self.language.as_deref().and_then(primary);
        language.is_some_and(|language| !language.is_empty() && Some(language) == primary(wanted))
    }

    /// Whether the network may choose between the two, which are of one kind.
    fn belongs_with(&self, other: &Self, kind: Kind) -> bool {
        if self.language != other.language {
            return false;
        }
        if self.group.is_some() || other.group.is_some() {
            return self.group == other.group;
        }
        let looks_alike = self.codec == other.codec
            && stem(&self.name) == stem(&other.name)
            && self.label.as_deref().map(stem) == other.label.as_deref().map(stem);
        looks_alike
            && match kind {
                Kind::Video => {
                    let sizes = self.size.zip(other.size);
                    sizes
                        .is_some_and(|(one, two)| have_same_aspect(one, two) && self.differs(other))
                }
                Kind::Audio => self.audio == other.audio && self.differs(other),
                Kind::Text | Kind::Data => false,
            }
    }

    /// Whether one is better: two that are equally good are two cameras.
    fn differs(&self, other: &Self) -> bool {
        self.size != other.size
            || (self.bitrate.is_some() && other.bitrate.is_some() && self.bitrate != other.bitrate)
    }
}

/// The groups of renditions of one kind as places in `list`: groups in the order of their first members,
/// members from the best to the least.
pub fn groups(kind: Kind, list: &[&Traits]) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (place, traits) in list.iter().enumerate() {
        // With all members, so that no order of the list joins what does not belong together.
        let belongs = |group: &&mut Vec<usize>| {
            group
                .iter()
                .all(|member| list[*member].belongs_with(traits, kind))
        };
        match groups.iter_mut().find(belongs) {
            Some(group) => group.push(place),
            None => groups.push(vec![place]),
        }
    }
    for group in &mut groups {
        group.sort_by_key(|place| std::cmp::Reverse(list[*place].quality()));
    }
    groups
}

fn have_same_aspect(one: (u32, u32), two: (u32, u32)) -> bool {
    let across = u64::from(one.0) * u64::from(two.1);
    let down = u64::from(one.1) * u64::from(two.0);
    across > 0 && down > 0 && across.abs_diff(down) <= across.max(down) / ASPECT_PARTS
}

/// A name without the words that say how good it is: `front` for `front-720p`, `Front HD` and `front/low`.
fn stem(name: &str) -> String {
    let words = name.split(|c: char| !c.is_alphanumeric());
    let words = words
        .map(str::to_lowercase)
        .filter(|word| !word.is_empty() && !is_quality(word));
    words.collect::<Vec<_>>().join(" ")
}

/// Whether a word says how good a rendition is: `hd`, `720p`, `1280x720`, `4k`, `800kbps`; not the number of
/// a camera.
fn is_quality(word: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let units = [
        "p", "p25", "p30", "p50", "p60", "k", "kbps", "kbit", "kb", "m", "mbps", "mbit",
    ];
    let counted = units
        .iter()
        .any(|unit| word.strip_suffix(unit).is_some_and(is_number));
    let sized = word
        .split_once('x')
        .is_some_and(|(x, y)| is_number(x) && is_number(y));
    QUALITY_WORDS.contains(&word) || counted || sized || (word.len() >= 3 && is_number(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn video(name: &str, height: u32, bitrate: u64) -> Traits {
        Traits {
            name: name.into(),
            codec: "avc1".into(),
            size: Some((height * 16 / 9, height)),
            bitrate: Some(bitrate),
            ..Traits::default()
        }
    }

    fn grouped(kind: Kind, list: &[Traits]) -> Vec<Vec<&str>> {
        let refs: Vec<&Traits> = list.iter().collect();
        let names = |group: Vec<usize>| group.into_iter().map(|place| &*list[place].name).collect();
        groups(kind, &refs).into_iter().map(names).collect()
    }

    #[test]
    fn names_made_of_one_another_are_one_picture_from_the_best_to_the_least() {
        let list = [
            video("front-360p", 360, 500),
            video("front-1080p", 1080, 4000),
            video("front HD", 720, 2000),
        ];
        assert_eq!(
            grouped(Kind::Video, &list),
            [["front-1080p", "front HD", "front-360p"]]
        );
        let list = [video("video/hd", 720, 2000), video("video/sd", 360, 500)];
        assert_eq!(grouped(Kind::Video, &list), [["video/hd", "video/sd"]]);
    }

    #[test]
    fn two_cameras_are_apart() {
        for names in [
            ["camera", "camera-2"],
            ["front-720p", "rear-360p"],
            ["a", "b"],
        ] {
            let list = [video(names[0], 720, 2000), video(names[1], 360, 500)];
            assert_eq!(grouped(Kind::Video, &list).len(), 2, "{names:?}");
        }
        let same = [video("x-hd", 720, 2000), video("x-source", 720, 2000)];
        assert_eq!(
            grouped(Kind::Video, &same).len(),
            2,
            "none of them is better"
        );
        let mut upright = video("x-sd", 360, 500);
        upright.size = Some((360, 640));
        assert_eq!(
            grouped(Kind::Video, &[video("x-hd", 720, 2000), upright]).len(),
            2,
            "another aspect ratio"
        );
        let mut coded = video("x-sd", 360, 500);
        coded.codec = "av01".into();
        assert_eq!(
            grouped(Kind::Video, &[video("x-hd", 720, 2000), coded]).len(),
            2,
            "another codec"
        );
    }

    #[test]
    fn what_the_publisher_says_holds_whatever_they_are_called_but_for_the_language() {
        let mut list = [
            video("a", 720, 2000),
            video("b", 360, 500),
            video("a-hd", 1080, 4000),
        ];
        list[0].group = Some("picture".into());
        list[1].group = Some("picture".into());
        list[1].codec = "av01".into();
        assert_eq!(grouped(Kind::Video, &list), [vec!["a", "b"], vec!["a-hd"]]);
        list[1].language = Some("de".into());
        assert_eq!(grouped(Kind::Video, &list).len(), 3);
    }

    #[test]
    fn languages_and_commentaries_are_for_a_person_to_choose() {
        let sound = |name: &str, language: Option<&str>, bitrate| Traits {
            name: name.into(),
            codec: "opus".into(),
            language: language.map(str::to_owned),
            audio: Some((48_000, 2)),
            bitrate: Some(bitrate),
            ..Traits::default()
        };
        let list = [
            sound("audio-128k", Some("en"), 128_000),
            sound("audio-64k", Some("en"), 64_000),
            sound("audio-96k", Some("de"), 96_000),
            sound("commentary", Some("en"), 32_000),
        ];
        let expected = [
            vec!["audio-128k", "audio-64k"],
            vec!["audio-96k"],
            vec!["commentary"],
        ];
        assert_eq!(grouped(Kind::Audio, &list), expected);
        assert_eq!(grouped(Kind::Text, &list).len(), 4);
        assert!(list[0].speaks("en-GB") && !list[0].speaks("de") && !list[0].speaks(""));
    }
}
