//! The runs: which peers meet under which load, in alternation.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, UdpSocket},
    path::{Path as FilePath, PathBuf},
    time::Duration,
};

use anyhow::Context;

use crate::{
    job::{Job, Role, Worker},
    load::Load,
    peer::Peer,
    proxy::{Path, Proxy},
    usage::Figures,
};

/// The media that a publisher has sent when the subscriber comes, in the middle of a group.
const HEAD_START: Duration = Duration::from_millis(1500);
/// Longer than any run.
const FOREVER: u32 = 1_000_000;

/// What is measured and how often.
pub(crate) struct Plan {
    pub(crate) rounds: u32,
    pub(crate) measure: Duration,
    /// Where cargo builds to.
    pub(crate) target: PathBuf,
}

/// All figures of a scene: of each peer, one set a round.
pub(crate) type Results = BTreeMap<Peer, Vec<Figures>>;

/// One load under which peers are compared.
pub(crate) struct Scene {
    pub(crate) name: String,
    pub(crate) peers: Vec<Peer>,
    pub(crate) load: Load,
    pub(crate) subscribers: u32,
    /// The network between publisher and relay.
    pub(crate) path: Option<Path>,
}

impl Scene {
    fn new(name: impl Into<String>, peers: &[Peer], mbit: u64) -> Self {
        Self {
            name: name.into(),
            peers: peers.to_vec(),
            load: Load {
                fps: 60,
                bits: mbit * 1_000_000,
                group: 60,
                tracks: 1,
                frames: FOREVER,
            },
            subscribers: 1,
            path: None,
        }
    }

    /// The scenes whose names begin with `prefix`.
    pub(crate) fn all(prefix: &str) -> Vec<Self> {
        let mut scenes = Vec::new();
        for mbit in [10, 50, 200] {
            let peers: &[Peer] = if mbit == 10 { &Peer::ALL } else { &Peer::MOQ };
            scenes.push(Self::new(format!("rate: {mbit} Mbit/s"), peers, mbit));
        }
        for tracks in [8, 32, 64] {
            let mut scene = Self::new(format!("tracks: {tracks}, 16 Mbit/s"), &Peer::MOQ, 16);
            scene.load.tracks = tracks;
            scenes.push(scene);
        }
        for subscribers in [1, 10, 50, 200] {
            let name = format!("subscribers: {subscribers}, 1 Mbit/s each");
            let mut scene = Self::new(name, &Peer::MOQ, 1);
            scene.load.fps = 30;
            scene.load.group = 30;
            scene.subscribers = subscribers;
            scenes.push(scene);
        }
        scenes.extend(Self::networks());
        scenes.retain(|scene| scene.name.starts_with(prefix));
        scenes
    }

    fn networks() -> impl Iterator<Item = Self> {
        let lossy = |percent: u32| Path {
            delay: Duration::from_millis(25),
            loss: f64::from(percent) / 100.0,
            ..Path::default()
        };
        let half = Path {
            bandwidth: Some(2_000_000),
            queue: 2_000_000 / 8 / 10,
            ..Path::default()
        };
        let paths = [
            ("25 ms".to_owned(), lossy(0)),
            ("25 ms, 1 % loss".to_owned(), lossy(1)),
            ("25 ms, 5 % loss".to_owned(), lossy(5)),
            ("25 ms, 10 % loss".to_owned(), lossy(10)),
            ("half of the bandwidth".to_owned(), half),
        ];
        paths.into_iter().map(|(name, path)| {
            let mut scene = Self::new(format!("network: {name}, 4 Mbit/s"), &Peer::MOQ, 4);
            scene.load.fps = 30;
            scene.load.group = 30;
            scene.path = Some(path);
            scene
        })
    }

    /// Runs all peers in turn, round by round.
    pub(crate) fn run(&self, plan: &Plan) -> Results {
        let mut results = Results::new();
        for round in 1..=plan.rounds {
            for &peer in &self.peers {
                eprintln!(
                    "{}, round {round} of {}: {}",
                    self.name,
                    plan.rounds,
                    peer.name()
                );
                match self.measure(peer, plan) {
                    Ok(figures) => results.entry(peer).or_default().push(figures),
                    Err(err) => eprintln!("no result: {err:#}"),
                }
            }
        }
        results
    }

    /// One round of one peer.
    pub(crate) fn measure(&self, peer: Peer, plan: &Plan) -> anyhow::Result<Figures> {
        let mut job = self.job(Role::Relay, peer, plan);
        let relay = peer
            .is_moq()
            .then(|| Worker::start(&job, &plan.target, None))
            .transpose()?;
        job.url = match &relay {
            Some(relay) => relay.ready()?,
            None => format!("udp://127.0.0.1:{}", free_port()?),
        };
        let proxy = self
            .path
            .map(|path| Proxy::start(address(&job.url)?, path).context("a proxy"));
        let proxy = proxy.transpose()?;
        let front = proxy.as_ref().map_or(job.url.clone(), Proxy::url);
        let publish = Job {
            role: Role::Publish,
            url: front,
            ..job.clone()
        };
        let publisher = Worker::start(&publish, &plan.target, None)?;
        publisher.ready()?;
        std::thread::sleep(HEAD_START);
        job.role = Role::View;
        let viewer = Worker::start(&job, &plan.target, None)?;
        let mut figures = viewer.result(plan.measure)?;
        figures.extend(publisher.finish()?);
        if let Some(relay) = relay {
            figures.extend(relay.finish()?);
        }
        Ok(figures)
    }

    /// What the load costs at each end without a peer.
    pub(crate) fn harness(&self, bare: Peer, plan: &Plan) -> anyhow::Result<Figures> {
        let mut job = self.job(Role::View, bare, plan);
        let mut figures = Worker::start(&job, &plan.target, None)?.result(plan.measure)?;
        job.role = Role::Publish;
        let publisher = Worker::start(&job, &plan.target, None)?;
        publisher.ready()?;
        std::thread::sleep(Duration::from_secs(1) + plan.measure);
        let published = publisher.finish()?;
        // At this end the units were made, too.
        for (name, value) in &mut figures {
            let name = name.replace("subscriber", "publisher");
            *value -= published.get(&name).copied().unwrap_or_default();
        }
        figures.extend(published);
        Ok(figures)
    }

    pub(crate) fn job(&self, role: Role, peer: Peer, plan: &Plan) -> Job {
        Job {
            role,
            peer,
            url: String::new(),
            broadcast: "side-by-side".into(),
            load: self.load.clone(),
            subscribers: self.subscribers,
            measure: plan.measure,
        }
    }
}

/// Host and port of a URL.
pub(crate) fn address(url: &str) -> anyhow::Result<SocketAddr> {
    let (_, rest) = url.split_once("://").context("a URL")?;
    rest.trim_end_matches('/').parse().context("an address")
}

fn free_port() -> anyhow::Result<u16> {
    Ok(UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The highest rate in Mbit/s that arrives whole and in time, in steps of a quarter.
pub(crate) fn highest_rate(peer: Peer, plan: &Plan) -> anyhow::Result<f64> {
    let mut highest = 0.0;
    let mut mbit = 100;
    while mbit < 4000 {
        let figures = Scene::new("highest", &[peer], mbit).measure(peer, plan)?;
        let figure = |name: &str| figures.get(name).copied().unwrap_or(f64::INFINITY);
        let came = figure("frames") / plan.measure.as_secs_f64() / 60.0;
        let sustained =
            figure("frames lost %") == 0.0 && figure("delay p99 ms") < 200.0 && came > 0.97;
        eprintln!(
            "{}: {mbit} Mbit/s, {:.0} ms, {:.2} % lost, {:.0} % of the frames",
            peer.name(),
            figure("delay p99 ms"),
            figure("frames lost %"),
            came * 100.0
        );
        if !sustained {
            break;
        }
        highest = mbit as f64;
        mbit += mbit / 4;
    }
    Ok(highest)
}

/// Times of state changes, with a relay and without one.
pub(crate) fn states(peer: Peer, plan: &Plan) -> anyhow::Result<Figures> {
    let scene = Scene::new("states", &[peer], 1);
    let mut job = scene.job(Role::Relay, peer, plan);
    let relay = Worker::start(&job, &plan.target, None)?;
    job.role = Role::States;
    job.url = relay.ready()?;
    let mut figures = Worker::start(&job, &plan.target, None)?.result(plan.measure)?;
    relay.finish()?;
    job.url = format!("https://127.0.0.1:{}/", free_port()?);
    let without = Worker::start(&job, &plan.target, None)?.result(plan.measure)?;
    let changes = without
        .into_iter()
        .filter(|(name, _)| name.contains("READY"));
    figures.extend(changes.map(|(name, value)| (format!("no relay: {name}"), value)));
    Ok(figures)
}

/// Where callgrind's counts go.
pub(crate) fn counts(target: &FilePath, peer: Peer, role: Role, run: u32) -> PathBuf {
    target.join(format!("callgrind.{peer:?}.{role:?}.{run}"))
}
