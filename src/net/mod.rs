// SPDX-License-Identifier: MIT
//! MoQ without pads: configuration, the connection and its failures, statistics.

pub(crate) mod backoff;
pub(crate) mod config;
pub(crate) mod connection;
mod dial;
pub(crate) mod endpoint;
pub(crate) mod error;
pub(crate) mod failure;
pub(crate) mod listen;
pub(crate) mod log;
pub(crate) mod mdns;
mod secrets;
pub(crate) mod stats;
mod trust;
pub(crate) mod uri;
