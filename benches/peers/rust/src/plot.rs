//! The record as a picture: time over size, a panel for each number of ranks, in the manner of `wgccl bench --plot`; of one
//! size, a bar for each row.

use std::ops::Range;

use epaint_default_fonts::UBUNTU_LIGHT;
use plotters::coord::Shift;
use plotters::coord::cartesian::Cartesian2d;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::register_font;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::error::Error;
use crate::record::{Record, Role};
use crate::summary::{duration, size};

const PANEL: (u32, u32) = (480, 480);
const TITLE_HEIGHT: u32 = 52;
const LEGEND_LINE: u32 = 24;
const LEGEND_COLUMN: u32 = 340;
/// Distinct also for most who see few colours (Okabe and Ito).
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(60, 60, 60),
];
const INK: RGBColor = RGBColor(40, 40, 40);
const FAINT: RGBColor = RGBColor(225, 225, 225);
const FONT: &str = "sans-serif";

/// How a row is drawn.
struct Style<'a> {
    row: &'a str,
    role: Role,
    colour: RGBColor,
    /// Past the last colour they begin again, with hollow points.
    hollow: bool,
}

impl Style<'_> {
    fn stroke(&self) -> ShapeStyle {
        self.colour.stroke_width(if self.role == Role::Subject { 4 } else { 2 })
    }

    fn fill(&self) -> ShapeStyle {
        if self.hollow { WHITE.filled() } else { self.colour.filled() }
    }
}

pub fn svg(record: &Record) -> Result<String, Error> {
    register_font(FONT, FontStyle::Normal, UBUNTU_LIGHT).map_err(|_| Error::Plot("its font is broken".to_owned()))?;
    let mut next = 0..;
    let styles: Vec<Style<'_>> = record
        .rows()
        .into_iter()
        .map(|(row, role)| {
            let n: usize = if role == Role::Floor { 0 } else { next.next().unwrap_or(0) };
            let colour = if role == Role::Floor { INK } else { COLOURS[n % COLOURS.len()] };
            Style { row, role, colour, hollow: n / COLOURS.len() % 2 == 1 }
        })
        .collect();
    let panels = record.axes().0.len().max(1) as u32;
    let width = (panels * PANEL.0).max(2 * LEGEND_COLUMN + 48);
    let columns = ((width - 48) / LEGEND_COLUMN).max(1);
    let height = TITLE_HEIGHT + PANEL.1 + LEGEND_LINE * (styles.len() as u32).div_ceil(columns) + LEGEND_LINE / 2;
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (width, height)).into_drawing_area();
        draw(&area, record, &styles, columns).map_err(|error| Error::Plot(error.to_string()))?;
    }
    Ok(text)
}

type Failure<B> = DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>;

fn draw<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    record: &Record,
    styles: &[Style<'_>],
    columns: u32,
) -> Result<(), Failure<B>> {
    area.fill(&WHITE)?;
    let (head, rest) = area.split_vertically(TITLE_HEIGHT);
    let title = format!("all-reduce f32 sum on {}, {} threads", record.machine.cpu, record.machine.threads);
    head.draw(&Text::new(title, (24, 18), (FONT, 20.0).into_font().color(&INK)))?;
    let (panels, foot) = rest.split_vertically(PANEL.1);
    let (ranks, sizes) = record.axes();
    for (area, &ranks) in panels.split_evenly((1, ranks.len().max(1))).iter().zip(&ranks) {
        panel(area, record, ranks, &sizes, styles)?;
    }
    let lines = styles.len().div_ceil(columns as usize).max(1);
    for (n, style) in styles.iter().enumerate() {
        let x = 24 + (n / lines) as i32 * LEGEND_COLUMN as i32;
        let y = (n % lines) as i32 * LEGEND_LINE as i32 + LEGEND_LINE as i32 / 2;
        if style.role == Role::Floor {
            for dash in [0, 12, 24] {
                foot.draw(&PathElement::new([(x + dash, y), (x + dash + 6, y)], INK.stroke_width(2)))?;
            }
        } else {
            foot.draw(&PathElement::new([(x, y), (x + 30, y)], style.stroke()))?;
            foot.draw(&Circle::new((x + 15, y), 3.5, style.fill()))?;
            foot.draw(&Circle::new((x + 15, y), 3.5, style.colour.stroke_width(2)))?;
        }
        let text = TextStyle::from((FONT, 14.0).into_font()).color(&INK).pos(Pos::new(HPos::Left, VPos::Center));
        foot.draw(&Text::new(style.row.to_owned(), (x + 38, y), text))?;
    }
    area.present()
}

type Chart<'a, B> = ChartContext<'a, B, Cartesian2d<Axis, Axis>>;

/// An empty chart of exponents: of two along `x`, where that has marks, and of ten along `y`, with lines at the marks.
fn chart<'a, B: DrawingBackend>(
    area: &'a DrawingArea<B, Shift>,
    ranks: usize,
    below: &str,
    x: Axis,
    y: Range<f64>,
) -> Result<Chart<'a, B>, Failure<B>> {
    let verticals = x.marks.iter().map(|&mark| [(mark, y.start), (mark, y.end)]);
    let marks: Vec<f64> = (y.start as i64..=y.end as i64).map(|mark| mark as f64).collect();
    let horizontals = marks.iter().map(|&mark| [(x.range.start, mark), (x.range.end, mark)]);
    let lines: Vec<_> = verticals.chain(horizontals).collect();
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .margin_right(30)
        .x_label_area_size(40)
        .y_label_area_size(62)
        .caption(format!("{ranks} ranks: time of a call"), (FONT, 15.0).into_font().color(&INK))
        .build_cartesian_2d(x, Axis { range: y, marks })?;
    chart.draw_series(lines.into_iter().map(|line| PathElement::new(line, FAINT.stroke_width(1))))?;
    chart
        .configure_mesh()
        .disable_mesh()
        .x_label_formatter(&|x| size(x.exp2().round() as usize))
        .y_label_formatter(&|y| decade(*y))
        .x_desc(below)
        .axis_style(INK.stroke_width(1))
        .label_style((FONT, 13.0).into_font().color(&INK))
        .set_all_tick_mark_size(6)
        .draw()?;
    Ok(chart)
}

fn panel<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    record: &Record,
    ranks: usize,
    sizes: &[usize],
    styles: &[Style<'_>],
) -> Result<(), Failure<B>> {
    let values = sizes.iter().flat_map(|&bytes| record.times(ranks, bytes).map(|time| time.median));
    let Some((y, x)) = exponents(values, 10.0).zip(exponents(sizes.iter().map(|&bytes| bytes as f64), 2.0)) else {
        return Ok(());
    };
    if let [only] = sizes {
        return bars(area, record, (ranks, *only), y, styles);
    }
    // Sizes need not be apart by one factor: each is marked where it is.
    let x_marks: Vec<f64> = sizes.iter().map(|&bytes| (bytes as f64).log2()).collect();
    let mut chart = chart(area, ranks, "a rank's vector", Axis { range: x, marks: x_marks }, y)?;
    // The subject lies on top.
    let (subjects, others): (Vec<_>, Vec<_>) = styles.iter().partition(|style| style.role == Role::Subject);
    for style in others.into_iter().chain(subjects) {
        let points: Vec<(f64, f64)> = sizes
            .iter()
            .filter_map(|&bytes| Some(((bytes as f64).log2(), record.best(style.row, ranks, bytes)?.median.log10())))
            .collect();
        if style.role == Role::Floor {
            chart.draw_series(DashedLineSeries::new(points, 5, 4, INK.stroke_width(2)))?;
            continue;
        }
        chart.draw_series(LineSeries::new(points.iter().copied(), style.stroke()))?;
        for shape in [style.fill(), style.colour.stroke_width(2)] {
            chart.draw_series(points.iter().map(|&point| Circle::new(point, 3.5, shape)))?;
        }
    }
    Ok(())
}

/// A bar for each row, from the bottom of the axis, which is no zero: what is read is where it ends, and its number.
fn bars<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    record: &Record,
    (ranks, bytes): (usize, usize),
    y: Range<f64>,
    styles: &[Style<'_>],
) -> Result<(), Failure<B>> {
    let times: Vec<(&Style<'_>, f64)> = styles
        .iter()
        .filter_map(|style| Some((style, record.best(style.row, ranks, bytes)?.median)))
        .collect();
    let width = times.len().max(1) as f64;
    let x = Axis { range: 0.0..width, marks: Vec::new() };
    let mut chart = chart(area, ranks, &format!("a rank's vector: {}", size(bytes)), x, y.clone())?;
    let number = TextStyle::from((FONT, 11.0).into_font()).color(&INK).pos(Pos::new(HPos::Center, VPos::Bottom));
    for (at, (style, time)) in times.iter().enumerate() {
        let (left, top) = (at as f64, time.log10());
        let corners = [(left + 0.15, y.start), (left + 0.85, top)];
        let fill = if style.role == Role::Floor { FAINT.filled() } else { style.fill() };
        chart.draw_series([Rectangle::new(corners, fill)])?;
        chart.draw_series([Rectangle::new(corners, style.stroke())])?;
        chart.draw_series([Text::new(duration(*time), (left + 0.5, top), number.clone())])?;
    }
    if let Some((_, floor)) = times.iter().find(|(style, _)| style.role == Role::Floor) {
        let line = [(0.0, floor.log10()), (width, floor.log10())];
        chart.draw_series(DashedLineSeries::new(line, 5, 4, INK.stroke_width(2)))?;
    }
    Ok(())
}

/// A power of ten of microseconds.
fn decade(exponent: f64) -> String {
    match exponent {
        e if e < 0.0 => format!("{} ns", 10_f64.powf(e + 3.0).round()),
        e => duration(10_f64.powf(e)).replace(".00", "").replace(".0", ""),
    }
}

/// The whole exponents of `base` around all values.
fn exponents(values: impl Iterator<Item = f64>, base: f64) -> Option<Range<f64>> {
    let logs = values.filter(|value| *value > 0.0).map(|value| value.log(base));
    let (low, high) = logs.fold((f64::MAX, f64::MIN), |(low, high), log| (low.min(log), high.max(log)));
    let (low, high) = ((low + 1e-9).floor(), (high - 1e-9).ceil());
    (low <= high).then_some(if low == high { low - 1.0..high + 1.0 } else { low..high })
}

/// An axis of exponents with labels at given ones only.
struct Axis {
    range: Range<f64>,
    marks: Vec<f64>,
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let share = (value - self.range.start) / (self.range.end - self.range.start);
        limit.0 + (f64::from(limit.1 - limit.0) * share).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.marks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Axis {
    fn format(exponent: &f64) -> String {
        exponent.to_string()
    }
}
