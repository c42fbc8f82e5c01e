// SPDX-License-Identifier: MIT
//! What a pad gets as its track comes, goes and is refused.

use super::*;
use crate::source::catalog;

/// A pad of an audio track, whose thread is the test.
fn audio_pad() -> (Subscription, mpsc::Receiver<Message>) {
    gst::init().expect("GStreamer initializes");
    let entry = catalog::audio_entry("audio");
    let stream = gst::Stream::new(
        None,
        None,
        gst::StreamType::AUDIO,
        gst::StreamFlags::empty(),
    );
    let (config, group) = (Arc::new(Config::for_test()), gst::GroupId::next());
    let name = "audio_0".to_owned();
    let (mut pad, other) = Subscription::new(config, 0, name, entry, stream, group);
    pad.link(1);
    (pad, other.messages)
}

/// What the pad is sent, by first letters.
fn sent(pad: &mut Subscription, messages: &mpsc::Receiver<Message>) -> String {
    pad.resume(None, &mut JoinSet::new());
    let letter = |message| match message {
        Message::Caps { revived: true, .. } => 'R',
        Message::Caps { .. } => 'C',
        Message::Eos(_) => 'E',
        _ => '?',
    };
    messages.try_iter().map(letter).collect()
}

#[test]
fn a_refusal_of_an_older_wish_comes_too_late() {
    let (mut pad, _messages) = audio_pad();
    pad.want(2);
    pad.refuse(1);
    assert!(pad.is_wanted());
    pad.refuse(2);
    assert!(!pad.is_wanted());
    pad.unlink();
    pad.want(3);
    assert!(!pad.is_wanted(), "nobody is linked");
    pad.link(4);
    assert!(pad.is_wanted());
}

#[test]
fn a_track_that_is_gone_is_eos_once_and_begins_anew_when_it_is_listed_again() {
    let (mut pad, messages) = audio_pad();
    assert_eq!(sent(&mut pad, &messages), "");
    pad.delist();
    assert!(pad.listed_stream().is_none());
    assert_eq!(sent(&mut pad, &messages), "E");
    pad.finish();
    assert_eq!(sent(&mut pad, &messages), "");
    pad.update(catalog::audio_entry("audio"));
    assert!(pad.listed_stream().is_some() && pad.is_wanted());
    assert_eq!(sent(&mut pad, &messages), "R");
}

#[test]
fn a_pad_whose_downstream_takes_nothing_more_stays_ended_while_its_track_is_listed() {
    let (mut pad, messages) = audio_pad();
    pad.close();
    pad.update(catalog::audio_entry("audio"));
    assert!(!pad.is_wanted());
    pad.end(None);
    assert_eq!(sent(&mut pad, &messages), "");
    pad.delist();
    pad.update(catalog::audio_entry("audio-2"));
    assert_eq!(sent(&mut pad, &messages), "R");
}

#[test]
fn a_track_that_follows_one_that_was_finished_is_read_from_its_start() {
    let (mut pad, _messages) = audio_pad();
    pad.reading = Reading::Finished;
    pad.update(catalog::audio_entry("audio"));
    assert!(matches!(pad.reading, Reading::Finished), "the same track");
    pad.update(catalog::audio_entry("audio-2"));
    assert!(matches!(pad.reading, Reading::Continuing));
    pad.unlink();
    pad.resume(None, &mut JoinSet::new());
    assert!(matches!(pad.reading, Reading::Idle(_)), "nobody takes it");
}

#[test]
fn it_is_so_though_a_catalog_between_the_two_has_neither() {
    let (mut pad, messages) = audio_pad();
    pad.reading = Reading::Finished;
    pad.delist();
    assert_eq!(sent(&mut pad, &messages), "E");
    pad.update(catalog::audio_entry("audio-2"));
    assert!(matches!(pad.reading, Reading::Continuing));
}
