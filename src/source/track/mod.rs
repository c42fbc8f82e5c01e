//! Reads one track: groups in order, frames stamped and sent to their pad.

pub(crate) mod drops;
pub(crate) mod frame_reader;
pub(crate) mod json_tracks;
pub(crate) mod playout;
pub(crate) mod reorder;
pub(crate) mod silence;
pub(crate) mod text;

use std::{
    convert::Infallible,
    future::Future,
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

use gst::{ClockTime, glib};
use moq_net::{broadcast, group, track};
use tokio::{sync::mpsc::UnboundedSender, time::Instant};
use tokio_util::sync::CancellationToken;

use self::{
    frame_reader::Container,
    playout::Output,
    reorder::{BACKLOG, Beginning},
    silence::Watch,
};
use super::{
    CAT,
    message::{Control, DropCause, Message, PadIndex, TrackEnd, TrackProblem},
    playback::Playback,
    stats::Counters,
};
use crate::{element::budget::Budget, media::format::caps::Rendition, net::failure::chain};

/// How long the tail of a track that is gone from the catalog may be silent, and may last.
const TAIL: Duration = Duration::from_millis(500);
pub(crate) const LONGEST_TAIL: Duration = Duration::from_secs(10);

/// How long frames are held that seem to be of another publisher, until that is known.
const SUSPENSE: Duration = Duration::from_secs(1);
/// After it was waited for in vain, frames that are ahead are those of a route that got faster for as long.
const TRUST: Duration = Duration::from_secs(10);

/// Whoever sends as many empty frames and groups in a row, within that time, sends nothing.
const MAX_EMPTY: usize = 1000;
const EMPTY_WITHIN: Duration = Duration::from_secs(100);

/// The latest decode or presentation time that was sent to a pad, whoever read it.
#[derive(Debug, Default)]
pub(crate) struct Position(AtomicU64);

impl Position {
    fn get(&self) -> ClockTime {
        ClockTime::from_nseconds(self.0.load(Ordering::Relaxed))
    }

    /// Forgets a position beyond `time`.
    pub(crate) fn forget_beyond(&self, time: ClockTime) {
        if self.get() > time {
            self.0.store(0, Ordering::Relaxed);
        }
    }

    fn advance(&self, time: ClockTime) {
        self.0.fetch_max(time.nseconds(), Ordering::Relaxed);
    }
}

/// Tells the session what is wrong with the track.
#[derive(Clone)]
pub(crate) struct Teller {
    pub(crate) control: UnboundedSender<Control>,
    pub(crate) index: PadIndex,
    /// Which reader of the pad this is.
    pub(crate) generation: u64,
}

impl Teller {
    fn dropping(&self, cause: DropCause) {
        self.tell(TrackProblem::Dropping(cause));
    }

    fn tell(&self, problem: TrackProblem) {
        // Refused only when the session has ended.
        let _ = self
            .control
            .send(Control::Problem(self.index, self.generation, problem));
    }
}

/// What a reader is made of.
pub(crate) struct Config {
    /// The track.
    pub(crate) name: String,
    /// What it is called in the log.
    pub(crate) log: glib::GString,
    pub(crate) rendition: Arc<Rendition>,
    pub(crate) container: Arc<Container>,
    /// How long a late group is waited for.
    pub(crate) max_age: Duration,
    pub(crate) priority: u8,
    /// It continues another track: nothing of its beginning is left out.
    pub(crate) from_start: bool,
    pub(crate) messages: mpsc::Sender<Message>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) counters: Arc<Counters>,
    /// Up to where frames were sent to the pad.
    pub(crate) position: Arc<Position>,
    pub(crate) teller: Teller,
    /// Cancelled when the catalog no longer lists the track: only its tail is still wanted.
    pub(crate) retired: CancellationToken,
}

/// The reader of one track.
pub(crate) struct Reader {
    config: Config,
    output: Output,
    /// The number of the next group, once there was one.
    expected: Option<u64>,
    /// Empty frames and groups in a row, and when the first of them came.
    empty: usize,
    empty_since: Instant,
    /// When it was first noticed that only the tail is wanted.
    retired_at: Option<Instant>,
    /// That its frames cannot be read was told.
    told: bool,
    /// When another publisher was suspected in vain.
    trusted: Option<Instant>,
    watch: Arc<Watch>,
    /// The next group does not follow what was read of the one before.
    breach: bool,
}

impl Reader {
    pub(crate) fn new(config: Config, playback: Arc<Playback>) -> Self {
        let output = Output::new(&config, playback);
        Self {
            config,
            output,
            expected: None,
            empty: 0,
            empty_since: Instant::now(),
            retired_at: None,
            told: false,
            trusted: None,
            watch: Arc::default(),
            breach: false,
        }
    }

    /// Reads until the track ends.
    pub(crate) async fn run(mut self, broadcast: broadcast::Consumer) -> TrackEnd {
        if let Some(records) = self.config.rendition.records() {
            let playback = &self.output.playback;
            return json_tracks::run(&self.config, records, playback, &broadcast).await;
        }
        let watching = self.watching(&broadcast);
        let read = tokio::select! {
            read = self.read(&broadcast) => read,
            never = watching => match never {},
        };
        match read {
            Ok(end) => {
                self.output.finish().await;
                end
            }
            Err(err) => TrackEnd::Lost(chain(&err)),
        }
    }

    /// Tells once if the track gives nothing, and never ends.
    fn watching(
        &self,
        broadcast: &broadcast::Consumer,
    ) -> impl Future<Output = Infallible> + use<> {
        let (watch, teller) = (self.watch.clone(), self.config.teller.clone());
        let (track, retired) = (
            broadcast.track(&self.config.name),
            self.config.retired.clone(),
        );
        // Whoever publishes a cue or a record now and then may be silent for as long as it likes.
        let sparse = self.config.rendition.kind().is_sparse();
        async move {
            tokio::time::sleep(silence::PATIENCE).await;
            if !sparse
                && !retired.is_cancelled()
                && let Ok(track) = track
                && let Some(silence) = watch.judge(&track)
            {
                teller.tell(TrackProblem::Silent(silence));
            }
            std::future::pending().await
        }
    }

    async fn read(&mut self, broadcast: &broadcast::Consumer) -> Result<TrackEnd, moq_net::Error> {
        let max_age = self.config.max_age;
        let mut subscription = track::Subscription::default()
            .with_priority(self.config.priority)
            .with_max_age(max_age);
        let mut first = subscription.clone();
        if self.config.from_start {
            subscription = subscription.with_groups(0..);
            first = subscription.clone().with_max_age(max_age.max(BACKLOG));
        }
        let subscribing = broadcast.track(&self.config.name)?.subscribe(first);
        let Some(subscriber) = until_retired(&self.config.retired, subscribing).await else {
            return Ok(TrackEnd::Retired);
        };
        let subscriber = subscriber?;
        self.watch.answered();
        let mut groups = match self.config.from_start {
            true => {
                let mut beginning = Beginning::new(subscriber, subscription);
                while !beginning.is_over() {
                    if let Some(end) = self.read_next(broadcast, beginning.next()).await? {
                        return Ok(end);
                    }
                }
                beginning.rest()
            }
            false => subscriber.ordered(),
        };
        loop {
            if let Some(end) = self.read_next(broadcast, groups.next_group()).await? {
                return Ok(end);
            }
        }
    }

    /// Reads the group that comes `next`; the end of the track, if it is there.
    async fn read_next(
        &mut self,
        broadcast: &broadcast::Consumer,
        next: impl Future<Output = Result<Option<group::Consumer>, moq_net::Error>>,
    ) -> Result<Option<TrackEnd>, moq_net::Error> {
        let next = until_retired(&self.config.retired, next);
        let Some(next) = self.output.settling(next).await else {
            return Ok(Some(TrackEnd::Retired));
        };
        if self.tail_is_over() {
            return Ok(Some(TrackEnd::Retired));
        }
        let Some(mut group) = next? else {
            return Ok(Some(TrackEnd::Finished));
        };
        let counters = &self.config.counters;
        let expected = self.expected.replace(group.sequence.saturating_add(1));
        if let Some(expected) = expected.filter(|expected| *expected != group.sequence) {
            counters
                .groups_lost
                .add(group.sequence.saturating_sub(expected));
            self.output.gap = true;
            self.breach = true;
        }
        counters.groups.add(1);
        self.watch.group();
        self.output.begin_group(expected.is_none());
        if self.read_group(&mut group, broadcast).await.is_break() {
            return Ok(Some(TrackEnd::Lost(
                "another publisher serves the broadcast".into(),
            )));
        }
        Ok((self.empty > MAX_EMPTY).then_some(TrackEnd::Empty))
    }

    /// Counts an empty frame or group; whether there were too many.
    fn count_empty(&mut self) -> bool {
        self.watch.empty();
        if self.empty == 0 || self.empty_since.elapsed() > EMPTY_WITHIN {
            self.empty = 0;
            self.empty_since = Instant::now();
        }
        self.empty += 1;
        self.empty > MAX_EMPTY
    }

    /// Whether a retired track has gone on for too long.
    fn tail_is_over(&mut self) -> bool {
        self.config.retired.is_cancelled()
            && *self.retired_at.get_or_insert_with(Instant::now) + LONGEST_TAIL < Instant::now()
    }

    /// Says once what is wrong with the content of the track; that a group broke off is no such thing.
    fn tell_unreadable(&mut self, err: &frame_reader::Error) {
        let broke_off = err.is_broken_off();
        self.watch.broken();
        self.output.dropped(match broke_off {
            true => DropCause::Broken,
            false => DropCause::Container,
        });
        if broke_off || std::mem::replace(&mut self.told, true) {
            return;
        }
        let name = &self.config.name;
        gst::warning!(
            CAT,
            id = &self.config.log,
            "The rest of a group of the track \"{name}\" is left out, it cannot be read: {err}"
        );
    }

    /// A group that breaks off is no error of its track: it came too late, or was given up.
    ///
    /// It is not read at all if it is of another publisher, who has another catalog.
    async fn read_group(
        &mut self,
        group: &mut group::Consumer,
        broadcast: &broadcast::Consumer,
    ) -> ControlFlow<()> {
        let mut first = true;
        let breach = std::mem::take(&mut self.breach);
        loop {
            // What is there already comes without a wait: others get their turn all the same.
            tokio::task::coop::consume_budget().await;
            let read = until_retired(&self.config.retired, self.config.container.read(group));
            let frames = match self.output.settling(read).await {
                Some(Ok(Some(frames))) => frames,
                Some(Err(err)) => {
                    self.tell_unreadable(&err);
                    self.config.counters.groups_lost.add(1);
                    self.output.gap = true;
                    self.breach = true;
                    return ControlFlow::Continue(());
                }
                Some(Ok(None)) if first => {
                    self.count_empty();
                    return ControlFlow::Continue(());
                }
                Some(Ok(None)) | None => return ControlFlow::Continue(()),
            };
            if self.tail_is_over() {
                return ControlFlow::Continue(());
            }
            if first
                && breach
                && frames
                    .first()
                    .is_some_and(|frame| self.output.is_ahead(frame))
                && self.is_replaced(broadcast).await
            {
                return ControlFlow::Break(());
            }
            // The first of what came at once is the one that waited longest for the others: its
            // transit is the publisher's, and with the last one's the others would be late.
            let mut arrives = true;
            for frame in frames {
                // An empty payload marks an end; it is no picture and no sound.
                if frame.payload.is_empty() {
                    if self.count_empty() {
                        return ControlFlow::Continue(());
                    }
                    self.output.clear(&frame);
                    continue;
                }
                self.empty = 0;
                self.watch.frame(Instant::now());
                let key = std::mem::take(&mut first) || frame.keyframe;
                let arrives = std::mem::take(&mut arrives);
                if !self.output.take(frame, key, arrives).await {
                    self.config.counters.groups_lost.add(1);
                    self.breach = true;
                    return ControlFlow::Continue(());
                }
            }
        }
    }

    /// Waits to see whether the broadcast is that of another publisher now: a relay tells of it after
    /// the first frames.
    async fn is_replaced(&mut self, broadcast: &broadcast::Consumer) -> bool {
        if self.trusted.is_some_and(|since| since.elapsed() < TRUST) {
            return false;
        }
        let gone = async {
            tokio::select! {
                biased;
                () = self.config.retired.cancelled() => (),
                _ = broadcast.closed() => (),
            }
        };
        let gone = tokio::time::timeout(SUSPENSE, gone);
        let replaced = self.output.settling(gone).await.is_ok();
        self.trusted = (!replaced).then(Instant::now);
        replaced
    }
}

/// The result of `future`; once the track is retired, `None` after [`TAIL`] of silence.
pub(crate) async fn until_retired<T>(
    retired: &CancellationToken,
    future: impl Future<Output = T>,
) -> Option<T> {
    let silence = async {
        retired.cancelled().await;
        tokio::time::sleep(TAIL).await;
    };
    tokio::select! {
        biased;
        result = future => Some(result),
        () = silence => None,
    }
}
