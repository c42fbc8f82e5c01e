//! The delays at each rate, as a picture.

use std::{collections::BTreeMap, path::Path};

use plotters::prelude::*;

use crate::{
    peer::Peer,
    report::{self, Spread},
    scenes::Results,
};

/// One mark for each peer and scene: the median of p50 and p99, with the spread of the rounds.
pub(crate) fn delays(file: &Path, scenes: &BTreeMap<String, Results>) -> anyhow::Result<()> {
    let root = SVGBackend::new(file, (900, 420)).into_drawing_area();
    root.fill(&WHITE)?;
    let panels = root.split_evenly((1, 2));
    for (panel, (title, name)) in panels.iter().zip([
        ("median delay, ms", "delay p50 ms"),
        ("delay of 99 %, ms", "delay p99 ms"),
    ]) {
        draw(panel, title, name, scenes)?;
    }
    root.present()?;
    Ok(())
}

type Panel<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn draw(
    panel: &Panel<'_>,
    title: &str,
    name: &str,
    scenes: &BTreeMap<String, Results>,
) -> anyhow::Result<()> {
    let marks: Vec<(usize, Peer, Spread)> = scenes
        .values()
        .enumerate()
        .flat_map(|(at, results)| {
            let of_peer = move |(peer, rounds): (&Peer, &Vec<_>)| {
                Some((at, *peer, report::spread(rounds, name)?))
            };
            results.iter().filter_map(of_peer)
        })
        .collect();
    let top = marks
        .iter()
        .map(|(_, _, spread)| spread.greatest)
        .fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(panel)
        .caption(title, ("sans-serif", 18))
        .margin(8)
        .x_label_area_size(30)
        .y_label_area_size(50)
        .build_cartesian_2d(
            -0.5..scenes.len() as f64 - 0.5,
            (0.3..top * 1.3).log_scale(),
        )?;
    let names: Vec<&str> = scenes
        .keys()
        .map(|name| name.trim_start_matches("rate: "))
        .collect();
    chart
        .configure_mesh()
        .x_labels(scenes.len() * 2 + 1)
        .x_label_formatter(&|x| {
            let whole = (x.fract() == 0.0 && *x >= 0.0).then(|| names.get(*x as usize));
            whole.flatten().map(ToString::to_string).unwrap_or_default()
        })
        .disable_x_mesh()
        .draw()?;
    for (index, peer) in Peer::ALL.into_iter().enumerate() {
        let color = Palette99::pick(index);
        let place = |at: usize| at as f64 + (index as f64 - 2.0) * 0.14;
        let own: Vec<_> = marks.iter().filter(|(_, of, _)| *of == peer).collect();
        let bars = own.iter().map(|(at, _, spread)| {
            let x = place(*at);
            PathElement::new(
                [(x, spread.least), (x, spread.greatest)],
                color.stroke_width(2),
            )
        });
        chart.draw_series(bars)?;
        let dots = own
            .iter()
            .map(|(at, _, spread)| Circle::new((place(*at), spread.median), 4, color.filled()));
        chart
            .draw_series(dots)?
            .label(peer.name())
            .legend(move |(x, y)| Circle::new((x + 8, y), 4, Palette99::pick(index).filled()));
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .position(SeriesLabelPosition::UpperLeft)
        .draw()?;
    Ok(())
}
