// SPDX-License-Identifier: MIT
//! The figures, as Markdown.

use std::{fmt::Write, fs};

use crate::{
    options::Options,
    peer::{ENCODER, Peer},
    record::{Figures, Record},
    scene::Scene,
};

/// Delays and losses, in the order in which `delays` says them.
const DELAYS: [&str; 9] = [
    "delay p50 ms",
    "p99",
    "p99 outside of 2 s after a fall",
    "p99 from 3 s after a fall on",
    "frames lost then",
    "frames lost",
    "of",
    "unreadable pictures",
    "sound %",
];

/// What was measured with what.
pub(crate) fn about(options: &Options) -> String {
    let settings: Vec<String> = ENCODER
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!(
        "x264enc {}; receivers wait {} ms for what is late; load of the machine before it began: {}\n\n",
        settings.join(" "),
        options.latency.as_millis(),
        load.split(' ').next().unwrap_or_default(),
    )
}

/// The tables of one scene: a row for each peer.
pub(crate) fn tables(scene: &Scene, round: u32, records: &[(Peer, Record)]) -> String {
    let bits = scene.bitrate;
    let mut text = format!(
        "**{}**, round {round}: bitrate {} to {} Mbit/s from {} on\n\n",
        scene.name,
        f64::from(bits.min) / 1e6,
        f64::from(bits.max) / 1e6,
        f64::from(bits.start) / 1e6
    );
    let rows: Vec<(String, Figures)> = records
        .iter()
        .map(|(peer, record)| (title(*peer, record), record.figures()))
        .collect();
    let titles = DELAYS.map(str::to_owned);
    table(
        &mut text,
        &titles,
        rows.iter().map(|(name, figures)| (name, delays(figures))),
    );
    text += "Percent of the path that is used, and by the picture:\n\n";
    let spans = scene.spans();
    let mut titles: Vec<String> = spans
        .map(|(from, _, bits)| format!("{} Mbit/s from {from:.0} s", bits / 1e6))
        .collect();
    let (first, last) = (scene.capacity(0.0), scene.capacity(scene.end));
    let rises = last > first;
    if rises {
        titles.push(format!("s until {} Mbit/s at the end", first / 1e6));
    }
    table(
        &mut text,
        &titles,
        rows.iter()
            .map(|(name, figures)| (name, uses(figures, rises))),
    );
    text
}

/// With a word about the machine where it had other things to do.
fn title(peer: Peer, record: &Record) -> String {
    match record.stalls() {
        (0, _) => peer.name().to_owned(),
        (times, ms) => format!(
            "{} (the machine stood still {times} times, up to {ms:.0} ms)",
            peer.name()
        ),
    }
}

fn delays(figures: &Figures) -> Vec<String> {
    let ms = [
        figures.p50,
        figures.p99,
        figures.p99_steady,
        figures.p99_fitting,
    ];
    let counts = [
        figures.lost_fitting,
        figures.lost,
        figures.frames,
        figures.unreadable,
    ];
    let ms = ms.map(|ms| format!("{ms:.0}")).into_iter();
    let counts = counts.map(|count| count.to_string());
    ms.chain(counts)
        .chain([format!("{:.1}", figures.sound)])
        .collect()
}

fn uses(figures: &Figures, rises: bool) -> Vec<String> {
    let steps = figures.steps.iter();
    let cells = steps.map(|step| format!("{:.0}, {:.0}", step.wire, step.picture));
    let rise = figures
        .rise
        .map_or("never".to_owned(), |rise| format!("{rise:.1}"));
    cells.chain(rises.then_some(rise)).collect()
}

fn table<'a>(
    text: &mut String,
    titles: &[String],
    rows: impl Iterator<Item = (&'a String, Vec<String>)>,
) {
    row(text, "", titles.iter().cloned());
    *text += &format!("|---|{}\n", "---|".repeat(titles.len()));
    for (title, cells) in rows {
        row(text, title, cells.into_iter());
    }
    text.push('\n');
}

/// A row of a Markdown table.
pub(crate) fn row(text: &mut String, title: &str, cells: impl Iterator<Item = String>) {
    let cells: Vec<String> = cells.collect();
    // A String takes everything.
    let _ = writeln!(text, "| {title} | {} |", cells.join(" | "));
}
