// SPDX-License-Identifier: MIT
//! A device: one sender, and the element that it makes.

use std::sync::OnceLock;

use gst::{glib, prelude::*, subclass::prelude::*};

use crate::net::mdns::Sender;

/// See [`super::MoqDevice`].
#[derive(Default)]
pub struct MoqDevice(OnceLock<Sender>);

#[glib::object_subclass]
impl ObjectSubclass for MoqDevice {
    const NAME: &'static str = "GstMoqDevice";
    type Type = super::MoqDevice;
    type ParentType = gst::Device;
}

impl ObjectImpl for MoqDevice {}
impl GstObjectImpl for MoqDevice {}

impl DeviceImpl for MoqDevice {
    fn create_element(&self, name: Option<&str>) -> Result<gst::Element, gst::LoggableError> {
        let mut builder = gst::ElementFactory::make("moqsrc");
        if let Some(name) = name {
            builder = builder.name(name);
        }
        let element = builder.build();
        let element = element.map_err(|err| gst::loggable_error!(super::CAT, "{err}"))?;
        self.reconfigure_element(&element)?;
        Ok(element)
    }

    fn reconfigure_element(&self, element: &gst::Element) -> Result<(), gst::LoggableError> {
        let handler = element.dynamic_cast_ref::<gst::URIHandler>();
        let is_ours = element
            .factory()
            .is_some_and(|factory| factory.name() == "moqsrc");
        let (Some(handler), Some(sender), true) = (handler, self.0.get(), is_ours) else {
            return Err(gst::loggable_error!(super::CAT, "Only a moqsrc takes it"));
        };
        let set = handler.set_uri(&sender.uri());
        set.map_err(|err| gst::loggable_error!(super::CAT, "{err}"))?;
        element.set_property("tls-fingerprint", sender.fingerprint());
        Ok(())
    }
}

impl super::MoqDevice {
    pub(super) fn new(sender: Sender) -> Self {
        let properties = gst::Structure::builder("properties")
            .field("url", sender.url())
            .field("broadcast", sender.broadcast())
            .field("fingerprint", sender.fingerprint())
            .field("hostname", sender.hostname())
            .build();
        let name = format!("{} ({})", sender.broadcast(), sender.hostname());
        let this: Self = glib::Object::builder()
            .property("display-name", name)
            .property("device-class", "Source/Network")
            // What tracks there are, the catalog alone knows.
            .property("caps", gst::Caps::new_any())
            .property("properties", properties)
            .build();
        // It is a new one, so nothing was set before.
        let _ = this.imp().0.set(sender);
        this
    }
}
