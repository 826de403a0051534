//! A card as a picture: large enough that a phone shows every word of it.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::text;
use super::value::Card;
use crate::amount::size_name;
use crate::bench::chart::{COLOURS, Drawing, FAINT, FONT, Failure, INK, QUIET, width_of};
use crate::bench::plot::three_digits;

const WIDTH: f64 = 720.0;
const MARGIN: f64 = 32.0;
/// A phone shows 9 pixels of it.
const SMALL: f64 = 17.0;
const LARGE: f64 = 30.0;
pub(super) const SIZE: (u32, u32) = (WIDTH as u32, 640);

/// What is drawn.
pub(super) struct Picture<'a>(pub(super) &'a Card);

/// Where things are put, top to bottom.
struct Pen<'a, B: DrawingBackend> {
    area: &'a DrawingArea<B, Shift>,
    scale: f64,
}

impl<B: DrawingBackend> Pen<'_, B> {
    fn px(&self, n: f64) -> i32 {
        (n * self.scale).round() as i32
    }

    /// `text`, no wider than `room`, that begins (or ends, where `right`) at `x` and stands on `y`.
    fn write(&self, (x, y): (f64, f64), size: f64, colour: &RGBColor, room: f64, text: &str) -> Result<(), Failure<B>> {
        self.put((x, y), size, colour, room, text, HPos::Left)
    }

    fn put(
        &self,
        (x, y): (f64, f64),
        size: f64,
        colour: &RGBColor,
        room: f64,
        text: &str,
        side: HPos,
    ) -> Result<(), Failure<B>> {
        let size = size.min(size * room / width_of(text, size).max(1.0));
        let style = TextStyle::from((FONT, size * self.scale).into_font()).color(colour);
        let style = style.pos(Pos::new(side, VPos::Bottom));
        self.area.draw(&Text::new(text.to_owned(), (self.px(x), self.px(y)), style))
    }

    fn rectangle(&self, from: (f64, f64), to: (f64, f64), colour: &RGBColor) -> Result<(), Failure<B>> {
        let corners = [(self.px(from.0), self.px(from.1)), (self.px(to.0), self.px(to.1))];
        self.area.draw(&Rectangle::new(corners, colour.filled()))
    }
}

impl Drawing for Picture<'_> {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, scale: f64) -> Result<(), Failure<B>> {
        let (card, pen) = (self.0, Pen { area, scale });
        let (left, right) = (MARGIN, WIDTH - MARGIN);
        let whole = right - left;
        area.fill(&WHITE)?;
        pen.rectangle((0.0, 0.0), (WIDTH, 8.0), &COLOURS[0])?;
        pen.write((left, 60.0), 32.0, &INK, whole, &text::device(card))?;
        let mut y = 88.0;
        for (_, fact) in text::facts(card) {
            pen.write((left, y), SMALL, &QUIET, whole, &fact)?;
            y += 25.0;
        }
        y = 188.0;
        pen.write((left, y), SMALL, &QUIET, whole, "launch, submission to completion")?;
        let column = whole / card.launch.len().max(3) as f64;
        for (n, launch) in card.launch.iter().enumerate() {
            let x = left + column * n as f64;
            pen.write((x, y + 40.0), LARGE, &INK, column - 8.0, &text::time(launch.us))?;
            pen.write((x, y + 64.0), SMALL, &QUIET, column - 8.0, text::way(launch))?;
        }
        y += 104.0;
        let what = format!("{}, busbw", text::all_reduce(card));
        pen.write((left, y), SMALL, &QUIET, whole, &what)?;
        y += 14.0;
        let sizes = card.all_reduce.iter().map(|best| (size_name(best.bytes), Some(best)));
        let missing = card.left_out.iter().filter(|left| left.bytes.is_some()).map(|left| (left.what.clone(), None));
        for (size, best) in sizes.chain(missing) {
            pen.write((left, y + 34.0), 23.0, &INK, 100.0, &size)?;
            let Some(best) = best else {
                let why = card.left_out.iter().find(|left| left.what == size).map_or("", |left| left.why.as_str());
                pen.write((left + 120.0, y + 34.0), SMALL, &QUIET, whole - 120.0, &format!("left out: {why}"))?;
                y += 78.0;
                continue;
            };
            pen.put((left + 250.0, y + 36.0), LARGE, &INK, 140.0, &text::time(best.us), HPos::Right)?;
            let bus_bw = format!("{} GB/s", three_digits(best.bus_bw));
            pen.put((left + 420.0, y + 34.0), 23.0, &INK, 150.0, &bus_bw, HPos::Right)?;
            pen.put((right, y + 34.0), SMALL, &QUIET, 220.0, &text::by(best), HPos::Right)?;
            // The bar is of the copy's bandwidth; caches may lift a small size above it.
            let (track, share) = ((left, right - 120.0), (best.roof_pct / 100.0).clamp(0.0, 1.0));
            pen.rectangle((track.0, y + 44.0), (track.1, y + 56.0), &FAINT)?;
            pen.rectangle((track.0, y + 44.0), (track.0 + (track.1 - track.0) * share, y + 56.0), &COLOURS[0])?;
            pen.put((right, y + 60.0), SMALL, &INK, 110.0, &format!("{} of roof", text::percent(best)), HPos::Right)?;
            y += 78.0;
        }
        y = f64::from(SIZE.1) - 64.0;
        if let Some(roof) = text::roof(card) {
            pen.write((left, y - 4.0), SMALL, &QUIET, whole, &format!("roof: {roof}"))?;
        }
        let colour = if card.ok { &COLOURS[2] } else { &COLOURS[1] };
        pen.write((left, y + 36.0), 22.0, colour, 270.0, &text::verdict(card))?;
        pen.put((right, y + 34.0), SMALL, &QUIET, whole - 290.0, &text::stamp(card), HPos::Right)?;
        area.present()
    }
}
