// SPDX-License-Identifier: MIT
//! Target, encoder's rate, path and delay over the time of a scene, as a figure.

use std::path::Path;

use plotters::{coord::Shift, prelude::*};

use crate::{peer::Peer, record::Record, scene::Scene};

/// The height of the legend, and what each name takes of its width.
const LEGEND: i32 = 36;
const NAME: i32 = 270;
/// Delays above are drawn at the edge.
const LONGEST_MS: f64 = 1500.0;

type Panel<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Line = Vec<(f64, f64)>;

/// One panel: its title, whether the path's capacity is in it, and what is drawn of a record.
type Content = (&'static str, bool, fn(&Record) -> Line);

const PANELS: [Content; 4] = [
    ("target, Mbit/s", true, Record::target),
    ("encoder's rate, Mbit/s", true, Record::encoded),
    ("passed by the path, Mbit/s", true, Record::used),
    (
        "longest delay from camera to decoder, ms",
        false,
        Record::came,
    ),
];

pub(crate) fn draw(file: &Path, scene: &Scene, records: &[(Peer, Record)]) -> anyhow::Result<()> {
    let root = SVGBackend::new(file, (960, 1000)).into_drawing_area();
    root.fill(&WHITE)?;
    let (legend, panels) = root.split_vertically(LEGEND);
    draw_legend(&legend, records)?;
    for (panel, content) in panels.split_evenly((4, 1)).iter().zip(PANELS) {
        draw_panel(panel, content, scene, records)?;
    }
    root.present()?;
    Ok(())
}

fn color(peer: Peer) -> RGBColor {
    match peer {
        Peer::Controlled => RGBColor(0, 114, 178),
        Peer::Fixed => RGBColor(230, 159, 0),
        Peer::WebRtc => RGBColor(204, 51, 92),
    }
}

/// The colours of the peers that are there.
fn draw_legend(legend: &Panel<'_>, records: &[(Peer, Record)]) -> anyhow::Result<()> {
    let names = records.iter().map(|(peer, _)| (peer.name(), color(*peer)));
    let path = ("capacity of the path", RGBColor(150, 150, 150));
    for (place, (name, color)) in (0..).zip(names.chain([path])) {
        let (x, y) = (60 + place * NAME * 4 / 5, LEGEND / 2);
        legend.draw(&Circle::new((x, y), 4, color.filled()))?;
        let style = ("sans-serif", 13).into_font();
        legend.draw(&Text::new(name, (x + 10, y - 6), style))?;
    }
    Ok(())
}

/// The capacity, as steps.
fn capacity(scene: &Scene) -> Line {
    scene
        .spans()
        .flat_map(|(from, to, bits)| [(from, bits / 1e6), (to, bits / 1e6)])
        .collect()
}

fn draw_panel(
    panel: &Panel<'_>,
    (title, has_path, line): Content,
    scene: &Scene,
    records: &[(Peer, Record)],
) -> anyhow::Result<()> {
    let lines: Vec<(Peer, Line)> = records
        .iter()
        .map(|(peer, record)| (*peer, line(record)))
        .collect();
    let path = if has_path {
        capacity(scene)
    } else {
        Line::new()
    };
    let values = lines.iter().flat_map(|(_, line)| line).chain(&path);
    let top = values.map(|(_, value)| *value).fold(0.0, f64::max);
    let top = match has_path {
        // An encoder that follows nothing needs no more room.
        true => top.min(1.5 * path.iter().map(|(_, value)| *value).fold(0.0, f64::max)),
        false => top.min(LONGEST_MS),
    };
    if top <= 0.0 {
        return Ok(());
    }
    let mut chart = ChartBuilder::on(panel)
        .caption(title, ("sans-serif", 16))
        .margin(8)
        .x_label_area_size(24)
        .y_label_area_size(50)
        .build_cartesian_2d(0.0..scene.end, 0.0..top * 1.05)?;
    chart
        .configure_mesh()
        .x_labels(13)
        .y_labels(6)
        .x_label_formatter(&|x| format!("{x:.0} s"))
        .y_label_formatter(&|y| format!("{y}"))
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .draw()?;
    if has_path {
        let style = RGBColor(150, 150, 150).stroke_width(2);
        chart.draw_series(LineSeries::new(path, style))?;
    }
    for (peer, line) in lines {
        let points = line.into_iter().map(|(x, y)| (x, y.min(top * 1.05)));
        match has_path {
            true => {
                chart.draw_series(LineSeries::new(points, color(peer).stroke_width(1)))?;
            }
            // Where there is no dot, no frame came.
            false => {
                let dot = |point| Circle::new(point, 2, color(peer).filled());
                chart.draw_series(points.map(dot))?;
            }
        }
    }
    Ok(())
}
