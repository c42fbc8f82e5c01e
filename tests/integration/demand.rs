// SPDX-License-Identifier: MIT
//! Who subscribes to which track, and pads that rest while nobody does.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use gst::prelude::*;

use super::listen::Host;
use crate::common::{
    Packet, Packets, Relay, Running, Viewer, init,
    media::{Video, live_aac, moqsink, moqsrc, publish_live},
    pipeline::{DEADLINE, describe, wait_message_that, wait_pad, wait_property, wait_until},
    unique_broadcast,
};

/// A relay keeps a subscription for half a minute after its last subscriber has left.
const RELAY_DEADLINE: Duration = Duration::from_secs(60);
/// Between two keyframes that nobody has asked for.
const GOP: u32 = 120;

fn video() -> String {
    let video = Video {
        gop: GOP,
        ..Video::default()
    };
    video.live()
}

/// The same with a valve before the encoder.
fn video_with_valve() -> String {
    let valve = "valve name=valve drop-mode=forward-sticky-events ! x264enc";
    video().replacen("x264enc", valve, 1)
}

fn wait_subscribed(pad: &gst::Pad, wanted: bool, deadline: Duration) {
    wait_property(pad, "subscribed", deadline, |now: &bool| *now == wanted);
}

fn count(pad: &gst::Pad, field: &str) -> u64 {
    let stats: gst::Structure = pad.property("stats");
    stats.get(field).expect("a count")
}

fn wait_rest(pad: &gst::Pad) {
    let rests = || count(pad, "dropped-unwatched") > 0;
    wait_until("frames that nobody gets are dropped", DEADLINE, rests);
}

/// The values of the upstream events of this name that pass the pad.
#[derive(Clone, Default)]
pub(super) struct Upstream(Arc<Mutex<Vec<Option<bool>>>>);

impl Upstream {
    pub(super) fn of(pad: &gst::Pad, name: &'static str) -> Self {
        let events = Self::default();
        let seen = events.clone();
        pad.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
            let structure = info.event().and_then(|event| event.structure());
            if let Some(structure) = structure.filter(|structure| structure.name() == name) {
                let mut seen = seen.0.lock().unwrap_or_else(PoisonError::into_inner);
                seen.push(structure.get("subscribed").ok());
            }
            gst::PadProbeReturn::Ok
        });
        events
    }

    pub(super) fn seen(&self) -> Vec<Option<bool>> {
        let seen = self.0.lock();
        seen.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[test]
fn demand_rises_and_falls_for_each_pad_apart() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("demand");
    let publisher = Running::play(&publish_live(&relay.url(), &broadcast));
    let sink = publisher.element("moq");
    let [video, audio] = ["sink_0", "sink_1"].map(|name| wait_pad(&sink, name, DEADLINE));
    let view = |pad: &str| {
        Running::play(&format!(
            "{} moq.{pad} ! fakesink name=out sync=false async=false",
            moqsrc(&relay.url(), &broadcast)
        ))
    };
    let watches = view("video_0");
    wait_subscribed(&video, true, DEADLINE);
    wait_property(&sink, "watched", DEADLINE, |watched: &bool| *watched);
    Packets::into_sink(&watches.element("out")).wait_count(10, DEADLINE);
    assert!(!audio.property::<bool>("subscribed"), "nobody listens");
    let listens = view("audio_0");
    wait_subscribed(&audio, true, DEADLINE);
    drop(watches);
    wait_subscribed(&video, false, RELAY_DEADLINE);
    assert!(audio.property::<bool>("subscribed"), "somebody listens");
    assert!(sink.property::<bool>("watched"));
    relay.kill();
    wait_subscribed(&audio, false, DEADLINE);
    wait_property(&sink, "watched", DEADLINE, |watched: &bool| !watched);
    drop(listens);
}

#[test]
fn nobody_subscribes_to_a_sink_that_has_stopped() {
    let host = Host::sink_of(&format!("{} ! moq.sink_0", video()), "");
    let pad = wait_pad(&host.element(), "sink_0", DEADLINE);
    let _viewer = host.viewer("http", "");
    wait_subscribed(&pad, true, DEADLINE);
    let stopped = host.running.set_state(gst::State::Ready);
    stopped.expect("the pipeline stops");
    assert!(!pad.property::<bool>("subscribed"));
    assert!(!host.element().property::<bool>("watched"));
}

#[test]
fn a_track_that_follows_another_continues_its_demand() {
    let line = "videotestsrc is-live=true ! capsfilter name=size caps=video/x-raw,width=320,height=240 \
         ! x264enc tune=zerolatency speed-preset=ultrafast ! h264parse ! moq.sink_0";
    let host = Host::sink_of(line, "");
    let pad = wait_pad(&host.element(), "sink_0", DEADLINE);
    let viewer = host.viewer("http", "");
    let got = Packets::of_pad(&viewer.element("moq"), "video_0");
    wait_subscribed(&pad, true, DEADLINE);
    let fell = Arc::new(Mutex::new(false));
    let seen = fell.clone();
    pad.connect_notify(Some("subscribed"), move |_, _| {
        *seen.lock().unwrap_or_else(PoisonError::into_inner) = true;
    });
    got.wait_count(10, DEADLINE);
    let size: gst::Caps = "video/x-raw,width=160,height=120".parse().expect("caps");
    host.running.element("size").set_property("caps", size);
    wait_property(&pad, "active-track", DEADLINE, |name: &Option<String>| {
        name.as_deref() == Some("video-2")
    });
    got.wait_count(got.count() + 120, DEADLINE);
    assert!(!*fell.lock().unwrap_or_else(PoisonError::into_inner));
    drop(viewer);
    wait_subscribed(&pad, false, DEADLINE);
}

#[test]
fn a_viewer_who_comes_late_finds_the_catalog_and_a_fresh_picture() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("rest");
    let publisher = Running::launch(&format!(
        "{} ! moq.sink_0 {} ! moq.sink_1 {} sink_0::demand=drop sink_1::demand=drop",
        video(),
        live_aac(),
        moqsink(&relay.url(), &broadcast),
    ));
    let sink = publisher.element("moq");
    let pads = ["sink_0", "sink_1"].map(|name| wait_pad(&sink, name, DEADLINE));
    let sent = pads.each_ref().map(Packets::of);
    let peer = pads[0].peer().expect("it is linked");
    let requests = Upstream::of(&peer, "GstForceKeyUnit");
    publisher.start();
    pads.iter().for_each(wait_rest);
    let requested = requests.seen().len();
    let before = sent.each_ref().map(Packets::count);
    let viewer = Running::play(&format!(
        "{} moq.video_0 ! fakesink name=video sync=false moq.audio_0 ! fakesink sync=false",
        moqsrc(&relay.url(), &broadcast)
    ));
    let source = viewer.element("moq");
    let got = ["video_0", "audio_0"].map(|name| Packets::of_pad(&source, name));
    for (got, (sent, before)) in got.iter().zip(sent.iter().zip(before)) {
        let first = got.wait_count(1, DEADLINE).swap_remove(0);
        let same = |packet: &Packet| packet.bytes == first.bytes;
        let at = sent.so_far().iter().position(same);
        let at = at.expect("it was sent");
        assert!(at >= before, "frame {at} is fresh, not before {before}");
    }
    assert_eq!(requests.seen().len(), requested + 1);
    let waited = count(&pads[0], "dropped-no-keyframe");
    assert!(waited < u64::from(GOP) / 4, "{waited} frames");
    got[0].wait_caps("video/x-h264", DEADLINE);
    got[1].wait_caps("audio/mpeg", DEADLINE);
    let catalog = Viewer::start(&relay.url(), &broadcast)
        .wait("the catalog comes", DEADLINE, |seen| {
            !seen.catalogs.is_empty()
        })
        .catalog();
    let video = catalog.video.renditions.values().next();
    assert_eq!(video.and_then(|video| video.coded_width), Some(320));
    assert_eq!(catalog.audio.renditions.len(), 1);
    let dropped = || count(&pads[0], "dropped-unwatched");
    let before = dropped();
    got[0].wait_count(3 * GOP as usize / 2, DEADLINE);
    assert_eq!(dropped(), before, "somebody watches");
}

#[test]
fn a_viewer_who_comes_after_another_gets_a_fresh_picture() {
    let host = Host::sink_of(&format!("{} ! moq.sink_0", video()), "sink_0::demand=drop");
    let pad = wait_pad(&host.element(), "sink_0", DEADLINE);
    let sent = Packets::of(&pad);
    for _ in 0..2 {
        let dropped = count(&pad, "dropped-unwatched");
        let rests = || count(&pad, "dropped-unwatched") > dropped;
        wait_until("frames that nobody gets are dropped", DEADLINE, rests);
        let before = sent.count();
        let viewer = host.viewer("http", "");
        let got = Packets::of_pad(&viewer.element("moq"), "video_0");
        let first = got.wait_count(30, DEADLINE).swap_remove(0);
        let fresh = sent.so_far().split_off(before);
        assert!(first.is_key() && fresh.iter().any(|sent| sent.bytes == first.bytes));
    }
}

#[test]
fn a_relay_is_served_again() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("again");
    let publisher = Running::play(&format!(
        "{} ! moq.sink_0 {} sink_0::demand=drop",
        video(),
        moqsink(&relay.url(), &broadcast),
    ));
    let pad = wait_pad(&publisher.element("moq"), "sink_0", DEADLINE);
    let sent = Packets::of(&pad);
    for _ in 0..2 {
        let dropped = count(&pad, "dropped-unwatched");
        let rests = || count(&pad, "dropped-unwatched") > dropped;
        wait_until("the pad rests", RELAY_DEADLINE, rests);
        let before = sent.count();
        let viewer = Running::play(&format!(
            "{} moq.video_0 ! fakesink sync=false",
            moqsrc(&relay.url(), &broadcast)
        ));
        let got = Packets::of_pad(&viewer.element("moq"), "video_0");
        // It may begin with what the relay has kept.
        let fresh = || {
            let last = got.so_far().pop();
            let fresh = sent.so_far().split_off(before);
            last.is_some_and(|last| fresh.iter().any(|sent| sent.bytes == last.bytes))
        };
        wait_until("fresh frames come", DEADLINE, fresh);
    }
}

#[test]
fn demand_may_change_while_the_pipeline_plays() {
    let media = format!("{} ! moq.sink_0", live_aac());
    let host = Host::sink_of(&media, "");
    let pad = wait_pad(&host.element(), "sink_0", DEADLINE);
    wait_until("frames are published", DEADLINE, || {
        count(&pad, "frames") > 0
    });
    pad.set_property_from_str("demand", "drop");
    wait_rest(&pad);
    let published = count(&pad, "frames");
    pad.set_property_from_str("demand", "always");
    wait_until("frames are published again", DEADLINE, || {
        count(&pad, "frames") > published
    });
}

#[test]
fn upstream_is_told_and_a_valve_follows() {
    let media = format!("{} ! moq.sink_0", video_with_valve());
    let properties = "sink_0::demand=upstream sink_0::demand-valve=valve";
    let host = Host::sink_of(&media, properties);
    let valve = host.running.element("valve");
    let told = Upstream::of(
        &valve.static_pad("sink").expect("a valve has one"),
        "moq-demand",
    );
    let wait_closed = |closed: bool| {
        let reached = || valve.property::<bool>("drop") == closed;
        wait_until("the valve follows", DEADLINE, reached);
    };
    wait_closed(true);
    let viewer = host.viewer("http", "");
    let got = Packets::of_pad(&viewer.element("moq"), "video_0");
    wait_closed(false);
    assert!(got.wait_count(30, DEADLINE)[0].is_key());
    wait_until("upstream is told", DEADLINE, || told.seen().len() == 2);
    assert_eq!(told.seen(), [Some(false), Some(true)]);
    drop(viewer);
    wait_closed(true);
    // The next run begins with frames, and upstream knows.
    host.running.set_state(gst::State::Ready).expect("it stops");
    assert!(!valve.property::<bool>("drop"));
    host.running.start();
    let again = [false, true, false, true].map(Some);
    wait_until("upstream is told again", DEADLINE, || told.seen() == again);
    wait_closed(true);
    host.running.end();
}

#[test]
fn a_valve_that_is_none_is_warned_of_and_the_stream_goes_on() {
    let media = format!("{} ! moq.sink_0", video_with_valve());
    for name in ["nowhere", "moq"] {
        let properties = format!("sink_0::demand=upstream sink_0::demand-valve={name}");
        let host = Host::sink_of(&media, &properties);
        let warned = wait_message_that(&host.running.bus(), DEADLINE, |message| {
            message.type_() == gst::MessageType::Warning
        });
        let text = describe(&warned.expect("a warning is posted"));
        assert!(
            text.contains("demand-valve") && text.contains(name),
            "{text}"
        );
        let viewer = host.viewer("http", "");
        let got = Packets::of_pad(&viewer.element("moq"), "video_0");
        assert!(got.wait_count(30, DEADLINE)[0].is_key());
    }
}
