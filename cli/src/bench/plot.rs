//! Records as pictures, for a report: time and busbw over size, and comparisons.
//!
//! All panels of a picture have the same axes. Where there are many, each shows times only, so that the picture stays one
//! that is looked at as a whole.

mod bars;
mod head;
mod lines;
mod panel;
mod ratios;
mod style;

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::chart::{Drawing, Failure, to_new_file};
use crate::error::BenchError;
pub(crate) use bars::three_digits;
use head::{Grid, Head, Key, WIDTH, caption_height, check, draw_caption};
pub use lines::Shown;
use lines::{Lines, Measure};
use panel::{Axes, Labels};
pub use ratios::draw as draw_comparison;

/// Of a panel alone, of one among some, and of one among many, captions aside.
const HEIGHT: u32 = 330;
const LOW: u32 = 270;
const LOWEST: u32 = 200;
/// More panels show only one measure.
const MOST_PAIRS: usize = 4;

/// Draws `records` together to `path`, which must not exist.
///
/// # Errors
/// [`BenchError::Plot`], [`BenchError::Target`] and [`BenchError::Write`].
pub fn draw(path: &Path, records: &[Shown]) -> Result<(), BenchError> {
    let picture = Picture::of(records);
    check(path, picture.lines.panels.len(), picture.lines.labels.len())?;
    to_new_file(path, (WIDTH, picture.height()), &picture)
}

struct Picture {
    lines: Lines,
    head: Head,
    measures: Vec<&'static Measure>,
    grid: Grid,
    /// There is one size, so that there are no lines.
    bars: bool,
    /// The measures of a panel are beside each other, below its caption.
    pairs: bool,
    /// How high captions are.
    caption: u32,
}

impl Picture {
    fn of(records: &[Shown]) -> Self {
        let lines = Lines::of(records);
        let (panels, bars) = (lines.panels.len(), lines.is_of_one_size());
        let mut measures = lines.measures();
        let pairs = panels <= MOST_PAIRS;
        if !pairs {
            measures.truncate(1);
        }
        let mut notes = lines.notes.clone();
        let mut legend = Vec::new();
        if bars {
            let size = lines.points().next().map_or(0.0, |point| point.x);
            notes.push(match lines.over_ranks {
                true => format!("{size} ranks; medians; whiskers: middle half of the launches"),
                false => format!("{} each; medians; whiskers: middle half of the launches", super::chart::bytes(size)),
            });
        } else {
            if !pairs {
                notes.push(format!("time of a launch in us, over {}", lines.x_label));
            }
            notes.push("medians; whiskers: middle half of the launches".to_owned());
            legend.extend(lines.labels.iter().enumerate().map(|(n, label)| (Key::Line(n), label.clone())));
            if lines.points().any(|point| point.roof_time > 0.0) {
                legend.push((Key::Roof, "roof: plain copy".to_owned()));
            }
        }
        let columns = match panels {
            _ if pairs => measures.len().max(1),
            5..=8 => 2,
            _ => 3,
        };
        let width = if pairs { WIDTH } else { WIDTH / columns as u32 };
        let captions = lines.panels.iter().map(|(caption, _)| caption.as_str());
        let caption = caption_height(captions, width);
        let height = match (bars, pairs) {
            (true, _) => bars::height(lines.panels.iter().map(|(_, series)| bars::count(series)).max().unwrap_or(0)),
            (_, true) if panels <= 1 => HEIGHT,
            _ if columns > 2 => LOWEST,
            _ => LOW,
        };
        let cells = panels.max(1) * if pairs { columns } else { 1 };
        let grid = Grid { columns, cells, height: height + caption };
        Self { head: Head::new(&lines.title, &notes, legend), lines, measures, grid, bars, pairs, caption }
    }

    fn height(&self) -> u32 {
        self.head.height() + self.grid.total()
    }
}

impl Drawing for Picture {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, scale: f64) -> Result<(), Failure<B>> {
        let Self { lines, measures, grid, .. } = self;
        let px = |n: f64| (n * scale).round() as i32;
        area.fill(&WHITE)?;
        self.head.draw(area, scale)?;
        let axes: Vec<Option<Axes>> = measures.iter().map(|measure| Axes::of(lines, measure)).collect();
        let width = WIDTH / grid.columns as u32;
        for (panel, (caption, series)) in lines.panels.iter().enumerate() {
            for (n, (measure, axes)) in measures.iter().zip(&axes).enumerate() {
                let of = if self.pairs { panel * measures.len() + n } else { panel };
                let mut cell = grid.cell(area, self.head.height(), of, scale);
                if self.caption > 0 {
                    let (top, rest) = cell.split_vertically(px(self.caption.into()));
                    match self.pairs {
                        true if n > 0 => {}
                        true => draw_caption(&top, caption, WIDTH, scale)?,
                        false => draw_caption(&top, caption, width, scale)?,
                    }
                    cell = rest;
                }
                let labels = Labels {
                    caption: if self.pairs { measure.caption } else { "" },
                    most: if grid.columns > 2 { 3 } else { 5 },
                    x: self.pairs,
                };
                match axes {
                    Some(axes) if !self.bars => {
                        panel::draw(area, &cell, scale, (labels, lines, measure, axes), series)?;
                    }
                    _ => bars::draw(&cell, width.into(), scale, (labels.caption, lines, measure), series)?,
                }
            }
        }
        area.present()
    }
}

#[cfg(test)]
mod tests;
