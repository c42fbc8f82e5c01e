// SPDX-License-Identifier: MIT
//! Pure media logic: value types in, value types out, no I/O and no clock reads.

pub mod catalog;
pub mod container;
pub mod control;
pub mod format;
pub mod text;
pub mod time;
