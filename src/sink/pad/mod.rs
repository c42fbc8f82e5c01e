// SPDX-License-Identifier: MIT
//! The request pad: its properties, and its part in a run.

mod chain;
mod clock_sync;
mod demand;
mod encoder;
mod events;
mod keyframe;
mod publish_time;
mod stream;
mod text;
mod upstream;

use std::{
    sync::{Arc, Mutex, OnceLock},
    time::{Duration, Instant},
};

use gst::{glib, prelude::*, subclass::prelude::*};

use self::{
    clock_sync::ClockSync,
    demand::{Demand, UpstreamDemand},
    encoder::DrivenEncoder,
    keyframe::KeyframeDue,
    stream::StreamState,
    text::{TextFormat, TextRole},
    upstream::UpstreamState,
};
use super::{
    CAT, MoqSink,
    element::{self, Settings},
    message::{PadHandle, PadId, PadMessage, Report, TrackSettings},
    run::{Run, RunHandle},
};
use crate::{
    element::{
        bus::post_element, pipeline_clock::PipelineClock, properties::Statistics, sync::lock,
        warn_limiter::WarnLimiter,
    },
    media::{
        container::kind::Container,
        format::{codec::is_mime, input::TextSettings, rendition::Rendition},
    },
};

/// State of a pad's track.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[repr(u32)]
#[enum_type(name = "GstMoqTrackStatus")]
pub enum TrackStatus {
    /// Nothing was published yet.
    #[default]
    #[enum_value(name = "Nothing published yet", nick = "idle")]
    Idle,
    /// The track is in the catalog and its frames go out.
    #[enum_value(name = "Published", nick = "published")]
    Published,
    /// The track failed, see `track-error`; the next caps are another try.
    #[enum_value(name = "Failed, see track-error", nick = "failed")]
    Failed,
    /// All of the track was sent.
    #[enum_value(name = "Ended", nick = "ended")]
    Ended,
}

/// How old the open group is, in ms, for which whoever comes to it gets a keyframe.
const DEFAULT_KEY_UNIT_AGE_MS: u32 = 1_000;
/// How much audio one group holds, in ms.
const DEFAULT_AUDIO_GROUP_MS: u32 = 100;
/// The most that `audio-group-duration` takes.
const MAX_AUDIO_GROUP_MS: u32 = 10_000;
/// Between two requests for a keyframe.
const DEFAULT_REQUEST_INTERVAL_NS: u64 = 500_000_000;

#[derive(glib::Properties, Default)]
#[properties(wrapper_type = super::MoqSinkPad)]
pub struct MoqSinkPad {
    #[property(name = "track", type = Option<String>, get, set, member = wanted,
        nick = "Track", blurb = "Name of the track (NULL = video, video-2, audio, ... by kind)", mutable_ready)]
    #[property(name = "container", type = Container, get, set, member = container,
        nick = "Container", blurb = "How frames are wrapped on the wire, from the next new caps on", mutable_ready, builder(Container::default()))]
    #[property(name = "mime", type = Option<String>, get, set, member = mime,
        nick = "MIME type", blurb = "MIME type of each buffer of a data track, such as application/json, from the next new caps on (NULL = none)", mutable_ready)]
    #[property(name = "active-track", type = Option<String>, get, member = active,
        nick = "Active track", blurb = "Name under which the track is published now, numbered when the format changes")]
    #[property(name = "track-status", type = TrackStatus, get, member = status,
        nick = "Track status", blurb = "State of the track", builder(TrackStatus::default()))]
    #[property(name = "track-error", type = Option<String>, get, member = error,
        nick = "Track error", blurb = "Why the track failed or waits for a keyframe (NULL = no error)")]
    #[property(name = "text-format", type = TextFormat, get, set, member = text_format,
        nick = "Text format", blurb = "What raw text is published as, from the next new caps on", mutable_ready, builder(TextFormat::default()))]
    #[property(name = "text-role", type = TextRole, get, set, member = text_role,
        nick = "Text role", blurb = "What a text track is for, from the next new caps on", mutable_ready, builder(TextRole::default()))]
    #[property(name = "subscribed", type = bool, get, member = subscribed,
        nick = "Subscribed", blurb = "Whether a peer subscribes to the track now")]
    #[property(name = "demand", type = Demand, get, set = Self::set_demand, member = demand,
        nick = "Demand", blurb = "What becomes of frames while nobody subscribes to the track", mutable_playing, builder(Demand::default()))]
    #[property(name = "demand-valve", type = Option<String>, get, set, member = demand_valve,
        nick = "Demand valve", blurb = "Name of an element valve in the pipeline that is closed while demand=upstream wants no frames (NULL = none)", mutable_playing)]
    #[property(name = "bitrate-share", type = f64, get, set = Self::set_bitrate_share, member = bitrate_share, default = 1.0, minimum = 0.0, maximum = 1e6,
        nick = "Bitrate share", blurb = "Part of the bit rate of all video that this pad gets with rate-control, in proportion to those of the others", mutable_playing)]
    #[property(name = "rendition-group", type = Option<String>, get, set = Self::set_group, member = group,
        nick = "Rendition group", blurb = "Name of the picture of which this pad and others are renditions of different quality (NULL = none)", mutable_ready)]
    #[property(name = "target-bitrate", type = u32, get, member = target_bitrate,
        nick = "Target bitrate", blurb = "Bit rate in bits per second that the encoder of a video pad should have by rate-control (0 = not controlled)")]
    #[property(name = "key-unit-age", type = u32, get, set, member = key_unit_age,
        nick = "Key unit age", blurb = "Ask for a keyframe when a peer subscribes, or has lost a group, while the open group is so old in ms (0 = never)",
        mutable_playing, default = DEFAULT_KEY_UNIT_AGE_MS)]
    #[property(name = "min-force-key-unit-interval", type = u64, get, set = Self::set_request_interval, member = request_interval,
        nick = "Minimum force key unit interval", blurb = "Time in ns between two requests for a keyframe, whatever their reasons",
        mutable_playing, default = DEFAULT_REQUEST_INTERVAL_NS)]
    #[property(name = "priority", type = i32, get, set = Self::set_priority, member = priority,
        nick = "Priority", blurb = "How urgent the track is beside the others, higher is sent first, from the next track on (-1 = by kind)",
        mutable_ready, minimum = -1, maximum = 255, default = -1)]
    #[property(name = "audio-group-duration", type = u32, get, set = Self::set_audio_group, member = audio_group,
        nick = "Audio group duration", blurb = "How much audio one group holds in ms (0 = one packet)",
        mutable_playing, maximum = MAX_AUDIO_GROUP_MS, default = DEFAULT_AUDIO_GROUP_MS)]
    track: Mutex<Track>,
    #[property(name = "stats", type = Statistics, get = Self::stats,
        nick = "Statistics", blurb = "Statistics of the track in the current run")]
    id: OnceLock<PadId>,
    clock_sync: ClockSync,
    /// `None` without a run; locked for no longer than one step of a buffer takes.
    stream: Mutex<Option<StreamState>>,
    upstream: Mutex<UpstreamState>,
    upstream_demand: Mutex<UpstreamDemand>,
    encoder: Mutex<DrivenEncoder>,
    warnings: Mutex<Warnings>,
}

struct Track {
    wanted: Option<String>,
    container: Container,
    mime: Option<String>,
    active: Option<String>,
    status: TrackStatus,
    error: Option<String>,
    text_format: TextFormat,
    text_role: TextRole,
    subscribed: bool,
    demand: Demand,
    demand_valve: Option<String>,
    bitrate_share: f64,
    group: Option<String>,
    target_bitrate: u32,
    key_unit_age: u32,
    request_interval: u64,
    priority: i32,
    audio_group: u32,
}

impl Default for Track {
    fn default() -> Self {
        Self {
            wanted: None,
            container: Container::default(),
            mime: None,
            active: None,
            status: TrackStatus::default(),
            error: None,
            text_format: TextFormat::default(),
            text_role: TextRole::default(),
            subscribed: false,
            demand: Demand::default(),
            demand_valve: None,
            key_unit_age: DEFAULT_KEY_UNIT_AGE_MS,
            request_interval: DEFAULT_REQUEST_INTERVAL_NS,
            priority: -1,
            audio_group: DEFAULT_AUDIO_GROUP_MS,
            bitrate_share: 1.0,
            group: None,
            target_bitrate: 0,
        }
    }
}

impl Track {
    fn settings(&self) -> TrackSettings {
        TrackSettings {
            priority: u8::try_from(self.priority).ok(),
            audio_group: Duration::from_millis(self.audio_group.into()),
            bitrate_share: self.bitrate_share,
            group: self.group.clone().filter(|group| !group.is_empty()),
        }
    }
}

/// Which warnings of a run were given.
struct Warnings {
    repeated: WarnLimiter,
    once: WarnLimiter,
}

impl Default for Warnings {
    fn default() -> Self {
        Self {
            repeated: WarnLimiter::default(),
            once: WarnLimiter::once(),
        }
    }
}

impl Warnings {
    fn reset(&mut self) {
        self.repeated.reset();
        self.once.reset();
    }
}

#[glib::object_subclass]
impl ObjectSubclass for MoqSinkPad {
    const NAME: &'static str = "GstMoqSinkPad";
    type Type = super::MoqSinkPad;
    type ParentType = gst::Pad;
}

#[glib::derived_properties]
impl ObjectImpl for MoqSinkPad {}
impl GstObjectImpl for MoqSinkPad {}
impl PadImpl for MoqSinkPad {}

impl super::MoqSinkPad {
    pub(crate) fn new(template: &gst::PadTemplate, name: &str, id: PadId) -> Self {
        let pad: Self = gst::PadBuilder::from_template(template)
            .name(name)
            .chain_function(|pad: &Self, parent, buffer| {
                element::MoqSink::catch_panic_pad_function(
                    parent,
                    || Err(gst::FlowError::Error),
                    |_| pad.imp().chain(buffer),
                )
            })
            .event_full_function(|pad: &Self, parent, event| {
                element::MoqSink::catch_panic_pad_function(
                    parent,
                    || Err(gst::FlowError::Error),
                    |sink| pad.imp().event(sink, event),
                )
            })
            .query_function(|pad: &Self, parent, query| {
                element::MoqSink::catch_panic_pad_function(
                    parent,
                    || false,
                    |sink| pad.imp().query(sink, query),
                )
            })
            .build();
        let _ = pad.imp().id.set(id);
        pad.connect_linked(|pad, _| pad.imp().link_changed(true));
        pad.connect_unlinked(|pad, _| pad.imp().link_changed(false));
        pad
    }
}

impl MoqSinkPad {
    /// Takes part in a run, unless the pad does already or is released at this moment.
    pub(crate) fn join(&self, run: &Arc<Run>, settings: &Settings) {
        // Held until the publisher has the message, so that a release at the same moment comes after it.
        let mut stream = lock(&self.stream);
        let joined = stream.as_ref();
        let joined = joined.is_some_and(|stream| Arc::ptr_eq(stream.run().run(), run));
        if joined || !self.clock_sync.open(run.clock()) {
            return;
        }
        *self.upstream() = UpstreamState::default();
        lock(&self.warnings).reset();
        let id = self.id.get().copied().unwrap_or_default();
        let max_time = gst::ClockTime::from_nseconds(settings.max_time);
        let handle = RunHandle::new(id, run.clone(), settings.max_bytes, max_time);
        handle.send(PadMessage::Open(PadHandle {
            pad: self.obj().downgrade(),
            budget: handle.budget().clone(),
            counters: handle.counters().clone(),
        }));
        let track = lock(&self.track);
        let (demand, interval) = (track.demand, track.request_interval);
        let settings = track.settings();
        drop(track);
        handle.send(PadMessage::Track(settings));
        handle.send(PadMessage::DropUnwatched(demand != Demand::Always));
        *stream = Some(StreamState::new(handle, Duration::from_nanos(interval)));
    }

    /// Lets the streaming thread return: the run ends.
    pub(crate) fn leave(&self) {
        self.clock_sync.close();
        self.wake();
    }

    /// Lets the streaming thread return: the pad is released, and joins no run that begins meanwhile.
    pub(crate) fn release(&self) {
        self.clock_sync.release();
        self.wake();
    }

    /// Has a streaming thread that waits for room look whether it may.
    fn wake(&self) {
        if let Some(run) = self.run_handle() {
            run.budget().wake();
        }
    }

    /// Tells the publisher that the pad is gone for good.
    pub(crate) fn leave_for_good(&self) {
        let stream = lock(&self.stream).take();
        if let Some(stream) = stream {
            stream.run().send(PadMessage::Release);
        }
        self.reset_demand();
        self.set_track(|track| track.subscribed = false);
    }

    /// The run is over: nothing of it stays visible.
    pub(crate) fn reset(&self) {
        *lock(&self.stream) = None;
        *lock(&self.encoder) = DrivenEncoder::default();
        self.reset_demand();
        self.set_track(|track| {
            track.active = None;
            track.status = TrackStatus::Idle;
            track.error = None;
            track.subscribed = false;
            track.target_bitrate = 0;
        });
    }

    fn set_bitrate_share(&self, share: f64) {
        lock(&self.track).bitrate_share = share;
        self.send_settings();
    }

    /// The bit rate that the encoder should have from now on, which is set to it if `drives`.
    pub(crate) fn set_target_bitrate(&self, bits: u64, drives: bool) {
        let shown = u32::try_from(bits).unwrap_or(u32::MAX);
        self.set_track(|track| track.target_bitrate = shown);
        if drives {
            self.drive_encoder(bits);
        }
    }

    /// The pad's part in the run that is on.
    fn run_handle(&self) -> Option<Arc<RunHandle>> {
        let stream = lock(&self.stream);
        stream.as_ref().map(|stream| stream.run().clone())
    }

    /// Does `work` with the stream of the run that is on.
    fn with_stream<T>(
        &self,
        work: impl FnOnce(&mut StreamState) -> T,
    ) -> Result<T, gst::FlowError> {
        let mut stream = lock(&self.stream);
        stream.as_mut().map(work).ok_or(gst::FlowError::Flushing)
    }

    /// The same once it is known whether upstream is live, which is asked without the lock.
    fn with_live_stream<T>(
        &self,
        work: impl FnOnce(&mut StreamState) -> T,
    ) -> Result<T, gst::FlowError> {
        let mut stream = lock(&self.stream);
        if stream
            .as_mut()
            .is_some_and(|stream| stream.time().liveness().is_none())
        {
            drop(stream);
            let live = self.is_upstream_live();
            stream = lock(&self.stream);
            if let Some(stream) = stream.as_mut() {
                stream.time().set_liveness(Some(live));
            }
        }
        stream.as_mut().map(work).ok_or(gst::FlowError::Flushing)
    }

    /// The pipeline plays by this clock, or with `None`, pauses.
    pub(crate) fn set_clock(&self, clock: Option<PipelineClock>) {
        if clock.is_none() {
            // Without a run nothing is lost.
            let _ = self.with_stream(StreamState::pause);
        }
        self.clock_sync.set_clock(clock);
    }

    /// Live input that came while the pipeline was paused is lost.
    pub(crate) fn resumed(&self) {
        self.tell_demand();
        if self.with_stream(|stream| stream.time().is_live()) == Ok(true) {
            self.request_missing_keyframe();
        }
    }

    /// The stream time of the newest frame.
    pub(crate) fn position(&self) -> Option<gst::ClockTime> {
        self.with_stream(|stream| stream.time().position()).ok()?
    }

    fn wanted_track(&self) -> Option<String> {
        let wanted = lock(&self.track).wanted.clone();
        wanted.filter(|name| !name.is_empty())
    }

    /// How the frames of the next caps are to be wrapped.
    fn container(&self) -> Container {
        lock(&self.track).container
    }

    /// What the pad adds to the entry that its caps make.
    fn complete(&self, rendition: &mut Rendition) {
        let Rendition::Data(config) = rendition else {
            return;
        };
        config.mime = lock(&self.track).mime.clone();
        if let Some(mime) = config.mime.take_if(|mime| !is_mime(mime)) {
            self.warn(&format!(
                "The property mime is left out: {mime:?} is no MIME type"
            ));
        }
    }

    fn text_settings(&self) -> TextSettings {
        let track = lock(&self.track);
        TextSettings {
            plain: track.text_format == TextFormat::Utf8,
            role: match track.text_role {
                TextRole::Subtitle => hang::catalog::TextRole::Subtitle,
                TextRole::Caption => hang::catalog::TextRole::Caption,
            },
        }
    }

    /// Takes in what the publisher reports.
    pub(crate) fn report(&self, report: Report) {
        match report {
            Report::Published(name) => {
                gst::info!(CAT, imp = self, "Published as {name}");
                self.set_track(|track| {
                    track.active = Some(name);
                    track.status = TrackStatus::Published;
                    track.error = None;
                });
            }
            Report::RenditionChanged { track, caps } => self.post_rendition_changed(&track, caps),
            Report::Ended => self.set_track(|track| {
                track.active = None;
                track.status = TrackStatus::Ended;
            }),
            Report::Failed(reason) => self.failed(&reason),
            Report::Retrying => self.set_track(|track| {
                track.status = TrackStatus::Idle;
                track.error = None;
            }),
            Report::Dropped(reason) => self.warn(&format!("Frames were dropped: {reason}")),
            Report::Warning(text) => self.warn(&text),
            Report::Stalled(reason) => self.set_track(|track| track.error = Some(reason)),
            Report::Flowing => self.set_track(|track| track.error = None),
            Report::NeedsKeyframe => self.request_keyframe(),
            Report::KeyframeHelps => self.request_younger_keyframe(),
            Report::Quality(quality) => quality.post(&self.obj()),
            Report::Subscribed(subscribed) => self.set_subscribed(subscribed),
            Report::Resting(resting) => self.set_resting(resting),
        }
    }

    fn set_subscribed(&self, subscribed: bool) {
        gst::info!(CAT, imp = self, "Subscribed: {subscribed}");
        self.set_track(|track| track.subscribed = subscribed);
        if let Some(element) = self.obj().parent().and_downcast::<MoqSink>() {
            element.imp().update_watched();
        }
    }

    pub(crate) fn is_subscribed(&self) -> bool {
        lock(&self.track).subscribed
    }

    /// Tells the application that subscribers get another track, or another format, from here.
    fn post_rendition_changed(&self, track: &str, caps: Option<gst::Caps>) {
        let pad = self.obj();
        let Some(element) = pad.parent_element() else {
            return;
        };
        post_element(&element, "moq-rendition-changed", |fields| {
            fields
                .field("pad", pad.name())
                .field("track", track)
                .field_if_some("caps", caps)
        });
    }

    /// What the property `stats` says.
    fn stats(&self) -> Statistics {
        let stats = match self.run_handle() {
            Some(run) => run.counters().structure(run.budget()),
            None => gst::Structure::new_empty("moq-pad-stats"),
        };
        stats.into()
    }

    /// Why caps were not taken; other caps may follow.
    fn refused(&self, reason: &str) {
        self.set_track(|track| track.error = Some(reason.to_owned()));
    }

    /// This pad alone has failed, until its next caps.
    fn failed(&self, reason: &str) {
        self.set_track(|track| {
            track.active = None;
            track.status = TrackStatus::Failed;
            track.error = Some(reason.to_owned());
        });
        self.warn(reason);
    }

    /// Tells the user and the application about trouble of this pad, each at most once a second.
    fn warn(&self, text: &str) {
        let due = lock(&self.warnings).repeated.is_due(text, Instant::now());
        if !due {
            return;
        }
        let pad = self.obj();
        gst::warning!(CAT, imp = self, "{text}");
        if let Some(element) = pad.parent_element() {
            let name = pad.name();
            gst::element_warning!(
                element,
                gst::StreamError::Failed,
                ("The pad {name}: {text}")
            );
        }
    }

    /// The same once in a run for all texts of this `key`.
    fn warn_once(&self, key: &str, text: &str) {
        let due = lock(&self.warnings).once.is_due(key, Instant::now());
        if due {
            self.warn(text);
        }
    }

    /// Asks for a keyframe if nothing can be published before one comes.
    fn request_missing_keyframe(&self) {
        if self.with_stream(StreamState::request_missing_keyframe) == Ok(true) {
            self.force_key_unit();
        }
    }

    /// Asks for a keyframe, at once or when the next request may be made.
    fn request_keyframe(&self) {
        if self.with_stream(StreamState::request_keyframe) == Ok(true) {
            self.force_key_unit();
        }
    }

    /// The same if the open group is as old as `key-unit-age`.
    fn request_younger_keyframe(&self) {
        let age = lock(&self.track).key_unit_age;
        let age = Duration::from_millis(age.into());
        if !age.is_zero() && self.with_stream(|s| s.request_younger_keyframe(age)) == Ok(true) {
            self.force_key_unit();
        }
    }

    /// The property `priority` is set.
    fn set_priority(&self, priority: i32) {
        lock(&self.track).priority = priority;
        self.send_settings();
    }

    /// The property `audio-group-duration` is set.
    fn set_audio_group(&self, duration: u32) {
        lock(&self.track).audio_group = duration;
        self.send_settings();
    }

    /// The property `rendition-group` is set.
    fn set_group(&self, group: Option<String>) {
        lock(&self.track).group = group;
        self.send_settings();
    }

    fn send_settings(&self) {
        let settings = lock(&self.track).settings();
        if let Some(run) = self.run_handle() {
            run.send(PadMessage::Track(settings));
        }
    }

    /// The property `min-force-key-unit-interval` is set.
    fn set_request_interval(&self, interval: u64) {
        lock(&self.track).request_interval = interval;
        let interval = Duration::from_nanos(interval);
        // Without a run the next one begins with it.
        let _ = self.with_stream(|stream| stream.set_request_interval(interval));
    }

    /// Does what a buffer has found due.
    fn ask_for_keyframe(&self, due: KeyframeDue) {
        if due.request {
            self.force_key_unit();
        }
        if due.warning {
            let text = "Upstream makes no keyframe when it is asked for one (GstForceKeyUnit): whoever begins to watch waits for the next one. \
                Let the encoder make one every few seconds, or let the event pass to it";
            self.warn_once(text, text);
        }
    }

    /// Asks the encoder, if there is one, for a picture to begin with; all encoders of its group for the same.
    fn force_key_unit(&self) {
        let pad = self.obj();
        let group = lock(&self.track).settings().group;
        let sink = pad.parent().and_downcast::<MoqSink>();
        let (Some(group), Some(sink)) = (group, sink) else {
            return self.push_force_key_unit(gst::ClockTime::NONE);
        };
        let all: Vec<_> = sink
            .imp()
            .pads()
            .filter(|other| lock(&other.imp().track).settings().group.as_ref() == Some(&group))
            .collect();
        // Later than what any encoder has been given, so that all of them begin with the same picture.
        let newest = all.iter().filter_map(|pad| pad.imp().newest_running_time());
        let now = sink.current_running_time();
        let at = newest
            .chain(now)
            .max()
            .map(|time| time + gst::ClockTime::NSECOND);
        for other in all {
            if other != *pad {
                // Without a run there is nothing to ask for.
                let _ = other.imp().with_stream(StreamState::request_keyframe);
            }
            other.imp().push_force_key_unit(at);
        }
    }

    fn newest_running_time(&self) -> Option<gst::ClockTime> {
        self.with_stream(|stream| stream.time().running()).ok()?
    }

    /// Asks for a keyframe at once, or from a running time on.
    fn push_force_key_unit(&self, at: Option<gst::ClockTime>) {
        let request = gst::Structure::builder("GstForceKeyUnit")
            .field("all-headers", true)
            .field_if_some("running-time", at)
            .build();
        let taken = self
            .obj()
            .push_event(gst::event::CustomUpstream::new(request));
        gst::debug!(CAT, imp = self, "Keyframe requested, taken: {taken}");
    }

    fn set_track(&self, change: impl FnOnce(&mut Track)) {
        let mut track = lock(&self.track);
        let before = (track.active.clone(), track.status, track.error.clone());
        let was_subscribed = track.subscribed;
        let had_bitrate = track.target_bitrate;
        change(&mut track);
        let active = track.active != before.0;
        let status = track.status != before.1;
        let error = track.error != before.2;
        let subscribed = track.subscribed != was_subscribed;
        let bitrate = track.target_bitrate != had_bitrate;
        drop(track);
        let pad = self.obj();
        for (property, changed) in [
            ("active-track", active),
            ("track-error", error),
            ("track-status", status),
            ("subscribed", subscribed),
            ("target-bitrate", bitrate),
        ] {
            if changed {
                pad.notify(property);
            }
        }
    }
}
