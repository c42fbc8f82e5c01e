// SPDX-License-Identifier: MIT
//! The runs of a scene: the processes of each peer in turn, round by round.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, UdpSocket},
    thread,
    time::Duration,
};

use anyhow::Context;

use crate::{
    job::{Job, Role, Worker},
    peer::Peer,
    proxy::Proxy,
    scenes::{Plan, SETTLE, Scene},
    usage::Figures,
};

/// How long a publisher has sent when the subscriber comes, in the middle of a group.
const HEAD_START: Duration = Duration::from_millis(500);
/// How long the load alone is measured.
const ALONE: Duration = Duration::from_secs(3);
/// How long one rate is tried.
pub(crate) const TRY: Duration = Duration::from_secs(3);

/// Frames of a group when rates are high: the MoQ crates allow it 32 MiB, more than 4 Gbit/s here.
const SHORT_GROUP: u32 = 4;

/// All figures of a scene: of each peer, one set a round.
pub(crate) type Results = BTreeMap<Peer, Vec<Figures>>;

/// Runs all peers in turn, round by round.
pub(crate) fn scene(scene: &Scene, plan: &Plan) -> Results {
    alternate(
        &scene.name,
        &scene.peers,
        scene.rounds(plan),
        plan,
        |peer, round| measure(scene, peer, round, plan),
    )
}

/// Calls `run` for each peer in turn, `rounds` times, unless time is over.
pub(crate) fn alternate(
    name: &str,
    peers: &[Peer],
    rounds: u32,
    plan: &Plan,
    run: impl Fn(Peer, u32) -> anyhow::Result<Figures>,
) -> Results {
    let mut results = Results::new();
    for round in 1..=rounds {
        if plan.is_over() {
            eprintln!("{name}: no time is left for round {round} of {rounds}");
            break;
        }
        for &peer in peers {
            eprintln!("{name}, round {round} of {rounds}: {}", peer.name());
            match run(peer, round) {
                Ok(figures) => results.entry(peer).or_default().push(figures),
                Err(err) => eprintln!("no result: {err:#}"),
            }
        }
    }
    results
}

/// One round of one peer; in each round all peers lose the same packets.
fn measure(scene: &Scene, peer: Peer, round: u32, plan: &Plan) -> anyhow::Result<Figures> {
    let mut job = scene.job(Role::Relay, peer, plan);
    let mut relay = peer
        .is_relayed()
        .then(|| Worker::start(&job, &plan.target, None))
        .transpose()?;
    job.url = match &relay {
        Some(relay) => relay.ready()?,
        None => format!("udp://127.0.0.1:{}", free_port()?),
    };
    let proxy = scene
        .path
        .map(|path| Proxy::start_with_luck(address(&job.url)?, path, round).context("a proxy"));
    let proxy = proxy.transpose()?;
    let publish = Job {
        role: Role::Publish,
        url: proxy.as_ref().map_or(job.url.clone(), Proxy::url),
        ..job.clone()
    };
    let mut publisher = Worker::start(&publish, &plan.target, None)?;
    publisher.ready()?;
    thread::sleep(HEAD_START);
    job.role = Role::View;
    let subscriber = Worker::start(&job, &plan.target, None)?;
    subscriber.measuring()?;
    // All processes are measured over the same time.
    publisher.measure()?;
    if let Some(relay) = &mut relay {
        relay.measure()?;
    }
    let mut figures = subscriber.result(job.settle + job.measure)?;
    figures.extend(publisher.finish()?);
    let megabytes = figures.get("MB").copied().unwrap_or(f64::NAN);
    if let Some(relay) = relay {
        let mut relayed = relay.finish()?;
        let cpu = relayed.remove("relay CPU ms").unwrap_or(f64::NAN);
        figures.extend(relayed);
        figures.insert("relay CPU ms/MB".into(), cpu / megabytes);
    }
    Ok(figures)
}

/// What the load costs at each end of a scene without a peer.
pub(crate) fn harness(scene: &Scene, bare: Peer, plan: &Plan) -> anyhow::Result<Figures> {
    let mut scene = scene.clone();
    (scene.settle, scene.measure) = (SETTLE, Some(ALONE));
    let view = scene.job(Role::View, bare, plan);
    let publish = scene.job(Role::Publish, bare, plan);
    // As many units as all subscribers get, only made.
    let mut make = scene.job(Role::Publish, Peer::Bare, plan);
    make.load.tracks *= scene.subscribers;
    make.load.bits *= u64::from(scene.subscribers);
    let mut publishers = [
        Worker::start(&publish, &plan.target, None)?,
        Worker::start(&make, &plan.target, None)?,
    ];
    let subscriber = Worker::start(&view, &plan.target, None)?;
    subscriber.measuring()?;
    for publisher in &mut publishers {
        publisher.ready()?;
        publisher.measure()?;
    }
    let mut figures = subscriber.result(ALONE)?;
    let [published, made] = publishers.map(Worker::finish);
    let made = made?;
    // The subscriber made its units itself.
    for (name, value) in &mut figures {
        let name = name.replace("subscriber", "publisher");
        *value -= made.get(&name).copied().unwrap_or_default();
    }
    figures.extend(published?);
    figures.retain(|name, _| name.contains("CPU"));
    Ok(figures)
}

/// The delay of the load on its way through an appsrc and an appsink of one process.
pub(crate) fn through(scene: &Scene, plan: &Plan) -> anyhow::Result<Figures> {
    let mut scene = scene.clone();
    (scene.settle, scene.measure) = (SETTLE, Some(ALONE));
    scene.load.bits /= u64::from(scene.load.tracks);
    (scene.load.tracks, scene.subscribers) = (1, 1);
    let job = scene.job(Role::View, Peer::Through, plan);
    let mut figures = Worker::start(&job, &plan.target, None)?.result(scene.settle + ALONE)?;
    figures.retain(|name, _| name.starts_with("delay"));
    Ok(figures)
}

/// Host and port of a URL.
fn address(url: &str) -> anyhow::Result<SocketAddr> {
    let (_, rest) = url.split_once("://").context("a URL")?;
    rest.trim_end_matches('/').parse().context("an address")
}

fn free_port() -> anyhow::Result<u16> {
    Ok(UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The highest rate in Mbit/s that arrives whole and in time: doubled until it does not, then halved in.
pub(crate) fn highest_rate(peer: Peer, plan: &Plan) -> f64 {
    let (mut good, mut bad) = (0, None);
    let mut mbit = 100;
    while bad.is_none_or(|bad| bad - good > bad / 8)
        && (1..4_000).contains(&mbit)
        && !plan.is_over()
    {
        // Another load of the machine may have been in the way once.
        match sustains(peer, mbit, plan) || sustains(peer, mbit, plan) {
            true => good = mbit,
            false => bad = Some(mbit),
        }
        mbit = bad.map_or(mbit * 2, |bad| (good + bad) / 2);
    }
    good as f64
}

fn sustains(peer: Peer, mbit: u64, plan: &Plan) -> bool {
    let mut scene = Scene::new("highest", &[peer], mbit);
    scene.load.group = SHORT_GROUP;
    scene.measure = Some(TRY);
    let Ok(figures) = measure(&scene, peer, 0, plan) else {
        eprintln!("{}: nothing came at {mbit} Mbit/s", peer.name());
        return false;
    };
    let figure = |name: &str| figures.get(name).copied().unwrap_or(f64::NAN);
    let (delay, lost) = (figure("delay p99 ms"), figure("frames lost %"));
    let came = figure("frames that came %");
    eprintln!(
        "{}: {mbit} Mbit/s, {delay:.0} ms, {lost:.2} % lost, {came:.0} % came",
        peer.name()
    );
    lost == 0.0 && delay < 200.0 && came > 97.0
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
