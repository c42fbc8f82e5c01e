//! The session's pads: one for each rendition, with a reader while it is wanted.

use std::sync::mpsc;

use gst::glib;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{MAX_RETRY, Session};
use super::{
    reference,
    subscription::{Running, Subscription},
};
use crate::{
    element::runtime::contained,
    media::{
        catalog::reconcile::{self, Step},
        format::codec::Kind,
    },
    source::{
        CAT,
        catalog::Entry,
        expose,
        message::{Message, PadIndex, TrackEnd},
        pad,
        track::{self, Reader},
    },
};

impl Session {
    /// Brings the pads in line with the catalog.
    pub(crate) fn reconcile(&mut self, entries: Vec<Entry>) {
        // A track whose predecessor's tail is still read has its pad already.
        let current = |pad: &Subscription| pad.next.as_ref().unwrap_or(&pad.entry).clone();
        let active: Vec<Entry> = self.pads.iter().map(current).collect();
        let mut added = Vec::new();
        for step in reconcile::plan(&active, &entries) {
            match step {
                Step::Take { active, desired } => {
                    self.pads[active].go_on(entries[desired].clone(), &self.config.app_queue);
                }
                Step::Add { desired } => added.push(self.add(entries[desired].clone())),
                Step::End { active } => {
                    self.pads[active].next = None;
                    self.pads[active].delist();
                }
            }
        }
        let first = std::mem::take(&mut self.first_catalog);
        let streams = self.listed_streams();
        if streams == self.streams && !first {
            return;
        }
        let collection = gst::StreamCollection::builder(None)
            .streams(streams.iter().cloned())
            .build();
        self.streams = streams;
        let known = self.pads.len() - added.len();
        for pad in &mut self.pads[..known] {
            pad.set_collection(collection.clone());
        }
        let app_queue = self.config.app_queue.clone();
        self.config
            .app_queue
            .send(move |element| expose::expose(element, added, &collection, first, &app_queue));
    }

    fn listed_streams(&self) -> Vec<gst::Stream> {
        let listed = self.pads.iter().filter(|pad| !pad.delisted);
        listed.map(|pad| pad.stream.clone()).collect()
    }

    /// Makes the session's side of a new pad, and what its other side is made of.
    fn add(&mut self, entry: Entry) -> pad::Config {
        let kind = entry.rendition.kind();
        let count = &mut self.counts[kind as usize];
        let name = format!("{}_{count}", kind.name());
        *count += 1;
        let (kind_of_stream, index) = (stream_type(kind), self.pads.len());
        let target = &self.config.target;
        let id = format!("{}/{}/{name}", target.endpoint(), target.broadcast);
        let stream = gst::Stream::new(
            Some(&id),
            Some(&entry.caps),
            kind_of_stream,
            match kind.is_sparse() {
                true => gst::StreamFlags::SPARSE,
                false => gst::StreamFlags::empty(),
            },
        );
        stream.set_tags(Some(&entry.tags));
        let (messages, receiver) = mpsc::channel();
        // The other half is for what the library keeps.
        let max_bytes = (self.config.target.cache.bytes / 2).max(1);
        let mut pad = Subscription::new(
            entry.clone(),
            name.clone(),
            stream.clone(),
            messages,
            max_bytes,
        );
        let config = pad::Config {
            index,
            kind,
            name,
            track: entry.name,
            mime: entry.rendition.mime().map(str::to_owned),
            stream,
            group: self.group,
            caps: entry.caps,
            tags: entry.tags,
            messages: receiver,
            control: self.config.control.clone(),
            latency: self.config.answer.clone(),
            budget: pad.budget.clone(),
            counters: pad.counters.clone(),
        };
        if let Some(playback) = &self.playback {
            pad.send(Message::Play(playback.clock.clone()));
        }
        self.pads.push(pad);
        config
    }

    pub(crate) fn on_end(&mut self, index: PadIndex, generation: u64, end: TrackEnd) {
        let reachable = self.broadcast.is_some() && self.config.connection.is_connected();
        let pad = &mut self.pads[index];
        if pad.generation != generation || pad.reader.take().is_none() {
            return;
        }
        gst::debug!(
            CAT,
            id = &self.config.name,
            "Track {} ended: {end}",
            pad.entry.name
        );
        if pad.is_trouble(&end, reachable) {
            let warning = format!("The track \"{}\" is waited for: {end}", pad.entry.name);
            // Of tracks that share a cause, each gets its turn.
            let told = self.warn_of(end.to_string(), gst::ResourceError::NotFound, warning);
            self.pads[index].told = told;
        }
        let pad = &mut self.pads[index];
        match (pad.next.take(), end) {
            (Some(next), _) => {
                let last = pad.delisted;
                pad.follows = true;
                pad.switch(next, &self.config.app_queue);
                if last {
                    // The broadcast has ended: what there is of the track is still taken.
                    self.start(index);
                    self.pads[index].delist();
                }
            }
            // The catalog, which is read all the time, says whether the stream has ended, too.
            (None, TrackEnd::Finished) => pad.finished = true,
            (None, TrackEnd::Retired) => {}
            (None, TrackEnd::Empty) => pad.retry_at = Instant::now() + MAX_RETRY,
            (None, TrackEnd::Lost(_) | TrackEnd::Missing(_) | TrackEnd::Panicked) => pad.back_off(),
        }
    }

    /// Subscribes each track that is wanted, and no other.
    pub(crate) fn subscribe(&mut self) {
        let now = Instant::now();
        for index in 0..self.pads.len() {
            let pad = &mut self.pads[index];
            if !pad.is_wanted() {
                pad.abort();
            }
            if pad.reader.is_some() {
                continue;
            }
            // The reader whose tail was to come first was given up.
            if !pad.delisted
                && let Some(next) = pad.next.take()
            {
                pad.switch(next, &self.config.app_queue);
            }
            if pad.delisted {
                pad.end(None);
            } else if pad.is_wanted() && !pad.finished && pad.retry_at <= now {
                self.start(index);
            }
        }
    }

    fn start(&mut self, index: PadIndex) {
        let broadcast = self.broadcast.as_ref().filter(|_| self.listed);
        let (Some(playback), Some(broadcast)) = (&self.playback, broadcast) else {
            return;
        };
        let pad = &mut self.pads[index];
        let kind = pad.entry.rendition.kind();
        let max_age = match kind {
            Kind::Video => self.config.video_max_age,
            Kind::Audio | Kind::Text | Kind::Data => self.config.audio_max_age,
        };
        let retired = CancellationToken::new();
        let generation = pad.begin();
        let config = track::Config {
            name: pad.entry.name.clone(),
            log: glib::gformat!("{}:{}", self.config.name, pad.name),
            rendition: pad.entry.rendition.clone(),
            frames: pad.entry.frames.clone(),
            max_age,
            priority: kind.priority(),
            from_start: std::mem::take(&mut pad.follows),
            pad: track::PadSender::new(
                pad.messages.clone(),
                pad.budget.clone(),
                pad.counters.clone(),
                pad.position.clone(),
            ),
            problems: track::ProblemReporter::new(self.config.control.clone(), index, generation),
            tail: track::Tail::of(retired.clone()),
        };
        let reader = Reader::new(config, playback.clone());
        let (consumer, origin) = (broadcast.consumer.clone(), self.origin.clone());
        let (elsewhere, token) = (pad.entry.elsewhere.clone(), retired.clone());
        let reading = contained(async move {
            match elsewhere {
                None => reader.run(consumer).await,
                Some(path) => reference::read(reader, origin, path, token).await,
            }
        });
        let abort = self.readers.spawn(async move {
            let end = reading.await.unwrap_or(TrackEnd::Panicked);
            (index, generation, end)
        });
        pad.reader = Some(Running { abort, retired });
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
