// SPDX-License-Identifier: MIT
//! The path, what was shown, and how late, over time.

use std::path::Path;

use plotters::{coord::Shift, prelude::*};

use crate::{
    common::ladder::LADDER,
    score::{Picture, Record, Score, fitting},
    viewer::Player,
};

/// Delays (s) above are drawn at the edge.
const LONGEST: f64 = 5.0;
const GREY: RGBColor = RGBColor(150, 150, 150);

type Panel<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A panel for the choice of each player, and one for the delays of all.
pub(crate) fn draw(file: &Path, players: &[&(Player, Record, Score)]) -> anyhow::Result<()> {
    let height = 220 * (players.len() as u32 + 1);
    let root = SVGBackend::new(file, (960, height)).into_drawing_area();
    root.fill(&WHITE)?;
    let panels = root.split_evenly((players.len() + 1, 1));
    for (panel, (player, record, _)) in panels.iter().zip(players) {
        draw_choice(panel, *player, record)?;
    }
    if let Some(panel) = panels.last() {
        draw_delay(panel, players)?;
    }
    root.present()?;
    Ok(())
}

fn color(player: Player) -> RGBColor {
    match player {
        Player::Moqsrc => RGBColor(0, 114, 178),
        Player::Shaka => RGBColor(204, 51, 92),
    }
}

/// One picture of each tenth of a second, which is a dot's width.
fn thinned(record: &Record) -> impl Iterator<Item = &Picture> {
    let mut tenth = None;
    record.pictures.iter().filter(move |picture| {
        let this = Some(((picture.at * 10.0) as u64, picture.place));
        std::mem::replace(&mut tenth, this) != this
    })
}

fn draw_choice(panel: &Panel<'_>, player: Player, record: &Record) -> anyhow::Result<()> {
    let rate = |place: usize| f64::from(LADDER[place].3) / 1e3;
    let title = format!(
        "{}: bit rate of what is shown, and of the best that fits (grey), Mbit/s",
        player.name()
    );
    let mut chart = ChartBuilder::on(panel)
        .caption(title, ("sans-serif", 16))
        .margin(8)
        .x_label_area_size(24)
        .y_label_area_size(50)
        .build_cartesian_2d(0.0..record.end, 0.0..rate(0) * 1.2)?;
    chart
        .configure_mesh()
        .x_label_formatter(&|x| format!("{x:.0} s"))
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .draw()?;
    let fits = record.spans().flat_map(|(from, to, bits)| {
        let rate = rate(fitting(bits));
        [(from, rate), (to, rate)]
    });
    chart.draw_series(LineSeries::new(fits, GREY.stroke_width(3)))?;
    let points = thinned(record).map(|picture| (picture.at, rate(picture.place)));
    // Where there is no dot, the picture stood.
    chart.draw_series(points.map(|point| Circle::new(point, 2, color(player).filled())))?;
    Ok(())
}

fn draw_delay(panel: &Panel<'_>, players: &[&(Player, Record, Score)]) -> anyhow::Result<()> {
    let end = players.iter().map(|(_, record, _)| record.end);
    let end = end.fold(1.0, f64::max);
    let names: Vec<&str> = players.iter().map(|(player, ..)| player.name()).collect();
    let mut chart = ChartBuilder::on(panel)
        .caption(
            format!("delay from capture to show, s ({})", names.join(", ")),
            ("sans-serif", 16),
        )
        .margin(8)
        .x_label_area_size(24)
        .y_label_area_size(50)
        .build_cartesian_2d(0.0..end, 0.0..LONGEST)?;
    chart
        .configure_mesh()
        .x_label_formatter(&|x| format!("{x:.0} s"))
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .draw()?;
    for (player, record, _) in players {
        let dots = thinned(record).map(|picture| {
            let point = (picture.at, picture.delay.min(LONGEST));
            Circle::new(point, 1, color(*player).filled())
        });
        chart.draw_series(dots)?;
    }
    Ok(())
}
