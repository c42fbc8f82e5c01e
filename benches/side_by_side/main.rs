//! Compares this plugin with the MoQ crates alone, with the crate moq-gst, with SRT and with RTP.
//!
//! `benches/side-by-side.sh` sets up the peers and calls this; `--help` says what it can leave out.

mod instructions;
mod job;
mod library;
mod load;
mod options;
mod peer;
mod plot;
#[allow(dead_code)]
#[path = "../../tests/common/proxy.rs"]
mod proxy;
mod publish;
#[allow(dead_code)]
#[path = "../../tests/common/relay.rs"]
mod relay;
mod report;
mod scenes;
mod states;
mod usage;
mod view;

use std::{collections::BTreeMap, fs, sync::atomic::Ordering, thread, time::Duration};

use anyhow::Context;

use job::{Job, Role, Word, end_of_input};
use options::{Options, Part};
use peer::Peer;
use relay::Relay;
use scenes::{Plan, Results, Scene};
use usage::{Figures, Usage};

fn main() -> anyhow::Result<()> {
    match std::env::var("SIDE_BY_SIDE_JOB") {
        Ok(job) => work(&serde_json::from_str(&job)?),
        Err(_) => compare(&Options::parse()?),
    }
}

fn work(job: &Job) -> anyhow::Result<()> {
    match job.role {
        Role::Relay => serve(),
        Role::Publish => publish::run(job),
        Role::View => view::run(job),
        Role::States => states::run(job),
    }
}

/// A relay until the end of its input.
fn serve() -> anyhow::Result<()> {
    let ended = end_of_input();
    let relay = Relay::start()?;
    let from = (Usage::now(), std::time::Instant::now());
    Word::Ready(relay.url()).say()?;
    while !ended.load(Ordering::Acquire) {
        thread::sleep(Duration::from_millis(20));
    }
    let cpu = Usage::now().cpu_ms - from.0.cpu_ms;
    let figures = Figures::from([(
        "relay CPU ms/s".into(),
        cpu / from.1.elapsed().as_secs_f64(),
    )]);
    Word::Result(figures).say()
}

fn compare(options: &Options) -> anyhow::Result<()> {
    let plan = &options.plan;
    let begun = std::time::Instant::now();
    let mut text = String::new();
    let mut rates = BTreeMap::new();
    for part in &options.parts {
        match part {
            Part::Scenes(prefix) => {
                for scene in Scene::all(prefix) {
                    let results = scene.run(plan);
                    text += &measured(&scene, results.clone(), plan)?;
                    rates.insert(scene.name, results);
                }
            }
            Part::Highest => text += &highest(plan),
            Part::States => text += &states(plan),
            Part::Instructions => text += &instructions(plan),
        }
        // A run that is broken off leaves what it has.
        fs::create_dir_all(&options.output)?;
        fs::write(options.output.join("results.md"), &text).context("the table")?;
    }
    rates.retain(|name, _| name.starts_with("rate"));
    if !rates.is_empty() {
        plot::delays(&options.output.join("delay.svg"), &rates)?;
    }
    println!("{text}");
    eprintln!(
        "took {} s; the table is in {}",
        begun.elapsed().as_secs(),
        options.output.display()
    );
    Ok(())
}

/// The tables of a scene, with the harness's own cost taken off.
fn measured(scene: &Scene, mut results: Results, plan: &Plan) -> anyhow::Result<String> {
    let single = scene.load.tracks == 1 && scene.subscribers == 1 && scene.path.is_none();
    if single {
        for bare in [Peer::Bare, Peer::BareGst] {
            let harness = scene.harness(bare, plan)?;
            for (_, rounds) in results.iter_mut().filter(|(peer, _)| peer.bare() == bare) {
                for figures in rounds {
                    take_off(figures, &harness);
                }
            }
        }
    }
    let mut text = report::table(&scene.name, &results, report::DELAYS);
    text.push('\n');
    text += &report::table(&format!("{}, cost", scene.name), &results, report::COSTS);
    text.push('\n');
    Ok(text)
}

/// What the load itself costs is no cost of the peer.
fn take_off(figures: &mut Figures, harness: &Figures) {
    for (name, value) in figures {
        if name.contains("CPU")
            && let Some(own) = harness.get(name)
        {
            *value -= own;
        }
    }
}

fn highest(plan: &Plan) -> String {
    let mut text = "**highest rate**\n\n| | Mbit/s |\n|---|---|\n".to_owned();
    let mut results = BTreeMap::<Peer, Vec<f64>>::new();
    for _ in 0..plan.rounds {
        for peer in Peer::MOQ {
            match scenes::highest_rate(peer, plan) {
                Ok(rate) => results.entry(peer).or_default().push(rate),
                Err(err) => eprintln!("no result: {err:#}"),
            }
        }
    }
    for (peer, rates) in results {
        let rates = rates.into_iter().map(report::number);
        report::row(
            &mut text,
            peer.name(),
            [rates.collect::<Vec<_>>().join(", ")].into_iter(),
        );
    }
    text + "\n"
}

fn states(plan: &Plan) -> String {
    let mut results = Results::new();
    for _ in 0..plan.rounds {
        for peer in [Peer::Ours, Peer::MoqGst] {
            match scenes::states(peer, plan) {
                Ok(figures) => results.entry(peer).or_default().push(figures),
                Err(err) => eprintln!("no result: {err:#}"),
            }
        }
    }
    let mut names: Vec<String> = results
        .values()
        .flatten()
        .flat_map(|f| f.keys().cloned())
        .collect();
    names.sort();
    names.dedup();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    report::table("states, the longest of 20 changes", &results, &names) + "\n"
}

fn instructions(plan: &Plan) -> String {
    let mut text = "**instructions per frame, in thousands, without the harness**\n\n\
         | 25 fps | library | this plugin | ratio | moq-gst |\n|---|---|---|---|---|\n"
        .to_owned();
    for (bits, role) in [
        (4_000_000, Role::Publish),
        (4_000_000, Role::View),
        (20_000_000, Role::Publish),
        (20_000_000, Role::View),
    ] {
        let scene = instructions::scene(bits);
        let count = |peer: Peer| -> anyhow::Result<f64> {
            let own = instructions::per_frame(&scene, peer.bare(), role, plan)?;
            Ok((instructions::per_frame(&scene, peer, role, plan)? - own) / 1e3)
        };
        let counts = Peer::MOQ.map(|peer| {
            count(peer)
                .inspect_err(|err| eprintln!("{err:#}"))
                .unwrap_or(f64::NAN)
        });
        let [library, ours, other] = counts;
        let title = format!("{role:?}, {} Mbit/s", bits / 1_000_000);
        let cells = [library, ours, ours / library, other].map(report::number);
        report::row(&mut text, &title, cells.into_iter());
    }
    text + "\n"
}
