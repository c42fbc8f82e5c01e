// SPDX-License-Identifier: MIT
//! A publisher that changes its format while it plays is followed on the same pad.

use gst::prelude::*;

use crate::common::{
    self, Packet, Packets, Path, Proxy, Relay, Running,
    media::{moqsink, moqsrc},
    pipeline::{DEADLINE, wait_message_that, wait_pad, wait_property, wait_until},
    unique_broadcast,
};

/// One group of the frames below, and what a busy machine adds.
const GROUP: gst::ClockTime = gst::ClockTime::from_mseconds(500);

/// Live video of a size that the element `size` says, in groups of half a second.
const SIZED: &str = "videotestsrc is-live=true ! \
    capsfilter name=size caps=video/x-raw,width=320,height=240,framerate=30/1 ! \
    x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15";

fn size(width: i32, height: i32) -> gst::Caps {
    gst::Caps::builder("video/x-raw")
        .field("width", width)
        .field("height", height)
        .field("framerate", gst::Fraction::new(30, 1))
        .build()
}

/// What a source pad has given: its formats, each with the frames of it.
fn by_format(events_and_buffers: &Order) -> Vec<(gst::Caps, Vec<Packet>)> {
    events_and_buffers.lock().expect("no panic").clone()
}

type Order = std::sync::Arc<std::sync::Mutex<Vec<(gst::Caps, Vec<Packet>)>>>;

/// Collects the frames that pass `pad` by the caps that they have.
fn collect(pad: &gst::Pad) -> Order {
    let order = Order::default();
    let shared = order.clone();
    let types = gst::PadProbeType::BUFFER;
    let packets = Packets::of(pad);
    pad.add_probe(types, move |pad, _| {
        let caps = pad.current_caps().expect("caps come first");
        let packet = packets.so_far().pop().expect("the probe before this one");
        let mut formats = shared.lock().expect("no panic");
        match formats.last_mut().filter(|(last, _)| *last == caps) {
            Some((_, packets)) => packets.push(packet),
            None => formats.push((caps, vec![packet])),
        }
        gst::PadProbeReturn::Ok
    });
    order
}

/// How much time lies between the last frame of one format and the first of the next.
fn gap(before: &[Packet], after: &[Packet]) -> gst::ClockTime {
    let last = before.iter().filter_map(|packet| packet.pts).max();
    let first = after.first().and_then(|packet| packet.pts);
    let (last, first) = last.zip(first).expect("frames with times");
    assert!(first > last, "time goes on: {last} to {first}");
    first - last
}

fn field<T>(caps: &gst::Caps, name: &str) -> Option<T>
where
    T: for<'a> gst::glib::value::FromValue<'a> + 'static,
{
    caps.structure(0)?.get(name).ok()
}

fn width_reaches(sink: &gst::Element, width: i32) {
    let pad = sink.static_pad("sink").expect("a sink's pad");
    wait_until(&format!("a frame {width} wide"), DEADLINE, || {
        let caps = pad.current_caps();
        caps.and_then(|caps| field::<i32>(&caps, "width")) == Some(width)
    });
}

/// Waits for the message that a pad goes on with this track, in caps of this width.
fn told(pipeline: &Running, pad: &str, track: &str, width: i32) {
    let told = wait_message_that(&pipeline.bus(), DEADLINE, |message| {
        let change = message.structure();
        change.is_some_and(|change| change.name() == "moq-rendition-changed")
    });
    let told = told.unwrap_or_else(|| panic!("{pad} reports its change"));
    let change = told.structure().expect("an element message");
    assert_eq!(change.get::<String>("pad").as_deref(), Ok(pad));
    assert_eq!(change.get::<String>("track").as_deref(), Ok(track));
    let caps = change.get::<gst::Caps>("caps").expect("caps");
    assert_eq!(field(&caps, "width"), Some(width), "{caps}");
}

#[test]
fn another_resolution_goes_on_on_the_same_pad() {
    common::init();
    let relay = Relay::start().expect("a relay");
    let in_band = "video/x-h264,stream-format=byte-stream,profile=main ! \
        capssetter replace=true caps=video/x-h264,stream-format=byte-stream,alignment=au";
    for (format, track) in [
        ("h264parse ! video/x-h264,stream-format=avc", "camera-2"),
        (
            "h264parse ! video/x-h264,stream-format=byte-stream",
            "camera-2",
        ),
        // The caps say nothing: the parameter sets of the next keyframe do.
        (in_band, "camera"),
    ] {
        let broadcast = unique_broadcast("resolution");
        let subscriber = Running::play(&format!(
            "{} moq.video_0 ! avdec_h264 ! fakesink name=out",
            moqsrc(&relay.url(), &broadcast)
        ));
        let publisher = Running::play(&format!(
            "{SIZED} ! {format} ! moq.sink_0 {} sink_0::track=camera",
            moqsink(&relay.url(), &broadcast)
        ));
        let source = subscriber.element("moq");
        let pad = wait_pad(&source, "video_0", DEADLINE);
        let order = collect(&pad);
        let out = subscriber.element("out");
        width_reaches(&out, 320);
        publisher
            .element("size")
            .set_property("caps", size(640, 480));
        width_reaches(&out, 640);
        wait_property(&pad, "track", DEADLINE, |name: &Option<String>| {
            name.as_deref() == Some(track)
        });
        told(&publisher, "sink_0", track, 640);
        told(&subscriber, "video_0", track, 640);

        let formats = by_format(&order);
        let widths: Vec<_> = formats
            .iter()
            .map(|(caps, _)| field(caps, "width"))
            .collect();
        assert_eq!(widths, [Some(320), Some(640)], "{format}");
        let (before, after) = (&formats[0].1, &formats[1].1);
        assert!(after[0].flags.contains(gst::BufferFlags::DISCONT));
        assert!(after[0].is_key());
        let gap = gap(before, after);
        println!("{format}: {gap} from one resolution to the next");
        assert!(gap <= GROUP, "{format}: {gap}");
        assert_eq!(source.num_src_pads(), 1);
    }
}

#[test]
fn a_long_way_loses_nothing_of_a_change() {
    common::init();
    let relay = Relay::start().expect("a relay");
    let path = Path {
        delay: std::time::Duration::from_millis(80),
        ..Path::default()
    };
    let proxy = Proxy::start(relay.addr(), path).expect("a proxy");
    let broadcast = unique_broadcast("far");
    let subscriber = Running::play(&format!(
        "{} moq.video_0 ! fakesink",
        moqsrc(&proxy.url(), &broadcast)
    ));
    let publisher = Running::play(&format!(
        "{SIZED} ! h264parse ! moq.sink_0 {}",
        moqsink(&proxy.url(), &broadcast)
    ));
    let pad = wait_pad(&subscriber.element("moq"), "video_0", DEADLINE);
    let order = collect(&pad);
    let wait_frames = |format: usize| {
        wait_until("more than a group", DEADLINE, || {
            let formats = by_format(&order);
            formats
                .get(format)
                .is_some_and(|(_, frames)| frames.len() > 20)
        });
    };
    wait_frames(0);
    publisher
        .element("size")
        .set_property("caps", size(640, 480));
    wait_frames(1);
    let formats = by_format(&order);
    let gap = gap(&formats[0].1, &formats[1].1);
    println!("{gap} from one resolution to the next");
    // The answer to a new subscription takes longer than that, and a group does, too.
    assert!(gap <= gst::ClockTime::from_mseconds(100), "{gap}");
}

#[test]
fn another_codec_goes_on_on_the_same_pad() {
    common::init();
    let relay = Relay::start().expect("a relay");
    let broadcast = unique_broadcast("codec");
    let subscriber = Running::play(&format!(
        "{} moq.audio_0 ! fakesink",
        moqsrc(&relay.url(), &broadcast)
    ));
    let source = "audiotestsrc is-live=true wave=pink-noise samplesperbuffer=960 ! \
        audio/x-raw,rate=48000,channels=2 ! audioconvert";
    let publisher = Running::play(&format!(
        "{source} ! avenc_aac ! aacparse ! select.sink_0 {source} ! opusenc ! opusparse ! select.sink_1 \
         input-selector name=select sync-streams=false ! moq.sink_0 {}",
        moqsink(&relay.url(), &broadcast)
    ));
    let pad = wait_pad(&subscriber.element("moq"), "audio_0", DEADLINE);
    let order = collect(&pad);
    let wait_frames = |format: usize| {
        wait_until(&format!("frames of format {format}"), DEADLINE, || {
            let formats = by_format(&order);
            formats
                .get(format)
                .is_some_and(|(_, frames)| frames.len() > 10)
        });
    };
    wait_frames(0);
    let select = publisher.element("select");
    let opus = select.static_pad("sink_1");
    select.set_property("active-pad", opus);
    wait_frames(1);

    let formats = by_format(&order);
    let names: Vec<_> = formats
        .iter()
        .filter_map(|(caps, _)| Some(caps.structure(0)?.name().to_string()))
        .collect();
    assert_eq!(names, ["audio/mpeg", "audio/x-opus"]);
    let after = &formats[1].1;
    assert!(after[0].flags.contains(gst::BufferFlags::DISCONT));
    let gap = gap(&formats[0].1, after);
    println!("{gap} from one codec to the next");
    assert!(gap <= gst::ClockTime::from_mseconds(200), "{gap}");
}

#[test]
fn two_tracks_that_change_at_once_keep_their_pads() {
    common::init();
    let relay = Relay::start().expect("a relay");
    let broadcast = unique_broadcast("swap");
    let sized = |name: &str| {
        let one = SIZED.replace("name=size", &format!("name={name}"));
        format!("{one} ! h264parse ! video/x-h264,stream-format=avc")
    };
    let publisher = Running::launch(&format!(
        "{} ! moq.sink_0 {} ! moq.sink_1 {}",
        sized("first"),
        sized("second"),
        moqsink(&relay.url(), &broadcast)
    ));
    // The first is wide, the second is high, whatever their size.
    let wide = |step: i32| size(320 + 16 * step, 160);
    let high = |step: i32| size(160, 320 + 16 * step);
    let change = |step: i32| {
        for (name, caps) in [("first", wide(step)), ("second", high(step))] {
            publisher.element(name).set_property("caps", caps);
        }
    };
    change(0);
    publisher.start();
    let subscriber = Running::play(&format!(
        "{} moq.video_0 ! fakesink name=a sync=false moq.video_1 ! fakesink name=b sync=false",
        moqsrc(&relay.url(), &broadcast)
    ));
    let is_wide = |name: &str| {
        let pad = subscriber.element(name).static_pad("sink").expect("a pad");
        let caps = pad.current_caps()?;
        let (width, height) = (
            field::<i32>(&caps, "width")?,
            field::<i32>(&caps, "height")?,
        );
        Some((width > height, width.max(height)))
    };
    let seen = |step: i32| {
        for name in ["a", "b"] {
            wait_until(&format!("{name} has step {step}"), DEADLINE, || {
                is_wide(name).is_some_and(|(_, most)| most == 320 + 16 * step)
            });
        }
        ["a", "b"].map(|name| is_wide(name).map(|(wide, _)| wide))
    };
    let first = seen(0);
    assert_ne!(first[0], first[1]);
    for step in 1..=3 {
        change(step);
        assert_eq!(seen(step), first, "after {step} changes");
    }
}
