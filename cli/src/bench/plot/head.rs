//! What stands above a picture's panels: its title, what was measured on what, and the legend.
//!
//! A reader sees a picture from its top, so nothing that is needed to read it stands below.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::style::{colour, mark};
use crate::bench::chart::{FONT, Failure, INK, QUIET, width_of, wrapped};
use crate::error::BenchError;
use crate::text::one_line;

/// Of every picture, in units; few enough that a phone, which shows half of it, leaves text readable.
pub(super) const WIDTH: u32 = 720;
/// Of text; a phone shows 9 pixels of it.
pub(super) const TEXT: f64 = 17.0;
/// To either side.
pub(super) const MARGIN: f64 = 20.0;
const TITLE: f64 = 23.0;
const LINE: f64 = 23.0;
/// The lines of a legend's entry are so long.
const STROKE: f64 = 34.0;
const MOST_COLUMNS: usize = 4;
/// Characters of an entry: names may be anybody's.
const LONGEST: usize = 56;

/// What an entry of a legend shows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Key {
    /// A line of this style.
    Line(usize),
    /// The dashed line of the roof.
    Roof,
    /// A point of this colour, hollow if so.
    Point(RGBColor, bool),
}

/// Title, notes and legend, broken into lines.
pub(super) struct Head {
    title: Vec<String>,
    notes: Vec<String>,
    legend: Vec<(Key, String)>,
    columns: usize,
}

impl Head {
    /// `notes` each begin a line.
    pub(super) fn new(title: &str, notes: &[String], legend: Vec<(Key, String)>) -> Self {
        let inside = f64::from(WIDTH) - 2.0 * MARGIN;
        let legend: Vec<_> = legend.into_iter().map(|(key, label)| (key, one_line(&label, LONGEST))).collect();
        let longest = legend.iter().map(|(_, label)| width_of(label, TEXT)).fold(1.0, f64::max);
        let columns = ((inside / (longest + STROKE + 20.0)) as usize).clamp(1, MOST_COLUMNS);
        Self {
            title: wrapped(title, TITLE, inside),
            notes: notes.iter().flat_map(|note| wrapped(note, TEXT, inside)).collect(),
            legend,
            columns,
        }
    }

    pub(super) fn height(&self) -> u32 {
        let lines = self.notes.len() + self.legend.len().div_ceil(self.columns);
        (MARGIN + (TITLE + 6.0) * self.title.len() as f64 + LINE * lines as f64 + 14.0) as u32
    }

    pub(super) fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, scale: f64) -> Result<(), Failure<B>> {
        let px = |n: f64| (n * scale).round() as i32;
        let style =
            |size: f64, colour: &'static RGBColor| TextStyle::from((FONT, size * scale).into_font()).color(colour);
        let mut y = MARGIN * 0.8;
        for line in &self.title {
            area.draw(&Text::new(line.clone(), (px(MARGIN), px(y)), style(TITLE, &INK)))?;
            y += TITLE + 6.0;
        }
        for line in &self.notes {
            area.draw(&Text::new(line.clone(), (px(MARGIN), px(y)), style(TEXT, &QUIET)))?;
            y += LINE;
        }
        y += 6.0;
        let column = (f64::from(WIDTH) - 2.0 * MARGIN) / self.columns as f64;
        let label = style(TEXT, &INK).pos(Pos::new(HPos::Left, VPos::Center));
        for (n, (key, text)) in self.legend.iter().enumerate() {
            let (line, place) = (n / self.columns, n % self.columns);
            let (left, middle) = (MARGIN + column * place as f64, px(y + LINE * (line as f64 + 0.5)));
            let x = |right: f64| px(left + right);
            match *key {
                Key::Line(of) => {
                    let stroke = colour(of).stroke_width(px(2.5) as u32);
                    area.draw(&PathElement::new([(x(0.0), middle), (x(STROKE), middle)], stroke))?;
                    mark(area, (x(STROKE / 2.0), middle), of, scale)?;
                }
                Key::Roof => {
                    let stroke = INK.stroke_width(px(1.5) as u32);
                    for dash in [0.0, 14.0, 28.0] {
                        area.draw(&PathElement::new([(x(dash), middle), (x(dash + 6.0), middle)], stroke))?;
                    }
                }
                Key::Point(colour, hollow) => {
                    let inside = if hollow { WHITE } else { colour };
                    area.draw(&Circle::new((x(STROKE / 2.0), middle), px(5.0), inside.filled()))?;
                    area.draw(&Circle::new((x(STROKE / 2.0), middle), px(5.0), colour.stroke_width(px(2.0) as u32)))?;
                }
            }
            area.draw(&Text::new(text.clone(), (x(STROKE + 8.0), middle), label.clone()))?;
        }
        Ok(())
    }
}

/// More panels, or more lines, are no picture.
const MOST: usize = 100;

/// Refuses what would be as long as a street.
pub(super) fn check(path: &Path, panels: usize, lines: usize) -> Result<(), BenchError> {
    let refused = |count: usize, what: &str| {
        let why = format!("{count} {what} are no picture any more, at most {MOST} are; draw a record of less");
        Err(BenchError::Plot { path: path.to_owned(), why })
    };
    match (panels > MOST, lines > MOST) {
        (true, _) => refused(panels, "panels"),
        (_, true) => refused(lines, "lines"),
        _ => Ok(()),
    }
}

/// How high the captions of panels of `width` units are; none where no panel has one.
pub(super) fn caption_height<'a>(captions: impl Iterator<Item = &'a str>, width: u32) -> u32 {
    let lines = captions.map(|caption| caption_lines(caption, width).len()).max().unwrap_or(0);
    if lines == 0 { 0 } else { (LINE * lines as f64 + 6.0) as u32 }
}

fn caption_lines(caption: &str, width: u32) -> Vec<String> {
    wrapped(caption, TEXT, f64::from(width) - MARGIN)
}

/// Writes a caption at the top of `area`, which is `width` units wide.
pub(super) fn draw_caption<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    caption: &str,
    width: u32,
    scale: f64,
) -> Result<(), Failure<B>> {
    let px = |n: f64| (n * scale).round() as i32;
    for (n, line) in caption_lines(caption, width).into_iter().enumerate() {
        let style = TextStyle::from((FONT, TEXT * scale).into_font()).color(&INK);
        area.draw(&Text::new(line, (px(MARGIN), px(5.0 + LINE * n as f64)), style))?;
    }
    Ok(())
}

/// Where the panels of a picture lie below its head, row by row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grid {
    pub(super) columns: usize,
    pub(super) cells: usize,
    /// Of a cell, in units.
    pub(super) height: u32,
}

impl Grid {
    pub(super) fn total(self) -> u32 {
        self.height * self.cells.div_ceil(self.columns.max(1)) as u32
    }

    /// The part of `whole` that is the cell `n`; the first lies below `top` units.
    pub(super) fn cell<B: DrawingBackend>(
        self,
        whole: &DrawingArea<B, Shift>,
        top: u32,
        n: usize,
        scale: f64,
    ) -> DrawingArea<B, Shift> {
        let px = |n: u32| (f64::from(n) * scale).round() as i32;
        let columns = self.columns.max(1);
        let width = WIDTH / columns as u32;
        let (line, place) = ((n / columns) as u32, (n % columns) as u32);
        let corner = (px(place * width), px(top + line * self.height));
        whole.clone().shrink(corner, (px(width) as u32, px(self.height) as u32))
    }
}
