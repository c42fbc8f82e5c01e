// SPDX-License-Identifier: MIT
//! What measures time, or loads the machine: each test has it for itself.

#[path = "../common/mod.rs"]
mod common;

mod adaptive;
mod codecs_nal;
mod helpers;
mod hostile;
mod hostile_upstream;
mod listen;
mod loss;
mod many_pads;
mod memory;
mod rate_control;
mod slow_link;
mod slow_receiver;
mod timing;
