// SPDX-License-Identifier: MIT
//! The streaming thread of one pad: takes messages in order, pushes, and fills silence with GAPs.

use std::{
    ops::ControlFlow,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

use gst::{ClockTime, prelude::*};

use crate::{
    element::pipeline_clock::PipelineClock,
    media::format::codec::Kind,
    source::{
        CAT,
        keyframe_gate::KeyframeGate,
        message::{Control, Frame, MAX_POSITION_AHEAD, Message, PadIndex},
        pad::{gaps, text},
        playback::LatencyAnswer,
        stats::Counters,
    },
};

/// How long a stop waits for threads whose push downstream takes its time, before it leaves them.
pub(crate) const PATIENCE: Duration = Duration::from_millis(50);
/// How long a push that was left may take: downstream plays out what it has, to make room for it.
const LONGEST_PUSH: Duration = Duration::from_secs(10);
/// How often a push that was left is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// The thread behind a pad, and how to end it.
pub(crate) struct Stream {
    task: gst::Task,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    thread: Mutex<Thread>,
    idle: Condvar,
}

#[derive(Default)]
struct Thread {
    /// The thread that is in the loop.
    id: Option<ThreadId>,
    /// The loop has nothing more to do.
    ended: bool,
}

impl Stream {
    /// Starts to take `messages`.
    pub(crate) fn start(pusher: Pusher, messages: mpsc::Receiver<Message>) -> Self {
        let state = Arc::new(State::default());
        let mut pusher = pusher;
        let shared = state.clone();
        let lock = gst::TaskLock::new();
        let task = gst::Task::builder(move |task| {
            shared.enter();
            if pusher.iterate_safely(&messages).is_break() {
                // Before anyone is told: a task that is stopped twice is stopped, one that is
                // stopped and then paused would be joined for ever.
                let _ = task.stop();
                shared.end();
            }
        })
        .lock(&lock)
        .build();
        // A pool that has no thread left shows in the GST_TASKS log; the pad stays silent.
        let _ = task.start();
        Self { task, state }
    }

    /// Ends the thread, whose messages have ended and whose `pad` takes nothing more.
    ///
    /// A push that is stuck downstream still at `patience` is left to its thread: nothing that
    /// downstream has is flushed. From the thread itself nothing can be waited for: it ends when it
    /// returns.
    pub(crate) fn stop(self, pad: &gst::Pad, peer: Option<gst::Pad>, patience: Instant) {
        if self.state.is_own_thread() {
            let _ = self.task.stop();
        } else if self.state.wait(patience) {
            self.join();
        } else {
            gst::debug!(CAT, obj = pad, "A push is left to end by itself");
            let leave = move || {
                self.state.let_go(peer);
                self.join();
            };
            // Without a thread for it nothing lets the push go but downstream itself.
            let _ = thread::Builder::new()
                .name("moqsrc-leave".into())
                .spawn(leave);
        }
    }

    fn join(self) {
        let _ = self.task.stop();
        let _ = self.task.join();
    }
}

impl State {
    fn enter(&self) {
        self.thread().id = Some(thread::current().id());
    }

    fn end(&self) {
        self.thread().ended = true;
        self.idle.notify_all();
    }

    /// Waits until a push that was left has ended; one that never would, or that whoever takes
    /// downstream down waits for, is let go by a flush of `peer`.
    fn let_go(&self, peer: Option<gst::Pad>) {
        let longest = Instant::now() + LONGEST_PUSH;
        while !self.wait(Instant::now() + LOOK_INTERVAL) {
            let goes_down = peer.as_ref().is_some_and(goes_down);
            // What another source is linked to by now is not ours to flush, and what is paused goes on.
            let spared = peer
                .as_ref()
                .is_some_and(|peer| peer.is_linked() || is_paused(peer));
            if !goes_down && (spared || Instant::now() < longest) {
                continue;
            }
            let flush = |event| peer.as_ref().is_some_and(|peer| peer.send_event(event));
            flush(gst::event::FlushStart::new());
            let ended = self.idle.wait_while(self.thread(), |thread| !thread.ended);
            drop(ended);
            // The others play on: a reset of running time would move them all.
            flush(gst::event::FlushStop::new(false));
            return;
        }
    }

    fn is_own_thread(&self) -> bool {
        self.thread().id == Some(thread::current().id())
    }

    /// Waits until the thread has ended.
    fn wait(&self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        let waited = self
            .idle
            .wait_timeout_while(self.thread(), left, |thread| !thread.ended);
        waited.is_ok_and(|(thread, _)| thread.ended)
    }

    fn thread(&self) -> MutexGuard<'_, Thread> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the element of a pad, or a bin around it, is going below PAUSED or is there.
fn goes_down(pad: &gst::Pad) -> bool {
    parent_states(pad).any(|state| state < gst::State::Paused)
}

/// Whether an element around the pad is paused, or goes to be.
fn is_paused(pad: &gst::Pad) -> bool {
    parent_states(pad).any(|state| state == gst::State::Paused)
}

/// The states that the elements around the pad have or go to.
fn parent_states(pad: &gst::Pad) -> impl Iterator<Item = gst::State> {
    let parents = std::iter::successors(pad.parent(), gst::Object::parent);
    let elements = parents.filter_map(|parent| parent.downcast::<gst::Element>().ok());
    elements.map(|element| {
        let (_, current, pending) = element.state(ClockTime::ZERO);
        match pending {
            gst::State::VoidPending => current,
            pending => pending,
        }
    })
}

/// What the thread pushes with.
pub(crate) struct Pusher {
    pub(crate) pad: gst::glib::WeakRef<gst::Pad>,
    pub(crate) index: PadIndex,
    pub(crate) kind: Kind,
    pub(crate) control: tokio::sync::mpsc::UnboundedSender<Control>,
    /// Counts what downstream wished for.
    pub(crate) wishes: Arc<AtomicU32>,
    pub(crate) latency: Arc<LatencyAnswer>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) clock: Option<PipelineClock>,
    /// Up to where buffers and gaps have been pushed.
    pub(crate) position: Option<ClockTime>,
    /// When silence becomes a gap.
    pub(crate) gap_due: Instant,
    /// Nothing was pushed yet to who is linked since the wish of this number.
    pub(crate) start: Option<gaps::Start>,
    pub(crate) begun_for: u32,
    /// Closed by what downstream flushed or refused.
    gate: KeyframeGate,
    /// Nothing was taken yet.
    pub(crate) first: bool,
    pub(crate) ended: bool,
    /// The seqnum of the end that was pushed.
    pub(crate) eos: Option<gst::Seqnum>,
    /// The format of pictures from the next key frame on: a decoder that gets it between two pictures
    /// loses what it refers to, and the catalog may be told of it later than the key frame comes.
    pub(crate) format: Option<gst::Caps>,
    /// Came after the end.
    pub(crate) tags: Option<gst::TagList>,
    pub(crate) text: text::Text,
}

impl Pusher {
    pub(crate) fn new(
        pad: &gst::Pad,
        index: PadIndex,
        kind: Kind,
        control: tokio::sync::mpsc::UnboundedSender<Control>,
        wishes: Arc<AtomicU32>,
        latency: Arc<LatencyAnswer>,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            pad: pad.downgrade(),
            index,
            kind,
            control,
            wishes,
            latency,
            counters,
            clock: None,
            position: None,
            gap_due: Instant::now(),
            start: None,
            begun_for: 0,
            gate: KeyframeGate::new(kind),
            first: true,
            ended: false,
            eos: None,
            format: None,
            tags: None,
            text: text::Text::default(),
        }
    }

    /// Does the next thing; a panic becomes the element's error, it must not reach GStreamer.
    fn iterate_safely(&mut self, messages: &mpsc::Receiver<Message>) -> ControlFlow<()> {
        let iterate = AssertUnwindSafe(|| self.iterate(messages));
        panic::catch_unwind(iterate).unwrap_or_else(|_| {
            let element = self.pad.upgrade().and_then(|pad| pad.parent_element());
            if let Some(element) = element {
                gst::element_error!(
                    element,
                    gst::CoreError::Failed,
                    ("The streaming thread panicked, which is an error of this plugin")
                );
            }
            ControlFlow::Break(())
        })
    }

    /// Does the next thing; breaks when no message will come any more.
    fn iterate(&mut self, messages: &mpsc::Receiver<Message>) -> ControlFlow<()> {
        let message = match self.clock {
            Some(_) if !self.ended => {
                match messages.recv_timeout(self.gap_due.saturating_duration_since(Instant::now()))
                {
                    Err(mpsc::RecvTimeoutError::Timeout) => None,
                    Err(mpsc::RecvTimeoutError::Disconnected) => return ControlFlow::Break(()),
                    Ok(message) => Some(message),
                }
            }
            _ => match messages.recv() {
                Err(_) => return ControlFlow::Break(()),
                Ok(message) => Some(message),
            },
        };
        let Some(pad) = self.pad.upgrade() else {
            return ControlFlow::Break(());
        };
        match message {
            None => self.fill(&pad),
            Some(Message::Play(clock)) => {
                let now = clock.running_time();
                self.position = self
                    .position
                    .filter(|position| *position <= now + MAX_POSITION_AHEAD);
                self.clock = Some(clock);
                // What is there already comes first; a gap lets a sink preroll, so that no pad
                // holds up the pipeline.
                self.begin();
            }
            Some(Message::Pause) => self.clock = None,
            Some(Message::Collection(newest)) => {
                if let Some(collection) = newest.take() {
                    pad.push_event(gst::event::StreamCollection::new(&collection));
                }
            }
            Some(Message::Caps { caps, revived }) => {
                self.format = Some(caps);
                if revived || self.kind != Kind::Video {
                    self.push_format(&pad, revived);
                }
            }
            Some(Message::Tags(newest)) => match newest.take() {
                // They are of the stream that follows, if one does.
                Some(tags) if self.ended => self.tags = Some(tags),
                Some(tags) => drop(pad.push_event(gst::event::Tag::new(tags))),
                None => {}
            },
            Some(Message::Frame(frame)) => self.push_frame(&pad, frame),
            Some(Message::Event(event)) => self.push_event(&pad, event.into_inner()),
            Some(Message::Clear(end, _charge)) => self.text.clear(end),
            Some(Message::Eos(seqnum)) => self.push_eos(&pad, seqnum),
        }
        ControlFlow::Continue(())
    }

    fn push_frame(&mut self, pad: &gst::Pad, mut frame: Frame) {
        if self.ended {
            return;
        }
        if !self.gate.admits(!frame.delta, frame.pts) {
            self.counters.undecodable.add(1);
            return;
        }
        if !frame.delta {
            self.push_format(pad, false);
        }
        if self.kind == Kind::Text {
            self.prepare_text(pad, &mut frame);
        }
        let Frame { charge, pts, .. } = frame;
        let mut buffer = gst::Buffer::from_slice(frame.payload);
        // Just made: nobody else holds it.
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(pts);
            buffer.set_dts(frame.dts);
            buffer.set_duration(frame.duration);
            if self.gate.take_discont() | frame.discont {
                buffer.set_flags(gst::BufferFlags::DISCONT);
            }
            if frame.delta {
                buffer.set_flags(gst::BufferFlags::DELTA_UNIT);
            }
        }
        // The frame has left the channel, however long downstream takes.
        drop(charge);
        let end = pts.saturating_add(frame.duration.unwrap_or(ClockTime::ZERO));
        self.push(pad, buffer, end);
        self.gap_due = Instant::now() + self.silence();
    }

    /// Pushes a buffer that ends at `end`.
    pub(crate) fn push(&mut self, pad: &gst::Pad, buffer: gst::Buffer, end: ClockTime) {
        let wish = self.wishes.load(Ordering::Acquire);
        (self.start, self.begun_for) = (None, wish);
        let result = pad.push(buffer);
        self.position = Some(self.position.map_or(end, |position| position.max(end)));
        match result {
            Ok(_) if std::mem::take(&mut self.first) => self.tell(Control::Flowing),
            Ok(_) => {}
            Err(error) => self.refused(pad, error, wish),
        }
    }

    fn refused(&mut self, pad: &gst::Pad, error: gst::FlowError, wish: u32) {
        self.gate.interrupt();
        match error {
            gst::FlowError::Flushing => {}
            gst::FlowError::Eos => {
                self.tell(Control::Finished(self.index));
                // As sources do: who takes nothing more may wait for the end all the same.
                self.push_eos(pad, None);
            }
            gst::FlowError::NotLinked => self.tell(Control::Unwanted(self.index, wish)),
            error => {
                self.ended = true;
                self.tell(Control::Finished(self.index));
                if let Some(element) = pad.parent_element() {
                    gst::error!(CAT, obj = pad, "Downstream failed: {error:?}");
                    gst::element_error!(
                        element,
                        gst::StreamError::Failed,
                        ("Downstream of the pad {} failed: {error}", pad.name())
                    );
                }
            }
        }
    }

    /// Pushes the format that waits, if one does.
    fn push_format(&mut self, pad: &gst::Pad, revived: bool) {
        let Some(caps) = self.format.take() else {
            return;
        };
        let revived = revived && std::mem::take(&mut self.ended);
        if self.ended {
            return;
        }
        let start = pad.sticky_event::<gst::event::StreamStart>(0);
        let tags = pad.sticky_event::<gst::event::Tag>(0);
        let tags = tags.map(|tags| tags.tag_owned());
        let tags = self.tags.take().or(tags);
        if let Some(start) = start.filter(|_| revived) {
            // Only a flush makes GStreamer's base sink forget an EOS.
            pad.push_event(gst::event::FlushStart::new());
            pad.push_event(gst::event::FlushStop::new(false));
            pad.push_event(again(&start));
        }
        pad.push_event(gst::event::Caps::new(&caps));
        self.text = text::Text::default();
        if revived {
            pad.push_event(gst::event::Segment::new(segment().as_ref()));
            // A new STREAM_START has taken them away.
            if let Some(tags) = tags {
                pad.push_event(gst::event::Tag::new(tags));
            }
        }
        self.gate.mark_discont();
    }

    /// Pushes an event of the application.
    fn push_event(&mut self, pad: &gst::Pad, event: gst::Event) {
        let gst::EventView::FlushStop(flush) = event.view() else {
            pad.push_event(event);
            return;
        };
        // A live source plays on: its running time is not reset, whatever was asked for.
        let stop = gst::event::FlushStop::builder(false).seqnum(flush.seqnum());
        pad.push_event(stop.build());
        // The flush has taken it away.
        pad.push_event(gst::event::Segment::new(segment().as_ref()));
        self.gate.interrupt();
        // An end that was flushed away is an end all the same.
        if let Some(seqnum) = self.eos.filter(|_| self.ended) {
            // As an event of its own: the very same one would not be pushed twice.
            pad.push_event(gst::event::Eos::builder().seqnum(seqnum).build());
        }
    }

    fn push_eos(&mut self, pad: &gst::Pad, seqnum: Option<gst::Seqnum>) {
        self.push_format(pad, false);
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let eos = gst::event::Eos::builder();
        let eos = match seqnum {
            Some(seqnum) => eos.seqnum(seqnum),
            None => eos,
        };
        let eos = eos.build();
        self.eos = Some(eos.seqnum());
        pad.push_event(eos);
    }

    fn tell(&self, control: Control) {
        // Refused only when the session has ended.
        let _ = self.control.send(control);
    }
}

/// The same STREAM_START as an event of its own: the very same one would not be pushed twice.
fn again(start: &gst::event::StreamStart) -> gst::Event {
    gst::event::StreamStart::builder(start.stream_id())
        .group_id_if_some(start.group_id())
        .stream_if_some(start.stream())
        .flags(start.stream_flags())
        .build()
}

/// Buffers carry running time: the segment begins with it.
pub(crate) fn segment() -> gst::FormattedSegment<ClockTime> {
    gst::FormattedSegment::new()
}
