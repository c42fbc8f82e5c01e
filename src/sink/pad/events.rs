// SPDX-License-Identifier: MIT
//! Events and queries of the request pad.

use gst::{prelude::*, subclass::prelude::*};

use super::{MoqSinkPad, stream::StreamState};
use crate::{
    element::bus::post,
    media::format::{
        caps::{CapsError, InputStream},
        codec,
    },
    sink::{CAT, element::MoqSink, message::PadMessage},
};

impl MoqSinkPad {
    pub(super) fn event(
        &self,
        sink: &MoqSink,
        event: gst::Event,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        gst::debug!(CAT, imp = self, "{event:?}");
        match event.view() {
            gst::EventView::FlushStart(event) => self.flush_start(event.seqnum()),
            gst::EventView::FlushStop(event) => self.flush_stop(sink, event),
            _ if self.clock_sync.is_flushing() => return Err(gst::FlowError::Flushing),
            gst::EventView::StreamStart(event) => self.stream_start(sink, event),
            gst::EventView::Caps(event) => self.caps(event.caps())?,
            gst::EventView::Segment(event) => self.segment(event.segment(), event.seqnum())?,
            gst::EventView::Tag(event) => {
                let description = self.with_stream(|stream| stream.describe(event.tag()))?;
                self.send(PadMessage::Describe(Box::new(description)));
            }
            gst::EventView::Gap(event) => self.gap(event)?,
            gst::EventView::SegmentDone(event) => {
                let done = (event.get(), event.seqnum());
                self.upstream().set_segment_done(done);
                sink.post_due();
            }
            gst::EventView::Eos(event) => {
                self.with_stream(StreamState::end)?;
                self.begin();
                self.send(PadMessage::Eos(event.seqnum()));
            }
            _ => {}
        }
        // Nothing comes after a sink: what means nothing to it ends here.
        Ok(gst::FlowSuccess::Ok)
    }

    pub(super) fn query(&self, sink: &MoqSink, query: &mut gst::QueryRef) -> bool {
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
        if !accepted && let Err(reason) = InputStream::from_caps(query.caps()) {
            // No CAPS event comes: nothing else says what to do about it.
            gst::warning!(CAT, imp = self, "Refused: {reason}");
        }
    }

    fn flush_start(&self, seqnum: gst::Seqnum) {
        self.clock_sync.set_flushing(true);
        self.upstream().set_seek(seqnum);
        if let Some(run) = self.run_handle() {
            run.budget().wake();
        }
    }

    fn flush_stop(&self, sink: &MoqSink, event: &gst::event::FlushStop) {
        self.upstream().forget_segment_done();
        // Without a run there is no stream to flush.
        let _ = self.with_stream(StreamState::flush);
        self.send(PadMessage::Flush);
        self.clock_sync.set_flushing(false);
        self.request_missing_keyframe();
        if event.resets_time() {
            let element = sink.obj();
            let message = gst::message::ResetTime::builder(gst::ClockTime::ZERO);
            post(&*element, message.src(&*element).build());
        }
    }

    fn stream_start(&self, sink: &MoqSink, event: &gst::event::StreamStart) {
        if self.with_stream(StreamState::begin) == Ok(true) {
            self.send(PadMessage::Restart);
        }
        // Names of tracks count the earlier pads of a kind, and an encoder may have its caps later than
        // another one its first frame.
        // Without a filter: elements that cannot apply one warn of it, capssetter among them.
        let offered = self.obj().peer_query_caps(None);
        if let Some(kind) = codec::kind_of(&offered) {
            self.send(PadMessage::ExpectedKind(kind));
        }
        self.send(PadMessage::Describe(Box::default()));
        let group = (event.group_id(), event.seqnum());
        self.upstream().set_group(group);
        sink.post_due();
    }

    fn caps(&self, caps: &gst::CapsRef) -> Result<(), gst::FlowError> {
        let same = self.with_stream(|stream| stream.kind().filter(|_| stream.has_caps(caps)))?;
        if let Some(kind) = same {
            // Another try all the same, if the session gave the track up.
            self.send(PadMessage::Kind(kind));
            return Ok(());
        }
        let stream = InputStream::from_caps(caps).and_then(|mut stream| {
            stream.set_text(&self.text_settings());
            stream.in_container(self.container(), caps)
        });
        match stream {
            Ok(input) => {
                let kind = input.kind();
                let listed = self.with_stream(|stream| stream.set_caps(caps.to_owned(), input))?;
                self.send(PadMessage::Kind(kind));
                if let Some(mut rendition) = listed {
                    self.complete(&mut rendition);
                    let wanted = self.wanted_track();
                    self.send(PadMessage::Rendition(Box::new(rendition), wanted));
                }
                Ok(())
            }
            Err(CapsError::Unsupported(reason)) => {
                self.refused(&reason);
                // Upstream retries with each buffer.
                self.warn_once(&reason, &reason);
                Err(gst::FlowError::NotNegotiated)
            }
            Err(CapsError::Broken(reason)) => {
                self.with_stream(StreamState::fail)?;
                self.send(PadMessage::Failed(reason));
                Ok(())
            }
        }
    }

    fn segment(&self, segment: &gst::Segment, seqnum: gst::Seqnum) -> Result<(), gst::FlowError> {
        let segment_seek = self.with_stream(|stream| {
            stream.time().set_segment(segment);
            stream.time().is_segment_seek()
        })?;
        let mut upstream = self.upstream();
        upstream.set_segment_seek(segment_seek);
        upstream.set_seek(seqnum);
        drop(upstream);
        self.begin();
        Ok(())
    }

    /// Sends a message to the publisher, if there is a run.
    fn send(&self, message: PadMessage) {
        if let Some(run) = self.run_handle() {
            run.send(message);
        }
    }
}
