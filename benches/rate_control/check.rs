// SPDX-License-Identifier: MIT
//! The path itself, measured with UDP datagrams.

use std::{
    net::UdpSocket,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::bail;

use crate::{
    job::{Job, Role, Word, Worker, now, order_to_end},
    network::{Network, RECEIVER_ADDRESS},
    report::row,
    scene::Scene,
};

const PORT: u16 = 5000;
/// Of a datagram, and with the headers of UDP and IP.
const BYTES: usize = 1172;
const WIRE_BYTES: usize = BYTES + 28;
/// How long they are sent.
const TIME: Duration = Duration::from_secs(6);
/// What is looked at begins so many seconds later.
const SETTLE: f64 = 2.0;
/// Capacities in bit/s, and what is sent for each bit of them.
const TRIES: [(f64, f64); 4] = [(1e6, 0.5), (1e6, 1.5), (8e6, 0.5), (8e6, 1.5)];

/// A table of the rate and of the delays that a plain flow has.
pub(crate) fn run(job: &Job, network: &Network, folder: &Path) -> anyhow::Result<String> {
    let titles = [
        "sent Mbit/s",
        "came Mbit/s",
        "delay least ms",
        "mean",
        "most",
        "packets in another order",
    ];
    let mut text =
        "**The path alone**: 50 ms one way, up to 30 ms of jitter, 300 ms of queue\n\n".to_owned();
    row(
        &mut text,
        "capacity Mbit/s",
        titles.map(str::to_owned).into_iter(),
    );
    text += &format!("|---|{}\n", "---|".repeat(titles.len()));
    for (capacity, load) in TRIES {
        network.set(&Scene::constant(capacity));
        network.begin();
        let folder = folder.to_owned();
        let receive = Job {
            role: Role::ReceiveDatagrams,
            ..job.clone()
        };
        let receiver = Worker::start(&receive, &folder, &Network::receiver())?;
        receiver.ready()?;
        let send = Job {
            role: Role::SendDatagrams,
            datagrams: capacity * load,
            ..job.clone()
        };
        Worker::start(&send, &folder, &Network::sender())?.ready()?;
        let Word::Datagrams(datagrams) = receiver.finish()? else {
            bail!("the receiver has counted nothing");
        };
        let Some(first) = datagrams.first().map(|datagram| datagram.1) else {
            bail!("no datagram came");
        };
        let from = first + (SETTLE * 1e9) as u64;
        let settled: Vec<_> = datagrams.iter().filter(|(_, at)| *at >= from).collect();
        let delays = settled.iter().map(|(sent, at)| (at - sent) as f64 / 1e6);
        let span = settled.last().map_or(0, |last| last.1 - from) as f64 / 1e9;
        let bits = (settled.len() * WIRE_BYTES * 8) as f64;
        let swapped = datagrams.windows(2).filter(|pair| pair[1].0 < pair[0].0);
        let figures = [
            capacity * load / 1e6,
            bits / span / 1e6,
            delays.clone().fold(f64::MAX, f64::min),
            delays.clone().sum::<f64>() / settled.len() as f64,
            delays.fold(0.0, f64::max),
            swapped.count() as f64,
        ];
        let title = format!("{:.1}", capacity / 1e6);
        row(
            &mut text,
            &title,
            figures.map(|figure| format!("{figure:.2}")).into_iter(),
        );
    }
    Ok(text + "\n")
}

/// Datagrams at this rate.
pub(crate) fn send(job: &Job) -> anyhow::Result<()> {
    let socket = UdpSocket::bind(("0.0.0.0", 0))?;
    socket.connect((RECEIVER_ADDRESS, PORT))?;
    let begun = Instant::now();
    let gap = Duration::from_secs_f64(WIRE_BYTES as f64 * 8.0 / job.datagrams);
    for number in 0.. {
        let due = gap * number;
        if due > TIME {
            break;
        }
        thread::sleep(due.saturating_sub(begun.elapsed()));
        let mut datagram = [0; BYTES];
        datagram[..8].copy_from_slice(&now().to_be_bytes());
        socket.send(&datagram)?;
    }
    // What is on its way.
    thread::sleep(Duration::from_secs(1));
    Word::Ready(String::new()).say()
}

/// Notes what comes until the end.
pub(crate) fn receive() -> anyhow::Result<()> {
    let end = order_to_end();
    let socket = UdpSocket::bind(("0.0.0.0", PORT))?;
    socket.set_read_timeout(Some(Duration::from_millis(20)))?;
    Word::Ready(String::new()).say()?;
    let mut datagrams = Vec::new();
    let mut buffer = [0; BYTES];
    while end.try_recv().is_err() {
        let length = socket.recv(&mut buffer).unwrap_or_default();
        let at = now();
        if let Some(sent) = buffer[..length].first_chunk() {
            datagrams.push((u64::from_be_bytes(*sent), at));
        }
    }
    Word::Datagrams(datagrams).say()
}
