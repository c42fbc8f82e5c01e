//! The session task: connection, catalog, and a reader for each track that is wanted.

pub(crate) mod external;
pub(crate) mod pads;
pub(crate) mod reference;
pub(crate) mod subscription;
pub(crate) mod warnings;
pub(crate) mod watchdog;

use std::{collections::BTreeMap, future::Future, pin::Pin, sync::Arc, time::Duration};

use gst::{ClockTime, glib};
use moq_net::{Path, origin};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use self::{external::Elsewhere, subscription::Subscription, watchdog::Absence};
use super::{
    CAT,
    catalog::{Broadcast, CatalogFormat, Entry, LAST_WORDS, Track as CatalogTrack, Update},
    message::{Control, MAX_POSITION_AHEAD, Message, PadIndex, TrackEnd},
    playback::{self, LatencyAnswer, Playback},
};
use crate::{
    element::{app_queue::AppQueue, pipeline_clock::PipelineClock, status::ConnectionStatus},
    media::{format::codec::Kind, time::playout::Join},
    net::{
        config::Target,
        connection::{self, RelayConnection},
        error::Error,
    },
};

/// The pause after a broadcast that could not be opened, or a track that broke off.
pub(crate) const RETRY: Duration = Duration::from_millis(100);
/// It doubles with each failure up to this.
pub(crate) const MAX_RETRY: Duration = Duration::from_secs(5);

/// As long as the pause is no longer, the catalog that was read before is waited for.
const STEADY: Duration = Duration::from_secs(1);
/// How long a catalog may be silent before another one is tried.
const FIRST_WORDS: Duration = Duration::from_secs(3);

/// What a session is made of.
pub(crate) struct Config {
    /// The element's name, for the log.
    pub(crate) name: glib::GString,
    pub(crate) target: Target,
    pub(crate) catalog_format: CatalogFormat,
    pub(crate) latency: ClockTime,
    pub(crate) join: Join,
    pub(crate) video_max_age: Duration,
    pub(crate) audio_max_age: Duration,
    /// How long the broadcast may be gone; `None` is for ever.
    pub(crate) eos_timeout: Option<Duration>,
    pub(crate) answer: Arc<LatencyAnswer>,
    pub(crate) connection: Arc<ConnectionStatus>,
    pub(crate) app_queue: Arc<AppQueue>,
    pub(crate) control: UnboundedSender<Control>,
}

/// Runs one session until `cancel` says that it ends, or until nothing can mend it.
pub(crate) async fn run(
    config: Config,
    commands: UnboundedReceiver<Control>,
    cancel: CancellationToken,
) -> Result<(), Error> {
    let origin = config.target.cache.origin();
    let own = external::scope(&origin, [config.target.broadcast.as_str()]);
    let connection = RelayConnection::new(config.target.clone(), move |client| {
        client.with_subscriber(own.clone())
    })?;
    let mut session = Session {
        origin: origin.consume(),
        elsewhere: Elsewhere::new(config.name.clone(), config.target.clone(), origin),
        connection,
        commands,
        broadcast: None,
        gone: None,
        ends_alone: false,
        absence: Absence::default(),
        finding: None,
        listed: false,
        catalog: None,
        found_at: Instant::now(),
        find_at: Instant::now(),
        find_pause: RETRY,
        warned: None,
        warnings: BTreeMap::new(),
        pads: Vec::new(),
        streams: Vec::new(),
        counts: [0; Kind::ALL.len()],
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
    // The pads' threads end when nobody is left who could send to them.
    session.readers.shutdown().await;
    session.pads.clear();
    tokio::join!(session.connection.close(), session.elsewhere.close());
    result
}

type Finding = Pin<Box<dyn Future<Output = Result<Broadcast, String>> + Send>>;

struct Session {
    config: Config,
    origin: origin::Consumer,
    connection: RelayConnection,
    elsewhere: Elsewhere,
    commands: UnboundedReceiver<Control>,
    broadcast: Option<Broadcast>,
    /// Since when it is gone, once it was found.
    gone: Option<Instant>,
    /// Its publisher has ended it, and another one was there to serve it.
    ends_alone: bool,
    absence: Absence,
    /// The look-out for it, which other events do not interrupt.
    finding: Option<Finding>,
    /// Its catalog has come: before that its tracks are not known.
    listed: bool,
    /// The catalog that was read last: another one may list fewer tracks.
    catalog: Option<CatalogTrack>,
    /// When the broadcast was found last.
    found_at: Instant,
    /// When the broadcast may be looked for again, and how long after the next failure.
    find_at: Instant,
    find_pause: Duration,
    /// The last warning about it, said once.
    warned: Option<String>,
    /// What was warned of in the last second.
    warnings: BTreeMap<String, Instant>,
    pads: Vec<Subscription>,
    /// What the last stream collection told.
    streams: Vec<gst::Stream>,
    /// Pads so far of each kind.
    counts: [usize; Kind::ALL.len()],
    group: gst::GroupId,
    playback: Option<Arc<Playback>>,
    readers: JoinSet<(PadIndex, u64, TrackEnd)>,
    first_catalog: bool,
    /// The broadcast, or the application, ended the stream.
    ended: bool,
}

enum Event {
    Connection(connection::Event),
    Control(Control),
    Found(Box<Result<Broadcast, String>>),
    Catalog(Update),
    Reader(PadIndex, u64, TrackEnd),
    /// The broadcast has been gone for too long.
    GivenUp,
    /// The broadcast has not been there for a while.
    Missed,
    Retry,
}

impl Session {
    async fn work(&mut self) -> Result<(), Error> {
        loop {
            match self.next().await? {
                Event::Connection(event) => {
                    self.absence.follow(&event, Instant::now());
                    self.config.connection.apply(&event, &self.config.app_queue);
                }
                Event::Control(control) => self.on_control(control),
                Event::Found(found) => self.on_found(*found),
                Event::Catalog(update) => self.on_catalog(update),
                Event::Reader(index, generation, end) => self.on_end(index, generation, end),
                Event::GivenUp => self.finish(),
                Event::Missed => {
                    let broadcast = &self.config.target.broadcast;
                    self.absence.tell(&self.config.app_queue, broadcast);
                }
                Event::Retry => {}
            }
            self.subscribe();
        }
    }

    /// Waits for whatever comes next; cancel safe.
    async fn next(&mut self) -> Result<Event, Error> {
        let lost = self.broadcast.is_none() && !self.ended;
        if lost && self.finding.is_none() {
            self.finding = Some(self.find());
        }
        let over_at = self.over_at();
        let find = async {
            match &mut self.finding {
                Some(finding) => finding.await,
                None => std::future::pending().await,
            }
        };
        let follow = async {
            match &mut self.broadcast {
                Some(broadcast) => broadcast.next().await,
                None => std::future::pending().await,
            }
        };
        let waiting = self.pads.iter().filter(|pad| pad.awaits_retry());
        let retry_at = waiting.map(|pad| pad.retry_at).min();
        let missed_at = self.absence.due();
        tokio::select! {
            biased;
            event = self.connection.next() => Ok(Event::Connection(event?)),
            () = self.elsewhere.run() => Ok(Event::Retry),
            Some(control) = self.commands.recv() => Ok(Event::Control(control)),
            update = follow, if !self.ended => Ok(Event::Catalog(update)),
            found = find, if lost => {
                self.finding = None;
                Ok(Event::Found(Box::new(found)))
            }
            Some(ended) = self.readers.join_next() => match ended {
                Ok((index, generation, end)) => Ok(Event::Reader(index, generation, end)),
                // A reader that was given up.
                Err(_) => Ok(Event::Retry),
            },
            () = wait(over_at) => Ok(Event::GivenUp),
            () = wait(missed_at), if lost => Ok(Event::Missed),
            () = wait(retry_at) => Ok(Event::Retry),
        }
    }

    /// When a broadcast that is gone counts as over.
    fn over_at(&self) -> Option<Instant> {
        // Of publishers that end together the last one may be gone before it is found.
        let timeout = match self.ends_alone {
            true => Some(LAST_WORDS),
            false => self.config.eos_timeout,
        };
        let (gone, timeout) = self.gone.zip(timeout)?;
        (!self.ended && !self.pads.is_empty()).then(|| gone + timeout)
    }

    fn find(&self) -> Finding {
        let (origin, at) = (self.origin.clone(), self.find_at);
        let name = self.config.target.broadcast.clone();
        let format = self.config.catalog_format;
        let only = self.catalog.filter(|_| self.find_pause <= STEADY);
        // A link on which a catalog takes longer gets more time with each try.
        let patience = FIRST_WORDS + 4 * self.find_pause;
        Box::pin(async move {
            tokio::time::sleep_until(at).await;
            Broadcast::find(origin, name, format, only, patience).await
        })
    }

    fn on_control(&mut self, control: Control) {
        match control {
            Control::Play(clock) => self.play(clock),
            Control::Pause => self.pause(),
            Control::Linked(index, wish) => self.pads[index].link(wish),
            Control::Unlinked(index) => self.pads[index].linked = false,
            Control::Wanted(index, wish) => self.pads[index].want(wish),
            Control::Unwanted(index, wish) => self.pads[index].refuse(wish),
            Control::Finished(index) => self.pads[index].ended = true,
            Control::Latency(latency) => self.set_latency(latency),
            Control::Flowing => playback::post_latency(&self.config.app_queue),
            Control::Eos(seqnum) => self.on_eos(seqnum),
            Control::Problem(index, generation, problem) => {
                self.on_problem(index, generation, &problem);
            }
            Control::Event(event) => {
                for pad in &mut self.pads {
                    pad.send_event(event.clone());
                }
            }
        }
    }

    fn on_eos(&mut self, seqnum: gst::Seqnum) {
        self.ended = true;
        for pad in &mut self.pads {
            pad.end(Some(seqnum));
        }
        if !self.pads.iter().any(|pad| pad.linked) {
            // Nobody else could end the pipeline.
            let text = match self.pads.is_empty() {
                true => "The broadcast was not found before the stream was ended",
                false => "No pad of the broadcast was linked before the stream was ended",
            };
            self.config.app_queue.send(move |element| {
                gst::element_error!(element, gst::ResourceError::NotFound, ("{text}"));
            });
        }
    }

    fn play(&mut self, clock: PipelineClock) {
        self.playback = Some(Playback::new(
            clock.clone(),
            self.config.latency,
            self.config.join,
            self.config.answer.clone(),
            self.config.app_queue.clone(),
        ));
        let now = clock.running_time();
        for pad in &mut self.pads {
            pad.position.forget_beyond(now + MAX_POSITION_AHEAD);
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
                playback::post_latency(&self.config.app_queue);
            }
            None => {}
        }
    }

    /// A broadcast that comes back may have other timestamps, and other tracks of the same names.
    fn on_found(&mut self, found: Result<Broadcast, String>) {
        let broadcast = match found {
            Ok(broadcast) => broadcast,
            Err(err) => {
                // It is there all the same.
                self.absence.begin(Instant::now());
                // Once may be a publisher that goes away just now.
                if self.find_pause > RETRY {
                    self.warn_once(format!(
                        "The broadcast has no catalog that can be read ({err})"
                    ));
                }
                self.back_off();
                return;
            }
        };
        self.catalog = Some(broadcast.track());
        self.broadcast = Some(broadcast);
        self.absence.end();
        self.found_at = Instant::now();
        self.gone = None;
        self.ends_alone = false;
        self.listed = false;
        for pad in &mut self.pads {
            pad.begin_anew();
        }
        if let Some(playback) = &self.playback {
            playback.update(|timeline| timeline.restart());
        }
    }

    fn on_catalog(&mut self, update: Update) {
        match update {
            Update::Renditions { entries, warnings } => {
                self.warn(warnings);
                self.listed = true;
                self.hear_of(&entries);
                self.reconcile(entries);
            }
            Update::Unreadable { warnings } => self.warn(warnings),
            // Without pads there is nothing to end: another publisher may come.
            Update::Ended if self.pads.is_empty() => {
                self.lose("it ended before it had any track");
            }
            Update::Ended => self.finish(),
            Update::Lost(reason) => self.lose(&reason),
            Update::Replaced { ended } => {
                self.lose("another publisher serves it now");
                let now = Instant::now();
                (self.ends_alone, self.gone, self.find_at) = (ended, Some(now), now);
            }
        }
    }

    /// Hears of the broadcasts that have tracks of the catalog, too.
    fn hear_of(&mut self, entries: &[Entry]) {
        let own = Path::new(&self.config.target.broadcast);
        let others = entries.iter().filter_map(|entry| entry.elsewhere.clone());
        let others = others.filter(|path| !path.has_prefix(&own));
        self.elsewhere.hear_of(others.collect());
    }

    /// The stream is over: every pad ends when what is under way has come.
    fn finish(&mut self) {
        self.ended = true;
        for pad in &mut self.pads {
            pad.delist();
        }
    }

    /// The broadcast is gone; it is looked for again.
    fn lose(&mut self, reason: &str) {
        let target = &self.config.target;
        gst::info!(CAT, id = &self.config.name, "Lost {target:?}: {reason}");
        let gone = self.broadcast.take().and_then(|lost| lost.gone_since());
        self.gone = Some(gone.unwrap_or_else(Instant::now));
        self.ends_alone = false;
        self.absence.begin(Instant::now());
        // A catalog that breaks off as soon as it is read is not read without a growing pause.
        if self.found_at.elapsed() > MAX_RETRY {
            self.find_pause = RETRY;
        }
        self.back_off();
        for pad in &self.pads {
            pad.retire();
        }
    }

    /// The next look-out comes after a pause that grows.
    fn back_off(&mut self) {
        self.find_at = Instant::now() + self.find_pause;
        self.find_pause = (self.find_pause * 2).min(MAX_RETRY);
    }
}

async fn wait(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}
