// SPDX-License-Identifier: MIT
//! Under which load, with how many subscribers and over which network the peers are compared.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use crate::{
    job::{Job, Role},
    load::Load,
    peer::Peer,
    proxy::Path,
    report,
};

/// What a run takes besides media: processes that start, and a publisher alone.
pub(crate) const OVERHEAD: Duration = Duration::from_millis(1500);

/// What was cached when the subscriber came is read by then.
pub(crate) const SETTLE: Duration = Duration::from_secs(1);
/// What keeps media for 5 s has its cache full by then.
const FILL: Duration = Duration::from_secs(8);

/// How long many tracks or subscribers are measured.
const MANY: Duration = Duration::from_secs(3);

/// Longer than any run.
const FOREVER: u32 = 1_000_000;

/// The scenes of a quick look, by the beginnings of their names.
const QUICK: [&str; 5] = [
    "rate",
    "tracks: 8",
    "subscribers: 10",
    "network before the relay: 25 ms, 1 %",
    "network before the relay: half",
];

/// What is measured, how often and for how long.
pub(crate) struct Plan {
    pub(crate) rounds: u32,
    pub(crate) measure: Duration,
    pub(crate) quick: bool,
    /// Others are left out.
    pub(crate) peers: Vec<Peer>,
    /// Where cargo builds to.
    pub(crate) target: PathBuf,
    /// No round begins later.
    pub(crate) deadline: Instant,
}

impl Plan {
    pub(crate) fn is_over(&self) -> bool {
        Instant::now() > self.deadline
    }

    /// Those of `peers` that are wanted.
    pub(crate) fn of(&self, peers: &[Peer]) -> Vec<Peer> {
        let wanted = peers.iter().filter(|peer| self.peers.contains(peer));
        wanted.copied().collect()
    }
}

/// One load under which peers are compared.
#[derive(Clone)]
pub(crate) struct Scene {
    pub(crate) name: String,
    pub(crate) peers: Vec<Peer>,
    pub(crate) load: Load,
    pub(crate) subscribers: u32,
    /// The network between publisher and relay; without one they meet on loopback.
    pub(crate) path: Option<Path>,
    /// How long media come before it is measured.
    pub(crate) settle: Duration,
    /// For how long, and how often at most, where the plan does not say it.
    pub(crate) measure: Option<Duration>,
    pub(crate) rounds: Option<u32>,
}

impl Scene {
    pub(crate) fn new(name: impl Into<String>, peers: &[Peer], mbit: u64) -> Self {
        Self {
            name: name.into(),
            peers: peers.to_vec(),
            load: Load {
                fps: 60,
                bits: mbit * 1_000_000,
                group: 60,
                tracks: 1,
                frames: FOREVER,
                avc: false,
            },
            subscribers: 1,
            path: None,
            settle: SETTLE,
            measure: None,
            rounds: None,
        }
    }

    /// The scenes whose names begin with `prefix`.
    pub(crate) fn all(prefix: &str, plan: &Plan) -> Vec<Self> {
        let mut scenes: Vec<Self> = Self::rates().collect();
        scenes.extend([1, 8, 32, 64].map(|tracks| {
            let mut scene = Self::new(format!("tracks: {tracks}, 16 Mbit/s"), &Peer::MOQ, 16);
            scene.load.tracks = tracks;
            scene.measure = Some(MANY);
            scene
        }));
        scenes.extend([1, 10, 50, 200].map(|subscribers| {
            let name = format!("subscribers: {subscribers}, 1 Mbit/s each");
            let peers = [Peer::Library, Peer::Ours, Peer::Direct, Peer::MoqGst];
            let mut scene = Self::new(name, &peers, 1);
            scene.load.fps = 30;
            scene.load.group = 30;
            scene.subscribers = subscribers;
            scene.measure = Some(MANY);
            scene
        }));
        scenes.extend(Self::networks());
        let mut memory = Self::new("memory: 200 Mbit/s for 20 s", &Peer::MOQ, 200);
        memory.settle = FILL;
        memory.measure = Some(Duration::from_secs(20) - FILL);
        memory.rounds = Some(2);
        scenes.push(memory);
        scenes.retain(|scene| {
            let quick = || QUICK.iter().any(|quick| scene.name.starts_with(quick));
            scene.name.starts_with(prefix) && (!plan.quick || quick())
        });
        for scene in &mut scenes {
            scene.peers = plan.of(&scene.peers);
        }
        scenes
    }

    fn rates() -> impl Iterator<Item = Self> {
        let with_cmaf = [Peer::Library, Peer::Ours, Peer::Cmaf, Peer::MoqGst];
        let without_relay = [
            Peer::Library,
            Peer::Ours,
            Peer::Direct,
            Peer::MoqGst,
            Peer::Srt,
            Peer::Rtp,
        ];
        let rates: [(u64, &[Peer]); 3] =
            [(10, &without_relay), (50, &with_cmaf), (200, &Peer::MOQ)];
        rates
            .map(|(mbit, peers)| Self::new(format!("rate: {mbit} Mbit/s"), peers, mbit))
            .into_iter()
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
            ("clean", Path::default()),
            ("25 ms each way", lossy(0)),
            ("25 ms, 1 % loss", lossy(1)),
            ("25 ms, 5 % loss", lossy(5)),
            ("25 ms, 10 % loss", lossy(10)),
            ("half of the bandwidth", half),
        ];
        paths.into_iter().map(|(name, path)| {
            let mut scene = Self::new(
                format!("network before the relay: {name}, 4 Mbit/s"),
                &Peer::MOQ,
                4,
            );
            scene.load.fps = 30;
            scene.load.group = 30;
            scene.path = Some(path);
            scene
        })
    }

    /// Whether only the peers take time and cost CPU.
    pub(crate) fn measures_loopback(&self) -> bool {
        self.path.is_none()
    }

    /// Titles and columns of the tables of this scene.
    pub(crate) fn tables(&self) -> Vec<(&'static str, &'static [&'static str])> {
        let delay = ("", report::DELAYS);
        let memory = (": memory", report::MEMORY);
        match (self.path, self.settle) {
            (Some(_), _) => vec![delay, memory],
            (None, FILL) => vec![
                (": cost", report::COSTS),
                memory,
                (": growth", report::GROWTH),
            ],
            (None, _) => vec![delay, (": cost", report::COSTS), memory],
        }
    }

    pub(crate) fn rounds(&self, plan: &Plan) -> u32 {
        plan.rounds.min(self.rounds.unwrap_or(u32::MAX))
    }

    pub(crate) fn measure_for(&self, plan: &Plan) -> Duration {
        match self.measure {
            // The caches take their time.
            Some(measure) if self.settle == FILL => measure,
            Some(measure) => measure.min(plan.measure),
            None => plan.measure,
        }
    }

    /// How long all rounds take, about.
    pub(crate) fn estimate(&self, plan: &Plan) -> Duration {
        let runs = self.rounds(plan) * self.peers.len() as u32;
        // The harness once with GStreamer, once without, and its delay.
        let harness = match self.measures_loopback() {
            true => (SETTLE + MANY + OVERHEAD) * 3,
            false => Duration::ZERO,
        };
        (self.settle + self.measure_for(plan) + OVERHEAD) * runs + harness
    }

    pub(crate) fn job(&self, role: Role, peer: Peer, plan: &Plan) -> Job {
        let load = Load {
            // Its initialization segment is made of the caps.
            avc: peer == Peer::Cmaf,
            ..self.load.clone()
        };
        Job {
            role,
            peer,
            url: String::new(),
            broadcast: "side-by-side".into(),
            load,
            subscribers: self.subscribers,
            settle: self.settle,
            measure: self.measure_for(plan),
        }
    }
}
