//! Cues of every format, from buffer to wire to buffer.

mod common;

use std::{fs, path::Path, time::Duration};

use common::{
    Packet, Packets, Publisher, Relay, Running, Viewer,
    cues::{Cues, subscribe, texts},
    media::{Video, moqsink, moqsrc},
    pipeline::{DEADLINE, wait_pad},
    publisher, unique_broadcast,
    viewer::Frame,
};
use gst::{ClockTime, prelude::*};
use hang::catalog::{TextFormat, TextRole};

const UTF8: &str = "text/x-raw,format=utf8";
const PANGO: &str = "text/x-raw,format=pango-markup";
const VTT: &str = "application/x-subtitle-vtt";
const TTML: &str = "application/ttml+xml";

fn vtt_time(micros: u64) -> String {
    let millis = micros / 1000;
    format!(
        "{:02}:{:02}:{:02}.{:03}",
        millis / 3_600_000,
        millis / 60_000 % 60,
        millis / 1000 % 60,
        millis % 1000
    )
}

fn write_srt(folder: &Path, text: &str) -> String {
    let path = folder.join("cues.srt");
    fs::write(&path, text).expect("the file is written");
    path.display().to_string()
}

#[test]
fn the_wire_has_what_browsers_read() {
    common::init();
    let relay = Relay::start().expect("the relay starts");
    let second = Some(ClockTime::SECOND);
    for (caps, pad, text, duration, expected) in [
        (UTF8, "", "a <b>\n\nc", second, "a &lt;b&gt;\nc"),
        (
            PANGO,
            "",
            "<i>a</i><span size='1'>b</span>",
            second,
            "<i>a</i>b",
        ),
        (
            VTT,
            "",
            "00:00:07.000 --> 00:00:08.000\n<v Ann>a\n\n",
            None,
            "<v Ann>a",
        ),
        (VTT, "", "<v Ann>a", second, "<v Ann>a"),
    ] {
        let broadcast = unique_broadcast("wire");
        let viewer = Viewer::start(&relay.url(), &broadcast);
        let cues = Cues::start(&relay, &broadcast, caps, pad, "");
        cues.push(text, duration);
        let seen = viewer.wait("the cue comes", DEADLINE, |seen| {
            seen.frames("text").len() == 1
        });
        let Frame {
            timestamp, payload, ..
        } = seen.frames("text").remove(0);
        let times = [timestamp, timestamp + 1_000_000].map(vtt_time);
        let expected = format!("WEBVTT\n\n{} --> {}\n{expected}\n", times[0], times[1]);
        assert_eq!(String::from_utf8_lossy(&payload), expected, "{caps}");
        let config = seen.catalog().text.renditions["text"].clone();
        assert_eq!(
            (config.format, config.role),
            (TextFormat::Vtt, TextRole::Subtitle)
        );
        cues.end();
    }
}

#[test]
fn plain_text_goes_out_with_an_empty_frame_at_its_end() {
    common::init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("plain");
    let viewer = Viewer::start(&relay.url(), &broadcast);
    let pad = "sink_0::text-format=utf8 sink_0::text-role=caption sink_0::track=cc";
    let cues = Cues::start(&relay, &broadcast, PANGO, pad, "");
    cues.push("<b>a</b> &amp; b", Some(ClockTime::SECOND));
    cues.push("c", None);
    cues.push("", None);
    let seen = viewer.wait("the cues come", DEADLINE, |seen| {
        seen.frames("cc").len() == 4
    });
    let config = &seen.catalog().text.renditions["cc"];
    assert_eq!(config.format, TextFormat::Utf8);
    assert_eq!(config.role, TextRole::Caption);
    let groups: Vec<&Vec<Frame>> = seen.tracks["cc"].values().collect();
    assert_eq!(groups.len(), 3, "each cue is a group: {groups:?}");
    assert_eq!(groups[0][0].payload, b"a & b");
    assert_eq!(groups[0][1].payload, b"");
    assert_eq!(groups[0][1].timestamp, groups[0][0].timestamp + 1_000_000);
    assert_eq!(groups[1][0].payload, b"c");
    assert_eq!(groups[2][0].payload, b"");
    cues.end();
}

#[test]
fn cues_arrive_with_text_time_and_duration() {
    common::init();
    let relay = Relay::start().expect("the relay starts");
    for (caps, pad, sent, received, given) in [
        (UTF8, "", "a < b", "a &lt; b", PANGO),
        (PANGO, "", "<b>a</b>\nb", "<b>a</b>\nb", PANGO),
        (VTT, "", "<c.x>a</c>", "a", PANGO),
        (UTF8, "sink_0::text-format=utf8", "a < b", "a < b", UTF8),
        (TTML, "", "<tt/>", "<tt/>", TTML),
    ] {
        let broadcast = unique_broadcast("cues");
        let cues = Cues::start(&relay, &broadcast, caps, pad, "");
        let duration = ClockTime::from_mseconds(1500);
        cues.push(sent, Some(duration));
        let (subscriber, packets) = subscribe(&relay, &broadcast);
        // The first cue is the newest group when the subscriber comes.
        packets.wait_count(1, DEADLINE);
        cues.push(sent, Some(duration));
        let got = packets.wait_count(2, DEADLINE);
        assert_eq!(texts(&got), [received; 2], "{caps}");
        let ttml = caps == TTML;
        let expected = Some(duration).filter(|_| !ttml);
        assert_eq!(got[1].duration, expected, "{caps} {pad}");
        assert!(got[0].pts < got[1].pts);
        let pad = wait_pad(&subscriber.element("moq"), "text_0", DEADLINE);
        let given: gst::Caps = given.parse().expect("caps");
        assert_eq!(pad.current_caps(), Some(given));
        let stream = pad.stream().expect("the pad tells its stream");
        assert_eq!(stream.stream_type(), gst::StreamType::TEXT);
        assert_eq!(stream.stream_flags(), gst::StreamFlags::SPARSE);
        cues.end();
        packets.wait_eos(DEADLINE);
    }
}

#[test]
fn plain_text_of_others_stays_until_it_is_cleared() {
    common::init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("roll-up");
    let catalog = r#"{"text":{"renditions":{"cc":{"format":"utf8"}}}}"#;
    let publisher = Publisher::start(&relay.url(), &broadcast, catalog);
    let track = publisher.track("cc");
    let (_subscriber, packets) = subscribe(&relay, &broadcast);
    publisher.wait_used(&track);
    publisher::write(&track, 1_000_000, b"roll");
    let got = packets.wait_count(3, DEADLINE);
    assert_eq!(texts(&got), ["roll"; 3]);
    for pair in got.windows(2) {
        let end = pair[0].pts.zip(pair[0].duration).map(|(pts, d)| pts + d);
        assert_eq!(end, pair[1].pts, "without a hole");
    }
    // Long ago by now, so that it is over at once.
    publisher::write(&track, 1_100_000, b"");
    publisher::write(&track, 90_000_000, b"up");
    let end = std::time::Instant::now() + DEADLINE;
    while packets.so_far().last().map(|packet| &packet.bytes[..]) != Some(b"up") {
        assert!(std::time::Instant::now() < end, "the next cue comes");
        packets.wait_count(packets.count() + 1, DEADLINE);
    }
}

#[test]
fn a_segment_of_several_cues_is_several_buffers() {
    common::init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("segment");
    let catalog = r#"{"text":{"renditions":{"de":{"format":"vtt"},"x":{"format":"cea"}}}}"#;
    let publisher = Publisher::start(&relay.url(), &broadcast, catalog);
    let track = publisher.track("de");
    let (_subscriber, packets) = subscribe(&relay, &broadcast);
    publisher.wait_used(&track);
    publisher::write(&track, 1_000_000, b"\xff --> not text");
    let segment = "WEBVTT\n\n00:01.000 --> 00:02.000\na\n\n00:09.000 --> 00:01.000\nbad\n\n\
        00:01.500 --> 00:03.000\nb\n";
    publisher::write(&track, 1_000_000, segment.as_bytes());
    let got = packets.wait_count(2, DEADLINE);
    assert_eq!(texts(&got), ["a", "b"]);
    let distance = got[1].pts.zip(got[0].pts).map(|(b, a)| b - a);
    assert_eq!(distance, Some(ClockTime::from_mseconds(500)));
    assert_eq!(got[1].duration, Some(ClockTime::from_mseconds(1500)));
}

#[test]
fn a_file_of_subtitles_is_published_in_time() {
    common::init();
    let folder = tempfile::tempdir().expect("a folder");
    let file = write_srt(
        folder.path(),
        "1\n00:00:00,000 --> 00:00:00,900\n<i>one</i>\n\n\
         2\n00:00:01,000 --> 00:00:01,500\ntwo\n\n3\n00:00:02,000 --> 00:00:02,250\nthree\n",
    );
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("srt");
    let viewer = Viewer::start(&relay.url(), &broadcast);
    let subscriber = Running::play(&format!(
        "{} latency=1000 moq.text_0 ! fakesink sync=false async=false",
        moqsrc(&relay.url(), &broadcast)
    ));
    let publisher = Running::play(&format!(
        "filesrc location=\"{file}\" ! subparse ! {}",
        moqsink(&relay.url(), &broadcast)
    ));
    let pad = wait_pad(&subscriber.element("moq"), "text_0", DEADLINE);
    let packets = Packets::of(&pad);
    publisher.wait_eos();
    let got = packets.wait_eos(DEADLINE);
    let last = got.last().expect("a cue");
    assert_eq!(texts(&got).last(), Some(&"three"));
    assert_eq!(last.duration, Some(ClockTime::from_mseconds(250)));
    let seen = viewer.wait("the cues come", DEADLINE, |seen| {
        seen.frames("text").len() == 3
    });
    let times: Vec<u64> = seen.frames("text").iter().map(|f| f.timestamp).collect();
    assert_eq!([times[1] - times[0], times[2] - times[1]], [1_000_000; 2]);
}

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

/// The brightest pixel of the pictures that come, until `reached`.
fn wait_brightness(pictures: &Packets, claim: &str, reached: impl Fn(u8) -> bool) {
    let end = std::time::Instant::now() + DEADLINE;
    loop {
        let packets = pictures.wait_count(pictures.count() + 1, DEADLINE);
        let luma = &packets.last().expect("a picture").bytes[..320 * 240];
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
    // A second of pictures later.
    viewer.wait("pictures come", DEADLINE, |seen| {
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
fn text_in_another_encoding_harms_that_cue_alone() {
    common::init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("latin1");
    let viewer = Viewer::start(&relay.url(), &broadcast);
    let cues = Cues::start(&relay, &broadcast, UTF8, "", "");
    let latin1 = gst::Buffer::from_slice(b"caf\xe9".as_slice());
    cues.source
        .push_buffer(latin1)
        .expect("the buffer is taken");
    let warning = common::wait_message(
        &cues.pipeline.bus(),
        &[gst::MessageType::Warning],
        Duration::from_secs(10),
    );
    let warning = common::pipeline::describe(&warning);
    assert!(warning.contains("the text is not UTF-8"), "{warning}");
    cues.push("next", None);
    viewer.wait("the next cue comes", DEADLINE, |seen| {
        seen.frames("text").len() == 1
    });
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

#[test]
fn language_and_title_arrive_as_tags() {
    common::init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("language");
    let pipeline = Running::play(&format!(
        "appsrc name=cues is-live=true do-timestamp=true format=time caps={UTF8} ! \
         taginject tags=\"language-code=de,title=Untertitel\" ! {}",
        moqsink(&relay.url(), &broadcast)
    ));
    let source = pipeline.element("cues").downcast::<gst_app::AppSrc>();
    let source = source.expect("an appsrc");
    let cue = || gst::Buffer::from_slice("eins");
    source.push_buffer(cue()).expect("the cue is taken");
    let (subscriber, packets) = subscribe(&relay, &broadcast);
    packets.wait_count(1, DEADLINE);
    let viewer = Viewer::start(&relay.url(), &broadcast);
    viewer.wait("the catalog tells both", DEADLINE, |seen| {
        seen.catalog()
            .text
            .renditions
            .get("text")
            .is_some_and(|text| {
                (text.lang.as_deref(), text.label.as_deref()) == (Some("de"), Some("Untertitel"))
            })
    });
    let pad = wait_pad(&subscriber.element("moq"), "text_0", DEADLINE);
    let tags = pad.sticky_event::<gst::event::Tag>(0).expect("tags");
    let language = tags.tag().get::<gst::tags::LanguageCode>();
    assert_eq!(
        language.map(|tag| tag.get().to_owned()).as_deref(),
        Some("de")
    );
}
