// SPDX-License-Identifier: MIT
//! When a frame is due: segments to publish times, arrivals to playout times, order and duration.

pub mod decode_order;
pub mod nanos;
pub mod playout;
pub mod publish;
pub mod rewind;
pub mod segment;
