// SPDX-License-Identifier: MIT
//! The source pad of one rendition.

mod flush;
mod gaps;
mod pusher;
mod subscriber_handle;
mod task;
mod text;

use std::{
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use gst::{ClockTime, glib, prelude::*, subclass::prelude::*};
use tokio::sync::mpsc::UnboundedSender;

use self::{
    flush::PendingFlush,
    gaps::GapTimer,
    pusher::Pusher,
    subscriber_handle::SubscriberHandle,
    task::{PadTask, STOP_TIMEOUT},
};
use super::{
    CAT,
    message::{Control, Message, PadIndex},
    playback::LatencyAnswer,
    reach::Reach,
    stats::Counters,
};
use crate::{
    element::{budget::Budget, properties::Statistics, sync::lock},
    media::format::codec::Kind,
};

/// The element of the pad: a panic in a pad function is its error.
type Element = <super::MoqSrc as glib::object::ObjectSubclassIs>::Subclass;

/// How often a pad asks the publisher for a keyframe; what downstream asks between is asked by that.
const KEYFRAME_INTERVAL: Duration = Duration::from_millis(500);

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
    pub(crate) reach: Arc<Reach>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) counters: Arc<Counters>,
    /// Says whether the publisher takes requests; `None` without a return path.
    pub(crate) return_path: Option<Arc<AtomicBool>>,
    /// Just the selected streams have pads.
    pub(crate) selects: bool,
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
        get = |pad: &Self| lock(&pad.track).clone(),
        type = Option<String>
    )]
    track: Mutex<Option<String>>,
    /// Name of the track that it gives or goes over to.
    #[property(
        name = "target-rendition",
        nick = "Target rendition",
        blurb = "Name of the track that the pad gives or is about to give, with a notification for each change",
        get = |pad: &Self| lock(&pad.target).clone(),
        type = Option<String>
    )]
    target: Mutex<Option<String>>,
    /// MIME type of the payloads.
    #[property(
        name = "mime",
        nick = "MIME type",
        blurb = "MIME type of each buffer of a data track (NULL = unknown)",
        get = |pad: &Self| lock(&pad.mime).clone(),
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
    run: OnceLock<Run>,
    flow: Mutex<Flow>,
    /// When the publisher was last asked for a keyframe.
    asked: Mutex<Option<Instant>>,
}

/// What the pad has of the run that made it.
struct Run {
    kind: Kind,
    subscriber: SubscriberHandle,
    latency: Arc<LatencyAnswer>,
    reach: Arc<Reach>,
    flushing: Arc<PendingFlush>,
    budget: Arc<Budget>,
    counters: Arc<Counters>,
    return_path: Option<Arc<AtomicBool>>,
    selects: bool,
}

/// What becomes of the messages of a pad.
#[derive(Default)]
enum Flow {
    /// They wait until the pad is linked for the first time.
    Waiting(mpsc::Receiver<Message>),
    Streaming(PadTask),
    /// They have ended for good.
    #[default]
    Closed,
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
        pad.set_target(&config.track);
        let run = Run {
            kind: config.kind,
            subscriber: SubscriberHandle::new(config.index, config.control),
            latency: config.latency,
            reach: config.reach,
            flushing: Arc::default(),
            budget: config.budget,
            counters: config.counters,
            return_path: config.return_path,
            selects: config.selects,
        };
        // Set here alone, and the pad was just made.
        let _ = pad.imp().run.set(run);
        *lock(&pad.imp().flow) = Flow::Waiting(config.messages);
        let start =
            gst::event::StreamStart::builder(&config.stream.stream_id().unwrap_or_default())
                .group_id(config.group)
                .flags(config.stream.stream_flags())
                .stream(config.stream)
                .build();
        let events = [
            start,
            gst::event::StreamCollection::new(collection),
            gst::event::Caps::new(&config.caps),
            gst::event::Segment::new(pusher::segment().as_ref()),
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
            let mut current = lock(property);
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

    /// The pad gives this track, or goes over to it.
    pub(crate) fn set_target(&self, track: &str) {
        let before = lock(&self.imp().target).replace(track.to_owned());
        if before.as_deref() != Some(track) {
            self.notify("target-rendition");
        }
    }

    /// Begins a flush, which the pad's thread ends when it is told where playing goes on.
    pub(crate) fn flush_start(&self, seqnum: gst::Seqnum) {
        let Some(run) = self.imp().run.get().filter(|_| self.is_streaming()) else {
            return;
        };
        run.flushing.begin(seqnum);
        self.push_event(gst::event::FlushStart::builder().seqnum(seqnum).build());
    }

    /// Waits until the pad's thread has ended the flush that was begun at this time, for a while.
    pub(crate) fn wait_flushed(&self, begun: Instant) {
        if let Some(run) = self.imp().run.get() {
            run.flushing.wait(begun);
        }
    }

    /// Whether it was linked once: its streaming task takes messages.
    pub(crate) fn is_streaming(&self) -> bool {
        matches!(*lock(&self.imp().flow), Flow::Streaming(_))
    }

    /// Ends the pad's flow for good: takes its streaming task, to be stopped, and releases what waits
    /// in the pad itself.
    fn close(&self) -> Option<(PadTask, Option<gst::Pad>)> {
        // Whoever links it now starts nothing any more.
        let flow = std::mem::take(&mut *lock(&self.imp().flow));
        let peer = self.peer();
        // Nothing waits here: a push that is stuck downstream holds no lock of this pad.
        let _ = self.set_active(false);
        match flow {
            Flow::Streaming(task) => Some((task, peer)),
            Flow::Waiting(_) | Flow::Closed => None,
        }
    }
}

/// Ends the flow of `pads`, and their streaming tasks as far as these end soon: whatever downstream
/// has received stays there.
pub(crate) fn stop_all(pads: &[super::MoqSrcPad]) {
    let closed = pads.iter().map(super::MoqSrcPad::close);
    let closed: Vec<_> = closed.collect();
    let deadline = Instant::now() + STOP_TIMEOUT;
    for (pad, closed) in pads.iter().zip(closed) {
        if let Some((task, peer)) = closed {
            task.stop(pad.upcast_ref(), peer, deadline);
        }
    }
}

/// Name of the template for pads of a kind.
pub(crate) fn template_name(kind: Kind) -> String {
    format!("{}_%u", kind.name())
}

impl MoqSrcPad {
    fn query(&self, parent: Option<&gst::Object>, query: &mut gst::QueryRef) -> bool {
        match query.view_mut() {
            gst::QueryViewMut::Latency(query) => {
                let Some(run) = self.run.get() else {
                    return false;
                };
                query.set(true, run.latency.get(), ClockTime::NONE);
                true
            }
            gst::QueryViewMut::Selectable(query) => {
                query.set_selectable(self.run.get().is_some_and(|run| run.selects));
                true
            }
            gst::QueryViewMut::Seeking(query) if query.format() == gst::Format::Time => {
                let Some(run) = self.run.get() else {
                    return false;
                };
                run.reach.answer_seeking(query);
                if run.reach.is_stale() {
                    run.subscriber.send(|_| Control::Measure);
                }
                true
            }
            gst::QueryViewMut::Duration(query) if query.format() == gst::Format::Time => {
                let duration = self.run.get().and_then(|run| run.reach.duration());
                query.set(duration);
                duration.is_some()
            }
            _ => gst::Pad::query_default(&*self.obj(), parent, query),
        }
    }

    fn event(&self, parent: Option<&gst::Object>, event: gst::Event) -> bool {
        match event.view() {
            gst::EventView::Reconfigure(_) => {
                // Whoever answered that it wants nothing may want something now.
                if let Some(run) = self.run.get() {
                    run.subscriber.send_wish(Control::Wanted);
                }
                true
            }
            gst::EventView::SelectStreams(select) => {
                let Some(run) = self.run.get().filter(|run| run.selects) else {
                    return false;
                };
                let ids = select.streams().iter().map(ToString::to_string).collect();
                run.subscriber.send(|_| Control::SelectStreams(ids));
                true
            }
            gst::EventView::Latency(_) => true,
            gst::EventView::Qos(qos) => {
                if let Some(run) = self.run.get() {
                    run.counters.qos(qos);
                }
                true
            }
            gst::EventView::CustomUpstream(custom)
                if custom
                    .structure()
                    .is_some_and(|s| s.name() == "GstForceKeyUnit") =>
            {
                self.request_keyframe()
            }
            gst::EventView::Seek(_) => {
                let element = self.obj().parent_element();
                element.is_some_and(|element| element.send_event(event))
            }
            gst::EventView::Navigation(_) => false,
            _ => gst::Pad::event_default(&*self.obj(), parent, event),
        }
    }

    /// Downstream wants a keyframe; whether that is carried to somebody who can ask for it.
    fn request_keyframe(&self) -> bool {
        let Some(run) = self.run.get().filter(|run| run.kind == Kind::Video) else {
            return false;
        };
        let listens = run.return_path.as_ref();
        if !listens.is_some_and(|listens| listens.load(Ordering::Relaxed)) {
            return false;
        }
        let now = Instant::now();
        let mut asked = lock(&self.asked);
        let due = asked.is_none_or(|at| now.saturating_duration_since(at) >= KEYFRAME_INTERVAL);
        if due {
            *asked = Some(now);
            drop(asked);
            run.subscriber.send(Control::Keyframe);
        }
        true
    }

    fn stats(&self) -> Statistics {
        let stats = match self.run.get() {
            Some(run) => run.counters.structure(&run.budget),
            None => gst::Structure::new_empty("moq-pad-stats"),
        };
        stats.into()
    }

    /// Starts to push what waits, once.
    fn start(&self, run: &Run) {
        let mut flow = lock(&self.flow);
        *flow = match std::mem::take(&mut *flow) {
            Flow::Waiting(messages) => {
                let counters = run.counters.clone();
                let gaps = GapTimer::new(run.kind, run.latency.clone(), counters.clone());
                let mut pusher = Pusher::new(
                    self.obj().upcast_ref(),
                    messages,
                    run.kind,
                    run.subscriber.clone(),
                    counters,
                    gaps,
                    run.flushing.clone(),
                );
                Flow::Streaming(PadTask::start(move || pusher.iterate()))
            }
            flow => flow,
        };
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
        if let Some(run) = self.run.get() {
            self.start(run);
            run.subscriber.send_wish(Control::Linked);
        }
    }

    fn unlinked(&self, peer: &gst::Pad) {
        self.parent_unlinked(peer);
        if let Some(run) = self.run.get() {
            run.subscriber.send(Control::Unlinked);
        }
    }
}
