//! Events and queries of the request pad.

use gst::{prelude::*, subclass::prelude::*};

use super::{MoqSinkPad, lock};
use crate::media::{
    catalog::description::Description,
    format::{
        caps::{self, CapsError},
        codec,
    },
};
use crate::sink::{CAT, element::MoqSink, message::PadMessage};

impl MoqSinkPad {
    pub(crate) fn event(
        &self,
        sink: &MoqSink,
        event: gst::Event,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        gst::debug!(CAT, imp = self, "{event:?}");
        match event.view() {
            gst::EventView::FlushStart(event) => self.flush_start(event.seqnum()),
            gst::EventView::FlushStop(event) => self.flush_stop(sink, event),
            _ if self.gate.is_shut() => return Err(gst::FlowError::Flushing),
            gst::EventView::StreamStart(event) => self.stream_start(sink, event),
            gst::EventView::Caps(event) => self.caps(event.caps())?,
            gst::EventView::Segment(event) => self.segment(event.segment(), event.seqnum()),
            gst::EventView::Tag(event) => self.tag(event.tag()),
            gst::EventView::Gap(event) => self.gap(sink, event)?,
            gst::EventView::SegmentDone(event) => {
                let done = (event.get(), event.seqnum());
                self.receive(|received| received.segment_done = Some(done));
                sink.messages.check(&sink.obj());
            }
            gst::EventView::Eos(event) => self.eos(event.seqnum()),
            _ => {}
        }
        // Nothing comes after a sink: what means nothing to it ends here.
        Ok(gst::FlowSuccess::Ok)
    }

    pub(crate) fn query(&self, sink: &MoqSink, query: &mut gst::QueryRef) -> bool {
        match query.view_mut() {
            gst::QueryViewMut::Caps(query) => self.answer_caps(query),
            gst::QueryViewMut::AcceptCaps(query) => self.answer_accept_caps(query),
            _ => return gst::Pad::query_default(&*self.obj(), Some(&*sink.obj()), query),
        }
        true
    }

    /// What the pad takes with its container, for upstream to choose from.
    ///
    /// Where upstream offers nothing of that, the answer is what the template has of the offer: an empty
    /// one would end in an error of the encoder that says nothing, while the CAPS event that comes now
    /// is refused by a warning and `track-error` that say what to do.
    fn answer_caps(&self, query: &mut gst::query::Caps) {
        let template = self.obj().pad_template_caps();
        let caps = self.container().narrow(&template);
        let caps = match query.filter() {
            Some(filter) => {
                let offered =
                    |caps| filter.intersect_with_mode(caps, gst::CapsIntersectMode::First);
                let wrapped = offered(&caps);
                match wrapped.is_empty() {
                    true => offered(&template),
                    false => wrapped,
                }
            }
            None => caps,
        };
        query.set_result(&caps);
    }

    /// Whether the pad's template has the caps: what only the container has no room for is left to the
    /// CAPS event, for the same reason.
    fn answer_accept_caps(&self, query: &mut gst::query::AcceptCaps) {
        let accepted = query.caps().is_subset(&self.obj().pad_template_caps());
        query.set_result(accepted);
        if !accepted && let Err(reason) = caps::InputStream::from_caps(query.caps()) {
            // No CAPS event comes: nothing else says what to do about it.
            gst::warning!(CAT, imp = self, "Refused: {reason}");
        }
    }

    fn flush_start(&self, seqnum: gst::Seqnum) {
        self.gate.set_flushing(true);
        self.sought(seqnum);
        if let Some(part) = self.part() {
            part.budget.wake();
        }
    }

    fn flush_stop(&self, sink: &MoqSink, event: &gst::event::FlushStop) {
        lock(&self.stream).flush();
        self.reset_position();
        self.forget_segment_done();
        if let Some(part) = self.part() {
            part.send(PadMessage::Flush);
        }
        self.gate.set_flushing(false);
        self.request_missing_key_frame();
        if event.resets_time() {
            let element = sink.obj();
            let message = gst::message::ResetTime::builder(gst::ClockTime::ZERO)
                .src(&*element)
                .build();
            // Refused only without a bus: then nobody asks.
            let _ = element.post_message(message);
        }
    }

    fn stream_start(&self, sink: &MoqSink, event: &gst::event::StreamStart) {
        let revived = lock(&self.stream).begin();
        if let Some(part) = self.part().filter(|_| revived) {
            part.send(PadMessage::Restart);
        }
        self.expect_kind();
        self.describe(Description::default());
        let group = (event.group_id(), event.seqnum());
        self.receive(|received| received.group = Some(group));
        sink.messages.check(&sink.obj());
    }

    /// Tells the session what kind of stream begins: names of tracks count the earlier pads of a kind, and
    /// an encoder may have its caps later than another one its first frame.
    fn expect_kind(&self) {
        // Without a filter: elements that cannot apply one warn of it, capssetter among them.
        let offered = self.obj().peer_query_caps(None);
        if let Some((kind, part)) = codec::kind_of(&offered).zip(self.part()) {
            part.send(PadMessage::ExpectedKind(kind));
        }
    }

    fn caps(&self, caps: &gst::CapsRef) -> Result<(), gst::FlowError> {
        let part = self.part().ok_or(gst::FlowError::Flushing)?;
        let stream = lock(&self.stream);
        let (is_news, kind) = (stream.is_news(caps), stream.kind());
        drop(stream);
        if !is_news {
            // Another try all the same, if the session gave the track up.
            if let Some(kind) = kind {
                part.send(PadMessage::Kind(kind));
            }
            return Ok(());
        }
        let stream = caps::InputStream::from_caps(caps).and_then(|mut stream| {
            stream.set_text(&self.text_settings());
            stream.in_container(self.container(), caps)
        });
        match stream {
            Ok(codec) => {
                let kind = codec.kind();
                let mut stream = lock(&self.stream);
                stream.set_codec(caps.to_owned(), codec);
                let rendition = stream.announce();
                drop(stream);
                part.send(PadMessage::Kind(kind));
                if let Some(mut rendition) = rendition {
                    self.complete(&mut rendition);
                    let wanted = self.wanted_track();
                    part.send(PadMessage::Rendition(Box::new(rendition), wanted));
                }
                Ok(())
            }
            Err(CapsError::Unsupported(reason)) => {
                // Upstream tries again with each buffer.
                self.refused(&reason);
                if lock(&self.stream).is_new(&reason) {
                    self.warn(&reason);
                }
                Err(gst::FlowError::NotNegotiated)
            }
            Err(CapsError::Broken(reason)) => {
                lock(&self.stream).fail();
                part.send(PadMessage::Failed(reason));
                Ok(())
            }
        }
    }

    fn segment(&self, segment: &gst::Segment, seqnum: gst::Seqnum) {
        let mut stream = lock(&self.stream);
        stream.segment(segment);
        let segment_seek = stream.timing.is_segment_seek();
        drop(stream);
        self.reset_position();
        self.receive(|received| received.segment_seek = segment_seek);
        self.sought(seqnum);
        self.begin();
    }

    fn tag(&self, tags: &gst::TagListRef) {
        let mut stream = lock(&self.stream);
        stream.tags.take(tags);
        let description = stream.tags.description();
        drop(stream);
        self.describe(description);
    }

    fn describe(&self, description: Description) {
        if let Some(part) = self.part() {
            part.send(PadMessage::Describe(Box::new(description)));
        }
    }

    fn gap(&self, sink: &MoqSink, event: &gst::event::Gap) -> Result<(), gst::FlowError> {
        let (start, duration) = event.get();
        let stream = lock(&self.stream);
        let due = stream.timing.running_time(start);
        let position = stream
            .timing
            .stream_time(start.saturating_add(duration.unwrap_or_default()));
        drop(stream);
        if let Some(due) = due {
            self.pass_gap(sink, due)?;
            self.set_position(position);
        }
        Ok(())
    }

    fn eos(&self, seqnum: gst::Seqnum) {
        lock(&self.stream).end();
        self.begin();
        if let Some(part) = self.part() {
            part.send(PadMessage::Eos(seqnum));
        }
    }
}
