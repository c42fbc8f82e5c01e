//! What both elements share about MoQ: settings, the connection, the runtime, errors.
//!
//! Nothing here knows a pad.

pub(crate) mod budget;
pub(crate) mod cause;
pub(crate) mod count;
pub(crate) mod courier;
mod dialer;
pub(crate) mod error;
pub(crate) mod link;
pub(crate) mod log;
pub(crate) mod runtime;
pub(crate) mod settings;
pub(crate) mod stats;
pub(crate) mod status;
pub(crate) mod told;
