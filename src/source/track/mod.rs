// SPDX-License-Identifier: MIT
//! One track on its way to its pad: its groups in order, their frames, and when each of these is played.

mod config;
mod drops;
mod frame_reader;
mod handover;
mod json_tracks;
mod pad_sender;
mod past;
mod playout;
mod reader;
mod reading;
mod reorder;
mod silence;
mod tail;
mod text;

pub(crate) use self::{
    config::{Config, ProblemReporter},
    frame_reader::FrameReader,
    handover::Handover,
    pad_sender::{PadSender, Position},
    past::{Located, locate},
    reader::Reader,
    reading::{ReadingState, Urgency},
    tail::Tail,
};
