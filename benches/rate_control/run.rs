// SPDX-License-Identifier: MIT
//! The runs: the processes of each peer in turn, over the path of each scene.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use crate::{
    check,
    job::{Job, Role, Word, Worker},
    network::{Network, SENDER_ADDRESS},
    options::{Options, Part},
    peer::Peer,
    plot,
    record::Record,
    report,
    scene::Scene,
};

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let scene = Scene::rfc8867();
    let network = Network::create(&scene)?;
    let job = Job {
        role: Role::Find,
        peer: Peer::Fixed,
        bitrate: scene.bitrate,
        address: SENDER_ADDRESS,
        sender: String::new(),
        latency: options.latency,
        settings: options.settings.clone(),
        datagrams: 0.0,
    };
    let mut peers = Vec::new();
    for peer in &options.peers {
        match peer.prepare(options, &job) {
            Ok(()) => peers.push(*peer),
            Err(err) => eprintln!("{} is left out: {err:#}", peer.name()),
        }
    }
    let mut text = report::about(options);
    for part in &options.parts {
        text += &match part {
            Part::Check => check::run(&job, &network, &options.output)?,
            Part::Encode => encode(&job, options)?,
            Part::Scene(scene) => measure(scene, &peers, &job, &network, options)?,
        };
        // A run that is broken off leaves what it has.
        fs::write(options.output.join("results.md"), &text).context("the tables")?;
    }
    println!("{text}");
    Ok(())
}

/// What the encoder alone makes; the process prints it.
fn encode(job: &Job, options: &Options) -> anyhow::Result<String> {
    let job = Job {
        role: Role::Encode,
        ..job.clone()
    };
    let worker = Worker::start(&job, &Peer::Fixed.folder(options), &Network::sender())?;
    worker.ready()?;
    Ok(String::new())
}

/// All rounds of a scene: tables, a line of figures for each round, and the plot of the last one.
fn measure(
    scene: &Scene,
    peers: &[Peer],
    job: &Job,
    network: &Network,
    options: &Options,
) -> anyhow::Result<String> {
    let mut text = String::new();
    for round in 1..=options.rounds {
        let mut records = Vec::new();
        for &peer in peers {
            eprintln!(
                "{}, round {round} of {}: {}",
                scene.name,
                options.rounds,
                peer.name()
            );
            match once(scene, peer, job, network, options) {
                Ok(record) => {
                    save(&record, peer, round, options)?;
                    records.push((peer, record));
                }
                Err(err) => eprintln!("no result: {err:#}"),
            }
        }
        text += &report::tables(scene, round, &records);
        let file = options.output.join(format!("{}.svg", scene.name));
        plot::draw(&file, scene, &records)?;
    }
    Ok(text)
}

fn save(record: &Record, peer: Peer, round: u32, options: &Options) -> anyhow::Result<()> {
    let name = format!("{}-{}-{round}", record.scene.name, peer.short());
    let file = |end: &str| options.output.join(format!("{name}{end}"));
    fs::write(file(".csv"), record.csv())?;
    fs::write(file("-frames.csv"), record.frames_csv())?;
    Ok(())
}

/// One round of one peer.
fn once(
    scene: &Scene,
    peer: Peer,
    job: &Job,
    network: &Network,
    options: &Options,
) -> anyhow::Result<Record> {
    network.set(scene);
    let folder = peer.folder(options);
    let mut job = Job {
        role: Role::Send,
        peer,
        bitrate: scene.bitrate,
        ..job.clone()
    };
    let sender = Worker::start(&job, &folder, &Network::sender())?;
    job.sender = sender.ready()?;
    job.role = Role::Receive;
    let receiver = Worker::start(&job, &folder, &Network::receiver())?;
    let Word::Receiving = receiver.next()? else {
        bail!("the receiver receives nothing");
    };
    let begun = network.begin();
    let end = Instant::now() + Duration::from_secs_f64(scene.end);
    receiver.works_until(end)?;
    let (Word::Received(received), Word::Sent(sent)) = (receiver.finish()?, sender.finish()?)
    else {
        bail!("a process has measured nothing");
    };
    Ok(Record::new(scene, begun, network.bins(), sent, &received))
}
