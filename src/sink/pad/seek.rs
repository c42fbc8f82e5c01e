//! Seeks, and questions about streams, that come before upstream knows its stream.
//!
//! There is no preroll: PAUSED is reached before a demuxer has read what it demuxes. A seek that comes
//! so early is kept, as if it had come a moment later, and a question waits for that moment.

use std::time::Duration;

use gst::{prelude::*, subclass::prelude::*};

use super::{MoqSinkPad, lock};
use crate::sink::{CAT, element::MoqSink, message::PadMessage};

/// How long a question waits for streams to begin; in vain once in a run at most.
const PATIENCE: Duration = Duration::from_secs(1);

impl MoqSink {
    /// Waits in PAUSED until upstream of each linked pad knows its stream, if that may happen there.
    pub(crate) fn wait_for_streams(&self) {
        let Some(run) = self.run().filter(|run| run.playing().is_none()) else {
            return;
        };
        let awaited: Vec<_> = self
            .linked_pads()
            .filter(|pad| !pad.imp().received().begun && !pad.imp().is_upstream_live())
            .collect();
        run.wait_begun(PATIENCE, || {
            let mut awaited = awaited.iter();
            awaited.any(|pad| pad.is_linked() && !pad.imp().received().begun)
        });
    }
}

impl MoqSinkPad {
    /// Sends a seek upstream, unless it came there by another pad; before the stream has begun a seek
    /// that is refused is kept. Whether it was taken, or kept.
    pub(crate) fn seek(&self, event: &gst::Event) -> bool {
        if self.received().seek == Some(event.seqnum()) {
            return true;
        }
        if self.obj().push_event(event.clone()) {
            *lock(&self.kept) = None;
            return true;
        }
        if self.part().is_none() || self.received().begun || self.is_upstream_live() {
            return false;
        }
        gst::debug!(CAT, imp = self, "Kept until the stream begins: {event:?}");
        *lock(&self.kept) = Some(event.clone());
        // It may have begun just before.
        if self.received().begun {
            self.send_kept();
        }
        true
    }

    /// Takes in the seqnum of a flush or a segment: the seek that made it needs no repetition.
    pub(crate) fn sought(&self, seqnum: gst::Seqnum) {
        self.receive(|received| received.seek = Some(seqnum));
        let _ = lock(&self.kept).take_if(|seek| seek.seqnum() == seqnum);
    }

    /// The stream has begun.
    pub(crate) fn begin(&self) {
        self.receive(|received| received.begun = true);
        if let Some(part) = self.part() {
            part.run.tell_begun();
        }
        self.send_kept();
    }

    /// The pad was linked or unlinked: what came of another stream says nothing about the next.
    pub(crate) fn relinked(&self, linked: bool) {
        let Some(part) = self.part() else {
            return;
        };
        if !linked {
            self.forget();
        }
        part.run.tell_begun();
        // Before the end that the session may find now, so that STREAM_START comes first.
        if let Some(element) = self.obj().parent().and_downcast::<crate::sink::MoqSink>() {
            element.imp().messages.check(&element);
        }
        part.send(PadMessage::LinkChanged);
    }

    /// Sends the seek that was kept, if there is one.
    ///
    /// Not from here, the streaming thread, for which a seek waits; and one pad after the other, so
    /// that those that share a source send it once.
    fn send_kept(&self) {
        let Some(part) = self.part() else {
            return;
        };
        let kept = lock(&self.kept).clone();
        let Some(gst::EventView::Seek(seek)) = kept.as_ref().map(|event| event.view()) else {
            return;
        };
        // Without a flush upstream waits until what it has given has passed.
        if seek.get().1.contains(gst::SeekFlags::FLUSH) {
            self.gate.hold(true);
        }
        let pad = self.obj().downgrade();
        part.run.app_queue.send(move |_| {
            let Some(pad) = pad.upgrade() else { return };
            let this = pad.imp();
            let kept = lock(&this.kept).take();
            if let Some(seek) = kept
                && !pad.push_event(seek)
            {
                this.warn("Upstream refuses the seek that came before it could take one");
            }
            this.gate.hold(false);
        });
    }

    /// Whether upstream says that it gives nothing in PAUSED.
    fn is_upstream_live(&self) -> bool {
        let mut query = gst::query::Latency::new();
        self.obj().peer_query(&mut query) && query.result().0
    }
}
