// SPDX-License-Identifier: MIT
//! What the pure code costs for each frame: the timelines of both elements, and caps and catalog
//! entries of each other.

use std::{hint::black_box, sync::mpsc};

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use gst::ClockTime;
use gstmoq::media::{
    format::{
        caps::{self, InputStream},
        codec::Kind,
    },
    time::{
        nanos::nanos,
        playout::{Join, Timeline},
        publish::{Arrival, Before, PublishTimeline},
    },
};

/// H.264 of 1280x720 with its parameter sets.
const CAPS: &str = "video/x-h264, stream-format=avc, alignment=au, width=1280, height=720, \
     framerate=60/1, codec_data=(buffer)014d401fffe10017674d401fda014016ec0440000003004000000c83c60ca801000468ef3c80";
const FRAME: ClockTime = ClockTime::from_nseconds(16_666_667);

fn input() -> gst::Caps {
    gst::init().expect("GStreamer initializes");
    CAPS.parse().expect("caps")
}

fn stream() -> InputStream {
    InputStream::from_caps(&input()).expect("caps that are taken")
}

/// A frame of 20 kB with one slice.
fn frame() -> Bytes {
    let mut unit = vec![0xff; 20_000];
    let length = (unit.len() as u32 - 4).to_be_bytes();
    unit[..4].copy_from_slice(&length);
    unit[4..6].copy_from_slice(&[0x41, 0x9a]);
    unit.into()
}

fn stamp(criterion: &mut Criterion) {
    criterion.bench_function("timeline: a frame to publish", |bencher| {
        let mut timeline = PublishTimeline::default();
        timeline.start(0, 0);
        let anchor = timeline.anchor(Arrival {
            due: 0,
            now: 0,
            live: true,
            sparse: false,
            lead: false,
            published: None,
            before: Before::Nothing,
        });
        let mut due = 0;
        bencher.iter(|| {
            due += nanos(FRAME);
            black_box(timeline.stamp(black_box(anchor), due))
        });
    });
}

fn timeline(criterion: &mut Criterion) {
    criterion.bench_function("timeline: a frame of three tracks", |bencher| {
        let mut timeline = Timeline::new(ClockTime::from_mseconds(100), Join::Live);
        let kinds = [Kind::Video, Kind::Audio, Kind::Audio];
        let tracks = kinds.map(|kind| timeline.add_track(kind, None, ClockTime::ZERO));
        let mut timestamp = ClockTime::SECOND;
        bencher.iter(|| {
            timestamp += FRAME;
            for track in tracks {
                timeline.arrive(track, timestamp, timestamp + FRAME);
                black_box(timeline.is_settled(timestamp + FRAME));
                black_box(timeline.stamp(track, timestamp));
            }
            black_box(timeline.min_latency());
        });
    });
}

fn entries(criterion: &mut Criterion) {
    let caps = input();
    let rendition = stream().rendition().cloned().expect("an entry");
    criterion.bench_function("caps to catalog entry", |bencher| {
        bencher.iter(|| InputStream::from_caps(black_box(&caps)));
    });
    criterion.bench_function("catalog entry to caps", |bencher| {
        bencher.iter(|| caps::from_rendition(black_box(&rendition)));
    });
}

fn frames(criterion: &mut Criterion) {
    let (mut stream, frame) = (stream(), frame());
    criterion.bench_function(
        "a frame of 20 kB: is it a keyframe, and what is published",
        |bencher| {
            bencher.iter(|| {
                let key = stream.is_keyframe(&frame, false);
                black_box(stream.prepare(frame.clone(), key))
            });
        },
    );
}

/// A frame goes from a pad's thread to the session by the one kind of channel, and from the session to
/// a pad's thread by the other.
fn hop(criterion: &mut Criterion) {
    let (there, mut inbox) = tokio::sync::mpsc::unbounded_channel::<Bytes>();
    let (back, outbox) = mpsc::channel::<Bytes>();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .expect("a runtime");
    let session = runtime.spawn(async move {
        while let Some(frame) = inbox.recv().await {
            if back.send(frame).is_err() {
                return;
            }
        }
    });
    let frame = frame();
    criterion.bench_function("both hops between threads", |bencher| {
        bencher.iter(|| {
            there.send(frame.clone()).expect("the session is there");
            outbox.recv().expect("the session answers")
        });
    });
    drop(there);
    runtime.block_on(session).expect("no panic");
}

criterion_group!(media, stamp, timeline, entries, frames, hop);
criterion_main!(media);
