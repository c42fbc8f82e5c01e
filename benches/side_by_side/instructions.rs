// SPDX-License-Identifier: MIT
//! Instructions per frame at each end, counted by callgrind: the same on a busy machine.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;

use crate::{
    job::{Job, Role, Worker},
    peer::Peer,
    report,
    scenes::{Plan, Scene},
};

/// Two runs of different length: their difference has no beginning and no end.
const SHORT: u32 = 4;
const LONG: u32 = 12;
/// Quicker, and less exact.
const QUICK_LONG: u32 = 8;
const FPS: u32 = 25;
/// Longer than a run takes under valgrind.
const PATIENCE: Duration = Duration::from_secs(120);
const RATES: [u64; 2] = [4, 20];
const PEERS: [Peer; 4] = [Peer::Library, Peer::Ours, Peer::MoqGst, Peer::Cmaf];

/// A table of the instructions of all peers at both ends.
pub(crate) fn table(plan: &Plan) -> String {
    let mut text = "**instructions per frame, in thousands, without the harness**\n\n\
         | 25 fps | library | this plugin | ratio | moq-gst | this plugin, CMAF |\n\
         |---|---|---|---|---|---|\n"
        .to_owned();
    for &mbit in rates(plan) {
        for role in [Role::Publish, Role::View] {
            if plan.is_over() {
                eprintln!("no time is left for instructions");
                return text;
            }
            let [library, ours, other, cmaf] = counts(mbit, role, plan);
            let cells = [library, ours, ours / library, other, cmaf].map(|count| {
                let count = count.is_finite().then(|| report::number(count));
                count.unwrap_or("-".into())
            });
            report::row(
                &mut text,
                &format!("{role:?}, {mbit} Mbit/s"),
                cells.into_iter(),
            );
        }
    }
    text + "\n"
}

/// How long that takes, about.
pub(crate) fn estimate(plan: &Plan) -> Duration {
    // At both ends; the load alone twice at one, three times at the other.
    let counts = rates(plan)
        .iter()
        .map(|mbit| peers(*mbit, plan).len() as u32 * 2 + 5);
    let around = Duration::from_secs(10);
    (Duration::from_secs((SHORT + long(plan)).into()) + around) * counts.sum()
}

fn long(plan: &Plan) -> u32 {
    if plan.quick { QUICK_LONG } else { LONG }
}

/// Those that are wanted at this rate: all at the first one only, and then unless it has to be quick.
fn peers(mbit: u64, plan: &Plan) -> Vec<Peer> {
    let all = mbit == RATES[0] && !plan.quick;
    plan.of(if all { &PEERS } else { &PEERS[..2] })
}

/// The rates in Mbit/s.
fn rates(plan: &Plan) -> &'static [u64] {
    if plan.quick { &RATES[..1] } else { &RATES }
}

/// Thousands of instructions per frame of each of [`PEERS`], less what the harness around it takes.
fn counts(mbit: u64, role: Role, plan: &Plan) -> [f64; 4] {
    let mut scene = Scene::new("instructions", &PEERS, mbit);
    scene.load.fps = FPS;
    scene.load.group = FPS;
    let count = |peer: Peer, role: Role| {
        eprintln!("instructions, {role:?}, {mbit} Mbit/s: {}", peer.name());
        per_frame(&scene, peer, role, plan).unwrap_or_else(|err| {
            eprintln!("no result: {err:#}");
            f64::NAN
        })
    };
    // At a subscriber's end the load makes its units itself; a subscriber gets them.
    let made = match role {
        Role::View => count(Peer::Bare, Role::Publish),
        _ => 0.0,
    };
    let harness = [Peer::Bare, Peer::BareGst].map(|bare| count(bare, role) - made);
    let peers = peers(mbit, plan);
    PEERS.map(|peer| {
        if !peers.contains(&peer) {
            return f64::NAN;
        }
        let own = harness[usize::from(peer.bare() == Peer::BareGst)];
        (count(peer, role) - own) / 1e3
    })
}

/// Instructions per frame in one role, with those of the harness.
fn per_frame(scene: &Scene, peer: Peer, role: Role, plan: &Plan) -> anyhow::Result<f64> {
    let (short, few) = run(scene, peer, role, plan, SHORT)?;
    let (long, many) = run(scene, peer, role, plan, long(plan))?;
    Ok((long - short) / (many - few))
}

/// Instructions and frames of a run of so many seconds.
fn run(
    scene: &Scene,
    peer: Peer,
    role: Role,
    plan: &Plan,
    seconds: u32,
) -> anyhow::Result<(f64, f64)> {
    let file = file(&plan.target, peer, role, seconds)?;
    let start = |job: &Job| {
        let counted = (job.role == role).then_some(&file);
        Worker::start(job, &plan.target, counted)
    };
    let relay = match peer.is_bare() {
        true => None,
        false => Some(start(&scene.job(Role::Relay, peer, plan))?),
    };
    let url = relay.as_ref().map_or(Ok(String::new()), Worker::ready)?;
    let mut publish = scene.job(Role::Publish, peer, plan);
    publish.url.clone_from(&url);
    let mut view = scene.job(Role::View, peer, plan);
    view.url = url;
    view.measure = Duration::from_secs(seconds.into());
    let frames = if role == Role::Publish {
        publish.load.frames = (seconds + 2) * FPS;
        view.measure = PATIENCE;
        let publisher = start(&publish)?;
        publisher.ready()?;
        let _viewer = relay.as_ref().map(|_| start(&view)).transpose()?;
        publisher.result(PATIENCE)?;
        publisher.wait()?;
        f64::from(publish.load.frames)
    } else {
        let publisher = relay.as_ref().map(|_| start(&publish)).transpose()?;
        publisher
            .as_ref()
            .map_or(Ok(String::new()), Worker::ready)?;
        let subscriber = start(&view)?;
        let figures = subscriber.result(PATIENCE)?;
        subscriber.wait()?;
        *figures.get("frames").context("a count of frames")?
    };
    Ok((instructions(&file)?, frames))
}

/// Where callgrind's counts go.
fn file(target: &Path, peer: Peer, role: Role, seconds: u32) -> anyhow::Result<PathBuf> {
    let folder = target.join("side-by-side/callgrind");
    fs::create_dir_all(&folder)?;
    Ok(folder.join(format!("{peer:?}.{role:?}.{seconds}")))
}

/// The total of callgrind's file.
fn instructions(file: &Path) -> anyhow::Result<f64> {
    let text = fs::read_to_string(file).context("callgrind's counts")?;
    let mut lines = text.lines();
    let total = lines.find_map(|line| {
        line.strip_prefix("totals:")
            .or(line.strip_prefix("summary:"))
    });
    Ok(total.context("a total")?.trim().parse()?)
}
