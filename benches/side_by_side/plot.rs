// SPDX-License-Identifier: MIT
//! Delay and cost at each rate, as a figure.

use std::path::Path;

use plotters::{coord::Shift, prelude::*};

use crate::{
    measure::Results,
    peer::Peer,
    report::{self, Spread},
};

const PANELS: [(&str, &str); 4] = [
    ("median delay, ms", "delay p50 ms"),
    ("delay of 99 %, ms", "delay p99 ms"),
    ("publisher, CPU ms per MB", "publisher CPU ms/MB"),
    ("subscriber, CPU ms per MB", "subscriber CPU ms/MB"),
];
/// How far the marks of a scene are apart; the scenes are 1 apart.
const STEP: f64 = 0.13;
/// The height of the legend, and what each name takes of its width.
const LEGEND: i32 = 36;
const NAME: i32 = 150;

type Panel<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// One mark for each peer and scene: the median, with the spread of the rounds.
struct Mark {
    scene: usize,
    peer: Peer,
    spread: Spread,
}

pub(crate) fn draw(file: &Path, scenes: &[(String, Results)]) -> anyhow::Result<()> {
    let root = SVGBackend::new(file, (960, 780)).into_drawing_area();
    root.fill(&WHITE)?;
    let (legend, panels) = root.split_vertically(LEGEND);
    draw_legend(&legend, scenes)?;
    for (panel, (title, figure)) in panels.split_evenly((2, 2)).iter().zip(PANELS) {
        draw_panel(panel, title, figure, scenes)?;
    }
    root.present()?;
    Ok(())
}

/// The colours of the peers that are there.
fn draw_legend(legend: &Panel<'_>, scenes: &[(String, Results)]) -> anyhow::Result<()> {
    let is_there = |peer: &Peer| scenes.iter().any(|(_, results)| results.contains_key(peer));
    let peers = Peer::ALL.into_iter().enumerate();
    let peers = peers.filter(|(_, peer)| is_there(peer));
    for (place, (index, peer)) in (0..).zip(peers) {
        let (x, y) = (60 + place * NAME, LEGEND / 2);
        legend.draw(&Circle::new((x, y), 4, Palette99::pick(index).filled()))?;
        let style = ("sans-serif", 13).into_font();
        legend.draw(&Text::new(peer.name(), (x + 10, y - 6), style))?;
    }
    Ok(())
}

fn marks(figure: &str, scenes: &[(String, Results)]) -> Vec<Mark> {
    let mut marks = Vec::new();
    for (scene, (_, results)) in scenes.iter().enumerate() {
        for (&peer, rounds) in results.iter().filter(|(peer, _)| Peer::ALL.contains(peer)) {
            // What is not more than the harness has no place on a logarithmic scale.
            let spread = report::spread(rounds, figure).filter(|spread| spread.least > 0.0);
            marks.extend(spread.map(|spread| Mark {
                scene,
                peer,
                spread,
            }));
        }
    }
    marks
}

fn draw_panel(
    panel: &Panel<'_>,
    title: &str,
    figure: &str,
    scenes: &[(String, Results)],
) -> anyhow::Result<()> {
    let marks = marks(figure, scenes);
    let bottom = marks.iter().map(|mark| mark.spread.least);
    let top = marks.iter().map(|mark| mark.spread.greatest);
    let (bottom, top) = (bottom.fold(f64::MAX, f64::min), top.fold(0.0, f64::max));
    if top == 0.0 {
        return Ok(());
    }
    let mut chart = ChartBuilder::on(panel)
        .caption(title, ("sans-serif", 18))
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(50)
        .build_cartesian_2d(
            -0.5..scenes.len() as f64 - 0.5,
            (bottom * 0.8..top * 1.25).log_scale(),
        )?;
    let name = |x: &f64| {
        let name = scenes.get(x.round() as usize).filter(|_| x.fract() == 0.0);
        name.map_or_else(String::new, |(name, _)| {
            name.trim_start_matches("rate: ").to_owned()
        })
    };
    chart
        .configure_mesh()
        .x_labels(scenes.len() * 2 + 1)
        .x_label_formatter(&name)
        .y_label_formatter(&|y| format!("{y}"))
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .draw()?;
    for (index, peer) in Peer::ALL.into_iter().enumerate() {
        let color = Palette99::pick(index);
        let own = || marks.iter().filter(|mark| mark.peer == peer);
        let place = |mark: &Mark| mark.scene as f64 + (index as f64 - 2.5) * STEP;
        chart.draw_series(own().map(|mark| {
            let (x, spread) = (place(mark), mark.spread);
            let ends = [(x, spread.least), (x, spread.greatest)];
            PathElement::new(ends, color.stroke_width(2))
        }))?;
        let dot = |mark: &Mark| Circle::new((place(mark), mark.spread.median), 4, color.filled());
        chart.draw_series(own().map(dot))?;
    }
    Ok(())
}
