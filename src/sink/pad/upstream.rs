// SPDX-License-Identifier: MIT
//! What upstream has said of its stream, and seeks to it.
//!
//! There is no preroll: PAUSED is reached before a demuxer has read what it demuxes. A seek that comes
//! so early is kept, as if it had come a moment later.

use std::sync::MutexGuard;

use gst::{prelude::*, subclass::prelude::*};

use super::MoqSinkPad;
use crate::{
    element::sync::lock,
    sink::{
        CAT, MoqSink,
        bus::{SegmentEnd, StreamGroup},
        message::PadMessage,
    },
};

/// What has come on one pad that concerns the whole element.
#[derive(Default)]
pub(crate) struct UpstreamState {
    /// The group of its STREAM_START event, which may have none, and the event's seqnum.
    group: Option<StreamGroup>,
    /// It plays a segment that ends in SEGMENT_DONE.
    segment_seek: bool,
    segment_done: Option<SegmentEnd>,
    /// A segment or EOS came: upstream knows its stream.
    begun: bool,
    /// The seqnum of the newest flush or segment, which is that of the seek that made it.
    seek: Option<gst::Seqnum>,
    /// A seek for when the stream has begun.
    kept_seek: Option<gst::Event>,
}

impl UpstreamState {
    pub(crate) fn group(&self) -> Option<StreamGroup> {
        self.group
    }

    pub(super) fn set_group(&mut self, group: StreamGroup) {
        self.group = Some(group);
    }

    pub(crate) fn is_segment_seek(&self) -> bool {
        self.segment_seek
    }

    pub(super) fn set_segment_seek(&mut self, segment_seek: bool) {
        self.segment_seek = segment_seek;
    }

    pub(crate) fn segment_done(&self) -> Option<SegmentEnd> {
        self.segment_done
    }

    pub(super) fn set_segment_done(&mut self, done: SegmentEnd) {
        self.segment_done = Some(done);
    }

    pub(crate) fn forget_segment_done(&mut self) {
        self.segment_done = None;
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.begun
    }

    /// A flush or a segment of this seqnum came: the seek that made it needs no repetition.
    pub(super) fn set_seek(&mut self, seqnum: gst::Seqnum) {
        self.seek = Some(seqnum);
        self.kept_seek.take_if(|seek| seek.seqnum() == seqnum);
    }
}

impl MoqSinkPad {
    pub(crate) fn upstream(&self) -> MutexGuard<'_, UpstreamState> {
        lock(&self.upstream)
    }

    /// Sends a seek upstream, unless it came there by another pad; before the stream has begun a seek
    /// that is refused is kept. Whether it was taken, or kept.
    pub(crate) fn seek(&self, event: &gst::Event) -> bool {
        let came = self.upstream().seek == Some(event.seqnum());
        if came {
            return true;
        }
        if self.obj().push_event(event.clone()) {
            self.upstream().kept_seek = None;
            return true;
        }
        let begun = self.upstream().begun;
        if begun || self.run_handle().is_none() || self.is_upstream_live() {
            return false;
        }
        gst::debug!(CAT, imp = self, "Kept until the stream begins: {event:?}");
        let mut upstream = self.upstream();
        upstream.kept_seek = Some(event.clone());
        // It may have begun just before.
        let begun = upstream.begun;
        drop(upstream);
        if begun {
            self.send_kept_seek();
        }
        true
    }

    /// The stream has begun.
    pub(super) fn begin(&self) {
        self.upstream().begun = true;
        if let Some(run) = self.run_handle() {
            run.run().notify_begun();
        }
        self.send_kept_seek();
    }

    /// The pad was linked or unlinked: what came of another stream says nothing about the next.
    pub(super) fn link_changed(&self, linked: bool) {
        let Some(run) = self.run_handle() else {
            return;
        };
        if !linked {
            *self.upstream() = UpstreamState::default();
        }
        run.run().notify_begun();
        // Before the end that the session may find now, so that STREAM_START comes first.
        if let Some(element) = self.obj().parent().and_downcast::<MoqSink>() {
            element.imp().post_due();
        }
        run.send(PadMessage::LinkChanged);
    }

    /// Sends the seek that was kept, if there is one.
    ///
    /// Not from here, the streaming thread, for which a seek waits; and one pad after the other, so
    /// that those that share a source send it once.
    fn send_kept_seek(&self) {
        let Some(run) = self.run_handle() else {
            return;
        };
        let kept = self.upstream().kept_seek.clone();
        let Some(gst::EventView::Seek(seek)) = kept.as_ref().map(|event| event.view()) else {
            return;
        };
        // Without a flush upstream waits until what it has given has passed.
        if seek.get().1.contains(gst::SeekFlags::FLUSH) {
            self.clock_sync.hold(true);
        }
        let pad = self.obj().downgrade();
        run.run().app_queue().send(move |_| {
            let Some(pad) = pad.upgrade() else { return };
            let this = pad.imp();
            let kept = this.upstream().kept_seek.take();
            if let Some(seek) = kept
                && !pad.push_event(seek)
            {
                this.warn("Upstream refuses the seek that came before it could take one");
            }
            this.clock_sync.hold(false);
        });
    }

    /// Whether upstream follows the clock by itself and gives nothing in PAUSED; a source that does not
    /// say is a file.
    pub(crate) fn is_upstream_live(&self) -> bool {
        let mut query = gst::query::Latency::new();
        let live = self.obj().peer_query(&mut query) && query.result().0;
        gst::debug!(CAT, imp = self, "Live input: {live}");
        live
    }
}
