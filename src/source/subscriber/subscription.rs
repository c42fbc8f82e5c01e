// SPDX-License-Identifier: MIT
//! The subscriber's side of a pad: the track that the pad gives, and who reads it.

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use gst::{ClockTime, prelude::*};
use tokio::{task::JoinSet, time::Instant};

use super::{
    change::{Candidate, Chosen, RenditionChange, Wanted},
    config::Config,
    health::Health,
    ladder::Ladder,
    outbox::PadOutbox,
    readers::{Order, ReaderEnd, ReaderSource, Readers, RunningReader},
    warnings::Warnings,
};
use crate::{
    element::{budget::Budget, pipeline_clock::PipelineClock},
    media::{
        control::rendition::Reason,
        format::{codec::Kind, duration},
    },
    net::backoff::Backoff,
    source::{
        CAT, MoqSrcPad,
        catalog::Entry,
        message::{
            AppEvent, Flush, MAX_POSITION_AHEAD, MAX_QUEUE_TIME, Message, Opening, PadIndex,
            TrackEnd, TrackProblem,
        },
        pad,
        selection::RenditionPolicy,
        stats::Counters,
        track::Urgency,
    },
};

/// The pauses after a reader that ended where the track should go on.
const MIN_RETRY_INTERVAL: Duration = Duration::from_millis(100);
const MAX_RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// Whether downstream takes what the pad gives.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Demand {
    Unlinked,
    /// It has refused a buffer, and has not asked again.
    Refused,
    Wanted,
}

/// How far the pad's stream is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The catalog lists the track.
    Listed,
    /// The catalog lists it, but EOS was sent, or downstream takes nothing more.
    Closed,
    /// The catalog does not list it any more: what is under way is still read.
    Delisted,
    /// As `Closed`, and not listed: the stream begins anew when the track is listed again.
    Ended,
}

impl Stage {
    fn is_listed(self) -> bool {
        matches!(self, Self::Listed | Self::Closed)
    }

    fn is_open(self) -> bool {
        matches!(self, Self::Listed | Self::Delisted)
    }

    fn delisted(self) -> Self {
        match self.is_open() {
            true => Self::Delisted,
            false => Self::Ended,
        }
    }

    fn closed(self) -> Self {
        match self.is_listed() {
            true => Self::Closed,
            false => Self::Ended,
        }
    }
}

/// Who reads the track.
enum Reading {
    /// Nobody, and nobody will before this time.
    Idle(Instant),
    /// Nobody yet. It continues the track before it: nothing of its beginning is left out.
    Continuing,
    Running(RunningReader),
    /// Only the tail is still read, then the track that follows.
    Retired(RunningReader, Option<Box<Entry>>),
    /// The publisher finished the track: reading it again would repeat its last group.
    Finished,
}

impl Reading {
    fn idle() -> Self {
        Self::Idle(Instant::now())
    }

    fn reader(&self) -> Option<&RunningReader> {
        match self {
            Self::Running(reader) | Self::Retired(reader, _) => Some(reader),
            Self::Idle(_) | Self::Continuing | Self::Finished => None,
        }
    }
}

/// The subscriber's side of a pad.
pub(super) struct Subscription {
    config: Arc<Config>,
    /// Name of the pad.
    name: String,
    entry: Entry,
    stream: gst::Stream,
    outbox: PadOutbox,
    budget: Arc<Budget>,
    counters: Arc<Counters>,
    demand: Demand,
    /// The newest wish of downstream; a refusal of an older one came too late.
    wish: u32,
    stage: Stage,
    reading: Reading,
    readers: Readers,
    /// The broadcast has ended: the pad does with the end of the track.
    recorded: bool,
    backoff: Backoff,
    health: Health,
    change: RenditionChange,
}

impl Subscription {
    /// Both sides of a new pad.
    pub(super) fn new(
        config: Arc<Config>,
        index: PadIndex,
        name: String,
        entry: Entry,
        stream: gst::Stream,
        group: gst::GroupId,
    ) -> (Self, pad::Config) {
        let (messages, receiver) = mpsc::channel();
        // The other half is for what the library keeps.
        let max_bytes = (config.endpoint.cache().bytes / 2).max(1);
        let budget = Budget::new(max_bytes, MAX_QUEUE_TIME);
        let counters = Arc::<Counters>::default();
        let readers = Readers::new(
            config.clone(),
            index,
            name.clone(),
            messages.clone(),
            budget.clone(),
            counters.clone(),
        );
        let change = RenditionChange::new(config.clone(), name.clone());
        let subscription = Self {
            name,
            entry,
            stream,
            outbox: PadOutbox::new(messages),
            budget,
            counters,
            demand: Demand::Unlinked,
            wish: 0,
            stage: Stage::Listed,
            reading: Reading::idle(),
            readers,
            recorded: false,
            backoff: Backoff::new(MIN_RETRY_INTERVAL, MAX_RETRY_INTERVAL),
            health: Health::default(),
            change,
            config,
        };
        let this = &subscription;
        let pad = pad::Config {
            index,
            kind: this.entry.rendition.kind(),
            name: this.name.clone(),
            track: this.entry.name.clone(),
            mime: this.entry.rendition.mime().map(str::to_owned),
            stream: this.stream.clone(),
            group,
            caps: this.entry.caps.clone(),
            tags: this.entry.tags.clone(),
            messages: receiver,
            control: this.config.control.clone(),
            latency: this.config.answer.clone(),
            reach: this.config.reach.clone(),
            budget: this.budget.clone(),
            counters: this.counters.clone(),
            return_path: this.config.return_path.clone(),
            selects: this.config.policy != RenditionPolicy::All,
        };
        (subscription, pad)
    }

    /// What the catalog said of the pad last: a track whose predecessor's tail is still read has it
    /// already.
    pub(super) fn listed_entry(&self) -> &Entry {
        match &self.reading {
            Reading::Retired(_, Some(next)) => next,
            _ => &self.entry,
        }
    }

    /// The pad's stream, while the catalog lists it.
    pub(super) fn listed_stream(&self) -> Option<&gst::Stream> {
        self.stage.is_listed().then_some(&self.stream)
    }

    pub(super) fn kind(&self) -> Kind {
        self.entry.rendition.kind()
    }

    /// When the track is read again after a pause.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        let awaited = self.demand == Demand::Wanted && self.stage == Stage::Listed;
        match self.reading {
            Reading::Idle(retry_at) if awaited && retry_at > Instant::now() => Some(retry_at),
            _ => None,
        }
    }

    pub(super) fn is_linked(&self) -> bool {
        self.demand != Demand::Unlinked
    }

    fn is_wanted(&self) -> bool {
        self.demand == Demand::Wanted && self.stage.is_open()
    }

    pub(super) fn link(&mut self, wish: u32) {
        self.outbox.open();
        self.demand = Demand::Wanted;
        self.wish = self.wish.max(wish);
    }

    pub(super) fn unlink(&mut self) {
        self.demand = Demand::Unlinked;
    }

    pub(super) fn want(&mut self, wish: u32) {
        self.wish = self.wish.max(wish);
        if self.demand == Demand::Refused {
            self.demand = Demand::Wanted;
        }
    }

    pub(super) fn refuse(&mut self, wish: u32) {
        if self.demand == Demand::Wanted && wish >= self.wish {
            self.demand = Demand::Refused;
        }
    }

    /// Downstream takes nothing more.
    pub(super) fn close(&mut self) {
        self.stage = self.stage.closed();
    }

    pub(super) fn play(&mut self, clock: PipelineClock) {
        let now = clock.running_time();
        self.readers
            .position()
            .forget_beyond(now + MAX_POSITION_AHEAD);
        self.outbox.send(Message::Play(clock));
    }

    pub(super) fn pause(&mut self) {
        self.give_up();
        self.outbox.send(Message::Pause);
    }

    /// The track that downstream wants, if the broadcast has it itself.
    pub(super) fn wanted_entry(&self) -> Option<&Entry> {
        (self.is_wanted() && self.entry.external.is_none()).then_some(&self.entry)
    }

    /// The broadcast has ended, and what is kept of the track is played to its end.
    pub(super) fn record(&mut self) {
        self.recorded = true;
        if let Some(reader) = self.reading.reader() {
            reader.retire();
        }
    }

    /// Playing goes on elsewhere: nothing of what was read is given any more.
    pub(super) fn flush(&mut self, flush: Flush, ended: bool) {
        self.give_up();
        self.reading = Reading::idle();
        self.backoff.reset();
        self.readers.position().forget_beyond(ClockTime::ZERO);
        if ended {
            self.stage = Stage::Listed;
            self.recorded = true;
        } else if self.stage == Stage::Closed {
            // Whoever took nothing more, or had all of it, is given what is played again.
            self.stage = Stage::Listed;
        }
        self.outbox.send(Message::Flush(flush));
    }

    pub(super) fn send_event(&mut self, event: AppEvent) {
        self.outbox.send_event(event);
    }

    pub(super) fn send_collection(&mut self, collection: gst::StreamCollection) {
        self.outbox.send_collection(collection);
    }

    /// Another broadcast has come in the place of the one that was lost: its track is tried at once.
    pub(super) fn restart(&mut self) {
        self.recorded = false;
        self.settle();
        self.reading = Reading::idle();
        self.backoff.reset();
        self.health.forget_breaks();
    }

    /// The name of the track that is read, if the broadcast has it itself.
    pub(super) fn own_track(&self) -> Option<&str> {
        let own = self.entry.external.is_none();
        own.then_some(self.entry.name.as_str())
    }

    /// The catalog lists `entry` for this pad: the same track, or the one that follows it.
    pub(super) fn update(&mut self, entry: Entry) {
        let follows = entry.name != self.entry.name;
        if follows && self.reading.reader().is_some() {
            // The tail of the old track comes first.
            self.retire();
            if let Reading::Retired(_, next) = &mut self.reading {
                *next = Some(Box::new(entry));
            }
            self.relist();
            return;
        }
        let continues = follows && matches!(self.reading, Reading::Finished);
        match self.reading {
            Reading::Running(_) if is_same_stream(&self.entry, &entry) => {}
            // A reader that is retired would end in the middle of the track that is listed again.
            Reading::Running(_) | Reading::Retired(..) | Reading::Continuing => {
                self.reading = Reading::idle();
            }
            Reading::Idle(_) | Reading::Finished => {}
        }
        self.switch(entry, Reason::Catalog);
        if continues {
            self.reading = Reading::Continuing;
        }
    }

    /// The catalog lists nothing for this pad any more: what is under way is still read.
    pub(super) fn delist(&mut self) {
        self.finish();
        if let Reading::Retired(_, next) = &mut self.reading {
            *next = None;
        }
    }

    /// The broadcast has ended: what is under way is still read, and the track that was to follow.
    pub(super) fn finish(&mut self) {
        self.settle();
        self.stage = self.stage.delisted();
        self.retire();
    }

    /// Only the tail of the track is still read.
    pub(super) fn retire(&mut self) {
        self.reading = match std::mem::replace(&mut self.reading, Reading::Finished) {
            Reading::Running(reader) => {
                reader.retire();
                Reading::Retired(reader, None)
            }
            reading => reading,
        };
    }

    /// Sends EOS, unless that was done; without `seqnum` it has a new one.
    pub(super) fn end(&mut self, seqnum: Option<gst::Seqnum>) {
        // A track that follows one that was read to its end is read from its start.
        if !matches!(self.reading, Reading::Finished) {
            self.reading = Reading::idle();
        }
        if self.stage.is_open() {
            self.outbox.send(Message::Eos(seqnum));
        }
        self.close();
    }

    /// Of these renditions the pad gives one; `stream` is there if they are of another picture or sound.
    pub(super) fn choose(
        &mut self,
        ladder: Ladder,
        stream: impl FnOnce(&Entry) -> Option<gst::Stream>,
    ) {
        let listed = self.listed_entry().clone();
        let current = self.reading.reader();
        match self.change.choose(ladder, &listed, current, &self.readers) {
            Chosen::Underway => {}
            Chosen::Given(entry) => self.update(entry),
            Chosen::Another(entry, reason) => {
                let stream = stream(&entry);
                self.tell_target(&entry);
                self.change.want(Wanted {
                    entry,
                    stream,
                    reason,
                });
            }
        }
    }

    pub(super) fn ladder(&mut self) -> Option<&mut Ladder> {
        self.change.ladder()
    }

    /// The ladder, to be given back to [`Self::choose`].
    pub(super) fn take_ladder(&mut self) -> Option<Ladder> {
        self.change.take_ladder()
    }

    /// The stream that the pad gives.
    pub(super) fn stream(&self) -> &gst::Stream {
        self.change.stream().unwrap_or(&self.stream)
    }

    /// Whether the network has a say in what the pad gives now.
    pub(super) fn is_adaptive(&self) -> bool {
        matches!(self.reading, Reading::Running(_)) && self.change.is_adaptive()
    }

    /// Goes over to another rendition if that is due.
    pub(super) fn adapt(
        &mut self,
        source: Option<ReaderSource<'_>>,
        tasks: &mut JoinSet<ReaderEnd>,
    ) {
        let (Some(source), Reading::Running(reader)) = (source, &self.reading) else {
            return;
        };
        let decision = self.change.decide(&self.entry, reader, source.1);
        let target = self.change.carry_out(
            decision,
            &self.entry,
            Some(reader),
            &mut self.readers,
            source,
            tasks,
        );
        if let Some(target) = target {
            self.tell_target(&target);
        }
    }

    /// The reader of this number gives the frames of the pad now.
    pub(super) fn on_switched(&mut self, number: u64) {
        let Some(candidate) = self.change.on_switched(number) else {
            return;
        };
        let (wanted, reader) = candidate.into_current();
        self.reading = Reading::Running(reader);
        self.backoff.reset();
        self.health = Health::default();
        self.health.begin(self.counters.frames.get());
        if let Some(stream) = wanted.stream {
            self.stream = stream;
        }
        self.entry = wanted.entry;
        self.tell_track();
        self.tell_change(wanted.reason);
    }

    /// What was to follow the rendition that the pad gives is its own at once.
    fn settle(&mut self) {
        if let Some(wanted) = self.change.settle(&self.readers) {
            self.replace(wanted);
        }
    }

    /// Gives another rendition, which does not continue the one before.
    fn replace(&mut self, wanted: Wanted) {
        self.reading = Reading::idle();
        if let Some(stream) = wanted.stream {
            self.stream = stream;
        }
        self.outbox.send(Message::Opening(Opening {
            stream: Some(self.stream.clone()),
            caps: Some(wanted.entry.caps.clone()),
            tags: Some(wanted.entry.tags.clone()),
            start: None,
            offset: None,
        }));
        self.switch(wanted.entry, wanted.reason);
    }

    /// A reader has ended; warns if that was no good end.
    pub(super) fn on_end(&mut self, ended: ReaderEnd, reachable: bool, warnings: &mut Warnings) {
        let ReaderEnd {
            generation, end, ..
        } = ended;
        let current = self.reading.reader();
        if let Some(candidate) = self.change.on_end(generation, current, &self.readers) {
            return self.on_candidate_end(&candidate, &end, warnings);
        }
        if !self.is_current(generation) {
            return;
        }
        self.readers.handover().vacate(generation);
        gst::debug!(
            CAT,
            id = &self.config.name,
            "Track {} ended: {end}",
            self.entry.name
        );
        if self.change.following().is_some() {
            // It follows as soon as it can.
            self.reading = Reading::Finished;
            return;
        }
        self.change.abandon(self.reading.reader(), &self.readers);
        let track = &self.entry.name;
        let frames = self.counters.frames.get();
        if self.health.is_problem(&end, frames, reachable) {
            let warning = format!("The track \"{track}\" is waited for: {end}");
            // Of tracks that share a cause, each gets its turn.
            let given = warnings.post(&end.to_string(), gst::ResourceError::NotFound, warning);
            self.health.set_reported(given);
        }
        let (started_at, next) = match std::mem::replace(&mut self.reading, Reading::idle()) {
            Reading::Running(reader) => (reader.started_at(), None),
            Reading::Retired(reader, next) => (reader.started_at(), next),
            Reading::Idle(_) | Reading::Continuing | Reading::Finished => return,
        };
        if let Some(next) = next {
            let stage = self.stage;
            self.switch(*next, Reason::Catalog);
            // Of a broadcast that has ended, what there is of the track is still read.
            self.stage = stage;
            self.reading = Reading::Continuing;
            return;
        }
        if self.recorded {
            self.reading = Reading::Finished;
            self.stage = self.stage.delisted();
            return;
        }
        let pause = match end {
            // The catalog, which is read all the time, says whether the stream has ended, too.
            TrackEnd::Finished => {
                self.reading = Reading::Finished;
                return;
            }
            TrackEnd::Retired => Duration::ZERO,
            TrackEnd::Empty => MAX_RETRY_INTERVAL,
            TrackEnd::Lost(_) | TrackEnd::Missing(_) | TrackEnd::Panicked => {
                self.backoff.reset_if_lasted(started_at.elapsed());
                self.backoff.next_pause()
            }
        };
        self.reading = Reading::Idle(Instant::now() + pause);
    }

    /// A rendition that was to follow is not there: the pad goes on with what it has.
    fn on_candidate_end(&mut self, candidate: &Candidate, end: &TrackEnd, warnings: &mut Warnings) {
        let track = &candidate.entry().name;
        gst::debug!(
            CAT,
            id = &self.config.name,
            "Candidate {track} ended: {end}"
        );
        if candidate.is_trial() {
            return;
        }
        if self.reading.reader().is_none() {
            self.reading = Reading::idle();
        }
        let entry = self.entry.clone();
        self.tell_target(&entry);
        let warning = format!("The rendition \"{track}\" cannot follow: {end}");
        warnings.post(
            &format!("{track} follows"),
            gst::ResourceError::NotFound,
            warning,
        );
    }

    /// Warns of what a reader has noticed, unless it was given up meanwhile.
    pub(super) fn on_problem(
        &mut self,
        generation: u64,
        problem: &TrackProblem,
        reachable: bool,
        live: bool,
        warnings: &mut Warnings,
    ) {
        if !self.is_current(generation) {
            return;
        }
        let (log, track) = (&self.config.name, &self.entry.name);
        match problem {
            TrackProblem::Dropping(cause) => {
                let warning = format!(
                    "No frame of the track \"{track}\" was shown for a second, they are dropped: {cause}"
                );
                let about = format!("{track} {cause:?}");
                warnings.post(&about, gst::StreamError::Failed, warning);
            }
            TrackProblem::Silent(silence) if silence.cached && live => gst::debug!(
                CAT,
                id = log,
                "The track \"{track}\" may be switched off: {}",
                silence.reason
            ),
            TrackProblem::Silent(silence) => {
                if reachable && self.health.is_newly_silent(self.counters.frames.get()) {
                    let warning =
                        format!("The track \"{track}\" gives nothing: {}", silence.reason);
                    let about = format!("{track} is silent");
                    warnings.post(&about, gst::ResourceError::Read, warning);
                }
            }
        }
    }

    /// Reads the track if it is wanted, and ends the stream if nothing of it is left.
    pub(super) fn resume(
        &mut self,
        source: Option<ReaderSource<'_>>,
        tasks: &mut JoinSet<ReaderEnd>,
    ) {
        if !self.is_wanted() {
            self.give_up();
        }
        if let Some(wanted) = self.change.take_wanted() {
            let splices = matches!(self.reading, Reading::Running(_))
                && !self.entry.rendition.kind().is_sparse()
                && self.counters.frames.get() > 0;
            match source.filter(|_| splices) {
                Some(source) => {
                    let readers = &mut self.readers;
                    self.change.follow(wanted, false, readers, source, tasks);
                }
                None => self.replace(wanted),
            }
        }
        if self.change.has_candidate() && self.reading.reader().is_none() {
            return;
        }
        match (self.stage, &self.reading, source) {
            (_, Reading::Running(_) | Reading::Retired(..), _) => {}
            (Stage::Delisted, Reading::Continuing, Some(source)) => {
                self.start(source, tasks);
                self.retire();
            }
            (Stage::Delisted, ..) => self.end(None),
            (Stage::Listed, Reading::Idle(retry_at), _) if *retry_at > Instant::now() => {}
            (Stage::Listed, Reading::Idle(_) | Reading::Continuing, Some(source))
                if self.is_wanted() =>
            {
                self.start(source, tasks);
            }
            _ => {}
        }
    }

    /// Ends the reader at once; the track that was to follow is the pad's then.
    fn give_up(&mut self) {
        self.settle();
        if matches!(self.reading, Reading::Idle(_) | Reading::Finished) {
            return;
        }
        let reading = std::mem::replace(&mut self.reading, Reading::idle());
        if let Reading::Retired(_, Some(next)) = reading
            && self.stage.is_listed()
        {
            self.switch(*next, Reason::Catalog);
        }
    }

    fn is_current(&self, generation: u64) -> bool {
        let reader = self.reading.reader();
        reader.is_some_and(|reader| reader.generation() == generation)
    }

    /// The catalog lists the track again; whether its stream begins anew.
    fn relist(&mut self) -> bool {
        let revived = self.stage == Stage::Ended;
        if !self.stage.is_listed() {
            self.stage = Stage::Listed;
        }
        revived
    }

    /// The pad gives `entry` from here on.
    fn switch(&mut self, entry: Entry, reason: Reason) {
        let revived = self.relist();
        let before = std::mem::replace(&mut self.entry, entry);
        let entry = &self.entry;
        let same_track = entry.name == before.name;
        if matches!(self.reading, Reading::Finished)
            && (!same_track || entry.external != before.external || revived)
        {
            self.reading = Reading::idle();
        }
        self.backoff.reset();
        if !same_track {
            self.health.forget();
        }
        let other_caps = revived || entry.caps != before.caps;
        let other_tags = entry.tags != before.tags;
        let (caps, tags) = (entry.caps.clone(), entry.tags.clone());
        if other_caps {
            let caps = caps.clone();
            self.outbox.send(Message::Caps { caps, revived });
        }
        if other_tags {
            self.outbox.send_tags(tags.clone());
        }
        // With a ladder the streams are those of the catalog, whatever the pad gives.
        if (other_caps || other_tags) && !self.change.has_ladder() {
            let stream = self.stream.clone();
            let queue = &self.config.app_queue;
            // Whoever is notified of it is the application.
            queue.send_newest(format!("{} stream", self.name), move |_| {
                stream.set_caps(Some(&caps));
                stream.set_tags(Some(&tags));
            });
        }
        if !same_track || self.entry.rendition.mime() != before.rendition.mime() {
            self.tell_track();
        }
        if !same_track || other_caps {
            self.tell_change(reason);
        }
    }

    /// Tells the application which track the pad gives.
    fn tell_track(&self) {
        let (pad, track) = (self.name.clone(), self.entry.name.clone());
        let mime = self.entry.rendition.mime().map(str::to_owned);
        let queue = &self.config.app_queue;
        queue.send_newest(format!("{pad} track"), move |element| {
            let pad = element.static_pad(&pad).and_downcast::<MoqSrcPad>();
            if let Some(pad) = pad {
                pad.set_track(&track, mime);
            }
        });
        self.tell_target(&self.entry);
    }

    /// Tells it which one the pad gives or goes over to.
    fn tell_target(&self, entry: &Entry) {
        let (pad, track) = (self.name.clone(), entry.name.clone());
        let queue = &self.config.app_queue;
        queue.send_newest(format!("{pad} target"), move |element| {
            let pad = element.static_pad(&pad).and_downcast::<MoqSrcPad>();
            if let Some(pad) = pad {
                pad.set_target(&track);
            }
        });
    }

    fn tell_change(&self, reason: Reason) {
        let (pad, track) = (self.name.clone(), self.entry.name.clone());
        let caps = self.entry.caps.clone();
        self.config
            .app_queue
            .post("moq-rendition-changed", move |s| {
                s.field("pad", pad)
                    .field("track", track)
                    .field("caps", caps)
                    .field("reason", reason.name())
            });
    }

    fn start(&mut self, source: ReaderSource<'_>, tasks: &mut JoinSet<ReaderEnd>) {
        self.health.begin(self.counters.frames.get());
        let from_start = matches!(self.reading, Reading::Continuing);
        let upcoming = self.readers.upcoming();
        self.readers.handover().begin(upcoming);
        let order = Order {
            entry: &self.entry,
            opening: Opening::default(),
            urgency: Urgency::Normal,
            from_start,
        };
        let reader = self.readers.start(order, source, tasks);
        if self.recorded {
            reader.retire();
        }
        self.reading = Reading::Running(reader);
    }
}

/// Whether the reader of a track goes on when its entry becomes another one: what changed is in band,
/// too.
fn is_same_stream(before: &Entry, after: &Entry) -> bool {
    let (one, other) = (&before.rendition, &after.rendition);
    if before.external != after.external || one.records() != other.records() {
        return false;
    }
    let codecs = [before, after].map(|entry| {
        let structure = entry.caps.structure(0)?;
        let in_band = !structure.has_field("codec_data") && !structure.has_field("streamheader");
        in_band.then(|| structure.name())
    });
    let in_band = one.kind() == Kind::Video && codecs[0].is_some() && codecs[0] == codecs[1];
    let same_rate = duration::of(one, &[]) == duration::of(other, &[]);
    one.container() == other.container() && (before.caps == after.caps || (in_band && same_rate))
}

#[cfg(test)]
mod tests;
