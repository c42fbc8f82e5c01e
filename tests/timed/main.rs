// SPDX-License-Identifier: MIT
//! What measures time, or the memory of a machine at work: each test has the machine for itself.

#[path = "../common/mod.rs"]
mod common;

mod helpers;
mod hostile_upstream;
mod loss;
mod many_pads;
mod memory;
mod slow_link;
mod slow_receiver;
mod timing;
