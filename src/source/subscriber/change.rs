// SPDX-License-Identifier: MIT
//! The change of a pad to another rendition: which one is to follow, and the reader that reads it meanwhile.

use std::{sync::Arc, time::Duration};

use gst::glib;
use tokio::{sync::oneshot, task::JoinSet, time::Instant};

use super::{
    config::{Config, SuggestedChange},
    ladder::Ladder,
    readers::{Order, ReaderEnd, ReaderSource, Readers, RunningReader},
};
use crate::{
    media::{
        control::rendition::{Decision, Reason},
        format::codec::Kind,
    },
    source::{CAT, catalog::Entry, message::Opening, playback::Playback, track::Urgency},
};

/// How long the application may think about a change: the picture waits for it.
const MAX_THOUGHT: Duration = Duration::from_millis(200);

/// A rendition that is to be given.
pub(super) struct Wanted {
    pub(super) entry: Entry,
    /// Of another picture or sound.
    pub(super) stream: Option<gst::Stream>,
    pub(super) reason: Reason,
}

/// A rendition that is read beside the one that the pad gives, and follows it.
pub(super) struct Candidate {
    wanted: Wanted,
    /// It follows only if it comes in time.
    trial: bool,
    reader: RunningReader,
}

impl Candidate {
    pub(super) fn is_trial(&self) -> bool {
        self.trial
    }

    pub(super) fn entry(&self) -> &Entry {
        &self.wanted.entry
    }

    /// It gives the frames of the pad now.
    pub(super) fn into_current(self) -> (Wanted, RunningReader) {
        self.reader.set_urgency(Urgency::Normal);
        (self.wanted, self.reader)
    }
}

/// What the choice of a rendition comes to.
pub(super) enum Chosen {
    /// It is on its way already.
    Underway,
    /// It is the one that the pad gives, as the catalog lists it now.
    Given(Entry),
    /// It is another one, which [`RenditionChange::want`] takes.
    Another(Entry, Reason),
}

/// What of a change the application is told: the rendition that the pad is to give.
pub(super) type Target = Option<Entry>;

/// A change that the application is asked about.
struct Question {
    decision: Decision,
    /// The places of the one that is given, and of the proposed one.
    from: usize,
    to: usize,
    reason: Reason,
    answer: oneshot::Receiver<Option<String>>,
    until: Instant,
}

/// Which rendition the pad is to give instead of its own, and how far that is.
pub(super) struct RenditionChange {
    config: Arc<Config>,
    /// Name of the pad.
    pad: String,
    /// What it is called in the log.
    log: glib::GString,
    /// What the pad may give instead; without one it gives what the catalog lists for it alone.
    ladder: Option<Ladder>,
    candidate: Option<Candidate>,
    wanted: Option<Wanted>,
    question: Option<Question>,
    /// Times of readings count from here.
    epoch: Instant,
    /// See [`RunningReader::progress`].
    least: i64,
}

impl RenditionChange {
    pub(super) fn new(config: Arc<Config>, pad: String) -> Self {
        Self {
            log: glib::gformat!("{}:{pad}", config.name),
            config,
            pad,
            ladder: None,
            candidate: None,
            wanted: None,
            question: None,
            epoch: Instant::now(),
            least: 0,
        }
    }

    pub(super) fn ladder(&mut self) -> Option<&mut Ladder> {
        self.ladder.as_mut()
    }

    /// The ladder, to be given back to [`Self::choose`].
    pub(super) fn take_ladder(&mut self) -> Option<Ladder> {
        self.ladder.take()
    }

    pub(super) fn has_ladder(&self) -> bool {
        self.ladder.is_some()
    }

    /// Whether the network has a say.
    pub(super) fn is_adaptive(&self) -> bool {
        self.ladder.as_ref().is_some_and(Ladder::is_adaptive)
    }

    /// The stream of what is to follow, if it is another one.
    pub(super) fn stream(&self) -> Option<&gst::Stream> {
        let of_wanted = self
            .wanted
            .as_ref()
            .and_then(|wanted| wanted.stream.as_ref());
        of_wanted.or_else(|| self.following()?.wanted.stream.as_ref())
    }

    /// What is read to follow in any case.
    pub(super) fn following(&self) -> Option<&Candidate> {
        self.candidate.as_ref().filter(|candidate| !candidate.trial)
    }

    pub(super) fn has_candidate(&self) -> bool {
        self.candidate.is_some()
    }

    /// Of the renditions of `ladder` the pad gives one; it has `listed` from the catalog, and reads it with
    /// `current`.
    pub(super) fn choose(
        &mut self,
        ladder: Ladder,
        listed: &Entry,
        current: Option<&RunningReader>,
        readers: &Readers,
    ) -> Chosen {
        let wanted = self.wanted.as_ref().map(|wanted| &wanted.entry);
        let shown = wanted.or_else(|| self.following().map(Candidate::entry));
        let shown = shown.unwrap_or(listed).clone();
        self.question = None;
        let ladder = self.ladder.insert(ladder);
        let entry = ladder.target(Some(&shown));
        let is_listed = ladder.place_of(&shown).is_some();
        if let Some(candidate) = &mut self.candidate {
            if !candidate.trial && candidate.wanted.entry.name == entry.name {
                candidate.wanted.entry = entry;
                return Chosen::Underway;
            }
            let place = ladder.place_of(&candidate.wanted.entry);
            if !candidate.trial || place.is_none() || !ladder.is_adaptive() {
                self.abandon(current, readers);
            }
        }
        self.wanted = None;
        if Ladder::is_same(listed, &entry) {
            return Chosen::Given(entry);
        }
        let reason = match is_listed {
            true => Reason::Selected,
            false => Reason::Catalog,
        };
        Chosen::Another(entry, reason)
    }

    /// This one is to be given.
    pub(super) fn want(&mut self, wanted: Wanted) {
        self.wanted = Some(wanted);
    }

    /// What is to be given, and is not read yet.
    pub(super) fn take_wanted(&mut self) -> Option<Wanted> {
        self.wanted.take()
    }

    /// What the network says of the rendition `entry`, which `current` reads.
    pub(super) fn decide(
        &mut self,
        entry: &Entry,
        current: &RunningReader,
        playback: &Playback,
    ) -> Decision {
        let Some(ladder) = self.ladder.as_mut().filter(|ladder| ladder.is_adaptive()) else {
            return Decision::Stay;
        };
        let Some(place) = ladder.place_of(entry) else {
            return Decision::Stay;
        };
        let current = (
            place,
            current.progress(self.epoch, playback, &mut self.least),
        );
        let other = self.candidate.as_ref().map(|candidate| {
            let progress = candidate
                .reader
                .progress(self.epoch, playback, &mut self.least);
            Some((ladder.place_of(candidate.entry())?, progress))
        });
        if matches!(other, Some(None)) || self.wanted.is_some() {
            return Decision::Stay;
        }
        // What comes at best has this much time until it is shown.
        let latency =
            Duration::from(playback.latency()) + Duration::from_nanos(self.least.unsigned_abs());
        let (now, other) = (self.epoch.elapsed(), other.flatten());
        if let Some(question) = self.question.take() {
            return self.hear(question, now);
        }
        let decision = ladder.decide(now, latency, current, other);
        if decision != Decision::Stay {
            gst::debug!(
                CAT,
                id = &self.log,
                "{decision:?} at {current:?}, {other:?}"
            );
        }
        let (to, reason) = match (decision, other) {
            (Decision::Switch(to, reason), _) => (to, reason),
            (Decision::Promote, Some((to, _))) => (to, Reason::Room),
            _ => return decision,
        };
        let answer = (self.config.ask_rendition)(SuggestedChange {
            pad: self.pad.clone(),
            current: entry.name.clone(),
            proposed: ladder.entry(to).name,
            reason,
        });
        let Some(answer) = answer else {
            return decision;
        };
        self.question = Some(Question {
            decision,
            from: place,
            to,
            reason,
            answer,
            until: Instant::now() + MAX_THOUGHT,
        });
        Decision::Stay
    }

    /// What becomes of a change that the application was asked about; without an answer in time it is made.
    fn hear(&mut self, mut question: Question, now: Duration) -> Decision {
        let name = match question.answer.try_recv() {
            Err(oneshot::error::TryRecvError::Empty) if Instant::now() < question.until => {
                self.question = Some(question);
                return Decision::Stay;
            }
            answer => answer.ok().flatten(),
        };
        let Question {
            decision,
            from,
            to,
            reason,
            ..
        } = question;
        let (Some(name), Some(ladder)) = (name, &mut self.ladder) else {
            return decision;
        };
        match ladder.place_named(&name) {
            Some(place) if place == from => {
                ladder.refuse(now);
                match self.candidate {
                    Some(_) => Decision::Abandon,
                    None => Decision::Stay,
                }
            }
            Some(place) if place != to => Decision::Switch(place, reason),
            Some(_) => decision,
            None => {
                gst::warning!(
                    CAT,
                    id = &self.log,
                    "A handler of choose-rendition names \"{name}\", which is none of the pad's renditions"
                );
                decision
            }
        }
    }

    /// Does what was decided; what is told of it is the target of the pad, which gives `entry` by `current`.
    pub(super) fn carry_out(
        &mut self,
        decision: Decision,
        entry: &Entry,
        current: Option<&RunningReader>,
        readers: &mut Readers,
        source: ReaderSource<'_>,
        tasks: &mut JoinSet<ReaderEnd>,
    ) -> Target {
        let at = |place| self.ladder.as_ref().map(|ladder| ladder.entry(place));
        let wanted = |entry: &Entry, reason| Wanted {
            entry: entry.clone(),
            stream: None,
            reason,
        };
        match decision {
            Decision::Stay => None,
            Decision::Switch(place, reason) => {
                let entry = at(place)?;
                self.abandon(current, readers);
                if let Some(reader) = current {
                    // What still comes of the one before is of little use.
                    reader.set_urgency(Urgency::Trial);
                }
                self.follow(wanted(&entry, reason), false, readers, source, tasks);
                Some(entry)
            }
            Decision::Try(place) => {
                let entry = at(place)?;
                self.follow(wanted(&entry, Reason::Room), true, readers, source, tasks);
                None
            }
            Decision::Promote => {
                readers.handover().promote();
                let candidate = self.candidate.as_mut()?;
                candidate.trial = false;
                candidate.reader.set_urgency(Urgency::Normal);
                Some(candidate.entry().clone())
            }
            Decision::Abandon => {
                self.abandon(current, readers);
                Some(entry.clone())
            }
        }
    }

    /// Reads what is `wanted` beside the rendition that the pad gives, to follow it.
    pub(super) fn follow(
        &mut self,
        wanted: Wanted,
        trial: bool,
        readers: &mut Readers,
        source: ReaderSource<'_>,
        tasks: &mut JoinSet<ReaderEnd>,
    ) {
        let entry = &wanted.entry;
        let opening = Opening {
            stream: wanted.stream.clone(),
            caps: Some(entry.caps.clone()),
            tags: Some(entry.tags.clone()),
            start: None,
            offset: None,
        };
        let urgency = match (trial, wanted.reason) {
            (true, _) => Urgency::Trial,
            (false, Reason::Slow | Reason::Silent) => Urgency::Urgent,
            (false, _) => Urgency::Normal,
        };
        let is_urgent = urgency == Urgency::Urgent && entry.rendition.kind() == Kind::Video;
        let upcoming = readers.upcoming();
        readers.handover().expect(upcoming, trial, is_urgent);
        let order = Order {
            entry,
            opening,
            urgency,
            from_start: false,
        };
        let reader = readers.start(order, source, tasks);
        self.candidate = Some(Candidate {
            wanted,
            trial,
            reader,
        });
    }

    /// The candidate, if the reader of this number is its own: it gives the frames of the pad now.
    pub(super) fn on_switched(&mut self, number: u64) -> Option<Candidate> {
        let candidate = self.take_of(number)?;
        if let Some(ladder) = &mut self.ladder {
            ladder.switched();
        }
        Some(candidate)
    }

    /// The candidate, if the reader of this number, which has ended, is its own: it is one no more.
    pub(super) fn on_end(
        &mut self,
        number: u64,
        current: Option<&RunningReader>,
        readers: &Readers,
    ) -> Option<Candidate> {
        let candidate = self.take_of(number)?;
        self.abandon(current, readers);
        Some(candidate)
    }

    fn take_of(&mut self, number: u64) -> Option<Candidate> {
        self.candidate
            .take_if(|candidate| candidate.reader.generation() == number)
    }

    /// Nothing follows what `current` reads.
    pub(super) fn abandon(&mut self, current: Option<&RunningReader>, readers: &Readers) {
        self.candidate = None;
        self.question = None;
        readers.handover().abandon();
        if let Some(reader) = current {
            reader.set_urgency(Urgency::Normal);
        }
    }

    /// What was to follow in any case, which it does no more.
    pub(super) fn settle(&mut self, readers: &Readers) -> Option<Wanted> {
        let candidate = self.candidate.take().filter(|candidate| !candidate.trial);
        self.question = None;
        // What is read next may be placed by another edge.
        self.least = 0;
        readers.handover().abandon();
        self.wanted
            .take()
            .or(candidate.map(|candidate| candidate.wanted))
    }
}
