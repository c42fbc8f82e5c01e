// SPDX-License-Identifier: MIT
//! Encoders that follow paths which narrow and open, and subscribers of different speed.

use std::time::Duration;

use gst::prelude::*;

use crate::common::{
    Delays, Packets, Path, Proxy, Relay, Running, Sample, init,
    media::{live_aac, moqsink, moqsrc},
    pipeline::{DEADLINE, wait_pad, wait_property, wait_told},
    unique_broadcast,
};

/// How long a rate has to follow its path, which takes 2 to 6 s.
const FOLLOWS: Duration = Duration::from_secs(60);
/// Pictures that take any rate.
const VIDEO: &str = "videotestsrc is-live=true pattern=snow ! \
    video/x-raw,format=I420,width=320,height=240,framerate=30/1 ! \
    x264enc name=encoder speed-preset=ultrafast tune=zerolatency bitrate=500 key-int-max=60 \
    option-string=scenecut=0 ! video/x-h264,profile=main ! h264parse";

/// With 100 ms of queue and 20 ms of round trip.
fn path(bandwidth: u64) -> Path {
    Path {
        bandwidth: Some(bandwidth),
        queue: bandwidth as usize / 8 / 10,
        delay: Duration::from_millis(10),
        ..Path::default()
    }
}

fn wait_rate(pad: &gst::Pad, fits: impl Fn(u32) -> bool) {
    wait_property(pad, "target-bitrate", FOLLOWS, |rate: &u32| fits(*rate));
}

#[test]
fn an_encoder_follows_its_path_and_loses_no_frame() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let proxy = Proxy::start(relay.addr(), path(4_000_000)).expect("the proxy starts");
    let broadcast = unique_broadcast("rate");
    let publisher = Running::launch(&format!(
        "{VIDEO} ! moq.sink_0 {} ! moq.sink_1 {} rate-control=encoder start-bitrate=2000000 max-age=2000",
        live_aac(),
        moqsink(&proxy.url(), &broadcast),
    ));
    let subscriber = Running::launch(&format!(
        "{} video-max-age=5000 moq.video_0 ! fakesink name=video sync=false signal-handoffs=true \
         moq.audio_0 ! fakesink name=audio sync=false signal-handoffs=true",
        moqsrc(&relay.url(), &broadcast),
    ));
    let (delays, sound) = (
        Delays::new(),
        Packets::into_sink(&subscriber.element("audio")),
    );
    let pad = wait_pad(&publisher.element("moq"), "sink_0", DEADLINE);
    delays.capture(&pad);
    delays.render(&subscriber.element("video"));
    publisher.start();
    subscriber.start();
    delays.receive(&wait_pad(&subscriber.element("moq"), "video_0", DEADLINE));
    sound.wait_count(1, DEADLINE);
    wait_rate(&pad, |rate| rate > 2_500_000);
    proxy.set_path(path(2_000_000));
    wait_rate(&pad, |rate| rate < 2_000_000);
    let narrow = delays.samples().len();
    let encoder = publisher.element("encoder");
    wait_property(&encoder, "bitrate", DEADLINE, |kilobits: &u32| {
        (50..2_000).contains(kilobits)
    });
    // Ten seconds of it.
    let heard = sound.so_far().len();
    sound.wait_count(heard + 10 * 48_000 / 1024, DEADLINE);
    let samples = delays.samples();
    let settled = &samples[narrow + 90..];
    proxy.set_path(path(8_000_000));
    wait_rate(&pad, |rate| rate > 3_000_000);
    let p99 = percentile(settled, 99);
    assert!(p99 < 800.0, "frames are {p99:.0} ms late");
    let stats: gst::Structure = pad.property("stats");
    let given_up: u64 = stats.get("groups-given-up").expect("a count");
    assert_eq!(given_up, 0, "nothing was as late as max-age: {stats}");
}

#[test]
fn a_slow_subscriber_counts_as_the_policy_says() {
    init();
    let broadcast = unique_broadcast("policy");
    let host = Running::launch(&format!(
        "{VIDEO} ! moq.sink_0 moqsink name=moq mode=listen bind=127.0.0.1:0 broadcast={broadcast} \
         rate-control=notify rate-policy=slowest start-bitrate=400000"
    ));
    let sink = host.element("moq");
    host.start();
    let told = wait_told(&host.bus(), "moq-listening", |_| true);
    let port: u32 = told.get("port").expect("a port");
    let port = u16::try_from(port).expect("a port");
    let target = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    // A fifth of what the encoder makes.
    let proxy = Proxy::start(target, path(100_000)).expect("the proxy starts");
    let viewer = |url: &str| {
        Running::play(&format!(
            "moqsrc url={url} broadcast={broadcast} tls-disable-verify=true ! \
             fakesink sync=false async=false"
        ))
    };
    let direct = format!("https://127.0.0.1:{port}/");
    let _viewers = [viewer(&direct), viewer(&direct), viewer(&proxy.url())];
    let pad = wait_pad(&sink, "sink_0", DEADLINE);
    wait_rate(&pad, |rate| (1..200_000).contains(&rate));
    sink.set_property_from_str("rate-policy", "median");
    wait_rate(&pad, |rate| rate >= 350_000);
    sink.set_property_from_str("rate-policy", "slowest");
    wait_rate(&pad, |rate| rate < 350_000);
    sink.set_property_from_str("rate-policy", "fastest");
    wait_rate(&pad, |rate| rate >= 350_000);
}

fn percentile(samples: &[Sample], percent: usize) -> f64 {
    let mut delays: Vec<f64> = samples.iter().map(Sample::delay).collect();
    delays.sort_by(f64::total_cmp);
    delays[(delays.len() * percent / 100).min(delays.len() - 1)]
}
