//! How cost grows, as a picture: measured lines, and beside each, dashed, the law that it should follow.
//!
//! A law has no constant of its own: it goes through a line's last point, where what is proportional to something else
//! matters least.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use serde::{Deserialize, Serialize};
use wgccl_cli::bench::chart::{
    Axis, COLOURS, Drawing, FAINT, FONT, Failure, INK, bytes, decades, exponents, plain, to_file,
};
use wgccl_cli::error::BenchError;

/// What a cost should be proportional to, of x: ranks or bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Law {
    /// x.
    #[serde(rename = "x")]
    Linear,
    /// x log x.
    #[serde(rename = "x log x")]
    LinearLog,
    /// x squared.
    #[serde(rename = "x^2")]
    Square,
    /// x cubed.
    #[serde(rename = "x^3")]
    Cube,
}

impl Law {
    fn of(self, x: f64) -> f64 {
        match self {
            Self::Linear => x,
            Self::LinearLog => x * x.log2().max(1.0),
            Self::Square => x.powi(2),
            Self::Cube => x.powi(3),
        }
    }

    fn name(self, x: &str) -> String {
        match self {
            Self::Linear => x.to_owned(),
            Self::LinearLog => format!("{x} log {x}"),
            Self::Square => format!("{x}²"),
            Self::Cube => format!("{x}³"),
        }
    }
}

/// What x is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Over {
    /// Participants, P.
    Ranks,
    /// Bytes of a rank's vector, N.
    Bytes,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Line {
    /// What it is of.
    pub(super) name: String,
    /// What it should be proportional to.
    pub(super) law: Law,
    /// x and microseconds.
    pub(super) points: Vec<(u64, f64)>,
}

/// One pair of axes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Panel {
    /// What is measured.
    pub(super) caption: String,
    /// Over what.
    pub(super) over: Over,
    /// Of what.
    pub(super) lines: Vec<Line>,
}

const WIDTH: u32 = 1200;
const COLUMNS: u32 = 2;
const TITLE: u32 = 52;
const PLOT: u32 = 400;
const LEGEND_LINE: u32 = 22;
const LEGEND_COLUMNS: usize = 2;

/// Draws `panels` to `path`, two beside each other, overwriting it.
///
/// # Errors
/// [`BenchError::Plot`] and [`BenchError::Write`].
pub(super) fn draw(path: &Path, title: &str, panels: &[Panel]) -> Result<(), BenchError> {
    let rows = panels.len().div_ceil(COLUMNS as usize) as u32;
    let picture = Picture { title, panels, rows };
    to_file(path, (WIDTH, TITLE + rows * picture.row()), &picture)
}

struct Picture<'a> {
    title: &'a str,
    panels: &'a [Panel],
    rows: u32,
}

impl Picture<'_> {
    /// Height of a row of panels, in units.
    fn row(&self) -> u32 {
        let lines = self.panels.iter().map(|panel| panel.lines.len()).max().unwrap_or(0);
        PLOT + LEGEND_LINE * (lines.div_ceil(LEGEND_COLUMNS) as u32 + 1)
    }
}

impl Drawing for Picture<'_> {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, scale: f64) -> Result<(), Failure<B>> {
        let px = |n: u32| (f64::from(n) * scale).round() as i32;
        area.fill(&WHITE)?;
        let (head, rest) = area.split_vertically(px(TITLE));
        let style = (FONT, 20.0 * scale).into_font().color(&INK);
        head.draw(&Text::new(self.title.to_owned(), (px(24), px(18)), style))?;
        let areas = rest.split_evenly((self.rows as usize, COLUMNS as usize));
        for (area, of) in areas.iter().zip(self.panels) {
            let (plot, legend) = area.split_vertically(px(PLOT));
            panel(&plot, scale, of)?;
            names(&legend, scale, of)?;
        }
        area.present()
    }
}

fn colour(index: usize) -> RGBColor {
    COLOURS[index % COLOURS.len()]
}

/// Past the last colour they begin again, with hollow points.
fn fill(index: usize) -> RGBColor {
    if index / COLOURS.len() % 2 == 1 { WHITE } else { colour(index) }
}

fn panel<B: DrawingBackend>(area: &DrawingArea<B, Shift>, scale: f64, of: &Panel) -> Result<(), Failure<B>> {
    let px = |n: f64| (n * scale).round() as i32;
    let points = || of.lines.iter().flat_map(|line| &line.points);
    let xs = decades(points().map(|&(x, _)| x as f64), 2.0);
    let ys = decades(points().map(|&(_, y)| y), 10.0);
    let (Some(xs), Some(ys)) = (xs, ys) else { return Ok(()) };
    let (x_marks, y_marks) = (exponents(&xs, 8), exponents(&ys, 10));
    let mut chart = ChartBuilder::on(area)
        .margin(px(12.0))
        .margin_right(px(24.0))
        .x_label_area_size(px(40.0))
        .y_label_area_size(px(62.0))
        .caption(&of.caption, (FONT, 15.0 * scale).into_font().color(&INK))
        .build_cartesian_2d(
            Axis { range: xs.clone(), marks: x_marks.clone() },
            Axis { range: ys.clone(), marks: y_marks.clone() },
        )?;
    let faint = FAINT.stroke_width(px(1.0) as u32);
    chart.draw_series(x_marks.iter().map(|&x| PathElement::new([(x, ys.start), (x, ys.end)], faint)))?;
    chart.draw_series(y_marks.iter().map(|&y| PathElement::new([(xs.start, y), (xs.end, y)], faint)))?;
    let (format_x, x_desc): (fn(f64) -> String, _) = match of.over {
        Over::Ranks => (|x| format!("{x}"), "ranks (P)"),
        Over::Bytes => (bytes, "bytes of a rank's vector (N)"),
    };
    chart
        .configure_mesh()
        .disable_mesh()
        .x_label_formatter(&|x| format_x(x.exp2()))
        .y_label_formatter(&|y| plain(10_f64.powf(*y)))
        .x_desc(x_desc)
        .axis_style(INK.stroke_width(px(1.0) as u32))
        .label_style((FONT, 13.0 * scale).into_font().color(&INK))
        .set_all_tick_mark_size(px(6.0))
        .draw()?;
    for (index, line) in of.lines.iter().enumerate() {
        let (colour, fill) = (colour(index), fill(index));
        let at = |x: u64, y: f64| ((x as f64).log2(), y.log10());
        if let Some(&(last, time)) = line.points.last() {
            let law = |x: u64| time * line.law.of(x as f64) / line.law.of(last as f64);
            // A law that is steeper than the line leaves the picture at the bottom.
            let law = line.points.iter().map(|&(x, _)| at(x, law(x))).filter(|&(_, y)| y >= ys.start);
            let stroke = colour.mix(0.7).stroke_width(px(1.0) as u32);
            chart.draw_series(DashedLineSeries::new(law, px(5.0) as u32, px(4.0) as u32, stroke))?;
        }
        let points = || line.points.iter().map(|&(x, y)| at(x, y));
        chart.draw_series(LineSeries::new(points(), colour.stroke_width(px(2.0) as u32)))?;
        for style in [fill.filled(), colour.stroke_width(px(2.0) as u32)] {
            chart.draw_series(points().map(|point| Circle::new(point, px(3.0), style)))?;
        }
    }
    Ok(())
}

/// Of each line: its name, solid, and its law, dashed.
fn names<B: DrawingBackend>(area: &DrawingArea<B, Shift>, scale: f64, of: &Panel) -> Result<(), Failure<B>> {
    let px = |n: f64| (n * scale).round() as i32;
    let x = match of.over {
        Over::Ranks => "P",
        Over::Bytes => "N",
    };
    let column = f64::from(WIDTH / COLUMNS - 74) / LEGEND_COLUMNS as f64;
    let style = TextStyle::from((FONT, 13.0 * scale).into_font()).color(&INK).pos(Pos::new(HPos::Left, VPos::Center));
    for (index, line) in of.lines.iter().enumerate() {
        let (row, place) = (index / LEGEND_COLUMNS, index % LEGEND_COLUMNS);
        let (left, y) = (74.0 + column * place as f64, f64::from(LEGEND_LINE) * (row as f64 + 0.5));
        let at = |x: f64| (px(left + x), px(y));
        let (colour, fill) = (colour(index), fill(index));
        area.draw(&PathElement::new([at(0.0), at(24.0)], colour.stroke_width(px(2.0) as u32)))?;
        area.draw(&Circle::new(at(12.0), px(3.0), fill.filled()))?;
        area.draw(&Circle::new(at(12.0), px(3.0), colour.stroke_width(px(2.0) as u32)))?;
        area.draw(&Text::new(line.name.clone(), at(30.0), style.clone()))?;
        for dash in [0.0, 9.0, 18.0] {
            let ends = [at(column - 92.0 + dash), at(column - 87.0 + dash)];
            area.draw(&PathElement::new(ends, colour.mix(0.7).stroke_width(px(1.0) as u32)))?;
        }
        area.draw(&Text::new(format!("∝ {}", line.law.name(x)), at(column - 64.0), style.clone()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laws_grow_as_they_say() {
        for (law, growth, name) in [
            (Law::Linear, 4.0, "P"),
            (Law::LinearLog, 8.0, "P log P"),
            (Law::Square, 16.0, "P²"),
            (Law::Cube, 64.0, "P³"),
        ] {
            assert_eq!((law.of(16.0) / law.of(4.0), law.name("P").as_str()), (growth, name));
        }
    }

    #[test]
    fn every_line_and_law_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let line =
            |name: &str, law| Line { name: name.to_owned(), law, points: vec![(4, 1.5), (16, 30.0), (64, 400.0)] };
        let panel = |over, lines| Panel { caption: "proof".to_owned(), over, lines };
        let many: Vec<Line> = (0..9).map(|n| line(&format!("line {n}"), Law::Square)).collect();
        let panels = [
            panel(Over::Ranks, many),
            panel(
                Over::Bytes,
                vec![line("direct", Law::Linear), Line { points: Vec::new(), ..line("none", Law::Linear) }],
            ),
            panel(Over::Ranks, Vec::new()),
        ];
        for (name, magic) in [("a.svg", &b"<svg"[..]), ("a.png", b"\x89PNG")] {
            let path = dir.path().join(name);
            draw(&path, "How cost grows", &panels).unwrap();
            assert!(std::fs::read(&path).unwrap().starts_with(magic), "{name}");
        }
        let text = std::fs::read_to_string(dir.path().join("a.svg")).unwrap();
        for fragment in ["How cost grows", "line 8", "∝ P²", "∝ N", "ranks (P)", "bytes of a rank"] {
            assert!(text.contains(fragment), "{fragment}");
        }
        assert!(matches!(draw(&dir.path().join("a.pdf"), "", &panels), Err(BenchError::Plot { .. })));
    }
}
