//! SECTION:element-moqsrc
//! @see_also: moqsink
//!
//! `moqsrc` subscribes to a broadcast of a MoQ (Media over QUIC) relay and gives a pad for each of
//! its renditions. It waits for the broadcast to appear and follows its catalog for as long as it
//! lives. Pictures and sound share one timeline: what was captured together is shown together, and
//! later than its capture by the transit, the property `latency` and what the decoders add.
//!
//! ## Catalogs
//!
//! What a broadcast has is told by its catalog. hang's, plain or compressed, and MSF's are read
//! (property `catalog-format`); `auto` follows the suffix of the broadcast's name, `.hang` or
//! `.msf`, and then what is served. MSF carries pictures and sound only: text and data need hang.
//! An entry that cannot be used is left out with a warning and harms no other.
//!
//! A rendition of hang's catalog may be a track of another broadcast of the same relay: it is read
//! there, over a connection of its own, and waited for if that broadcast is not there yet or goes. Of
//! other broadcasts `moqsrc` hears nothing, however many the relay has.
//!
//! What the catalog says of a track comes out as caps and as a TAG event: bit rate, title, language
//! of text, image orientation and the name of the codec. Colorimetry and HDR metadata have no field
//! in the catalog; they are in the bitstream, where parsers and decoders find them. A publisher that
//! changes its format is followed on the same pad, by a CAPS event and DISCONT, and told by an element
//! message `moq-rendition-changed` with the fields `pad`, `track` and `caps`. Tracks that change at
//! once keep their pads: `moqsink` lists whom each follows (`gstLineage`), and of others the names tell.
//! At most 512 entries of each section of a catalog are looked at, and none of a catalog of more than 1 MiB.
//!
//! ## Pads, events and removal
//!
//! A linked pad begins with frames, so that parsers have full caps; only when nothing of a track of
//! pictures or sound has arrived for the latency, or for 500 ms if that is longer, a GAP event says so.
//! An event that an application sends to the element goes to every pad: serialized ones in order with
//! the frames, FLUSH_START and out-of-band ones at once. A flush never resets the running time.
//! `moqsrc` that is taken out of a running pipeline flushes nothing: downstream plays out what it has.
//!
//! ## End and outage
//!
//! A broadcast that its publisher finished is EOS, after what is under way. Not every MoQ version can
//! tell that, so `moqsink` says it in its catalog, too (`gstEnd`). A broadcast that goes without an end,
//! by itself or with the connection, is waited for, and goes on with the same pads; with the property
//! `eos-timeout` it becomes EOS after a while. Every try to connect that fails is an element message
//! `moq-disconnected`; the README lists its causes, and the errors. A broadcast that nobody publishes
//! is waited for, too: after 5 s with a session and without it an element message `moq-broadcast-missing` says
//! so, once for each absence, with its name in the field `broadcast`.
//!
//! ## Subtitles
//!
//! A text pad gives one buffer for each cue, with its duration: Pango markup, or text without it
//! where downstream takes nothing else, as muxers do. A cue that is on screen at the start is given
//! for its rest. Plain text of which nobody says when it ends is given again every 500 ms, until
//! something follows it, for 30 s at most. While nothing is said GAP events let an overlay go on;
//! `qtmux` and its like ignore them after a cue and need an unlimited `queue` on their other pads.
//!
//! ```sh
//! gst-launch-1.0 moqsrc url=https://relay.example broadcast=film name=src \
//!     src.video_0 ! queue ! decodebin ! textoverlay name=text ! autovideosink \
//!     src.text_0 ! text.text_sink
//! ```
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
//!
//! ## Take data
//!
//! Data tracks of `moqsink` come out of the pads `data_%u` with the caps that they went in with, and
//! on the timeline of picture and sound. What has no type in GStreamer is `application/octet-stream`;
//! its MIME type is the pad property `mime`, not a field of the caps, which are thus the same at both
//! ends.
//!
//! ```sh
//! gst-launch-1.0 -e moqsrc url=https://relay.example broadcast=drone name=src \
//!     src.video_0 ! h264parse ! mux. src.data_0 ! meta/x-klv,parsed=true ! mux. \
//!     mpegtsmux name=mux ! filesink location=drone.ts
//! ```
//!
//! The `json` and `binary` tracks of other publishers are data, too, with one buffer for each record.
//! They carry no time: a buffer has the time of its arrival. Of a track in mode `stream` every record
//! comes, from the first that the publisher still has; of one in mode `snapshot` the newest value, which
//! for JSON is written compactly and may have 4 MiB.

mod catalog;
mod element;
mod message;
mod pad;
mod playback;
mod stats;
mod subscriber;
mod track;

use std::sync::LazyLock;

use gst::{glib, prelude::*};

#[cfg(any(test, fuzzing))]
pub use catalog::fuzzing;

pub(crate) static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("moqsrc", gst::DebugColorFlags::empty(), Some("MoQ source"))
});

glib::wrapper! {
    /// Subscribes to a broadcast of a MoQ relay.
    pub struct MoqSrc(ObjectSubclass<element::MoqSrc>) @extends gst::Element, gst::Object,
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
