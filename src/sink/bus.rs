//! Messages that a sink posts once for all of its pads.

use std::sync::{Mutex, MutexGuard, PoisonError};

use gst::{prelude::*, subclass::prelude::*};

use super::{CAT, MoqSink, MoqSinkPad};
use crate::element::bus::post;

/// What was posted already.
#[derive(Default)]
pub(crate) struct Messages(Mutex<Posted>);

#[derive(Default)]
struct Posted {
    /// The group of the last STREAM_START.
    group: Option<Option<gst::GroupId>>,
}

/// What a pad has got of it.
#[derive(Clone, Default)]
pub(crate) struct Received {
    /// The group of its STREAM_START event, which may have none, and the event's seqnum.
    pub(crate) group: Option<(Option<gst::GroupId>, gst::Seqnum)>,
    /// It plays a segment that ends in SEGMENT_DONE.
    pub(crate) segment_seek: bool,
    pub(crate) segment_done: Option<(gst::GenericFormattedValue, gst::Seqnum)>,
    /// A segment or EOS came: upstream knows its stream.
    pub(crate) begun: bool,
    /// The seqnum of the newest flush or segment, which is that of the seek that made it.
    pub(crate) seek: Option<gst::Seqnum>,
}

impl Messages {
    /// A run begins.
    pub(crate) fn reset(&self) {
        *self.posted() = Posted::default();
    }

    /// Posts what all linked pads have got by now.
    pub(crate) fn check(&self, element: &MoqSink) {
        let pads: Vec<MoqSinkPad> = element
            .sink_pads()
            .into_iter()
            .filter_map(|pad| pad.downcast().ok())
            .filter(MoqSinkPad::is_linked)
            .collect();
        // Decided under one lock, so that of two pads that come at once one posts.
        let mut posted = self.posted();
        let received: Vec<Received> = pads.iter().map(|pad| pad.imp().received()).collect();
        let start = posted.stream_start(&received);
        let done = segment_done(&received);
        if done.is_some() {
            for pad in &pads {
                pad.imp().forget_segment_done();
            }
        }
        drop(posted);
        if let Some((group, seqnum)) = start {
            let message = gst::message::StreamStart::builder()
                .src(element)
                .seqnum(seqnum);
            post(element, message.group_id_if_some(group).build());
        }
        if let Some((position, seqnum)) = done {
            let message = gst::message::SegmentDone::builder(position)
                .src(element)
                .seqnum(seqnum);
            post(element, message.build());
        }
    }

    fn posted(&self) -> MutexGuard<'_, Posted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Posted {
    /// The group to tell: all pads have begun one, and it is the first or all agree on a new one.
    fn stream_start(
        &mut self,
        received: &[Received],
    ) -> Option<(Option<gst::GroupId>, gst::Seqnum)> {
        let groups: Option<Vec<_>> = received.iter().map(|pad| pad.group).collect();
        let groups = groups?;
        let (newest, seqnum) = *groups.first()?;
        let agreed = groups.iter().all(|(group, _)| *group == newest);
        let due = self.group.is_none() || (agreed && self.group != Some(newest));
        due.then(|| (*self.group.insert(newest), seqnum))
    }
}

/// The end of a segment seek, once all pads that play one are there.
fn segment_done(received: &[Received]) -> Option<(gst::GenericFormattedValue, gst::Seqnum)> {
    let mut seeking = received.iter().filter(|pad| pad.segment_seek).peekable();
    seeking.peek()?;
    let positions: Option<Vec<_>> = seeking.map(|pad| pad.segment_done).collect();
    positions?.last().copied()
}

/// Posts the EOS message of the element.
pub(crate) fn post_eos(element: &gst::Element, seqnum: gst::Seqnum) {
    gst::info!(CAT, obj = element, "All streams have ended");
    let message = gst::message::Eos::builder()
        .src(element)
        .seqnum(seqnum)
        .build();
    post(element, message);
}
