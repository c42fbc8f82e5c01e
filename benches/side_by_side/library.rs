// SPDX-License-Identifier: MIT
//! The MoQ crates alone: what a publisher and a subscriber cost without GStreamer.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use moq_mux::{
    catalog::hang as wire,
    container::{self, Container as _},
};
use moq_net::{Timestamp, group, origin, track};
use moq_tokio::{Client, Connection, connect, quic};
use tokio::{runtime::Runtime, task::JoinSet};

/// As in the plugin.
const CONTAINER: wire::Container = wire::Container::Legacy(container::Kind::Data);
const MAX_AGE: Duration = Duration::from_millis(100);

/// One worker, as the plugin has.
pub(crate) fn runtime() -> anyhow::Result<Runtime> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    runtime.context("a runtime")
}

async fn session(
    url: &str,
    attach: impl FnOnce(Client) -> Client,
) -> anyhow::Result<(Client, Connection)> {
    let mut config = connect::Config::default();
    config.tls.insecure = Some(true);
    config.websocket.enabled = Some(false);
    let client = attach(config.init(quic::Config::default())?);
    let url: url::Url = url.parse().context("the relay's URL")?;
    let connection = client.connect(url).established().await?;
    Ok((client, connection))
}

/// A publisher that is written to from any thread.
pub(crate) struct Publisher {
    tracks: Vec<(track::Producer, Option<group::Producer>)>,
    _broadcast: moq_net::broadcast::Producer,
    _session: (Client, Connection),
}

impl Publisher {
    pub(crate) async fn start(url: &str, broadcast: &str, tracks: u32) -> anyhow::Result<Self> {
        let origin = moq_tokio::origin::spawn();
        let broadcast = origin.create_broadcast(broadcast)?;
        let tracks = (0..tracks).map(|number| {
            let info = hang::container::track_info(60).with_max_age(Duration::from_secs(5));
            let track = broadcast.create_track(format!("video-{number}").as_str(), info)?;
            Ok((track, None))
        });
        let tracks = tracks.collect::<anyhow::Result<_>>()?;
        broadcast.announce(origin::Route::default())?;
        let consumer = origin.consume();
        let session = session(url, |client| client.with_publisher(consumer)).await?;
        Ok(Self {
            tracks,
            _broadcast: broadcast,
            _session: session,
        })
    }

    pub(crate) fn write(
        &mut self,
        track: u32,
        time: Duration,
        key: bool,
        payload: Vec<u8>,
    ) -> anyhow::Result<()> {
        let (track, open) = &mut self.tracks[track as usize];
        if key {
            if let Some(group) = open.take() {
                group.finish()?;
            }
            *open = Some(track.append_group()?);
        }
        let group = open.as_mut().context("a keyframe comes first")?;
        let frame = container::Frame {
            timestamp: Timestamp::from_micros(time.as_micros() as u64)?,
            duration: None,
            payload: Bytes::from(payload),
            keyframe: key,
        };
        Ok(CONTAINER.write(group, &[frame])?)
    }
}

/// Reads all tracks of a broadcast, each in a task of its own, until they end.
pub(crate) async fn subscribe(
    url: &str,
    broadcast: &str,
    tracks: u32,
    take: impl Fn(u32, &[u8]) + Clone + Send + 'static,
) -> anyhow::Result<()> {
    let origin = moq_tokio::origin::spawn();
    let attached = origin.clone();
    let _session = session(url, |client| client.with_subscriber(attached)).await?;
    let broadcast = origin.consume().routed_broadcast(broadcast).await?;
    let mut readers = JoinSet::new();
    for number in 0..tracks {
        let track = broadcast.track(&format!("video-{number}"))?;
        let take = take.clone();
        readers.spawn(read(track, move |payload| take(number, payload)));
    }
    while let Some(read) = readers.join_next().await {
        read??;
    }
    Ok(())
}

async fn read(track: track::Consumer, take: impl Fn(&[u8])) -> anyhow::Result<()> {
    let subscription = track::Subscription::default()
        .with_priority(60)
        .with_max_age(MAX_AGE);
    let mut groups = track.subscribe(subscription).await?.ordered();
    while let Some(mut group) = groups.next_group().await? {
        // A group that breaks off was given up.
        while let Ok(Some(frames)) = CONTAINER.read(&mut group).await {
            for frame in frames {
                take(&frame.payload);
            }
        }
    }
    Ok(())
}
