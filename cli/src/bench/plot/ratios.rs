//! A comparison as a picture: the ratio of times over sizes with its interval, a panel for each line of the records.

use std::ops::Range;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::head::{Grid, Head, Key, TEXT, WIDTH, caption_height, check, draw_caption};
use crate::bench::chart::{Axis, COLOURS, Drawing, FAINT, FONT, Failure, INK, bytes, decades, exponents, to_new_file};
use crate::bench::compare::{Compared, Comparison, Verdict};
use crate::error::BenchError;

/// Ratios that axes are marked at.
const MARKS: [f64; 21] = [
    0.01, 0.02, 0.05, 0.1, 0.2, 0.33, 0.5, 0.67, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0,
];

/// Draws `comparison` to `path`, which must not exist.
///
/// # Errors
/// [`BenchError::Plot`], [`BenchError::Target`] and [`BenchError::Write`].
pub fn draw(path: &Path, comparison: &Comparison) -> Result<(), BenchError> {
    let picture = Picture::of(comparison);
    check(path, picture.panels.len(), 0)?;
    let height = picture.head.height() + picture.grid.total();
    to_new_file(path, (WIDTH, height), &picture)
}

struct Picture<'a> {
    head: Head,
    /// By caption.
    panels: Vec<(&'a str, Vec<&'a Compared>)>,
    grid: Grid,
    /// How high captions are.
    caption: u32,
    x: Range<f64>,
    y: Range<f64>,
    /// Exponents of ten.
    marks: Vec<f64>,
}

/// Colour and filling: what is no difference is hollow.
fn look(verdict: Verdict) -> (RGBColor, bool) {
    match verdict {
        Verdict::Faster => (COLOURS[0], false),
        Verdict::Slower => (COLOURS[1], false),
        Verdict::WithinNoise | Verdict::Unknown => (COLOURS[6], true),
    }
}

impl<'a> Picture<'a> {
    fn of(comparison: &'a Comparison) -> Self {
        let mut panels: Vec<(&str, Vec<&Compared>)> = Vec::new();
        for row in &comparison.rows {
            match panels.iter_mut().find(|(line, _)| *line == row.line) {
                Some((_, rows)) => rows.push(row),
                None => panels.push((&row.line, vec![row])),
            }
        }
        let mut verdicts: Vec<Verdict> = comparison.rows.iter().map(|row| row.verdict).collect();
        verdicts.sort_unstable();
        verdicts.dedup();
        let entry = |verdict: Verdict| {
            let (colour, hollow) = look(verdict);
            (Key::Point(colour, hollow), verdict.name().to_owned())
        };
        let legend = verdicts.into_iter().map(entry).collect();
        let notes = [&comparison.about[..], &["time of B over that of A, medians; whiskers: 95 % interval".to_owned()]];
        let columns = if panels.len() > 8 { 3 } else { panels.len().clamp(1, 2) };
        let ends = comparison.rows.iter().flat_map(|row| {
            let (low, high) = row.interval.unwrap_or((row.ratio, row.ratio));
            [low, high, row.ratio]
        });
        let ends = ends.filter(|ratio| ratio.is_finite() && *ratio > 0.0).map(f64::log10);
        // No difference is in the middle, and a small one looks small.
        let most = ends.fold(1.3_f64.log10(), |most, end| most.max(end.abs() * 1.05)).min(4.0);
        let within: Vec<f64> = MARKS.iter().map(|mark| mark.log10()).filter(|mark| mark.abs() <= most).collect();
        let apart = 2.0 * most / 9.0;
        let marks = within.iter().fold(Vec::new(), |mut kept: Vec<f64>, &mark| {
            let fits = |other: &f64| (mark - other).abs() >= apart && (mark.abs() >= apart || mark == 0.0);
            if kept.last().is_none_or(fits) && (mark == 0.0 || mark.abs() >= apart) {
                kept.push(mark);
            }
            kept
        });
        let over = |row: &Compared| row.over as f64;
        let caption = caption_height(panels.iter().map(|(caption, _)| *caption), WIDTH / columns as u32);
        let height = if columns > 2 { 200 } else { 260 };
        Self {
            head: Head::new(&comparison.title, &notes.concat(), legend),
            grid: Grid { columns, cells: panels.len(), height: height + caption },
            caption,
            x: decades(comparison.rows.iter().map(over), 2.0).unwrap_or(0.0..1.0),
            y: -most..most,
            marks,
            panels,
        }
    }
}

impl Drawing for Picture<'_> {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, scale: f64) -> Result<(), Failure<B>> {
        area.fill(&WHITE)?;
        self.head.draw(area, scale)?;
        for (n, (caption, rows)) in self.panels.iter().enumerate() {
            self.panel(area, &self.grid.cell(area, self.head.height(), n, scale), scale, caption, rows)?;
        }
        area.present()
    }
}

impl Picture<'_> {
    fn panel<B: DrawingBackend>(
        &self,
        whole: &DrawingArea<B, Shift>,
        area: &DrawingArea<B, Shift>,
        scale: f64,
        caption: &str,
        rows: &[&Compared],
    ) -> Result<(), Failure<B>> {
        let px = |n: f64| (n * scale).round() as i32;
        let font = |size: f64| (FONT, size * scale).into_font().color(&INK);
        let (top, area) = area.split_vertically(px(self.caption.into()));
        draw_caption(&top, caption, WIDTH / self.grid.columns as u32, scale)?;
        let x_marks = exponents(&self.x, if self.grid.columns > 2 { 3 } else { 5 });
        let mut chart = ChartBuilder::on(&area)
            .margin(px(8.0))
            .margin_right(px(22.0))
            .x_label_area_size(px(30.0))
            .y_label_area_size(px(56.0))
            .build_cartesian_2d(
                Axis { range: self.x.clone(), marks: x_marks.clone() },
                Axis { range: self.y.clone(), marks: self.marks.clone() },
            )?;
        let upright = x_marks.iter().map(|&x| [(x, self.y.start), (x, self.y.end)]);
        let level = self.marks.iter().map(|&y| [(self.x.start, y), (self.x.end, y)]);
        for ends in upright.chain(level) {
            chart.draw_series([PathElement::new(ends, FAINT.stroke_width(px(1.0) as u32))])?;
        }
        let one = [(self.x.start, 0.0), (self.x.end, 0.0)];
        chart.draw_series([PathElement::new(one, INK.stroke_width(px(1.5) as u32))])?;
        chart
            .configure_mesh()
            .disable_mesh()
            .x_label_formatter(&|x| bytes(x.exp2()))
            .y_label_formatter(&|y| format!("{}", (10_f64.powf(*y) * 100.0).round() / 100.0))
            .axis_style(INK.stroke_width(px(1.0) as u32))
            .label_style(font(TEXT - 1.0))
            .set_all_tick_mark_size(px(5.0))
            .draw()?;
        for row in rows.iter().filter(|row| row.ratio.is_finite() && row.ratio > 0.0) {
            let (colour, hollow) = look(row.verdict);
            let log = |ratio: f64| ratio.log10().clamp(self.y.start, self.y.end);
            let place = |ratio: f64| chart.backend_coord(&((row.over as f64).log2(), log(ratio)));
            let middle = place(row.ratio);
            if let Some((low, high)) = row.interval {
                let stroke = colour.stroke_width(px(1.5) as u32);
                let ends = [place(low), place(high)];
                whole.draw(&PathElement::new(ends, stroke))?;
                for (x, y) in ends {
                    whole.draw(&PathElement::new([(x - px(4.0), y), (x + px(4.0), y)], stroke))?;
                }
            }
            let inside = if hollow { WHITE } else { colour };
            whole.draw(&Circle::new(middle, px(4.5), inside.filled()))?;
            whole.draw(&Circle::new(middle, px(4.5), colour.stroke_width(px(2.0) as u32)))?;
        }
        Ok(())
    }
}
