// SPDX-License-Identifier: MIT
//! All that is wanted, one after the other, and the files with what came out.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    time::{Duration, Instant},
};

use anyhow::Context;
use serde::Serialize;

use crate::{
    check, instructions,
    job::Role,
    measure::{self, Results},
    options::{Options, Part},
    peer::Peer,
    plot, report,
    scenes::{OVERHEAD, Plan, Scene},
    states,
    usage::Figures,
};

/// The highest rate takes long, and its steps are wide.
const HIGHEST_ROUNDS: u32 = 2;
/// Rates that are tried until the highest is found, about.
const HIGHEST_STEPS: u32 = 7;
/// What is shown of all scenes of a part in one table.
const SUMMARIES: [&str; 4] = [
    "delay p50 ms",
    "delay p99 ms",
    "publisher CPU ms/MB",
    "subscriber CPU ms/MB",
];
const HIGHEST: &str = "highest rate Mbit/s";

/// One round of one peer, as it was measured: a line of the raw results.
#[derive(Serialize)]
struct Line<'a> {
    scene: &'a str,
    peer: &'a str,
    round: usize,
    figures: &'a Figures,
}

/// The files that are written.
struct Output<'a> {
    options: &'a Options,
    text: String,
    raw: File,
}

impl Output<'_> {
    /// Adds to the tables; a run that is broken off leaves what it has.
    fn add(&mut self, text: &str) -> anyhow::Result<()> {
        self.text += text;
        let file = self.options.output.join("results.md");
        fs::write(file, &self.text).context("the tables")
    }

    fn raw(&mut self, scene: &str, results: &Results) -> anyhow::Result<()> {
        for (peer, rounds) in results {
            for (round, figures) in rounds.iter().enumerate() {
                let line = Line {
                    scene,
                    peer: peer.name(),
                    round: round + 1,
                    figures,
                };
                writeln!(self.raw, "{}", serde_json::to_string(&line)?)?;
            }
        }
        Ok(())
    }
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let plan = &options.plan;
    let begun = Instant::now();
    for peer in &plan.peers {
        let job = Scene::new("check", &[*peer], 1).job(Role::Check, *peer, plan);
        check::prepare(&job, &plan.target)?;
    }
    let expected: Duration = options
        .parts
        .iter()
        .map(|part| estimate(part, options))
        .sum();
    eprintln!("takes about {} minutes", expected.as_secs().div_ceil(60));
    fs::create_dir_all(&options.output)?;
    let mut output = Output {
        options,
        text: String::new(),
        raw: File::create(options.output.join("results.jsonl"))?,
    };
    output.add(&about())?;
    let mut rates = Vec::new();
    for part in &options.parts {
        match part {
            Part::Scenes(prefix) => {
                let measured = compare(Scene::all(prefix, plan), plan, &mut output)?;
                rates.extend(
                    measured
                        .into_iter()
                        .filter(|(name, _)| name.starts_with("rate")),
                );
            }
            Part::Custom => {
                compare(vec![options.custom.clone()], plan, &mut output)?;
            }
            Part::Highest => highest(plan, &mut output)?,
            Part::States => changes(plan, &mut output)?,
            Part::Instructions => output.add(&instructions::table(plan))?,
        }
    }
    if !rates.is_empty() {
        plot::draw(&options.output.join("results.svg"), &rates)?;
    }
    println!("{}", output.text);
    eprintln!(
        "took {} minutes; results are in {}",
        begun.elapsed().as_secs().div_ceil(60),
        options.output.display()
    );
    Ok(())
}

fn estimate(part: &Part, options: &Options) -> Duration {
    let plan = &options.plan;
    let peers = |all: &[Peer]| plan.of(all).len() as u32;
    match part {
        Part::Scenes(prefix) => {
            let scenes = Scene::all(prefix, plan);
            scenes.iter().map(|scene| scene.estimate(plan)).sum()
        }
        Part::Custom => options.custom.estimate(plan),
        Part::Highest => {
            let runs = peers(&Peer::MOQ) * plan.rounds.min(HIGHEST_ROUNDS) * HIGHEST_STEPS;
            (OVERHEAD + Duration::from_secs(1) + measure::TRY) * runs
        }
        // Both elements, with a relay and without.
        Part::States => {
            let runs = peers(&[Peer::Ours, Peer::MoqGst]) * plan.rounds * 4;
            (states::PAUSE * states::TIMES + Duration::from_millis(500)) * runs
        }
        Part::Instructions => instructions::estimate(plan),
    }
}

/// How, on what, and with what it is measured.
fn about() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    format!(
        "Medians (least to greatest) and ratios of medians; {cores} cores of {}, {}.\n\n",
        cpu.map_or("an unknown kind", |(_, name)| name),
        gst::version_string(),
    )
}

/// Runs scenes and adds their tables, with the harness's own cost taken off.
fn compare(
    scenes: Vec<Scene>,
    plan: &Plan,
    output: &mut Output,
) -> anyhow::Result<Vec<(String, Results)>> {
    let mut all = Vec::new();
    for scene in scenes {
        let mut results = measure::scene(&scene, plan);
        output.raw(&scene.name, &results)?;
        if scene.measures_loopback()
            && !results.is_empty()
            && let Err(err) = take_off_harness(&scene, &mut results, plan, output)
        {
            eprintln!(
                "{} is left out, its harness has no result: {err:#}",
                scene.name
            );
            continue;
        }
        let rounds = format!(
            "{}, {} rounds of {} s",
            scene.name,
            scene.rounds(plan),
            scene.measure_for(plan).as_secs()
        );
        let mut text = String::new();
        for (what, figures) in scene.tables() {
            text += &report::table(&format!("{rounds}{what}"), &results, figures);
        }
        output.add(&text)?;
        all.push((scene.name, results));
    }
    if all.len() > 1 {
        for figure in SUMMARIES {
            output.add(&report::summary(figure, &all))?;
        }
    }
    Ok(all)
}

/// Takes off what the harness itself costs, and adds the delay that it has by itself.
fn take_off_harness(
    scene: &Scene,
    results: &mut Results,
    plan: &Plan,
    output: &mut Output,
) -> anyhow::Result<()> {
    let mut harnesses = Results::new();
    for bare in [Peer::Bare, Peer::BareGst] {
        let mut peers = results
            .iter_mut()
            .filter(|(peer, _)| peer.bare() == bare)
            .peekable();
        if peers.peek().is_none() {
            continue;
        }
        let harness = measure::harness(scene, bare, plan)?;
        for figures in peers.flat_map(|(_, rounds)| rounds) {
            for (name, own) in &harness {
                figures
                    .entry(name.clone())
                    .and_modify(|value| *value -= own);
            }
        }
        harnesses.insert(bare, vec![harness]);
    }
    results.insert(Peer::Through, vec![measure::through(scene, plan)?]);
    output.raw(&scene.name, &harnesses)
}

fn highest(plan: &Plan, output: &mut Output) -> anyhow::Result<()> {
    let (peers, rounds) = (plan.of(&Peer::MOQ), plan.rounds.min(HIGHEST_ROUNDS));
    let results = measure::alternate("highest rate", &peers, rounds, plan, |peer, _| {
        Ok(Figures::from([(
            HIGHEST.into(),
            measure::highest_rate(peer, plan),
        )]))
    });
    output.raw("highest rate", &results)?;
    output.add(&report::table(
        &format!(
            "highest rate without loss, {rounds} rounds of {} s a try",
            measure::TRY.as_secs()
        ),
        &results,
        &[HIGHEST],
    ))
}

fn changes(plan: &Plan, output: &mut Output) -> anyhow::Result<()> {
    let peers = plan.of(&[Peer::Ours, Peer::MoqGst]);
    let results = measure::alternate("states", &peers, plan.rounds, plan, |peer, _| {
        measure::states(peer, plan)
    });
    output.raw("states", &results)?;
    let names = results.values().flatten().flat_map(BTreeMap::keys);
    let names: std::collections::BTreeSet<&str> = names.map(String::as_str).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let title = format!(
        "loading, and the longest of {} changes of state",
        states::TIMES
    );
    output.add(&report::table(&title, &results, &names))
}
