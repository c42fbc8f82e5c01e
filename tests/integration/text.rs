// SPDX-License-Identifier: MIT
//! Cues of every format, from buffer to wire to buffer.

use std::time::Duration;

use gst::{ClockTime, prelude::*};
use hang::catalog::{TextFormat, TextRole};

use crate::common::{
    self, Packets, Publisher, Relay, Running, Viewer,
    cues::{Cues, subscribe, texts, write_srt},
    media::{moqsink, moqsrc},
    pipeline::{DEADLINE, wait_pad},
    publisher, unique_broadcast,
    viewer::Frame,
};

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
        // Players show a cue when its group is complete.
        let seen = viewer.wait("the cue and the end of its group come", DEADLINE, |seen| {
            seen.frames("text").len() == 1 && seen.complete.get("text") == Some(&1)
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
fn downstream_that_reconfigures_is_asked_again_which_text_it_takes() {
    common::init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("asked-again");
    let cues = Cues::start(&relay, &broadcast, PANGO, "", "");
    cues.push("<b>a</b>", Some(ClockTime::SECOND));
    let subscriber = Running::launch(&format!(
        "{} moq.text_0 ! capsfilter name=filter caps=text/x-raw ! fakesink name=out sync=false",
        moqsrc(&relay.url(), &broadcast)
    ));
    let packets = Packets::into_sink(&subscriber.element("out"));
    subscriber.start();
    let mut seen = packets.wait_count(1, DEADLINE).len();
    assert_eq!(texts(&packets.so_far())[0], "<b>a</b>");
    let filter = subscriber.element("filter");
    for (caps, text) in [(UTF8, "a"), ("text/x-raw", "<b>a</b>"), (UTF8, "a")] {
        let caps: gst::Caps = caps.parse().expect("caps");
        filter.set_property("caps", &caps);
        cues.push("<b>a</b>", Some(ClockTime::SECOND));
        let got = packets.wait_count(seen + 1, DEADLINE);
        seen = got.len();
        assert_eq!(texts(&got).last().map(|last| &**last), Some(text), "{caps}");
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
