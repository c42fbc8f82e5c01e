//! SECTION:element-moqsink
//! @see_also: moqsrc
//!
//! `moqsink` publishes compressed video and audio as one broadcast to a MoQ (Media over QUIC) relay,
//! where any number of viewers can subscribe to it. Each track has a request pad of its own.
//!
//! Input that comes faster than real time, such as a file, is paced by the clock of the pipeline
//! (property `sync`); live input passes at once. A lost connection is tried again for as long as the
//! element runs. EOS is posted when all was delivered to the relay; a stop without EOS is no end for
//! viewers, who wait for what comes back.
//!
//! Size, display aspect, frame rate, sample rate and channels go from caps into the catalog; bit
//! rate, title and image orientation from TAG events, and the language of text tracks. The catalog
//! has one orientation for all pictures: that of the first pad that says one. Colorimetry and HDR
//! metadata have no field there; they reach viewers because they are in the bitstream.
//!
//! Caps that change the format publish another track under a fresh name (`camera`, then `camera-2`),
//! which the pad's `active-track` reads back. Parameter sets that change in band without new caps
//! only change the catalog entry.
//!
//! Video is published from key frame to key frame. After whatever broke the stream (a flush, a
//! pause, frames that were dropped) it goes on with a key frame, which upstream is asked for at once,
//! at most once per second. An encoder that makes none of its own is asked for one before 8000
//! frames or 24 MiB have come since the last; without an answer frames are dropped until one comes,
//! and the pad's `track-error` says so meanwhile.
//!
//! The broadcast tells what it has in three catalogs: hang's (track `catalog.json`), the same
//! compressed (`catalog.json.z`), and MSF's (`catalog`). MSF carries pictures and sound only: text and
//! data need hang.
//!
//! ## Publish a file
//!
//! ```sh
//! gst-launch-1.0 filesrc location=clip.mp4 ! qtdemux name=d \
//!     d.video_0 ! queue ! h264parse ! s.sink_0 \
//!     d.audio_0 ! queue ! aacparse ! s.sink_1 \
//!     moqsink name=s url=https://relay.example broadcast=clip
//! ```
//!
//! ## Publish a camera and name its track
//!
//! ```sh
//! gst-launch-1.0 -e v4l2src ! videoconvert ! x264enc tune=zerolatency key-int-max=60 ! h264parse ! \
//!     moqsink url=https://relay.example broadcast=door sink_0::track=camera
//! ```

mod answers;
mod chain;
mod events;
mod gate;
mod imp;
mod member;
mod messages;
mod pad;
mod publication;
mod report;
mod run;
mod stream;
mod task;
mod track;

use std::sync::LazyLock;

use gst::{glib, prelude::*};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "moqsink",
        gst::DebugColorFlags::empty(),
        Some("MoQ publisher"),
    )
});

glib::wrapper! {
    /// Publishes a broadcast.
    pub struct MoqSink(ObjectSubclass<imp::MoqSink>)
        @extends gst::Element, gst::Object,
        @implements gst::ChildProxy;
}

glib::wrapper! {
    /// Takes in one track of a broadcast.
    pub struct MoqSinkPad(ObjectSubclass<pad::MoqSinkPad>)
        @extends gst::Pad, gst::Object;
}

pub(crate) fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(
        Some(plugin),
        "moqsink",
        gst::Rank::NONE,
        MoqSink::static_type(),
    )
}
