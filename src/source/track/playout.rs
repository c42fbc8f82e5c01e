// SPDX-License-Identifier: MIT
//! From the frames of one track to the frames of its pad: when each one is played, and which are dropped.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use gst::ClockTime;
use moq_mux::container;
use tokio::time::Instant;

use super::{
    config::{Config, ProblemReporter},
    drops::Drops,
    handover::{Candidate, Handover, Turn},
    pad_sender::PadSender,
    reading::ReadingState,
    text::CueReader,
};
use crate::{
    element::budget::Charge,
    media::{
        format::{caps, codec::Kind, duration, rendition::Rendition},
        time::playout::{Stamp, Timeline, TrackId, Verdict},
    },
    source::{
        keyframe_gate::KeyframeGate,
        message::{DropCause, Frame, Opening, TrackProblem},
        playback::Playback,
    },
};

/// No route gets faster by more than this at once.
const MAX_AHEAD: ClockTime = ClockTime::from_mseconds(250);
/// How often pending frames are looked at while no timeline says when they are due.
const RELEASE_INTERVAL: Duration = Duration::from_millis(500);

/// Gives the frames of one track their running time, in order, and sends them to its pad.
///
/// A frame is pending until the timeline has settled, or has a place for it before that.
pub(super) struct Playout {
    rendition: Arc<Rendition>,
    playback: Arc<Playback>,
    track: TrackId,
    pad: PadSender,
    pending: VecDeque<PendingFrame>,
    /// Frames were lost before the next one to come.
    follows_loss: bool,
    gate: KeyframeGate,
    /// Of a text track.
    cues: Option<CueReader>,
    /// What was dropped since a frame was emitted.
    drops: Drops,
    problems: ProblemReporter,
    /// The group under way at the join is left out by the user's wish.
    skips_first_group: bool,
    handover: Arc<Handover>,
    number: u64,
    opening: Opening,
    /// Until when the pending frames are held for another reader's sake.
    held_until: ClockTime,
    begins_group: bool,
    /// What is before this timestamp is for the decoder alone: playing begins in the middle of a group.
    begin: Option<ClockTime>,
    /// That was told downstream.
    begun: bool,
}

/// A frame that waits for its running time.
struct PendingFrame {
    timestamp: ClockTime,
    keyframe: bool,
    begins_group: bool,
    /// Frames were lost before this one.
    follows_loss: bool,
    /// Its timestamp is on another base than those of the other tracks.
    is_outlier: bool,
    payload: Bytes,
    charge: Charge,
    /// When its text ends, if a frame that came after it says so.
    end: Option<ClockTime>,
    /// The running time until which it waits for such a frame, if it is the last one.
    emit_at: ClockTime,
}

/// The frame's timestamp, unless it is absurd: 2^63 ns are 292 years.
pub(super) fn timestamp(frame: &container::Frame) -> Option<ClockTime> {
    let nanos = u64::try_from(frame.timestamp.as_nanos()).ok()?;
    (nanos < 1 << 63).then(|| ClockTime::from_nseconds(nanos))
}

impl Playout {
    pub(super) fn new(config: &Config, playback: Arc<Playback>) -> Self {
        let delay = config.rendition.delay();
        let delay = delay.and_then(|delay| ClockTime::try_from(delay).ok());
        let kind = config.rendition.kind();
        let track = playback.update(|timeline| {
            let track = timeline.add_track(kind, delay, config.pad.position());
            if let Some(depth) = caps::reorder_depth(&config.rendition) {
                timeline.set_reorder_depth(track, depth);
            }
            if let Some(frame) = duration::of(&config.rendition, &[]) {
                timeline.set_frame_duration(track, frame);
            }
            track
        });
        let begin = playback.begin();
        let skips_first_group = playback.timeline().joins_next_group();
        let mut gate = KeyframeGate::new(kind);
        gate.interrupt();
        Self {
            rendition: config.rendition.clone(),
            playback,
            track,
            pad: config.pad.clone(),
            pending: VecDeque::new(),
            follows_loss: false,
            gate,
            cues: CueReader::of(&config.rendition),
            drops: Drops::default(),
            problems: config.problems.clone(),
            skips_first_group,
            handover: config.handover.clone(),
            number: config.number,
            opening: config.opening.clone(),
            held_until: ClockTime::ZERO,
            begins_group: true,
            begin,
            begun: false,
        }
    }

    /// The timestamp with which playing begins, if that is in the past.
    pub(super) fn begin(&self) -> Option<ClockTime> {
        self.begin
    }

    /// How long the frame is to wait, which nothing paces but this.
    pub(super) fn early(&self, frame: &container::Frame) -> Option<Duration> {
        self.playback.early(timestamp(frame)?)
    }

    pub(super) fn playback(&self) -> &Playback {
        &self.playback
    }

    /// How long it takes until [`Self::release`] is due, if frames are pending.
    pub(super) fn next_release(&self) -> Option<Duration> {
        let front = self.pending.front()?;
        let settles_at = self.playback.timeline().settles_at();
        let now = self.playback.clock.running_time();
        // Never without a pause.
        Some(settles_at.map_or(RELEASE_INTERVAL, |at| {
            at.max(front.emit_at)
                .max(self.held_until)
                .saturating_sub(now)
                .into()
        }))
    }

    /// A group begins, `first` if it is the one that is under way at the join.
    pub(super) fn begin_group(&mut self, first: bool) {
        self.skips_first_group &= first;
        self.begins_group = true;
    }

    /// Whether frames were lost before the next one to come.
    pub(super) fn follows_loss(&self) -> bool {
        self.follows_loss
    }

    /// Whole groups were lost before the next frame.
    pub(super) fn lose_groups(&mut self, groups: u64) {
        self.pad.counters().groups_lost.add(groups);
        self.follows_loss = true;
    }

    /// The rest of the group under way is left out for this cause.
    pub(super) fn lose_rest(&mut self, cause: DropCause) {
        self.drop_frame(cause);
        self.lose_groups(1);
    }

    /// Whether a frame that comes now, behind a loss, is ahead of all that came, as no lost group makes
    /// it: it is of another publisher's clock.
    pub(super) fn is_ahead(&self, frame: &container::Frame) -> bool {
        // What is kept of the past may be read early.
        let live = timestamp(frame).filter(|_| self.begin.is_none());
        let edge = live.and_then(|ts| self.playback.timeline().edge(ts));
        edge.is_some_and(|edge| edge > self.playback.clock.running_time() + MAX_AHEAD)
    }

    /// A frame is left out because the track is only tried.
    pub(super) fn skip(&mut self) {
        self.begins_group = false;
    }

    /// Notes that the frame has come, whatever becomes of it.
    pub(super) fn note(&self, frame: &container::Frame, state: &ReadingState) {
        if let Some(timestamp) = timestamp(frame) {
            state.frame(
                timestamp,
                frame.payload.len(),
                self.playback.clock.running_time(),
            );
        }
    }

    /// Takes in a frame, whose arrival counts if it `arrives` only now.
    pub(super) fn push(
        &mut self,
        frame: container::Frame,
        charge: Charge,
        keyframe: bool,
        arrives: bool,
    ) {
        let Some(timestamp) = timestamp(&frame) else {
            self.drop_frame(DropCause::Timestamp);
            self.follows_loss = true;
            return;
        };
        if self.begins_group
            && self.handover.shown(self.number).is_some()
            && !self.pending.is_empty()
        {
            // To begin with the newest group means least to decode unseen.
            self.pending.clear();
        }
        let now = self.playback.clock.running_time();
        let is_outlier = self.playback.update(|timeline| {
            // The first frame anchors in any case.
            if arrives || timeline.settles_at().is_none() {
                timeline.arrive(self.track, timestamp, now);
            }
            if let Some(edge) = timeline.edge(timestamp) {
                let delay = now.saturating_sub(edge);
                let counters = self.pad.counters();
                counters.delay.set(delay.nseconds() as f64 / 1e6);
                counters.resyncs.set(timeline.resyncs() as f64);
                counters.drift.set(timeline.drift());
            }
            timeline.is_outlier(self.track)
        });
        self.pending.push_back(PendingFrame {
            timestamp,
            keyframe,
            begins_group: std::mem::take(&mut self.begins_group),
            follows_loss: std::mem::take(&mut self.follows_loss),
            is_outlier,
            payload: frame.payload,
            charge,
            end: None,
            emit_at: self
                .cues
                .as_ref()
                .map_or(ClockTime::ZERO, |cues| cues.emit_at(now)),
        });
        self.release();
    }

    /// Takes in an empty frame: plain text is over at its timestamp.
    pub(super) fn clear(&mut self, frame: &container::Frame) {
        let cues = self.cues.as_mut().filter(|cues| cues.is_plain());
        let Some((cues, end)) = cues.zip(timestamp(frame)) else {
            return;
        };
        if let Some(last) = self.pending.back_mut() {
            last.end = Some(end);
            last.emit_at = ClockTime::ZERO;
            return self.release();
        }
        let end = self.playback.timeline().edge(end);
        if let Some(end) = end.filter(|_| cues.end_is_new()) {
            self.pad.clear_text(end);
        }
    }

    /// Emits the pending frames that are due.
    pub(super) fn release(&mut self) {
        let playback = self.playback.clone();
        let now = playback.clock.running_time();
        while let Some(front) = self.pending.front() {
            let waits_for_end = self.pending.len() == 1 && front.emit_at > now;
            let mut timeline = playback.timeline();
            let placed =
                timeline.is_settled(now) || timeline.is_placed(self.track, front.timestamp);
            if waits_for_end || !placed {
                return;
            }
            let turn = self.turn(&timeline, front, now);
            if let Turn::Later(due) = turn {
                self.held_until = due;
                return;
            }
            let Some(mut frame) = self.pending.pop_front() else {
                return;
            };
            let precedes = self.begin.filter(|begin| frame.timestamp < *begin);
            let is_shown = match turn {
                Turn::Skip => continue,
                Turn::Give {
                    first: false,
                    shown: None,
                } if precedes.is_some() && self.rendition.kind() == Kind::Video => {
                    let start = precedes.and_then(|begin| timeline.edge(begin));
                    let offset = timeline.offset();
                    drop(timeline);
                    self.open_before(start, offset);
                    timeline = playback.timeline();
                    true
                }
                // What of text lasts on beyond the beginning is given from there on.
                Turn::Give { first: false, .. } if precedes.is_some() && self.cues.is_none() => {
                    continue;
                }
                Turn::Give { first: true, shown } => {
                    // What was lost before it the other track has shown.
                    frame.follows_loss = false;
                    timeline.follow(self.track, self.pad.position());
                    let start = shown.and_then(|shown| self.unshown_at(&timeline, shown));
                    let offset = timeline.offset();
                    drop(timeline);
                    self.open(start, offset);
                    timeline = playback.timeline();
                    shown.is_some()
                }
                Turn::Give { shown, .. } => shown.is_some(),
                Turn::Later(_) => false,
            };
            drop(timeline);
            match is_shown {
                true => self.give_unseen(frame),
                false => self.give(frame),
            }
        }
    }

    /// Emits a frame whose turn it is, unless it cannot be decoded or shown.
    fn give(&mut self, frame: PendingFrame) {
        let playback = self.playback.clone();
        let mut timeline = playback.timeline();
        let admitted = self.admit(&mut timeline, &frame);
        if let (Ok(()), Some(_)) = (admitted, &self.cues) {
            drop(timeline);
            self.emit_cues(&frame);
            return;
        }
        let stamp = admitted.and_then(|()| self.stamp(&mut timeline, &frame));
        let offset = timeline.offset();
        drop(timeline);
        match stamp {
            Ok(stamp) => self.emit(frame, stamp, offset),
            Err(cause) => self.drop_frame(cause),
        }
    }

    /// Emits a frame whose turn it is for the decoder alone.
    fn give_unseen(&mut self, frame: PendingFrame) {
        let playback = self.playback.clone();
        let mut timeline = playback.timeline();
        let admitted = self.admit(&mut timeline, &frame);
        let (edge, offset) = (timeline.edge(frame.timestamp), timeline.offset());
        drop(timeline);
        if let (Ok(()), Some(edge)) = (admitted, edge) {
            // By a second, so that none lasts beyond the start.
            let pts = edge.saturating_sub(ClockTime::SECOND);
            self.emit_unseen(frame, pts, offset);
        }
    }

    /// Whether the frame is for this reader to give.
    fn turn(&self, timeline: &Timeline, frame: &PendingFrame, now: ClockTime) -> Turn {
        let due = |frame: &PendingFrame| {
            let edge = timeline.edge(frame.timestamp).unwrap_or(now);
            edge + timeline.hold()
        };
        let shown = self
            .handover
            .shown(self.number)
            .filter(|_| frame.begins_group);
        let unshown = shown.and_then(|shown| {
            let mut pending = self.pending.iter();
            pending.find(|frame| frame.timestamp > shown)
        });
        self.handover.turn(&Candidate {
            reader: self.number,
            timestamp: frame.timestamp,
            begins_group: frame.begins_group,
            due: due(frame),
            unshown_due: unshown.map(due),
            now,
        })
    }

    /// When the first of the pending frames is due that are later than what was `shown`.
    fn unshown_at(&self, timeline: &Timeline, shown: ClockTime) -> Option<ClockTime> {
        let pending = self.pending.iter().map(|frame| frame.timestamp);
        let first = pending.filter(|timestamp| *timestamp > shown).min();
        let edge = timeline.edge(first.unwrap_or(shown))?;
        // No earlier than what was given.
        Some(edge.max(self.pad.position() + ClockTime::from_nseconds(1)))
    }

    /// Begins with frames that are only decoded: what is shown begins at `start`.
    fn open_before(&mut self, start: Option<ClockTime>, offset: Option<i64>) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        self.gate.mark_discont();
        self.pad.open(Opening {
            start,
            offset,
            ..Opening::default()
        });
    }

    /// Begins to give the frames of the pad, where another track has ended; with a `start` what is before
    /// that is only decoded.
    fn open(&mut self, start: Option<ClockTime>, offset: Option<i64>) {
        self.gate.take_discont();
        let opening = std::mem::take(&mut self.opening);
        self.pad.open(Opening {
            start,
            offset,
            ..opening
        });
        self.problems.report_switched();
    }

    /// Whether the frame can be decoded, and belongs to what the others show.
    fn admit(&mut self, timeline: &mut Timeline, frame: &PendingFrame) -> Result<(), DropCause> {
        if frame.follows_loss || frame.is_outlier {
            self.gate.interrupt();
        }
        if frame.is_outlier {
            return Err(DropCause::Outlier);
        }
        if frame.keyframe
            && self.gate.needs_keyframe()
            && let Some(depth) = caps::reorder_depth_in_band(&self.rendition, &frame.payload)
        {
            timeline.set_reorder_depth(self.track, depth);
        }
        match self.gate.admits(frame.keyframe, frame.timestamp) {
            true => Ok(()),
            false => Err(DropCause::Undecodable),
        }
    }

    fn stamp(&mut self, timeline: &mut Timeline, frame: &PendingFrame) -> Result<Stamp, DropCause> {
        match timeline.stamp(self.track, frame.timestamp) {
            Verdict::Emit(stamp) => Ok(stamp),
            Verdict::BeforeStart => {
                self.gate.interrupt();
                Err(DropCause::BeforeStart)
            }
        }
    }

    fn emit(&mut self, frame: PendingFrame, stamp: Stamp, offset: Option<i64>) {
        self.drops.end();
        self.pad.send(Frame {
            pts: stamp.pts,
            dts: stamp.dts,
            duration: duration::of(&self.rendition, &frame.payload),
            discont: self.gate.take_discont() | stamp.discont,
            delta: self.rendition.kind() == Kind::Video && !frame.keyframe,
            stays: false,
            unseen: false,
            offset,
            charge: frame.charge.at(stamp.pts),
            payload: frame.payload,
        });
    }

    /// Emits a frame for the decoder alone, before the start of the segment.
    fn emit_unseen(&mut self, frame: PendingFrame, pts: ClockTime, offset: Option<i64>) {
        let discont = self.gate.take_discont();
        self.pad.send(Frame {
            pts,
            dts: None,
            duration: duration::of(&self.rendition, &frame.payload),
            discont,
            delta: self.rendition.kind() == Kind::Video && !frame.keyframe,
            stays: false,
            unseen: true,
            offset,
            charge: frame.charge.at(pts),
            payload: frame.payload,
        });
    }

    fn emit_cues(&mut self, frame: &PendingFrame) {
        let Some(reader) = &mut self.cues else { return };
        for cue in reader.cues(frame.timestamp, &frame.payload, frame.end) {
            let mut timeline = self.playback.timeline();
            let stamped = timeline.stamp_span(self.track, cue.begin, cue.end);
            let offset = timeline.offset();
            drop(timeline);
            let Some((Stamp { pts, discont, .. }, duration)) = stamped else {
                // Nothing is wrong with a cue that was over before the start.
                self.pad.counters().before_start.add(1);
                continue;
            };
            self.drops.end();
            reader.begin();
            self.pad.send(Frame {
                pts,
                dts: None,
                duration,
                discont: self.gate.take_discont() | discont,
                delta: false,
                unseen: false,
                offset,
                stays: duration.is_none() && reader.is_plain(),
                charge: self.pad.charge_part(cue.text.len(), pts),
                payload: cue.text,
            });
        }
    }

    /// Counts a frame that is dropped, and reports causes that last.
    fn drop_frame(&mut self, cause: DropCause) {
        let counters = self.pad.counters();
        match cause {
            DropCause::Late => counters.late.add(1),
            DropCause::Timestamp | DropCause::Undecodable => counters.undecodable.add(1),
            DropCause::Outlier | DropCause::BeforeStart => counters.before_start.add(1),
            // The lost group is counted.
            DropCause::Unreadable | DropCause::BrokenOff => {}
        }
        if !self.skips_first_group && self.drops.add(cause, Instant::now()) {
            self.problems.report(TrackProblem::Dropping(cause));
        }
    }
}

impl Drop for Playout {
    fn drop(&mut self) {
        self.playback.timeline().remove_track(self.track);
    }
}
