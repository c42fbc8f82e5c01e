// SPDX-License-Identifier: MIT
//! The element: properties, states, request pads, and what it answers as a sink.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, LazyLock, Mutex, MutexGuard,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use gst::{glib, prelude::*, subclass::prelude::*};
use tokio::sync::mpsc;

use super::{
    CAT, MoqSinkPad,
    bus::{self, BusMessages},
    encoder::signals,
    publisher::{self, Bitrates, Publisher},
    rate_control::{
        MAX_BITRATE, MIN_BITRATE, RateControl, RatePolicy, RateSettings, START_BITRATE,
    },
    run::Run,
};
use crate::{
    element::{
        pipeline_clock::PipelineClock,
        properties::CommonProperties,
        runtime::{self, Task},
        session_request,
        status::ConnectionStatus,
        sync::lock,
    },
    media::format::codec,
    net::{
        config::{self, Role},
        endpoint::EndpointConfig,
        error::Error,
        uri::URI_SCHEMES,
    },
};

/// The defaults of the properties.
const MAX_BYTES: u32 = 10 << 20;
const MAX_TIME: gst::ClockTime = gst::ClockTime::SECOND;
const DRAIN_TIMEOUT: u32 = 5000;
const MAX_AGE: u32 = 300;

static COMMON: LazyLock<CommonProperties> =
    LazyLock::new(|| CommonProperties::new(Role::Publisher));

#[derive(glib::Properties, Default)]
#[properties(wrapper_type = super::MoqSink)]
pub struct MoqSink {
    #[property(name = "sync", type = bool, get = |imp: &Self| imp.settings().sync, set = Self::set_sync, default = true,
        nick = "Sync", blurb = "Pace input that comes faster than real time by the clock; live input is never delayed", mutable_playing)]
    #[property(name = "max-bytes", type = u32, get, set, member = max_bytes, default = MAX_BYTES,
        nick = "Max. bytes", blurb = "Bytes that may wait in each pad for the network, then files wait and live input drops its oldest group (0 = unlimited)", mutable_ready)]
    #[property(name = "max-time", type = u64, get, set, member = max_time, default = MAX_TIME.nseconds(),
        nick = "Max. time", blurb = "Time in ns of media that may wait in each pad for the network, then files wait and live input drops its oldest group (0 = unlimited)", mutable_ready)]
    #[property(name = "drain-timeout", type = u32, get, set, member = drain_timeout, default = DRAIN_TIMEOUT,
        nick = "Drain timeout", blurb = "Time in ms that EOS waits for the delivery to the relay (0 = not at all)", mutable_ready)]
    #[property(name = "max-age", type = u32, get, set, member = max_age, default = MAX_AGE,
        nick = "Max. age", blurb = "Age in ms at which the rest of a live video group is dropped that the network has not carried, five times as much for audio (0 = no limit)", mutable_ready)]
    #[property(name = "rate-control", type = RateControl, get = |imp: &Self| imp.settings().rate.control, set = |imp: &Self, control| imp.change_rate(|rate| rate.control = control),
        nick = "Rate control", blurb = "What is done with the bit rate that fits the network", mutable_playing, builder(RateControl::default()))]
    #[property(name = "rate-policy", type = RatePolicy, get = |imp: &Self| imp.settings().rate.policy, set = |imp: &Self, policy| imp.change_rate(|rate| rate.policy = policy),
        nick = "Rate policy", blurb = "Which of several subscribers' bit rates counts in listen mode", mutable_playing, builder(RatePolicy::default()))]
    #[property(name = "min-bitrate", type = u32, get = |imp: &Self| imp.settings().rate.min_bitrate, set = |imp: &Self, bits| imp.change_rate(|rate| rate.min_bitrate = bits), default = MIN_BITRATE, minimum = 1,
        nick = "Min. bitrate", blurb = "Least bit rate in bits per second that all tracks get together, whatever the network carries", mutable_playing)]
    #[property(name = "start-bitrate", type = u32, get = |imp: &Self| imp.settings().rate.start_bitrate, set = |imp: &Self, bits| imp.change_rate(|rate| rate.start_bitrate = bits), default = START_BITRATE, minimum = 1,
        nick = "Start bitrate", blurb = "Bit rate in bits per second that all tracks get together when a session begins", mutable_playing)]
    #[property(name = "max-bitrate", type = u32, get = |imp: &Self| imp.settings().rate.max_bitrate, set = |imp: &Self, bits| imp.change_rate(|rate| rate.max_bitrate = bits), default = MAX_BITRATE, minimum = 1,
        nick = "Max. bitrate", blurb = "Largest bit rate in bits per second that all tracks get together", mutable_playing)]
    settings: Mutex<Settings>,
    #[property(name = "watched", type = bool, get = |imp: &Self| *lock(&imp.watched),
        nick = "Watched", blurb = "Whether a peer subscribes to any track now")]
    watched: Mutex<bool>,
    connection: Arc<ConnectionStatus>,
    run: Mutex<Option<Arc<Run>>>,
    next_pad: AtomicU32,
    /// The names of pads that are being added.
    reserved: Mutex<BTreeSet<String>>,
    bus_messages: BusMessages,
}

#[derive(Clone)]
pub(crate) struct Settings {
    session: config::Settings,
    sync: bool,
    pub(crate) max_bytes: u32,
    pub(crate) max_time: u64,
    drain_timeout: u32,
    max_age: u32,
    rate: RateSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            session: config::Settings::new(Role::Publisher),
            sync: true,
            max_bytes: MAX_BYTES,
            max_time: MAX_TIME.nseconds(),
            drain_timeout: DRAIN_TIMEOUT,
            max_age: MAX_AGE,
            rate: RateSettings::default(),
        }
    }
}

#[glib::object_subclass]
impl ObjectSubclass for MoqSink {
    const NAME: &'static str = "GstMoqSink";
    type Type = super::MoqSink;
    type ParentType = gst::Element;
    type Interfaces = (gst::ChildProxy, gst::URIHandler);
}

impl ObjectImpl for MoqSink {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> =
            LazyLock::new(|| COMMON.beside(MoqSink::derived_properties()));
        &PROPERTIES
    }

    fn signals() -> &'static [glib::subclass::Signal] {
        static SIGNALS: LazyLock<[glib::subclass::Signal; 3]> = LazyLock::new(|| {
            let [setup, bitrates] = signals::signals();
            [session_request::signal(), setup, bitrates]
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
        self.obj().set_element_flags(gst::ElementFlags::SINK);
    }
}

impl GstObjectImpl for MoqSink {}

impl ChildProxyImpl for MoqSink {
    fn child_by_index(&self, index: u32) -> Option<glib::Object> {
        let pads = self.obj().sink_pads();
        pads.get(index as usize).map(|pad| pad.clone().upcast())
    }

    fn child_by_name(&self, name: &str) -> Option<glib::Object> {
        self.obj().static_pad(name).map(Cast::upcast)
    }

    fn children_count(&self) -> u32 {
        u32::from(self.obj().num_sink_pads())
    }
}

impl URIHandlerImpl for MoqSink {
    const URI_TYPE: gst::URIType = gst::URIType::Sink;

    fn protocols() -> &'static [&'static str] {
        &URI_SCHEMES
    }

    fn uri(&self) -> Option<String> {
        self.settings().session.public_uri()
    }

    fn set_uri(&self, uri: &str) -> Result<(), glib::Error> {
        if self.run().is_some() {
            let text = "The URI of a running sink cannot be changed";
            return Err(glib::Error::new(gst::URIError::BadState, text));
        }
        self.settings().session.set_uri(uri)?;
        Ok(())
    }
}

impl ElementImpl for MoqSink {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "MoQ sink",
                "Sink/Network",
                "Publishes a broadcast with Media over QUIC (MoQ)",
                "gst-plugin-moq contributors",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let template = gst::PadTemplate::with_gtype(
                "sink_%u",
                gst::PadDirection::Sink,
                gst::PadPresence::Request,
                &codec::sink_caps(),
                MoqSinkPad::static_type(),
            );
            template.into_iter().collect()
        });
        &TEMPLATES
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        match transition {
            gst::StateChange::NullToReady => crate::net::log::init(),
            gst::StateChange::ReadyToPaused => self.start()?,
            gst::StateChange::PlayingToPaused => self.pause(),
            gst::StateChange::PausedToReady => self.stop(),
            _ => {}
        }
        let result = self.parent_change_state(transition);
        match transition {
            gst::StateChange::ReadyToPaused if result.is_err() => self.stop(),
            gst::StateChange::PausedToPlaying if result.is_ok() => self.play(),
            _ => {}
        }
        result
    }

    fn request_new_pad(
        &self,
        template: &gst::PadTemplate,
        name: Option<&str>,
        _caps: Option<&gst::Caps>,
    ) -> Option<gst::Pad> {
        if let Some(name) = name {
            return self.add(template, name);
        }
        let name = self.reserve_name();
        let pad = self.add(template, &name);
        self.reserved().remove(&name);
        pad
    }

    fn release_pad(&self, pad: &gst::Pad) {
        let Some(sink_pad) = pad.downcast_ref::<MoqSinkPad>() else {
            return;
        };
        // The streaming thread returns first: deactivating waits for it.
        sink_pad.imp().release();
        let _ = pad.set_active(false);
        let element = self.obj();
        // Refused only when it was removed before.
        let _ = element.remove_pad(pad);
        element.child_removed(pad, &pad.name());
        self.update_watched();
        self.post_due();
        // Last, so that the STREAM_START of the others comes before their end.
        sink_pad.imp().leave_for_good();
    }

    fn send_event(&self, event: gst::Event) -> bool {
        self.forward(&event)
    }

    fn query(&self, query: &mut gst::QueryRef) -> bool {
        self.answer(query)
    }
}

impl MoqSink {
    /// A name for a pad that no other has or is about to get.
    fn reserve_name(&self) -> String {
        let element = self.obj();
        let mut reserved = self.reserved();
        let mut names = (0u64..).map(|index| format!("sink_{index}"));
        let free =
            names.find(|name| !reserved.contains(name) && element.static_pad(name).is_none());
        let name = free.unwrap_or_default();
        reserved.insert(name.clone());
        name
    }

    fn reserved(&self) -> MutexGuard<'_, BTreeSet<String>> {
        lock(&self.reserved)
    }

    /// Adds a pad of this name, and lets it join the run.
    fn add(&self, template: &gst::PadTemplate, name: &str) -> Option<gst::Pad> {
        let element = self.obj();
        let pad = MoqSinkPad::new(
            template,
            name,
            self.next_pad.fetch_add(1, Ordering::Relaxed),
        );
        if self.run().is_some() && pad.set_active(true).is_err() {
            gst::warning!(CAT, imp = self, "The pad {name} cannot be activated");
            return None;
        }
        if element.add_pad(&pad).is_err() {
            gst::warning!(CAT, imp = self, "There is a pad {name} already");
            return None;
        }
        // Only now, so that a start at the same moment finds the pad or is found here; under the lock,
        // so that no pad joins a run that is over.
        let settings = self.settings().clone();
        if let Some(run) = &*self.run_lock() {
            pad.imp().join(run, &settings);
        }
        element.child_added(&pad, name);
        Some(pad.upcast())
    }

    fn settings(&self) -> MutexGuard<'_, Settings> {
        lock(&self.settings)
    }

    pub(crate) fn run(&self) -> Option<Arc<Run>> {
        self.run_lock().clone()
    }

    fn run_lock(&self) -> MutexGuard<'_, Option<Arc<Run>>> {
        lock(&self.run)
    }

    pub(crate) fn pads(&self) -> impl Iterator<Item = MoqSinkPad> + use<> {
        let pads = self.obj().sink_pads();
        pads.into_iter().filter_map(|pad| pad.downcast().ok())
    }

    pub(crate) fn linked_pads(&self) -> impl Iterator<Item = MoqSinkPad> + use<> {
        self.pads().filter(MoqSinkPad::is_linked)
    }

    fn start(&self) -> Result<(), gst::StateChangeError> {
        let mut settings = self.settings().clone();
        settings.session.keeps_to_rate = settings.rate.control != RateControl::None;
        let started = EndpointConfig::new(&settings.session)
            .and_then(|config| self.launch(config, &settings));
        started.map_err(|error| {
            gst::error!(CAT, imp = self, "{error}");
            error.post(self.obj().upcast_ref(), str::to_owned);
            gst::StateChangeError
        })
    }

    fn launch(&self, config: EndpointConfig, settings: &Settings) -> Result<(), Error> {
        gst::info!(CAT, imp = self, "Publishing {config:?}");
        self.check_rate(&settings.rate);
        let endpoint = runtime::enter(|| config.clone().prepare())?;
        let element = self.obj();
        let (sender, receiver) = mpsc::unbounded_channel();
        let run = Run::new(element.upcast_ref(), sender);
        let publisher = Publisher::new(
            publisher::Settings {
                broadcast: config.broadcast().to_owned(),
                cache: config.cache(),
                drain_timeout: Duration::from_millis(settings.drain_timeout.into()),
                max_age: Duration::from_millis(settings.max_age.into()),
                rate: settings.rate,
                return_path: settings.session.return_path,
            },
            endpoint,
            run.clone(),
            receiver,
            self.connection.clone(),
            element.upcast_ref(),
        );
        let (reporter, connection) = (run.clone(), self.connection.clone());
        let task = Task::spawn(
            |cancel| publisher.run(cancel),
            move |error| {
                connection.fail(error, config, reporter.app_queue());
                // After the error, or upstream's complaint of a failed push would come before it.
                let run = reporter.clone();
                reporter.app_queue().send(move |_| run.fail());
            },
        )?;
        run.adopt(task);
        self.bus_messages.reset();
        let mut current = self.run_lock();
        run.set_sync(self.settings().sync);
        for pad in self.pads() {
            pad.imp().join(&run, settings);
        }
        let drives = settings.rate.control == RateControl::Encoder;
        for pad in self.pads().filter(|_| drives) {
            let pad = pad.downgrade();
            run.app_queue().send(move |_| {
                if let Some(pad) = pad.upgrade() {
                    pad.imp().set_up_encoder();
                }
            });
        }
        *current = Some(run);
        Ok(())
    }

    fn play(&self) {
        let Some(run) = self.run() else {
            return;
        };
        let element = self.obj();
        let clock = PipelineClock::of(&*element);
        let current = self.run_lock();
        let held_eos = run.play(&clock);
        for pad in self.pads() {
            pad.imp().set_clock(Some(clock.clone()));
            let (pad, played) = (pad.downgrade(), run.clone());
            // Elsewhere, because what is upstream must not hold up the state change.
            run.app_queue().send(move |_| {
                // It may be paused again by now: then the next time does it.
                if let Some(pad) = pad.upgrade().filter(|_| played.clock().is_some()) {
                    pad.imp().resumed();
                }
            });
        }
        drop(current);
        if let Some(seqnum) = held_eos {
            bus::post_eos(element.upcast_ref(), seqnum);
        }
    }

    fn pause(&self) {
        let current = self.run_lock();
        if let Some(run) = &*current {
            run.pause();
        }
        for pad in self.pads() {
            pad.imp().set_clock(None);
        }
    }

    fn stop(&self) {
        let mut current = self.run_lock();
        let Some(run) = current.take() else {
            return;
        };
        // Deactivating the pads waits for their streaming threads: these return first.
        for pad in self.pads() {
            pad.imp().leave();
        }
        drop(current);
        run.stop();
        for pad in self.pads() {
            pad.imp().reset();
        }
        self.update_watched();
        self.connection.reset(self.obj().upcast_ref());
    }

    /// Posts the messages that are due by what all linked pads have got.
    pub(crate) fn post_due(&self) {
        self.bus_messages.post_due(&self.obj());
    }

    /// Takes in that the subscribers of a pad, or the pads, have changed.
    pub(crate) fn update_watched(&self) {
        let mut current = lock(&self.watched);
        let watched = self.pads().any(|pad| pad.imp().is_subscribed());
        let changed = std::mem::replace(&mut *current, watched) != watched;
        drop(current);
        if changed {
            self.obj().notify("watched");
        }
    }

    /// Changes how the bit rate is controlled.
    fn change_rate(&self, change: impl FnOnce(&mut RateSettings)) {
        let run = self.run_lock();
        let mut settings = self.settings();
        change(&mut settings.rate);
        let rate = settings.rate;
        drop(settings);
        let Some(run) = run.clone() else {
            return;
        };
        run.set_rate(rate);
        if rate.control == RateControl::None {
            // After the bit rates that wait there.
            run.app_queue().send(|element| {
                if let Some(sink) = element.downcast_ref::<super::MoqSink>() {
                    sink.imp().forget_bitrates();
                }
            });
        }
        self.check_rate(&rate);
    }

    fn check_rate(&self, rate: &RateSettings) {
        if let Some(text) = rate.contradiction() {
            self.warn_of_settings(&text);
        }
    }

    fn warn_of_settings(&self, text: &str) {
        gst::element_warning!(self.obj(), gst::LibraryError::Settings, ("{text}"));
    }

    /// Gives the pads their bit rates, which the application may share out in another way.
    pub(crate) fn apply_bitrates(&self, bitrates: Bitrates) {
        if self.settings().rate.control == RateControl::None {
            // It was switched off meanwhile.
            return;
        }
        if bitrates.lacks_shares {
            self.warn_of_settings(
                "The bitrate-share of all pads is 0: each gets as much as the others",
            );
        }
        let pads = bitrates.pads.into_iter();
        let (pads, shares): (Vec<_>, Vec<_>) = pads
            .filter_map(|(pad, bits)| Some((pad.upgrade()?, bits)))
            .map(|(pad, bits)| (pad.clone(), (pad.name().to_string(), bits)))
            .unzip();
        let shares = signals::emit_bitrates(self.obj().upcast_ref(), bitrates.total, shares);
        for (pad, (_, bits)) in std::iter::zip(pads, shares) {
            pad.imp().set_target_bitrate(bits, bitrates.drives);
        }
    }

    /// The pads have no bit rates any more.
    fn forget_bitrates(&self) {
        if self.settings().rate.control == RateControl::None {
            for pad in self.pads() {
                pad.imp().set_target_bitrate(0, false);
            }
        }
    }

    fn set_sync(&self, sync: bool) {
        let run = self.run_lock();
        self.settings().sync = sync;
        if let Some(run) = &*run {
            run.set_sync(sync);
        }
    }
}
