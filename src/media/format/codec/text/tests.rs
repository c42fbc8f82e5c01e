// SPDX-License-Identifier: MIT

use super::*;
use crate::media::format::caps::{self, InputStream};

const SPAN: Span = Span {
    begin: ClockTime::from_mseconds(61_500),
    duration: Some(ClockTime::from_seconds(2)),
};

fn stream(caps: &str, plain: bool) -> InputStream {
    gst::init().expect("GStreamer initializes");
    let caps: gst::Caps = caps.parse().expect("caps");
    let mut stream = InputStream::from_caps(&caps).expect("the caps are taken");
    stream.set_text(&TextSettings {
        plain,
        role: hang::catalog::TextRole::Caption,
    });
    stream
}

fn sent(stream: &mut InputStream, text: &str, span: Span) -> String {
    let payload = Bytes::copy_from_slice(text.as_bytes());
    let sent = stream.prepare_at(payload, true, span).expect("text");
    String::from_utf8(sent.to_vec()).expect("UTF-8")
}

#[test]
fn each_input_becomes_what_players_read() {
    const CUE: &str = "WEBVTT\n\n00:01:01.500 --> 00:01:03.500";
    for (caps, text, expected) in [
        (
            "text/x-raw,format=utf8",
            "a <b> & c\n\nd",
            "\na &lt;b&gt; &amp; c\nd\n",
        ),
        ("text/x-raw,format=utf8", "a --> b\0", "\na --&gt; b\n"),
        (
            "text/x-raw,format=pango-markup",
            "<span size=\"1\"><i>a</i> &amp;</span>",
            "\n<i>a</i> &amp;\n",
        ),
        ("application/x-subtitle-vtt", "<v Ann>a", "\n<v Ann>a\n"),
        (
            "application/x-subtitle-vtt",
            "00:00:07.000 --> 00:00:09.000 line:0\na\n\n",
            " line:0\na\n",
        ),
    ] {
        let sent = sent(&mut stream(caps, false), text, SPAN);
        assert_eq!(sent, format!("{CUE}{expected}"), "{caps}: {text}");
    }
}

#[test]
fn cues_of_one_piece_keep_their_distance() {
    let piece = "WEBVTT\n\n00:10.000 --> 00:11.000\na\n\n00:12.000 --> 00:13.000\nb\n";
    let sent = sent(
        &mut stream("application/x-subtitle-vtt", false),
        piece,
        SPAN,
    );
    assert!(sent.contains("00:01:01.500 --> 00:01:02.500\na"), "{sent}");
    assert!(sent.contains("00:01:03.500 --> 00:01:04.500\nb"), "{sent}");
}

#[test]
fn nothing_is_sent_of_what_has_no_cue() {
    for (caps, text) in [
        ("text/x-raw,format=utf8", ""),
        ("text/x-raw,format=utf8", " \n"),
        ("text/x-raw,format=pango-markup", "<b></b>"),
        ("application/x-subtitle-vtt", "WEBVTT\n\n"),
        ("application/x-subtitle-vtt", "NOTE a"),
    ] {
        assert_eq!(sent(&mut stream(caps, false), text, SPAN), "", "{text}");
    }
}

#[test]
fn a_cue_without_duration_ends_all_the_same() {
    let span = Span {
        duration: None,
        ..SPAN
    };
    let sent = sent(&mut stream("text/x-raw,format=utf8", false), "a", span);
    assert!(sent.contains("00:01:01.500 --> 00:01:06.500"), "{sent}");
}

#[test]
fn plain_text_is_what_is_read() {
    for (caps, text) in [
        ("text/x-raw,format=utf8", "a <b>"),
        ("text/x-raw,format=pango-markup", "<i>a</i> &lt;b&gt;"),
    ] {
        let mut stream = stream(caps, true);
        assert_eq!(sent(&mut stream, text, SPAN), "a <b>");
        assert!(stream.clears());
        let rendition = stream.rendition().expect("a rendition");
        assert_eq!(rendition.codec(), "utf8");
        let shown = cues(rendition, &Bytes::from_static(b"a <b>"));
        assert_eq!(shown[0].text, "a <b>");
        assert_eq!(shown[0].duration, None);
    }
}

#[test]
fn text_in_another_encoding_is_refused_alone() {
    let mut stream = stream("text/x-raw,format=utf8", false);
    let latin1 = Bytes::from_static(b"caf\xe9");
    assert_eq!(
        stream.prepare_at(latin1, true, SPAN),
        Err(FrameError::NotText)
    );
    assert_ne!(sent(&mut stream, "next", SPAN), "");
}

#[test]
fn styled_cues_come_back_as_they_were() {
    let text = "<b>a</b> &lt;\nb";
    let mut stream = stream("text/x-raw,format=pango-markup", false);
    let sent = sent(&mut stream, text, SPAN);
    let rendition = stream.rendition().expect("a rendition");
    let expected = TimedText {
        after: ClockTime::ZERO,
        duration: SPAN.duration,
        text: text.into(),
    };
    assert_eq!(cues(rendition, &sent.into()), [expected]);
    let caps = caps::from_rendition(rendition).expect("caps");
    assert_eq!(caps.to_string(), "text/x-raw, format=(string)pango-markup");
}

#[test]
fn several_cues_of_a_frame_are_told_apart() {
    let config = TextConfig::new(TextFormat::Vtt);
    let segment = "WEBVTT\n\n00:05.000 --> 00:06.000\na\n\n00:07.000 --> 00:08.500\n<c>b</c>\n\n\
        00:09.000 --> 00:09.500\n \n\n99:00:00.000 --> 99:00:01.000\nfar\n";
    let shown = cues(&Rendition::Text(config), &segment.into());
    let times: Vec<_> = shown
        .iter()
        .map(|cue| (cue.after.mseconds(), cue.duration.map(ClockTime::mseconds)))
        .collect();
    assert_eq!(times, [(0, Some(1000)), (2000, Some(1500))]);
    assert_eq!(shown[1].text, "b");
}

#[test]
fn an_unknown_format_is_left_out() {
    let config = TextConfig::new(TextFormat::Unknown("cea708".into()));
    let rendition = Rendition::Text(config);
    assert!(caps::from_rendition(&rendition).is_err());
    assert_eq!(cues(&rendition, &Bytes::from_static(b"a")), []);
}

#[test]
fn a_file_of_subtitles_is_refused_with_a_hint() {
    gst::init().expect("GStreamer initializes");
    for (caps, hint) in [
        ("application/x-subtitle", "insert subparse"),
        ("application/x-ass", "insert ssaparse"),
    ] {
        let caps: gst::Caps = caps.parse().expect("caps");
        let error = InputStream::from_caps(&caps).expect_err("no cues");
        assert!(error.to_string().contains(hint), "{error}");
    }
}
