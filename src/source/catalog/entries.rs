// SPDX-License-Identifier: MIT
//! What a catalog says, as far as it can be used: a pure function of its JSON.

use std::{collections::BTreeSet, sync::Arc};

use moq_net::{Path, PathOwned};
use serde_json::Value;

use super::{
    format::{ListedTrack, Track},
    hang, msf,
};
use crate::{
    media::{
        catalog::{
            alternatives::Traits,
            data::{GROUPS, LANGUAGES, LINEAGE},
            description::{Description, Orientation},
            name::{self, Names},
            reconcile,
        },
        format::{
            caps::{self, Rendition},
            codec::Kind,
        },
        time::playout::MAX_DELAY,
    },
    source::track::FrameReader,
};

/// No more renditions of one broadcast are used (as hang's own readers do).
const MAX_RENDITIONS: usize = 64;
/// No more entries of one section of a catalog are looked at, whatever is wrong with them: it takes time from all that
/// shares the runtime.
pub(crate) const MAX_ENTRIES: usize = 512;
/// The renditions of one catalog may refer to this many other broadcasts.
const MAX_EXTERNAL: usize = 16;
/// What a catalog says of itself is repeated up to this length, in characters.
const MAX_QUOTE: usize = 200;

/// A catalog entry that can be used.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Name of the track.
    pub(crate) name: String,
    pub(crate) rendition: Arc<Rendition>,
    pub(crate) frames: Arc<FrameReader>,
    pub(crate) caps: gst::Caps,
    pub(crate) tags: gst::TagList,
    /// The other broadcast that has the track, if it is not the one of the catalog.
    pub(crate) external: Option<PathOwned>,
    /// The name of the first of the tracks that it follows, if the publisher says so.
    pub(crate) lineage: Option<String>,
    /// What tells it from its alternatives.
    pub(crate) traits: Traits,
}

impl reconcile::Rendition for Entry {
    type Kind = Kind;

    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> Kind {
        self.rendition.kind()
    }

    fn lineage(&self) -> &str {
        self.lineage.as_deref().unwrap_or(&self.name)
    }
}

/// What can be used of a catalog of the broadcast `own`, and why the rest cannot.
pub(crate) fn read(track: Track, own: &Path<'_>, catalog: &Value) -> (Vec<Entry>, Vec<String>) {
    let mut list = EntryList {
        lineage: catalog[LINEAGE].as_object(),
        groups: catalog[GROUPS].as_object(),
        languages: catalog[LANGUAGES].as_object(),
        orientation: Orientation::of_section(&catalog[Kind::Video.name()]),
        ..EntryList::default()
    };
    match track {
        Track::Hang | Track::HangZ => {
            list.fill(own, hang::renditions(catalog, MAX_ENTRIES));
            // Where as many are used as can be, that is said already.
            if list.entries.len() < MAX_RENDITIONS {
                list.report_left_out(hang::left_out(catalog, MAX_ENTRIES));
            }
        }
        Track::Msf => {
            list.problems.extend(msf::limits(catalog));
            list.fill(own, msf::renditions(catalog, MAX_ENTRIES));
            list.report_left_out(msf::left_out(catalog, MAX_ENTRIES));
        }
    }
    (list.entries, list.problems)
}

#[derive(Default)]
struct EntryList<'c> {
    /// What the catalog says of tracks that follow others.
    lineage: Option<&'c serde_json::Map<String, Value>>,
    /// Which tracks the catalog says are one picture or one sound.
    groups: Option<&'c serde_json::Map<String, Value>>,
    /// The languages that the catalog says beside its entries.
    languages: Option<&'c serde_json::Map<String, Value>>,
    /// What the catalog says of all its video.
    orientation: Orientation,
    entries: Vec<Entry>,
    problems: Vec<String>,
    external: BTreeSet<PathOwned>,
}

impl EntryList<'_> {
    /// Reports first that so many entries are not looked at, if there are any.
    fn report_left_out(&mut self, left_out: usize) {
        if left_out > 0 {
            let problem = format!(
                "Only {MAX_ENTRIES} tracks of each section of the catalog are read: {left_out} more are left out"
            );
            self.problems.insert(0, problem);
        }
    }

    fn fill<'a>(&mut self, own: &Path<'_>, listed: impl Iterator<Item = ListedTrack<'a>>) {
        for track in listed {
            if self.entries.len() == MAX_RENDITIONS {
                let problem = format!("Only {MAX_RENDITIONS} renditions are used");
                self.problems.push(problem);
                return;
            }
            let name = track.name;
            let said = || self.languages?.get(name)?.as_str();
            let (language, group) = (track.language.or_else(said), track.group);
            let entry = track
                .rendition
                .and_then(|rendition| self.entry(own, name, rendition, language));
            let entry = entry.map(|mut entry| {
                entry.traits = self.traits(&entry, language, group);
                entry
            });
            match entry {
                Ok(entry) => self.entries.push(entry),
                Err(reason) => self.problems.push(format!(
                    "The track \"{}\" is left out: {}",
                    quote(name),
                    quote(&reason)
                )),
            }
        }
    }

    fn entry(
        &mut self,
        own: &Path<'_>,
        name: &str,
        mut rendition: Rendition,
        language: Option<&str>,
    ) -> Result<Entry, String> {
        if let Some(reason) = Names::refuse(name) {
            return Err(format!("its name {reason}"));
        }
        let mut listed = self.entries.iter();
        if listed.any(|entry| entry.name == name && entry.rendition.kind() == rendition.kind()) {
            return Err("another one has the same name".into());
        }
        if rendition.delay() > Some(MAX_DELAY.into()) {
            rendition.set_delay(None);
        }
        let external = external_path(own, &rendition)?;
        self.check_external(external.as_ref())?;
        let frames = FrameReader::open(&mut rendition).map_err(|err| err.to_string())?;
        let caps = caps::from_rendition(&rendition).map_err(|err| err.to_string())?;
        let mut description = Description::of_rendition(&rendition, self.orientation);
        // Of speech, too, for which hang has no field of its own.
        description.language = description.language.or(language.map(str::to_owned));
        let lineage = self.lineage.and_then(|lineage| lineage.get(name)?.as_str());
        let entry = Entry {
            name: name.to_owned(),
            frames: Arc::new(frames),
            tags: description.tags(&caps, rendition.kind()),
            rendition: Arc::new(rendition),
            caps,
            external,
            lineage: lineage.map(str::to_owned),
            traits: Traits::default(),
        };
        self.external.extend(entry.external.clone());
        Ok(entry)
    }

    /// What tells `entry` from its alternatives; `group` is what the entry itself says of them.
    fn traits(&self, entry: &Entry, language: Option<&str>, group: Option<String>) -> Traits {
        let rendition = &*entry.rendition;
        let said = |name: &str| self.groups?.get(name)?.as_str().map(str::to_owned);
        let (size, audio) = match rendition {
            Rendition::Video(video) => (video.coded_width.zip(video.coded_height), None),
            Rendition::Audio(audio) => (None, Some((audio.sample_rate, audio.channel_count))),
            Rendition::Text(_) | Rendition::Data(_) => (None, None),
        };
        let codec = rendition.codec();
        Traits {
            name: entry.name.clone(),
            label: rendition.label().map(str::to_owned),
            group: said(&entry.name)
                .or_else(|| said(entry.lineage.as_deref()?))
                .or(group),
            language: language.map(str::to_ascii_lowercase),
            codec: codec.split('.').next().unwrap_or_default().to_owned(),
            size,
            audio,
            bitrate: rendition.bitrate().filter(|rate| *rate > 0),
        }
    }

    /// Refuses a track of one more other broadcast than are used.
    fn check_external(&self, path: Option<&PathOwned>) -> Result<(), String> {
        let is_new = path.is_some_and(|path| !self.external.contains(path));
        if is_new && self.external.len() == MAX_EXTERNAL {
            return Err(format!(
                "tracks of {MAX_EXTERNAL} other broadcasts are used, and it is in one more"
            ));
        }
        Ok(())
    }
}

/// The other broadcast that has the track; a reference of a broadcast to itself is none.
fn external_path(own: &Path<'_>, rendition: &Rendition) -> Result<Option<PathOwned>, String> {
    let Some(reference) = rendition.external_broadcast() else {
        return Ok(None);
    };
    let path = own
        .try_resolve(reference)
        .filter(|path| name::fault(path.as_str()).is_none())
        .ok_or_else(|| format!("it refers to \"{reference}\", which is no broadcast"))?;
    Ok((path != *own).then_some(path))
}

/// Text of the catalog as it can be shown to a person.
fn quote(text: &str) -> String {
    let mut shown: String = text.chars().take(MAX_QUOTE).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown.escape_debug().to_string()
}
