//! SECTION:element-moqsrc
//! @see_also: moqsink
//!
//! `moqsrc` subscribes to a broadcast of a MoQ (Media over QUIC) relay and gives a pad for each of
//! its renditions. It waits for the broadcast to appear and follows its catalog for as long as it
//! lives. Pictures and sound share one timeline: what was captured together is shown together, and
//! later than its capture by the transit, the property `latency` and what the decoders add.
//!
//! What the catalog says of a track comes out as caps and as a TAG event: bit rate, title, language
//! of text, image orientation and the name of the codec. Colorimetry and HDR metadata have no field
//! in the catalog; they are in the bitstream, where parsers and decoders find them. A publisher that
//! changes its format is followed on the same pad, by a CAPS event and DISCONT.
//!
//! ## Catalogs
//!
//! What a broadcast has is told by its catalog. hang's, plain or compressed, and MSF's are read
//! (property `catalog-format`); `auto` follows the suffix of the broadcast's name, `.hang` or
//! `.msf`, and then what is served. MSF carries pictures and sound only: text and data need hang.
//! An entry that cannot be used is left out with a warning and harms no other.
//!
//! A rendition of hang's catalog may be a track of another broadcast of the same relay: it is read
//! there, and waited for if that broadcast is not there yet or goes.
//!
//! ## Play
//!
//! ```sh
//! gst-launch-1.0 moqsrc url=https://relay.example broadcast=camera name=src \
//!     src.video_0 ! queue ! decodebin ! autovideosink \
//!     src.audio_0 ! queue ! decodebin ! autoaudiosink
//! ```
//!
//! ## Play by URI
//!
//! A URI is the one of the relay, with `moq+` before a scheme of the web, and the name of the
//! broadcast as its fragment.
//!
//! ```sh
//! gst-launch-1.0 playbin3 uri=moq+https://relay.example/#camera
//! ```
//!
//! ## Record
//!
//! ```sh
//! gst-launch-1.0 -e moqsrc url=https://relay.example broadcast=camera join=next-group name=src \
//!     src.video_0 ! h264parse ! mux. src.audio_0 ! aacparse ! mux. \
//!     mp4mux name=mux ! filesink location=camera.mp4
//! ```

mod catalog;
mod imp;
mod pad;
mod playback;
mod reader;
mod reference;
mod stream;
mod subscription;
mod task;

use gst::{glib, prelude::*};

glib::wrapper! {
    /// Subscribes to a broadcast of a MoQ relay.
    pub struct MoqSrc(ObjectSubclass<imp::MoqSrc>) @extends gst::Element, gst::Object,
        @implements gst::URIHandler;
}

glib::wrapper! {
    /// Source pad of one rendition.
    pub struct MoqSrcPad(ObjectSubclass<pad::MoqSrcPad>) @extends gst::Pad, gst::Object;
}

/// Registers the element `moqsrc`.
pub(crate) fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(
        Some(plugin),
        "moqsrc",
        gst::Rank::NONE,
        MoqSrc::static_type(),
    )
}
