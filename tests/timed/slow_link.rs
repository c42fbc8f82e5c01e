// SPDX-License-Identifier: MIT
//! What a publisher does whose network is too slow for its tracks.

use gst::prelude::*;

use crate::common::{
    Delays, Packets, Path, Proxy, Relay, Running, Sample, init,
    media::{live_aac, moqsink, moqsrc},
    pipeline::{DEADLINE, wait_pad},
    unique_broadcast,
};

/// How long it runs.
const SECONDS: usize = 12;

struct Case {
    /// Bits per second of the path, whose queue holds 100 ms.
    bandwidth: u64,
    /// Seconds from keyframe to keyframe.
    group: usize,
    /// How late a group the subscriber takes, in ms.
    patience: u32,
    /// Properties of the publisher.
    settings: &'static str,
    /// The least number of frames that come.
    pictures: usize,
    /// How late 99 of 100 of them are at most, in ms.
    p99: f64,
}

/// Half of the bandwidth that the media need.
const HALF: Case = Case {
    bandwidth: 2_000_000,
    group: 1,
    patience: 100,
    settings: "",
    pictures: SECONDS * 30 / 4,
    p99: 800.0,
};

/// 4 Mbit/s of H.264 at 30 fps with a keyframe every `group` seconds.
fn noise(group: usize) -> String {
    format!(
        "videotestsrc is-live=true pattern=snow ! \
         video/x-raw,width=320,height=240,framerate=30/1 ! \
         x264enc speed-preset=ultrafast tune=zerolatency bitrate=4000 vbv-buf-capacity=200 \
         key-int-max={} option-string=scenecut=0:nal-hrd=cbr ! video/x-h264,profile=main ! h264parse",
        30 * group
    )
}

#[test]
fn the_newest_media_win() {
    run(&HALF);
}

#[test]
fn groups_that_nobody_waits_for_leave_the_send_window() {
    // An eighth of the cache is the window, which the rest of four groups would fill.
    run(&Case {
        settings: "cache-size=8388608",
        ..HALF
    });
}

#[test]
fn the_sink_bounds_the_delay_of_a_subscriber_that_would_wait_longer() {
    run(&Case {
        patience: 5000,
        p99: 1000.0,
        ..HALF
    });
}

#[test]
fn what_comes_late_within_long_groups_is_made_up_for_by_the_next() {
    // A frame in the middle of a group takes as long again as the group has lasted by then.
    run(&Case {
        group: 2,
        p99: 1400.0,
        ..HALF
    });
}

#[test]
fn a_quarter_of_the_bandwidth_carries_all_audio_and_the_keyframes() {
    run(&Case {
        bandwidth: 1_000_000,
        pictures: SECONDS * 3,
        p99: 1300.0,
        ..HALF
    });
}

#[test]
fn the_priority_of_a_pad_decides_which_video_a_slow_link_carries() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let path = Path {
        bandwidth: Some(5_000_000),
        queue: 60_000,
        ..Path::default()
    };
    // Of equal tracks one would win, too, by the order in which they are listed.
    for urgent in ["one", "two"] {
        let proxy = Proxy::start(relay.addr(), path).expect("the proxy starts");
        let counts = prefer(urgent, &proxy.url(), &relay.url());
        assert!(counts[0] > 100 && counts[1] < 80, "{urgent}: {counts:?}");
    }
}

/// How many of 120 frames each arrive of the track `urgent`, which has a greater priority, and of the other.
fn prefer(urgent: &str, publish_to: &str, url: &str) -> [usize; 2] {
    let broadcast = unique_broadcast("priority");
    let pad = match urgent {
        "one" => "sink_0",
        _ => "sink_1",
    };
    let publisher = Running::launch(&format!(
        "{} ! moq.sink_0 {} ! moq.sink_1 {} sink_0::track=one sink_1::track=two {pad}::priority=200",
        noise(1),
        noise(1),
        moqsink(publish_to, &broadcast),
    ));
    let sent = Packets::of_pad(&publisher.element("moq"), pad);
    let subscriber = Running::launch(&format!(
        "{} moq.video_0 ! fakesink sync=false moq.video_1 ! fakesink sync=false",
        moqsrc(url, &broadcast),
    ));
    let source = subscriber.element("moq");
    let mut packets = ["video_0", "video_1"].map(|name| Packets::of_pad(&source, name));
    publisher.start();
    subscriber.start();
    // Either may be listed first.
    let pads = ["video_0", "video_1"].map(|name| wait_pad(&source, name, DEADLINE));
    if pads[0].property::<Option<String>>("track").as_deref() != Some(urgent) {
        packets.swap(0, 1);
    }
    // It takes a moment until the publisher knows.
    packets[0].wait_count(30, DEADLINE);
    let begin = packets.each_ref().map(Packets::count);
    sent.wait_count(sent.count() + 120, DEADLINE);
    let counts = [0, 1].map(|at| packets[at].count() - begin[at]);
    eprintln!("{urgent} is preferred: {counts:?} arrive");
    counts
}

fn run(case: &Case) {
    init();
    let relay = Relay::start().expect("the relay starts");
    let path = Path {
        bandwidth: Some(case.bandwidth),
        queue: case.bandwidth as usize / 8 / 10,
        ..Path::default()
    };
    let proxy = Proxy::start(relay.addr(), path).expect("the proxy starts");
    let broadcast = unique_broadcast("slow");
    let publisher = Running::launch(&format!(
        "{} ! moq.sink_0 {} ! moq.sink_1 {} {}",
        noise(case.group),
        live_aac(),
        moqsink(&proxy.url(), &broadcast),
        case.settings
    ));
    let subscriber = Running::launch(&format!(
        "{} video-max-age={} moq.video_0 ! fakesink name=video sync=false signal-handoffs=true \
         moq.audio_0 ! fakesink name=audio sync=false signal-handoffs=true",
        moqsrc(&relay.url(), &broadcast),
        case.patience
    ));
    let delays = [Delays::new(), Delays::new()];
    let source = subscriber.element("moq");
    for (delays, (sink, output)) in delays
        .iter()
        .zip([("sink_0", "video"), ("sink_1", "audio")])
    {
        let pad = wait_pad(&publisher.element("moq"), sink, DEADLINE);
        delays.capture(&pad);
        delays.render(&subscriber.element(output));
    }
    let sound = Packets::of_pad(&publisher.element("moq"), "sink_1");
    let pictures = Packets::into_sink(&subscriber.element("video"));
    publisher.start();
    subscriber.start();
    for (delays, pad) in delays.iter().zip(["video_0", "audio_0"]) {
        delays.receive(&wait_pad(&source, pad, DEADLINE));
    }
    let sent = sound.wait_count(SECONDS * 48_000 / 1024, DEADLINE).len();
    let [video, sound] = delays.map(|delays| delays.samples());
    judge(case, &video, &sound, sent);
    let keys = pictures
        .so_far()
        .iter()
        .filter(|packet| packet.is_key())
        .count();
    // The first may have gone before the subscriber came, the last may be on its way.
    assert!(keys + 2 >= SECONDS / case.group, "{keys} keyframes");
    let stats: gst::Structure =
        wait_pad(&publisher.element("moq"), "sink_0", DEADLINE).property("stats");
    assert!(
        stats
            .get::<u64>("groups-given-up")
            .is_ok_and(|count| count > 0),
        "{stats}"
    );
}

/// Whether what arrives is what is worth most: all audio but `sent`'s beginning, and the newest frames.
fn judge(case: &Case, video: &[Sample], sound: &[Sample], sent: usize) {
    let (early, late) = video.split_at(video.len() / 2);
    for (what, samples) in [("pictures", early), ("pictures", late), ("sound", sound)] {
        let (p50, p99) = (percentile(samples, 50), percentile(samples, 99));
        eprintln!(
            "{what}: {} arrive, p50 {p50:.0} ms, p99 {p99:.0} ms",
            samples.len()
        );
    }
    assert!(
        sound.len() + 30 > sent,
        "{} of {sent} audio packets",
        sound.len()
    );
    let (count, p99) = (video.len(), percentile(video, 99));
    assert!(count > case.pictures, "only {count} frames");
    assert!(p99 < case.p99, "frames are {p99:.0} ms late");
    let growth = percentile(late, 50) - percentile(early, 50);
    assert!(growth < 200.0, "the delay grows by {growth} ms");
    let gap = video
        .windows(2)
        .map(|pair| pair[1].captured - pair[0].captured)
        .max();
    // Each group begins with its keyframe, and none is left out for long.
    assert!(
        gap < Some(gst::ClockTime::from_seconds(2)),
        "{gap:?} without a frame"
    );
}

fn percentile(samples: &[Sample], percent: usize) -> f64 {
    let mut delays: Vec<f64> = samples.iter().map(Sample::delay).collect();
    delays.sort_by(f64::total_cmp);
    delays[(delays.len() * percent / 100).min(delays.len() - 1)]
}
