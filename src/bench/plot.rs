//! Time and busbw over size as a picture, for a report.
//!
//! Rows of one group are one line; the roof of each device and number of ranks is dashed.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::BenchError;
use super::bandwidth::{bus_factor, rate};
use super::chart::{
    Axis, COLOURS, Drawing, FAINT, FONT, Failure, INK, bytes, check_new, decades, exponents, plain, to_file,
};
use super::result::{Device, Group, Row, redop_name};

const WIDTH: u32 = 1200;
const PANELS_HEIGHT: u32 = 440;
const TITLE_HEIGHT: u32 = 52;
const LEGEND_LINE: u32 = 24;
/// One line.
struct Series {
    group: Group,
    label: String,
    colour: RGBColor,
    /// Past the last colour they begin again, with hollow points.
    hollow: bool,
    points: Vec<Point>,
}

impl Series {
    fn fill(&self) -> RGBColor {
        if self.hollow { WHITE } else { self.colour }
    }
}

/// One size of a line, out of place.
#[derive(Clone, Copy)]
struct Point {
    size: f64,
    time: f64,
    fastest: f64,
    slowest: f64,
    bus_bw: f64,
    roof_time: f64,
    roof_bus_bw: f64,
}

type Spread = fn(&Point) -> (f64, f64);

/// One of the two panels: its caption, its value at a point, the spread of that, and the roof's.
struct Panel {
    caption: &'static str,
    value: fn(&Point) -> f64,
    spread: Option<Spread>,
    roof: fn(&Point) -> f64,
}

const PANELS: [Panel; 2] = [
    Panel {
        caption: "time of a launch (us), mean; bars: fastest to 99th percentile",
        value: |point| point.time,
        spread: Some(|point| (point.fastest, point.slowest)),
        roof: |point| point.roof_time,
    },
    Panel { caption: "busbw (GB/s)", value: |point| point.bus_bw, spread: None, roof: |point| point.roof_bus_bw },
];

/// Draws `rows` to `path`, which must not exist.
///
/// # Errors
/// [`BenchError::Plot`], [`BenchError::Target`] and [`BenchError::File`].
pub fn draw(path: &Path, devices: &[Device], rows: &[Row]) -> Result<(), BenchError> {
    check_new(path)?;
    let (title, series) = series(devices, rows);
    let legend = legend(&series);
    let height = TITLE_HEIGHT + PANELS_HEIGHT + LEGEND_LINE * (legend.len() as u32) + LEGEND_LINE / 2;
    to_file(path, (WIDTH, height), &Picture { title, series, legend })
}

/// What all lines have in common is the title; what tells them apart, their labels.
fn series(devices: &[Device], rows: &[Row]) -> (String, Vec<Series>) {
    let mut series: Vec<Series> = Vec::new();
    for row in rows {
        let placement = &row.out_of_place;
        let statistics = &row.out_of_place_per_iter.statistics;
        let factor = bus_factor(row.collective, row.ranks);
        let point = Point {
            size: row.size as f64,
            time: placement.time,
            fastest: statistics.min,
            slowest: statistics.p99,
            bus_bw: placement.bus_bw,
            roof_time: row.roof.time,
            roof_bus_bw: rate(row.size as f64, row.roof.time) * factor,
        };
        match series.iter_mut().find(|series| series.group == row.group()) {
            Some(series) => series.points.push(point),
            None => {
                let colour = COLOURS[series.len() % COLOURS.len()];
                let hollow = series.len() / COLOURS.len() % 2 == 1;
                series.push(Series { group: row.group(), label: String::new(), colour, hollow, points: vec![point] });
            }
        }
    }
    let names = |group: &Group| -> [String; 7] {
        let device = devices.get(group.device);
        [
            format!("{} {} {}", group.collective, group.data_type, redop_name(group.redop)),
            group.algorithm.to_string(),
            group.sync.to_string(),
            format!("{} ranks", group.ranks),
            format!("root {}", group.root.max(0)),
            device.map_or_else(String::new, |device| format!("{} ({})", short(&device.name), device.backend)),
            format!("cycle {}", group.cycle + 1),
        ]
    };
    let all: Vec<[String; 7]> = series.iter().map(|series| names(&series.group)).collect();
    let (mut title, mut labels) = (Vec::new(), vec![Vec::new(); series.len()]);
    for field in 0..7 {
        let common = all.windows(2).all(|pair| pair[0][field] == pair[1][field]);
        match all.first() {
            // The first cycle goes without saying, and so do the usual synchronisation and root.
            Some(first) if common && !["cycle 1", "neighbor", "root 0"].contains(&first[field].as_str()) => {
                title.push(first[field].clone());
            }
            _ if common => {}
            _ => labels.iter_mut().zip(&all).for_each(|(label, names)| label.push(names[field].clone())),
        }
    }
    for (series, label) in series.iter_mut().zip(labels) {
        series.label = if label.is_empty() { series.group.algorithm.to_string() } else { label.join(", ") };
    }
    (title.join(", "), series)
}

/// Names of devices hold their compilers.
fn short(name: &str) -> &str {
    name.split(" (").next().unwrap_or(name)
}

/// Entries of the legend in lines; `None` is the roof.
fn legend(series: &[Series]) -> Vec<Vec<Option<usize>>> {
    let longest = series.iter().map(|series| series.label.chars().count()).max().unwrap_or(0).max(30);
    let columns = (WIDTH as usize / (longest * 7 + 70)).clamp(1, 5);
    let entries: Vec<Option<usize>> = (0..series.len()).map(Some).chain([None]).collect();
    entries.chunks(columns).map(<[_]>::to_vec).collect()
}

struct Picture {
    title: String,
    series: Vec<Series>,
    legend: Vec<Vec<Option<usize>>>,
}

impl Drawing for Picture {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, scale: f64) -> Result<(), Failure<B>> {
        picture(area, scale, &self.title, &self.series, &self.legend)
    }
}

fn picture<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    scale: f64,
    title: &str,
    series: &[Series],
    legend: &[Vec<Option<usize>>],
) -> Result<(), Failure<B>> {
    let px = |n: f64| (n * scale).round() as i32;
    area.fill(&WHITE)?;
    let (head, rest) = area.split_vertically(px(TITLE_HEIGHT.into()));
    let style = (FONT, 20.0 * scale).into_font().color(&INK);
    head.draw(&Text::new(title.to_owned(), (px(24.0), px(18.0)), style))?;
    let (panels, foot) = rest.split_vertically(px(PANELS_HEIGHT.into()));
    for (area, of) in panels.split_evenly((1, 2)).iter().zip(&PANELS) {
        panel(area, scale, of, series)?;
    }
    let middle = Pos::new(HPos::Left, VPos::Center);
    let columns = legend.first().map_or(1, Vec::len);
    let column = f64::from(WIDTH - 48) / columns as f64;
    for (line, entries) in legend.iter().enumerate() {
        for (n, entry) in entries.iter().enumerate() {
            let (x, y) = (24.0 + column * n as f64, f64::from(LEGEND_LINE) * (line as f64 + 0.5));
            let style = TextStyle::from((FONT, 14.0 * scale).into_font()).color(&INK);
            let text = match entry.and_then(|index| series.get(index)) {
                Some(of) => {
                    let stroke = of.colour.stroke_width(px(2.0) as u32);
                    foot.draw(&PathElement::new([(px(x), px(y)), (px(x + 30.0), px(y))], stroke))?;
                    foot.draw(&Circle::new((px(x + 15.0), px(y)), px(3.5), of.fill().filled()))?;
                    foot.draw(&Circle::new((px(x + 15.0), px(y)), px(3.5), stroke))?;
                    of.label.clone()
                }
                None => {
                    for dash in [0.0, 12.0, 24.0] {
                        let stroke = INK.stroke_width(px(1.0) as u32);
                        foot.draw(&PathElement::new([(px(x + dash), px(y)), (px(x + dash + 6.0), px(y))], stroke))?;
                    }
                    "roof: plain copy of all vectors".to_owned()
                }
            };
            foot.draw(&Text::new(text, (px(x + 38.0), px(y)), style.pos(middle)))?;
        }
    }
    area.present()
}

fn panel<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    scale: f64,
    of: &Panel,
    series: &[Series],
) -> Result<(), Failure<B>> {
    let px = |n: f64| (n * scale).round() as i32;
    let points = || series.iter().flat_map(|series| &series.points);
    let sizes = decades(points().map(|point| point.size), 2.0);
    let values = decades(points().flat_map(|point| [(of.value)(point), (of.roof)(point)]), 10.0);
    // A panel of busbw for one rank has nothing to show.
    let (Some(sizes), Some(values)) = (sizes, values) else { return Ok(()) };
    let (x_exponents, y_exponents) = (exponents(&sizes, 8), exponents(&values, 10));
    let mut chart = ChartBuilder::on(area)
        .margin(px(12.0))
        .margin_right(px(24.0))
        .x_label_area_size(px(40.0))
        .y_label_area_size(px(62.0))
        .caption(of.caption, (FONT, 15.0 * scale).into_font().color(&INK))
        .build_cartesian_2d(
            Axis { range: sizes.clone(), marks: x_exponents.clone() },
            Axis { range: values.clone(), marks: y_exponents.clone() },
        )?;
    // Axes hold exponents; lines and labels are drawn at whole ones.
    for &x in &x_exponents {
        chart.draw_series([PathElement::new(
            [(x, values.start), (x, values.end)],
            FAINT.stroke_width(px(1.0) as u32),
        )])?;
    }
    for &y in &y_exponents {
        chart
            .draw_series([PathElement::new([(sizes.start, y), (sizes.end, y)], FAINT.stroke_width(px(1.0) as u32))])?;
    }
    chart
        .configure_mesh()
        .disable_mesh()
        .x_label_formatter(&|x| bytes(x.exp2()))
        .y_label_formatter(&|y| plain(10_f64.powf(*y)))
        .x_desc("bytes of a rank's vector")
        .axis_style(INK.stroke_width(px(1.0) as u32))
        .label_style((FONT, 13.0 * scale).into_font().color(&INK))
        .set_all_tick_mark_size(px(6.0))
        .draw()?;
    let at = |point: &Point, value: f64| (point.size.log2(), value.log10());
    let mut roofs = Vec::new();
    for series in series {
        let colour = series.colour;
        let shown: Vec<&Point> = series.points.iter().filter(|point| (of.value)(point) > 0.0).collect();
        if !roofs.contains(&(series.group.device, series.group.ranks)) {
            roofs.push((series.group.device, series.group.ranks));
            let roof: Vec<(f64, f64)> = series
                .points
                .iter()
                .filter(|point| (of.roof)(point) > 0.0)
                .map(|point| at(point, (of.roof)(point)))
                .collect();
            let stroke = colour.mix(0.8).stroke_width(px(1.0) as u32);
            chart.draw_series(DashedLineSeries::new(roof, px(5.0) as u32, px(4.0) as u32, stroke))?;
        }
        chart.draw_series(LineSeries::new(
            shown.iter().map(|point| at(point, (of.value)(point))),
            colour.stroke_width(px(2.0) as u32),
        ))?;
        if let Some(spread) = of.spread {
            chart.draw_series(shown.iter().map(|point| {
                let (low, high) = spread(point);
                let ends = [at(point, low), at(point, high)];
                PathElement::new(ends, colour.mix(0.6).stroke_width(px(1.0) as u32))
            }))?;
        }
        for style in [series.fill().filled(), colour.stroke_width(px(2.0) as u32)] {
            chart.draw_series(shown.iter().map(|point| Circle::new(at(point, (of.value)(point)), px(3.5), style)))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::testing::row;
    use crate::schedule::Algorithm;

    fn rows() -> Vec<Row> {
        let mut rows: Vec<Row> = (10..24).step_by(2).map(|n| row(1 << n, 10.0 + f64::from(1 << n) / 1e3)).collect();
        let slow = |row: &Row| Row { algorithm: Algorithm::RingExchange, ..row.clone() };
        rows.extend(rows.clone().iter().map(slow));
        rows
    }

    #[test]
    fn what_lines_have_in_common_is_the_title() {
        let (title, series) = series(&[], &rows());
        assert!(
            title.contains("all-reduce f32 sum") && title.contains("4 ranks") && !title.contains("ring"),
            "{title}"
        );
        let labels: Vec<&str> = series.iter().map(|series| series.label.as_str()).collect();
        assert_eq!(labels, ["ring", "ring-exchange"]);
    }

    #[test]
    fn pictures_are_what_their_names_say() {
        let dir = tempfile::tempdir().unwrap();
        for (name, magic) in [("a.svg", &b"<svg"[..]), ("a.png", b"\x89PNG"), ("b.PNG", b"\x89PNG")] {
            let path = dir.path().join(name);
            draw(&path, &[], &rows()).unwrap();
            assert!(std::fs::read(&path).unwrap().starts_with(magic), "{name}");
        }
        let text = std::fs::read_to_string(dir.path().join("a.svg")).unwrap();
        for fragment in ["ring-exchange", "busbw (GB/s)", "64K", "roof"] {
            assert!(text.contains(fragment), "{fragment}");
        }
        assert!(matches!(draw(&dir.path().join("a.pdf"), &[], &rows()), Err(BenchError::Plot { .. })));
        // One row, one rank, nothing measurable: no picture of it may fail.
        let mut alone = row(1024, 10.0);
        alone.out_of_place.bus_bw = 0.0;
        alone.roof.time = 0.0;
        draw(&dir.path().join("alone.svg"), &[], &[alone]).unwrap();
    }
}
