//! Instructions per frame at each end, counted by callgrind: the same on a busy machine.

use std::{fs, path::Path, time::Duration};

use anyhow::Context;

use crate::{
    job::{Job, Role, Worker},
    peer::Peer,
    scenes::{Plan, Scene, counts},
};

/// Two runs of different length: their difference has no beginning and no end.
const SHORT: u32 = 4;
const LONG: u32 = 16;
const FPS: u32 = 25;

/// Instructions per frame in one role, with those of the harness.
pub(crate) fn per_frame(scene: &Scene, peer: Peer, role: Role, plan: &Plan) -> anyhow::Result<f64> {
    let (short, few) = run(scene, peer, role, plan, SHORT)?;
    let (long, many) = run(scene, peer, role, plan, LONG)?;
    Ok((long - short) / (many - few))
}

/// The scene in which instructions are counted.
pub(crate) fn scene(bits: u64) -> Scene {
    let mut scene = Scene::all("rate: 10 ").remove(0);
    scene.load.fps = FPS;
    scene.load.group = FPS;
    scene.load.bits = bits;
    scene
}

/// Instructions and frames of a run of so many seconds.
fn run(
    scene: &Scene,
    peer: Peer,
    role: Role,
    plan: &Plan,
    seconds: u32,
) -> anyhow::Result<(f64, f64)> {
    let file = counts(&plan.target, peer, role, seconds);
    let relay = Worker::start(&scene.job(Role::Relay, peer, plan), &plan.target, None)?;
    let mut publish = Job {
        url: relay.ready()?,
        ..scene.job(Role::Publish, peer, plan)
    };
    let mut view = Job {
        role: Role::View,
        measure: Duration::from_secs(seconds.into()),
        ..publish.clone()
    };
    let counted = |yes: bool| yes.then_some(&file);
    let frames = match role {
        Role::Publish => {
            publish.load.frames = (seconds + 2) * FPS;
            view.measure = Duration::from_secs(600);
            let publisher = Worker::start(&publish, &plan.target, counted(true))?;
            publisher.ready()?;
            let _viewer = Worker::start(&view, &plan.target, None)?;
            publisher.result(Duration::from_secs(120))?;
            publisher.wait()?;
            f64::from(publish.load.frames)
        }
        _ => {
            let publisher = Worker::start(&publish, &plan.target, None)?;
            publisher.ready()?;
            let viewer = Worker::start(&view, &plan.target, counted(true))?;
            let figures = viewer.result(Duration::from_secs(120))?;
            viewer.wait()?;
            *figures.get("frames").context("a count of frames")?
        }
    };
    relay.finish()?;
    Ok((instructions(&file)?, frames))
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
