// SPDX-License-Identifier: MIT
//! Reads one track: its groups in order, and the frames of each into the playout.

use std::{
    future::{Future, ready},
    ops::ControlFlow,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use gst::ClockTime;
use moq_mux::container;
use moq_net::{broadcast, group, track};
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    config::Config,
    frame_reader::Error,
    json_tracks,
    past::PastGroups,
    playout::Playout,
    reorder::{GroupReorderBuffer, MAX_BACKLOG},
    silence::SilenceWatch,
};
use crate::{
    element::budget::Charge,
    net::failure::chain,
    source::{
        CAT,
        message::{DropCause, TrackEnd, TrackProblem},
        playback::Playback,
    },
};

/// How old a group of text or data may be that is read with the past.
const SPARSE_MAX_AGE: Duration = Duration::from_secs(3600);

/// How long frames wait that seem to be of another publisher, until that is known.
const REPLACED_TIMEOUT: Duration = Duration::from_secs(1);
/// After that was waited for in vain, frames that are ahead are those of a route that got faster for as long.
const REPLACED_INTERVAL: Duration = Duration::from_secs(10);

/// Whoever sends as many empty frames and groups in a row, within that time, sends nothing.
const MAX_EMPTY: usize = 1000;
const MAX_EMPTY_INTERVAL: Duration = Duration::from_secs(100);

/// The reader of one track.
pub(crate) struct Reader {
    config: Config,
    playout: Playout,
    /// The number of the next group, once there was one.
    expected: Option<u64>,
    empty: EmptyRun,
    /// That its frames cannot be read was logged.
    logged: bool,
    /// When another publisher was suspected in vain.
    trusted: Option<Instant>,
    silence: SilenceWatch,
}

/// Empty frames and groups in a row, and when the first of them came.
struct EmptyRun {
    count: usize,
    since: Instant,
}

impl EmptyRun {
    fn add(&mut self) {
        if self.count == 0 || self.since.elapsed() > MAX_EMPTY_INTERVAL {
            self.count = 0;
            self.since = Instant::now();
        }
        self.count += 1;
    }

    fn is_too_long(&self) -> bool {
        self.count > MAX_EMPTY
    }
}

impl Reader {
    pub(crate) fn new(config: Config, playback: Arc<Playback>) -> Self {
        let playout = Playout::new(&config, playback);
        Self {
            config,
            playout,
            expected: None,
            empty: EmptyRun {
                count: 0,
                since: Instant::now(),
            },
            logged: false,
            trusted: None,
            silence: SilenceWatch::default(),
        }
    }

    /// Reads until the track ends.
    pub(crate) async fn run(mut self, broadcast: broadcast::Consumer) -> TrackEnd {
        let tail = self.config.tail.clone();
        if let Some(records) = self.config.rendition.records() {
            let read =
                json_tracks::read(&self.config, records, self.playout.playback(), &broadcast);
            let end = tail.before_over(read).await;
            return end.map_or(TrackEnd::Retired, |end| {
                end.unwrap_or_else(|err| TrackEnd::Lost(chain(&err)))
            });
        }
        let is_past = self.playout.begin().is_some();
        let read = self.read(&broadcast);
        let end = match is_past {
            // What a peer has kept is played to its end, however long that is.
            true => Some(read.await),
            false => tail.before_over(read).await,
        };
        let end = match end {
            Some(Ok(end)) => end,
            Some(Err(err)) => return TrackEnd::Lost(chain(&err)),
            None => TrackEnd::Retired,
        };
        self.finish().await;
        end
    }

    async fn read(&mut self, broadcast: &broadcast::Consumer) -> Result<TrackEnd, moq_net::Error> {
        let is_sparse = self.config.rendition.kind().is_sparse();
        let max_age = match self.playout.begin() {
            Some(begin) if !is_sparse => return self.read_past(broadcast, begin).await,
            // Of what comes now and then, all is taken at once: it is little, and paced all the same.
            Some(_) => SPARSE_MAX_AGE,
            None => self.config.max_age,
        };
        let mut subscription = track::Subscription::default()
            .with_priority(self.config.state.urgency().priority(self.config.priority))
            .with_max_age(max_age);
        let mut first = subscription.clone();
        if self.config.from_start {
            subscription = subscription.with_groups(0..);
            first = subscription.clone().with_max_age(max_age.max(MAX_BACKLOG));
        }
        let track = broadcast.track(&self.config.name)?;
        let subscribing = track.subscribe(first);
        // Whoever publishes a cue or a record now and then may be silent for as long as it likes.
        if !is_sparse {
            self.silence = SilenceWatch::over(track);
        }
        let Some(subscriber) = self.wait_in_tail(subscribing).await else {
            return Ok(TrackEnd::Retired);
        };
        let mut subscriber = subscriber?;
        self.silence.answered();
        let subscription = self.set_priority(&mut subscriber, subscription);
        let mut groups = match self.config.from_start {
            true => {
                let mut beginning = GroupReorderBuffer::new(subscriber, subscription);
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
            let next = self.wait_in_tail(groups.next_group()).await;
            let Some(next) = next else {
                return Ok(TrackEnd::Retired);
            };
            let mut reading = pin!(self.read_next(broadcast, ready(next)));
            let mut asks = true;
            let end = loop {
                tokio::select! {
                    biased;
                    // There are none; but where nobody asks for more of the track while the session changes,
                    // the next one is asked for the rest of this group alone, which it may not give.
                    datagram = groups.recv_datagram(), if asks => {
                        asks = matches!(datagram, Ok(Some(_)));
                        tokio::task::coop::consume_budget().await;
                    }
                    end = &mut reading => break end?,
                }
            };
            if let Some(end) = end {
                return Ok(end);
            }
        }
    }

    /// Reads what a peer has kept, from the group with the timestamp `begin` on.
    async fn read_past(
        &mut self,
        broadcast: &broadcast::Consumer,
        begin: ClockTime,
    ) -> Result<TrackEnd, moq_net::Error> {
        let track = broadcast.track(&self.config.name)?;
        let priority = self.config.state.urgency().priority(self.config.priority);
        let frames = self.config.frames.clone();
        let tail = self.config.tail.clone();
        let ended = tail.has_begun();
        let mut groups = PastGroups::find(track, &frames, begin, priority, ended).await?;
        loop {
            let next = groups.next(|| tail.has_begun());
            let next = self.wait(next).await;
            if let Some(end) = self.read_next(broadcast, ready(next)).await? {
                return Ok(end);
            }
        }
    }

    /// Sessions send in the order that subscribers ask for, so the publisher's is asked for; gives what is
    /// asked for from now on.
    fn set_priority(
        &self,
        subscriber: &mut track::Subscriber,
        subscription: track::Subscription,
    ) -> track::Subscription {
        let wished = subscriber.info().priority;
        let normal = match wished == track::Info::default().priority {
            true => self.config.priority,
            false => wished,
        };
        let state = &self.config.state;
        let priority = state.urgency().priority(normal);
        if priority != subscription.priority {
            let asked = subscriber.subscription().with_priority(priority);
            // Refused only when the track is over.
            let _ = subscriber.update(asked);
        }
        state.subscribed(normal, subscriber.control());
        subscription.with_priority(priority)
    }

    /// Reads the group that comes `next`; the end of the track, if it is there.
    async fn read_next(
        &mut self,
        broadcast: &broadcast::Consumer,
        next: impl Future<Output = Result<Option<group::Consumer>, moq_net::Error>>,
    ) -> Result<Option<TrackEnd>, moq_net::Error> {
        let Some(next) = self.wait_in_tail(next).await else {
            return Ok(Some(TrackEnd::Retired));
        };
        let Some(group) = next? else {
            return Ok(Some(TrackEnd::Finished));
        };
        let expected = self.expected.replace(group.sequence.saturating_add(1));
        if let Some(expected) = expected.filter(|expected| *expected != group.sequence) {
            let lost = group.sequence.saturating_sub(expected);
            self.config.state.lose(lost);
            self.playout.lose_groups(lost);
        }
        self.config.pad.counters().groups.add(1);
        self.silence.group();
        self.playout.begin_group(expected.is_none());
        if self.read_group(group, broadcast).await.is_break() {
            return Ok(Some(TrackEnd::Lost(
                "another publisher serves the broadcast".into(),
            )));
        }
        Ok(self.empty.is_too_long().then_some(TrackEnd::Empty))
    }

    /// A group that breaks off is no error of its track: it came too late, or was given up.
    ///
    /// It is not read at all if it is of another publisher, who has another catalog.
    async fn read_group(
        &mut self,
        mut group: group::Consumer,
        broadcast: &broadcast::Consumer,
    ) -> ControlFlow<()> {
        let suspected = self.playout.follows_loss();
        let mut first = true;
        while let Some(frames) = self.read_frames(&mut group, first).await {
            if first
                && suspected
                && (frames.first()).is_some_and(|frame| self.playout.is_ahead(frame))
                && self.is_replaced(broadcast).await
            {
                return ControlFlow::Break(());
            }
            // The first of what came at once is the one that waited longest for the others: its
            // transit is the publisher's, and with the last one's the others would be late.
            let mut arrives = true;
            for frame in frames {
                // An empty payload marks an end; it is no frame of video or audio.
                if frame.payload.is_empty() {
                    self.count_empty();
                    if self.empty.is_too_long() {
                        return ControlFlow::Continue(());
                    }
                    self.playout.clear(&frame);
                    continue;
                }
                self.empty.count = 0;
                self.silence.frame();
                let keyframe = std::mem::take(&mut first) || frame.keyframe;
                let arrives = std::mem::take(&mut arrives);
                if !self.play_out(frame, keyframe, arrives).await {
                    return ControlFlow::Continue(());
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// The next frames of a group, none at its end; `first` if there were none before them.
    async fn read_frames(
        &mut self,
        group: &mut group::Consumer,
        first: bool,
    ) -> Option<Vec<container::Frame>> {
        // What is there already comes without a wait: others get their turn all the same.
        tokio::task::coop::consume_budget().await;
        let reader = self.config.frames.clone();
        match self.wait_in_tail(reader.read(group)).await? {
            Ok(Some(frames)) => return Some(frames),
            Ok(None) if first => self.count_empty(),
            Ok(None) => {}
            Err(err) => self.lose_rest(&err),
        }
        None
    }

    /// Hands a frame to the playout; `false` says that its group is too old to go on with.
    async fn play_out(&mut self, frame: container::Frame, keyframe: bool, arrives: bool) -> bool {
        self.config.pad.count(frame.payload.len());
        if let Some(early) = self.playout.early(&frame) {
            self.wait(sleep(early)).await;
        }
        self.playout.note(&frame, &self.config.state);
        if self.config.handover.is_trial(self.config.number) {
            self.playout.skip();
            return true;
        }
        let (charge, waited) = self.charge(frame.payload.len()).await;
        if waited > self.config.max_age {
            self.playout.lose_rest(DropCause::Late);
            return false;
        }
        // A frame that waited here did not arrive now.
        let arrives = arrives && waited.is_zero();
        self.playout.push(frame, charge, keyframe, arrives);
        true
    }

    fn count_empty(&mut self) {
        self.silence.empty();
        self.empty.add();
    }

    /// Logs once what is wrong with the content of the track; that a group broke off is no such thing.
    fn lose_rest(&mut self, err: &Error) {
        let broke_off = err.is_broken_off();
        self.config.state.lose(1);
        self.silence.broken();
        self.playout.lose_rest(match broke_off {
            true => DropCause::BrokenOff,
            false => DropCause::Unreadable,
        });
        if broke_off || std::mem::replace(&mut self.logged, true) {
            return;
        }
        let name = &self.config.name;
        gst::warning!(
            CAT,
            id = &self.config.log,
            "The rest of a group of the track \"{name}\" is left out, it cannot be read: {err}"
        );
    }

    /// Waits to see whether the broadcast is that of another publisher now: a relay tells of it after
    /// the first frames.
    async fn is_replaced(&mut self, broadcast: &broadcast::Consumer) -> bool {
        let trusted = self.trusted.map(|since| since.elapsed());
        if trusted.is_some_and(|elapsed| elapsed < REPLACED_INTERVAL) {
            return false;
        }
        let tail = self.config.tail.clone();
        let gone = async {
            tokio::select! {
                biased;
                () = tail.begins() => (),
                _ = broadcast.closed() => (),
            }
        };
        let gone = tokio::time::timeout(REPLACED_TIMEOUT, gone);
        let replaced = self.wait(gone).await.is_ok();
        self.trusted = (!replaced).then(Instant::now);
        replaced
    }

    /// Takes the share of a frame of `bytes` in the pad's budget, and says how long it took to get it;
    /// pending frames take room, too.
    async fn charge(&mut self, bytes: usize) -> (Charge, Duration) {
        let latency = self.playout.playback().latency();
        if let Some(charge) = self.config.pad.try_charge(bytes, latency) {
            return (charge, Duration::ZERO);
        }
        let begun = Instant::now();
        let charge = self.wait(self.config.pad.charge(bytes)).await;
        (charge, begun.elapsed())
    }

    /// What `future` comes to; in the tail of the track `None` after a while of silence.
    async fn wait_in_tail<T>(&mut self, future: impl Future<Output = T>) -> Option<T> {
        let tail = self.config.tail.clone();
        self.wait(tail.before_silence(future)).await
    }

    /// What `future` comes to; meanwhile pending frames are emitted when they are due, and a track that
    /// gives nothing is reported.
    async fn wait<T>(&mut self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        let handover = self.config.handover.clone();
        loop {
            let changed = handover.changed();
            let release = self.playout.next_release();
            let judgement = self.silence.due();
            tokio::select! {
                biased;
                result = &mut future => return result,
                () = sleep(release.unwrap_or_default()), if release.is_some() => self.playout.release(),
                () = changed, if release.is_some() => self.playout.release(),
                () = sleep_until(judgement.unwrap_or_else(Instant::now)), if judgement.is_some() => {
                    self.judge_silence();
                }
            }
        }
    }

    fn judge_silence(&mut self) {
        let silence = self.silence.judge();
        if let Some(silence) = silence.filter(|_| !self.config.tail.has_begun()) {
            self.config.problems.report(TrackProblem::Silent(silence));
        }
    }

    /// Emits all that is pending.
    async fn finish(&mut self) {
        while let Some(release) = self.playout.next_release() {
            sleep(release).await;
            self.playout.release();
        }
    }
}
