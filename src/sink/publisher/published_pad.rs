// SPDX-License-Identifier: MIT
//! One pad as the publisher knows it: its stream, its track, and what is reported to it.

use std::{sync::Arc, time::Duration};

use gst::prelude::*;
use moq_net::track;
use tokio::time::Instant;

use super::{
    delivery::DeliveryTasks,
    demand::{Demand, Subscribers},
    rate::RatedPad,
    track::{PublishedTrack, Refused, Written},
};
use crate::{
    element::{app_queue::AppQueue, warn_limiter::WarnLimiter},
    media::{
        catalog::description::{Description, Orientation},
        format::{
            caps,
            codec::Kind,
            duration,
            rendition::{Catalog, Rendition},
        },
    },
    sink::message::{Frame, PadHandle, PadId, PadMessage, Report, TrackSettings},
};

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
    settings: TrackSettings,
    /// None once the stream has failed.
    track: Option<PublishedTrack>,
    /// Its newest frame came as it was captured.
    is_live: bool,
    /// It had a track before in this run.
    was_published: bool,
    /// The name of the track before, while it is listed still.
    replaced: Option<String>,
    backlog: Backlog,
    demand: Demand,
    /// `track-error` says why nothing is published before a keyframe comes.
    is_stalled: bool,
    /// The least time by which the track's live frames came later than their running times.
    transit: Option<gst::ClockTime>,
    /// When the delay that follows from it is listed; `None` without a track, and once it was.
    delay_due: Option<Instant>,
    /// For warnings, each given once.
    warnings: WarnLimiter,
    /// For QOS messages, at most one a second.
    qos: WarnLimiter,
    /// The pad knows that a keyframe is needed, and none has come since.
    needs_keyframe: bool,
}

/// Whether more is expected of a pad's stream.
#[derive(Clone, Copy, PartialEq, Eq)]
enum StreamState {
    Running,
    /// EOS came.
    Ended,
    /// Nothing is published until the next caps.
    Failed,
}

/// Whether live frames are dropped because more waits than the budget allows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Backlog {
    WithinBudget,
    /// Until there is room and a keyframe comes.
    Dropping,
}

/// What a message to a pad asks of the broadcast.
pub(super) enum FollowUp {
    Nothing,
    /// The pad needs a track, into which this frame is to be written.
    Publish(Frame),
    /// A sparse pad needs a track before its first frame.
    PublishSparse,
    /// The same, and the track before is to be replaced.
    ReplaceTrack,
    /// The track is to be removed; a sparse pad needs another one unless it has failed.
    RemoveTrack,
    /// Its entry in the catalog has changed.
    List,
    /// Its description has changed.
    ListDescription,
    /// The delays of all tracks are to be listed.
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
            settings: TrackSettings::default(),
            track: None,
            is_live: false,
            was_published: false,
            replaced: None,
            backlog: Backlog::WithinBudget,
            demand: Demand::default(),
            is_stalled: false,
            transit: None,
            delay_due: None,
            warnings: WarnLimiter::once(),
            qos: WarnLimiter::default(),
            needs_keyframe: false,
        }
    }

    /// Takes in what the pad has sent.
    pub(super) fn apply(&mut self, message: PadMessage, tasks: &mut DeliveryTasks) -> FollowUp {
        match message {
            PadMessage::Frame(frame) => {
                if self.admits(&frame) {
                    return self.write(frame, tasks);
                }
            }
            PadMessage::ExpectedKind(kind) => drop(self.kind.get_or_insert(kind)),
            PadMessage::Kind(kind) => {
                self.kind = Some(kind);
                if self.stream == StreamState::Failed {
                    self.stream = StreamState::Running;
                    self.report(Report::Retrying);
                }
            }
            PadMessage::Rendition(rendition, wanted_name) => {
                self.wanted_name = wanted_name;
                if self.rendition.as_ref() == Some(&*rendition) {
                    return FollowUp::PublishSparse;
                }
                self.rendition = Some(*rendition);
                return FollowUp::ReplaceTrack;
            }
            PadMessage::InBand(rendition) => {
                self.rendition = Some(*rendition);
                self.report_change();
                return FollowUp::List;
            }
            PadMessage::Describe(description) => {
                if self.describe(*description) {
                    return FollowUp::ListDescription;
                }
            }
            PadMessage::Flush | PadMessage::Restart => {
                self.cut();
                if self.stream == StreamState::Ended {
                    self.stream = StreamState::Running;
                }
                if self.track.as_ref().is_some_and(PublishedTrack::is_finished) {
                    return FollowUp::RemoveTrack;
                }
            }
            PadMessage::Eos(_) => {
                self.cut();
                if self.stream == StreamState::Running {
                    self.stream = StreamState::Ended;
                }
            }
            PadMessage::Failed(reason) => {
                self.rendition = None;
                self.fail(reason);
                return FollowUp::RemoveTrack;
            }
            PadMessage::DropUnwatched(drops) => {
                self.change_demand(|demand| demand.set_drops_unwatched(drops));
            }
            PadMessage::Track(settings) => self.set_track_settings(settings),
            // The broadcast creates and removes pads, and asks each whether it is linked.
            PadMessage::Open(_) | PadMessage::Release | PadMessage::LinkChanged => {}
        }
        FollowUp::Nothing
    }

    fn set_track_settings(&mut self, settings: TrackSettings) {
        if let Some(track) = &mut self.track {
            track.set_audio_group(settings.audio_group);
        }
        self.settings = settings;
    }

    /// Whether the frame is to be published: nothing is after a failure and while the pad rests, and over
    /// its budget live input loses its oldest frames, up to a keyframe.
    fn admits(&mut self, frame: &Frame) -> bool {
        if self.stream == StreamState::Failed {
            self.handle.counters.refused.add(1);
            return false;
        }
        if frame.keyframe {
            self.needs_keyframe = false;
            self.change_demand(Demand::group_ended);
        }
        if self.demand.is_resting() {
            let counters = &self.handle.counters;
            match self.demand.is_crowded_out() {
                true => counters.crowded_out.add(1),
                false => counters.unwatched.add(1),
            }
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

    /// Writes a frame into the track, and counts what comes of it.
    pub(super) fn write(&mut self, frame: Frame, tasks: &mut DeliveryTasks) -> FollowUp {
        let Some(track) = &mut self.track else {
            return FollowUp::Publish(frame);
        };
        let (bytes, transit) = (frame.payload.len(), frame.transit);
        self.is_live = frame.live;
        match track.write(frame, tasks) {
            Ok(written) => self.written(bytes, &written),
            Err(Refused::Failed(error)) => {
                self.fail(format!("A frame cannot be written: {error}"));
                return FollowUp::RemoveTrack;
            }
            Err(refused) => self.refused(&refused),
        }
        // A cue may come early or late without being slower on its way.
        if !self.is_sparse() {
            self.transit = self.transit.into_iter().chain(transit).min();
        }
        match self.delay_due.take_if(|due| Instant::now() >= *due) {
            Some(_) => FollowUp::ListDelays,
            None => FollowUp::Nothing,
        }
    }

    fn written(&mut self, bytes: usize, written: &Written) {
        let counters = &self.handle.counters;
        counters.frames.add(1);
        counters.bytes.add(bytes as u64);
        counters.groups.add(written.begins_group.into());
        counters.groups_given_up.add(written.given_up.groups);
        counters.too_old.add(written.given_up.frames);
        if std::mem::take(&mut self.is_stalled) {
            self.report(Report::Flowing);
        }
        if written.given_up.groups > 0 {
            self.report_qos();
            if !written.begins_group {
                self.report_keyframe_helps();
            }
        }
    }

    fn refused(&mut self, refused: &Refused) {
        if matches!(refused, Refused::Congested) {
            self.handle.counters.too_old.add(1);
            self.request_keyframe();
            return self.report_qos();
        }
        self.request_keyframe();
        if matches!(refused, Refused::NoKeyframe) {
            self.handle.counters.no_keyframe.add(1);
            return;
        }
        self.handle.counters.refused.add(1);
        let reason = refused.to_string();
        if self.kind == Some(Kind::Video) {
            self.is_stalled = true;
            let text = format!("Frames are dropped until a keyframe comes: {reason}");
            self.report(Report::Stalled(text));
        }
        self.report_dropped(reason);
    }

    /// Takes a description over; whether it says something new.
    fn describe(&mut self, mut description: Description) -> bool {
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

    /// Nothing is published until the next caps; the track, if there is one, is to be removed.
    pub(super) fn fail(&mut self, reason: String) {
        self.stream = StreamState::Failed;
        self.report(Report::Failed(reason));
    }

    /// Publishes the rendition as a track, whose name is made of `base_name`.
    pub(super) fn publish(
        &mut self,
        base_name: String,
        producer: track::Producer,
        subscribers: Subscribers,
        max_late: Duration,
        max_stuck: Option<usize>,
    ) {
        let Some(rendition) = &self.rendition else {
            return;
        };
        let mut track = PublishedTrack::new(producer, rendition, max_late, max_stuck);
        track.set_audio_group(self.settings.audio_group);
        self.report(Report::Published(track.name().to_owned()));
        self.track = Some(track);
        self.change_demand(|demand| demand.begin(subscribers, Instant::now()));
        self.base_name = Some(base_name);
        self.delay_due = Some(Instant::now() + DELAY_WINDOW);
        if std::mem::replace(&mut self.was_published, true) {
            self.report_change();
        }
    }

    /// Takes the track away, which stays listed until another one replaces it.
    pub(super) fn take_track(&mut self) -> Option<PublishedTrack> {
        let mut track = self.track.take()?;
        track.cut();
        (self.transit, self.delay_due) = (None, None);
        self.change_demand(Demand::suspend);
        self.replaced = Some(track.name().to_owned());
        Some(track)
    }

    /// The name of a track that was taken away and is listed still: none replaces it.
    pub(super) fn take_replaced(&mut self) -> Option<String> {
        self.change_demand(Demand::end);
        self.replaced.take()
    }

    pub(super) fn track_mut(&mut self) -> Option<&mut PublishedTrack> {
        self.track.as_mut()
    }

    /// Finishes the track once the stream has ended and all of it is delivered.
    pub(super) fn finish_delivered(&mut self) {
        if self.stream == StreamState::Ended
            && let Some(track) = &mut self.track
            && !track.is_finished()
            && track.finish_delivered()
        {
            self.report(Report::Ended);
        }
    }

    /// Finishes the track with the broadcast, and gives it; another broadcast may follow.
    pub(super) fn finish(&mut self) -> Option<PublishedTrack> {
        let mut track = self.take_track();
        if let Some(track) = &mut track {
            if self.stream == StreamState::Ended && !track.is_finished() {
                self.report(Report::Ended);
            }
            track.finish();
        }
        self.change_demand(Demand::end);
        (self.base_name, self.replaced) = (None, None);
        track
    }

    /// Takes in who subscribes to the track at `now`.
    pub(super) fn update_demand(&mut self, now: Instant) {
        self.change_demand(|demand| demand.update(now));
    }

    /// Takes back what waits of live video for the network, which goes on with its next keyframe.
    pub(super) fn restart_video(&mut self) {
        if self.kind != Some(Kind::Video) || !self.is_live {
            return;
        }
        if let Some(track) = &mut self.track {
            track.abort_group();
            self.request_keyframe();
        }
    }

    /// Whether the network has no room for it beside smaller renditions.
    pub(super) fn set_crowded_out(&mut self, crowded_out: bool) {
        self.change_demand(|demand| demand.set_crowded_out(crowded_out));
    }

    pub(super) fn is_subscribed(&self) -> bool {
        self.demand.is_subscribed()
    }

    /// What the rate control knows of it, as long as it has a track.
    pub(super) fn rated(&self, id: PadId) -> Option<RatedPad> {
        let track = self.track.as_ref()?;
        Some(RatedPad {
            id,
            pad: self.handle.pad.clone(),
            kind: track.kind(),
            share: self.settings.bitrate_share,
            group: self.settings.group.clone(),
            area: self.rendition.as_ref().map(area).unwrap_or_default(),
            bytes: self.handle.counters.bytes.get(),
        })
    }

    /// When [`Self::update_demand`] has something to do.
    pub(super) fn demand_wake(&self) -> Option<Instant> {
        self.demand.wake()
    }

    /// Changes the demand, and reports what has become of it.
    fn change_demand(&mut self, change: impl FnOnce(&mut Demand)) {
        let (subscribed, resting) = (self.demand.is_subscribed(), self.demand.is_resting());
        change(&mut self.demand);
        if self.demand.take_joined() {
            self.report_keyframe_helps();
        }
        if self.demand.is_subscribed() != subscribed {
            self.report(Report::Subscribed(!subscribed));
        }
        if self.demand.is_resting() == resting {
            return;
        }
        if let Some(track) = self.track.as_mut().filter(|_| !resting) {
            track.rest();
            if std::mem::take(&mut self.is_stalled) {
                self.report(Report::Flowing);
            }
        }
        self.report(Report::Resting(!resting));
    }

    /// Whether anything can come; asked anew each time, because it may change at any moment.
    pub(super) fn is_linked(&self) -> bool {
        let pad = self.handle.pad.upgrade();
        pad.is_some_and(|pad| pad.is_linked())
    }

    /// Whether nothing more is expected of the stream.
    pub(super) fn is_over(&self) -> bool {
        self.stream != StreamState::Running
    }

    pub(super) fn is_published(&self) -> bool {
        self.track.is_some()
    }

    /// Whether the catalog need not wait for a track.
    pub(super) fn is_settled(&self) -> bool {
        self.is_published() || self.is_over() || self.is_sparse() || !self.is_linked()
    }

    /// Whether a track is missing, which is published before there is a frame.
    pub(super) fn needs_sparse_track(&self) -> bool {
        self.is_sparse() && !self.is_published() && !self.is_over()
    }

    /// Whether nothing may come for a long time although all is well.
    fn is_sparse(&self) -> bool {
        self.kind.is_some_and(Kind::is_sparse)
    }

    /// Whether the next track follows one that is listed still.
    pub(super) fn is_replacing(&self) -> bool {
        self.replaced.is_some()
    }

    pub(super) fn base_name(&self) -> Option<&str> {
        self.base_name.as_deref()
    }

    pub(super) fn wanted_name(&self) -> Option<&str> {
        self.wanted_name.as_deref()
    }

    /// Whether the tracks are named by their kind, which is `kind`.
    pub(super) fn is_numbered(&self, kind: Kind) -> bool {
        self.kind == Some(kind) && self.wanted_name.is_none()
    }

    /// The kind of the next track, once it is known what it is.
    pub(super) fn track_kind(&self) -> Option<Kind> {
        self.rendition.as_ref().map(Rendition::kind)
    }

    /// The priority of the next track, if it is not that of its kind.
    pub(super) fn wanted_priority(&self) -> Option<u8> {
        self.settings.priority
    }

    /// How the video is to be turned, if it is said.
    pub(super) fn orientation(&self) -> Option<Orientation> {
        let counts = self.kind == Some(Kind::Video) && self.stream != StreamState::Failed;
        self.description.orientation.filter(|_| counts)
    }

    /// Warns once if the video is to be turned in another way than the broadcast says.
    pub(super) fn check_orientation(&mut self, listed: Option<Orientation>) {
        const WARNING: &str = "The catalog has one orientation for all video: this pad's is left out, because an earlier pad has another";
        let own = self.orientation();
        if own.is_some() && own != listed && self.warnings.is_due(WARNING, Instant::now()) {
            self.report(Report::Warning(WARNING.into()));
        }
    }

    /// The least time by which the track's live frames came later than their running times.
    pub(super) fn transit(&self) -> Option<gst::ClockTime> {
        self.transit
    }

    /// The same once it was measured for long enough.
    pub(super) fn measured_transit(&self) -> Option<gst::ClockTime> {
        self.transit.filter(|_| self.delay_due.is_none())
    }

    /// Lists the track in the place of the one before; without a `delay`, the listed one stays.
    pub(super) fn list(&mut self, catalog: &mut Catalog, delay: Option<Duration>) {
        let (Some(track), Some(mut rendition)) = (&self.track, self.rendition.clone()) else {
            return;
        };
        let name = track.name();
        if let Some(replaced) = self.replaced.take() {
            Rendition::delist(catalog, &replaced);
        }
        self.description.describe(&mut rendition);
        rendition.set_delay(delay.or(rendition.listed_delay(catalog, name)));
        if let Rendition::Video(config) = &mut rendition {
            config.jitter = reordering(config);
        }
        rendition.list(catalog, name);
        if let Some(group) = self
            .settings
            .group
            .clone()
            .filter(|_| self.kind == Some(Kind::Video))
        {
            catalog.ext.groups.insert(name.to_owned(), group);
        }
        if self.kind == Some(Kind::Audio)
            && let Some(language) = self.description.language.clone()
        {
            catalog.ext.languages.insert(name.to_owned(), language);
        }
        if let Some(base) = self.base_name.as_ref().filter(|base| *base != name) {
            let lineage = &mut catalog.ext.lineage;
            lineage.insert(name.to_owned(), base.clone());
        }
    }

    /// What comes next does not continue what came before.
    fn cut(&mut self) {
        if let Some(track) = &mut self.track {
            track.cut();
        }
    }

    /// Has a keyframe requested, of video alone.
    fn request_keyframe(&mut self) {
        if self.kind == Some(Kind::Video) && !std::mem::replace(&mut self.needs_keyframe, true) {
            self.report(Report::NeedsKeyframe);
        }
    }

    /// The same because a receiver wants one, as often as it likes: the pad knows how often it may.
    pub(super) fn request_keyframe_for_receiver(&self) {
        let flows = self.stream == StreamState::Running && !self.demand.is_resting();
        if flows && self.kind == Some(Kind::Video) {
            self.report(Report::NeedsKeyframe);
        }
    }

    pub(super) fn track_name(&self) -> Option<&str> {
        self.track.as_ref().map(PublishedTrack::name)
    }

    /// Subscribers have come, or lost a group.
    fn report_keyframe_helps(&self) {
        if self.kind == Some(Kind::Video) {
            self.report(Report::KeyframeHelps);
        }
    }

    /// Subscribers come back, and begin with a keyframe.
    pub(super) fn reconnected(&mut self) {
        if self.is_published() && !self.is_over() {
            self.needs_keyframe = false;
            self.request_keyframe();
        }
    }

    /// The subscribers get another track, or another format.
    fn report_change(&self) {
        if let Some((track, rendition)) = self.track.as_ref().zip(self.rendition.as_ref()) {
            self.report(Report::RenditionChanged {
                track: track.name().to_owned(),
                caps: caps::from_rendition(rendition).ok(),
            });
        }
    }

    fn report_qos(&mut self) {
        if self.qos.is_due("QOS", Instant::now()) {
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

/// How many pixels a picture has; 0 where that is unknown.
fn area(rendition: &Rendition) -> u64 {
    let Rendition::Video(config) = rendition else {
        return 0;
    };
    let [width, height] = [config.coded_width, config.coded_height].map(Option::unwrap_or_default);
    u64::from(width) * u64::from(height)
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
