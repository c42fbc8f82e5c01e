//! What a publisher does whose network is too slow for its tracks.

mod common;

use common::{
    Delays, Packets, Path, Proxy, Relay, Running, Sample, init,
    media::{live_aac, moqsink, moqsrc},
    pipeline::{DEADLINE, wait_pad},
    unique_broadcast,
};

/// 4 Mbit/s of H.264 with a key frame each second.
const NOISE: &str = "videotestsrc is-live=true pattern=snow ! \
    video/x-raw,width=320,height=240,framerate=30/1 ! \
    x264enc speed-preset=ultrafast tune=zerolatency bitrate=4000 vbv-buf-capacity=200 \
    key-int-max=30 option-string=scenecut=0:nal-hrd=cbr ! video/x-h264,profile=main ! h264parse";

/// How long it runs.
const SECONDS: usize = 12;

/// Half of that, with 100 ms of queue.
const SLOW: u64 = 2_000_000;

#[test]
fn the_newest_media_win() {
    init();
    let relay = Relay::start().expect("the relay starts");
    let path = Path {
        bandwidth: Some(SLOW),
        queue: SLOW as usize / 8 / 10,
        ..Path::default()
    };
    let proxy = Proxy::start(relay.addr(), path).expect("the proxy starts");
    let broadcast = unique_broadcast("slow");
    let publisher = Running::launch(&format!(
        "{NOISE} ! moq.sink_0 {} ! moq.sink_1 {}",
        live_aac(),
        moqsink(&proxy.url(), &broadcast)
    ));
    let subscriber = Running::launch(&format!(
        "{} moq.video_0 ! fakesink name=video sync=false signal-handoffs=true \
         moq.audio_0 ! fakesink name=audio sync=false signal-handoffs=true",
        moqsrc(&relay.url(), &broadcast)
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
    let sound = Packets::of(&wait_pad(&publisher.element("moq"), "sink_1", DEADLINE));
    publisher.start();
    subscriber.start();
    for (delays, pad) in delays.iter().zip(["video_0", "audio_0"]) {
        delays.receive(&wait_pad(&source, pad, DEADLINE));
    }
    let sent = sound.wait_count(SECONDS * 48_000 / 1024, DEADLINE).len();
    let [video, sound] = delays.map(|delays| delays.samples());
    let (early, late) = video.split_at(video.len() / 2);
    for (what, samples) in [("pictures", early), ("pictures", late), ("sound", &sound)] {
        let (p50, p99) = (percentile(samples, 50), percentile(samples, 99));
        eprintln!(
            "{what}: {} arrive, p50 {p50:.0} ms, p99 {p99:.0} ms",
            samples.len()
        );
    }
    assert!(
        sound.len() + 30 > sent,
        "{} of {sent} packets of sound",
        sound.len()
    );
    assert!(
        video.len() > SECONDS * 30 / 4,
        "only {} pictures",
        video.len()
    );
    let growth = percentile(late, 50) - percentile(early, 50);
    assert!(growth < 500.0, "the delay grows by {growth} ms");
    let gap = video
        .windows(2)
        .map(|pair| pair[1].captured - pair[0].captured)
        .max();
    // Each group begins with its key frame, and none is left out for long.
    assert!(
        gap < Some(gst::ClockTime::from_seconds(2)),
        "{gap:?} without a picture"
    );
}

fn percentile(samples: &[Sample], percent: usize) -> f64 {
    let mut delays: Vec<f64> = samples.iter().map(Sample::delay).collect();
    delays.sort_by(f64::total_cmp);
    delays[(delays.len() * percent / 100).min(delays.len() - 1)]
}
