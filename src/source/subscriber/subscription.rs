//! The session's side of a pad: the track that it gives, and who reads it.

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use tokio::{task::AbortHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{MAX_RETRY, RETRY};
use crate::source::{
    catalog::Entry,
    expose,
    message::{AppEvent, LatestSlot, MAX_QUEUE_TIME, Message, TrackEnd},
    stats::Counters,
    track::Position,
};
use crate::{
    element::{app_queue::AppQueue, budget::Budget},
    media::format::{codec::Kind, duration},
};

/// The session's side of a pad.
pub(crate) struct Subscription {
    pub(crate) entry: Entry,
    pub(crate) name: String,
    pub(crate) stream: gst::Stream,
    pub(crate) messages: mpsc::Sender<Message>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) counters: Arc<Counters>,
    /// The pad's thread runs: it was linked once.
    read: bool,
    /// What of the sort waits for the thread.
    collection: Arc<LatestSlot<gst::StreamCollection>>,
    tags: Arc<LatestSlot<gst::TagList>>,
    /// What the thread has to know when it begins: the last message of each sort.
    unread: Vec<Message>,
    pub(crate) linked: bool,
    pub(crate) wanted: bool,
    /// The newest wish of downstream; a refusal of an older one came too late.
    pub(crate) wish: u32,
    /// EOS was sent, or downstream takes nothing more.
    pub(crate) ended: bool,
    pub(crate) reader: Option<Running>,
    /// Counts the pad's readers, so that the end of an earlier one is not taken for the present's.
    pub(crate) generation: u64,
    /// What follows when the present reader has ended.
    pub(crate) next: Option<Entry>,
    /// The track is no longer in the catalog.
    pub(crate) delisted: bool,
    /// The publisher finished the track; reading it again would repeat its last group.
    pub(crate) finished: bool,
    /// The track continues the one before, of which something was read.
    pub(crate) follows: bool,
    /// When its reader began.
    pub(crate) started_at: Instant,
    /// A broken track is not subscribed again before, and how long after the next failure.
    pub(crate) retry_at: Instant,
    pub(crate) retry_pause: Duration,
    /// How many frames had come when its reader began.
    frames_before: u64,
    /// Readers in a row that broke off without a frame.
    broken: u32,
    /// The user knows that the track gives nothing.
    pub(crate) told: bool,
    /// How many frames had come when the user was told that no more come.
    silent_at: Option<u64>,
    /// Up to where frames were sent to the pad.
    pub(crate) position: Arc<Position>,
}

pub(crate) struct Running {
    pub(crate) abort: AbortHandle,
    pub(crate) retired: CancellationToken,
}

impl Subscription {
    pub(crate) fn new(
        entry: Entry,
        name: String,
        stream: gst::Stream,
        messages: mpsc::Sender<Message>,
        max_bytes: u64,
    ) -> Self {
        Self {
            entry,
            name,
            stream,
            messages,
            budget: Budget::new(max_bytes, MAX_QUEUE_TIME),
            counters: Arc::default(),
            read: false,
            collection: Arc::default(),
            tags: Arc::default(),
            unread: Vec::new(),
            linked: false,
            wanted: true,
            wish: 0,
            ended: false,
            reader: None,
            generation: 0,
            next: None,
            delisted: false,
            finished: false,
            follows: false,
            started_at: Instant::now(),
            retry_at: Instant::now(),
            retry_pause: RETRY,
            frames_before: 0,
            broken: 0,
            told: false,
            silent_at: None,
            position: Arc::default(),
        }
    }

    pub(crate) fn link(&mut self, wish: u32) {
        self.linked = true;
        self.read = true;
        for message in std::mem::take(&mut self.unread) {
            self.send(message);
        }
        self.want(wish);
    }

    pub(crate) fn want(&mut self, wish: u32) {
        self.wish = self.wish.max(wish);
        self.wanted = true;
    }

    pub(crate) fn refuse(&mut self, wish: u32) {
        self.wanted &= wish < self.wish;
    }

    pub(crate) fn is_wanted(&self) -> bool {
        self.linked && self.wanted && !self.ended
    }

    /// A reader begins; its number tells it from earlier ones.
    pub(crate) fn begin(&mut self) -> u64 {
        self.generation += 1;
        self.started_at = Instant::now();
        self.frames_before = self.counters.frames.get();
        self.generation
    }

    /// Another broadcast has come in the place of the one that was lost: its track is tried at once.
    pub(crate) fn begin_anew(&mut self) {
        self.abort();
        self.finished = false;
        self.next = None;
        self.retry_at = Instant::now();
        self.retry_pause = RETRY;
        self.broken = 0;
    }

    /// Whether the user is to be told that the track gives nothing, now that its reader came to this
    /// `end`, and was not told since frames came last.
    ///
    /// One that breaks off once, or while the broadcast is not `reachable`, goes with the broadcast.
    pub(crate) fn is_trouble(&mut self, end: &TrackEnd, reachable: bool) -> bool {
        if self.counters.frames.get() != self.frames_before {
            self.broken = 0;
            self.told = false;
        }
        let trouble = match end {
            TrackEnd::Lost(_) => {
                self.broken += u32::from(reachable);
                reachable && self.broken > 1
            }
            TrackEnd::Missing(_) | TrackEnd::Empty | TrackEnd::Panicked => true,
            TrackEnd::Finished | TrackEnd::Retired => false,
        };
        trouble && !self.told
    }

    /// Whether the user is to be told now that the track is silent: once until frames come.
    pub(crate) fn tell_once(&mut self) -> bool {
        let frames = self.counters.frames.get();
        self.silent_at.replace(frames) != Some(frames)
    }

    /// The track is not read again before a pause, each twice as long as the one before.
    pub(crate) fn back_off(&mut self) {
        if self.started_at.elapsed() > MAX_RETRY {
            self.retry_pause = RETRY;
        }
        self.retry_at = Instant::now() + self.retry_pause;
        self.retry_pause = (self.retry_pause * 2).min(MAX_RETRY);
    }

    pub(crate) fn awaits_retry(&self) -> bool {
        self.is_wanted()
            && self.reader.is_none()
            && !self.delisted
            && self.retry_at > Instant::now()
    }

    /// The catalog lists `entry` for this pad: the same track, or the one that follows it.
    pub(crate) fn go_on(&mut self, entry: Entry, app_queue: &Arc<AppQueue>) {
        let follows = entry.name != self.entry.name;
        if let Some(running) = self.reader.as_ref().filter(|_| follows) {
            // The tail of the old track comes first.
            running.retired.cancel();
            self.delisted = false;
            self.next = Some(entry);
            return;
        }
        // What was to follow is not listed any more, and its like would be read as another format.
        // A reader that was retired would end in the middle of the track that is listed again.
        let retired = self.reader.as_ref();
        let retired = retired.is_some_and(|running| running.retired.is_cancelled());
        if self.next.take().is_some() || retired || !goes_on(&self.entry, &entry) {
            self.abort();
        }
        self.follows = follows && self.finished;
        self.switch(entry, app_queue);
    }

    /// The pad gives `entry` from here on.
    pub(crate) fn switch(&mut self, entry: Entry, app_queue: &Arc<AppQueue>) {
        let revived = std::mem::take(&mut self.delisted) && std::mem::take(&mut self.ended);
        let same_track = entry.name == self.entry.name;
        self.finished &= same_track && entry.elsewhere == self.entry.elsewhere && !revived;
        self.retry_pause = RETRY;
        if !same_track {
            self.broken = 0;
            self.told = false;
        }
        let other_caps = revived || entry.caps != self.entry.caps;
        let other_tags = entry.tags != self.entry.tags;
        if other_caps {
            let caps = entry.caps.clone();
            self.send(Message::Caps { caps, revived });
        }
        if other_tags {
            self.set_tags(entry.tags.clone());
        }
        if other_caps || other_tags {
            let stream = self.stream.clone();
            let (caps, tags) = (entry.caps.clone(), entry.tags.clone());
            // Whoever is notified of it is the application.
            app_queue.send_newest(format!("{} stream", self.name), move |_| {
                stream.set_caps(Some(&caps));
                stream.set_tags(Some(&tags));
            });
        }
        if !same_track || entry.rendition.mime() != self.entry.rendition.mime() {
            let (pad, track) = (self.name.clone(), entry.name.clone());
            let mime = entry.rendition.mime().map(str::to_owned);
            app_queue.send_newest(format!("{pad} track"), move |element| {
                expose::rename(element, &pad, &track, mime);
            });
        }
        if !same_track || other_caps {
            let (pad, track) = (self.name.clone(), entry.name.clone());
            let caps = entry.caps.clone();
            app_queue.post("moq-rendition-changed", move |s| {
                s.field("pad", pad)
                    .field("track", track)
                    .field("caps", caps)
            });
        }
        self.entry = entry;
    }

    /// The catalog lists nothing for this pad any more: what is under way is still taken.
    pub(crate) fn delist(&mut self) {
        self.delisted = true;
        self.retire();
    }

    pub(crate) fn retire(&self) {
        if let Some(running) = &self.reader {
            running.retired.cancel();
        }
    }

    pub(crate) fn end(&mut self, seqnum: Option<gst::Seqnum>) {
        self.abort();
        if !std::mem::replace(&mut self.ended, true) {
            self.send(Message::Eos(seqnum));
        }
    }

    pub(crate) fn abort(&mut self) {
        self.follows = false;
        if let Some(running) = self.reader.take() {
            running.abort.abort();
        }
    }

    pub(crate) fn set_collection(&mut self, collection: gst::StreamCollection) {
        if self.collection.replace(collection) {
            self.send(Message::Collection(self.collection.clone()));
        }
    }

    /// Queues an event of the application; a pad that was never linked keeps the sticky ones alone.
    pub(crate) fn send_event(&mut self, event: AppEvent) {
        if self.read || event.is_sticky() {
            self.send(Message::Event(event));
        }
    }

    fn set_tags(&mut self, tags: gst::TagList) {
        if self.tags.replace(tags) {
            self.send(Message::Tags(self.tags.clone()));
        }
    }

    pub(crate) fn send(&mut self, mut message: Message) {
        if self.read {
            // Refused only when the pad has gone.
            let _ = self.messages.send(message);
            return;
        }
        if let Message::Caps { revived, .. } = &mut message {
            // An end may wait before those that are replaced.
            let revives =
                |earlier: &Message| matches!(earlier, Message::Caps { revived: true, .. });
            *revived |= self.unread.iter().any(revives);
        }
        self.unread.retain(|earlier| !message.replaces(earlier));
        self.unread.push(message);
    }
}

/// Whether the reader of a track goes on when its entry becomes another one: what changed is told
/// in band, too.
fn goes_on(before: &Entry, after: &Entry) -> bool {
    let (one, other) = (&before.rendition, &after.rendition);
    if before.elsewhere != after.elsewhere || one.records() != other.records() {
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
