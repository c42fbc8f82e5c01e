// SPDX-License-Identifier: MIT
//! The figures, as Markdown.

use std::{fmt::Write, fs};

use crate::{
    options::Options,
    peer::{ENCODER, Peer},
    record::{Figures, Record},
    scene::Scene,
};

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

/// A table of one scene: a row for each peer.
pub(crate) fn table(scene: &Scene, round: u32, records: &[(Peer, Record)]) -> String {
    let bits = scene.bitrate;
    let mut text = format!(
        "**{}**, round {round}: bitrate {} to {} Mbit/s from {} on\n\n",
        scene.name,
        f64::from(bits.min) / 1e6,
        f64::from(bits.max) / 1e6,
        f64::from(bits.start) / 1e6
    );
    let mut titles: Vec<String> = [
        "delay p50 ms",
        "p99",
        "p99 outside of 2 s after a fall",
        "p99 from 3 s after a fall on",
        "frames lost then",
        "frames lost",
        "of",
        "unreadable",
        "sound %",
    ]
    .map(str::to_owned)
    .into();
    titles.extend(
        scene
            .spans()
            .map(|(from, _, bits)| format!("use of {} Mbit/s from {from:.0} s, %", bits / 1e6)),
    );
    let first = scene.steps.first().map_or(0.0, |step| step.1) / 1e6;
    titles.push(format!("s until {first} Mbit/s at the end"));
    let columns = titles.len();
    row(&mut text, "", titles.into_iter());
    text += &format!("|---|{}\n", "---|".repeat(columns));
    for (peer, record) in records {
        let cells = cells(&record.figures());
        // A machine that is too slow has another picture.
        let title = match record.fps() {
            slow if slow < 0.99 => {
                format!("{} ({:.0} % of the frames made)", peer.name(), slow * 100.0)
            }
            _ => peer.name().to_owned(),
        };
        row(&mut text, &title, cells.into_iter());
    }
    text + "\n"
}

fn cells(figures: &Figures) -> Vec<String> {
    let mut cells = vec![
        format!("{:.0}", figures.p50),
        format!("{:.0}", figures.p99),
        format!("{:.0}", figures.p99_steady),
        format!("{:.0}", figures.p99_fitting),
        figures.lost_fitting.to_string(),
        figures.lost.to_string(),
        figures.frames.to_string(),
        figures.unreadable.to_string(),
        format!("{:.1}", figures.sound),
    ];
    cells.extend(figures.used.iter().map(|used| format!("{used:.0}")));
    cells.push(match figures.rise {
        Some(rise) => format!("{rise:.1}"),
        None => "never".to_owned(),
    });
    cells
}

/// A row of a Markdown table.
pub(crate) fn row(text: &mut String, title: &str, cells: impl Iterator<Item = String>) {
    let cells: Vec<String> = cells.collect();
    // A String takes everything.
    let _ = writeln!(text, "| {title} | {} |", cells.join(" | "));
}
