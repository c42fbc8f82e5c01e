//! Messages that a sink posts once for all of its pads.

use std::sync::{Mutex, MutexGuard, PoisonError};

use gst::{prelude::*, subclass::prelude::*};

use super::{MoqSink, MoqSinkPad};

/// What was posted already.
#[derive(Default)]
pub(super) struct Messages(Mutex<Posted>);

#[derive(Default)]
struct Posted {
    /// The group of the last STREAM_START.
    group: Option<Option<gst::GroupId>>,
}

/// What a pad has got of it.
#[derive(Clone, Default)]
pub(super) struct Received {
    /// The group of its STREAM_START event, which may have none.
    pub(super) group: Option<Option<gst::GroupId>>,
    /// It plays a segment that ends in SEGMENT_DONE.
    pub(super) segment_seek: bool,
    pub(super) segment_done: Option<gst::GenericFormattedValue>,
}

impl Messages {
    /// A run begins.
    pub(super) fn reset(&self) {
        *self.posted() = Posted::default();
    }

    /// Posts what all linked pads have got by now.
    pub(super) fn check(&self, element: &MoqSink) {
        let pads: Vec<MoqSinkPad> = element
            .sink_pads()
            .into_iter()
            .filter_map(|pad| pad.downcast().ok())
            .filter(MoqSinkPad::is_linked)
            .collect();
        let received: Vec<Received> = pads.iter().map(|pad| pad.imp().received()).collect();
        if let Some(group) = self.stream_start(&received) {
            let message = gst::message::StreamStart::builder().src(element);
            post(element, message.group_id_if_some(group).build());
        }
        if let Some(position) = segment_done(&received) {
            for pad in &pads {
                pad.imp().forget_segment_done();
            }
            let message = gst::message::SegmentDone::builder(position).src(element);
            post(element, message.build());
        }
    }

    /// The group to tell: all pads have begun one, and it is the first or all agree on a new one.
    fn stream_start(&self, received: &[Received]) -> Option<Option<gst::GroupId>> {
        let groups: Option<Vec<_>> = received.iter().map(|pad| pad.group).collect();
        let groups = groups?;
        let newest = *groups.first()?;
        let mut posted = self.posted();
        let agreed = groups.iter().all(|group| *group == newest);
        let due = posted.group.is_none() || (agreed && posted.group != Some(newest));
        due.then(|| *posted.group.insert(newest))
    }

    fn posted(&self) -> MutexGuard<'_, Posted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end of a segment seek, once all pads that play one are there.
fn segment_done(received: &[Received]) -> Option<gst::GenericFormattedValue> {
    let mut seeking = received.iter().filter(|pad| pad.segment_seek).peekable();
    seeking.peek()?;
    let positions: Option<Vec<_>> = seeking.map(|pad| pad.segment_done).collect();
    positions?.last().copied()
}

fn post(element: &MoqSink, message: gst::Message) {
    // Refused only without a bus: then nobody asks.
    let _ = element.post_message(message);
}
