// SPDX-License-Identifier: MIT
//! The live table: one row a second.

use std::time::Duration;

use crate::{
    probe::{Delays, Sample, median, skews},
    subscriber::Subscriber,
};

/// Rows between two headers.
const ROWS: u32 = 20;

/// The table so far.
pub(crate) struct Table {
    video: Delays,
    audio: Delays,
    rows: u32,
    before: Counts,
}

/// What has been counted up to a row.
#[derive(Clone, Copy, Default)]
struct Counts {
    elapsed: Duration,
    frames: u64,
    bytes: u64,
}

impl Table {
    /// A table of what is measured there.
    pub(crate) fn new(video: Delays, audio: Delays) -> Self {
        Self {
            video,
            audio,
            rows: 0,
            before: Counts::default(),
        }
    }

    /// Prints what happened since the last row.
    pub(crate) fn row(&mut self, elapsed: Duration, subscriber: &Subscriber) {
        if self.rows.is_multiple_of(ROWS) {
            println!("elapsed  video    fps    audio     rate   video   audio     A/V  drops");
            println!("      s frames         packets   kbit/s   delay   delay    skew       ");
        }
        self.rows += 1;
        let (_, video_bytes) = self.video.received();
        let (packets, audio_bytes) = self.audio.received();
        let now = Counts {
            elapsed,
            frames: subscriber.frames(),
            bytes: video_bytes + audio_bytes,
        };
        let seconds = (now.elapsed - self.before.elapsed).as_secs_f64().max(0.001);
        let fps = (now.frames - self.before.frames) as f64 / seconds;
        let rate = (now.bytes - self.before.bytes) as f64 * 8.0 / 1000.0 / seconds;
        let (video, audio) = (self.video.take_samples(), self.audio.take_samples());
        let skew = skews(&video, &audio).into_iter().map(|(_, skew)| skew);
        println!(
            "{:7.0} {:6} {:6.1} {:8} {:8.0} {:>7} {:>7} {:>7} {:6}",
            elapsed.as_secs_f64(),
            now.frames,
            fps,
            packets,
            rate,
            milliseconds(median(video.iter().map(Sample::delay))),
            milliseconds(median(audio.iter().map(Sample::delay))),
            milliseconds(median(skew)),
            subscriber.dropped(),
        );
        self.before = now;
    }
}

fn milliseconds(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.1}"))
}
