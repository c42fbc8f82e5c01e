// SPDX-License-Identifier: MIT
//! Overlays, muxers and encoders of subtitles take cues from `moqsrc` directly.

use gst::ClockTime;

use crate::common::{
    self, Packet, Packets, Relay, Running, Viewer,
    cues::{Cues, texts, write_srt},
    media::{Video, moqsink, moqsrc},
    pipeline::{DEADLINE, wait_pad},
    unique_broadcast,
};

const UTF8: &str = "text/x-raw,format=utf8";
const PANGO: &str = "text/x-raw,format=pango-markup";
const TTML: &str = "application/ttml+xml";

#[test]
fn a_silent_text_pad_holds_up_no_picture() {
    common::init();
    let folder = tempfile::tempdir().expect("a folder");
    let file = write_srt(folder.path(), "1\n01:00:00,000 --> 01:00:01,000\nlater\n");
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("silent");
    let _publisher = Running::play(&format!(
        "{} ! moq.sink_0 filesrc location=\"{file}\" ! subparse ! moq.sink_1 {}",
        Video::default().live(),
        moqsink(&relay.url(), &broadcast)
    ));
    for (overlay, pad) in [
        ("textoverlay", "text_sink"),
        ("subtitleoverlay", "subtitle_sink"),
    ] {
        let subscriber = Running::play(&format!(
            "{} moq.video_0 ! avdec_h264 ! {overlay} name=overlay ! fakesink name=out sync=true \
             moq.text_0 ! overlay.{pad}",
            moqsrc(&relay.url(), &broadcast)
        ));
        let cues = wait_pad(&subscriber.element("moq"), "text_0", DEADLINE);
        let cues = Packets::of(&cues);
        let shown = Packets::into_sink(&subscriber.element("out"));
        shown.wait_count(60, DEADLINE);
        assert_eq!(cues.count(), 0, "{overlay}");
    }
}

/// The brightest pixel of the frames that come, until `reached`.
fn wait_brightness(pictures: &Packets, claim: &str, reached: impl Fn(u8) -> bool) {
    let end = std::time::Instant::now() + DEADLINE;
    loop {
        let packets = pictures.wait_count(pictures.count() + 1, DEADLINE);
        let luma = &packets.last().expect("a frame").bytes[..320 * 240];
        if reached(luma.iter().copied().max().unwrap_or_default()) {
            return;
        }
        assert!(std::time::Instant::now() < end, "{claim}");
    }
}

#[test]
fn an_overlay_shows_each_cue_for_its_time() {
    common::init();
    let relay = Relay::start().expect("the relay starts");
    for pad in ["", "sink_0::text-format=utf8"] {
        let broadcast = unique_broadcast("overlay");
        let video = "videotestsrc is-live=true pattern=black ! video/x-raw,format=I420,width=320,height=240 ! \
            x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 ! h264parse ! moq.sink_1";
        let cues = Cues::start(&relay, &broadcast, UTF8, pad, video);
        cues.push("before", Some(ClockTime::from_mseconds(1)));
        let subscriber = Running::play(&format!(
            "{} moq.video_0 ! avdec_h264 ! textoverlay name=overlay shaded-background=true \
             shading-value=255 ! video/x-raw,format=I420 ! fakesink name=out sync=true \
             moq.text_0 ! overlay.text_sink",
            moqsrc(&relay.url(), &broadcast)
        ));
        let shown = Packets::into_sink(&subscriber.element("out"));
        wait_brightness(&shown, "nothing is shown at first", |luma| luma < 40);
        cues.push("WWW", Some(ClockTime::from_mseconds(700)));
        wait_brightness(&shown, "the cue is shown", |luma| luma > 150);
        wait_brightness(&shown, "it goes again", |luma| luma < 40);
    }
}

#[test]
fn a_cue_that_is_on_screen_is_shown_to_who_joins() {
    common::init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("join");
    let video = format!("{} ! moq.sink_1", Video::default().live());
    let cues = Cues::start(&relay, &broadcast, UTF8, "", &video);
    let viewer = Viewer::start(&relay.url(), &broadcast);
    cues.push("long", Some(ClockTime::from_seconds(60)));
    // A second of frames later.
    viewer.wait("frames come", DEADLINE, |seen| {
        let times: Vec<u64> = seen.frames("video").iter().map(|f| f.timestamp).collect();
        let text = seen.frames("text").first().map(|frame| frame.timestamp);
        times
            .last()
            .zip(text)
            .is_some_and(|(last, text)| *last > text + 1_000_000)
    });
    let subscriber = Running::play(&format!(
        "{} moq.video_0 ! fakesink sync=false async=false moq.text_0 ! fakesink sync=false async=false",
        moqsrc(&relay.url(), &broadcast)
    ));
    let pad = wait_pad(&subscriber.element("moq"), "text_0", DEADLINE);
    let got = Packets::of(&pad).wait_count(1, DEADLINE);
    assert_eq!(texts(&got), ["long"]);
    let left = got[0].duration.expect("a duration");
    assert!(left < ClockTime::from_mseconds(59_500), "its rest: {left}");
    assert!(left > ClockTime::from_seconds(20), "its rest: {left}");
}

#[test]
fn recordings_have_the_cues() {
    common::init();
    let relay = Relay::start().expect("the relay starts");
    let folder = tempfile::tempdir().expect("a folder");
    for (muxer, demuxer) in [
        ("matroskamux", "matroskademux name=d d.subtitle_0"),
        ("qtmux", "qtdemux name=d d.subtitle_0"),
    ] {
        let file = folder.path().join(muxer).display().to_string();
        let broadcast = unique_broadcast("record");
        let video = format!("{} ! moq.sink_1", Video::default().live());
        let cues = Cues::start(&relay, &broadcast, PANGO, "", &video);
        let subscriber = Running::play(&format!(
            // After a cue, qtmux takes nothing else before the next one, whatever gaps say.
            "{} moq.video_0 ! queue max-size-time=0 max-size-bytes=0 max-size-buffers=0 ! \
             mux.video_0 {muxer} name=mux ! filesink location=\"{file}\" \
             moq.text_0 ! mux.subtitle_0",
            moqsrc(&relay.url(), &broadcast)
        ));
        let pad = wait_pad(&subscriber.element("moq"), "text_0", DEADLINE);
        let passed = Packets::of(&pad);
        let video = wait_pad(&subscriber.element("moq"), "video_0", DEADLINE);
        let video = Packets::of(&video);
        video.wait_count(30, DEADLINE);
        for text in ["<b>one</b> &amp;", "two"] {
            let count = passed.count();
            cues.push(text, Some(ClockTime::from_mseconds(300)));
            passed.wait_count(count + 1, DEADLINE);
            video.wait_count(video.count() + 15, DEADLINE);
        }
        assert_eq!(texts(&passed.so_far()), ["one &", "two"], "{muxer}");
        subscriber.end();
        let player = Running::launch(&format!(
            "filesrc location=\"{file}\" ! {demuxer} ! fakesink name=out sync=false"
        ));
        let played = Packets::into_sink(&player.element("out"));
        player.start();
        player.wait_eos();
        let played = played.so_far();
        let played: Vec<&str> = texts(&played)
            .into_iter()
            .filter(|text| !text.trim_matches([' ', '\0', '\n']).is_empty())
            .collect();
        assert_eq!(played.len(), 2, "{muxer}: {played:?}");
        assert!(played[0].starts_with("one &"), "{muxer}: {played:?}");
        assert!(played[1].starts_with("two"), "{muxer}: {played:?}");
    }
}

#[test]
fn encoders_and_parsers_of_subtitles_take_cues_directly() {
    common::init();
    let relay = Relay::start().expect("the relay starts");
    for (caps, consumer, expected) in [
        (PANGO, "webvttenc", "<i>one</i>"),
        (PANGO, "srtenc", "<i>one</i>"),
        (PANGO, "capsfilter caps=text/x-raw,format=utf8", "one"),
        (TTML, "capsfilter caps=application/ttml+xml", "<i>one</i>"),
    ] {
        let broadcast = unique_broadcast("direct");
        let cues = Cues::start(&relay, &broadcast, caps, "", "");
        cues.push("<i>one</i>", Some(ClockTime::SECOND));
        let subscriber = Running::play(&format!(
            "{} moq.text_0 ! {consumer} ! fakesink name=out sync=false async=false",
            moqsrc(&relay.url(), &broadcast)
        ));
        let out = Packets::into_sink(&subscriber.element("out"));
        let contains = |packet: &Packet| String::from_utf8_lossy(&packet.bytes).contains(expected);
        let mut count = 1;
        while !out.wait_count(count, DEADLINE).iter().any(contains) {
            count += 1;
        }
        if consumer.starts_with("caps") {
            assert_eq!(texts(&out.so_far()), [expected], "{consumer}");
        }
    }
}
