// SPDX-License-Identifier: MIT
//! One pad as the publisher knows it: its stream, its track, and what is reported to it.

use std::{sync::Arc, time::Duration};

use gst::prelude::*;
use moq_net::track;
use tokio::time::Instant;

use super::{
    catalog::Entry,
    delivery::DeliveryTasks,
    track::{PublishedTrack, Refused, Written},
};
use crate::{
    element::{app_queue::AppQueue, warn_limiter::WarnLimiter},
    media::{
        catalog::description::{Description, Orientation},
        format::{caps, codec::Kind, duration, rendition::Rendition},
    },
    sink::message::{Frame, KEYFRAME_REQUEST_INTERVAL, PadHandle, Report},
};

/// How often a pad posts QOS messages at most.
const QOS_INTERVAL: Duration = Duration::from_secs(1);
/// How long a track's frames are measured before its delay is listed.
const DELAY_WINDOW: Duration = Duration::from_secs(1);

/// A pad's stream and the track that it is published as.
pub(super) struct PublishedPad {
    handle: PadHandle,
    /// Takes reports to the pad.
    queue: Arc<AppQueue>,
    stream: StreamState,
    kind: Option<Kind>,
    /// The track name that the user wants.
    wanted_name: Option<String>,
    /// The base name of its tracks in this broadcast.
    base_name: Option<String>,
    rendition: Option<Rendition>,
    description: Description,
    /// None while the stream has failed.
    track: Option<PublishedTrack>,
    /// It had a track before in this run.
    was_published: bool,
    /// The name of the track before, while it is listed still.
    replaced: Option<String>,
    backlog: Backlog,
    keyframe: KeyframeRequest,
    transit: Transit,
    /// When the last QOS message was posted.
    qos_posted: Option<Instant>,
    /// Warnings are given once.
    warnings: WarnLimiter,
}

/// Whether more is expected of a pad's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StreamState {
    Running,
    /// EOS came.
    Ended,
    /// Nothing is published until the next caps.
    Failed,
}

/// Whether live frames are dropped because more waits than the budget allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Backlog {
    WithinBudget,
    /// Until there is room and a keyframe comes.
    Dropping,
}

/// What was done about a missing keyframe; of video alone.
#[derive(Debug, Clone, Copy)]
enum KeyframeRequest {
    None,
    /// One was requested, and no frame was written since; `stalled` says that `track-error` tells why.
    Pending {
        since: Instant,
        stalled: bool,
    },
}

/// By how much a track's live frames come later than their running times.
#[derive(Debug, Default)]
struct Transit {
    least: Option<gst::ClockTime>,
    /// When the delay is listed; `None` without a track, and once it was.
    due: Option<Instant>,
}

/// What a written frame asks of the broadcast.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FollowUp {
    Nothing,
    /// The track has failed: it is to be removed.
    RemoveTrack,
    /// The delays of the tracks are to be listed.
    ListDelays,
}

impl PublishedPad {
    pub(super) fn new(handle: PadHandle, queue: Arc<AppQueue>) -> Self {
        Self {
            handle,
            queue,
            stream: StreamState::Running,
            kind: None,
            wanted_name: None,
            base_name: None,
            rendition: None,
            description: Description::default(),
            track: None,
            was_published: false,
            replaced: None,
            backlog: Backlog::WithinBudget,
            keyframe: KeyframeRequest::None,
            transit: Transit::default(),
            qos_posted: None,
            warnings: WarnLimiter::once(),
        }
    }

    /// Whether anything can come; asked anew each time, because it may change at any moment.
    pub(super) fn is_linked(&self) -> bool {
        let pad = self.handle.pad.upgrade();
        pad.is_some_and(|pad| pad.is_linked())
    }

    /// Whether nothing may come for a long time although all is well.
    pub(super) fn is_sparse(&self) -> bool {
        self.kind.is_some_and(Kind::is_sparse)
    }

    /// Whether nothing more is expected of it.
    pub(super) fn is_over(&self) -> bool {
        self.stream != StreamState::Running
    }

    pub(super) fn is_published(&self) -> bool {
        self.track.is_some()
    }

    /// Whether the catalog need not wait for its track.
    pub(super) fn is_settled(&self) -> bool {
        self.is_published() || self.is_over() || self.is_sparse() || !self.is_linked()
    }

    pub(super) fn base_name(&self) -> Option<&str> {
        self.base_name.as_deref()
    }

    pub(super) fn wanted_name(&self) -> Option<&str> {
        self.wanted_name.as_deref()
    }

    /// Whether its tracks are named by its kind, which is `kind`.
    pub(super) fn is_numbered(&self, kind: Kind) -> bool {
        self.kind == Some(kind) && self.wanted_name.is_none()
    }

    pub(super) fn rendition(&self) -> Option<&Rendition> {
        self.rendition.as_ref()
    }

    /// Whether its next track follows one that is listed still.
    pub(super) fn is_replacing(&self) -> bool {
        self.replaced.is_some()
    }

    /// A stream begins that can only be of `kind`.
    pub(super) fn expect_kind(&mut self, kind: Kind) {
        self.kind.get_or_insert(kind);
    }

    /// New caps of `kind`; after a failure they are another try.
    pub(super) fn begin(&mut self, kind: Kind) {
        self.kind = Some(kind);
        if self.stream == StreamState::Failed {
            self.stream = StreamState::Running;
            self.report(Report::Retrying);
        }
    }

    /// The frames that follow are of `rendition`; whether it is another one, which needs another track.
    pub(super) fn set_rendition(&mut self, rendition: Rendition, wanted: Option<String>) -> bool {
        self.wanted_name = wanted;
        let changed = self.rendition.as_ref() != Some(&rendition);
        self.rendition = Some(rendition);
        changed
    }

    /// The rendition of the track has changed in band.
    pub(super) fn update_rendition(&mut self, rendition: Rendition) {
        self.rendition = Some(rendition);
        self.report_change();
    }

    /// What was said of the rendition is not valid any more.
    pub(super) fn forget_rendition(&mut self) {
        self.rendition = None;
    }

    /// Takes a description over; whether it says something new.
    pub(super) fn describe(&mut self, mut description: Description) -> bool {
        // Parsers correct their average for ever: small changes are not worth a catalog.
        if let Some((old, new)) = self.description.bitrate.zip(description.bitrate)
            && old.abs_diff(new) <= old / 10
        {
            description.bitrate = Some(old);
        }
        let changed = self.description != description;
        self.description = description;
        changed
    }

    /// How its video is to be turned, if it is said.
    pub(super) fn orientation(&self) -> Option<Orientation> {
        let counts = self.kind == Some(Kind::Video) && self.stream != StreamState::Failed;
        self.description.orientation.filter(|_| counts)
    }

    /// Warns once if its video is to be turned in another way than the broadcast says.
    pub(super) fn check_orientation(&mut self, listed: Option<Orientation>) {
        let own = self.orientation();
        if own.is_some() && own != listed {
            let reason = "The catalog has one orientation for all video: this pad's is left out, because an earlier pad has another";
            if self.warnings.is_due(reason, Instant::now()) {
                self.report(Report::Warning(reason.into()));
            }
        }
    }

    /// EOS came.
    pub(super) fn end(&mut self) {
        self.cut();
        if self.stream == StreamState::Running {
            self.stream = StreamState::Ended;
        }
    }

    /// The stream goes on, with frames that do not continue those before; whether it has ended with its
    /// track and needs another one.
    pub(super) fn restart(&mut self) -> bool {
        self.cut();
        if self.stream == StreamState::Ended {
            self.stream = StreamState::Running;
        }
        self.track.as_ref().is_some_and(PublishedTrack::is_finished)
    }

    /// Nothing is published until the next caps; the track, if there is one, is to be removed.
    pub(super) fn fail(&mut self, reason: String) {
        self.stream = StreamState::Failed;
        self.report(Report::Failed(reason));
    }

    /// Publishes its rendition as a track, whose name is made of `base_name`.
    pub(super) fn publish(
        &mut self,
        base_name: String,
        producer: track::Producer,
        max_stuck: usize,
    ) {
        let Some(rendition) = &self.rendition else {
            return;
        };
        let track = PublishedTrack::new(producer, rendition, max_stuck);
        self.report(Report::Published(track.name().to_owned()));
        self.track = Some(track);
        self.base_name = Some(base_name);
        self.transit = Transit::begin(Instant::now());
        if std::mem::replace(&mut self.was_published, true) {
            self.report_change();
        }
    }

    /// Takes its track away, which stays listed until another one replaces it.
    pub(super) fn take_track(&mut self) -> Option<PublishedTrack> {
        let mut track = self.track.take()?;
        track.cut();
        self.transit = Transit::default();
        self.replaced = Some(track.name().to_owned());
        Some(track)
    }

    /// The name of a track that was taken away and is listed still: none replaces it.
    pub(super) fn take_replaced(&mut self) -> Option<String> {
        self.replaced.take()
    }

    /// Whether the frame is to be published: nothing is after a failure, and over its budget live input
    /// loses its oldest frames, up to a keyframe.
    pub(super) fn admits(&mut self, frame: &Frame) -> bool {
        if self.stream == StreamState::Failed {
            self.handle.counters.refused.add(1);
            return false;
        }
        if !frame.live {
            return true;
        }
        let over = self.handle.budget.is_over_beside_one();
        if over && self.backlog == Backlog::WithinBudget {
            self.backlog = Backlog::Dropping;
            self.cut();
            self.report_dropped("more waits than max-bytes and max-time allow".into());
        } else if !over && frame.keyframe {
            self.backlog = Backlog::WithinBudget;
        }
        if self.backlog == Backlog::WithinBudget {
            return true;
        }
        self.handle.counters.over_budget.add(1);
        self.report_qos();
        self.request_keyframe();
        false
    }

    /// Writes a frame into its track, and counts what comes of it.
    pub(super) fn write(&mut self, frame: Frame, tasks: &mut DeliveryTasks) -> FollowUp {
        let Some(track) = &mut self.track else {
            return FollowUp::Nothing;
        };
        let (bytes, transit) = (frame.payload.len(), frame.transit);
        match track.write(frame, tasks) {
            Ok(written) => self.written(bytes, &written),
            Err(Refused::Failed(error)) => {
                self.fail(format!("A frame cannot be written: {error}"));
                return FollowUp::RemoveTrack;
            }
            Err(refused) => self.refused(&refused),
        }
        // A cue may come early or late without being slower on its way.
        let transit = transit.filter(|_| !self.is_sparse());
        match self.transit.measure(transit) {
            true => FollowUp::ListDelays,
            false => FollowUp::Nothing,
        }
    }

    fn written(&mut self, bytes: usize, written: &Written) {
        let counters = &self.handle.counters;
        counters.frames.add(1);
        counters.bytes.add(bytes as u64);
        counters.groups.add(written.begins_group.into());
        counters.groups_given_up.add(written.given_up.groups);
        counters.too_old.add(written.given_up.frames);
        let request = std::mem::replace(&mut self.keyframe, KeyframeRequest::None);
        if matches!(request, KeyframeRequest::Pending { stalled: true, .. }) {
            self.report(Report::Flowing);
        }
        if written.given_up.groups > 0 {
            self.report_qos();
        }
    }

    fn refused(&mut self, refused: &Refused) {
        if matches!(refused, Refused::Congested) {
            self.handle.counters.too_old.add(1);
            return self.report_qos();
        }
        self.request_keyframe();
        if matches!(refused, Refused::NoKeyframe) {
            self.handle.counters.no_keyframe.add(1);
            return;
        }
        self.handle.counters.refused.add(1);
        let reason = refused.to_string();
        if let KeyframeRequest::Pending { stalled, .. } = &mut self.keyframe {
            *stalled = true;
            let text = format!("Frames are dropped until a keyframe comes: {reason}");
            self.report(Report::Stalled(text));
        }
        self.report_dropped(reason);
    }

    /// Requests a keyframe, and again for as long as no frame is written.
    pub(super) fn request_keyframe(&mut self) {
        if self.kind != Some(Kind::Video) {
            return;
        }
        let now = Instant::now();
        let stalled = match self.keyframe {
            KeyframeRequest::None => false,
            KeyframeRequest::Pending { since, .. } if now - since < KEYFRAME_REQUEST_INTERVAL => {
                return;
            }
            KeyframeRequest::Pending { stalled, .. } => stalled,
        };
        self.keyframe = KeyframeRequest::Pending {
            since: now,
            stalled,
        };
        self.report(Report::NeedsKeyframe);
    }

    /// Subscribers come back: those of a track begin with a keyframe.
    pub(super) fn reconnected(&mut self) {
        if self.is_published() && !self.is_over() {
            self.request_keyframe();
        }
    }

    /// The connection was lost: what counted as delivered may have to be sent again.
    pub(super) fn redeliver(&mut self, tasks: &mut DeliveryTasks) {
        if let Some(track) = &mut self.track {
            track.redeliver(tasks);
        }
    }

    /// Whether all of its track that a subscriber can still use has reached the next hop.
    pub(super) fn is_delivered(&mut self) -> bool {
        self.track.as_mut().is_none_or(PublishedTrack::is_delivered)
    }

    /// Finishes a track that has ended and is delivered.
    pub(super) fn finish_delivered(&mut self) {
        if self.stream == StreamState::Ended
            && let Some(track) = &mut self.track
            && !track.is_finished()
            && track.finish_delivered()
        {
            self.report(Report::Ended);
        }
    }

    /// Finishes its track with the broadcast; another broadcast may follow.
    pub(super) fn finish(&mut self) {
        self.base_name = None;
        self.replaced = None;
        self.transit = Transit::default();
        let Some(mut track) = self.track.take() else {
            return;
        };
        if self.stream == StreamState::Ended && !track.is_finished() {
            self.report(Report::Ended);
        }
        track.finish();
    }

    /// The least time by which its live frames came later than their running times.
    pub(super) fn transit(&self) -> Option<gst::ClockTime> {
        self.transit.least
    }

    /// The same once it was measured for long enough.
    pub(super) fn measured_transit(&self) -> Option<gst::ClockTime> {
        self.transit.least.filter(|_| self.transit.due.is_none())
    }

    /// What the catalog says of its track, with what it may say no more of the track before.
    pub(super) fn entry(&mut self) -> Option<Entry> {
        let (track, rendition) = self.track.as_ref().zip(self.rendition.as_ref())?;
        let name = track.name().to_owned();
        let mut rendition = rendition.clone();
        self.description.describe(&mut rendition);
        if let Rendition::Video(config) = &mut rendition {
            config.jitter = reordering(config);
        }
        Some(Entry {
            lineage: self.base_name.clone().filter(|base| *base != name),
            replaces: self.replaced.take(),
            name,
            rendition,
        })
    }

    /// What comes next does not continue what came before.
    fn cut(&mut self) {
        if let Some(track) = &mut self.track {
            track.cut();
        }
    }

    /// Its subscribers get another track, or another format.
    fn report_change(&self) {
        if let Some((track, rendition)) = self.track.as_ref().zip(self.rendition.as_ref()) {
            self.report(Report::RenditionChanged {
                track: track.name().to_owned(),
                caps: caps::from_rendition(rendition).ok(),
            });
        }
    }

    /// Has a QOS message posted, unless that was done a moment ago.
    fn report_qos(&mut self) {
        let due = self.qos_posted;
        if due.is_none_or(|at| at.elapsed() >= QOS_INTERVAL) {
            self.qos_posted = Some(Instant::now());
            self.report(Report::Quality(self.handle.counters.quality()));
        }
    }

    fn report_dropped(&mut self, reason: String) {
        if self.warnings.is_due(&reason, Instant::now()) {
            self.report(Report::Dropped(reason));
        }
    }

    fn report(&self, report: Report) {
        self.handle.report(&self.queue, report);
    }
}

impl Transit {
    /// A track begins.
    fn begin(now: Instant) -> Self {
        Self {
            least: None,
            due: Some(now + DELAY_WINDOW),
        }
    }

    /// Takes the next frame's in; whether it was measured for long enough, true once for each track.
    fn measure(&mut self, transit: Option<gst::ClockTime>) -> bool {
        self.least = self.least.into_iter().chain(transit).min();
        self.due.take_if(|due| Instant::now() >= *due).is_some()
    }
}

/// How long the encoder may hold a frame back: until the next one, and those that it reorders.
fn reordering(config: &hang::catalog::VideoConfig) -> Option<Duration> {
    let rendition = Rendition::Video(config.clone());
    let frame: Duration = duration::of(&rendition, &[])?.into();
    let depth = caps::reorder_depth(&rendition).unwrap_or_default();
    Some(frame * (depth + 1))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use gst::glib;

    use super::*;
    use crate::element::budget::Budget;

    #[test]
    fn live_input_over_its_budget_loses_its_oldest_frames_up_to_a_keyframe() {
        gst::init().expect("GStreamer initializes");
        let element = gst::Bin::new();
        let budget = Budget::new(100, gst::ClockTime::ZERO);
        let handle = PadHandle {
            pad: glib::WeakRef::new(),
            budget: budget.clone(),
            counters: Default::default(),
        };
        let mut pad = PublishedPad::new(handle, AppQueue::new(element.upcast_ref()));
        let frame = |keyframe: bool| Frame {
            timestamp: 0,
            duration: None,
            keyframe,
            ends_cue: true,
            payload: Bytes::new(),
            live: true,
            transit: None,
            _charge: budget.charge(60, gst::ClockTime::ZERO),
        };
        let waiting = [true, false, false, true, false].map(frame);
        let admitted = waiting.map(|frame| pad.admits(&frame));
        assert_eq!(admitted, [false; 5], "the last one lacks its keyframe");
        let next = [true, false].map(|keyframe| pad.admits(&frame(keyframe)));
        assert_eq!(next, [true; 2]);
    }
}
