// SPDX-License-Identifier: MIT
//! Which renditions of a broadcast are given: what people wish, and what belongs together.

use std::collections::BTreeSet;

use gst::glib;

use super::catalog::Entry;
use crate::media::{
    catalog::{
        alternatives::{self, Traits},
        reconcile::Rendition as _,
    },
    format::codec::Kind,
};

/// What pads there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[repr(u32)]
#[enum_type(name = "GstMoqRenditionPolicy")]
pub enum RenditionPolicy {
    /// A pad for each rendition.
    #[default]
    #[enum_value(name = "A pad for each rendition", nick = "all")]
    All,
    /// A pad for each kind, with the best rendition that is allowed.
    #[enum_value(
        name = "A pad for each kind, with the best rendition that is allowed",
        nick = "best"
    )]
    Best,
    /// A pad for each kind, with the best rendition that the network carries.
    #[enum_value(
        name = "A pad for each kind, with the best rendition that the network carries",
        nick = "adaptive"
    )]
    Adaptive,
}

/// What the application wishes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wishes {
    /// The renditions of each kind by name or label.
    pub(crate) video: Option<String>,
    pub(crate) audio: Option<String>,
    pub(crate) text: Option<String>,
    /// In pixels, 0 is any.
    pub(crate) max_width: u32,
    pub(crate) max_height: u32,
    /// In bits per second, 0 is any.
    pub(crate) max_bitrate: u32,
    /// The first that there is counts, separated by commas.
    pub(crate) languages: Option<String>,
}

impl Wishes {
    fn named(&self, kind: Kind) -> Option<&str> {
        let named = match kind {
            Kind::Video => &self.video,
            Kind::Audio => &self.audio,
            Kind::Text => &self.text,
            Kind::Data => return None,
        };
        named.as_deref().filter(|name| !name.is_empty())
    }

    fn languages(&self) -> impl Iterator<Item = &str> {
        let languages = self.languages.as_deref().unwrap_or_default();
        languages.split(',').map(str::trim)
    }

    fn allows(&self, traits: &Traits) -> bool {
        let (width, height) = traits.size.unwrap_or_default();
        let fits = |value: u64, most: u32| most == 0 || value <= u64::from(most);
        fits(width.into(), self.max_width)
            && fits(height.into(), self.max_height)
            && fits(traits.rate(), self.max_bitrate)
    }
}

/// A stream as a person tells it from others: its kind, and the first of the tracks that follow each other.
pub(crate) type StreamKey = (Kind, String);

/// The stream of an entry.
pub(crate) fn key_of(entry: &Entry) -> StreamKey {
    (entry.kind(), entry.lineage().to_owned())
}

/// What one pad is to give.
#[derive(Debug, Clone)]
pub(crate) struct Choice {
    /// One picture or sound in all qualities that are allowed, the best first; never empty.
    pub(crate) entries: Vec<Entry>,
    /// A person wants just this one of them.
    pub(crate) held: Option<usize>,
    /// A person wants to begin with this one.
    pub(crate) picked: Option<usize>,
}

impl Choice {
    /// The place of the rendition that follows `entry`, or is the same.
    pub(crate) fn place_of(&self, entry: &Entry) -> Option<usize> {
        let same = |one: &Entry| one.name == entry.name;
        let follows = |one: &Entry| one.lineage() == entry.lineage();
        let entries = || self.entries.iter();
        entries()
            .position(same)
            .or_else(|| entries().position(follows))
    }
}

/// What is chosen of a broadcast.
#[derive(Debug)]
pub(crate) struct Selection {
    policy: RenditionPolicy,
    wishes: Wishes,
    entries: Vec<Entry>,
    /// What SELECT_STREAMS asked for.
    streams: Option<Vec<StreamKey>>,
    /// Wishes that nothing fulfils, each reported once.
    reported: BTreeSet<(Kind, String)>,
}

impl Selection {
    pub(crate) fn new(policy: RenditionPolicy, wishes: Wishes) -> Self {
        Self {
            policy,
            wishes,
            entries: Vec::new(),
            streams: None,
            reported: BTreeSet::new(),
        }
    }

    pub(crate) fn policy(&self) -> RenditionPolicy {
        self.policy
    }

    /// The catalog lists these.
    pub(crate) fn list(&mut self, entries: &[Entry]) {
        self.entries = entries.to_vec();
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The application wishes something else; what was selected stream by stream no longer holds if that
    /// is of renditions or languages.
    pub(crate) fn wish(&mut self, wishes: Wishes) {
        let names = |wishes: &Wishes| {
            let Wishes {
                video,
                audio,
                text,
                languages,
                ..
            } = wishes.clone();
            [video, audio, text, languages]
        };
        if names(&wishes) != names(&self.wishes) {
            self.streams = None;
        }
        self.wishes = wishes;
    }

    /// Just these streams are wanted.
    pub(crate) fn select(&mut self, streams: Vec<StreamKey>) {
        self.streams = Some(streams);
    }

    /// What the pads are to give, and of which wishes the application is to be warned.
    pub(crate) fn choices(&mut self) -> (Vec<Choice>, Vec<String>) {
        let mut choices = Vec::new();
        let mut warnings = Vec::new();
        for kind in Kind::ALL {
            let of_kind: Vec<&Entry> = self
                .entries
                .iter()
                .filter(|entry| entry.kind() == kind)
                .collect();
            if of_kind.is_empty() {
                continue;
            }
            let traits: Vec<&Traits> = of_kind.iter().map(|entry| &entry.traits).collect();
            let groups = alternatives::groups(kind, &traits);
            let wish = self.wishes.named(kind);
            let is_wished = |place: &usize| wish.is_some_and(|wish| traits[*place].is_called(wish));
            let wished = groups.iter().find(|group| group.iter().any(is_wished));
            if let (Some(wish), None) = (wish, wished)
                && self.reported.insert((kind, wish.to_owned()))
            {
                warnings.push(format!(
                    "There is no rendition \"{wish}\" of {}: the policy decides",
                    kind.name()
                ));
            }
            let is_selected = |place: &usize| self.is_selected(of_kind[*place]);
            let wanted: Vec<&Vec<usize>> = match &self.streams {
                Some(_) => {
                    let selected = |group: &&Vec<usize>| group.iter().any(is_selected);
                    groups.iter().filter(selected).collect()
                }
                None if kind == Kind::Data => groups.iter().collect(),
                None => {
                    let preferred = || self.preferred(kind, &groups, &traits);
                    let one = wished.or_else(preferred).or(groups.first());
                    one.into_iter().collect()
                }
            };
            for group in wanted {
                let allowed =
                    |place: &&usize| is_wished(place) || self.wishes.allows(traits[**place]);
                let mut places: Vec<usize> = group.iter().filter(allowed).copied().collect();
                if places.is_empty() {
                    // The least is the nearest to what is allowed.
                    places.extend(group.last());
                }
                let entries: Vec<Entry> =
                    places.iter().map(|place| of_kind[*place].clone()).collect();
                choices.push(Choice {
                    entries,
                    held: places.iter().position(is_wished),
                    picked: places.iter().position(is_selected),
                });
            }
        }
        (choices, warnings)
    }

    /// Whether SELECT_STREAMS asked for it.
    fn is_selected(&self, entry: &Entry) -> bool {
        let streams = self.streams.as_ref();
        streams.is_some_and(|streams| streams.contains(&key_of(entry)))
    }

    /// The first of the groups of this kind that has the language that is liked best.
    fn preferred<'a>(
        &self,
        kind: Kind,
        groups: &'a [Vec<usize>],
        traits: &[&Traits],
    ) -> Option<&'a Vec<usize>> {
        if !matches!(kind, Kind::Audio | Kind::Text) {
            return None;
        }
        let speaks = |language: &str| {
            groups
                .iter()
                .find(|group| traits[group[0]].speaks(language))
        };
        self.wishes.languages().find_map(speaks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::catalog;

    fn entries() -> Vec<Entry> {
        let video = |height: u32, bitrate: u64| {
            serde_json::json!({"codec": "vp8", "container": {"kind": "legacy"}, "bitrate": bitrate,
                "codedWidth": height * 16 / 9, "codedHeight": height})
        };
        let sound = |language: &str| {
            serde_json::json!({"codec": "opus", "sampleRate": 48_000, "numberOfChannels": 2,
                "container": {"kind": "legacy"}, "lang": language, "label": format!("in {language}")})
        };
        catalog::entries_of(&serde_json::json!({
            "video": {"renditions": {
                "v-hd": video(720, 2_000_000), "v-sd": video(360, 500_000), "other": video(720, 1)}},
            "audio": {"renditions": {"one": sound("en"), "two": sound("de-AT")}},
        }))
    }

    /// The names of each pad's renditions, and which one is held.
    fn chosen(selection: &mut Selection) -> Vec<(Vec<String>, Option<usize>)> {
        let (choices, _) = selection.choices();
        let names = |choice: &Choice| {
            choice
                .entries
                .iter()
                .map(|entry| entry.name.clone())
                .collect()
        };
        choices
            .iter()
            .map(|choice| (names(choice), choice.held))
            .collect()
    }

    fn selection(wishes: Wishes) -> Selection {
        gst::init().expect("GStreamer initializes");
        let mut selection = Selection::new(RenditionPolicy::Adaptive, wishes);
        selection.list(&entries());
        selection
    }

    fn pads(pads: &[(&[&str], Option<usize>)]) -> Vec<(Vec<String>, Option<usize>)> {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        pads.iter()
            .map(|(list, held)| (names(list), *held))
            .collect()
    }

    #[test]
    fn one_of_each_kind_is_given_and_people_choose_which() {
        let mut one = selection(Wishes::default());
        // The catalog lists them by name.
        let expected = pads(&[(&["other"], None), (&["one"], None)]);
        assert_eq!(chosen(&mut one), expected);
        let mut wishes = Wishes {
            video: Some("v-sd".into()),
            languages: Some("fr, de".into()),
            ..Wishes::default()
        };
        one.wish(wishes.clone());
        assert_eq!(
            chosen(&mut one),
            pads(&[(&["v-hd", "v-sd"], Some(1)), (&["two"], None)])
        );
        wishes.audio = Some("in en".into());
        one.wish(wishes);
        assert_eq!(chosen(&mut one)[1], (vec!["one".to_owned()], Some(0)));
    }

    #[test]
    fn limits_leave_the_least_rendition_at_worst() {
        let wishes = |height, bitrate| Wishes {
            video: None,
            max_height: height,
            max_bitrate: bitrate,
            ..Wishes::default()
        };
        for (height, bitrate, expected) in
            [(480, 0, "v-sd"), (0, 600_000, "v-sd"), (100, 0, "v-sd")]
        {
            let mut selection = selection(wishes(height, bitrate));
            selection.select(vec![(Kind::Video, "v-hd".into())]);
            assert_eq!(
                chosen(&mut selection),
                pads(&[(&[expected], None)]),
                "{height} {bitrate}"
            );
        }
    }

    #[test]
    fn selected_streams_are_given_and_no_others() {
        let mut selection = selection(Wishes::default());
        let both = ["one", "two"].map(|name| (Kind::Audio, name.to_owned()));
        selection.select(both.to_vec());
        assert_eq!(
            chosen(&mut selection),
            pads(&[(&["one"], None), (&["two"], None)])
        );
        selection.wish(Wishes {
            audio: Some("two".into()),
            ..Wishes::default()
        });
        assert_eq!(chosen(&mut selection).len(), 2, "a new wish begins anew");
    }

    #[test]
    fn what_does_not_exist_is_reported_once() {
        let mut selection = selection(Wishes {
            video: Some("none".into()),
            ..Wishes::default()
        });
        let (choices, warnings) = selection.choices();
        assert_eq!((choices.len(), warnings.len()), (2, 1), "{warnings:?}");
        assert!(selection.choices().1.is_empty());
    }
}
