// SPDX-License-Identifier: MIT
//! A publisher that knows nothing of GStreamer, for catalogs and tracks that `moqsink` never writes.

use std::{future::Future, time::Duration};

use moq_json::{Compression, snapshot};
use moq_net::{Timestamp, broadcast, group, track};
use tokio::runtime::Runtime;

/// How long the relay may take to answer, and the goodbye at the end.
const BOUND: Duration = Duration::from_secs(10);

/// A broadcast at the relay, withdrawn without a goodbye when it is dropped.
pub(crate) struct Announced {
    runtime: Runtime,
    broadcast: broadcast::Producer,
    origin: moq_net::origin::Producer,
    _connection: moq_tokio::Connection,
}

impl Announced {
    /// Announces `broadcast` with the tracks that `fill` gives it.
    pub(crate) fn start<T>(
        url: &str,
        broadcast: &str,
        fill: impl FnOnce(&mut broadcast::Producer) -> T,
    ) -> (Self, T) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("the publisher's runtime starts");
        let guard = runtime.enter();
        let origin = moq_tokio::origin::spawn();
        let client = client().with_publisher(origin.consume().with_hidden(true));
        let mut producer = origin
            .create_broadcast(broadcast)
            .expect("the name is free");
        let filled = fill(&mut producer);
        producer
            .announce(moq_net::origin::Route::default())
            .expect("the broadcast is announced");
        let url: url::Url = url.parse().expect("a URL");
        let connection = runtime
            .block_on(async {
                tokio::time::timeout(BOUND, client.connect(url).established()).await
            })
            .expect("the relay answers in time")
            .expect("the relay accepts the publisher");
        drop(guard);
        let this = Self {
            runtime,
            broadcast: producer,
            origin,
            _connection: connection,
        };
        (this, filled)
    }

    /// Announces another broadcast, without anything in it.
    pub(crate) fn announce_other(&self, name: &str) -> broadcast::Producer {
        let _guard = self.runtime.enter();
        let other = self.origin.create_broadcast(name);
        let other = other.expect("the name is free");
        other
            .announce(moq_net::origin::Route::default())
            .expect("the broadcast is announced");
        other
    }

    /// Waits until `done` or fails.
    pub(crate) fn wait<T>(&self, claim: &str, done: impl Future<Output = T>) -> T {
        self.runtime
            .block_on(async { tokio::time::timeout(BOUND, done).await })
            .unwrap_or_else(|_| panic!("within {BOUND:?} {claim}"))
    }
}

fn client() -> moq_tokio::Client {
    let mut config = moq_tokio::connect::Config::default();
    config.once = Some(true);
    config.tls.insecure = Some(true);
    config.websocket.enabled = Some(false);
    let client = config.init(moq_tokio::quic::Config::default());
    client.expect("the client starts")
}

/// Waits until the relay tells everyone of `broadcast`.
pub(crate) fn wait_announced(url: &str, broadcast: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime starts");
    let url: url::Url = url.parse().expect("a URL");
    let heard = runtime.block_on(async {
        let origin = moq_tokio::origin::spawn();
        let connection = client().with_subscriber(origin.clone()).connect(url);
        let heard = origin.consume();
        let heard = tokio::time::timeout(BOUND, heard.routed_broadcast(broadcast)).await;
        drop(connection);
        heard
    });
    let heard = heard.unwrap_or_else(|_| panic!("within {BOUND:?} the relay reports {broadcast}"));
    heard.expect("the broadcast is there");
}

/// A broadcast of tracks that are written by hand, withdrawn without a goodbye when it is dropped.
pub(crate) struct Publisher {
    announced: Announced,
    catalog: track::Producer,
    /// What compresses the catalog.
    compressed: Option<snapshot::Producer<serde_json::Value>>,
}

impl Publisher {
    /// Announces `broadcast` with this text as its hang catalog.
    pub(crate) fn start(url: &str, broadcast: &str, catalog: &str) -> Self {
        Self::start_on(url, broadcast, hang::Catalog::DEFAULT_NAME, catalog)
    }

    /// Announces `broadcast` with this text on the only catalog track that it has, compressed if
    /// the name of the track is the one for that.
    pub(crate) fn start_on(url: &str, broadcast: &str, track: &str, catalog: &str) -> Self {
        let compressed = track == hang::Catalog::COMPRESSED_NAME;
        let (announced, track) = Announced::start(url, broadcast, |producer| {
            producer
                .create_track(track, hang::Catalog::default_track_info())
                .expect("the catalog's name is free")
        });
        let compressed = compressed.then(|| {
            let mut config = snapshot::Config::default();
            config.compression = Compression::Deflate;
            snapshot::Producer::new(track.clone(), config)
        });
        let mut this = Self {
            announced,
            catalog: track,
            compressed,
        };
        this.update(catalog);
        this
    }

    /// Publishes another text as the catalog.
    pub(crate) fn update(&mut self, catalog: &str) {
        if let Some(compressed) = &mut self.compressed {
            let value: serde_json::Value = serde_json::from_str(catalog).expect("JSON");
            compressed.update(&value).expect("the catalog is written");
            return;
        }
        let text = catalog.to_owned().into_bytes();
        self.catalog
            .write_frame(Timestamp::now(), text)
            .expect("the catalog takes a group");
    }

    /// A new track in hang's framing.
    pub(crate) fn track(&self, name: &str) -> track::Producer {
        self.announced
            .broadcast
            .create_track(name, hang::container::track_info(60))
            .expect("the track's name is free")
    }

    /// Announces another broadcast, without anything in it.
    pub(crate) fn announce_other(&self, name: &str) -> broadcast::Producer {
        self.announced.announce_other(name)
    }

    /// Withdraws the broadcast, whose tracks live on.
    pub(crate) fn withdraw(&self) {
        self.announced.broadcast.unannounce();
    }

    /// Announces it again.
    pub(crate) fn announce(&self) {
        let route = moq_net::origin::Route::default();
        let announced = self.announced.broadcast.announce(route);
        announced.expect("the broadcast is announced");
    }

    /// Says on purpose that nothing will be listed any more; the tracks go on.
    pub(crate) fn finish_catalog(&self) {
        self.catalog.finish().expect("the catalog ends");
    }

    /// Ends the broadcast on purpose.
    pub(crate) fn finish(&self) {
        self.finish_catalog();
        self.announced.broadcast.close();
    }

    /// Waits until somebody reads the catalog.
    pub(crate) fn wait_catalog_used(&self) {
        self.wait_used(&self.catalog);
    }

    /// Waits until somebody reads the track.
    pub(crate) fn wait_used(&self, track: &track::Producer) {
        self.announced
            .wait("the track is asked for", track.used())
            .expect("the track lives");
    }
}

/// One group of one frame of `payload` at `micros`.
pub(crate) fn write(track: &track::Producer, micros: u64, payload: &[u8]) {
    let mut group = track.append_group().expect("the track takes a group");
    add(&mut group, micros, payload);
    group.finish().expect("the group ends");
}

/// Adds a frame of `payload` at `micros` to a group.
pub(crate) fn add(group: &mut group::Producer, micros: u64, payload: &[u8]) {
    hang::container::Frame {
        timestamp: Timestamp::from_micros(micros).expect("a timestamp"),
        payload: payload.to_vec().into(),
    }
    .write_to(group)
    .expect("the group takes a frame");
}
