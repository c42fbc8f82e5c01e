// SPDX-License-Identifier: MIT
//! The element `moqsink`: its documentation, log category, types and registration.

/**
 * SECTION:element-moqsink
 * @title: moqsink
 * @see_also: moqsrc
 *
 * `moqsink` publishes video, audio, text and data as one broadcast to a MoQ (Media over QUIC) relay, where
 * any number of subscribers receive it. Each track has a request pad of its own.
 *
 * Input that comes faster than real time, such as a file, is paced by the clock of the pipeline
 * (property #GstMoqSink:sync); live input is never delayed. A lost connection is retried for as long as
 * the element runs. EOS is posted when everything was delivered to the relay; a stop without EOS is no end
 * for subscribers, who wait for the broadcast to come back.
 *
 * The broadcast lists its tracks in three catalogs: hang's (track `catalog.json`), the same compressed
 * (`catalog.json.z`), and MSF's (`catalog`). MSF has video and audio only: text and data need hang.
 *
 * Size, display aspect, frame rate, sample rate and channels go from caps into the catalog; bit rate, title
 * and image orientation from TAG events, and the language of text and audio, the latter in a section of our own
 * (`gstLang`). The catalog has one orientation for all video: that of the first pad that has one. Colorimetry
 * and HDR metadata have no field there; they reach subscribers in the bitstream.
 *
 * Caps that change the format publish another track under a fresh name (`camera`, then `camera-2`), which
 * #GstMoqSinkPad:active-track reads back. Parameter sets that change in band without new caps only change
 * the catalog entry.
 *
 * Video is published from keyframe to keyframe. After whatever broke the stream (a flush, a pause, dropped
 * frames) it continues with a keyframe, which upstream is asked for by the event `GstForceKeyUnit`. It is asked
 * also when a peer subscribes while the open group is older than #GstMoqSinkPad:key-unit-age, at most once in
 * #GstMoqSinkPad:min-force-key-unit-interval, and once a minute if it does not answer. An
 * encoder that makes none by itself is asked for one before 8000 frames or 24 MiB have come since the last;
 * without an answer frames are dropped until one comes, and #GstMoqSinkPad:track-error says so meanwhile.
 *
 * ## Slow networks
 *
 * When the network cannot carry all tracks, audio goes before video and newer groups go before older ones. A
 * group of video that is late is given up once newer media are as late after it as the least of
 * #GstMoqSink:max-age, which is for live input only and after a change of format at least 5 s, of
 * #GstMoqSink:cache-time, and of what the most patient subscriber waits for; what was delivered is kept no longer unless
 * #GstMoqSink:cache-time is more than 5 s: then it is kept for that long, also after the end of the broadcast. While it is stuck in the
 * network, the rest of each later group goes as soon as a newer one begins. Within a group nothing can be
 * dropped: the shorter the GOPs, the less late is their video. Each pad counts what is dropped in its
 * `stats`, and posts a QOS message, at most one a second.
 *
 * ## Who watches
 *
 * #GstMoqSinkPad:subscribed says whether a peer subscribes to the pad's track, #GstMoqSink:watched whether one
 * subscribes to any. With #GstMoqSinkPad:demand set to `drop`, a pad rests at the end of a group once nobody has
 * subscribed for 3 s: it drops what comes, while its track stays in the catalog. When a peer subscribes, upstream
 * is asked for a keyframe, with which the track goes on.
 *
 * With `upstream` it also sends a custom upstream event `moq-demand`, whose field `subscribed` (gboolean) is FALSE
 * when the rest begins and TRUE when frames are needed again, in the next run at the latest. An element `valve`
 * that #GstMoqSinkPad:demand-valve names is closed and opened at the same moments:
 *
 * |[
 * gst-launch-1.0 -e v4l2src ! videoconvert ! video/x-raw,format=I420 ! \
 *     valve name=valve drop-mode=forward-sticky-events ! \
 *     x264enc tune=zerolatency key-int-max=60 ! h264parse ! \
 *     moqsink mode=listen broadcast=door.hang sink_0::demand=upstream sink_0::demand-valve=valve
 * ]|
 *
 * ## Requests of receivers
 *
 * With #GstMoqSink:return-path a #GstMoqSrc that has it, too, carries the event `GstForceKeyUnit` back, which is sent
 * upstream within #GstMoqSinkPad:min-force-key-unit-interval. The catalog says so by `"gstReturn": true`, and
 * receivers publish beneath the broadcast's name and `/.return`, which a relay has to allow.
 *
 * ## Rate control
 *
 * With #GstMoqSink:rate-control set to `encoder`, the encoders upstream are set to the bit rate that the network
 * carries, between #GstMoqSink:min-bitrate and #GstMoqSink:max-bitrate; with `notify` #GstMoqSinkPad:target-bitrate
 * says it. Audio keeps what it sends, video shares out the rest by #GstMoqSinkPad:bitrate-share.
 * #GstMoqSink::encoder-setup and #GstMoqSink::define-encoder-bitrates let the application take part, as those of
 * webrtcsink do. Pads with the same #GstMoqSinkPad:rendition-group are one picture in several qualities: their
 * keyframes come at the same times, and the largest rest first when there is too little.
 *
 * |[
 * gst-launch-1.0 -e v4l2src ! videoconvert ! video/x-raw,format=I420 ! \
 *     x264enc tune=zerolatency key-int-max=60 ! h264parse ! \
 *     moqsink url=http://127.0.0.1:4443 broadcast=door.hang rate-control=encoder max-bitrate=3000000
 * ]|
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
 * * `moq-rendition-changed`, with `pad`, `track` and `caps`: a pad publishes another track or format.
 *
 * ## Statistics
 *
 * #GstMoqSink:stats has `sessions-started` and `sessions-ended`, `rtt-ms` (gdouble), `estimated-send-rate`
 * and `estimated-recv-rate` in bits per second, and `bytes-sent`, `bytes-received`, `bytes-lost`,
 * `packets-sent`, `packets-received` and `packets-lost` of the session, all guint64 but for the round-trip
 * time. What is unknown is absent. In listen mode `sessions` is a GstArray
 * of a structure with these of each session, who it is, and `bytes`, `frames`, `groups`, `dropped-frames` and `dropped-groups`
 * of its media.
 *
 * #GstMoqSinkPad:stats, of the current run and all guint64, has `frames`, `bytes` and `groups` published;
 * frames dropped as `dropped-no-keyframe`, `dropped-no-timestamp`, `dropped-budget` (more than
 * #GstMoqSink:max-bytes or #GstMoqSink:max-time waited), `dropped-too-old` (of groups that the network did not
 * carry in time, see #GstMoqSink:max-age; some of them may have arrived), `dropped-unwatched` (nobody
 * subscribed), `dropped-rendition` (the network had no room for it beside smaller renditions) and `dropped-refused` (other reasons, see #GstMoqSinkPad:track-error); `groups-given-up`; `resyncs` (how often the timestamps stepped and the
 * stream went on where it was); `queue-bytes` and `queue-time` in nanoseconds, which wait for the network.
 *
 * ## Publish a test video and a test tone
 *
 * |[
 * gst-launch-1.0 -e \
 *     videotestsrc is-live=true ! video/x-raw,format=I420 ! x264enc tune=zerolatency key-int-max=60 ! \
 *     h264parse ! moq.sink_0 \
 *     audiotestsrc is-live=true ! audioconvert ! avenc_aac ! aacparse ! moq.sink_1 \
 *     moqsink name=moq url=http://127.0.0.1:4443 broadcast=test.hang
 * ]|
 *
 * ## Serve a test video without a relay
 *
 * With `mode=listen` the element lets in browsers, #GstMoqSrc and other MoQ programs at #GstMoqSink:bind.
 * #GstMoqSink::session-request decides on each of them, as far as the properties leave it open. With
 * #GstMoqSink:advertise the local network is told of it, where moqdeviceprovider lists it.
 *
 * |[
 * gst-launch-1.0 -e \
 *     videotestsrc is-live=true ! video/x-raw,format=I420 ! x264enc tune=zerolatency key-int-max=60 ! \
 *     h264parse ! moqsink mode=listen broadcast=test.hang
 * ]|
 *
 * ## Publish by URI
 *
 * `moqsink` is made for the same URIs as #GstMoqSrc, by `gst_element_make_from_uri` for example: the relay's URL, with
 * `moq+` before a scheme of the web, and the broadcast as `#room/camera` or, with the fragment of the IETF's draft on
 * MSF, `#msf:room-camera--catalog`. They set #GstMoqSink:url and #GstMoqSink:broadcast, before the element runs.
 *
 * ## Publish a file
 *
 * |[
 * gst-launch-1.0 filesrc location=clip.mp4 ! qtdemux name=demux \
 *     demux.video_0 ! queue ! h264parse ! moq.sink_0 \
 *     demux.audio_0 ! queue ! aacparse ! moq.sink_1 \
 *     moqsink name=moq url=http://127.0.0.1:4443 broadcast=clip.hang
 * ]|
 *
 * ## Publish a camera and name its track
 *
 * |[
 * gst-launch-1.0 -e v4l2src ! videoconvert ! video/x-raw,format=I420 ! \
 *     x264enc tune=zerolatency key-int-max=60 ! h264parse ! \
 *     moqsink url=http://127.0.0.1:4443 broadcast=door.hang sink_0::track=camera
 * ]|
 *
 * ## Publish subtitles
 *
 * Text is published as WebVTT, which says when each cue begins and ends and keeps bold, italic and
 * underlined text; a cue whose buffer has no duration lasts 5 s. The times of WebVTT input are moved to those
 * of the broadcast: the first cue of a buffer begins with it, whole files need `subparse`. With `utf8` in
 * #GstMoqSinkPad:text-format raw text is published without markup, and a cue without duration lasts until the
 * next one. TTML is published as it comes, with its own times.
 *
 * |[
 * gst-launch-1.0 filesrc location=film.mp4 ! qtdemux ! queue ! h264parse ! moq.sink_0 \
 *     filesrc location=film.srt ! subparse ! moq.sink_1 \
 *     moqsink name=moq url=http://127.0.0.1:4443 broadcast=film.hang
 * ]|
 *
 * ## Publish data beside video
 *
 * KLV (`meta/x-klv`) and captions (`closedcaption/x-cea-608`, `closedcaption/x-cea-708`) are taken as they
 * are, everything else as `application/octet-stream` with its type in #GstMoqSinkPad:mime: JSON is
 * `application/json`, ID3 is `application/id3`. Each buffer needs a timestamp, holds up to 32 MiB, and is shown
 * with the video frame of the same time. Empty buffers are dropped.
 *
 * |[
 * gst-launch-1.0 -e v4l2src ! videoconvert ! video/x-raw,format=I420 ! \
 *     x264enc tune=zerolatency key-int-max=60 ! h264parse ! moq.sink_0 \
 *     udpsrc port=5000 ! application/octet-stream ! queue ! moq.sink_1 \
 *     moqsink name=moq url=http://127.0.0.1:4443 broadcast=door.hang \
 *     sink_1::track=events sink_1::mime=application/json
 * ]|
 *
 * hang's catalog has no section for timed data, so `catalog.json` gets one more:
 *
 * ```json
 * {
 *   "gstData": {
 *     "renditions": {
 *       "events": {
 *         "caps": "application/octet-stream",
 *         "mime": "application/json",
 *         "container": { "kind": "legacy" },
 *         "bitrate": 16000
 *       }
 *     }
 *   }
 * }
 * ```
 *
 * `caps` are those of the pad as GStreamer writes them; `mime`, `label` and `bitrate` (in bits per second)
 * are absent where they are unknown. The track is framed as hang's media are: each frame is the timestamp as
 * a QUIC variable-length integer in microseconds, on the same timeline as video and audio, followed by the
 * buffer. Groups begin every 100 ms of data, and before 8000 frames or 24 MiB.
 *
 * Since: 0.1.0
 */
use std::sync::LazyLock;

use gst::{glib, prelude::*};

mod bus;
mod element;
mod encoder;
mod message;
mod pad;
mod publisher;
mod queries;
mod rate_control;
mod run;
mod stats;

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
        @implements gst::ChildProxy, gst::URIHandler;
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
