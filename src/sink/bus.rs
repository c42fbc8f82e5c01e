// SPDX-License-Identifier: MIT
//! Messages that a sink posts once for all of its pads.

use std::sync::Mutex;

use gst::subclass::prelude::*;

use super::{CAT, MoqSink, MoqSinkPad};
use crate::element::{bus::post, sync::lock};

/// The group of a STREAM_START event, which may have none, and the event's seqnum.
pub(crate) type StreamGroup = (Option<gst::GroupId>, gst::Seqnum);
/// Where a segment ended, and the seqnum of its SEGMENT_DONE event.
pub(crate) type SegmentEnd = (gst::GenericFormattedValue, gst::Seqnum);

/// What was posted already.
#[derive(Default)]
pub(crate) struct BusMessages(Mutex<Posted>);

#[derive(Default)]
struct Posted {
    /// The group of the last STREAM_START.
    group: Option<Option<gst::GroupId>>,
}

impl BusMessages {
    /// A run begins.
    pub(crate) fn reset(&self) {
        *lock(&self.0) = Posted::default();
    }

    /// Posts what all linked pads have got by now.
    pub(crate) fn post_due(&self, element: &MoqSink) {
        let pads: Vec<MoqSinkPad> = element.imp().linked_pads().collect();
        // Decided under one lock, so that of two pads that come at once one posts.
        let mut posted = lock(&self.0);
        let start = posted.stream_start(&pads);
        let done = segment_done(&pads);
        if done.is_some() {
            for pad in &pads {
                pad.imp().upstream().forget_segment_done();
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
}

impl Posted {
    /// The group to report: all pads have begun one, and it is the first or all agree on a new one.
    fn stream_start(&mut self, pads: &[MoqSinkPad]) -> Option<StreamGroup> {
        let groups = pads.iter().map(|pad| pad.imp().upstream().group());
        let groups: Vec<StreamGroup> = groups.collect::<Option<_>>()?;
        let (newest, seqnum) = *groups.first()?;
        let agreed = groups.iter().all(|(group, _)| *group == newest);
        let due = self.group.is_none() || (agreed && self.group != Some(newest));
        due.then(|| (*self.group.insert(newest), seqnum))
    }
}

/// The end of a segment seek, once all pads that play one are there.
fn segment_done(pads: &[MoqSinkPad]) -> Option<SegmentEnd> {
    let ends = pads.iter().filter_map(|pad| {
        let upstream = pad.imp().upstream();
        upstream.is_segment_seek().then(|| upstream.segment_done())
    });
    ends.collect::<Option<Vec<_>>>()?.last().copied()
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
