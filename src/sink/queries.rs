// SPDX-License-Identifier: MIT
//! Events into the element and queries of it, answered for all of its pads.

use std::time::Duration;

use gst::{prelude::*, subclass::prelude::*};

use super::{CAT, element::MoqSink};

/// How long a query waits for streams to begin; in vain once in a run at most.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(1);

impl MoqSink {
    /// Passes an event upstream; whether anyone took it, or will: a seek may be kept.
    pub(crate) fn forward(&self, event: &gst::Event) -> bool {
        if !event.is_upstream() {
            gst::debug!(
                CAT,
                imp = self,
                "No element comes after this one: {event:?}"
            );
            return false;
        }
        let seek = event.type_() == gst::EventType::Seek;
        let mut taken = false;
        for pad in self.linked_pads() {
            taken |= match seek {
                true => pad.imp().seek(event),
                false => pad.push_event(event.clone()),
            };
        }
        taken
    }

    /// Answers what a sink knows, and asks upstream for the rest.
    pub(crate) fn answer(&self, query: &mut gst::QueryRef) -> bool {
        match query.view_mut() {
            gst::QueryViewMut::Latency(query) => {
                self.latency(query);
                true
            }
            gst::QueryViewMut::Position(query) if query.format() == gst::Format::Time => {
                match self.position() {
                    Some(position) => {
                        query.set(position);
                        true
                    }
                    None => self.ask_upstream(query.query_mut()),
                }
            }
            gst::QueryViewMut::Seeking(_) => {
                self.wait_for_streams();
                self.ask_upstream(query)
            }
            gst::QueryViewMut::Duration(_) => {
                self.ask_upstream(query) || {
                    self.wait_for_streams();
                    self.ask_upstream(query)
                }
            }
            _ => self.ask_upstream(query),
        }
    }

    fn latency(&self, query: &mut gst::query::Latency) {
        let mut live = false;
        let mut min = gst::ClockTime::ZERO;
        let mut max = gst::ClockTime::NONE;
        for pad in self.linked_pads() {
            let mut peer = gst::query::Latency::new();
            if !pad.peer_query(&mut peer) {
                continue;
            }
            let (peer_live, peer_min, peer_max) = peer.result();
            if peer_live {
                live = true;
                min = min.max(peer_min);
                max = match (max, peer_max) {
                    (Some(max), Some(peer_max)) => Some(max.min(peer_max)),
                    (max, peer_max) => max.or(peer_max),
                };
            }
        }
        query.set(live, min, max);
    }

    fn position(&self) -> Option<gst::ClockTime> {
        self.pads().filter_map(|pad| pad.imp().position()).max()
    }

    fn ask_upstream(&self, query: &mut gst::QueryRef) -> bool {
        self.linked_pads().any(|pad| pad.peer_query(query))
    }

    /// Waits in PAUSED until upstream of each linked pad knows its stream, if that may happen there: there
    /// is no preroll, and PAUSED is reached before a demuxer has read what it demuxes.
    fn wait_for_streams(&self) {
        let Some(run) = self.run().filter(|run| run.clock().is_none()) else {
            return;
        };
        let awaited: Vec<_> = self
            .linked_pads()
            .filter(|pad| !pad.imp().upstream().has_begun() && !pad.imp().is_upstream_live())
            .collect();
        run.wait_begun(BEGIN_TIMEOUT, || {
            let mut awaited = awaited.iter();
            awaited.any(|pad| pad.is_linked() && !pad.imp().upstream().has_begun())
        });
    }
}
