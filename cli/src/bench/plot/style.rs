//! How lines are told apart: colours, and marks where there are more lines than colours.

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::bench::chart::{COLOURS, Failure};

/// The colour of a style. Past the last they begin again.
pub(super) fn colour(style: usize) -> RGBColor {
    COLOURS[style % COLOURS.len()]
}

/// Past the last colour points are hollow, and then triangles.
pub(super) fn mark<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    at: (i32, i32),
    style: usize,
    scale: f64,
) -> Result<(), Failure<B>> {
    let px = |n: f64| (n * scale).round() as i32;
    let colour = colour(style);
    match style / COLOURS.len() % 3 {
        2 => area.draw(&TriangleMarker::new(at, px(6.0), colour.filled())),
        hollow => {
            let inside = if hollow == 1 { WHITE } else { colour };
            area.draw(&Circle::new(at, px(4.0), inside.filled()))?;
            area.draw(&Circle::new(at, px(4.0), colour.stroke_width(px(2.0) as u32)))
        }
    }
}
