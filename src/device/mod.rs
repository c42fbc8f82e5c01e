// SPDX-License-Identifier: MIT
//! The device provider `moqdeviceprovider`: its documentation, log category, types and registration.

/**
 * SECTION:provider-moqdeviceprovider
 * @title: moqdeviceprovider
 * @see_also: moqsink, moqsrc
 *
 * `moqdeviceprovider` lists the senders on the local network that a #GstMoqSink with `mode=listen advertise=true`
 * advertises by multicast DNS. Each is a device of the class `Source/Network`, named by its broadcast and host, that
 * makes a #GstMoqSrc with its URI and with the fingerprint of its certificate.
 *
 * The properties of a device are `url`, `broadcast`, `fingerprint` and `hostname`. A sender whose certificate or address
 * changes is removed and added again. One that goes without a word stays until its record expires. At
 * most 256 senders are listed, and none whose record cannot be used.
 *
 * Whoever is on the network can advertise anything: that a device is listed says nothing about who has
 * made its media.
 *
 * ## List the senders
 *
 * |[
 * gst-device-monitor-1.0 Source/Network
 * ]|
 *
 * Since: 0.1.0
 */
use std::sync::LazyLock;

use gst::{glib, prelude::*};

mod provider;
mod sender;

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "moqdeviceprovider",
        gst::DebugColorFlags::empty(),
        Some("MoQ device provider"),
    )
});

glib::wrapper! {
    /// Lists the senders on the local network.
    pub struct MoqDeviceProvider(ObjectSubclass<provider::MoqDeviceProvider>)
        @extends gst::DeviceProvider, gst::Object;
}

glib::wrapper! {
    /// A sender on the local network.
    pub struct MoqDevice(ObjectSubclass<sender::MoqDevice>) @extends gst::Device, gst::Object;
}

/// Registers the device provider `moqdeviceprovider`.
pub(crate) fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::DeviceProvider::register(
        Some(plugin),
        "moqdeviceprovider",
        // Without a rank no monitor asks it.
        gst::Rank::MARGINAL,
        MoqDeviceProvider::static_type(),
    )
}
