// SPDX-License-Identifier: MIT
//! What a player showed, beside what the path carried.

use std::{collections::HashMap, fmt, time::Instant};

use crate::{
    common::{
        barcode::Shown,
        ladder::{FPS, LADDER},
        median,
    },
    viewer::Player,
};

/// A rendition fits a path that has this much more than its bit rate: of it the path carries headers, too.
const ROOM: f64 = 1.25;
/// A player has so long (s) after each change of the path.
const SETTLING: f64 = 5.0;
/// Pictures that are this far (s) apart are a stall.
const STALL: f64 = 0.1;

/// The path from this time (s) on.
pub(crate) struct Path {
    pub(crate) from: f64,
    /// Bits per second.
    pub(crate) bits: f64,
}

/// A picture that was shown.
#[derive(Clone, Copy)]
pub(crate) struct Picture {
    /// When, in s.
    pub(crate) at: f64,
    /// Its rendition's place in the ladder.
    pub(crate) place: usize,
    /// The time (s) since it was captured.
    pub(crate) delay: f64,
}

/// What happened while one player played.
pub(crate) struct Record {
    pub(crate) steps: Vec<Path>,
    pub(crate) pictures: Vec<Picture>,
    pub(crate) end: f64,
    /// What the path delivered to the player.
    bytes: u64,
}

impl Record {
    /// Times count from `begin`.
    pub(crate) fn new(
        begin: Instant,
        end: f64,
        steps: Vec<Path>,
        shown: &[Shown],
        captured: &[Shown],
        bytes: u64,
    ) -> Self {
        let captured: HashMap<u32, Instant> = captured
            .iter()
            .map(|picture| (picture.number, picture.at))
            .collect();
        let pictures = shown.iter().filter_map(|picture| {
            let captured = captured.get(&picture.number)?;
            Some(Picture {
                at: picture.at.saturating_duration_since(begin).as_secs_f64(),
                place: LADDER
                    .iter()
                    .position(|(_, width, ..)| *width == picture.width)?,
                delay: picture
                    .at
                    .saturating_duration_since(*captured)
                    .as_secs_f64(),
            })
        });
        Self {
            steps,
            pictures: pictures.collect(),
            end,
            bytes,
        }
    }

    /// Each picture as a line: when it was shown (s), its place in the ladder, its delay (s).
    pub(crate) fn csv(&self) -> String {
        let lines = self.pictures.iter();
        lines
            .map(|Picture { at, place, delay }| format!("{at:.3},{place},{delay:.3}\n"))
            .collect()
    }

    /// From when to when the path had so many bits per second.
    pub(crate) fn spans(&self) -> impl Iterator<Item = (f64, f64, f64)> {
        let ends = self.steps.iter().skip(1).map(|step| step.from);
        let steps = self.steps.iter().zip(ends.chain([self.end]));
        steps.map(|(step, end)| (step.from, end, step.bits))
    }

    /// Each picture with the time from it to the next, or to the end.
    fn shown(&self) -> impl Iterator<Item = (Picture, f64)> {
        let next = self.pictures.iter().skip(1).map(|picture| picture.at);
        let next = next.chain([self.end]);
        self.pictures
            .iter()
            .zip(next)
            .map(|(picture, next)| (*picture, next))
    }
}

/// The place of the best rendition that a path of so many bits per second carries.
pub(crate) fn fitting(bits: f64) -> usize {
    let fits = LADDER
        .iter()
        .position(|(.., kbit)| f64::from(*kbit) * 1e3 * ROOM <= bits);
    fits.unwrap_or(LADDER.len() - 1)
}

/// A record in figures; times in s.
pub(crate) struct Score {
    first: f64,
    /// How long less was shown than the path carried, from the first picture on.
    below: f64,
    /// Which part of the time, from 5 s after each change of the path, the best one was shown that fits.
    fitting: f64,
    /// How long the picture stood, and the longest time.
    stalled: f64,
    longest: f64,
    /// The median time from capture to show.
    delay: f64,
    /// Bytes of the path to those of what was shown.
    bytes: f64,
}

impl Score {
    pub(crate) fn of(record: &Record) -> Self {
        let first = record
            .pictures
            .first()
            .map_or(record.end, |picture| picture.at);
        let (mut below, mut fits, mut judged, mut wanted) = (0.0, 0.0, 0.0, 0.0);
        for (from, to, bits) in record.spans() {
            let best = fitting(bits);
            let settled = from + SETTLING;
            judged += to - settled;
            for (picture, next) in record.shown() {
                let within = |from: f64| (next.min(to) - picture.at.max(from)).max(0.0);
                if picture.place > best {
                    below += within(from);
                }
                if picture.place == best {
                    fits += within(settled);
                }
                wanted += within(from) * f64::from(LADDER[picture.place].3) * 1e3 / 8.0;
            }
        }
        let frame = 1.0 / f64::from(FPS);
        let gaps = || record.shown().map(|(picture, next)| next - picture.at);
        let delays = record.pictures.iter().map(|picture| picture.delay);
        Self {
            first,
            below,
            fitting: fits / judged,
            stalled: gaps()
                .filter(|gap| *gap > STALL)
                .map(|gap| gap - frame)
                .sum(),
            longest: gaps().fold(0.0, f64::max),
            delay: median(delays).unwrap_or(f64::NAN),
            bytes: record.bytes as f64 / wanted,
        }
    }

    fn columns(&self) -> [f64; 7] {
        [
            self.first,
            self.below,
            self.fitting * 100.0,
            self.stalled,
            self.longest,
            self.delay,
            self.bytes,
        ]
    }
}

const TITLES: [&str; 7] = [
    "first picture, s",
    "below what fits, s",
    "what fits from 5 s on, %",
    "stalled, s",
    "longest stall, s",
    "delay p50, s",
    "bytes to those shown",
];

impl fmt::Display for Score {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (title, value) in TITLES.iter().zip(self.columns()) {
            write!(to, "{title} {value:.2}; ")?;
        }
        Ok(())
    }
}

/// The medians of each player.
pub(crate) fn table(scores: &[(Player, Record, Score)]) -> String {
    let mut table = format!("| player | rounds | {} |\n|---|---|", TITLES.join(" | "));
    table += &"---|".repeat(TITLES.len());
    for player in Player::ALL {
        let rounds: Vec<[f64; 7]> = scores
            .iter()
            .filter(|(of, ..)| *of == player)
            .map(|(.., score)| score.columns())
            .collect();
        if rounds.is_empty() {
            continue;
        }
        table += &format!("\n| {} | {} |", player.name(), rounds.len());
        for column in 0..TITLES.len() {
            let values = rounds.iter().map(|round| round[column]);
            table += &format!(" {:.2} |", median(values).unwrap_or(f64::NAN));
        }
    }
    table + "\n"
}
