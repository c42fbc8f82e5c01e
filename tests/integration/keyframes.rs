// SPDX-License-Identifier: MIT
//! Which frames begin a group, and what a subscriber gets who joins there.

use std::time::{Duration, Instant};

use gst::prelude::*;

use super::{demand::Upstream, listen::Host};
use crate::common::{
    Packet, Packets, Publisher, Relay, Running, Viewer, init,
    media::{Video, moqsink, moqsrc},
    nal::{FRAMES, GOP, X264, X264_FAST, X265, source},
    pipeline::{DEADLINE, describe, wait_message_that, wait_pad, wait_until},
    unique_broadcast,
};

/// A pipeline that publishes live video.
fn live(relay: &Relay, broadcast: &str, encoder: &str) -> (Running, gst::Pad) {
    let publisher = Running::launch(&format!(
        "{} ! {encoder} ! moq.sink_0 {}",
        source(100_000).replace("videotestsrc", "videotestsrc is-live=true"),
        moqsink(&relay.url(), broadcast)
    ));
    let pad = wait_pad(&publisher.element("moq"), "sink_0", DEADLINE);
    (publisher, pad)
}

#[test]
fn one_joins_an_open_gop_of_h265_without_its_leading_pictures() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("open-gop");
    let (publisher, pad) = live(&relay, &broadcast, X265);
    let sent = Packets::of(&pad);
    publisher.start();
    sent.wait_count(2 * GOP, DEADLINE);
    let subscriber = Running::play(&format!(
        "{} moq.video_0 ! avdec_h265 ! fakesink name=out",
        moqsrc(&relay.url(), &broadcast)
    ));
    let got = Packets::of_pad(&subscriber.element("moq"), "video_0");
    let pictures = Packets::into_sink(&subscriber.element("out"));
    let pictures = pictures.wait_count(2 * GOP, DEADLINE);
    let got = got.so_far();
    assert!(got[0].is_key());
    let type_of = |packet: &Packet| {
        let mut units = packet.bytes.windows(4);
        let slice = |code: &[u8]| code[..3] == [0, 0, 1] && (code[3] >> 1) < 32;
        units.find(|code| slice(code)).map(|code| code[3] >> 1)
    };
    const CRA: u8 = 21;
    const RASL: [u8; 2] = [8, 9];
    assert_eq!(type_of(&got[0]), Some(CRA), "it begins with an open GOP");
    assert!(
        sent.so_far()
            .iter()
            .any(|packet| type_of(packet).is_some_and(|kind| RASL.contains(&kind))),
        "the encoder makes leading pictures"
    );
    let begin = got[0].pts;
    let next_key = got[1..].iter().position(Packet::is_key);
    for packet in &got[1..=next_key.expect("a second group comes")] {
        assert!(packet.pts > begin, "no leading picture of the first group");
    }
    for pair in got.windows(2) {
        assert!(pair[0].dts < pair[1].dts);
    }
    let times: Vec<_> = pictures.iter().map(|picture| picture.pts).collect();
    assert!(times.is_sorted(), "{times:?}");
}

#[test]
fn intra_refresh_is_joined_at_a_recovery_point() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("refresh");
    let encoder = format!(
        "{X264_FAST} key-int-max=30 intra-refresh=true option-string=scenecut=0 \
         ! video/x-h264,stream-format=byte-stream"
    );
    let (publisher, pad) = live(&relay, &broadcast, &encoder);
    let sent = Packets::of(&pad);
    // Upstream marks nothing: the recovery points alone tell.
    mark(&pad, ALL_DELTAS);
    publisher.start();
    sent.wait_count(2 * GOP + 5, DEADLINE);
    let subscriber = Running::play(&format!(
        "{} moq.video_0 ! avdec_h264 ! fakesink name=out",
        moqsrc(&relay.url(), &broadcast)
    ));
    let got = Packets::of_pad(&subscriber.element("moq"), "video_0");
    let pictures = Packets::into_sink(&subscriber.element("out"));
    pictures.wait_count(2 * GOP, DEADLINE);
    let got = got.so_far();
    let sent = sent.so_far();
    let joined = sent.iter().position(|packet| packet.bytes == got[0].bytes);
    let joined = joined.expect("the first frame was sent");
    assert!(joined > 0 && joined % GOP == 0, "joined at frame {joined}");
    let idr = |packet: &Packet| {
        let mut units = packet.bytes.windows(4);
        units.any(|code| code[..3] == [0, 0, 1] && code[3] & 0x1f == 5)
    };
    assert!(idr(&sent[0]) && !sent[1..].iter().any(idr));
    let keys: Vec<_> = (0..got.len()).filter(|&at| got[at].is_key()).collect();
    assert!(
        keys.len() > 1 && keys.iter().all(|at| at % GOP == 0),
        "{keys:?}"
    );
}

const ALL_KEYS: fn(&mut gst::BufferFlags) = |flags| flags.remove(gst::BufferFlags::DELTA_UNIT);
const ALL_DELTAS: fn(&mut gst::BufferFlags) = |flags| flags.insert(gst::BufferFlags::DELTA_UNIT);

/// Changes the flags of each buffer that passes the pad.
fn mark(pad: &gst::Pad, change: fn(&mut gst::BufferFlags)) {
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if let Some(gst::PadProbeData::Buffer(buffer)) = &mut info.data {
            let mut flags = buffer.flags();
            change(&mut flags);
            let buffer = buffer.make_mut();
            buffer.unset_flags(gst::BufferFlags::DELTA_UNIT);
            buffer.set_flags(flags);
        }
        gst::PadProbeReturn::Ok
    });
}

#[test]
fn a_key_flag_that_lies_is_not_believed() {
    init();
    let relay = Relay::start().expect("the relay starts");
    for (encoder, lie, expected) in [
        // The B-frames before x265's second keyframe follow it.
        (X264, ALL_KEYS, [GOP, FRAMES - GOP]),
        (X265, ALL_KEYS, [GOP - 1, FRAMES - GOP + 1]),
        (X265, ALL_DELTAS, [GOP - 1, FRAMES - GOP + 1]),
    ] {
        let broadcast = unique_broadcast("lie");
        let viewer = Viewer::start(&relay.url(), &broadcast);
        let publisher = Running::launch(&format!(
            "{} ! {encoder} ! moq.sink_0 {}",
            source(FRAMES),
            moqsink(&relay.url(), &broadcast)
        ));
        let pad = wait_pad(&publisher.element("moq"), "sink_0", DEADLINE);
        mark(&pad, lie);
        publisher.start();
        publisher.wait_eos();
        let seen = viewer.wait("the track ends", DEADLINE, |seen| !seen.ended.is_empty());
        let groups = seen.tracks.values().next().expect("a track");
        let sizes: Vec<_> = groups.values().map(Vec::len).collect();
        assert_eq!(sizes, expected, "{encoder}");
    }
}

#[test]
fn a_lost_group_takes_the_leading_pictures_of_the_next_along() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("lost");
    let catalog = r#"{"video":{"renditions":{"v":
        {"codec":"hev1.1.6.L63.90","container":{"kind":"legacy"}}}}}"#;
    let publisher = Publisher::start(&relay.url(), &broadcast, catalog);
    let track = publisher.track("v");
    let subscriber = Running::play(&format!(
        "{} moq.video_0 ! fakesink name=out sync=false",
        moqsrc(&relay.url(), &broadcast)
    ));
    let got = Packets::into_sink(&subscriber.element("out"));
    publisher.wait_used(&track);
    // The frames of each group in decode order, by their time in ms; group 2 never comes.
    let groups: [(u64, &[u8], usize); 3] = [
        (0, &[0, 40], 2),
        (1, &[120, 80, 160], 5),
        (3, &[240, 200, 250], 7),
    ];
    for (sequence, times, count) in groups {
        let mut group = track
            .create_group(moq_net::group::Info { sequence })
            .expect("the track takes a group");
        for &time in times {
            let timestamp = moq_net::Timestamp::from_millis(time.into());
            hang::container::Frame {
                timestamp: timestamp.expect("a timestamp"),
                payload: vec![0, 0, 1, 0x28, time].into(),
            }
            .write_to(&mut group)
            .expect("the group takes a frame");
        }
        group.finish().expect("the group ends");
        got.wait_count(count, DEADLINE);
    }
    let got = got.so_far();
    let times: Vec<_> = got.iter().map(|packet| packet.bytes[4]).collect();
    assert_eq!(times, [0, 40, 120, 80, 160, 240, 250]);
    assert!(got[5].flags.contains(gst::BufferFlags::DISCONT));
}

/// Encodes `frames` frames of the given height to byte-stream.
fn encode(frames: usize, height: u32) -> Vec<Vec<u8>> {
    let encoder = Running::launch(&format!(
        "{} ! {X264_FAST} key-int-max=30 ! video/x-h264,stream-format=byte-stream,profile=main ! fakesink name=out",
        source(frames).replace("height=180", &format!("height={height}"))
    ));
    let packets = Packets::into_sink(&encoder.element("out"));
    encoder.start();
    encoder.wait_eos();
    let packets = packets.so_far().into_iter();
    packets.map(|packet| packet.bytes).collect()
}

#[test]
fn an_sps_that_changes_in_band_changes_the_caps_of_the_pad() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("sps");
    let subscriber = Running::play(&format!(
        "{} moq.video_0 ! avdec_h264 ! fakesink name=out sync=false",
        moqsrc(&relay.url(), &broadcast)
    ));
    let got = Packets::of_pad(&subscriber.element("moq"), "video_0");
    let pictures = Packets::into_sink(&subscriber.element("out"));
    let publisher = Running::launch(&format!(
        "appsrc name=src format=time ! \
         video/x-h264,stream-format=byte-stream,alignment=au,framerate=30/1 ! moq.sink_0 {}",
        moqsink(&relay.url(), &broadcast)
    ));
    publisher.start();
    let src: gst_app::AppSrc = publisher.element("src").downcast().expect("an appsrc");
    let sent = [encode(GOP, 180), encode(GOP, 240)].concat();
    for (time, frame) in (0..).zip(&sent) {
        let mut buffer = gst::Buffer::from_slice(frame.clone());
        let buffer_ref = buffer.get_mut().expect("nobody else has it");
        buffer_ref.set_pts(gst::ClockTime::SECOND * time / 30);
        src.push_buffer(buffer).expect("the source takes a buffer");
    }
    src.end_of_stream().expect("the source takes EOS");
    let pad = wait_pad(&subscriber.element("moq"), "video_0", DEADLINE);
    publisher.wait_eos();
    subscriber.wait_eos();
    let received: Vec<_> = got
        .so_far()
        .into_iter()
        .map(|packet| packet.bytes)
        .collect();
    assert!(received == sent, "{} frames came", received.len());
    let height = |caps: &gst::CapsRef| caps.structure(0)?.get::<i32>("height").ok();
    let events = pictures.events();
    let heights = events.iter().filter_map(|event| match event.view() {
        gst::EventView::Caps(caps) => height(caps.caps()),
        _ => None,
    });
    let mut heights: Vec<_> = heights.collect();
    heights.dedup();
    assert_eq!(heights, [180, 240]);
    let given = pad.current_caps().expect("the pad has caps");
    assert_eq!(height(&given), Some(240));
    assert_eq!(pictures.count(), 2 * GOP);
}

/// Much longer than these tests take.
const LONG_GOP: u32 = 1800;

/// A sink that listens, with live video of long groups, its pad, and how often its encoder is asked.
fn long_groups(properties: &str) -> (Host, gst::Pad, Upstream) {
    let video = Video {
        gop: LONG_GOP,
        ..Video::default()
    };
    let host = Host::sink_of(&format!("{} ! moq.sink_0", video.live()), properties);
    let pad = wait_pad(&host.element(), "sink_0", DEADLINE);
    let requests = Upstream::of(&pad.peer().expect("it is linked"), "GstForceKeyUnit");
    (host, pad, requests)
}

/// Waits until the newest keyframe is older than the default of `key-unit-age`.
fn wait_old(sent: &Packets) {
    // An encoder that was held up gives many frames at once: their number is no time.
    let mut newest = (None, Instant::now());
    wait_until("the group is old", DEADLINE, || {
        let packets = sent.so_far();
        let key = packets.iter().rposition(Packet::is_key);
        if newest.0 != key {
            newest = (key, Instant::now());
        }
        let frames = key.map(|at| packets.len() - at);
        frames >= Some(40) && newest.1.elapsed() > Duration::from_millis(1100)
    });
}

#[test]
fn who_joins_a_long_group_gets_a_fresh_keyframe() {
    let (host, pad, requests) = long_groups("");
    let sent = Packets::of(&pad);
    // The first viewer, and another one beside it.
    let mut viewers = Vec::new();
    for number in 1..=3 {
        wait_old(&sent);
        let before = sent.count();
        let viewer = host.viewer("http", "");
        let got = Packets::of_pad(&viewer.element("moq"), "video_0");
        let claim = format!("viewer {number} has one asked for");
        wait_until(&claim, DEADLINE, || requests.seen().len() >= number);
        let claim = format!("viewer {number} gets it");
        wait_until(&claim, DEADLINE, || {
            let sent = sent.so_far().split_off(before);
            let mut fresh = sent.iter().filter(|packet| packet.is_key());
            fresh.any(|key| got.so_far().iter().any(|packet| packet.bytes == key.bytes))
        });
        assert_eq!(requests.seen().len(), number);
        viewers.push(viewer);
    }
    // One who leaves is no reason for another.
    viewers.pop();
    wait_old(&sent);
    assert_eq!(requests.seen().len(), 3);
}

#[test]
fn keyframes_are_asked_for_no_more_often_than_allowed() {
    for (properties, allowed) in [
        ("sink_0::min-force-key-unit-interval=3600000000000", 1),
        ("sink_0::key-unit-age=0", 0),
    ] {
        let (host, pad, requests) = long_groups(properties);
        let sent = Packets::of(&pad);
        let mut viewers = Vec::new();
        for _ in 0..2 {
            wait_old(&sent);
            let viewer = host.viewer("http", "");
            let got = Packets::of_pad(&viewer.element("moq"), "video_0");
            got.wait_count(45, DEADLINE);
            viewers.push(viewer);
        }
        assert_eq!(requests.seen().len(), allowed, "{properties}");
    }
}

#[test]
fn an_encoder_that_never_answers_is_asked_rarely_and_warned_of_once() {
    let (host, pad, requests) = long_groups("");
    let encoder = pad.peer().expect("it is linked");
    // After the one that counts.
    encoder.add_probe(gst::PadProbeType::EVENT_UPSTREAM, |_, info| {
        let structure = info.event().and_then(|event| event.structure());
        match structure.is_some_and(|structure| structure.name() == "GstForceKeyUnit") {
            true => gst::PadProbeReturn::Handled,
            false => gst::PadProbeReturn::Ok,
        }
    });
    let sent = Packets::of(&pad);
    wait_old(&sent);
    let _viewer = host.viewer("http", "");
    let bus = host.running.bus();
    let is_warning = |message: &gst::Message| message.type_() == gst::MessageType::Warning;
    let warning = wait_message_that(&bus, DEADLINE, is_warning).expect("it is warned of");
    let text = describe(&warning);
    assert!(text.contains("GstForceKeyUnit"), "{text}");
    assert_eq!(requests.seen().len(), 3);
    let another = host.viewer("http", "");
    let got = Packets::of_pad(&another.element("moq"), "video_0");
    got.wait_count(2 * GOP, DEADLINE);
    wait_old(&sent);
    assert_eq!(requests.seen().len(), 3);
    assert!(bus.pop_filtered(&[gst::MessageType::Warning]).is_none());
}

/// Asks for a keyframe as a decoder does that has lost something; whether the source takes it.
fn ask(source: &gst::Element) -> bool {
    let pad = wait_pad(source, "video_0", DEADLINE);
    let request = gst::Structure::new_empty("GstForceKeyUnit");
    pad.peer()
        .expect("it is linked")
        .push_event(gst::event::CustomUpstream::new(request))
}

/// Waits for a keyframe that follows one that has been there already.
fn wait_next_key(got: &Packets) {
    wait_until("the keyframe comes", DEADLINE, || {
        got.so_far().iter().skip(1).any(Packet::is_key)
    });
}

#[test]
fn a_receiver_gets_a_keyframe_that_it_asks_for() {
    let properties = "return-path=true sink_0::key-unit-age=0";
    let (host, _, requests) = long_groups(properties);
    for scheme in ["http", "ws"] {
        let viewer = host.viewer(scheme, "return-path=true");
        let source = viewer.element("moq");
        let got = Packets::of_pad(&source, "video_0");
        got.wait_count(10, DEADLINE);
        let before = requests.seen().len();
        wait_until("the request is taken", DEADLINE, || ask(&source));
        wait_next_key(&got);
        assert_eq!(requests.seen().len(), before + 1);
        // At once another one would be too much; the source takes it as the same.
        assert!(ask(&source));
    }
}

#[test]
fn a_keyframe_is_asked_for_through_a_relay() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let prefix = unique_broadcast("return");
    let broadcast = format!("{prefix}/cam.hang");
    let video = Video {
        gop: LONG_GOP,
        ..Video::default()
    };
    let publisher = Running::play(&format!(
        "{} ! moq.sink_0 {} return-path=true sink_0::key-unit-age=0",
        video.live(),
        moqsink(&relay.url(), &broadcast)
    ));
    let pad = wait_pad(&publisher.element("moq"), "sink_0", DEADLINE);
    let requests = Upstream::of(&pad.peer().expect("it is linked"), "GstForceKeyUnit");
    let view = |name: &str, properties: &str| {
        Running::play(&format!(
            "{} {properties} moq.video_0 ! fakesink sync=false async=false",
            moqsrc(&relay.url(), name)
        ))
    };
    let mute = view(&broadcast, "");
    Packets::of_pad(&mute.element("moq"), "video_0").wait_count(10, DEADLINE);
    assert!(!ask(&mute.element("moq")), "it has no return path");
    for name in [&broadcast, &format!("{prefix}/*")] {
        let viewer = view(name, "return-path=true");
        let source = viewer.element("moq");
        let got = Packets::of_pad(&source, "video_0");
        got.wait_count(10, DEADLINE);
        let before = requests.seen().len();
        wait_until("the request is taken", DEADLINE, || ask(&source));
        wait_next_key(&got);
        assert_eq!(requests.seen().len(), before + 1);
    }
}

#[test]
fn a_source_that_listens_asks_whoever_publishes_to_it() {
    let host = Host::source("return-path=true", "! fakesink sync=false async=false");
    let source = host.element();
    let got = Packets::of_pad(&source, "video_0");
    let video = Video {
        gop: LONG_GOP,
        ..Video::default()
    };
    let publisher = Running::play(&format!(
        "{} ! moq.sink_0 {} return-path=true sink_0::key-unit-age=0",
        video.live(),
        moqsink(&host.url("http"), &host.broadcast)
    ));
    got.wait_count(10, DEADLINE);
    wait_until("the request is taken", DEADLINE, || ask(&source));
    wait_next_key(&got);
    drop(publisher);
}

#[test]
fn a_publisher_that_does_not_listen_is_not_asked() {
    let (host, _, requests) = long_groups("sink_0::key-unit-age=0");
    let viewer = host.viewer("http", "return-path=true");
    let source = viewer.element("moq");
    let got = Packets::of_pad(&source, "video_0");
    got.wait_count(10, DEADLINE);
    assert!(!ask(&source));
    got.wait_count(40, DEADLINE);
    assert!(requests.seen().is_empty());
}

#[test]
fn malformed_requests_do_no_harm() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("malformed");
    let video = Video {
        gop: LONG_GOP,
        ..Video::default()
    };
    let publisher = Running::play(&format!(
        "{} ! moq.sink_0 {} return-path=true sink_0::key-unit-age=0",
        video.live(),
        moqsink(&relay.url(), &broadcast)
    ));
    let pad = wait_pad(&publisher.element("moq"), "sink_0", DEADLINE);
    let requests = Upstream::of(&pad.peer().expect("it is linked"), "GstForceKeyUnit");
    let sent = Packets::of(&pad);
    sent.wait_count(10, DEADLINE);
    let peer = Publisher::start(&relay.url(), &format!("{broadcast}/.return/evil"), "{}");
    let track = peer.track("requests");
    peer.wait_used(&track);
    let before = requests.seen().len();
    let valid = br#"{"keyframe": "video"}"#.to_vec();
    let unknown = br#"{"keyframe": "nowhere"}"#.to_vec();
    let write = |payload: Vec<u8>| {
        let mut group = track.append_group().expect("the track takes a group");
        let now = moq_net::Timestamp::from_millis(0).expect("a timestamp");
        group.write_frame(now, payload).expect("a frame");
        group.finish().expect("the group ends");
    };
    // Each has its time to be read, which frames of the video give it.
    for payload in [vec![], vec![0xff; 100], vec![b'['; 2_000_000], unknown] {
        write(payload);
        sent.wait_count(sent.count() + 6, DEADLINE);
    }
    // One that begins and never ends.
    let open = track.append_group().expect("the track takes a group");
    sent.wait_count(sent.count() + 6, DEADLINE);
    assert_eq!(requests.seen().len(), before);
    wait_until("a request is taken all the same", DEADLINE, || {
        write(valid.clone());
        sent.wait_count(sent.count() + 6, DEADLINE);
        requests.seen().len() > before
    });
    drop(open);
}
