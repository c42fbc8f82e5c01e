//! Reads one track: groups in order, frames stamped and sent to their pad.

use std::{
    collections::VecDeque,
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

use bytes::Bytes;
use gst::{ClockTime, glib};
use moq_mux::{catalog::hang::Container, container::Container as _};
use moq_net::{broadcast, group, track};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    imp::CAT,
    playback::Playback,
    stream::{Frame, Message},
    subscription::PAD_TIME,
};
use crate::{
    media::{
        caps::{self, Rendition},
        codec::Kind,
        duration,
        incoming::{TrackId, Verdict},
    },
    session::{budget::Budget, error},
};

/// How long the tail of a track that is gone from the catalog may be silent, and may last.
const TAIL: Duration = Duration::from_millis(500);
const LONGEST_TAIL: Duration = Duration::from_secs(10);

/// How much of a track that continues another one is taken, however late it comes.
const BACKLOG: Duration = Duration::from_secs(5);
/// How long its next group may be overtaken by later ones: a few round trips of a long way.
const OVERTAKEN: Duration = Duration::from_secs(2);

/// The latest decode or presentation time that was sent to a pad, whoever read it.
#[derive(Debug, Default)]
pub(super) struct Position(AtomicU64);

impl Position {
    fn get(&self) -> ClockTime {
        ClockTime::from_nseconds(self.0.load(Ordering::Relaxed))
    }

    /// Forgets a position beyond `time`.
    pub(super) fn forget_beyond(&self, time: ClockTime) {
        if self.get() > time {
            self.0.store(0, Ordering::Relaxed);
        }
    }

    fn advance(&self, time: ClockTime) {
        self.0.fetch_max(time.nseconds(), Ordering::Relaxed);
    }
}

/// How a track ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error("the publisher finished it")]
    Finished,
    #[error("it was retired, and its tail has come")]
    Retired,
    #[error("it broke off: {0}")]
    Lost(String),
    #[error("the broadcast \"{0}\", which has it, was not found")]
    Missing(String),
}

/// What a reader is made of.
pub(super) struct Config {
    /// The track.
    pub(super) name: String,
    /// What it is called in the log.
    pub(super) log: glib::GString,
    pub(super) rendition: Arc<Rendition>,
    pub(super) container: Container,
    /// How long a late group is waited for.
    pub(super) max_age: Duration,
    pub(super) priority: u8,
    /// It continues another track: nothing of its beginning is left out.
    pub(super) from_start: bool,
    pub(super) messages: mpsc::Sender<Message>,
    pub(super) budget: Arc<Budget>,
    /// Up to where frames were sent to the pad.
    pub(super) position: Arc<Position>,
    /// Cancelled when the catalog no longer lists the track: only its tail is still wanted.
    pub(super) retired: CancellationToken,
}

/// The reader of one track.
pub(super) struct Reader {
    config: Config,
    output: Output,
    /// When it was first noticed that only the tail is wanted.
    retired_at: Option<Instant>,
}

impl Reader {
    pub(super) fn new(config: Config, playback: Arc<Playback>) -> Self {
        let output = Output::new(&config, playback);
        Self {
            config,
            output,
            retired_at: None,
        }
    }

    /// Reads until the track ends.
    pub(super) async fn run(mut self, broadcast: broadcast::Consumer) -> End {
        match self.read(&broadcast).await {
            Ok(end) => {
                self.output.finish().await;
                end
            }
            Err(err) => End::Lost(error::chain(&err)),
        }
    }

    async fn read(&mut self, broadcast: &broadcast::Consumer) -> Result<End, moq_net::Error> {
        let mut subscription = track::Subscription::default().with_priority(self.config.priority);
        let mut max_age = self.config.max_age;
        let mut catching_up = self.config.from_start;
        if catching_up {
            subscription = subscription.with_groups(0..);
            max_age = max_age.max(BACKLOG);
        }
        let subscribing = broadcast
            .track(&self.config.name)?
            .subscribe(subscription.clone().with_max_age(max_age));
        let Some(subscriber) = until_retired(&self.config.retired, subscribing).await else {
            return Ok(End::Retired);
        };
        let mut groups = subscriber?.ordered();
        let mut expected = None;
        loop {
            let awaited = catching_up.then(|| expected.unwrap_or(0));
            let next = next_group(&mut groups, awaited);
            let next = until_retired(&self.config.retired, next);
            let Some(next) = self.output.settling(next).await else {
                return Ok(End::Retired);
            };
            if self.tail_is_over() {
                return Ok(End::Retired);
            }
            let Some(mut group) = next? else {
                return Ok(End::Finished);
            };
            // The first one may be the latest only because the next has not come yet.
            let is_latest = expected.is_some() && groups.latest() == Some(group.sequence);
            if catching_up && is_latest {
                catching_up = false;
                // Refused only when the track has ended.
                let _ = groups.update(subscription.clone().with_max_age(self.config.max_age));
            }
            if expected.is_some_and(|expected| expected != group.sequence) {
                self.output.gap = true;
            }
            expected = Some(group.sequence.saturating_add(1));
            self.read_group(&mut group).await;
        }
    }

    /// Whether a retired track has gone on for too long.
    fn tail_is_over(&mut self) -> bool {
        self.config.retired.is_cancelled()
            && *self.retired_at.get_or_insert_with(Instant::now) + LONGEST_TAIL < Instant::now()
    }

    /// A group that breaks off is no error of its track: it came too late, or was given up.
    async fn read_group(&mut self, group: &mut group::Consumer) {
        let mut first = true;
        loop {
            let read = until_retired(&self.config.retired, self.config.container.read(group));
            let frames = match self.output.settling(read).await {
                Some(Ok(Some(frames))) => frames,
                Some(Err(_)) => {
                    self.output.gap = true;
                    return;
                }
                Some(Ok(None)) | None => return,
            };
            if self.tail_is_over() {
                return;
            }
            for frame in frames {
                // An empty payload marks an end; it is no picture and no sound.
                if frame.payload.is_empty() {
                    continue;
                }
                let key = std::mem::take(&mut first) || frame.keyframe;
                if !self.output.take(frame, key).await {
                    return;
                }
            }
        }
    }
}

/// The next group; the one that is `awaited` gets [`OVERTAKEN`] to come before later ones, which may
/// overtake it on their own streams.
async fn next_group(
    groups: &mut track::Ordered,
    awaited: Option<u64>,
) -> Result<Option<group::Consumer>, moq_net::Error> {
    if let Some(sequence) = awaited {
        groups.set_groups(sequence..=sequence);
        let next = tokio::time::timeout(OVERTAKEN, groups.next_group()).await;
        groups.set_groups(sequence..);
        if let Ok(next) = next {
            return next;
        }
    }
    groups.next_group().await
}

/// The result of `future`; once the track is retired, `None` after [`TAIL`] of silence.
async fn until_retired<T>(
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

/// Stamps the frames of one track and sends them to its pad.
struct Output {
    log: glib::GString,
    rendition: Arc<Rendition>,
    messages: mpsc::Sender<Message>,
    budget: Arc<Budget>,
    position: Arc<Position>,
    max_age: Duration,
    playback: Arc<Playback>,
    track: TrackId,
    /// Frames that wait for the timeline to settle.
    held: VecDeque<Held>,
    /// Frames were lost before the next one to come.
    gap: bool,
    /// The next frame to show does not follow the one before it.
    discont: bool,
    /// Deltas are of no use until a key frame comes.
    needs_key: bool,
    /// Pictures before this one refer to a group that was not received.
    first_shown: Option<ClockTime>,
    /// Frames that were older than the start of the subscription.
    before_start: u64,
}

struct Held {
    timestamp: ClockTime,
    key: bool,
    /// Frames were lost before this one.
    gap: bool,
    payload: Bytes,
}

/// The frame's timestamp, unless it is absurd: 2^60 ns are 36 years.
fn timestamp(frame: &moq_mux::container::Frame) -> Option<ClockTime> {
    let nanos = u64::try_from(frame.timestamp.as_nanos()).ok()?;
    (nanos < 1 << 60).then(|| ClockTime::from_nseconds(nanos))
}

impl Output {
    fn new(config: &Config, playback: Arc<Playback>) -> Self {
        let delay = config.rendition.delay();
        let delay = delay.and_then(|delay| ClockTime::try_from(delay).ok());
        let kind = config.rendition.kind();
        let track = playback.update(|timeline| {
            let track = timeline.add_track(kind, delay, config.position.get());
            if let Some(depth) = caps::reorder_depth(&config.rendition) {
                timeline.set_reorder_depth(track, depth);
            }
            if let Some(frame) = duration::of(&config.rendition, &[]) {
                timeline.set_frame_duration(track, frame);
            }
            track
        });
        Self {
            log: config.log.clone(),
            rendition: config.rendition.clone(),
            messages: config.messages.clone(),
            budget: config.budget.clone(),
            position: config.position.clone(),
            max_age: config.max_age,
            playback,
            track,
            held: VecDeque::new(),
            gap: false,
            discont: true,
            needs_key: kind == Kind::Video,
            first_shown: None,
            before_start: 0,
        }
    }

    /// The result of `future`; meanwhile the held frames are let go when the timeline settles.
    async fn settling<T>(&mut self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        loop {
            let until_settled = self.until_settled();
            tokio::select! {
                biased;
                result = &mut future => return result,
                () = tokio::time::sleep(until_settled), if !self.held.is_empty() => {
                    self.release_if_settled();
                }
            }
        }
    }

    /// Lets everything go that is held.
    async fn finish(&mut self) {
        while !self.held.is_empty() {
            tokio::time::sleep(self.until_settled()).await;
            self.release_if_settled();
        }
    }

    /// Takes in a frame; `false` says that its group is too old to go on with.
    async fn take(&mut self, frame: moq_mux::container::Frame, key: bool) -> bool {
        let waited = self.wait_for_room().await;
        if waited > self.max_age {
            self.gap = true;
            return false;
        }
        let Some(timestamp) = timestamp(&frame) else {
            self.discont = true;
            return true;
        };
        let now = self.playback.clock.now();
        self.playback.update(|timeline| {
            // A frame that waited here did not arrive now, but the first one anchors all the same.
            if waited.is_zero() || timeline.settles_at().is_none() {
                timeline.arrive(self.track, timestamp, now);
            }
        });
        self.held.push_back(Held {
            timestamp,
            key,
            gap: std::mem::take(&mut self.gap),
            payload: frame.payload,
        });
        self.release_if_settled();
        true
    }

    async fn wait_for_room(&self) -> Duration {
        self.budget.set_max_time(PAD_TIME + self.playback.latency());
        if !self.budget.is_over() {
            return Duration::ZERO;
        }
        let begun = Instant::now();
        self.budget.room().await;
        begun.elapsed()
    }

    fn until_settled(&self) -> Duration {
        let at = self.playback.timeline().settles_at();
        let now = self.playback.clock.now();
        // Without an anchor nothing is held for long; never without a pause.
        at.map_or(TAIL, |at| at.saturating_sub(now).into())
    }

    fn release_if_settled(&mut self) {
        let now = self.playback.clock.now();
        if !self.playback.timeline().is_settled(now) {
            return;
        }
        while let Some(held) = self.held.pop_front() {
            self.show(held);
        }
    }

    /// What follows does not belong to what came before: video begins again with a key frame.
    fn interrupt(&mut self) {
        self.discont = true;
        self.needs_key = self.rendition.kind() == Kind::Video;
    }

    fn show(&mut self, held: Held) {
        if held.gap {
            self.interrupt();
        }
        if !self.is_decodable(&held) {
            self.discont = true;
            return;
        }
        let mut timeline = self.playback.timeline();
        let verdict = timeline.stamp(self.track, held.timestamp);
        drop(timeline);
        let Verdict::Show(stamp) = verdict else {
            self.before_start += 1;
            self.interrupt();
            return;
        };
        let is_video = self.rendition.kind() == Kind::Video;
        let frame = Frame {
            pts: stamp.pts,
            dts: stamp.dts,
            duration: duration::of(&self.rendition, &held.payload),
            discont: std::mem::take(&mut self.discont) | stamp.discont,
            delta: is_video && !held.key,
            charge: self.budget.charge(held.payload.len(), stamp.pts),
            payload: held.payload,
        };
        self.position.advance(frame.dts.unwrap_or(frame.pts));
        // Refused only when the pad has gone.
        let _ = self.messages.send(Message::Frame(frame));
    }

    /// Whether what the picture refers to was received, too.
    fn is_decodable(&mut self, held: &Held) -> bool {
        if held.key {
            self.first_shown = self.needs_key.then_some(held.timestamp);
            if self.needs_key
                && let Some(depth) = caps::reorder_depth_in_band(&self.rendition, &held.payload)
            {
                self.playback
                    .timeline()
                    .set_reorder_depth(self.track, depth);
            }
            self.needs_key = false;
            return true;
        }
        let leading = self.first_shown.is_some_and(|first| held.timestamp < first);
        let is_video = self.rendition.kind() == Kind::Video;
        !(self.needs_key || (leading && is_video))
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.playback.timeline().remove_track(self.track);
        let count = self.before_start;
        gst::debug!(CAT, id = &self.log, "{count} frames lay before the start");
    }
}
