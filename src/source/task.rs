//! The session task: connection, catalog, and a reader for each track that is wanted.

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use gst::ClockTime;
use moq_mux::catalog::hang::Container;
use moq_net::{cache, origin};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    catalog::{Broadcast, Entry, Update},
    imp::{self, CAT},
    pad,
    playback::{self, LatencyAnswer, Playback, RunningClock},
    reader::{self, End, Reader},
    stream::Message,
};
use crate::{
    media::{
        codec::Kind,
        incoming::Join,
        reconcile::{self, Step},
    },
    session::{
        budget::Budget,
        courier::Courier,
        error::Error,
        link::{self, Link},
        settings::Target,
        status::Connection,
    },
};

/// Place of a pad in the session's list; never reused within a run.
pub(super) type PadIndex = usize;

/// Bound of what the library keeps for retransmission and late reads.
const CACHE_BYTES: u64 = 16 << 20;
const CACHE_TIME: Duration = Duration::from_secs(5);
/// What may wait in one pad's channel before its reader stops reading.
const PAD_BYTES: u64 = 16 << 20;
const PAD_TIME: ClockTime = ClockTime::from_seconds(2);
/// Markers at the end of a group are ours to tell by their empty payload: a publisher whose markers
/// claim a rewind cannot make us stumble.
const CONTENT: moq_mux::container::Kind = moq_mux::container::Kind::Data;
/// The pause after a broadcast that could not be opened, or a track that broke off.
const RETRY: Duration = Duration::from_millis(100);

/// What the element and its pads tell the session.
#[derive(Debug)]
pub(super) enum Control {
    Play(RunningClock),
    Pause,
    Linked(PadIndex),
    Unlinked(PadIndex),
    /// Downstream asks again for what it refused.
    Wanted(PadIndex),
    /// Downstream does not want the pad now.
    Unwanted(PadIndex),
    /// Downstream takes nothing more.
    Finished(PadIndex),
    Latency(ClockTime),
    /// The application ends the stream.
    Eos(gst::Seqnum),
}

/// What a session is made of.
pub(super) struct Config {
    pub(super) target: Target,
    pub(super) latency: ClockTime,
    pub(super) join: Join,
    pub(super) video_max_age: Duration,
    pub(super) audio_max_age: Duration,
    pub(super) answer: Arc<LatencyAnswer>,
    pub(super) connection: Arc<Connection>,
    pub(super) courier: Arc<Courier>,
    pub(super) control: UnboundedSender<Control>,
}

/// Runs one session until `cancel` says that it ends, or until nothing can mend it.
pub(super) async fn run(
    config: Config,
    commands: UnboundedReceiver<Control>,
    cancel: CancellationToken,
) -> Result<(), Error> {
    let pool = cache::Config::default()
        .with_capacity(CACHE_BYTES)
        .with_expiry(CACHE_TIME);
    let mut settings = origin::Config::default();
    settings.pool = cache::Pool::new(pool);
    let origin = moq_tokio::origin::spawn_config(settings);
    let link = Link::new(config.target.clone(), |client| {
        client.with_subscriber(origin.clone())
    })?;
    let mut session = Session {
        origin: origin.consume(),
        link,
        commands,
        broadcast: None,
        find_at: Instant::now(),
        pads: Vec::new(),
        counts: [0; 2],
        group: gst::GroupId::next(),
        playback: None,
        readers: JoinSet::new(),
        first_catalog: true,
        ended: false,
        config,
    };
    let result = tokio::select! {
        biased;
        () = cancel.cancelled() => Ok(()),
        result = session.work() => result,
    };
    session.link.close().await;
    result
}

struct Session {
    config: Config,
    origin: origin::Consumer,
    link: Link,
    commands: UnboundedReceiver<Control>,
    broadcast: Option<Broadcast>,
    /// When the broadcast may be looked for again.
    find_at: Instant,
    pads: Vec<Pad>,
    /// Pads so far of each kind.
    counts: [usize; 2],
    group: gst::GroupId,
    playback: Option<Arc<Playback>>,
    readers: JoinSet<(PadIndex, u64, End)>,
    first_catalog: bool,
    /// The broadcast, or the application, ended the stream.
    ended: bool,
}

/// The session's side of a pad.
struct Pad {
    entry: Entry,
    name: String,
    stream: gst::Stream,
    messages: mpsc::Sender<Message>,
    budget: Arc<Budget>,
    linked: bool,
    wanted: bool,
    /// EOS was sent, or downstream takes nothing more.
    ended: bool,
    reader: Option<Running>,
    /// Counts the pad's readers, so that the end of an earlier one is not taken for the present's.
    generation: u64,
    /// What follows when the present reader has ended.
    next: Option<Entry>,
    /// The track is no longer in the catalog.
    delisted: bool,
    /// A broken track is not subscribed again before.
    retry_at: Instant,
}

struct Running {
    abort: tokio::task::AbortHandle,
    retired: CancellationToken,
}

enum Event {
    Link(link::Event),
    Control(Control),
    Found(Result<Broadcast, moq_net::Error>),
    Catalog(Update),
    Reader(PadIndex, u64, End),
    Retry,
}

impl Session {
    async fn work(&mut self) -> Result<(), Error> {
        loop {
            match self.next().await? {
                Event::Link(event) => self.config.connection.apply(&event, &self.config.courier),
                Event::Control(control) => self.on_control(control),
                Event::Found(Ok(broadcast)) => self.broadcast = Some(broadcast),
                Event::Found(Err(err)) => {
                    gst::debug!(CAT, "Could not open {:?}: {err}", self.config.target);
                    self.find_at = Instant::now() + RETRY;
                }
                Event::Catalog(update) => self.on_catalog(update),
                Event::Reader(index, generation, end) => self.on_end(index, generation, end),
                Event::Retry => {}
            }
            self.subscribe();
        }
    }

    /// Waits for whatever comes next; cancel safe.
    async fn next(&mut self) -> Result<Event, Error> {
        let name = &self.config.target.broadcast;
        let (origin, find_at) = (&self.origin, self.find_at);
        let find = async {
            tokio::time::sleep_until(find_at).await;
            Broadcast::find(origin, name).await
        };
        let lost = self.broadcast.is_none() && !self.ended;
        let follow = async {
            match &mut self.broadcast {
                Some(broadcast) => broadcast.next().await,
                None => std::future::pending().await,
            }
        };
        let waiting = self.pads.iter().filter(|pad| pad.awaits_retry());
        let retry_at = waiting.map(|pad| pad.retry_at).min();
        let retry = async {
            match retry_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            event = self.link.next() => Ok(Event::Link(event?)),
            Some(control) = self.commands.recv() => Ok(Event::Control(control)),
            update = follow, if !self.ended => Ok(Event::Catalog(update)),
            found = find, if lost => Ok(Event::Found(found)),
            Some(Ok((index, generation, end))) = self.readers.join_next() => {
                Ok(Event::Reader(index, generation, end))
            }
            () = retry => Ok(Event::Retry),
        }
    }

    fn on_control(&mut self, control: Control) {
        match control {
            Control::Play(clock) => self.play(clock),
            Control::Pause => self.pause(),
            Control::Linked(index) => self.pads[index].link(),
            Control::Unlinked(index) => self.pads[index].linked = false,
            Control::Wanted(index) => self.pads[index].wanted = true,
            Control::Unwanted(index) => self.pads[index].wanted = false,
            Control::Finished(index) => self.pads[index].ended = true,
            Control::Latency(latency) => self.set_latency(latency),
            Control::Eos(seqnum) => {
                self.ended = true;
                for pad in &mut self.pads {
                    pad.end(Some(seqnum));
                }
            }
        }
    }

    fn play(&mut self, clock: RunningClock) {
        self.playback = Some(Playback::new(
            clock.clone(),
            self.config.latency,
            self.config.join,
            self.config.answer.clone(),
            self.config.courier.clone(),
        ));
        for pad in &self.pads {
            pad.send(Message::Play(clock.clone()));
        }
    }

    fn pause(&mut self) {
        self.playback = None;
        for pad in &mut self.pads {
            pad.abort();
            pad.send(Message::Pause);
        }
    }

    fn set_latency(&mut self, latency: ClockTime) {
        self.config.latency = latency;
        match &self.playback {
            Some(playback) => playback.update(|timeline| timeline.set_latency(latency)),
            None if self.config.answer.set(latency) => {
                playback::post_latency(&self.config.courier);
            }
            None => {}
        }
    }

    fn on_catalog(&mut self, update: Update) {
        match update {
            Update::Renditions { entries, warnings } => {
                self.warn(warnings);
                self.reconcile(entries);
            }
            Update::Unreadable { warnings } => self.warn(warnings),
            Update::Ended => {
                self.ended = true;
                for pad in &mut self.pads {
                    pad.delist();
                }
            }
            Update::Lost(reason) => {
                gst::info!(CAT, "Lost {:?}: {reason}", self.config.target);
                self.broadcast = None;
                self.find_at = Instant::now() + RETRY;
                // Another session of the publisher has other timestamps.
                for pad in &mut self.pads {
                    pad.retire();
                }
            }
        }
    }

    fn warn(&self, warnings: Vec<String>) {
        for warning in warnings {
            self.config.courier.send(move |element| {
                gst::element_warning!(element, gst::StreamError::Format, ["{warning}"]);
            });
        }
    }

    /// Brings the pads in line with the catalog.
    fn reconcile(&mut self, entries: Vec<Entry>) {
        let active: Vec<Entry> = self.pads.iter().map(|pad| pad.entry.clone()).collect();
        let mut added = Vec::new();
        for step in reconcile::plan(&active, &entries) {
            match step {
                Step::Keep { active, desired } | Step::Move { active, desired } => {
                    self.pads[active].go_on(entries[desired].clone(), &self.config.courier);
                }
                Step::Add { desired } => added.push(self.add(entries[desired].clone())),
                Step::End { active } => self.pads[active].delist(),
            }
        }
        let first = std::mem::take(&mut self.first_catalog);
        if added.is_empty() && !first {
            return;
        }
        let collection = gst::StreamCollection::builder(None)
            .streams(self.pads.iter().map(|pad| pad.stream.clone()))
            .build();
        let known = self.pads.len() - added.len();
        for pad in &self.pads[..known] {
            pad.send(Message::Collection(collection.clone()));
        }
        let courier = self.config.courier.clone();
        self.config
            .courier
            .send(move |element| imp::expose(element, added, &collection, first, &courier));
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
            gst::StreamFlags::empty(),
        );
        let (messages, receiver) = mpsc::channel();
        let config = pad::Config {
            index,
            kind,
            name: name.clone(),
            track: entry.name.clone(),
            stream: stream.clone(),
            group: self.group,
            caps: entry.caps.clone(),
            messages: receiver,
            control: self.config.control.clone(),
            latency: self.config.answer.clone(),
        };
        let pad = Pad::new(entry, name, stream, messages);
        if let Some(playback) = &self.playback {
            pad.send(Message::Play(playback.clock.clone()));
        }
        self.pads.push(pad);
        config
    }

    fn on_end(&mut self, index: PadIndex, generation: u64, end: End) {
        let pad = &mut self.pads[index];
        if pad.generation != generation || pad.reader.take().is_none() {
            return;
        }
        gst::debug!(CAT, "Track {} ended: {end}", pad.entry.name);
        if let Some(next) = pad.next.take() {
            pad.entry = next;
            return;
        }
        match end {
            End::Finished if pad.delisted => pad.end(None),
            // The catalog, which is read all the time, says whether the broadcast has ended.
            End::Finished | End::Lost(_) => pad.retry_at = Instant::now() + RETRY,
        }
    }

    /// Subscribes each track that is wanted, and no other.
    fn subscribe(&mut self) {
        let now = Instant::now();
        for index in 0..self.pads.len() {
            let pad = &mut self.pads[index];
            if !pad.is_wanted() {
                pad.abort();
                if pad.delisted && self.ended {
                    pad.end(None);
                }
                continue;
            }
            if pad.reader.is_some() {
                continue;
            }
            if pad.delisted {
                pad.end(None);
            } else if pad.retry_at <= now {
                self.start(index);
            }
        }
    }

    fn start(&mut self, index: PadIndex) {
        let (Some(playback), Some(broadcast)) = (&self.playback, &self.broadcast) else {
            return;
        };
        // Nobody else reads: a broadcast that has come back has other timestamps.
        if self.pads.iter().all(|pad| pad.reader.is_none()) {
            playback.update(|timeline| timeline.restart());
        }
        let pad = &mut self.pads[index];
        let kind = pad.entry.rendition.kind();
        let priorities = hang::catalog::PRIORITY;
        let (max_age, priority) = match kind {
            Kind::Video => (self.config.video_max_age, priorities.video),
            Kind::Audio => (self.config.audio_max_age, priorities.audio),
        };
        let container = match Container::new(pad.entry.rendition.container(), CONTENT) {
            Ok(container) => container,
            Err(err) => {
                gst::warning!(CAT, "Track {} cannot be read: {err}", pad.entry.name);
                pad.ended = true;
                return;
            }
        };
        let retired = CancellationToken::new();
        let config = reader::Config {
            name: pad.entry.name.clone(),
            rendition: pad.entry.rendition.clone(),
            container,
            max_age,
            priority,
            messages: pad.messages.clone(),
            budget: pad.budget.clone(),
            retired: retired.clone(),
        };
        pad.generation += 1;
        let generation = pad.generation;
        let reader = Reader::new(config, playback.clone());
        let consumer = broadcast.consumer.clone();
        let abort = self
            .readers
            .spawn(async move { (index, generation, reader.run(consumer).await) });
        pad.reader = Some(Running { abort, retired });
    }
}

impl Pad {
    fn new(
        entry: Entry,
        name: String,
        stream: gst::Stream,
        messages: mpsc::Sender<Message>,
    ) -> Self {
        Self {
            entry,
            name,
            stream,
            messages,
            budget: Budget::new(PAD_BYTES, PAD_TIME),
            linked: false,
            wanted: true,
            ended: false,
            reader: None,
            generation: 0,
            next: None,
            delisted: false,
            retry_at: Instant::now(),
        }
    }

    fn link(&mut self) {
        self.linked = true;
        self.wanted = true;
    }

    fn is_wanted(&self) -> bool {
        self.linked && self.wanted && !self.ended
    }

    fn awaits_retry(&self) -> bool {
        self.is_wanted()
            && self.reader.is_none()
            && !self.delisted
            && self.retry_at > Instant::now()
    }

    /// The catalog lists `entry` for this pad: the same track, or the one that follows it.
    fn go_on(&mut self, entry: Entry, courier: &Arc<Courier>) {
        let revived = std::mem::take(&mut self.delisted) && std::mem::take(&mut self.ended);
        let same_track = entry.name == self.entry.name;
        if revived || entry.caps != self.entry.caps {
            self.send(Message::Caps(entry.caps.clone()));
            self.stream.set_caps(Some(&entry.caps));
        }
        if !same_track {
            let (pad, track) = (self.name.clone(), entry.name.clone());
            courier.send(move |element| imp::rename(element, &pad, &track));
        }
        let running = self.reader.as_ref();
        if !same_track && let Some(running) = running {
            // The tail of the old track comes first.
            running.retired.cancel();
            self.next = Some(entry);
        } else {
            self.entry = entry;
        }
    }

    /// The catalog no longer lists the track: what is under way is still taken.
    fn delist(&mut self) {
        self.delisted = true;
        self.next = None;
        self.retire();
    }

    fn retire(&self) {
        if let Some(running) = &self.reader {
            running.retired.cancel();
        }
    }

    fn end(&mut self, seqnum: Option<gst::Seqnum>) {
        self.abort();
        if !std::mem::replace(&mut self.ended, true) {
            self.send(Message::Eos(seqnum));
        }
    }

    fn abort(&mut self) {
        if let Some(running) = self.reader.take() {
            running.abort.abort();
        }
    }

    fn send(&self, message: Message) {
        // Refused only when the pad has gone.
        let _ = self.messages.send(message);
    }
}

fn stream_type(kind: Kind) -> gst::StreamType {
    match kind {
        Kind::Video => gst::StreamType::VIDEO,
        Kind::Audio => gst::StreamType::AUDIO,
    }
}
