// SPDX-License-Identifier: MIT
//! How frames are wrapped on the wire.

pub mod cmaf;
pub mod kind;
