// SPDX-License-Identifier: MIT
//! Reads one of hang's own data tracks, whose records carry no time: theirs is that of their arrival.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    time::Duration,
};

use bytes::Bytes;
use moq_json::snapshot;
use moq_mux::binary;
use moq_net::{broadcast, track};
use tokio::time::Instant;

use super::config::Config;
use crate::{
    media::catalog::data::Records,
    source::{
        CAT,
        message::{Frame, TrackEnd},
        playback::Playback,
    },
};

/// No greater JSON value is read, in bytes: each change of it is written out anew.
const MAX_VALUE: usize = 4 << 20;

/// A track pauses at least this many times as long as the reading of a record took, ...
const PAUSE_FACTOR: u32 = 3;
/// ... though a pause that would be shorter is left out.
const MIN_PAUSE: Duration = Duration::from_millis(20);

/// Keeps a track that is much work from holding up the others, which share its thread.
struct Pacer {
    /// When the work so far is made up for.
    until: Instant,
}

impl Pacer {
    fn new(now: Instant) -> Self {
        Self { until: now }
    }

    /// Takes in work that took as long until now; how long it has to pause.
    fn after(&mut self, work: Duration, now: Instant) -> Duration {
        self.until = self.until.max(now) + work * PAUSE_FACTOR;
        let pause = self.until - now;
        match pause < MIN_PAUSE {
            true => Duration::ZERO,
            false => pause,
        }
    }
}

/// What `future` comes to, and how long it worked for it.
async fn measured<T>(future: impl Future<Output = T>) -> (T, Duration) {
    let mut future = pin!(future);
    let mut work = Duration::ZERO;
    let result = poll_fn(|context| {
        let begun = Instant::now();
        let poll = future.as_mut().poll(context);
        work += begun.elapsed();
        poll
    });
    let result = result.await;
    (result, work)
}

/// The records of one track.
enum Consumer {
    Json(snapshot::Consumer<serde_json::Value>),
    Binary(binary::Consumer),
}

impl Consumer {
    fn new(track: track::Subscriber, records: &Records) -> moq_mux::Result<Self> {
        Ok(match records {
            Records::Json(config) => {
                let mut options = snapshot::consumer::Config::default();
                options.max_size = Some(MAX_VALUE);
                if config.compression.is_some() {
                    options.compression = moq_json::Compression::Deflate;
                }
                Self::Json(snapshot::Consumer::new(track, options))
            }
            Records::Binary(config) => Self::Binary(binary::Consumer::from_track(track, config)?),
        })
    }

    async fn next(&mut self) -> moq_mux::Result<Option<Bytes>> {
        match self {
            Self::Json(json) => {
                let value = json.next().await?;
                Ok(value.map(|value| value.to_string().into()))
            }
            Self::Binary(binary) => binary.next().await,
        }
    }

    /// Whether another subscription would give again what came before.
    fn repeats(&self) -> bool {
        matches!(self, Self::Binary(binary) if *binary.mode() == hang::catalog::Mode::Stream)
    }
}

/// Reads `records` until their track ends.
pub(super) async fn read(
    config: &Config,
    records: &Records,
    playback: &Playback,
    broadcast: &broadcast::Consumer,
) -> moq_mux::Result<TrackEnd> {
    let subscription = track::Subscription::default()
        .with_priority(config.priority)
        .with_max_age(config.max_age);
    let subscribing = broadcast.track(&config.name)?.subscribe(subscription);
    let Some(track) = config.tail.before_silence(subscribing).await else {
        return Ok(TrackEnd::Retired);
    };
    let mut consumer = Consumer::new(track?, records)?;
    let mut first = true;
    let mut pacer = Pacer::new(Instant::now());
    loop {
        tokio::task::coop::consume_budget().await;
        let next = measured(consumer.next());
        let Some((next, work)) = config.tail.before_silence(next).await else {
            return Ok(TrackEnd::Retired);
        };
        let payload = match next {
            Ok(Some(payload)) => payload,
            Ok(None) => return Ok(TrackEnd::Finished),
            Err(err) if !first && consumer.repeats() => {
                gst::warning!(CAT, id = &config.log, "The log broke off: {err}");
                return Ok(TrackEnd::Finished);
            }
            Err(err) => return Err(err),
        };
        config.pad.count(payload.len());
        let pts = playback.clock.running_time();
        let charge = match config.pad.try_charge(payload.len(), playback.latency()) {
            Some(charge) => charge,
            None => config.pad.charge(payload.len()).await,
        };
        config.pad.send(Frame {
            pts,
            dts: None,
            duration: None,
            discont: std::mem::take(&mut first),
            delta: false,
            stays: false,
            unseen: false,
            offset: None,
            charge: charge.at(pts),
            payload,
        });
        tokio::time::sleep(pacer.after(work, Instant::now())).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn much_work_takes_a_quarter_of_the_time_and_little_is_done_at_once() {
        let begun = Instant::now();
        let mut now = begun;
        let mut pacer = Pacer::new(now);
        let ms = Duration::from_millis;
        for _ in 0..100 {
            now += ms(50);
            now += pacer.after(ms(50), now);
        }
        assert_eq!(now - begun, ms(100 * 4 * 50));
        let mut pacer = Pacer::new(now);
        for _ in 0..100 {
            now += ms(33);
            assert!(pacer.after(ms(1), now).is_zero());
        }
        let pauses = (0..1000).map(|_| pacer.after(ms(1), now));
        assert!(
            pauses.max() > Some(ms(1000)),
            "what comes at once is summed up"
        );
    }
}
