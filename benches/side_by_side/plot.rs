//! Delay and cost at each rate, as a picture.

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

type Panel<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// One mark for each peer and scene: the median, with the spread of the rounds.
struct Mark {
    scene: usize,
    peer: Peer,
    spread: Spread,
}

pub(crate) fn draw(file: &Path, scenes: &[(String, Results)]) -> anyhow::Result<()> {
    let root = SVGBackend::new(file, (960, 760)).into_drawing_area();
    root.fill(&WHITE)?;
    for (panel, (title, figure)) in root.split_evenly((2, 2)).iter().zip(PANELS) {
        draw_panel(panel, title, figure, scenes)?;
    }
    root.present()?;
    Ok(())
}

fn marks(figure: &str, scenes: &[(String, Results)]) -> Vec<Mark> {
    let mut marks = Vec::new();
    for (scene, (_, results)) in scenes.iter().enumerate() {
        for (&peer, rounds) in results {
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
    let (bottom, top) = (bottom.fold(1.0, f64::min), top.fold(1.0, f64::max));
    let mut chart = ChartBuilder::on(panel)
        .caption(title, ("sans-serif", 18))
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(50)
        .build_cartesian_2d(
            -0.5..scenes.len() as f64 - 0.5,
            (bottom * 0.8..top * 1.3).log_scale(),
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
        .draw()?;
    for (index, peer) in Peer::ALL.into_iter().enumerate() {
        let color = Palette99::pick(index);
        let own = || marks.iter().filter(|mark| mark.peer == peer);
        let place = |mark: &Mark| mark.scene as f64 + (index as f64 - 2.5) * STEP;
        if own().next().is_none() {
            continue;
        }
        chart.draw_series(own().map(|mark| {
            let (x, spread) = (place(mark), mark.spread);
            let ends = [(x, spread.least), (x, spread.greatest)];
            PathElement::new(ends, color.stroke_width(2))
        }))?;
        let dot = |mark: &Mark| Circle::new((place(mark), mark.spread.median), 4, color.filled());
        chart
            .draw_series(own().map(dot))?
            .label(peer.name())
            .legend(move |(x, y)| Circle::new((x + 8, y), 4, Palette99::pick(index).filled()));
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .position(SeriesLabelPosition::UpperRight)
        .draw()?;
    Ok(())
}
