// SPDX-License-Identifier: MIT
//! What a pad tells upstream about whether somebody subscribes to its track.

use gst::{glib, prelude::*, subclass::prelude::*};

use super::MoqSinkPad;
use crate::{
    element::sync::lock,
    sink::{CAT, message::PadMessage},
};

/// What becomes of a pad's frames while nobody subscribes to its track.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[repr(u32)]
#[enum_type(name = "GstMoqDemand")]
pub enum Demand {
    /// They are published.
    #[default]
    #[enum_value(name = "Publish all frames", nick = "always")]
    Always,
    /// They are dropped.
    #[enum_value(name = "Drop frames while nobody subscribes", nick = "drop")]
    Drop,
    /// They are dropped, and upstream is told to make none.
    #[enum_value(name = "Drop frames, and tell upstream", nick = "upstream")]
    Upstream,
}

/// What upstream knows of the demand.
#[derive(Default)]
pub(super) struct UpstreamDemand {
    /// The publisher drops what comes.
    resting: bool,
    /// Upstream was told to make nothing.
    stopped: bool,
    /// The valve that was closed.
    valve: Option<glib::WeakRef<gst::Element>>,
}

impl MoqSinkPad {
    /// The property `demand` is set.
    pub(super) fn set_demand(&self, demand: Demand) {
        lock(&self.track).demand = demand;
        let Some(run) = self.run_handle() else {
            return;
        };
        run.send(PadMessage::DropUnwatched(demand != Demand::Always));
        let pad = self.obj().downgrade();
        let subject = format!("{} demand", self.obj().name());
        run.run().app_queue().send_newest(subject, move |_| {
            if let Some(pad) = pad.upgrade() {
                pad.imp().tell_demand();
            }
        });
    }

    /// The publisher drops what comes, or needs it again, from a keyframe on.
    pub(super) fn set_resting(&self, resting: bool) {
        gst::debug!(CAT, imp = self, "Rests: {resting}");
        lock(&self.upstream_demand).resting = resting;
        self.tell_demand();
        if !resting {
            self.request_keyframe();
        }
    }

    /// Tells upstream, and the valve, whether frames are needed, where that has changed.
    pub(super) fn tell_demand(&self) {
        let track = lock(&self.track);
        let (demand, valve) = (track.demand, track.demand_valve.clone());
        drop(track);
        let mut told = lock(&self.upstream_demand);
        let stop = told.resting && demand == Demand::Upstream;
        if std::mem::replace(&mut told.stopped, stop) == stop {
            return;
        }
        drop(told);
        match valve.filter(|name| stop && !name.is_empty()) {
            Some(name) => self.close_valve(&name),
            None => self.open_valve(),
        }
        let event = gst::Structure::builder("moq-demand").field("subscribed", !stop);
        let taken = self
            .obj()
            .push_event(gst::event::CustomUpstream::new(event.build()));
        gst::debug!(
            CAT,
            imp = self,
            "Told upstream subscribed={}, taken: {taken}",
            !stop
        );
    }

    /// Nothing rests without a run; upstream is told when the next one plays.
    pub(super) fn reset_demand(&self) {
        lock(&self.upstream_demand).resting = false;
        self.open_valve();
    }

    fn close_valve(&self, name: &str) {
        let Some(valve) = self.find_valve(name) else {
            let text = format!(
                "The property demand-valve has no effect: no element of the pipeline is a valve named {name:?}"
            );
            return self.warn_once(&text, &text);
        };
        valve.set_property("drop", true);
        lock(&self.upstream_demand).valve = Some(valve.downgrade());
    }

    fn open_valve(&self) {
        let valve = lock(&self.upstream_demand).valve.take();
        if let Some(valve) = valve.and_then(|valve| valve.upgrade()) {
            valve.set_property("drop", false);
        }
    }

    fn find_valve(&self, name: &str) -> Option<gst::Element> {
        let mut top: gst::Object = self.obj().clone().upcast();
        while let Some(parent) = top.parent() {
            top = parent;
        }
        let element = top.downcast::<gst::Bin>().ok()?.by_name(name)?;
        let is_valve = element.factory()?.name() == "valve";
        is_valve.then_some(element)
    }
}
