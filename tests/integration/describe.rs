// SPDX-License-Identifier: MIT
//! What tags say reaches the catalog, and comes out as tags.

use gst::prelude::*;

use crate::common::{
    self, Packets, Relay, Running, Viewer,
    media::{self, moqsink, moqsrc},
    pipeline::{DEADLINE, describe, wait_message_that, wait_pad, wait_until},
    unique_broadcast,
};

/// A TAG event of these tags.
fn tag(scope: gst::TagScope, fill: impl FnOnce(&mut gst::TagListRef)) -> gst::Event {
    let mut list = gst::TagList::new();
    let tags = list.make_mut();
    tags.set_scope(scope);
    fill(tags);
    gst::event::Tag::new(list)
}

fn orientation(text: &str) -> gst::Event {
    tag(gst::TagScope::Stream, |tags| {
        tags.add::<gst::tags::ImageOrientation>(&text, gst::TagMergeMode::Append);
    })
}

/// Lets `event` follow the pad's next buffer, as an element upstream would send it.
fn send(pad: &gst::Pad, event: gst::Event) {
    let event = std::sync::Mutex::new(Some(event));
    let peer = pad.peer().expect("a linked pad");
    peer.add_probe(gst::PadProbeType::BUFFER, move |pad, _| {
        let event = event.lock().expect("no panic").take();
        if let Some(event) = event {
            pad.push_event(event);
        }
        gst::PadProbeReturn::Remove
    });
}

/// The newest value of a tag among the TAG events so far.
fn said<'a, T>(packets: &Packets) -> Option<T::TagType>
where
    T: Tag<'a>,
    T::TagType: 'static + for<'v> gst::glib::value::FromValue<'v> + Clone,
{
    let events = packets.events();
    events.iter().rev().find_map(|event| match event.view() {
        gst::EventView::Tag(tag) => tag.tag_owned().generic(T::TAG_NAME)?.get().ok(),
        _ => None,
    })
}

/// The newest text of a tag on the pad.
fn text(pad: &gst::Pad, name: &str) -> Option<String> {
    let event = pad.sticky_event::<gst::event::Tag>(0)?;
    event.tag().generic(name)?.get().ok()
}

#[test]
fn tags_come_out_as_tags_and_again_when_they_change() {
    common::init();
    let relay = Relay::start().expect("a relay");
    let broadcast = unique_broadcast("tags");
    let subscriber = Running::play(&format!(
        "{} moq.video_0 ! fakesink moq.audio_0 ! fakesink",
        moqsrc(&relay.url(), &broadcast)
    ));
    let publisher = Running::launch(&media::publish_live(&relay.url(), &broadcast));
    let sink = publisher.element("moq");
    let [video, audio] = ["sink_0", "sink_1"].map(|name| wait_pad(&sink, name, DEADLINE));
    send(&video, orientation("flip-rotate-90"));
    let title = tag(gst::TagScope::Stream, |tags| {
        tags.add::<gst::tags::Title>(&"holiday", gst::TagMergeMode::Append);
    });
    send(&audio, title);
    // What is said of the whole film is no name of a track.
    let film = tag(gst::TagScope::Global, |tags| {
        tags.add::<gst::tags::Title>(&"film", gst::TagMergeMode::Append);
    });
    send(&video, film);
    publisher.start();

    let source = subscriber.element("moq");
    let [pictures, sound] = ["video_0", "audio_0"].map(|name| wait_pad(&source, name, DEADLINE));
    let packets = Packets::of(&pictures);
    wait_until("the tags come", DEADLINE, || {
        text(&pictures, "image-orientation").as_deref() == Some("flip-rotate-90")
            && text(&sound, "title").as_deref() == Some("holiday")
    });
    assert_eq!(text(&pictures, "title"), None, "it is the audio's");
    assert!(text(&pictures, "video-codec").is_some_and(|codec| codec.contains("H.264")));
    assert!(text(&sound, "audio-codec").is_some_and(|codec| codec.contains("AAC")));
    let caps = pictures.current_caps().expect("caps");
    let structure = caps.structure(0).expect("a structure");
    assert_eq!(structure.get("width"), Ok(320));
    assert_eq!(structure.get("framerate"), Ok(gst::Fraction::new(30, 1)));

    send(&video, orientation("rotate-180"));
    let bitrate = tag(gst::TagScope::Stream, |tags| {
        tags.add::<gst::tags::MaximumBitrate>(&7_654_321, gst::TagMergeMode::Append);
    });
    wait_until("the new tags come", DEADLINE, || {
        // The parser before the pad says its own bitrate now and then.
        send(&video, bitrate.clone());
        text(&pictures, "image-orientation").as_deref() == Some("rotate-180")
            && said::<gst::tags::NominalBitrate>(&packets) == Some(7_654_321)
    });
    let stream = pictures.stream().expect("a stream");
    wait_until("the stream has the tags, too", DEADLINE, || {
        let tags = stream.tags();
        let orientation = tags.and_then(|tags| tags.generic("image-orientation")?.get().ok());
        orientation == Some("rotate-180".to_owned())
    });
    assert_eq!(source.pads().len(), 2, "no pad was added");
}

#[test]
fn the_language_of_sound_is_in_both_catalogs() {
    common::init();
    let relay = Relay::start().expect("a relay");
    let broadcast = unique_broadcast("speech");
    let publisher = Running::launch(&format!(
        "{} ! moq.sink_0 {}",
        media::live_opus(),
        moqsink(&relay.url(), &broadcast)
    ));
    let sink = wait_pad(&publisher.element("moq"), "sink_0", DEADLINE);
    let speaks = |language: &str| {
        tag(gst::TagScope::Stream, |tags| {
            tags.add::<gst::tags::LanguageCode>(&language, gst::TagMergeMode::Append);
        })
    };
    send(&sink, speaks("de"));
    publisher.start();
    let subscribers = ["hang", "msf"].map(|format| {
        Running::play(&format!(
            "{} catalog-format={format} moq.audio_0 ! fakesink",
            moqsrc(&relay.url(), &broadcast)
        ))
    });
    let pads = subscribers
        .each_ref()
        .map(|subscriber| wait_pad(&subscriber.element("moq"), "audio_0", DEADLINE));
    let both = |language: &str| {
        let mut said = pads.iter().map(|pad| text(pad, "language-code"));
        said.all(|said| said.as_deref() == Some(language))
    };
    wait_until("the language comes", DEADLINE, || both("de"));
    send(&sink, speaks("fr"));
    wait_until("another one comes", DEADLINE, || both("fr"));
}

#[test]
fn the_first_pad_says_how_pictures_are_turned() {
    common::init();
    let relay = Relay::start().expect("a relay");
    let broadcast = unique_broadcast("turned");
    let viewer = Viewer::start(&relay.url(), &broadcast);
    let video = media::Video::default().live();
    let publisher = Running::launch(&format!(
        "{video} ! queue ! moq.sink_0 {video} ! queue ! moq.sink_1 {}",
        moqsink(&relay.url(), &broadcast)
    ));
    let sink = publisher.element("moq");
    let pads = ["sink_0", "sink_1"].map(|name| wait_pad(&sink, name, DEADLINE));
    for (pad, text) in pads.iter().zip(["rotate-90", "rotate-270"]) {
        send(pad, orientation(text));
    }
    publisher.start();
    let warning = wait_message_that(&publisher.bus(), DEADLINE, |message| {
        message.type_() == gst::MessageType::Warning
    });
    let warning = describe(&warning.expect("a warning"));
    assert!(
        warning.contains("orientation") && warning.contains("sink_1"),
        "{warning}"
    );
    let wanted = |rotation| {
        move |seen: &common::viewer::Seen| {
            let video = seen.catalog().video;
            video.rotation == Some(rotation) && video.flip == Some(false)
        }
    };
    viewer.wait("the first pad's", DEADLINE, wanted(90.0));
    send(&pads[1], orientation("rotate-180"));
    sink.release_request_pad(&pads[0]);
    viewer.wait("the other's", DEADLINE, wanted(180.0));
    let bus = publisher.bus();
    assert!(bus.pop_filtered(&[gst::MessageType::Warning]).is_none());
}
