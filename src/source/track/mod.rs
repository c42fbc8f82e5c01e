// SPDX-License-Identifier: MIT
//! One track on its way to its pad: its groups in order, their frames, and when each of these is played.

mod config;
mod drops;
mod frame_reader;
mod json_tracks;
mod pad_sender;
mod playout;
mod reader;
mod reorder;
mod silence;
mod tail;
mod text;

pub(crate) use self::{
    config::{Config, ProblemReporter},
    frame_reader::FrameReader,
    pad_sender::{PadSender, Position},
    reader::Reader,
    tail::Tail,
};
