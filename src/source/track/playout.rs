//! From the frames of one track to the messages of its pad.

use std::{
    collections::VecDeque,
    future::Future,
    pin::pin,
    sync::{Arc, mpsc},
    time::Duration,
};

use bytes::Bytes;
use gst::ClockTime;
use tokio::time::Instant;

use super::{Config, Position, TAIL, Teller, drops::Drops};
use crate::{
    element::budget::{Budget, Charge},
    media::{
        format::{
            caps::{self, Rendition},
            codec::Kind,
            duration,
        },
        time::playout::{TrackId, Verdict},
    },
    source::{
        message::{DropCause, Frame, MAX_QUEUE_TIME, Message},
        playback::Playback,
        stats::Counters,
    },
};

/// No route gets faster by more than this at once.
const AHEAD: ClockTime = ClockTime::from_mseconds(250);

/// Stamps the frames of one track and sends them to its pad.
pub(crate) struct Output {
    pub(crate) rendition: Arc<Rendition>,
    pub(crate) messages: mpsc::Sender<Message>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) position: Arc<Position>,
    pub(crate) max_age: Duration,
    pub(crate) playback: Arc<Playback>,
    pub(crate) track: TrackId,
    /// Frames that wait for the timeline to settle.
    pub(crate) held: VecDeque<Held>,
    /// Frames were lost before the next one to come.
    pub(crate) gap: bool,
    /// The next frame to show does not follow the one before it.
    pub(crate) discont: bool,
    /// Deltas are of no use until a key frame comes.
    pub(crate) needs_key: bool,
    /// Pictures before this one refer to a group that was not received.
    pub(crate) first_shown: Option<ClockTime>,
    /// The end of the text that is shown was told.
    pub(crate) cleared: bool,
    /// What was dropped since a frame was shown.
    drops: Drops,
    teller: Teller,
    /// The group under way at the join is left out by the user's wish.
    leaves_out: bool,
}

pub(crate) struct Held {
    pub(crate) timestamp: ClockTime,
    pub(crate) key: bool,
    /// Frames were lost before this one.
    pub(crate) gap: bool,
    /// Its time is of another epoch than that of the other tracks.
    pub(crate) strays: bool,
    pub(crate) payload: Bytes,
    pub(crate) charge: Charge,
    /// When it ends, if a frame that came after it says so.
    pub(crate) end: Option<ClockTime>,
    /// Before that it is held, unless its end is known.
    pub(crate) ready: ClockTime,
}

/// The frame's timestamp, unless it is absurd: 2^63 ns are 292 years.
pub(crate) fn timestamp(frame: &moq_mux::container::Frame) -> Option<ClockTime> {
    let nanos = u64::try_from(frame.timestamp.as_nanos()).ok()?;
    (nanos < 1 << 63).then(|| ClockTime::from_nseconds(nanos))
}

impl Output {
    pub(crate) fn new(config: &Config, playback: Arc<Playback>) -> Self {
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
        let leaves_out = playback.timeline().joins_next_group();
        Self {
            rendition: config.rendition.clone(),
            messages: config.messages.clone(),
            budget: config.budget.clone(),
            counters: config.counters.clone(),
            position: config.position.clone(),
            max_age: config.max_age,
            playback,
            track,
            held: VecDeque::new(),
            gap: false,
            discont: true,
            needs_key: kind == Kind::Video,
            first_shown: None,
            cleared: false,
            drops: Drops::default(),
            teller: config.teller.clone(),
            leaves_out,
        }
    }

    /// The result of `future`; meanwhile the held frames are let go when the timeline settles.
    pub(crate) async fn settling<T>(&mut self, future: impl Future<Output = T>) -> T {
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
    pub(crate) async fn finish(&mut self) {
        while !self.held.is_empty() {
            tokio::time::sleep(self.until_settled()).await;
            self.release_if_settled();
        }
    }

    /// Takes in a frame, whose arrival counts if it `arrives`; `false` says that its group is too old
    /// to go on with.
    pub(crate) async fn take(
        &mut self,
        frame: moq_mux::container::Frame,
        key: bool,
        arrives: bool,
    ) -> bool {
        let waited = self.wait_for_room().await;
        self.counters.frames.add(1);
        self.counters.bytes.add(frame.payload.len() as u64);
        if waited > self.max_age {
            self.counters.late.add(1);
            self.dropped(DropCause::Late);
            self.gap = true;
            return false;
        }
        let Some(timestamp) = timestamp(&frame) else {
            self.counters.undecodable.add(1);
            self.dropped(DropCause::Time);
            self.gap = true;
            return true;
        };
        let now = self.playback.clock.running_time();
        let strays = self.playback.update(|timeline| {
            // A frame that waited here did not arrive now, but the first one anchors all the same.
            if (arrives && waited.is_zero()) || timeline.settles_at().is_none() {
                timeline.arrive(self.track, timestamp, now);
            }
            if let Some(edge) = timeline.edge(timestamp) {
                let delay = now.saturating_sub(edge);
                self.counters.delay.set(delay.nseconds() as f64 / 1e6);
                self.counters.steps.set(timeline.resyncs() as f64);
                self.counters.drift.set(timeline.drift());
            }
            timeline.is_outlier(self.track)
        });
        self.held.push_back(Held {
            timestamp,
            key,
            gap: std::mem::take(&mut self.gap),
            strays,
            charge: self.budget.charge_untimed(frame.payload.len()),
            payload: frame.payload,
            end: None,
            ready: self.ready(now),
        });
        self.release_if_settled();
        true
    }

    pub(crate) async fn wait_for_room(&mut self) -> Duration {
        self.budget
            .set_max_time(MAX_QUEUE_TIME + self.playback.latency());
        if !self.budget.is_over() {
            return Duration::ZERO;
        }
        let begun = Instant::now();
        // What is held takes room, too, and is let go meanwhile.
        let budget = self.budget.clone();
        self.settling(budget.room()).await;
        begun.elapsed()
    }

    pub(crate) fn until_settled(&self) -> Duration {
        let at = self.playback.timeline().settles_at();
        let now = self.playback.clock.running_time();
        // Without an anchor nothing is held for long; never without a pause.
        let at = at.map(|at| at.max(self.held.front().map_or(at, Held::ready)));
        at.map_or(TAIL, |at| at.saturating_sub(now).into())
    }

    pub(crate) fn release_if_settled(&mut self) {
        let now = self.playback.clock.running_time();
        let settled = self.playback.timeline().is_settled(now);
        while let Some(front) = self.held.front() {
            let placed =
                settled || (self.playback.timeline()).is_placed(self.track, front.timestamp);
            if !placed || (self.held.len() == 1 && front.ready() > now) {
                return;
            }
            if let Some(held) = self.held.pop_front() {
                self.show(held);
            }
        }
    }

    /// Whether a frame that comes now, behind a gap, is ahead of all that came, as no lost group makes
    /// it: it is of another publisher's clock.
    pub(crate) fn is_ahead(&self, frame: &moq_mux::container::Frame) -> bool {
        let edge = timestamp(frame).and_then(|ts| self.playback.timeline().edge(ts));
        edge.is_some_and(|edge| edge > self.playback.clock.running_time() + AHEAD)
    }

    /// A group begins, `first` if it is the one that is under way at the join.
    pub(crate) fn begin_group(&mut self, first: bool) {
        self.leaves_out &= first;
    }

    /// A frame was dropped for this cause.
    pub(crate) fn dropped(&mut self, cause: DropCause) {
        if !self.leaves_out && self.drops.add(cause, Instant::now()) {
            self.teller.dropping(cause);
        }
    }

    /// A frame is shown.
    pub(crate) fn shown(&mut self) {
        self.drops.end();
    }

    /// What follows does not belong to what came before: video begins again with a key frame.
    pub(crate) fn interrupt(&mut self) {
        self.discont = true;
        self.needs_key = self.rendition.kind() == Kind::Video;
    }

    pub(crate) fn show(&mut self, held: Held) {
        if held.gap {
            self.interrupt();
        }
        if held.strays {
            self.counters.before_start.add(1);
            self.dropped(DropCause::Epoch);
            return self.interrupt();
        }
        if self.rendition.kind() == Kind::Text {
            return self.show_text(&held);
        }
        if !self.is_decodable(&held) {
            self.counters.undecodable.add(1);
            self.dropped(DropCause::KeyFrame);
            self.discont = true;
            return;
        }
        let mut timeline = self.playback.timeline();
        let verdict = timeline.stamp(self.track, held.timestamp);
        drop(timeline);
        let Verdict::Emit(stamp) = verdict else {
            self.counters.before_start.add(1);
            self.dropped(DropCause::Before);
            self.interrupt();
            return;
        };
        self.shown();
        let is_video = self.rendition.kind() == Kind::Video;
        let frame = Frame {
            pts: stamp.pts,
            dts: stamp.dts,
            duration: duration::of(&self.rendition, &held.payload),
            discont: std::mem::take(&mut self.discont) | stamp.discont,
            delta: is_video && !held.key,
            stays: false,
            charge: held.charge.at(stamp.pts),
            payload: held.payload,
        };
        self.position.advance(frame.dts.unwrap_or(frame.pts));
        // Refused only when the pad has gone.
        let _ = self.messages.send(Message::Frame(frame));
    }

    /// Whether what the picture refers to was received, too.
    pub(crate) fn is_decodable(&mut self, held: &Held) -> bool {
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
    }
}
