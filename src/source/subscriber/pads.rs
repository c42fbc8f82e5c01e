// SPDX-License-Identifier: MIT
//! The subscriber's pads: one for each rendition, with a reader while it is wanted.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use gst::{ClockTime, prelude::*};
use tokio::{task::JoinSet, time::Instant};

use super::{
    broadcast::at,
    config::Config,
    ladder::Ladder,
    readers::ReaderEnd,
    rewind::{self, Found, Rewind, Start},
    subscription::Subscription,
};
use crate::{
    element::{app_queue::AppQueue, bus, pipeline_clock::PipelineClock},
    media::{
        catalog::reconcile::{self, Step},
        format::codec::Kind,
    },
    source::{
        MoqSrcPad,
        catalog::{Broadcast, Entry},
        message::{Flush, PadIndex},
        pad::{self, stop_all, template_name},
        playback::{self, Playback},
        selection::{Choice, RenditionPolicy, Selection, StreamKey, Wishes, key_of},
    },
};

/// How often it is judged whether another rendition fits the network.
const ADAPT_INTERVAL: Duration = Duration::from_millis(50);

/// All pads of a run, in the order in which they came.
pub(super) struct Pads {
    config: Arc<Config>,
    list: Vec<Subscription>,
    readers: JoinSet<ReaderEnd>,
    /// While the element plays.
    playback: Option<Arc<Playback>>,
    latency: ClockTime,
    /// The last stream collection; none before the first catalog.
    streams: Option<Vec<gst::Stream>>,
    collection: Option<gst::StreamCollection>,
    /// What the pads give of them, where they are selected.
    given: Option<Vec<gst::Stream>>,
    /// How many pads of each kind there are.
    counts: [usize; Kind::ALL.len()],
    group: gst::GroupId,
    selection: Selection,
    /// What there is to select from, where pads are not one for each rendition.
    offered: BTreeMap<StreamKey, Offered>,
    adapt_at: Instant,
    rewind: Rewind,
}

/// A stream that may be selected, as the catalog described it last.
struct Offered {
    stream: gst::Stream,
    caps: gst::Caps,
    tags: gst::TagList,
}

impl Pads {
    pub(super) fn new(config: Arc<Config>) -> Self {
        Self {
            latency: config.latency,
            selection: Selection::new(config.policy, config.wishes.clone()),
            offered: BTreeMap::new(),
            adapt_at: Instant::now(),
            rewind: Rewind::new(config.clone()),
            config,
            list: Vec::new(),
            readers: JoinSet::new(),
            playback: None,
            streams: None,
            collection: None,
            given: None,
            counts: [0; Kind::ALL.len()],
            group: gst::GroupId::next(),
        }
    }

    /// Ends the readers, and the threads of the pads when these have taken what was sent.
    pub(super) async fn close(mut self) {
        self.readers.shutdown().await;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn is_any_linked(&self) -> bool {
        self.list.iter().any(Subscription::is_linked)
    }

    pub(super) fn for_each(&mut self, action: impl FnMut(&mut Subscription)) {
        self.list.iter_mut().for_each(action);
    }

    pub(super) fn get(&mut self, index: PadIndex) -> &mut Subscription {
        &mut self.list[index]
    }

    /// The end of a reader; none when a track is to be read again, or a reader was given up. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<ReaderEnd> {
        let retry_at = self.list.iter().filter_map(Subscription::retry_at).min();
        let adapts = self.list.iter().any(Subscription::is_adaptive);
        let retry_at = retry_at
            .into_iter()
            .chain(adapts.then_some(self.adapt_at))
            .min();
        tokio::select! {
            biased;
            Some(ended) = self.readers.join_next() => ended.ok(),
            found = self.rewind.next() => {
                if let Some(found) = found {
                    self.on_found(found);
                }
                None
            }
            () = at(retry_at) => None,
        }
    }

    pub(super) fn play(&mut self, clock: PipelineClock) {
        self.playback = Some(rewind::playback(
            &Start::Live,
            &self.config,
            &clock,
            self.latency,
        ));
        self.for_each(|pad| pad.play(clock.clone()));
    }

    /// A search has ended: the readers begin where it says.
    fn on_found(&mut self, found: Found) {
        let start = self.rewind.on_found(found);
        if let Some((start, playback)) = start.zip(self.playback.as_ref()) {
            let clock = playback.clock.clone();
            let playback = rewind::playback(&start, &self.config, &clock, self.latency);
            self.playback = Some(playback);
        }
    }

    /// Playing goes on at the stream time `position`.
    pub(super) fn seek(&mut self, seqnum: gst::Seqnum, position: ClockTime) {
        self.rewind.seek(position);
        let mut start = ClockTime::ZERO;
        if let Some(playback) = &self.playback {
            let clock = playback.clock.clone();
            start = clock.running_time();
            let live = rewind::playback(&Start::Live, &self.config, &clock, self.latency);
            self.playback = Some(live);
        }
        let ended = self.rewind.has_ended();
        let flush = Flush {
            seqnum,
            start,
            position,
        };
        self.for_each(|pad| pad.flush(flush, ended));
    }

    /// The broadcast had ended before it was found: it is played as a file.
    pub(super) fn record(&mut self) {
        self.rewind.record();
        self.for_each(Subscription::record);
    }

    /// The broadcast has ended; what is kept of it may still be `served`.
    pub(super) fn end(&mut self, served: bool) {
        match self.rewind.is_past() {
            // What is behind the live edge is still to be played.
            true => self.for_each(Subscription::record),
            false => self.for_each(Subscription::finish),
        }
        self.rewind.end(served);
    }

    /// The application has ended the stream.
    pub(super) fn close_all(&mut self, seqnum: gst::Seqnum) {
        self.for_each(|pad| pad.end(Some(seqnum)));
        self.rewind.end(false);
    }

    /// The first frames of a pad have come: what is kept is known as soon as that costs little.
    pub(super) fn on_flowing(&mut self) {
        let mut entries = self.list.iter().filter_map(Subscription::wanted_entry);
        if self.config.reach.is_stale()
            && entries.any(|entry| entry.rendition.kind() == Kind::Audio)
        {
            self.rewind.measure();
        }
    }

    /// What there is to seek is to be found out.
    pub(super) fn measure(&mut self) {
        self.rewind.measure();
    }

    pub(super) fn pause(&mut self) {
        if let Some(playback) = self.playback.take() {
            self.rewind.interrupt(&playback);
        }
        self.for_each(Subscription::pause);
    }

    pub(super) fn set_latency(&mut self, latency: ClockTime) {
        self.latency = latency;
        match &self.playback {
            Some(playback) => playback.update(|timeline| timeline.set_latency(latency)),
            None if self.config.answer.set(latency) => {
                playback::post_latency(&self.config.app_queue);
            }
            None => {}
        }
    }

    /// Another broadcast has come, which may have other timestamps, and other tracks of the same names.
    pub(super) fn restart(&mut self) {
        self.for_each(Subscription::restart);
        self.rewind.begin_anew();
        if let Some(playback) = &self.playback {
            self.rewind.interrupt(playback);
            playback.update(|timeline| timeline.restart());
        }
    }

    /// Whether the element plays at the live edge.
    pub(super) fn is_live(&self) -> bool {
        let playback = self.playback.as_ref();
        playback.is_some_and(|playback| playback.timeline().is_live(playback.clock.running_time()))
    }

    /// Reads each track of `broadcast` that is wanted, and no other.
    pub(super) fn resume(&mut self, broadcast: Option<&Broadcast>) {
        if self.rewind.needs_track()
            && self.playback.is_some()
            && let Some(broadcast) = broadcast
        {
            // Sound tells best what is there: its groups are small.
            let wanted = |kind| {
                let mut entries = self.list.iter().filter_map(Subscription::wanted_entry);
                entries.find(|entry| entry.rendition.kind() == kind)
            };
            match wanted(Kind::Audio).or_else(|| wanted(Kind::Video)) {
                Some(entry) => self.rewind.look(broadcast.consumer(), entry),
                // Text and data alone have no past that could be looked for.
                None if self.list.iter().any(Subscription::is_linked) => self.rewind.give_up(),
                None => {}
            }
        }
        let source = broadcast.zip(self.playback.as_ref());
        let source = source.filter(|_| self.rewind.is_settled());
        let adapts = self.adapt_at <= Instant::now();
        if adapts {
            self.adapt_at = Instant::now() + ADAPT_INTERVAL;
        }
        for pad in &mut self.list {
            pad.resume(source, &mut self.readers);
            if adapts {
                pad.adapt(source, &mut self.readers);
            }
        }
    }

    /// Downstream wants just the streams of these ids.
    pub(super) fn select(&mut self, ids: &[String]) -> Vec<String> {
        if self.selection.policy() == RenditionPolicy::All {
            return Vec::new();
        }
        let wanted = |offered: &Offered| {
            let id = offered.stream.stream_id();
            id.is_some_and(|id| ids.iter().any(|wanted| *wanted == id))
        };
        let keys = self.offered.iter().filter(|(_, offered)| wanted(offered));
        let keys: Vec<StreamKey> = keys.map(|(key, _)| key.clone()).collect();
        if keys.is_empty() {
            // They are of a collection that is over.
            return Vec::new();
        }
        self.selection.select(keys);
        self.apply()
    }

    /// The application wants other renditions.
    pub(super) fn wish(&mut self, wishes: Wishes) -> Vec<String> {
        self.selection.wish(wishes);
        match self.selection.policy() {
            RenditionPolicy::All => Vec::new(),
            RenditionPolicy::Best | RenditionPolicy::Adaptive => self.apply(),
        }
    }

    /// Brings the pads in line with the catalog.
    ///
    /// Gives what the application is to be warned of.
    pub(super) fn reconcile(&mut self, entries: &[Entry]) -> Vec<String> {
        if self.selection.policy() != RenditionPolicy::All {
            self.selection.list(entries);
            self.offer(entries);
            return self.apply();
        }
        let listed = self.list.iter().map(Subscription::listed_entry);
        let active: Vec<Entry> = listed.cloned().collect();
        let mut added = Vec::new();
        for step in reconcile::plan(&active, entries) {
            match step {
                Step::Take { active, desired } => {
                    self.list[active].update(entries[desired].clone());
                }
                Step::Add { desired } => {
                    let (_, pad) = self.add(entries[desired].clone(), None);
                    added.push(pad);
                }
                Step::End { active } => self.list[active].delist(),
            }
        }
        let listed = self.list.iter().filter_map(Subscription::listed_stream);
        let streams: Vec<gst::Stream> = listed.cloned().collect();
        self.announce(streams, added, None);
        Vec::new()
    }

    /// Brings the pads in line with what is selected; gives what the application is to be warned of.
    fn apply(&mut self) -> Vec<String> {
        let (choices, warnings) = self.selection.choices();
        let mut free = vec![true; self.list.len()];
        let mut added = Vec::new();
        let mut places: Vec<Option<usize>> = Vec::new();
        // First the pads that give a rendition of the same, then any of the kind.
        for choice in &choices {
            let shares =
                |pad: &mut Subscription| pad.ladder().is_some_and(|ladder| ladder.shares(choice));
            let mut pads = self.list.iter_mut().zip(&free);
            let place = pads.position(|(pad, free)| *free && shares(pad));
            places.extend([place]);
            if let Some(place) = place {
                free[place] = false;
            }
        }
        for (place, choice) in places.iter_mut().zip(&choices) {
            let shared = place.is_some();
            if !shared {
                let kind = choice.entries[0].rendition.kind();
                let mut pads = self.list.iter().zip(&free);
                *place = pads.position(|(pad, free)| *free && pad.kind() == kind);
                if let Some(place) = *place {
                    free[place] = false;
                }
            }
            match *place {
                Some(place) => self.choose(place, choice.clone(), shared),
                None => added.push(self.add_chosen(choice.clone())),
            }
        }
        for (pad, free) in self.list.iter_mut().zip(free) {
            if free && pad.listed_stream().is_some() {
                pad.delist();
            }
        }
        let listed = self.selection.entries().iter();
        let listed = listed.filter_map(|entry| self.offered.get(&key_of(entry)));
        let streams = listed.map(|offered| offered.stream.clone()).collect();
        let given = self.list.iter().filter(|pad| pad.listed_stream().is_some());
        let given = given.map(|pad| pad.stream().clone()).collect();
        self.announce(streams, added, Some(given));
        warnings
    }

    /// The pad at `place` gives one of the renditions of `choice`, which it gave before if they are `shared`.
    fn choose(&mut self, place: usize, choice: Choice, shared: bool) {
        let policy = self.selection.policy();
        let pad = &mut self.list[place];
        let ladder = match pad.take_ladder().filter(|_| shared) {
            Some(mut ladder) => {
                ladder.update(choice);
                ladder
            }
            None => Ladder::new(policy, choice),
        };
        let offered = &self.offered;
        pad.choose(ladder, |entry| {
            let offered = offered.get(&key_of(entry)).filter(|_| !shared);
            offered.map(|offered| offered.stream.clone())
        });
    }

    fn add_chosen(&mut self, choice: Choice) -> pad::Config {
        let mut ladder = Ladder::new(self.selection.policy(), choice);
        let entry = ladder.target(None);
        let stream = self.offered.get(&key_of(&entry));
        let stream = stream.map(|offered| offered.stream.clone());
        let (index, pad) = self.add(entry, stream);
        self.list[index].choose(ladder, |_| None);
        pad
    }

    /// Keeps the streams of which the application may select some.
    fn offer(&mut self, entries: &[Entry]) {
        let keys: Vec<StreamKey> = entries.iter().map(key_of).collect();
        self.offered.retain(|key, _| keys.contains(key));
        for (entry, key) in entries.iter().zip(keys) {
            let (caps, tags) = (entry.caps.clone(), entry.tags.clone());
            let Some(offered) = self.offered.get_mut(&key) else {
                let stream = self.stream(entry, &format!("{}/{}", key.0.name(), key.1));
                self.offered.insert(key, Offered { stream, caps, tags });
                continue;
            };
            if offered.caps == caps && offered.tags == tags {
                continue;
            }
            (offered.caps, offered.tags) = (caps.clone(), tags.clone());
            let stream = offered.stream.clone();
            let subject = format!("{} {} stream", key.0.name(), key.1);
            // Whoever is notified of it is the application.
            self.config.app_queue.send_newest(subject, move |_| {
                stream.set_caps(Some(&caps));
                stream.set_tags(Some(&tags));
            });
        }
    }

    /// Adds the pads, and announces `streams` if they are others than before, and those that are `given` of
    /// them.
    fn announce(
        &mut self,
        streams: Vec<gst::Stream>,
        added: Vec<pad::Config>,
        given: Option<Vec<gst::Stream>>,
    ) {
        let is_new = self.streams.as_ref() != Some(&streams);
        let is_given = self.given == given;
        if !is_new && added.is_empty() && is_given {
            return;
        }
        self.given.clone_from(&given);
        let collection = gst::StreamCollection::builder(None)
            .streams(streams.iter().cloned())
            .build();
        let first = self.streams.replace(streams).is_none();
        let known = self.list.len() - added.len();
        let collection = match &self.collection {
            Some(collection) if !is_new => collection.clone(),
            _ => {
                for pad in &mut self.list[..known] {
                    pad.send_collection(collection.clone());
                }
                self.collection.insert(collection).clone()
            }
        };
        let queue = self.config.app_queue.clone();
        self.config.app_queue.send(move |element| {
            expose(element, added, &collection, is_new, first, &queue);
            if let Some(given) = given.filter(|_| !is_given && !queue.is_closed()) {
                let message = gst::message::StreamsSelected::builder(&collection);
                bus::post(element, message.streams(given).src(element).build());
            }
        });
    }

    /// Makes the subscriber's side of a new pad, and what its other side is made of.
    fn add(&mut self, entry: Entry, stream: Option<gst::Stream>) -> (PadIndex, pad::Config) {
        let kind = entry.rendition.kind();
        let count = &mut self.counts[kind as usize];
        let name = format!("{}_{count}", kind.name());
        *count += 1;
        let stream = stream.unwrap_or_else(|| self.stream(&entry, &name));
        let (config, index) = (self.config.clone(), self.list.len());
        let (mut subscription, pad) =
            Subscription::new(config, index, name, entry, stream, self.group);
        if let Some(playback) = &self.playback {
            subscription.play(playback.clock.clone());
        }
        self.list.push(subscription);
        (index, pad)
    }

    /// A stream of the id that ends with `name`.
    fn stream(&self, entry: &Entry, name: &str) -> gst::Stream {
        let endpoint = &self.config.endpoint;
        let id = format!("{}/{}/{name}", endpoint.address(), endpoint.broadcast());
        let kind = entry.rendition.kind();
        let flags = match kind.is_sparse() {
            true => gst::StreamFlags::SPARSE,
            false => gst::StreamFlags::empty(),
        };
        let stream = gst::Stream::new(Some(&id), Some(&entry.caps), stream_type(kind), flags);
        stream.set_tags(Some(&entry.tags));
        stream
    }
}

fn stream_type(kind: Kind) -> gst::StreamType {
    match kind {
        Kind::Video => gst::StreamType::VIDEO,
        Kind::Audio => gst::StreamType::AUDIO,
        Kind::Text => gst::StreamType::TEXT,
        Kind::Data => gst::StreamType::UNKNOWN,
    }
}

/// Adds the pads of new renditions to the element, and announces all its streams; called by the queue
/// of the run, which may have ended.
fn expose(
    element: &gst::Element,
    added: Vec<pad::Config>,
    collection: &gst::StreamCollection,
    is_new: bool,
    first: bool,
    queue: &AppQueue,
) {
    for config in added {
        let template = template_name(config.kind);
        let Some(template) = element.pad_template(&template) else {
            continue;
        };
        let pad = MoqSrcPad::new(&template, config, collection);
        if queue.is_closed() || element.add_pad(&pad).is_err() {
            continue;
        }
        // The run may have ended while the pad was added: it goes with its run, if it has not yet.
        if queue.is_closed() {
            stop_all(std::slice::from_ref(&pad));
            if pad.parent_element().as_ref() == Some(element) {
                let _ = element.remove_pad(&pad);
            }
        }
    }
    if queue.is_closed() {
        return;
    }
    if is_new {
        let message = gst::message::StreamCollection::builder(collection).src(element);
        bus::post(element, message.build());
    }
    if first {
        element.no_more_pads();
    }
}
