// SPDX-License-Identifier: MIT
//! Medians, spreads and ratios, as Markdown.

use std::fmt::Write;

use crate::{measure::Results, peer::Peer, usage::Figures};

/// Which figures a table shows, in this order; those that no peer has are left out.
pub(crate) const DELAYS: &[&str] = &[
    "delay p50 ms",
    "delay p99 ms",
    "delay p99.9 ms",
    "delay max ms",
    "frames that came %",
    "frames lost %",
    "first frame ms",
];
pub(crate) const COSTS: &[&str] = &[
    "publisher CPU ms/MB",
    "relay CPU ms/MB",
    "subscriber CPU ms/MB",
    "publisher CPU µs/frame",
    "subscriber CPU µs/frame",
    "publisher threads",
    "subscriber threads",
];
pub(crate) const MEMORY: &[&str] = &[
    "publisher memory MiB",
    "relay memory MiB",
    "subscriber memory MiB",
];
/// Means nothing before caches are full.
pub(crate) const GROWTH: &[&str] = &[
    "publisher growth MiB/min",
    "relay growth MiB/min",
    "subscriber growth MiB/min",
];

/// Least, median and greatest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) median: f64,
    pub(crate) greatest: f64,
}

impl Spread {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values
            .into_iter()
            .filter(|value| value.is_finite())
            .collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = match values.len() {
            0 => return None,
            odd if odd % 2 == 1 => values[middle],
            _ => (values[middle - 1] + values[middle]) / 2.0,
        };
        Some(Self {
            least: values[0],
            median,
            greatest: values[values.len() - 1],
        })
    }

    fn text(self) -> String {
        if self.greatest == self.least {
            return number(self.median);
        }
        format!(
            "{} ({} to {})",
            number(self.median),
            number(self.least),
            number(self.greatest)
        )
    }
}

/// One figure of one peer in all rounds.
pub(crate) fn spread(rounds: &[Figures], name: &str) -> Option<Spread> {
    Spread::of(
        rounds
            .iter()
            .filter_map(|figures| figures.get(name).copied()),
    )
}

/// The ratio of the medians of two peers.
fn ratio(rounds: &[Figures], others: &[Figures], name: &str) -> Option<f64> {
    let (one, other) = (spread(rounds, name)?, spread(others, name)?);
    (other.median > 0.0).then(|| one.median / other.median)
}

/// A table of one scene: a row for each peer, a column for each figure, with this plugin's ratios to
/// the library and to moq-gst below.
pub(crate) fn table(scene: &str, results: &Results, columns: &[&str]) -> String {
    let has = |name: &&&str| {
        results
            .values()
            .any(|rounds| spread(rounds, name).is_some())
    };
    let columns: Vec<&str> = columns.iter().filter(has).copied().collect();
    let mut text = format!("**{scene}**\n\n| | {} |\n", columns.join(" | "));
    text += &format!("|---|{}\n", "---|".repeat(columns.len()));
    let most = results.values().map(Vec::len).max().unwrap_or_default();
    for (peer, rounds) in results {
        if columns.iter().all(|name| spread(rounds, name).is_none()) {
            continue;
        }
        let title = match rounds.len() {
            // The harness alone needs no rounds.
            _ if *peer == Peer::Through => peer.name().to_owned(),
            all if all == most => peer.name().to_owned(),
            some => format!("{}, {some} of {most} rounds", peer.name()),
        };
        let cells = columns.iter().map(|name| cell(spread(rounds, name)));
        row(&mut text, &title, cells);
    }
    let Some(ours) = results.get(&Peer::Ours) else {
        return text + "\n";
    };
    for other in [Peer::Library, Peer::MoqGst] {
        let Some(others) = results.get(&other) else {
            continue;
        };
        let cells = columns.iter().map(|name| {
            let ratio = ratio(ours, others, name);
            ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"))
        });
        row(&mut text, &format!("ratio to {}", other.name()), cells);
    }
    text + "\n"
}

/// A table of one figure in several scenes: a row for each peer, a column for each scene.
pub(crate) fn summary(figure: &str, scenes: &[(String, Results)]) -> String {
    let names = scenes.iter().map(|(name, _)| name.as_str());
    let mut text = format!("**{figure}**\n\n");
    row(&mut text, "", names.map(str::to_owned));
    text += &format!("|---|{}\n", "---|".repeat(scenes.len()));
    for peer in Peer::ALL {
        if scenes
            .iter()
            .any(|(_, results)| results.contains_key(&peer))
        {
            let cells = scenes.iter().map(|(_, results)| {
                let rounds = results.get(&peer);
                cell(rounds.and_then(|rounds| spread(rounds, figure)))
            });
            row(&mut text, peer.name(), cells);
        }
    }
    text + "\n"
}

fn cell(spread: Option<Spread>) -> String {
    spread.map_or("-".to_owned(), Spread::text)
}

/// A row of a Markdown table.
pub(crate) fn row(text: &mut String, title: &str, cells: impl Iterator<Item = String>) {
    let cells: Vec<String> = cells.collect();
    // A String takes everything.
    let _ = writeln!(text, "| {title} | {} |", cells.join(" | "));
}

pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
