// SPDX-License-Identifier: MIT
//! What both elements share on GStreamer's side.

pub(crate) mod app_queue;
pub(crate) mod budget;
pub(crate) mod bus;
pub(crate) mod counter;
pub(crate) mod pipeline_clock;
pub(crate) mod properties;
pub(crate) mod runtime;
pub(crate) mod session_request;
pub(crate) mod status;
pub(crate) mod sync;
pub(crate) mod warn_limiter;
