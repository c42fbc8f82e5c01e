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
    message::{AppEvent, Control},
    pad::{stop_all, template_name},
    playback::LatencyAnswer,
    subscriber,
};
use crate::{
    element::{
        app_queue::AppQueue,
        pipeline_clock::PipelineClock,
        runtime::{STOP_BOUND, Task},
        status::{ConnectionStatus, Status},
        sync::{SendOrDrop, lock},
    },
    media::{
        format::codec::{self, Kind},
        time::playout,
    },
    net::{config, error::Error, log, stats::Statistics},
};

const CACHE_SIZE: u64 = 16 << 20;
const DEFAULT_LATENCY: u32 = 100;
/// A group that is 100 ms late at 1 % loss and 25 ms each way is complete; sound takes more, because
/// a missing packet is heard where a missing picture is hardly seen.
const DEFAULT_VIDEO_MAX_AGE: u32 = 100;
const DEFAULT_AUDIO_MAX_AGE: u32 = 500;

/// Where a subscription starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[repr(u32)]
#[enum_type(name = "GstMoqJoin")]
pub enum Join {
    /// With the group of pictures that is under way, played quickly up to the live edge.
    #[default]
    #[enum_value(name = "With the group that is under way", nick = "live")]
    Live,
    /// With the next key frame, for recorders and slow decoders.
    #[enum_value(name = "With the next group", nick = "next-group")]
    NextGroup,
}

#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) session: config::Settings,
    catalog_format: CatalogFormat,
    join: Join,
    latency: u32,
    video_max_age: u32,
    audio_max_age: u32,
    eos_timeout: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            session: config::Settings {
                cache_size: CACHE_SIZE,
                ..Default::default()
            },
            catalog_format: CatalogFormat::default(),
            join: Join::default(),
            latency: DEFAULT_LATENCY,
            video_max_age: DEFAULT_VIDEO_MAX_AGE,
            audio_max_age: DEFAULT_AUDIO_MAX_AGE,
            eos_timeout: 0,
        }
    }
}

/// What exists from READY to PAUSED and back.
pub(crate) struct Run {
    task: Task,
    control: UnboundedSender<Control>,
    app_queue: Arc<AppQueue>,
}

/// See [`super::MoqSrc`].
#[derive(Default, glib::Properties)]
#[properties(wrapper_type = super::MoqSrc)]
pub struct MoqSrc {
    #[property(
        name = "url",
        nick = "URL",
        blurb = "URL of the relay (https, http for local development, moqt, moql, wss, ws) with the path to subscribe under; reads back without its query, which may hold a token",
        get = Self::url, set = Self::set_url, type = Option<String>, mutable_ready
    )]
    #[property(
        name = "broadcast",
        nick = "Broadcast",
        blurb = "Name of the broadcast to subscribe to; it is waited for",
        get = |this: &Self| this.settings().session.broadcast.clone(),
        set = |this: &Self, name| this.settings().session.broadcast = name,
        type = Option<String>, mutable_ready
    )]
    #[property(
        name = "token",
        nick = "Token",
        blurb = "Token (JWT) for the relay, sent as the query parameter jwt; cannot be read back",
        set = |this: &Self, token| this.settings().session.token = token,
        type = Option<String>, mutable_ready
    )]
    #[property(
        name = "tls-disable-verify",
        nick = "Disable TLS verification",
        blurb = "Accept any certificate of the relay: for tests alone, anyone can pretend to be it",
        get = |this: &Self| this.settings().session.tls_disable_verify,
        set = |this: &Self, disable| this.settings().session.tls_disable_verify = disable,
        type = bool, mutable_ready
    )]
    #[property(name = "moq-versions", type = Option<String>, get = |this: &Self| this.settings().session.moq_versions.clone(), set = |this: &Self, versions| this.settings().session.moq_versions = versions,
        nick = "MoQ versions", blurb = "MoQ versions that are offered to the relay, separated by commas, such as moq-lite-06,moq-transport-17 (NULL or empty = all that are known)", mutable_ready)]
    #[property(name = "reconnect-timeout", type = u32, get = |this: &Self| this.settings().session.reconnect_timeout, set = |this: &Self, ms| this.settings().session.reconnect_timeout = ms,
        nick = "Reconnect timeout", blurb = "After how many milliseconds without a connection no further try is made, which ends in an error; a try lasts 3 s at most (0 = tries for ever)", mutable_ready)]
    #[property(name = "reconnect-min-delay", type = u32, get = |this: &Self| this.settings().session.reconnect_min_delay, set = |this: &Self, ms| this.settings().session.reconnect_min_delay = ms,
        minimum = 10, maximum = 600_000, default = config::RECONNECT_MIN_DELAY,
        nick = "Reconnect minimum delay", blurb = "Pause before the first new try to connect, in milliseconds; it doubles with each further one, and a random half of it is left out", mutable_ready)]
    #[property(name = "reconnect-max-delay", type = u32, get = |this: &Self| this.settings().session.reconnect_max_delay, set = |this: &Self, ms| this.settings().session.reconnect_max_delay = ms,
        minimum = 10, maximum = 600_000, default = config::RECONNECT_MAX_DELAY,
        nick = "Reconnect maximum delay", blurb = "Longest pause between two tries to connect, in milliseconds", mutable_ready)]
    #[property(name = "quic-idle-timeout", type = u32, get = |this: &Self| this.settings().session.quic_idle_timeout, set = |this: &Self, ms| this.settings().session.quic_idle_timeout = ms,
        minimum = 100, maximum = 600_000, default = config::QUIC_IDLE_TIMEOUT,
        nick = "QUIC idle timeout", blurb = "A relay that is silent for this many milliseconds is given up, and dialled again", mutable_ready)]
    #[property(name = "quic-keep-alive", type = u32, get = |this: &Self| this.settings().session.quic_keep_alive, set = |this: &Self, ms| this.settings().session.quic_keep_alive = ms,
        maximum = 600_000, default = config::QUIC_KEEP_ALIVE,
        nick = "QUIC keep-alive", blurb = "Interval in milliseconds of packets that keep an idle connection alive (0 = none); must be less than quic-idle-timeout", mutable_ready)]
    #[property(
        name = "catalog-format",
        nick = "Catalog format",
        blurb = "Which catalog of the broadcast is read; MSF has pictures and sound only",
        get = |this: &Self| this.settings().catalog_format,
        set = |this: &Self, format| this.settings().catalog_format = format,
        type = CatalogFormat, mutable_ready, builder(CatalogFormat::default())
    )]
    #[property(
        name = "join",
        nick = "Join",
        blurb = "Where a subscription starts",
        get = |this: &Self| this.settings().join,
        set = |this: &Self, join| this.settings().join = join,
        type = Join, mutable_ready, builder(Join::default())
    )]
    #[property(
        name = "latency",
        nick = "Latency",
        blurb = "Buffering that hides the network's jitter, in ms; a slower track adds what it is slower",
        get = |this: &Self| this.settings().latency,
        set = Self::set_latency,
        type = u32, maximum = 60_000, default = DEFAULT_LATENCY, mutable_playing
    )]
    #[property(
        name = "video-max-age",
        nick = "Video maximum age",
        blurb = "How long a late group of pictures is waited for when a newer one has come, in ms",
        get = |this: &Self| this.settings().video_max_age,
        set = |this: &Self, age| this.settings().video_max_age = age,
        type = u32, maximum = 60_000, default = DEFAULT_VIDEO_MAX_AGE, mutable_ready
    )]
    #[property(
        name = "audio-max-age",
        nick = "Audio maximum age",
        blurb = "How long a late group of sound, text or data is waited for when a newer one has come, in ms",
        get = |this: &Self| this.settings().audio_max_age,
        set = |this: &Self, age| this.settings().audio_max_age = age,
        type = u32, maximum = 60_000, default = DEFAULT_AUDIO_MAX_AGE, mutable_ready
    )]
    #[property(name = "eos-timeout", type = u32, get = |this: &Self| this.settings().eos_timeout, set = |this: &Self, ms| this.settings().eos_timeout = ms,
        nick = "EOS timeout", blurb = "A broadcast that was found and has been gone for this many milliseconds, by itself or with the connection, is over: every pad gets EOS (0 = it is waited for for ever). What its publisher ends on purpose is over at once, unless the relay has another publisher of the name", mutable_ready)]
    #[property(name = "cache-size", type = u64, get = |this: &Self| this.settings().session.cache_size, set = |this: &Self, bytes| this.settings().session.cache_size = bytes,
        default = CACHE_SIZE, nick = "Cache size", blurb = "How many bytes of media that were received but not yet read are kept, beside the newest group of each track; half as many may wait in each pad for downstream", mutable_ready)]
    #[property(name = "cache-time", type = u64, get = |this: &Self| this.settings().session.cache_time, set = |this: &Self, time| this.settings().session.cache_time = time,
        minimum = 1_000_000, default = config::CACHE_TIME, nick = "Cache time", blurb = "How many nanoseconds media that were received but not yet read are kept, beside the newest group of each track", mutable_ready)]
    settings: Mutex<Settings>,
    #[property(
        name = "status",
        nick = "Status",
        blurb = "State of the connection to the relay",
        get = |this: &Self| this.connection.status(),
        type = Status, builder(Status::default())
    )]
    #[property(
        name = "connected",
        nick = "Connected",
        blurb = "Whether the session with the relay is up",
        get = |this: &Self| this.connection.is_connected(),
        type = bool
    )]
    #[property(
        name = "moq-version",
        nick = "MoQ version",
        blurb = "MoQ version of the live session; NULL without one",
        get = |this: &Self| this.connection.version(),
        type = Option<String>
    )]
    #[property(name = "stats", type = Statistics, get = |this: &Self| this.connection.stats(),
        nick = "Statistics", blurb = "Statistics of the connection: sessions-started and -ended, rtt-ms, estimated-send-rate and -recv-rate in bits per second, bytes and packets sent, received and lost; what is unknown is absent")]
    #[property(name = "estimated-send-rate", type = u64, get = |this: &Self| this.connection.rate("estimated-send-rate"),
        nick = "Estimated send rate", blurb = "What the network is estimated to take, in bits per second (0 = unknown)")]
    #[property(name = "estimated-recv-rate", type = u64, get = |this: &Self| this.connection.rate("estimated-recv-rate"),
        nick = "Estimated receive rate", blurb = "What the network is estimated to give, in bits per second (0 = unknown)")]
    connection: Arc<ConnectionStatus>,
    answer: Arc<LatencyAnswer>,
    run: Mutex<Option<Run>>,
    /// Shared by the events of the application that wait for pads.
    waiting_events: Arc<()>,
}

impl MoqSrc {
    fn url(&self) -> Option<String> {
        self.settings().session.public_url()
    }

    fn set_url(&self, url: Option<String>) {
        self.settings().session.url = url;
    }

    fn set_latency(&self, latency: u32) {
        self.settings().latency = latency;
        self.tell(Control::Latency(ClockTime::from_mseconds(latency.into())));
    }

    /// Makes the run: nothing here waits for the network.
    fn start(&self) -> Result<(), Error> {
        let settings = self.settings().clone();
        let target = settings.session.target()?;
        let element = self.obj().clone().upcast::<gst::Element>();
        let app_queue = AppQueue::new(&element);
        let (control, commands) = unbounded_channel();
        let latency = ClockTime::from_mseconds(settings.latency.into());
        self.answer.set(latency);
        let config = subscriber::Config {
            name: element.name(),
            target: target.clone(),
            catalog_format: settings.catalog_format,
            latency,
            join: match settings.join {
                Join::Live => playout::Join::Live,
                Join::NextGroup => playout::Join::NextGroup,
            },
            video_max_age: Duration::from_millis(settings.video_max_age.into()),
            audio_max_age: Duration::from_millis(settings.audio_max_age.into()),
            eos_timeout: Some(Duration::from_millis(settings.eos_timeout.into()))
                .filter(|timeout| !timeout.is_zero()),
            answer: self.answer.clone(),
            connection: self.connection.clone(),
            app_queue: app_queue.clone(),
            control: control.clone(),
        };
        let (connection, reporter) = (self.connection.clone(), app_queue.clone());
        let task = Task::spawn(
            |cancel| subscriber::run(config, commands, cancel),
            move |error| connection.fail(error, target, &reporter),
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
        let deadline = Instant::now() + STOP_BOUND;
        run.task.stop(deadline);
        run.app_queue.close(deadline);
        let pads = self.pads();
        stop_all(&pads);
        for pad in pads {
            // Only a pad that was removed by somebody else is not there any more.
            let _ = self.obj().remove_pad(&pad);
        }
        self.connection.reset(self.obj().upcast_ref());
    }

    fn play(&self) {
        let clock = PipelineClock::of(&*self.obj());
        if clock.clock().is_none() {
            gst::error!(CAT, imp = self, "No clock in PLAYING");
            return;
        }
        self.tell(Control::Play(clock));
    }

    fn tell(&self, control: Control) {
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

    fn pads(&self) -> Vec<MoqSrcPad> {
        let pads = self.obj().src_pads().into_iter();
        pads.filter_map(|pad| pad.downcast().ok()).collect()
    }

    pub(crate) fn settings(&self) -> MutexGuard<'_, Settings> {
        lock(&self.settings)
    }

    pub(crate) fn run(&self) -> MutexGuard<'_, Option<Run>> {
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

#[glib::derived_properties]
impl ObjectImpl for MoqSrc {
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
            gst::StateChange::PlayingToPaused => self.tell(Control::Pause),
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
        self.tell(control);
        true
    }

    fn query(&self, query: &mut gst::QueryRef) -> bool {
        match query.view_mut() {
            gst::QueryViewMut::Latency(query) => {
                query.set(true, self.answer.get(), ClockTime::NONE);
                true
            }
            _ => ElementImplExt::parent_query(self, query),
        }
    }
}
