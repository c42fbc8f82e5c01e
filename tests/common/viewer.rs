// SPDX-License-Identifier: MIT
//! A subscriber that knows nothing of GStreamer: what it gets is what is on the wire.

use std::{
    collections::BTreeMap,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use hang::Catalog;
use moq_mux::{
    catalog::{CatalogFormat, Consumer, Stream, hang::Container},
    container::{Container as _, Kind},
};
use moq_net::track::Subscription;
use tokio::{sync::oneshot, task::JoinSet};

/// One frame as it came over the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Microseconds.
    pub(crate) timestamp: u64,
    pub(crate) payload: Vec<u8>,
    /// Whether the container marks it as a keyframe; only CMAF does.
    pub(crate) key: bool,
    /// With its container; empty for all but the first frame of a fragment.
    pub(crate) wire: Vec<u8>,
}

/// Everything that came so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) catalogs: Vec<Catalog>,
    /// Groups in their order, by track.
    pub(crate) tracks: BTreeMap<String, BTreeMap<u64, Vec<Frame>>>,
    /// How many groups ended cleanly, by track.
    pub(crate) complete: BTreeMap<String, usize>,
    /// Tracks that ended cleanly.
    pub(crate) ended: Vec<String>,
    /// How often a catalog track ended cleanly.
    pub(crate) broadcasts_ended: usize,
}

impl Seen {
    /// The frames of a track in the order of its groups.
    pub(crate) fn frames(&self, track: &str) -> Vec<Frame> {
        let groups = self.tracks.get(track).into_iter();
        groups
            .flat_map(|groups| groups.values())
            .flatten()
            .cloned()
            .collect()
    }

    /// How many frames of a track came.
    pub(crate) fn count(&self, track: &str) -> usize {
        let groups = self.tracks.get(track).into_iter();
        groups
            .flat_map(|groups| groups.values())
            .map(Vec::len)
            .sum()
    }

    pub(crate) fn catalog(&self) -> Catalog {
        self.catalogs.last().cloned().unwrap_or_default()
    }
}

/// A running subscriber to one broadcast name, stopped when it is dropped.
pub(crate) struct Viewer {
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Seen>,
    changed: Condvar,
}

impl Viewer {
    /// Subscribes to all tracks of `broadcast`, now and whenever it comes again.
    pub(crate) fn start(url: &str, broadcast: &str) -> Self {
        Self::start_on(url, broadcast, CatalogFormat::Hang)
    }

    /// The same by another catalog.
    pub(crate) fn start_on(url: &str, broadcast: &str, format: CatalogFormat) -> Self {
        let shared = Arc::new(Shared::default());
        let (stop, stopped) = oneshot::channel();
        let watching = watch(url.to_owned(), broadcast.to_owned(), format, shared.clone());
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                tokio::select! {
                    result = watching => result.expect("the subscriber goes on"),
                    _ = stopped => {}
                }
            });
        });
        Self {
            shared,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Waits until what was seen satisfies `reached`.
    pub(crate) fn wait(
        &self,
        claim: &str,
        deadline: Duration,
        reached: impl Fn(&Seen) -> bool,
    ) -> Seen {
        let end = Instant::now() + deadline;
        let mut seen = self.shared.lock();
        while !reached(&seen) {
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "within {deadline:?}: {claim}");
            let waited = self.shared.changed.wait_timeout(seen, left);
            seen = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        seen.clone()
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the subscriber has been printed, and the test fails by what is missing.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }
}

/// The first group that a track still has, with its number: a relay hands on all that are kept.
pub(crate) fn first_group(url: &str, broadcast: &str, track: &str) -> (u64, Vec<u8>) {
    const BOUND: Duration = Duration::from_secs(30);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let reading = async {
        let (consumer, _connection) = connect(url)?;
        let broadcast = consumer.routed_broadcast(broadcast).await?;
        let preferences = Subscription::default()
            .with_max_age(Duration::from_secs(30))
            .with_groups(0..);
        let mut track = broadcast.track(track)?.subscribe(preferences).await?;
        let group = track.recv_group().await?;
        let mut group = group.ok_or_else(|| anyhow::anyhow!("the track has no group"))?;
        let frame = group.read_frame().await?;
        let frame = frame.ok_or_else(|| anyhow::anyhow!("the group is empty"))?;
        Ok::<_, anyhow::Error>((group.sequence, frame.payload.to_vec()))
    };
    let read = runtime.block_on(async { tokio::time::timeout(BOUND, reading).await });
    read.expect("in time").expect("a group")
}

fn connect(url: &str) -> anyhow::Result<(moq_net::origin::Consumer, moq_tokio::Connection)> {
    let mut config = moq_tokio::connect::Config::default();
    config.tls.insecure = Some(true);
    config.websocket.enabled = Some(false);
    config.backoff.timeout = Duration::ZERO;
    let client = config.init(moq_tokio::quic::Config::default())?;
    let origin = moq_tokio::origin::spawn();
    let consumer = origin.consume();
    let connection = client
        .with_subscriber(origin)
        .connect(url::Url::parse(url)?);
    Ok((consumer, connection))
}

async fn watch(
    url: String,
    name: String,
    format: CatalogFormat,
    shared: Arc<Shared>,
) -> anyhow::Result<()> {
    let (consumer, _connection) = connect(&url)?;
    loop {
        let broadcast = consumer.routed_broadcast(name.as_str()).await?;
        // An error says that the broadcast was lost: it may come again.
        let _ = follow(&broadcast, format, &shared).await;
        let _ = tokio::time::timeout(Duration::from_secs(1), broadcast.closed()).await;
    }
}

/// Follows one broadcast to its end, with all tracks that its catalog ever names.
async fn follow(
    broadcast: &moq_net::broadcast::Consumer,
    format: CatalogFormat,
    shared: &Arc<Shared>,
) -> anyhow::Result<()> {
    let mut catalogs = Consumer::<()>::new(broadcast, format).await?;
    let mut names: Vec<String> = Vec::new();
    let mut tracks = JoinSet::new();
    while let Some(catalog) = catalogs.next().await? {
        let video = catalog.video.renditions.iter();
        let video = video.map(|(name, config)| (name, &config.container));
        let audio = catalog.audio.renditions.iter();
        let audio = audio.map(|(name, config)| (name, &config.container));
        let text = catalog.text.renditions.iter();
        let text = text.map(|(name, config)| (name, &config.container));
        for (name, container) in video.chain(audio).chain(text) {
            if !names.contains(name) {
                names.push(name.clone());
                let container = Container::new(container, Kind::Data)?;
                let name = name.clone();
                tracks.spawn(read(broadcast.clone(), name, container, shared.clone()));
            }
        }
        shared.note(|seen| seen.catalogs.push(catalog));
    }
    while tracks.join_next().await.is_some() {}
    shared.note(|seen| seen.broadcasts_ended += 1);
    Ok(())
}

async fn read(
    broadcast: moq_net::broadcast::Consumer,
    name: String,
    container: Container,
    shared: Arc<Shared>,
) -> anyhow::Result<()> {
    let container = Arc::new(container);
    let preferences = Subscription::default()
        .with_max_age(Duration::from_secs(30))
        .with_groups(0..);
    let mut track = broadcast
        .track(name.as_str())?
        .subscribe(preferences)
        .await?;
    let mut groups = JoinSet::new();
    while let Some(mut group) = track.recv_group().await? {
        let (name, shared) = (name.clone(), shared.clone());
        let container = container.clone();
        groups.spawn(async move {
            let mut raw = group.clone();
            loop {
                let wire = match raw.read_frame().await {
                    Ok(Some(wire)) => wire,
                    Ok(None) => {
                        shared.note(|seen| *seen.complete.entry(name.clone()).or_default() += 1);
                        return;
                    }
                    Err(_) => return,
                };
                let frames = container.read(&mut group).await.expect("frames");
                let mut wire = wire.payload.to_vec();
                for frame in frames.expect("as many as on the wire") {
                    let frame = Frame {
                        timestamp: u64::try_from(frame.timestamp.as_micros()).expect("a time"),
                        payload: frame.payload.to_vec(),
                        key: frame.keyframe,
                        wire: std::mem::take(&mut wire),
                    };
                    shared.note(|seen| {
                        let track = seen.tracks.entry(name.clone()).or_default();
                        track.entry(group.sequence).or_default().push(frame);
                    });
                }
            }
        });
    }
    while groups.join_next().await.is_some() {}
    shared.note(|seen| seen.ended.push(name));
    Ok(())
}
