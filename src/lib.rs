// SPDX-License-Identifier: MIT
//! GStreamer plugin to send and receive live media over QUIC with MoQ (Media over QUIC).
//!
//! `moqsink` publishes a broadcast to a MoQ relay, `moqsrc` subscribes to one, and `moqdeviceprovider` lists the
//! senders on the local network.

use gst::glib;

mod device;
mod element;
#[cfg(feature = "testing")]
pub mod media;
// The same as a part of the plugin, where nothing of it can be reached from outside.
#[cfg(not(feature = "testing"))]
#[allow(unreachable_pub)]
mod media;
mod net;
mod sink;
mod source;

#[cfg(feature = "testing")]
pub use source::fuzzing;

fn plugin_init(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    sink::register(plugin)?;
    source::register(plugin)?;
    device::register(plugin)
}

gst::plugin_define!(
    moq,
    env!("CARGO_PKG_DESCRIPTION"),
    plugin_init,
    concat!(env!("CARGO_PKG_VERSION"), "-", env!("COMMIT_ID")),
    "MIT/X11",
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_NAME"),
    "https://datatracker.ietf.org/wg/moq/",
    env!("BUILD_REL_DATE")
);
