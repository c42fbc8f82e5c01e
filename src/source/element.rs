// SPDX-License-Identifier: MIT
//! The element shell: properties, state changes, pads.

use std::{
    sync::{Arc, LazyLock, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use gst::{ClockTime, glib, prelude::*, subclass::prelude::*};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::{
    CAT, MoqSrcPad,
    catalog::CatalogFormat,
    discovery::{self, Discovery},
    message::{AppEvent, Control},
    pad::{stop_all, template_name},
    playback::LatencyAnswer,
    reach::Reach,
    rendition_request,
    selection::{RenditionPolicy, Wishes},
    subscriber,
};
use crate::{
    element::{
        app_queue::AppQueue,
        pipeline_clock::PipelineClock,
        properties::CommonProperties,
        runtime::{self, STOP_TIMEOUT, Task},
        session_request,
        status::ConnectionStatus,
        sync::{SendOrDrop, lock},
    },
    media::{
        format::codec::{self, Kind},
        time::playout,
    },
    net::{
        config::{self, Role},
        endpoint::EndpointConfig,
        error::Error,
        log,
        uri::URI_SCHEMES,
    },
};

const DEFAULT_LATENCY: u32 = 100;
/// A group of video that is 100 ms late at 1 % loss and 25 ms each way is complete; audio takes more,
/// because a missing packet is heard where a missing frame of video is hardly seen.
const DEFAULT_VIDEO_MAX_AGE: u32 = 100;
const DEFAULT_AUDIO_MAX_AGE: u32 = 500;

/// A day: no cache is larger.
const MAX_START_OFFSET: u32 = 24 * 3600 * 1000;

/// Where a subscription starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[repr(u32)]
#[enum_type(name = "GstMoqJoin")]
pub enum Join {
    /// With the GOP that is under way, played quickly up to the live edge.
    #[default]
    #[enum_value(
        name = "The current group, catching up with the live edge",
        nick = "live"
    )]
    Live,
    /// With the next keyframe, for recorders and slow decoders.
    #[enum_value(name = "The next group", nick = "next-group")]
    NextGroup,
}

#[derive(Clone)]
struct Settings {
    session: config::Settings,
    /// As it was set; else a URI may say it.
    catalog_format: Option<CatalogFormat>,
    join: Join,
    latency: u32,
    video_max_age: u32,
    audio_max_age: u32,
    eos_timeout: u32,
    start_offset: u32,
    /// As it was set; else a URI makes it adaptive, as players need it.
    policy: Option<RenditionPolicy>,
    is_of_uri: bool,
    wishes: Wishes,
}

impl Settings {
    fn catalog_format(&self) -> CatalogFormat {
        self.catalog_format
            .unwrap_or(match self.session.uri_form.names_msf() {
                true => CatalogFormat::Msf,
                false => CatalogFormat::default(),
            })
    }

    fn policy(&self) -> RenditionPolicy {
        self.policy.unwrap_or(match self.is_of_uri {
            true => RenditionPolicy::Adaptive,
            false => RenditionPolicy::All,
        })
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            session: config::Settings::new(Role::Subscriber),
            catalog_format: None,
            join: Join::default(),
            latency: DEFAULT_LATENCY,
            video_max_age: DEFAULT_VIDEO_MAX_AGE,
            audio_max_age: DEFAULT_AUDIO_MAX_AGE,
            eos_timeout: 0,
            start_offset: 0,
            policy: None,
            is_of_uri: false,
            wishes: Wishes::default(),
        }
    }
}

/// What exists from READY to PAUSED and back.
struct Run {
    task: Task,
    control: UnboundedSender<Control>,
    app_queue: Arc<AppQueue>,
}

static COMMON: LazyLock<CommonProperties> =
    LazyLock::new(|| CommonProperties::new(Role::Subscriber));

/// See [`super::MoqSrc`].
#[derive(Default, glib::Properties)]
#[properties(wrapper_type = super::MoqSrc)]
pub struct MoqSrc {
    #[property(
        name = "catalog-format",
        nick = "Catalog format",
        blurb = "Catalog of the broadcast to read; msf if a URI names it",
        get = |this: &Self| this.settings().catalog_format(),
        set = |this: &Self, format| this.settings().catalog_format = Some(format),
        type = CatalogFormat, mutable_ready, builder(CatalogFormat::default())
    )]
    #[property(
        name = "join",
        nick = "Join",
        blurb = "Group with which a subscription starts",
        get = |this: &Self| this.settings().join,
        set = |this: &Self, join| this.settings().join = join,
        type = Join, mutable_ready, builder(Join::default())
    )]
    #[property(
        name = "latency",
        nick = "Latency",
        blurb = "Time in ms to wait for media that are late on the network",
        get = |this: &Self| this.settings().latency,
        set = Self::set_latency,
        type = u32, maximum = 60_000, default = DEFAULT_LATENCY, mutable_playing
    )]
    #[property(
        name = "video-max-age",
        nick = "Video maximum age",
        blurb = "Time in ms to wait for a late video group when a newer one has arrived",
        get = |this: &Self| this.settings().video_max_age,
        set = |this: &Self, age| this.settings().video_max_age = age,
        type = u32, maximum = 60_000, default = DEFAULT_VIDEO_MAX_AGE, mutable_ready
    )]
    #[property(
        name = "audio-max-age",
        nick = "Audio maximum age",
        blurb = "Time in ms to wait for a late group of audio, text or data when a newer one has arrived",
        get = |this: &Self| this.settings().audio_max_age,
        set = |this: &Self, age| this.settings().audio_max_age = age,
        type = u32, maximum = 60_000, default = DEFAULT_AUDIO_MAX_AGE, mutable_ready
    )]
    #[property(name = "eos-timeout", type = u32, get = |this: &Self| this.settings().eos_timeout, set = |this: &Self, ms| this.settings().eos_timeout = ms,
        nick = "EOS timeout", blurb = "Time in ms that the broadcast may be gone until every pad gets EOS (0 = wait for ever)", mutable_ready)]
    #[property(name = "start-offset", type = u32, maximum = MAX_START_OFFSET, get = |this: &Self| this.settings().start_offset, set = |this: &Self, ms| this.settings().start_offset = ms,
        nick = "Start offset", blurb = "Time in ms before the live edge at which playing begins and stays, as far as the peer has kept it (less than 500 = live)", mutable_ready)]
    #[property(name = "rendition-policy", type = RenditionPolicy, get = |this: &Self| this.settings().policy(), set = |this: &Self, policy| this.settings().policy = Some(policy),
        nick = "Rendition policy", blurb = "What pads there are, and who chooses among renditions; adaptive if a URI made the element", mutable_ready, builder(RenditionPolicy::default()))]
    #[property(name = "video-rendition", type = Option<String>, get = |this: &Self| this.settings().wishes.video.clone(), set = |this: &Self, name| this.wish(|wishes| wishes.video = name),
        nick = "Video rendition", blurb = "Name or label of the video to give with rendition-policy best or adaptive (NULL = the policy decides)", mutable_playing)]
    #[property(name = "audio-rendition", type = Option<String>, get = |this: &Self| this.settings().wishes.audio.clone(), set = |this: &Self, name| this.wish(|wishes| wishes.audio = name),
        nick = "Audio rendition", blurb = "Name or label of the audio to give with rendition-policy best or adaptive (NULL = the policy decides)", mutable_playing)]
    #[property(name = "text-rendition", type = Option<String>, get = |this: &Self| this.settings().wishes.text.clone(), set = |this: &Self, name| this.wish(|wishes| wishes.text = name),
        nick = "Text rendition", blurb = "Name or label of the text to give with rendition-policy best or adaptive (NULL = the policy decides)", mutable_playing)]
    #[property(name = "max-width", type = u32, get = |this: &Self| this.settings().wishes.max_width, set = |this: &Self, most| this.wish(|wishes| wishes.max_width = most),
        nick = "Max. width", blurb = "Largest width in pixels of what rendition-policy best or adaptive chooses (0 = any)", mutable_playing)]
    #[property(name = "max-height", type = u32, get = |this: &Self| this.settings().wishes.max_height, set = |this: &Self, most| this.wish(|wishes| wishes.max_height = most),
        nick = "Max. height", blurb = "Largest height in pixels of what rendition-policy best or adaptive chooses (0 = any)", mutable_playing)]
    #[property(name = "max-bitrate", type = u32, get = |this: &Self| this.settings().wishes.max_bitrate, set = |this: &Self, most| this.wish(|wishes| wishes.max_bitrate = most),
        nick = "Max. bitrate", blurb = "Largest bit rate of one track in bits per second of what rendition-policy best or adaptive chooses (0 = any)", mutable_playing)]
    #[property(name = "preferred-languages", type = Option<String>, get = |this: &Self| this.settings().wishes.languages.clone(), set = |this: &Self, names| this.wish(|wishes| wishes.languages = names),
        nick = "Preferred languages", blurb = "Languages of audio and text with rendition-policy best or adaptive, separated by commas, such as de,en: the first that there is (NULL or empty = the first track)", mutable_playing)]
    settings: Mutex<Settings>,
    connection: Arc<ConnectionStatus>,
    #[property(name = "active-broadcast", type = Option<String>, get = |this: &Self| this.discovery.active(),
        nick = "Active broadcast", blurb = "Name of the broadcast whose tracks the pads give or gave last, which with a prefix is one of many (NULL = none yet)")]
    discovery: Arc<Discovery>,
    answer: Arc<LatencyAnswer>,
    reach: Arc<Reach>,
    run: Mutex<Option<Run>>,
    /// Shared by the events of the application that wait for pads.
    waiting_events: Arc<()>,
    /// Of the last SEEK, which each sink sends upstream.
    sought: Mutex<Option<gst::Seqnum>>,
}

impl MoqSrc {
    fn set_latency(&self, latency: u32) {
        self.settings().latency = latency;
        self.send(Control::Latency(ClockTime::from_mseconds(latency.into())));
    }

    /// Changes what is wished of renditions.
    fn wish(&self, change: impl FnOnce(&mut Wishes)) {
        let mut settings = self.settings();
        change(&mut settings.wishes);
        let wishes = settings.wishes.clone();
        drop(settings);
        self.send(Control::Wish(wishes));
    }

    /// Makes the run: nothing here waits for the network.
    fn start(&self) -> Result<(), Error> {
        let settings = self.settings().clone();
        let endpoint_config = EndpointConfig::new(&settings.session)?;
        let endpoint = runtime::enter(|| endpoint_config.clone().prepare())?;
        let element = self.obj().clone().upcast::<gst::Element>();
        let app_queue = AppQueue::new(&element);
        let (control, commands) = unbounded_channel();
        let latency = ClockTime::from_mseconds(settings.latency.into());
        self.answer.set(latency);
        let config = subscriber::Config {
            name: element.name(),
            endpoint: endpoint_config.clone(),
            catalog_format: settings.catalog_format(),
            latency,
            join: match settings.join {
                Join::Live => playout::Join::Live,
                Join::NextGroup => playout::Join::NextGroup,
            },
            start_offset: ClockTime::from_mseconds(settings.start_offset.into()),
            video_max_age: Duration::from_millis(settings.video_max_age.into()),
            audio_max_age: Duration::from_millis(settings.audio_max_age.into()),
            policy: settings.policy(),
            wishes: settings.wishes.clone(),
            eos_timeout: Some(Duration::from_millis(settings.eos_timeout.into()))
                .filter(|timeout| !timeout.is_zero()),
            return_path: settings.session.return_path.then(Arc::default),
            answer: self.answer.clone(),
            discovery: self.discovery.clone(),
            reach: self.reach.clone(),
            connection: self.connection.clone(),
            ask_rendition: rendition_request::ask(&app_queue),
            app_queue: app_queue.clone(),
            control: control.clone(),
        };
        self.reach.forget();
        let ask = session_request::ask(&app_queue);
        let (connection, reporter) = (self.connection.clone(), app_queue.clone());
        let task = Task::spawn(
            |cancel| subscriber::run(config, endpoint, ask, commands, cancel),
            move |error| connection.fail(error, endpoint_config, &reporter),
        )?;
        *self.run() = Some(Run {
            task,
            control,
            app_queue,
        });
        Ok(())
    }

    /// Ends the run: bounded, also on a dead network and with a push blocked.
    fn stop(&self) {
        let Some(run) = self.run().take() else { return };
        let deadline = Instant::now() + STOP_TIMEOUT;
        run.task.stop(deadline);
        run.app_queue.close(deadline);
        let pads = self.pads();
        stop_all(&pads);
        for pad in pads {
            // Only a pad that was removed by somebody else is not there any more.
            let _ = self.obj().remove_pad(&pad);
        }
        self.discovery.reset(self.obj().upcast_ref());
        self.reach.forget();
        self.connection.reset(self.obj().upcast_ref());
    }

    fn play(&self) {
        let clock = PipelineClock::of(&*self.obj());
        if clock.clock().is_none() {
            gst::error!(CAT, imp = self, "No clock in PLAYING");
            return;
        }
        self.send(Control::Play(clock));
    }

    /// What there is to seek is found out again if it may be another by now.
    fn measure(&self) {
        if self.reach.is_stale() {
            self.send(Control::Measure);
        }
    }

    fn send(&self, control: Control) {
        if let Some(run) = &*self.run() {
            run.control.send_or_drop(control);
        }
    }

    /// Pushes an event that waits for nothing on every pad that has a streaming thread; whether it
    /// arrived anywhere.
    fn push_to_all(&self, event: &gst::Event) -> bool {
        let pads = self.pads().into_iter();
        let pushed = pads.filter(|pad| pad.is_streaming() && pad.push_event(event.clone()));
        pushed.count() > 0
    }

    /// Goes on at another time of what the peer has; whether that can be done.
    fn seek(&self, seek: &gst::event::Seek) -> bool {
        let seqnum = seek.seqnum();
        if *lock(&self.sought) == Some(seqnum) {
            return true;
        }
        let Some(position) = self.position_of(seek) else {
            gst::info!(CAT, imp = self, "A seek is refused: {seek:?}");
            return false;
        };
        if self.run().is_none() {
            return false;
        }
        *lock(&self.sought) = Some(seqnum);
        let (pads, begun) = (self.pads(), Instant::now());
        for pad in &pads {
            pad.flush_start(seqnum);
        }
        self.send(Control::Seek(seqnum, position));
        for pad in &pads {
            pad.wait_flushed(begun);
        }
        true
    }

    /// The stream time that a SEEK wants, if it is one that a live source can do.
    fn position_of(&self, seek: &gst::event::Seek) -> Option<ClockTime> {
        let (rate, flags, start_type, start, stop_type, stop) = seek.get();
        let (_, newest) = self.reach.seekable()?;
        let is_done = rate == 1.0
            && flags.contains(gst::SeekFlags::FLUSH)
            && !flags.contains(gst::SeekFlags::SEGMENT)
            && (stop_type == gst::SeekType::None || !stop.is_some());
        if !is_done {
            return None;
        }
        let gst::GenericFormattedValue::Time(Some(start)) = start else {
            return None;
        };
        match start_type {
            gst::SeekType::Set => Some(start),
            // From the end it is negative, which this type does not know.
            gst::SeekType::End => {
                let before = start.nseconds().wrapping_neg();
                let before = ClockTime::from_nseconds(if before >> 63 == 0 { before } else { 0 });
                Some(newest.saturating_sub(before))
            }
            _ => None,
        }
    }

    fn pads(&self) -> Vec<MoqSrcPad> {
        let pads = self.obj().src_pads().into_iter();
        pads.filter_map(|pad| pad.downcast().ok()).collect()
    }

    fn settings(&self) -> MutexGuard<'_, Settings> {
        lock(&self.settings)
    }

    fn run(&self) -> MutexGuard<'_, Option<Run>> {
        lock(&self.run)
    }
}

#[glib::object_subclass]
impl ObjectSubclass for MoqSrc {
    const NAME: &'static str = "GstMoqSrc";
    type Type = super::MoqSrc;
    type ParentType = gst::Element;
    type Interfaces = (gst::URIHandler,);
}

impl ObjectImpl for MoqSrc {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> =
            LazyLock::new(|| COMMON.beside(MoqSrc::derived_properties()));
        &PROPERTIES
    }

    fn signals() -> &'static [glib::subclass::Signal] {
        static SIGNALS: LazyLock<[glib::subclass::Signal; 4]> = LazyLock::new(|| {
            let [added, removed] = discovery::signals();
            [
                session_request::signal(),
                rendition_request::signal(),
                added,
                removed,
            ]
        });
        &*SIGNALS
    }

    fn set_property(&self, id: usize, value: &glib::Value, spec: &glib::ParamSpec) {
        let name = spec.name();
        if !COMMON.set(name, value, &mut self.settings().session) {
            self.derived_set_property(id, value, spec);
        } else if self.run().is_some() && !spec.flags().contains(gst::PARAM_FLAG_MUTABLE_PLAYING) {
            gst::warning!(
                CAT,
                imp = self,
                "The property \"{name}\" takes effect after the state READY"
            );
        }
    }

    fn property(&self, id: usize, spec: &glib::ParamSpec) -> glib::Value {
        let common = COMMON.get(spec.name(), &self.settings().session, &self.connection);
        common.unwrap_or_else(|| self.derived_property(id, spec))
    }

    fn constructed(&self) {
        self.parent_constructed();
        // Without it `gst-launch-1.0 -e` has nobody to send its EOS to.
        self.obj().set_element_flags(gst::ElementFlags::SOURCE);
    }
}

impl GstObjectImpl for MoqSrc {}

impl ElementImpl for MoqSrc {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "MoQ source",
                "Source/Network",
                "Subscribes to a broadcast of a MoQ (Media over QUIC) relay",
                "the gst-plugin-moq authors",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let template = |kind| {
                gst::PadTemplate::with_gtype(
                    &template_name(kind),
                    gst::PadDirection::Src,
                    gst::PadPresence::Sometimes,
                    &codec::src_caps(kind),
                    MoqSrcPad::static_type(),
                )
            };
            // Refused only for a name or caps that are wrong for everyone.
            Kind::ALL
                .into_iter()
                .filter(|kind| codec::is_known(*kind))
                .filter_map(|kind| template(kind).ok())
                .collect()
        });
        &TEMPLATES
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        match transition {
            gst::StateChange::NullToReady => log::init(),
            gst::StateChange::ReadyToPaused => {
                if let Err(err) = self.start() {
                    err.post(self.obj().upcast_ref(), str::to_owned);
                    return Err(gst::StateChangeError);
                }
            }
            gst::StateChange::PlayingToPaused => self.send(Control::Pause),
            gst::StateChange::PausedToReady => self.stop(),
            _ => {}
        }
        let result = self.parent_change_state(transition);
        match (transition, result) {
            (gst::StateChange::ReadyToPaused, Err(err)) => {
                self.stop();
                Err(err)
            }
            (gst::StateChange::PausedToPlaying, Ok(success)) => {
                self.play();
                Ok(success)
            }
            // A live source has nothing to show before PLAYING.
            (gst::StateChange::ReadyToPaused | gst::StateChange::PlayingToPaused, Ok(_)) => {
                Ok(gst::StateChangeSuccess::NoPreroll)
            }
            (_, result) => result,
        }
    }

    /// What an application sends goes to every pad: serialized events in order with what the pad's
    /// thread pushes, the others at once. The events that make up a stream are the element's own, and
    /// there is nobody upstream.
    fn send_event(&self, event: gst::Event) -> bool {
        use gst::EventView::*;
        let control = match event.view() {
            SelectStreams(select) if self.settings().policy() != RenditionPolicy::All => {
                let ids = select.streams();
                Control::SelectStreams(ids.iter().map(ToString::to_string).collect())
            }
            Seek(seek) => return self.seek(seek),
            Eos(eos) => Control::Eos(eos.seqnum()),
            FlushStart(_) | CustomDownstreamOob(_) | CustomBothOob(_) => {
                return self.push_to_all(&event);
            }
            FlushStop(_) | Tag(_) | Toc(_) | SinkMessage(_) | Protection(_)
            | CustomDownstream(_) | CustomBoth(_) => {
                match AppEvent::new(event, &self.waiting_events) {
                    Some(event) if self.obj().num_src_pads() > 0 => Control::Event(event),
                    _ => return false,
                }
            }
            _ => return false,
        };
        if self.run().is_none() {
            return false;
        }
        self.send(control);
        true
    }

    fn query(&self, query: &mut gst::QueryRef) -> bool {
        match query.view_mut() {
            gst::QueryViewMut::Latency(query) => {
                query.set(true, self.answer.get(), ClockTime::NONE);
                true
            }
            gst::QueryViewMut::Selectable(query) => {
                query.set_selectable(self.settings().policy() != RenditionPolicy::All);
                true
            }
            gst::QueryViewMut::Seeking(query) if query.format() == gst::Format::Time => {
                self.reach.answer_seeking(query);
                self.measure();
                true
            }
            gst::QueryViewMut::Duration(query) if query.format() == gst::Format::Time => {
                let duration = self.reach.duration();
                query.set(duration);
                duration.is_some()
            }
            _ => ElementImplExt::parent_query(self, query),
        }
    }
}

impl URIHandlerImpl for MoqSrc {
    const URI_TYPE: gst::URIType = gst::URIType::Src;

    fn protocols() -> &'static [&'static str] {
        &URI_SCHEMES
    }

    fn uri(&self) -> Option<String> {
        self.settings().session.public_uri()
    }

    fn set_uri(&self, uri: &str) -> Result<(), glib::Error> {
        if self.run().is_some() {
            let text = "The URI of a running source cannot be changed";
            return Err(glib::Error::new(gst::URIError::BadState, text));
        }
        let mut settings = self.settings();
        settings.session.set_uri(uri)?;
        settings.is_of_uri = true;
        Ok(())
    }
}
