//! A panel of lines over sizes, both axes logarithmic.

use std::ops::Range;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::head::TEXT;
use super::lines::{Lines, Measure, Point, Series};
use super::style::{colour, mark};
use crate::bench::chart::{Axis, FAINT, FONT, Failure, INK, bytes, decades, exponents, plain};

/// The axes of a measure: those of all of its panels, so that they can be compared.
pub(super) struct Axes {
    x: Range<f64>,
    y: Range<f64>,
}

impl Axes {
    /// `None` where nothing has a value.
    pub(super) fn of(lines: &Lines, measure: &Measure) -> Option<Self> {
        let values = lines.points().flat_map(|point| {
            let [low, middle, high] = (measure.value)(point);
            [low, middle, high, (measure.roof)(point)]
        });
        Some(Self { x: decades(lines.points().map(|point| point.x), 2.0)?, y: decades(values, 10.0)? })
    }
}

/// How a panel is labelled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Labels<'a> {
    /// Of the value.
    pub(super) caption: &'a str,
    /// Room for so many of x at most.
    pub(super) most: usize,
    /// Whether to say what x is.
    pub(super) x: bool,
}

/// Draws `series` into `area`, which is in `whole`.
pub(super) fn draw<B: DrawingBackend>(
    whole: &DrawingArea<B, Shift>,
    area: &DrawingArea<B, Shift>,
    scale: f64,
    (labels, lines, measure, axes): (Labels<'_>, &Lines, &Measure, &Axes),
    series: &[Series],
) -> Result<(), Failure<B>> {
    let px = |n: f64| (n * scale).round() as i32;
    let font = |size: f64| (FONT, size * scale).into_font().color(&INK);
    let (x_marks, y_marks) = (exponents(&axes.x, labels.most), exponents(&axes.y, 8));
    let mut chart = ChartBuilder::on(area);
    if !labels.caption.is_empty() {
        chart.caption(labels.caption, font(TEXT));
    }
    let mut chart = chart
        .margin(px(8.0))
        .margin_right(px(22.0))
        .x_label_area_size(px(if labels.x { 48.0 } else { 28.0 }))
        .y_label_area_size(px(64.0))
        .build_cartesian_2d(
            Axis { range: axes.x.clone(), marks: x_marks.clone() },
            Axis { range: axes.y.clone(), marks: y_marks.clone() },
        )?;
    // Axes hold exponents; lines and labels are drawn at whole ones.
    let upright = x_marks.iter().map(|&x| [(x, axes.y.start), (x, axes.y.end)]);
    let level = y_marks.iter().map(|&y| [(axes.x.start, y), (axes.x.end, y)]);
    for ends in upright.chain(level) {
        chart.draw_series([PathElement::new(ends, FAINT.stroke_width(px(1.0) as u32))])?;
    }
    chart
        .configure_mesh()
        .disable_mesh()
        .x_label_formatter(&|x| if lines.over_ranks { plain(x.exp2()) } else { bytes(x.exp2()) })
        .y_label_formatter(&|y| plain(10_f64.powf(*y)))
        .x_desc(if labels.x { lines.x_label } else { "" })
        .axis_style(INK.stroke_width(px(1.0) as u32))
        .label_style(font(TEXT - 1.0))
        .set_all_tick_mark_size(px(5.0))
        .draw()?;
    let at = |point: &Point, value: f64| (point.x.log2(), value.log10());
    let mut roofs = Vec::new();
    for Series { group, style, points } in series {
        let colour = colour(*style);
        let is_seen = |value: f64| value > 0.0 && value.is_finite();
        let points = points.iter().filter(|point| is_seen(point.x));
        let shown: Vec<&Point> = points.clone().filter(|point| is_seen((measure.value)(point)[1])).collect();
        if !roofs.contains(&(group.device, group.ranks)) {
            roofs.push((group.device, group.ranks));
            let roof = points.filter(|point| is_seen((measure.roof)(point)));
            let roof: Vec<(f64, f64)> = roof.map(|point| at(point, (measure.roof)(point))).collect();
            let stroke = if lines.one_panel { colour.mix(0.8) } else { INK.mix(0.8) }.stroke_width(px(1.5) as u32);
            chart.draw_series(roof.iter().map(|&at| Cross::new(at, px(3.0), stroke)))?;
            chart.draw_series(DashedLineSeries::new(roof, px(6.0) as u32, px(4.0) as u32, stroke))?;
        }
        chart.draw_series(LineSeries::new(
            shown.iter().map(|point| at(point, (measure.value)(point)[1])),
            colour.stroke_width(px(2.5) as u32),
        ))?;
        for point in shown {
            let place = |value: f64| chart.backend_coord(&at(point, value));
            let ends_seen = (measure.value)(point).iter().all(|&value| is_seen(value));
            let [low, middle, high] = (measure.value)(point).map(place);
            let ends = if ends_seen { [low, high] } else { [middle, middle] };
            // A whisker that its mark hides says that there is no spread to speak of.
            let stroke = colour.stroke_width(px(1.5) as u32);
            whole.draw(&PathElement::new(ends, stroke))?;
            for (x, y) in ends {
                whole.draw(&PathElement::new([(x - px(4.0), y), (x + px(4.0), y)], stroke))?;
            }
            mark(whole, middle, *style, scale)?;
        }
    }
    Ok(())
}
