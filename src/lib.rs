//! GStreamer plugin to send and receive live media over QUIC with MoQ (Media over QUIC).
//!
//! `moqsink` publishes a broadcast to a MoQ relay, `moqsrc` subscribes to one.

pub mod media;
