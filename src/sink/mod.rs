//! SECTION:element-moqsink
//! @see_also: moqsrc
//!
//! `moqsink` publishes pictures, sound, text and data as one broadcast to a MoQ (Media over QUIC) relay,
//! where any number of viewers can subscribe to it. Each track has a request pad of its own.
//!
//! Input that comes faster than real time, such as a file, is paced by the clock of the pipeline
//! (property `sync`); live input passes at once. A lost connection is tried again for as long as the
//! element runs. EOS is posted when all was delivered to the relay; a stop without EOS is no end for
//! viewers, who wait for what comes back.
//!
//! The broadcast tells what it has in three catalogs: hang's (track `catalog.json`), the same
//! compressed (`catalog.json.z`), and MSF's (`catalog`). MSF carries pictures and sound only: text and
//! data need hang.
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
//! ## Slow networks
//!
//! When the network cannot carry all tracks, sound goes before pictures and what is newer before what
//! is older. A group of pictures that is late is given up once newer media are as late after it as the
//! least of `max-age`, which is for live input only and after a change of format at least 5 s, of
//! `cache-time`, and of what the most patient viewer waits for; while it is stuck in the network, the
//! rest of each later group goes as soon as a newer one begins. Within a group nothing can be dropped:
//! the shorter the groups, the less late are their pictures. Each pad counts what is dropped in its
//! `stats`, and a QOS message tells it, at most one a second.
//!
//! ## Subtitles
//!
//! Text is published as WebVTT, which says when each cue begins and ends and keeps bold, italic and
//! underlined text; a cue whose buffer has no duration lasts 5 s. The times of WebVTT input are moved
//! to those of the broadcast: the first cue of a buffer begins with it, whole files need `subparse`.
//! With the pad property `text-format=utf8` raw text goes out without markup, and a cue without duration
//! lasts until the next one. TTML goes out as it comes, with its own times.
//!
//! ```sh
//! gst-launch-1.0 filesrc location=film.mp4 ! qtdemux ! h264parse ! s.sink_0 \
//!     filesrc location=film.srt ! subparse ! s.sink_1 \
//!     moqsink name=s url=https://relay.example broadcast=film
//! ```
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
//! gst-launch-1.0 -e v4l2src ! videoconvert ! video/x-raw,format=I420 ! \
//!     x264enc tune=zerolatency key-int-max=60 ! h264parse ! \
//!     moqsink url=https://relay.example broadcast=door sink_0::track=camera
//! ```
//!
//! ## Publish data beside the picture
//!
//! KLV (`meta/x-klv`) and captions (`closedcaption/x-cea-608`, `closedcaption/x-cea-708`) are taken
//! as they are, everything else as `application/octet-stream` with its type in the pad property
//! `mime`: JSON is `application/json`, ID3 is `application/id3`. Each buffer needs a time, holds up
//! to 32 MiB, and is shown with the picture of the same time. Empty buffers are dropped.
//!
//! ```sh
//! gst-launch-1.0 -e v4l2src ! videoconvert ! video/x-raw,format=I420 ! \
//!     x264enc tune=zerolatency ! h264parse ! moq.sink_0 \
//!     fdsrc do-timestamp=true ! application/octet-stream ! moq.sink_1 \
//!     moqsink name=moq url=https://relay.example broadcast=door \
//!     sink_1::track=events sink_1::mime=application/json
//! ```
//!
//! hang's catalog has no section for data that has a time, so `catalog.json` gets one more:
//!
//! ```json
//! {
//!   "gstData": {
//!     "renditions": {
//!       "events": {
//!         "caps": "application/octet-stream",
//!         "mime": "application/json",
//!         "container": { "kind": "legacy" },
//!         "bitrate": 16000
//!       }
//!     }
//!   }
//! }
//! ```
//!
//! `caps` are those of the pad as GStreamer writes them; `mime`, `label` and `bitrate` (in bits per
//! second) are left out where they are not known. The track is framed as hang's media are: each frame
//! is the timestamp as a QUIC variable-length integer in microseconds, on the same timeline as picture
//! and sound, followed by the buffer. Groups begin every 100 ms of data, and before 8000 frames or
//! 24 MiB.

mod bus;
mod element;
mod message;
mod pad;
mod publisher;
mod queries;
mod run;
mod stats;

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
    pub struct MoqSink(ObjectSubclass<element::MoqSink>)
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
