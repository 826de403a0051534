//! Time and busbw over size as a picture, for a report.
//!
//! One style is one algorithm everywhere: what has other ranks or another device has panels of its own, those of a device on
//! the same axes. Where a single algorithm was measured, its lines over ranks and devices share a panel instead.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use wgccl::collective::Collective;

use super::bandwidth::{bus_factor, rate, size_parts};
use super::chart::{Axis, COLOURS, Drawing, FAINT, FONT, Failure, INK, bytes, decades, exponents, plain, to_new_file};
use super::result::{Device, Group, Row, redop_name};
use crate::error::BenchError;

const WIDTH: u32 = 1200;
/// Of panels beside each other; less where there are many.
const HEIGHT: u32 = 440;
const LOW: u32 = 320;
const TITLE_HEIGHT: u32 = 52;
const CAPTION_HEIGHT: u32 = 26;
const LEGEND_LINE: u32 = 24;
/// The lines of a legend's entry are so long.
const STROKE: f64 = 30.0;

/// One line.
struct Series {
    group: Group,
    /// Which colour and mark: an index into the picture's labels.
    style: usize,
    points: Vec<Point>,
}

/// One place of a line, out of place.
#[derive(Clone, Copy)]
struct Point {
    /// Bytes, and of a barrier, which has none, ranks.
    x: f64,
    time: f64,
    fastest: f64,
    slowest: f64,
    bus_bw: f64,
    roof_time: f64,
    roof_bus_bw: f64,
}

type Spread = fn(&Point) -> (f64, f64);

/// What is shown: its caption, its value at a point, the spread of that, and the roof's.
struct Measure {
    caption: &'static str,
    value: fn(&Point) -> f64,
    spread: Option<Spread>,
    roof: fn(&Point) -> f64,
}

const MEASURES: [Measure; 2] = [
    Measure {
        caption: "time of a launch (us), mean; bars: fastest to 99th percentile",
        value: |point| point.time,
        spread: Some(|point| (point.fastest, point.slowest)),
        roof: |point| point.roof_time,
    },
    Measure { caption: "busbw (GB/s)", value: |point| point.bus_bw, spread: None, roof: |point| point.roof_bus_bw },
];

/// Draws `rows` to `path`, which must not exist.
///
/// # Errors
/// [`BenchError::Plot`], [`BenchError::Target`] and [`BenchError::File`].
pub fn draw(path: &Path, devices: &[Device], rows: &[Row]) -> Result<(), BenchError> {
    let picture = Picture::of(devices, rows);
    to_new_file(path, (WIDTH, picture.height()), &picture)
}

struct Picture {
    /// What all lines have in common.
    title: String,
    /// Of each style.
    labels: Vec<String>,
    /// Lines on the same axes, under a caption that tells these panels from others.
    panels: Vec<(String, Vec<Series>)>,
    x_label: &'static str,
    over_ranks: bool,
    /// Each device and number of ranks has its own roof; where they share a panel it has their colour.
    one_panel: bool,
}

/// What can tell two lines apart. The first two fields are a panel's, the others a style's.
const FIELDS: usize = 8;
const OF_PANEL: usize = 2;

/// Of modes that devices chose by themselves nothing is said: an algorithm keeps its style on all of them.
fn tells_modes(rows: &[Row]) -> bool {
    let mode = |row: &Row| row.out_of_place.dispatch_name();
    let distinct: BTreeSet<_> = rows.iter().map(mode).collect();
    let on_devices: BTreeSet<_> = rows.iter().map(|row| (row.device, mode(row))).collect();
    let devices: BTreeSet<_> = rows.iter().map(|row| row.device).collect();
    distinct.len() == 1 || on_devices.len() > devices.len()
}

fn names(devices: &[Device], group: &Group, modes: bool) -> [String; FIELDS] {
    let device = devices.get(group.device);
    let what = match (group.collective, group.redop) {
        (Collective::Barrier, _) => group.collective.to_string(),
        (collective, None) => format!("{collective} {}", group.data_type),
        (collective, redop) => format!("{collective} {} {}", group.data_type, redop_name(redop)),
    };
    let over_ranks = group.collective == Collective::Barrier;
    [
        if over_ranks { String::new() } else { format!("{} ranks", group.ranks) },
        device.map_or_else(String::new, |device| format!("{} ({})", short(&device.name), device.backend)),
        what,
        group.algorithm().to_owned(),
        group.dispatch.clone().filter(|_| modes).unwrap_or_default(),
        group.sync.to_string(),
        format!("root {}", group.root.max(0)),
        format!("cycle {}", group.cycle + 1),
    ]
}

/// Names of devices hold their compilers.
fn short(name: &str) -> &str {
    name.split(" (").next().unwrap_or(name)
}

impl Picture {
    fn of(devices: &[Device], rows: &[Row]) -> Self {
        let collective = rows.first().map_or(Collective::AllReduce, |row| row.collective);
        let over_ranks = collective == Collective::Barrier;
        let modes = tells_modes(rows);
        let all: Vec<[String; FIELDS]> = rows.iter().map(|row| names(devices, &row.group(), modes)).collect();
        let differs: [bool; FIELDS] = std::array::from_fn(|field| all.iter().any(|of| of[field] != all[0][field]));
        let differing = |of: &[String; FIELDS], fields: Range<usize>| {
            let of: Vec<&str> = fields
                .filter(|&field| differs[field] && !of[field].is_empty())
                .map(|field| of[field].as_str())
                .collect();
            of.join(", ")
        };
        let one_panel = !differs[OF_PANEL..].contains(&true);

        let (mut labels, mut panels) = (Vec::new(), Vec::<(String, Vec<Series>)>::new());
        for (row, of) in rows.iter().zip(&all) {
            let style = differing(of, if one_panel { 0..FIELDS } else { OF_PANEL..FIELDS });
            let style = if style.is_empty() { of[3].clone() } else { style };
            let style = position(&mut labels, |label| *label == style, || style.clone());
            let caption = if one_panel { String::new() } else { differing(of, 0..OF_PANEL) };
            let panel = position(&mut panels, |(known, _)| *known == caption, || (caption.clone(), Vec::new()));
            let series = &mut panels[panel].1;
            let line = |series: &Series| series.style == style;
            let line = position(series, line, || Series { group: row.group(), style, points: Vec::new() });
            series[line].points.push(point(row));
        }
        // The first cycle goes without saying, and so do the usual synchronisation and root.
        let usual = ["", "cycle 1", "neighbor", "root 0"];
        let title = (2..FIELDS).chain(0..2).filter(|&field| !differs[field]);
        let title = title.filter_map(|field| all.first().map(|of| of[field].as_str()));
        let title: Vec<&str> = title.filter(|name| !usual.contains(name)).collect();
        let x_label = match size_parts(collective, 2) {
            0 => "ranks",
            1 => "bytes of a rank's vector",
            _ => "bytes of a rank's longer buffer, a part for every rank",
        };
        Self { title: title.join(", "), labels, panels, x_label, over_ranks, one_panel }
    }

    fn series(&self) -> impl Iterator<Item = &Series> {
        self.panels.iter().flat_map(|(_, series)| series)
    }

    fn points(&self) -> impl Iterator<Item = &Point> {
        self.series().flat_map(|series| &series.points)
    }

    /// Those that have a value somewhere: no busbw of one rank or of a barrier.
    fn measures(&self) -> Vec<&'static Measure> {
        MEASURES.iter().filter(|measure| self.points().any(|point| (measure.value)(point) > 0.0)).collect()
    }

    /// Entries of the legend in lines; `None` is the roof.
    fn legend(&self) -> Vec<Vec<Option<usize>>> {
        let longest = self.labels.iter().map(|label| label.chars().count()).max().unwrap_or(0).max(30);
        let columns = (WIDTH as usize / (longest * 7 + 70)).clamp(1, 5);
        let roof = self.points().any(|point| point.roof_time > 0.0).then_some(None);
        let entries: Vec<Option<usize>> = (0..self.labels.len()).map(Some).chain(roof).collect();
        entries.chunks(columns).map(<[_]>::to_vec).collect()
    }

    /// Of one line of panels, with its caption.
    fn row_height(&self) -> u32 {
        match self.panels.len() {
            0 | 1 => HEIGHT,
            _ => LOW + CAPTION_HEIGHT,
        }
    }

    fn height(&self) -> u32 {
        let rows = self.row_height() * self.panels.len().max(1) as u32;
        TITLE_HEIGHT + rows + LEGEND_LINE * (self.legend().len() as u32) + LEGEND_LINE / 2
    }
}

/// Where the item is, put at the end if there is none.
fn position<T>(items: &mut Vec<T>, is: impl Fn(&T) -> bool, new: impl FnOnce() -> T) -> usize {
    items.iter().position(is).unwrap_or_else(|| {
        items.push(new());
        items.len() - 1
    })
}

fn point(row: &Row) -> Point {
    let (placement, statistics) = (&row.out_of_place, &row.out_of_place_per_iter.statistics);
    let size = row.size as f64;
    // Of nothing there is no copy.
    let roof_time = if row.size > 0 { row.roof.time } else { 0.0 };
    Point {
        x: if row.size > 0 { size } else { row.ranks.into() },
        time: placement.time,
        fastest: statistics.min,
        slowest: statistics.p99,
        bus_bw: placement.bus_bw,
        roof_time,
        roof_bus_bw: rate(size, roof_time) * bus_factor(row.collective, row.ranks),
    }
}

impl Drawing for Picture {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, scale: f64) -> Result<(), Failure<B>> {
        let px = |n: f64| (n * scale).round() as i32;
        area.fill(&WHITE)?;
        let text = |size: f64| TextStyle::from((FONT, size * scale).into_font()).color(&INK);
        area.draw(&Text::new(self.title.clone(), (px(24.0), px(18.0)), text(20.0)))?;
        let (_, mut rest) = area.split_vertically(px(TITLE_HEIGHT.into()));
        let measures = self.measures();
        for (caption, series) in &self.panels {
            let (row, below) = rest.split_vertically(px(self.row_height().into()));
            rest = below;
            let row = match caption.as_str() {
                "" => row,
                caption => {
                    let (head, row) = row.split_vertically(px(CAPTION_HEIGHT.into()));
                    head.draw(&Text::new(caption.to_owned(), (px(24.0), px(6.0)), text(17.0)))?;
                    row
                }
            };
            for (panel, measure) in row.split_evenly((1, measures.len().max(1))).iter().zip(&measures) {
                self.panel(area, panel, scale, measure, series)?;
            }
        }
        self.draw_legend(area, scale)?;
        area.present()
    }
}

impl Picture {
    fn draw_legend<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, scale: f64) -> Result<(), Failure<B>> {
        let px = |n: f64| (n * scale).round() as i32;
        let style = TextStyle::from((FONT, 14.0 * scale).into_font()).color(&INK);
        let style = style.pos(Pos::new(HPos::Left, VPos::Center));
        let legend = self.legend();
        let columns = legend.first().map_or(1, Vec::len);
        let column = f64::from(WIDTH - 48) / columns as f64;
        let top = f64::from(self.height()) - f64::from(LEGEND_LINE) * (legend.len() as f64 + 0.5);
        for (line, entries) in legend.iter().enumerate() {
            let y = px(top + f64::from(LEGEND_LINE) * (line as f64 + 0.5));
            for (n, entry) in entries.iter().enumerate() {
                let x = |right: f64| px(24.0 + column * n as f64 + right);
                let middle = (x(STROKE / 2.0), y);
                let label = match *entry {
                    Some(of) => {
                        let stroke = colour(of).stroke_width(px(2.0) as u32);
                        area.draw(&PathElement::new([(x(0.0), y), (x(STROKE), y)], stroke))?;
                        mark(area, middle, of, scale)?;
                        self.labels.get(of).cloned().unwrap_or_default()
                    }
                    None => {
                        for dash in [0.0, 12.0, 24.0] {
                            let stroke = INK.stroke_width(px(1.0) as u32);
                            area.draw(&PathElement::new([(x(dash), y), (x(dash + 6.0), y)], stroke))?;
                        }
                        area.draw(&Cross::new(middle, px(3.0), INK.stroke_width(px(1.0) as u32)))?;
                        "roof: plain copy of all vectors".to_owned()
                    }
                };
                area.draw(&Text::new(label, (x(STROKE + 8.0), y), style.clone()))?;
            }
        }
        Ok(())
    }

    /// `whole` is the picture that `area` is in.
    fn panel<B: DrawingBackend>(
        &self,
        whole: &DrawingArea<B, Shift>,
        area: &DrawingArea<B, Shift>,
        scale: f64,
        of: &Measure,
        series: &[Series],
    ) -> Result<(), Failure<B>> {
        let px = |n: f64| (n * scale).round() as i32;
        let xs = decades(self.points().map(|point| point.x), 2.0);
        // Devices may lie decades apart.
        let alike = |other: &&Series| series.iter().any(|series| series.group.device == other.group.device);
        let points = self.series().filter(alike).flat_map(|series| &series.points);
        let values = decades(points.flat_map(|point| [(of.value)(point), (of.roof)(point)]), 10.0);
        let (Some(xs), Some(values)) = (xs, values) else { return Ok(()) };
        let (x_exponents, y_exponents) = (exponents(&xs, 8), exponents(&values, 10));
        let mut chart = ChartBuilder::on(area)
            .margin(px(12.0))
            .margin_right(px(24.0))
            .x_label_area_size(px(40.0))
            .y_label_area_size(px(62.0))
            .caption(of.caption, (FONT, 15.0 * scale).into_font().color(&INK))
            .build_cartesian_2d(
                Axis { range: xs.clone(), marks: x_exponents.clone() },
                Axis { range: values.clone(), marks: y_exponents.clone() },
            )?;
        // Axes hold exponents; lines and labels are drawn at whole ones.
        let upright = x_exponents.iter().map(|&x| [(x, values.start), (x, values.end)]);
        let level = y_exponents.iter().map(|&y| [(xs.start, y), (xs.end, y)]);
        for ends in upright.chain(level) {
            chart.draw_series([PathElement::new(ends, FAINT.stroke_width(px(1.0) as u32))])?;
        }
        chart
            .configure_mesh()
            .disable_mesh()
            .x_label_formatter(&|x| if self.over_ranks { plain(x.exp2()) } else { bytes(x.exp2()) })
            .y_label_formatter(&|y| plain(10_f64.powf(*y)))
            .x_desc(self.x_label)
            .axis_style(INK.stroke_width(px(1.0) as u32))
            .label_style((FONT, 13.0 * scale).into_font().color(&INK))
            .set_all_tick_mark_size(px(6.0))
            .draw()?;
        let at = |point: &Point, value: f64| (point.x.log2(), value.log10());
        let mut roofs = Vec::new();
        for Series { group, style, points } in series {
            let colour = colour(*style);
            let shown: Vec<&Point> = points.iter().filter(|point| (of.value)(point) > 0.0).collect();
            if !roofs.contains(&(group.device, group.ranks)) {
                roofs.push((group.device, group.ranks));
                let roof = points.iter().filter(|point| (of.roof)(point) > 0.0);
                let roof: Vec<(f64, f64)> = roof.map(|point| at(point, (of.roof)(point))).collect();
                let stroke = if self.one_panel { colour.mix(0.8) } else { INK.mix(0.8) }.stroke_width(px(1.0) as u32);
                chart.draw_series(roof.iter().map(|&at| Cross::new(at, px(3.0), stroke)))?;
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
            for point in shown {
                let place = chart.backend_coord(&at(point, (of.value)(point)));
                mark(whole, place, *style, scale)?;
            }
        }
        Ok(())
    }
}

fn colour(style: usize) -> RGBColor {
    COLOURS[style % COLOURS.len()]
}

/// Past the last colour they begin again, with hollow points, and then with triangles.
fn mark<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    at: (i32, i32),
    style: usize,
    scale: f64,
) -> Result<(), Failure<B>> {
    let px = |n: f64| (n * scale).round() as i32;
    let (colour, around) = style_pair(style);
    let edge = around.stroke_width(px(2.0) as u32);
    match style / COLOURS.len() % 3 {
        2 => area.draw(&TriangleMarker::new(at, px(5.5), around.filled())),
        _ => {
            area.draw(&Circle::new(at, px(3.5), colour.filled()))?;
            area.draw(&Circle::new(at, px(3.5), edge))
        }
    }
}

/// Inside and edge of a mark.
fn style_pair(style: usize) -> (RGBColor, RGBColor) {
    let hollow = style / COLOURS.len() % 3 == 1;
    (if hollow { WHITE } else { colour(style) }, colour(style))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::testing::row;
    use wgccl::lower::{Mode, Protocol};
    use wgccl::schedule::Algorithm;

    fn rows() -> Vec<Row> {
        let mut rows: Vec<Row> = (10..24).step_by(2).map(|n| row(1 << n, 10.0 + f64::from(1 << n) / 1e3)).collect();
        let slow = |row: &Row| Row { origin: Algorithm::RingExchange.into(), ..row.clone() };
        rows.extend(rows.clone().iter().map(slow));
        rows
    }

    fn over_ranks(rows: &[Row]) -> Vec<Row> {
        [2, 4, 8].iter().flat_map(|&ranks| rows.iter().map(move |row| Row { ranks, ..row.clone() })).collect()
    }

    /// On devices, in modes.
    fn modes(rows: &[Row], on: &[(usize, Option<(Mode, Protocol)>)]) -> Vec<Row> {
        let with = |&(device, dispatch): &(usize, Option<(Mode, Protocol)>)| {
            rows.iter().cloned().map(move |mut row| {
                row.device = device;
                (row.out_of_place.dispatch, row.out_of_place.protocol) = dispatch.unzip();
                row
            })
        };
        on.iter().flat_map(with).collect()
    }

    #[test]
    fn what_lines_have_in_common_is_the_title() {
        let one = |rows: &[Row]| rows[..7].to_vec();
        for (rows, title, labels, captions) in [
            (rows(), "all-reduce f32 sum, per-step, 4 ranks", vec!["ring", "ring-exchange"], vec![""]),
            (
                over_ranks(&rows()),
                "all-reduce f32 sum, per-step",
                vec!["ring", "ring-exchange"],
                vec!["2 ranks", "4 ranks", "8 ranks"],
            ),
            // One algorithm: its lines over ranks are best beside each other.
            (
                over_ranks(&one(&rows())),
                "all-reduce f32 sum, ring, per-step",
                vec!["2 ranks", "4 ranks", "8 ranks"],
                vec![""],
            ),
            (one(&rows()), "all-reduce f32 sum, ring, per-step, 4 ranks", vec!["ring"], vec![""]),
            // Modes that were named side by side are lines; those that devices chose are nobody's.
            (
                modes(&rows(), &[(0, Some((Mode::PerStep, Protocol::Simple))), (0, Some((Mode::Fused, Protocol::Ll)))]),
                "all-reduce f32 sum, 4 ranks",
                vec!["ring, per-step", "ring-exchange, per-step", "ring, fused-ll", "ring-exchange, fused-ll"],
                vec![""],
            ),
            (
                modes(
                    &one(&rows()),
                    &[(0, Some((Mode::Fused, Protocol::Simple))), (0, Some((Mode::PerRank, Protocol::Simple)))],
                ),
                "all-reduce f32 sum, ring, 4 ranks",
                vec!["fused", "per-rank"],
                vec![""],
            ),
            (
                modes(&rows(), &[(0, Some((Mode::PerStep, Protocol::Simple))), (1, None)]),
                "all-reduce f32 sum, 4 ranks",
                vec!["ring", "ring-exchange"],
                vec![""],
            ),
        ] {
            let picture = Picture::of(&[], &rows);
            let found: Vec<&str> = picture.panels.iter().map(|(caption, _)| caption.as_str()).collect();
            assert_eq!(
                (picture.title.as_str(), &picture.labels, found),
                (title, &labels.iter().map(|&l| l.to_owned()).collect(), captions)
            );
        }
    }

    /// Everything by every algorithm over ranks and devices: no two lines of a panel look alike, and a style is one
    /// algorithm in all of them.
    #[test]
    fn one_style_is_one_algorithm() {
        let algorithms = Algorithm::of(Collective::AllReduce);
        let mut rows = Vec::new();
        for row in over_ranks(&rows_of(&algorithms)) {
            rows.extend([Row { device: 0, ..row.clone() }, Row { device: 1, ..row }]);
        }
        let device = |name: &str| Device {
            index: Some(0),
            name: name.to_owned(),
            backend: "vulkan".to_owned(),
            kind: "software".to_owned(),
            driver: None,
            threads: None,
            pci: None,
        };
        let picture = Picture::of(&[device("a"), device("b")], &rows);
        assert_eq!((picture.panels.len(), picture.labels.len()), (6, algorithms.len()));
        assert!(picture.labels.len() <= 3 * COLOURS.len());
        for (caption, series) in &picture.panels {
            assert_eq!(series.len(), algorithms.len(), "{caption}");
            for line in series {
                assert_eq!(picture.labels[line.style], line.group.algorithm(), "{caption}");
            }
        }
    }

    fn rows_of(algorithms: &[Algorithm]) -> Vec<Row> {
        let of = |&algorithm: &Algorithm| [1024, 4096].map(|size| Row { origin: algorithm.into(), ..row(size, 10.0) });
        algorithms.iter().flat_map(of).collect()
    }

    #[test]
    fn pictures_are_what_their_names_say() {
        let dir = tempfile::tempdir().unwrap();
        for (name, magic) in [("a.svg", &b"<svg"[..]), ("a.png", b"\x89PNG"), ("b.PNG", b"\x89PNG")] {
            let path = dir.path().join(name);
            draw(&path, &[], &rows()).unwrap();
            assert!(std::fs::read(&path).unwrap().starts_with(magic), "{name}");
            assert!(matches!(draw(&path, &[], &rows()), Err(BenchError::Target { .. })), "{name}");
        }
        let text = std::fs::read_to_string(dir.path().join("a.svg")).unwrap();
        for fragment in ["ring-exchange", "busbw (GB/s)", "64K", "roof", "bytes of a rank's vector"] {
            assert!(text.replace("&apos;", "'").contains(fragment), "{fragment}");
        }
        assert!(matches!(draw(&dir.path().join("a.pdf"), &[], &rows()), Err(BenchError::Plot { .. })));
        // One row, one rank, nothing measurable: no picture of it may fail.
        let mut alone = row(1024, 10.0);
        alone.out_of_place.bus_bw = 0.0;
        alone.roof.time = 0.0;
        draw(&dir.path().join("alone.svg"), &[], &[alone]).unwrap();
    }

    /// What has no size, or one, is seen all the same.
    #[test]
    fn nothing_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let barrier = |ranks| Row { size: 0, ranks, redop: None, collective: Collective::Barrier, ..row(1024, 10.0) };
        let no_bus = |mut row: Row| {
            row.out_of_place.bus_bw = 0.0;
            row
        };
        let gather = Row { collective: Collective::AllGather, redop: None, ..row(1024, 10.0) };
        for (name, rows, circles, says, says_not) in [
            ("one.svg", vec![row(1024, 10.0)], 2, "roof: plain copy", "ranks<"),
            ("barrier.svg", vec![no_bus(barrier(4))], 1, "barrier, ring", "roof"),
            ("barriers.svg", [2, 4, 8].map(barrier).map(no_bus).to_vec(), 3, "\nranks\n", "busbw"),
            ("gather.svg", vec![gather], 2, "all-gather f32, ring, per-step, 4 ranks", " none"),
        ] {
            let path = dir.path().join(name);
            draw(&path, &[], &rows).unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            // A filled circle and its edge for every point, and for the legend.
            assert_eq!(text.matches("<circle").count(), 2 * (circles + 1), "{name}: {text}");
            assert!(text.contains(says) && !text.contains(says_not), "{name}: {text}");
        }
    }
}
