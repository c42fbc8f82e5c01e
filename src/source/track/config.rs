// SPDX-License-Identifier: MIT
//! What the reader of a track is made of.

use std::{sync::Arc, time::Duration};

use gst::glib;
use tokio::sync::mpsc::UnboundedSender;

use super::{
    frame_reader::FrameReader, handover::Handover, pad_sender::PadSender, reading::ReadingState,
    tail::Tail,
};
use crate::{
    element::sync::SendOrDrop,
    media::format::rendition::Rendition,
    source::message::{Control, Opening, PadIndex, TrackProblem},
};

pub(crate) struct Config {
    /// Name of the track.
    pub(crate) name: String,
    /// What it is called in the log.
    pub(crate) log: glib::GString,
    pub(crate) rendition: Arc<Rendition>,
    pub(crate) frames: Arc<FrameReader>,
    /// How long a late group is waited for.
    pub(crate) max_age: Duration,
    pub(crate) priority: u8,
    /// It continues another track: nothing of its beginning is left out.
    pub(crate) from_start: bool,
    pub(crate) pad: PadSender,
    pub(crate) problems: ProblemReporter,
    pub(crate) tail: Tail,
    /// Who of the readers of the pad gives its frames, and the number of this one.
    pub(crate) handover: Arc<Handover>,
    pub(crate) number: u64,
    /// What goes before the first frame if the track follows another one.
    pub(crate) opening: Opening,
    pub(crate) state: Arc<ReadingState>,
}

/// Reports to the subscriber what is wrong with a track.
#[derive(Clone)]
pub(crate) struct ProblemReporter {
    control: UnboundedSender<Control>,
    index: PadIndex,
    generation: u64,
}

impl ProblemReporter {
    /// The reporter of the reader of this `generation` of a pad.
    pub(crate) fn new(control: UnboundedSender<Control>, index: PadIndex, generation: u64) -> Self {
        Self {
            control,
            index,
            generation,
        }
    }

    /// The reader's track gives the frames of the pad from now on.
    pub(super) fn report_switched(&self) {
        let control = Control::Switched(self.index, self.generation);
        self.control.send_or_drop(control);
    }

    pub(super) fn report(&self, problem: TrackProblem) {
        let control = Control::Problem(self.index, self.generation, problem);
        self.control.send_or_drop(control);
    }
}
