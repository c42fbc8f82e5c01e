// SPDX-License-Identifier: MIT
//! The source pad of one rendition.

pub(crate) mod gaps;
pub(crate) mod stream;
pub(crate) mod text;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    time::Instant,
};

use gst::{ClockTime, glib, prelude::*, subclass::prelude::*};
use tokio::sync::mpsc::UnboundedSender;

use self::stream::{PATIENCE, Pusher, Stream};
use super::{
    CAT,
    message::{Control, Message, PadIndex},
    playback::LatencyAnswer,
    stats::Counters,
};
use crate::{
    element::{budget::Budget, properties::Statistics},
    media::format::codec::Kind,
};

/// The element of the pad: a panic in a pad function is its error.
type Element = <super::MoqSrc as glib::object::ObjectSubclassIs>::Subclass;

/// What a new pad is made of.
pub(crate) struct Config {
    pub(crate) index: PadIndex,
    pub(crate) kind: Kind,
    /// Name of the pad.
    pub(crate) name: String,
    /// Name of its track.
    pub(crate) track: String,
    /// The MIME type of its payloads.
    pub(crate) mime: Option<String>,
    pub(crate) stream: gst::Stream,
    pub(crate) group: gst::GroupId,
    pub(crate) caps: gst::Caps,
    pub(crate) tags: gst::TagList,
    pub(crate) messages: mpsc::Receiver<Message>,
    pub(crate) control: UnboundedSender<Control>,
    pub(crate) latency: Arc<LatencyAnswer>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) counters: Arc<Counters>,
}

/// See [`super::MoqSrcPad`].
#[derive(Default, glib::Properties)]
#[properties(wrapper_type = super::MoqSrcPad)]
pub struct MoqSrcPad {
    /// Name of the track that the pad gives.
    #[property(
        name = "track",
        nick = "Track",
        blurb = "Name of the track, another one when the publisher changes its format",
        get = |pad: &Self| pad.track.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        type = Option<String>
    )]
    track: Mutex<Option<String>>,
    /// MIME type of the payloads.
    #[property(
        name = "mime",
        nick = "MIME type",
        blurb = "MIME type of each buffer of a data track (NULL = unknown)",
        get = |pad: &Self| pad.mime.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        type = Option<String>
    )]
    mime: Mutex<Option<String>>,
    /// What came, and what became of it.
    #[property(
        name = "stats",
        nick = "Statistics",
        blurb = "Statistics of the pad since it was added",
        get = Self::stats,
        type = Statistics
    )]
    session: OnceLock<Session>,
    stream: Mutex<Option<Stream>>,
}

/// The pad's way to its session.
struct Session {
    index: PadIndex,
    kind: Kind,
    control: UnboundedSender<Control>,
    latency: Arc<LatencyAnswer>,
    budget: Arc<Budget>,
    counters: Arc<Counters>,
    /// Counts what downstream wished for.
    wishes: Arc<AtomicU32>,
    /// Taken by the streaming thread when the pad is linked for the first time.
    messages: Mutex<Option<mpsc::Receiver<Message>>>,
}

impl Session {
    fn messages(&self) -> MutexGuard<'_, Option<mpsc::Receiver<Message>>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl super::MoqSrcPad {
    /// Makes an active pad that has its sticky events already.
    pub(crate) fn new(
        template: &gst::PadTemplate,
        config: Config,
        collection: &gst::StreamCollection,
    ) -> Self {
        let pad = gst::PadBuilder::<Self>::from_template(template)
            .name(config.name)
            .query_function(|pad, parent, query| {
                Element::catch_panic_pad_function(
                    parent,
                    || false,
                    |_| pad.imp().query(parent, query),
                )
            })
            .event_function(|pad, parent, event| {
                Element::catch_panic_pad_function(
                    parent,
                    || false,
                    |_| pad.imp().event(parent, event),
                )
            })
            .build();
        pad.set_track(&config.track, config.mime);
        let session = Session {
            index: config.index,
            kind: config.kind,
            control: config.control,
            latency: config.latency,
            budget: config.budget,
            counters: config.counters,
            wishes: Arc::default(),
            messages: Mutex::new(Some(config.messages)),
        };
        // Set here alone, and the pad was just made.
        let _ = pad.imp().session.set(session);
        let start = gst::event::StreamStart::builder(&stream_id(&config.stream))
            .group_id(config.group)
            .flags(config.stream.stream_flags())
            .stream(config.stream)
            .build();
        let events = [
            start,
            gst::event::StreamCollection::new(collection),
            gst::event::Caps::new(&config.caps),
            gst::event::Segment::new(stream::segment().as_ref()),
            gst::event::Tag::new(config.tags),
        ];
        if let Err(err) = pad.set_active(true) {
            gst::error!(CAT, obj = pad, "Could not activate: {err}");
        }
        for event in &events {
            if let Err(err) = pad.store_sticky_event(event) {
                gst::error!(CAT, obj = pad, "Could not store {event:?}: {err:?}");
            }
        }
        pad
    }

    /// The pad gives another track from now on.
    pub(crate) fn set_track(&self, track: &str, mime: Option<String>) {
        let imp = self.imp();
        let set = |property: &Mutex<Option<String>>, value: Option<String>| {
            let mut current = property.lock().unwrap_or_else(PoisonError::into_inner);
            *current != value && {
                *current = value;
                true
            }
        };
        if set(&imp.track, Some(track.to_owned())) {
            self.notify("track");
        }
        if set(&imp.mime, mime) {
            self.notify("mime");
        }
    }

    /// Whether it was linked once: its streaming thread takes messages.
    pub(crate) fn is_streaming(&self) -> bool {
        self.imp().stream().is_some()
    }

    /// Ends the pad's flow for good: takes its streaming thread, to be stopped, and lets go what waits
    /// in the pad itself.
    fn close(&self) -> Option<(Stream, Option<gst::Pad>)> {
        let mut current = self.imp().stream();
        if let Some(session) = self.imp().session.get() {
            // Whoever links it now starts nothing any more.
            session.messages().take();
        }
        let stream = current.take();
        drop(current);
        let peer = self.peer();
        // Nothing waits here: a push that is stuck downstream holds no lock of this pad.
        let _ = self.set_active(false);
        stream.map(|stream| (stream, peer))
    }
}

/// Ends the flow of `pads`, and their streaming threads as far as these end soon: whatever downstream
/// has received stays there.
pub(crate) fn stop_all(pads: &[super::MoqSrcPad]) {
    let closed = pads.iter().map(super::MoqSrcPad::close);
    let closed: Vec<_> = closed.collect();
    let patience = Instant::now() + PATIENCE;
    for (pad, closed) in pads.iter().zip(closed) {
        if let Some((stream, peer)) = closed {
            stream.stop(pad.upcast_ref(), peer, patience);
        }
    }
}

/// Name of the template for pads of a kind.
pub(crate) fn template_name(kind: Kind) -> String {
    format!("{}_%u", kind.name())
}

fn stream_id(stream: &gst::Stream) -> glib::GString {
    stream.stream_id().unwrap_or_default()
}

impl MoqSrcPad {
    fn query(&self, parent: Option<&gst::Object>, query: &mut gst::QueryRef) -> bool {
        match query.view_mut() {
            gst::QueryViewMut::Latency(query) => {
                let Some(session) = self.session.get() else {
                    return false;
                };
                query.set(true, session.latency.get(), ClockTime::NONE);
                true
            }
            gst::QueryViewMut::Seeking(query) if query.format() == gst::Format::Time => {
                query.set(false, ClockTime::NONE, ClockTime::NONE);
                true
            }
            _ => gst::Pad::query_default(&*self.obj(), parent, query),
        }
    }

    fn event(&self, parent: Option<&gst::Object>, event: gst::Event) -> bool {
        match event.view() {
            gst::EventView::Reconfigure(_) => {
                // Whoever answered that it wants nothing may want something now.
                self.wish(Control::Wanted);
                true
            }
            gst::EventView::Latency(_) => true,
            gst::EventView::Qos(qos) => {
                if let Some(session) = self.session.get() {
                    session.counters.qos(qos);
                }
                true
            }
            gst::EventView::Seek(_) | gst::EventView::Navigation(_) => false,
            _ => gst::Pad::event_default(&*self.obj(), parent, event),
        }
    }

    fn stats(&self) -> Statistics {
        let stats = match self.session.get() {
            Some(session) => session.counters.structure(&session.budget),
            None => gst::Structure::new_empty("moq-pad-stats"),
        };
        stats.into()
    }

    fn tell(&self, control: impl FnOnce(PadIndex) -> Control) {
        if let Some(session) = self.session.get() {
            // Refused only when the session has ended.
            let _ = session.control.send(control(session.index));
        }
    }

    fn wish(&self, control: impl FnOnce(PadIndex, u32) -> Control) {
        if let Some(session) = self.session.get() {
            let wish = session.wishes.fetch_add(1, Ordering::AcqRel) + 1;
            self.tell(|index| control(index, wish));
        }
    }

    fn start(&self) {
        let Some(session) = self.session.get() else {
            return;
        };
        let mut stream = self.stream();
        let Some(messages) = session.messages().take() else {
            return;
        };
        let pusher = Pusher::new(
            self.obj().upcast_ref(),
            session.index,
            session.kind,
            session.control.clone(),
            session.wishes.clone(),
            session.latency.clone(),
            session.counters.clone(),
        );
        *stream = Some(Stream::start(pusher, messages));
    }

    fn stream(&self) -> MutexGuard<'_, Option<Stream>> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[glib::object_subclass]
impl ObjectSubclass for MoqSrcPad {
    const NAME: &'static str = "GstMoqSrcPad";
    type Type = super::MoqSrcPad;
    type ParentType = gst::Pad;
}

#[glib::derived_properties]
impl ObjectImpl for MoqSrcPad {}

impl GstObjectImpl for MoqSrcPad {}

impl PadImpl for MoqSrcPad {
    fn linked(&self, peer: &gst::Pad) {
        self.parent_linked(peer);
        self.start();
        self.wish(Control::Linked);
    }

    fn unlinked(&self, peer: &gst::Pad) {
        self.parent_unlinked(peer);
        self.tell(Control::Unlinked);
    }
}
