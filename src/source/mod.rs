// SPDX-License-Identifier: MIT
//! The element `moqsrc`: its documentation, log category, types and registration.

/**
 * SECTION:element-moqsrc
 * @title: moqsrc
 * @see_also: moqsink
 *
 * `moqsrc` subscribes to a broadcast of a MoQ (Media over QUIC) relay and gives a pad for each of its
 * renditions. It waits for the broadcast to appear and follows its catalog for as long as it lives. Video and
 * audio share one timeline: what was captured together is shown together, later than its capture by the
 * transit, by #GstMoqSrc:latency, by what the slowest track's encoder is slower than the fastest, and by what
 * the decoders and sinks add.
 *
 * ## Catalogs
 *
 * The catalog of a broadcast lists its tracks. hang's, plain or compressed, and MSF's are read
 * (#GstMoqSrc:catalog-format); `auto` follows the suffix of the broadcast's name, `.hang` or `.msf`, and then
 * what is served. MSF has video and audio only: text and data need hang. An entry that cannot be used is left out
 * with a warning and affects no other.
 *
 * A rendition of hang's catalog may be a track of another broadcast of the same relay: it is read there, over
 * a connection of its own, and waited for if that broadcast is not there yet or goes. `moqsrc` hears of no
 * other broadcasts, however many the relay has.
 *
 * What the catalog says of a track comes out as caps and as a TAG event: bit rate, title, language of text,
 * image orientation and the name of the codec. Colorimetry and HDR metadata have no field in the catalog; they
 * are in the bitstream, where parsers and decoders find them. A publisher that changes its format is followed
 * on the same pad, by a CAPS event and DISCONT, and reported by the message `moq-rendition-changed`. Tracks
 * that change at once keep their pads: `moqsink` lists which track each one follows (`gstLineage`), and for
 * other publishers their names decide. At most 512 entries of each section of a catalog are read, and none of
 * a catalog of more than 1 MiB.
 *
 * ## Renditions
 *
 * With #GstMoqSrc:rendition-policy `all` there is a pad for each rendition. With `best` and `adaptive` there is one for
 * each kind, and one for each track of data: the streams are chosen by #GstMoqSrc:video-rendition and its like, by
 * #GstMoqSrc:preferred-languages, or by a SELECT_STREAMS event; and among renditions of one picture or one
 * sound the best is given that #GstMoqSrc:max-width, #GstMoqSrc:max-height and #GstMoqSrc:max-bitrate
 * allow, or with `adaptive` the best of these that the network carries. Which ones belong together the
 * catalog says (`gstGroup`, or `altGroup` in MSF); else the codec, the aspect ratio and the names have to agree. The pad
 * goes over to another rendition where a group of it begins: no frame is missing or given twice, CAPS come before the
 * first, and nothing is DISCONT. A URI makes `adaptive` the default.
 *
 * |[
 * gst-launch-1.0 moqsrc url=http://127.0.0.1:4443 broadcast=camera.hang rendition-policy=adaptive name=moq \
 *     moq.video_0 ! queue ! decodebin ! autovideosink \
 *     moq.audio_0 ! queue ! decodebin ! autoaudiosink
 * ]|
 *
 * ## Rewind
 *
 * With #GstMoqSrc:start-offset everything is shown so much later, and a SEEK in TIME (flushing, of rate 1.0) goes to what
 * the peer still has: `moqsink` keeps live media for #GstMoqSink:cache-time if that is more than 5 s. Stream time is the
 * broadcast's own time, running time goes on. SEEKING queries are answered with what is kept; a seek to its end is live
 * again. A broadcast that has ended and is still served plays as a file.
 *
 * |[
 * gst-launch-1.0 moqsrc url=http://127.0.0.1:4443 broadcast=camera.hang start-offset=8000 name=moq \
 *     moq.video_0 ! queue ! decodebin ! autovideosink \
 *     moq.audio_0 ! queue ! decodebin ! autoaudiosink
 * ]|
 *
 * ## Pads, events and removal
 *
 * A linked pad begins with frames, so that parsers have complete caps; only when nothing of a video or audio
 * track has arrived for the latency, or for 500 ms if that is longer, a GAP event is pushed. An event that an
 * application sends to the element goes to every pad: serialized ones in order with the frames, FLUSH_START
 * and out-of-band ones at once. A flush never resets the running time. `moqsrc` that is taken out of a running
 * pipeline flushes nothing: downstream plays out what it has.
 *
 * A `GstForceKeyUnit` event from downstream of a video pad is carried to the publisher if that is a #GstMoqSink and both
 * have #GstMoqSrc:return-path set, at most twice a second. Otherwise the pad refuses it: then the length of
 * the publisher's groups decides when the next keyframe comes.
 *
 * ## End and outage
 *
 * A broadcast that its publisher finished is EOS, after what is under way, unless the relay has another
 * publisher of the name. Not every MoQ version can signal the end, so `moqsink` marks it in its catalog, too
 * (`gstEnd`). A broadcast that goes without an end, by itself or with the connection, is waited for, and goes
 * on with the same pads; with #GstMoqSrc:eos-timeout it becomes EOS after a while.
 *
 * ## Any of several broadcasts
 *
 * #GstMoqSrc:broadcast may be a prefix: `room/` with an asterisk behind it stands for every broadcast whose name
 * begins so, and an asterisk alone for every one. The first one to be announced is taken, of those that are announced
 * at once the first by name; when it ends or goes away the next one, on the same pads. #GstMoqSrc:active-broadcast names
 * it. The signals #GstMoqSrc::broadcast-added and #GstMoqSrc::broadcast-removed, and the messages
 * `moq-broadcast-added` and `moq-broadcast-removed`, tell of all that are there, also while no pad is linked and no media are
 * received.
 *
 * ## Messages
 *
 * * `moq-connected`, with `version`: a session is up.
 * * `moq-disconnected`, with `cause`, `reason`, `retry-in-ms` and `serving`: a session was lost, or an
 *   attempt to connect failed; `serving` says that the session before still serves.
 * * `moq-goaway`: the relay asks to connect anew.
 * * `moq-listening`, with `address`, `port` and `certificate-fingerprint`: sessions are let in.
 * * `moq-session-added` and `moq-session-removed`, with `session`, `address`, `transport`, `path`,
 *   `moq-version`, `subject` and `fingerprint` of a client certificate, and `reason` of the end.
 * * `moq-broadcast-missing`, with `broadcast`: there has been a session for 5 s and nobody publishes the
 *   broadcast; once for each absence.
 * * `moq-broadcast-selected`, with `broadcast`: another broadcast beneath the prefix is taken.
 * * `moq-broadcast-added` and `moq-broadcast-removed`, with `broadcast`: one beneath the prefix has appeared, or has gone.
 * * `moq-rendition-changed`, with `pad`, `track`, `caps` and `reason`: a pad goes on with another track or format,
 *   `selected` by the application, by the `catalog`, because the one before was `slow` or `silent`, or because there is
 *   `room` for a better one.
 *   #GstMoqSrc::choose-rendition asks before a change that the network suggests.
 * * `moq-rewound`, with `position` (the stream time), `distance` (ms before the live edge) and `limited` (no more is
 *   kept): where #GstMoqSrc:start-offset or a seek has led.
 * * `moq-resync`: the network has become slower than #GstMoqSrc:latency hides, and all media are shown later.
 *
 * ## Statistics
 *
 * #GstMoqSrc:stats has `sessions-started` and `sessions-ended`, `rtt-ms` (gdouble), `estimated-send-rate`
 * and `estimated-recv-rate` in bits per second, and `bytes-sent`, `bytes-received`, `bytes-lost`,
 * `packets-sent`, `packets-received` and `packets-lost` of the session, all guint64 but for the round-trip
 * time. What is unknown is absent. In listen mode `sessions` is a GstArray
 * of a structure with these of each session, who it is, and `bytes`, `frames`, `groups`, `dropped-frames` and `dropped-groups`
 * of its media.
 *
 * #GstMoqSrcPad:stats, since the pad was added and guint64 where nothing else is said, has `frames`, `bytes`
 * and `groups` received; `groups-lost` (never came, broke off, or were given up); frames dropped as
 * `dropped-before-start` (older than the subscription), `dropped-undecodable` (without their keyframe, or without
 * a timestamp) and `dropped-late` (downstream took too long); `queue-bytes` and `queue-time` in nanoseconds,
 * which wait for downstream; `resyncs` (messages `moq-resync` since PLAYING); `delay-ms` (gdouble, from the
 * live edge to the newest frame's arrival); `drift-ppm` (gdouble, how much faster the publisher's clock runs,
 * after 30 s); `qos-events` from downstream, and of the newest one `qos-proportion` (gdouble) and `qos-jitter`
 * (gint64, in nanoseconds). What is unknown is absent.
 *
 * ## Play
 *
 * |[
 * gst-launch-1.0 moqsrc url=http://127.0.0.1:4443 broadcast=camera.hang name=moq \
 *     moq.video_0 ! queue ! decodebin ! autovideosink \
 *     moq.audio_0 ! queue ! decodebin ! autoaudiosink
 * ]|
 *
 * ## Play what a browser or another element pushes
 *
 * With `mode=listen` the element needs no relay: it waits for whoever publishes the broadcast to
 * #GstMoqSrc:bind. #GstMoqSrc::session-request decides on each session, as far as the properties leave it open.
 *
 * |[
 * gst-launch-1.0 moqsrc mode=listen broadcast=cam.hang web-root=target/web name=moq \
 *     moq.video_0 ! queue ! decodebin ! autovideosink \
 *     moq.audio_0 ! queue ! decodebin ! autoaudiosink
 * ]|
 *
 * ## Play by URI
 *
 * A URI is the one of the relay, with `moq+` before a scheme of the web, and the name of the broadcast as its
 * fragment, or the fragment of the IETF's draft on MSF: with `moqt://relay.example/demo#msf:room-camera--catalog` the
 * broadcast is `room/camera`, and the catalog MSF's unless #GstMoqSrc:catalog-format was set. `moqt:` is QUIC, or
 * WebTransport where the relay refuses that. What is in the query goes to the relay as it is.
 *
 * |[
 * gst-launch-1.0 playbin3 uri=moq+http://127.0.0.1:4443/#camera.hang
 * ]|
 *
 * ## Record
 *
 * |[
 * gst-launch-1.0 -e moqsrc url=http://127.0.0.1:4443 broadcast=camera.hang join=next-group name=moq \
 *     moq.video_0 ! h264parse ! mux. moq.audio_0 ! aacparse ! mux. \
 *     mp4mux name=mux ! filesink location=camera.mp4
 * ]|
 *
 * ## Play subtitles
 *
 * A text pad gives one buffer for each cue, with its duration: Pango markup, or text without it where
 * downstream takes nothing else, as muxers do. A cue that is on screen at the start is given for its rest.
 * Plain text whose end is unknown is given again every 500 ms, until something follows it, for 30 s at most.
 * While nothing is said GAP events let an overlay go on; `qtmux` and its like ignore them after a cue and
 * need an unlimited `queue` on their other pads.
 *
 * |[
 * gst-launch-1.0 moqsrc url=http://127.0.0.1:4443 broadcast=film.hang name=moq \
 *     moq.video_0 ! queue ! decodebin ! textoverlay name=text ! autovideosink \
 *     moq.text_0 ! text.text_sink
 * ]|
 *
 * ## Receive data
 *
 * Data tracks of `moqsink` come out of the pads `data_%u` with the caps that they went in with, on the
 * timeline of video and audio. What has no type in GStreamer is `application/octet-stream`; its MIME type is
 * #GstMoqSrcPad:mime, not a field of the caps, which are thus the same at both ends.
 *
 * |[
 * gst-launch-1.0 -e moqsrc url=http://127.0.0.1:4443 broadcast=drone.hang name=moq \
 *     moq.video_0 ! h264parse ! mux. moq.data_0 ! meta/x-klv,parsed=true ! mux. \
 *     mpegtsmux name=mux ! filesink location=drone.ts
 * ]|
 *
 * The `json` and `binary` tracks of other publishers are data, too, with one buffer for each record. They
 * carry no timestamps: a buffer has the time of its arrival. Of a track in mode `stream` every record comes, from
 * the first that the publisher still has; of one in mode `snapshot` the newest value, which for JSON is written
 * compactly and may have 4 MiB.
 *
 * Since: 0.1.0
 */
use std::sync::LazyLock;

use gst::{glib, prelude::*};

mod catalog;
mod discovery;
mod element;
mod keyframe_gate;
mod message;
mod pad;
mod playback;
mod reach;
mod rendition_request;
mod selection;
mod stats;
mod subscriber;
mod track;

#[cfg(feature = "testing")]
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
