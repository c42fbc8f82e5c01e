// SPDX-License-Identifier: MIT
//! What the streaming task of a pad does: takes messages in order, pushes, and fills silence with GAPs.

use std::{
    ops::ControlFlow,
    panic::{self, AssertUnwindSafe},
    sync::{Arc, mpsc},
};

use gst::{ClockTime, prelude::*};

use super::{
    flush::PendingFlush, gaps::GapTimer, subscriber_handle::SubscriberHandle, text::TextOutput,
};
use crate::{
    element::pipeline_clock::PipelineClock,
    media::format::codec::Kind,
    source::{
        CAT,
        keyframe_gate::KeyframeGate,
        message::{Control, Flush, Frame, MAX_POSITION_AHEAD, Message, Opening},
        stats::Counters,
    },
};

/// So many ns may the stream time of a segment be wrong, as the edge follows the publisher's clock.
const MAX_OFFSET_ERROR: u64 = 2_000_000_000;
/// The same behind a hole.
const MAX_JUMP_ERROR: u64 = 200_000_000;

/// So much may the edge move back after the first frame of a broadcast that has just begun.
const MAX_STEP_BACK: ClockTime = ClockTime::SECOND;

/// Pushes the messages of one pad downstream.
pub(super) struct Pusher {
    pad: gst::glib::WeakRef<gst::Pad>,
    messages: mpsc::Receiver<Message>,
    kind: Kind,
    subscriber: SubscriberHandle,
    counters: Arc<Counters>,
    /// While the element plays.
    clock: Option<PipelineClock>,
    /// Up to where buffers and gaps have been pushed.
    position: Option<ClockTime>,
    gaps: GapTimer,
    /// Closed by what downstream flushed or refused.
    gate: KeyframeGate,
    /// Nothing was taken yet.
    first: bool,
    stream: StreamState,
    /// The format of video from the next keyframe on: a decoder that gets it between two frames loses
    /// what it refers to, and the catalog may say so later than the keyframe comes.
    format: Option<gst::Caps>,
    /// Came after the end.
    tags: Option<gst::TagList>,
    text: TextOutput,
    flushing: Arc<PendingFlush>,
    segment: SegmentState,
}

/// The segment of the stream.
#[derive(Default)]
struct SegmentState {
    start: ClockTime,
    /// Running time less stream time, once that is known.
    offset: Option<i64>,
    /// Of the SEEK that it is of.
    seqnum: Option<gst::Seqnum>,
}

/// How far the stream of a pad is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StreamState {
    Open,
    /// EOS of this seqnum was pushed.
    Ended(gst::Seqnum),
    /// Downstream failed.
    Failed,
}

impl Pusher {
    pub(super) fn new(
        pad: &gst::Pad,
        messages: mpsc::Receiver<Message>,
        kind: Kind,
        subscriber: SubscriberHandle,
        counters: Arc<Counters>,
        gaps: GapTimer,
        flushing: Arc<PendingFlush>,
    ) -> Self {
        Self {
            pad: pad.downgrade(),
            messages,
            kind,
            subscriber,
            counters,
            clock: None,
            position: None,
            gaps,
            gate: KeyframeGate::new(kind),
            first: true,
            stream: StreamState::Open,
            format: None,
            tags: None,
            text: TextOutput::default(),
            flushing,
            segment: SegmentState::default(),
        }
    }

    /// Does the next thing; breaks when no message will come any more.
    ///
    /// A panic becomes the element's error: it must not reach GStreamer.
    pub(super) fn iterate(&mut self) -> ControlFlow<()> {
        let iterate = AssertUnwindSafe(|| self.handle_next());
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

    fn handle_next(&mut self) -> ControlFlow<()> {
        let received = match self.clock {
            Some(_) if self.is_open() => self.messages.recv_timeout(self.gaps.until_due()),
            _ => (self.messages.recv()).map_err(|_| mpsc::RecvTimeoutError::Disconnected),
        };
        let message = match received {
            Ok(message) => Some(message),
            Err(mpsc::RecvTimeoutError::Timeout) => None,
            Err(mpsc::RecvTimeoutError::Disconnected) => return ControlFlow::Break(()),
        };
        let Some(pad) = self.pad.upgrade() else {
            return ControlFlow::Break(());
        };
        match message {
            Some(message) => self.handle(&pad, message),
            None if self.gaps.is_silent(self.subscriber.newest_wish()) => self.push_gap(&pad),
            None => {}
        }
        ControlFlow::Continue(())
    }

    fn handle(&mut self, pad: &gst::Pad, message: Message) {
        match message {
            Message::Play(clock) => {
                let latest = clock.running_time() + MAX_POSITION_AHEAD;
                self.position = self.position.filter(|position| *position <= latest);
                self.clock = Some(clock);
                // What is there already comes first; a gap lets a sink preroll, so that no pad
                // holds up the pipeline.
                self.gaps.begin();
            }
            Message::Pause => self.clock = None,
            Message::Collection(latest) => {
                if let Some(collection) = latest.take() {
                    pad.push_event(gst::event::StreamCollection::new(&collection));
                }
            }
            Message::Caps { caps, revived } => {
                self.format = Some(caps);
                if revived || self.kind != Kind::Video {
                    self.push_format(pad, revived);
                }
            }
            Message::Opening(opening) => self.open(pad, opening),
            Message::Tags(latest) => match latest.take() {
                Some(tags) if self.is_open() => {
                    pad.push_event(gst::event::Tag::new(tags));
                }
                // They are of the stream that follows, if one does.
                Some(tags) => self.tags = Some(tags),
                None => {}
            },
            Message::Frame(frame) => self.push_frame(pad, frame),
            Message::Event(event) => self.push_event(pad, event.into_inner()),
            Message::Flush(flush) => self.end_flush(pad, flush),
            Message::Clear(end, _charge) => self.text.clear(end),
            Message::Eos(seqnum) => self.push_eos(pad, seqnum),
        }
    }

    fn is_open(&self) -> bool {
        self.stream == StreamState::Open
    }

    /// Pushes where playing goes on after a seek.
    fn end_flush(&mut self, pad: &gst::Pad, flush: Flush) {
        let begun = self.flushing.seqnum();
        if begun.is_some_and(|seqnum| seqnum != flush.seqnum) {
            // Another seek is under way already.
            return;
        }
        if begun.is_some() {
            // A live source plays on: its running time is not reset.
            let stop = gst::event::FlushStop::builder(false).seqnum(flush.seqnum);
            pad.push_event(stop.build());
        }
        if self.stream != StreamState::Failed {
            self.stream = StreamState::Open;
        }
        self.segment = SegmentState {
            start: flush.start,
            offset: i64::try_from(
                i128::from(flush.start.nseconds()) - i128::from(flush.position.nseconds()),
            )
            .ok(),
            seqnum: Some(flush.seqnum),
        };
        self.push_segment(pad);
        self.flushing.end(flush.seqnum);
        // The exact one is known with the first frame.
        self.segment.offset = None;
        self.position = None;
        self.text = TextOutput::default();
        self.gate.interrupt();
        self.gaps.begin();
    }

    fn push_segment(&self, pad: &gst::Pad) {
        let SegmentState {
            start,
            offset,
            seqnum,
        } = self.segment;
        let segment = segment_from(start, offset);
        let event = gst::event::Segment::builder(&segment);
        pad.push_event(match seqnum {
            Some(seqnum) => event.seqnum(seqnum).build(),
            None => event.build(),
        });
    }

    /// Pushes a segment that says which stream time `offset` makes of running time, if that has changed.
    fn place(&mut self, pad: &gst::Pad, frame: &Frame) {
        let Some(offset) = frame.offset.filter(|_| !frame.delta && !frame.unseen) else {
            return;
        };
        let before = self.segment.offset;
        // Muxers notice a segment between two frames that follow each other.
        let tolerated = match frame.discont {
            true => MAX_JUMP_ERROR,
            false => MAX_OFFSET_ERROR,
        };
        if before.is_some_and(|before| before.abs_diff(offset) <= tolerated) {
            return;
        }
        let is_first = before.is_none() && self.segment.seqnum.is_none();
        if is_first && (1..=MAX_OFFSET_ERROR.cast_signed()).contains(&offset) {
            // The segment that the pad has says so nearly, and muxers take its start for a beginning.
            self.segment.offset = Some(0);
            return;
        }
        // No stream time is negative, and nothing that still comes may be before the start.
        let earliest = ClockTime::from_nseconds(u64::try_from(offset).unwrap_or_default());
        let possible = earliest.min(frame.pts.saturating_sub(MAX_STEP_BACK));
        if before.is_some() && possible < earliest {
            // It will be soon.
            return;
        }
        self.segment.start = self.segment.start.max(possible);
        let first = i64::try_from(self.segment.start.nseconds()).unwrap_or(i64::MAX);
        let offset = offset.min(first);
        self.segment.offset = Some(offset);
        self.push_segment(pad);
    }

    fn push_frame(&mut self, pad: &gst::Pad, mut frame: Frame) {
        if !self.is_open() || self.flushing.seqnum().is_some() {
            return;
        }
        if !self.gate.admits(!frame.delta, frame.pts) {
            self.counters.undecodable.add(1);
            return;
        }
        if !frame.delta {
            self.push_format(pad, false);
        }
        self.place(pad, &frame);
        if self.kind == Kind::Text {
            self.text
                .prepare(pad, self.subscriber.newest_wish(), &mut frame);
        }
        let mut buffer = gst::Buffer::from_slice(frame.payload);
        // Just made: nobody else holds it.
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(frame.pts);
            buffer.set_dts(frame.dts);
            buffer.set_duration(frame.duration);
            if self.gate.take_discont() | frame.discont {
                buffer.set_flags(gst::BufferFlags::DISCONT);
            }
            if frame.delta {
                buffer.set_flags(gst::BufferFlags::DELTA_UNIT);
            }
            if frame.unseen {
                buffer.set_flags(gst::BufferFlags::DECODE_ONLY);
            }
        }
        // The frame has left the channel, however long downstream takes.
        drop(frame.charge);
        self.push(pad, buffer);
        self.gaps.postpone();
    }

    /// Pushes that nothing has come up to now, or the text that stays.
    fn push_gap(&mut self, pad: &gst::Pad) {
        let Some(clock) = &self.clock else { return };
        let until = self.gaps.known_until(clock.running_time());
        let from = self.position.unwrap_or(until);
        if self.position.is_some() && until <= from {
            return;
        }
        if self.kind == Kind::Text {
            let wish = self.subscriber.newest_wish();
            if let Some(buffer) = self.text.repeat(pad, wish, from) {
                return self.push(pad, buffer);
            }
        }
        let duration = until.saturating_sub(from);
        self.position = Some(from.max(until));
        pad.push_event(gst::event::Gap::builder(from).duration(duration).build());
    }

    fn push(&mut self, pad: &gst::Pad, buffer: gst::Buffer) {
        let wish = self.subscriber.newest_wish();
        self.gaps.end_start(wish);
        let begin = buffer.pts().unwrap_or_default();
        let end = begin.saturating_add(buffer.duration().unwrap_or_default());
        let result = pad.push(buffer);
        self.position = Some(self.position.map_or(end, |position| position.max(end)));
        match result {
            Ok(_) if std::mem::take(&mut self.first) => self.subscriber.send(|_| Control::Flowing),
            Ok(_) => {}
            Err(error) => self.on_refused(pad, error, wish),
        }
    }

    fn on_refused(&mut self, pad: &gst::Pad, error: gst::FlowError, wish: u32) {
        self.gate.interrupt();
        match error {
            gst::FlowError::Flushing => {}
            gst::FlowError::Eos => {
                self.subscriber.send(Control::Finished);
                // As sources do: who takes nothing more may wait for the end all the same.
                self.push_eos(pad, None);
            }
            gst::FlowError::NotLinked => {
                self.subscriber.send(|index| Control::Unwanted(index, wish));
            }
            error => {
                self.stream = StreamState::Failed;
                self.subscriber.send(Control::Finished);
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
        let revived = revived && !self.is_open();
        if revived {
            self.stream = StreamState::Open;
        }
        if !self.is_open() {
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
            pad.push_event(copy(&start));
        }
        pad.push_event(gst::event::Caps::new(&caps));
        self.text = TextOutput::default();
        if revived {
            self.push_segment(pad);
            // A new STREAM_START has taken them away.
            if let Some(tags) = tags {
                pad.push_event(gst::event::Tag::new(tags));
            }
        }
        self.gate.mark_discont();
    }

    /// Pushes what is before the first frame of another track, as far as it differs.
    fn open(&mut self, pad: &gst::Pad, opening: Opening) {
        let Opening {
            stream,
            caps,
            tags,
            start: first,
            offset,
        } = opening;
        if !self.is_open() {
            self.format = caps.or(self.format.take());
            self.tags = tags.or(self.tags.take());
            return;
        }
        self.format = None;
        let start = pad.sticky_event::<gst::event::StreamStart>(0);
        let is_other = |stream: &gst::Stream| {
            let before = start.as_ref().map(|start| start.stream_id());
            stream.stream_id().as_deref() != before
        };
        let stream = stream.filter(is_other);
        if let Some(stream) = &stream {
            let id = stream.stream_id().unwrap_or_default();
            let event = gst::event::StreamStart::builder(&id)
                .group_id_if_some(start.as_ref().and_then(|start| start.group_id()))
                .flags(stream.stream_flags())
                .stream(stream.clone());
            pad.push_event(event.build());
        }
        if let Some(caps) = caps
            && (stream.is_some() || pad.current_caps().as_ref() != Some(&caps))
        {
            pad.push_event(gst::event::Caps::new(&caps));
        }
        if stream.is_some() || first.is_some() {
            self.segment.start = first.unwrap_or_default();
            self.segment.offset = offset.or(self.segment.offset);
            self.push_segment(pad);
        }
        if let Some(tags) = tags {
            let before = pad.sticky_event::<gst::event::Tag>(0);
            if before.is_none_or(|before| before.tag_owned() != tags) {
                pad.push_event(gst::event::Tag::new(tags));
            }
        }
        self.text = TextOutput::default();
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
        self.push_segment(pad);
        self.gate.interrupt();
        // An end that was flushed away is an end all the same.
        if let StreamState::Ended(seqnum) = self.stream {
            // As an event of its own: the very same one would not be pushed twice.
            pad.push_event(gst::event::Eos::builder().seqnum(seqnum).build());
        }
    }

    fn push_eos(&mut self, pad: &gst::Pad, seqnum: Option<gst::Seqnum>) {
        self.push_format(pad, false);
        if !self.is_open() {
            return;
        }
        let eos = gst::event::Eos::builder();
        let eos = match seqnum {
            Some(seqnum) => eos.seqnum(seqnum),
            None => eos,
        };
        let eos = eos.build();
        self.stream = StreamState::Ended(eos.seqnum());
        pad.push_event(eos);
    }
}

/// The same STREAM_START as an event of its own: the very same one would not be pushed twice.
fn copy(start: &gst::event::StreamStart) -> gst::Event {
    gst::event::StreamStart::builder(start.stream_id())
        .group_id_if_some(start.group_id())
        .stream_if_some(start.stream())
        .flags(start.stream_flags())
        .build()
}

/// Buffers carry running time: the segment begins with it.
pub(super) fn segment() -> gst::FormattedSegment<ClockTime> {
    segment_from(ClockTime::ZERO, None)
}

/// The same, of which decoders show nothing before this running time; stream time is less by `offset`.
fn segment_from(start: ClockTime, offset: Option<i64>) -> gst::FormattedSegment<ClockTime> {
    let offset = i128::from(offset.unwrap_or_default());
    let time = i128::from(start.nseconds()) - offset;
    let time = ClockTime::from_nseconds(u64::try_from(time).unwrap_or_default());
    let mut segment = gst::FormattedSegment::new();
    segment.set_start(start);
    segment.set_base(start);
    segment.set_time(time);
    segment.set_position(start);
    segment
}
