//! How a player finds the element by a URI.

use gst::{glib, subclass::prelude::*};

use super::element::MoqSrc;
use crate::net::config;

impl URIHandlerImpl for MoqSrc {
    const URI_TYPE: gst::URIType = gst::URIType::Src;

    fn protocols() -> &'static [&'static str] {
        &config::URI_SCHEMES
    }

    fn uri(&self) -> Option<String> {
        self.settings().session.public_uri()
    }

    fn set_uri(&self, uri: &str) -> Result<(), glib::Error> {
        if self.run().is_some() {
            let text = "The URI of a running source cannot be changed";
            return Err(glib::Error::new(gst::URIError::BadState, text));
        }
        let set = self.settings().session.set_uri(uri);
        set.map_err(|reason| glib::Error::new(gst::URIError::BadUri, &reason))
    }
}
