//! The request pad: its properties, and its part in a run.

pub(crate) mod chain;
pub(crate) mod clock_sync;
pub(crate) mod events;
pub(crate) mod seek;
pub(crate) mod stream;
pub(crate) mod text;

use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Instant,
};

use gst::{glib, prelude::*, subclass::prelude::*};

use self::{
    clock_sync::Gate,
    stream::Stream,
    text::{TextFormat, TextRole},
};
use super::{
    CAT,
    bus::Received,
    element::Settings,
    message::{KEYFRAME_REQUEST_INTERVAL, PadHandle, PadId, PadMessage, Report},
    run::Run,
    stats::Counters,
};
use crate::{
    element::{
        budget::Budget, pipeline_clock::PipelineClock, properties::Statistics,
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

#[derive(glib::Properties, Default)]
#[properties(wrapper_type = super::MoqSinkPad)]
pub struct MoqSinkPad {
    #[property(name = "track", type = Option<String>, get, set, member = wanted,
        nick = "Track", blurb = "Name of the track, to be set before the first caps; the default is video, video-2, audio, ... by kind", mutable_ready)]
    #[property(name = "container", type = Container, get, set, member = container,
        nick = "Container", blurb = "How frames are wrapped on the wire; a change applies at the next caps that differ", mutable_ready, builder(Container::default()))]
    #[property(name = "mime", type = Option<String>, get, set, member = mime,
        nick = "MIME type", blurb = "MIME type of each buffer of a data track, such as application/json, or none; counts from the next caps that differ on", mutable_ready)]
    #[property(name = "active-track", type = Option<String>, get, member = active,
        nick = "Active track", blurb = "Name under which the track is published; it gets a number when the format changes")]
    #[property(name = "track-status", type = TrackStatus, get, member = status,
        nick = "Track status", blurb = "State of the track", builder(TrackStatus::default()))]
    #[property(name = "track-error", type = Option<String>, get, member = error,
        nick = "Track error", blurb = "Why the track failed or drops frames until a key frame comes, or none")]
    #[property(name = "text-format", type = TextFormat, get, set, member = text_format,
        nick = "Text format", blurb = "What raw text is published as; counts from the next caps that differ on", mutable_ready, builder(TextFormat::default()))]
    #[property(name = "text-role", type = TextRole, get, set, member = text_role,
        nick = "Text role", blurb = "What a text track is for; counts from the next caps that differ on", mutable_ready, builder(TextRole::default()))]
    track: Mutex<Track>,
    #[property(name = "stats", type = Statistics, get = Self::stats,
        nick = "Statistics", blurb = "Statistics of the track in this run, all guint64 and without a run absent: frames, bytes and groups published; frames dropped as dropped-no-keyframe, -no-timestamp, -budget (over max-bytes or max-time), -refused (other reasons, see track-error) and -too-old (of groups that the network did not carry in time, see max-age; some of them may have arrived), with groups-given-up; resyncs (how often the timestamps stepped and the stream went on where it was); queue-bytes and queue-time (ns) wait to be handed to the network")]
    id: OnceLock<PadId>,
    pub(crate) gate: Gate,
    membership: Mutex<Membership>,
    /// What the streaming thread knows of the stream.
    pub(crate) stream: Mutex<Stream>,
    received: Mutex<Received>,
    /// A seek for when the stream has begun.
    pub(crate) kept: Mutex<Option<gst::Event>>,
    position: Mutex<Option<gst::ClockTime>>,
    /// When a key frame was last requested.
    asked: Mutex<Option<Instant>>,
    warnings: Mutex<WarnLimiter>,
}

#[derive(Default)]
struct Track {
    wanted: Option<String>,
    container: Container,
    mime: Option<String>,
    active: Option<String>,
    status: TrackStatus,
    error: Option<String>,
    text_format: TextFormat,
    text_role: TextRole,
}

/// Whether the pad takes part in a run; the gate is opened and closed under the same lock.
#[derive(Default)]
struct Membership {
    part: Option<Part>,
    /// It is on its way out of the element: it joins no run any more.
    released: bool,
}

/// The pad's part in a run.
#[derive(Clone)]
pub(crate) struct Part {
    pub(crate) id: PadId,
    pub(crate) run: Arc<Run>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) counters: Arc<Counters>,
}

impl Part {
    pub(crate) fn send(&self, message: PadMessage) {
        self.run.send(self.id, message);
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
                super::element::MoqSink::catch_panic_pad_function(
                    parent,
                    || Err(gst::FlowError::Error),
                    |sink| pad.imp().chain(sink, buffer),
                )
            })
            .event_full_function(|pad: &Self, parent, event| {
                super::element::MoqSink::catch_panic_pad_function(
                    parent,
                    || Err(gst::FlowError::Error),
                    |sink| pad.imp().event(sink, event),
                )
            })
            .query_function(|pad: &Self, parent, query| {
                super::element::MoqSink::catch_panic_pad_function(
                    parent,
                    || false,
                    |sink| pad.imp().query(sink, query),
                )
            })
            .build();
        let _ = pad.imp().id.set(id);
        pad.connect_linked(|pad, _| pad.imp().relinked(true));
        pad.connect_unlinked(|pad, _| pad.imp().relinked(false));
        pad
    }
}

impl MoqSinkPad {
    /// Takes part in a run, unless the pad does already or is released at this moment.
    pub(crate) fn join(&self, run: &Arc<Run>, settings: &Settings) {
        let id = self.id.get().copied().unwrap_or_default();
        let max_time = gst::ClockTime::from_nseconds(settings.max_time);
        let budget = Budget::new(settings.max_bytes.into(), max_time);
        let counters = Arc::<Counters>::default();
        let mut membership = lock(&self.membership);
        let joined = membership.part.as_ref();
        if membership.released || joined.is_some_and(|part| Arc::ptr_eq(&part.run, run)) {
            return;
        }
        membership.part = Some(Part {
            id,
            run: run.clone(),
            budget: budget.clone(),
            counters: counters.clone(),
        });
        *lock(&self.stream) = Stream::default();
        self.forget();
        *lock(&self.position) = None;
        *lock(&self.asked) = None;
        lock(&self.warnings).reset();
        self.gate.open();
        self.gate.set_playing(run.playing());
        run.send(
            id,
            PadMessage::Open(PadHandle {
                pad: self.obj().downgrade(),
                budget,
                counters,
            }),
        );
    }

    /// Lets the streaming thread go: the run ends.
    pub(crate) fn leave(&self) {
        self.let_go(&lock(&self.membership));
    }

    /// Lets the streaming thread go: the pad is released, and no run that begins meanwhile opens its
    /// gate again.
    pub(crate) fn release(&self) {
        let mut membership = lock(&self.membership);
        membership.released = true;
        self.let_go(&membership);
    }

    fn let_go(&self, membership: &Membership) {
        self.gate.close();
        if let Some(part) = &membership.part {
            part.budget.wake();
        }
    }

    /// Tells the run that the pad is gone for good.
    pub(crate) fn part_from_run(&self) {
        let part = lock(&self.membership).part.take();
        if let Some(part) = part {
            part.send(PadMessage::Release);
        }
    }

    /// The run is over: nothing of it stays visible.
    pub(crate) fn rest(&self) {
        lock(&self.membership).part = None;
        self.set_track(|track| {
            track.active = None;
            track.status = TrackStatus::Idle;
            track.error = None;
        });
    }

    pub(crate) fn part(&self) -> Option<Part> {
        lock(&self.membership).part.clone()
    }

    pub(crate) fn set_playing(&self, playing: Option<PipelineClock>) {
        if playing.is_none() {
            let mut stream = lock(&self.stream);
            // What a live source makes meanwhile is lost.
            if stream.live == Some(true) {
                stream.interrupt();
            }
        }
        self.gate.set_playing(playing);
    }

    /// Live input that was lost meanwhile is gone.
    pub(crate) fn resumed(&self) {
        if lock(&self.stream).live == Some(true) {
            self.request_missing_key_frame();
        }
    }

    pub(crate) fn wanted_track(&self) -> Option<String> {
        let wanted = lock(&self.track).wanted.clone();
        wanted.filter(|name| !name.is_empty())
    }

    /// How the frames of the next caps are to be wrapped.
    pub(crate) fn container(&self) -> Container {
        lock(&self.track).container
    }

    /// What the pad adds to the entry that its caps make.
    pub(crate) fn complete(&self, rendition: &mut Rendition) {
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

    pub(crate) fn text_settings(&self) -> TextSettings {
        let track = lock(&self.track);
        TextSettings {
            plain: track.text_format == TextFormat::Utf8,
            role: match track.text_role {
                TextRole::Subtitle => hang::catalog::TextRole::Subtitle,
                TextRole::Caption => hang::catalog::TextRole::Caption,
            },
        }
    }

    pub(crate) fn received(&self) -> Received {
        lock(&self.received).clone()
    }

    pub(crate) fn receive(&self, change: impl FnOnce(&mut Received)) {
        change(&mut lock(&self.received));
    }

    /// Nothing has come yet.
    pub(crate) fn forget(&self) {
        *lock(&self.received) = Received::default();
        *lock(&self.kept) = None;
    }

    pub(crate) fn forget_segment_done(&self) {
        self.receive(|received| received.segment_done = None);
    }

    /// The stream time of the newest frame.
    pub(crate) fn position(&self) -> Option<gst::ClockTime> {
        *lock(&self.position)
    }

    pub(crate) fn set_position(&self, position: Option<gst::ClockTime>) {
        let mut newest = lock(&self.position);
        *newest = position.max(*newest);
    }

    pub(crate) fn reset_position(&self) {
        *lock(&self.position) = None;
    }

    /// Takes in what the session task has to say.
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
            Report::NeedsKeyframe => self.request_key_frame(),
            Report::Quality(quality) => quality.post(&self.obj()),
        }
    }

    /// Tells the application that subscribers get another track, or another format, from here.
    fn post_rendition_changed(&self, track: &str, caps: Option<gst::Caps>) {
        let pad = self.obj();
        let Some(element) = pad.parent_element() else {
            return;
        };
        let structure = gst::Structure::builder("moq-rendition-changed")
            .field("pad", pad.name())
            .field("track", track)
            .field_if_some("caps", caps)
            .build();
        let message = gst::message::Element::builder(structure)
            .src(&element)
            .build();
        // Refused only without a bus: then nobody asks.
        let _ = element.post_message(message);
    }

    /// What the property `stats` says.
    fn stats(&self) -> Statistics {
        let stats = match self.part() {
            Some(part) => part.counters.structure(&part.budget),
            None => gst::Structure::new_empty("moq-pad-stats"),
        };
        stats.into()
    }

    /// Why caps were not taken; other caps may follow.
    pub(crate) fn refused(&self, reason: &str) {
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
    pub(crate) fn warn(&self, text: &str) {
        if !lock(&self.warnings).is_due(text, Instant::now()) {
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

    /// Asks for a key frame if nothing can be published before one comes.
    pub(crate) fn request_missing_key_frame(&self) {
        let missing = lock(&self.stream).needs_key_frame();
        if missing {
            self.request_key_frame();
        }
    }

    /// Asks for a key frame, unless that was done a moment ago: whoever lacks one asks again.
    pub(crate) fn request_key_frame(&self) {
        let mut asked = lock(&self.asked);
        if asked.is_some_and(|at| at.elapsed() < KEYFRAME_REQUEST_INTERVAL) {
            return;
        }
        *asked = Some(Instant::now());
        drop(asked);
        self.force_key_unit();
    }

    /// Asks the encoder, if there is one, for a picture to begin with.
    pub(crate) fn force_key_unit(&self) {
        let request = gst::Structure::builder("GstForceKeyUnit")
            .field("all-headers", true)
            .build();
        let taken = self
            .obj()
            .push_event(gst::event::CustomUpstream::new(request));
        gst::debug!(CAT, imp = self, "Key frame requested, taken: {taken}");
    }

    fn set_track(&self, change: impl FnOnce(&mut Track)) {
        let mut track = lock(&self.track);
        let before = (track.active.clone(), track.status, track.error.clone());
        change(&mut track);
        let active = track.active != before.0;
        let status = track.status != before.1;
        let error = track.error != before.2;
        drop(track);
        let pad = self.obj();
        for (property, changed) in [
            ("active-track", active),
            ("track-error", error),
            ("track-status", status),
        ] {
            if changed {
                pad.notify(property);
            }
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
