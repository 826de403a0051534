//! A panel of bars, where there is one size: each with its name and its value.
//!
//! A line through one point is none. Bars begin at zero, so that lengths are ratios.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::head::{MARGIN, TEXT};
use super::lines::{Lines, Measure, Series};
use super::style::colour;
use crate::bench::chart::{FONT, Failure, INK, QUIET, width_of};

const ROOF: RGBColor = RGBColor(170, 170, 170);
const CAPTION: f64 = 36.0;
/// Of a bar with its name.
const LINE: f64 = 46.0;
const THICK: f64 = 16.0;
/// Room for the value behind the longest bar.
const VALUE: f64 = 108.0;

/// How high a panel of so many bars is, in units.
pub(super) fn height(bars: usize) -> u32 {
    (CAPTION + LINE * bars as f64 + 12.0) as u32
}

/// Bars of a panel: its lines, and the roof of each device and number of ranks.
pub(super) fn count(series: &[Series]) -> usize {
    series.len() + roofs(series).len()
}

/// The first line of each device and number of ranks that has a roof.
fn roofs(series: &[Series]) -> Vec<&Series> {
    let mut known = Vec::new();
    let with_roof = |series: &&Series| series.points.iter().any(|point| point.roof_time > 0.0);
    series
        .iter()
        .filter(with_roof)
        .filter(|series| {
            let of = (series.group.device, series.group.ranks);
            let is_new = !known.contains(&of);
            known.push(of);
            is_new
        })
        .collect()
}

/// Draws `series` into `area`, `width` units wide. The longest bar of the picture is as long as there is room.
pub(super) fn draw<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    width: f64,
    scale: f64,
    (caption, lines, measure): (&str, &Lines, &Measure),
    series: &[Series],
) -> Result<(), Failure<B>> {
    let px = |n: f64| (n * scale).round() as i32;
    let style = |size: f64, colour: &'static RGBColor| TextStyle::from((FONT, size * scale).into_font()).color(colour);
    area.draw(&Text::new(caption.to_owned(), (px(MARGIN), px(8.0)), style(TEXT, &QUIET)))?;
    let ends = lines.points().flat_map(|point| {
        let [low, _, high] = (measure.value)(point);
        [low, high, (measure.roof)(point)]
    });
    let most = ends.filter(|end| end.is_finite()).fold(f64::MIN_POSITIVE, f64::max);
    let full = (width - MARGIN - VALUE).max(1.0);
    let bars = series.iter().flat_map(|series| {
        let label = lines.labels.get(series.style).map_or("", String::as_str);
        series.points.iter().map(move |point| (label.to_owned(), colour(series.style), (measure.value)(point)))
    });
    let roofs = roofs(series);
    let several = roofs.len() > 1;
    let roofs = roofs.into_iter().map(|series| {
        let of =
            lines.labels.get(series.style).filter(|_| several).map_or_else(String::new, |label| format!(", {label}"));
        (format!("roof: plain copy{of}"), ROOF, [series.points.first().map_or(0.0, |point| (measure.roof)(point)); 3])
    });
    for (n, (label, colour, [low, value, high])) in bars.chain(roofs).enumerate() {
        let top = CAPTION + LINE * n as f64;
        let long = |value: f64| MARGIN + full * (value / most).clamp(0.0, 1.0);
        let size = TEXT.min(TEXT * (width - 2.0 * MARGIN) / width_of(&label, TEXT).max(1.0));
        area.draw(&Text::new(label, (px(MARGIN), px(top)), style(size, &INK)))?;
        let (upper, lower) = (top + 22.0, top + 22.0 + THICK);
        let middle = px((upper + lower) / 2.0);
        area.draw(&Rectangle::new(
            [(px(MARGIN), px(upper)), (px(long(value)).max(px(MARGIN) + 1), px(lower))],
            colour.filled(),
        ))?;
        if low != high {
            let stroke = INK.stroke_width(px(1.5) as u32);
            let (low, high) = (px(long(low)), px(long(high)));
            area.draw(&PathElement::new([(low, middle), (high, middle)], stroke))?;
            for x in [low, high] {
                area.draw(&PathElement::new([(x, middle - px(4.0)), (x, middle + px(4.0))], stroke))?;
            }
        }
        let end = long(value.max(low).max(high)) + 8.0;
        let text = format!("{} {}", three_digits(value), measure.unit);
        let beside = style(TEXT, &INK).pos(Pos::new(HPos::Left, VPos::Center));
        area.draw(&Text::new(text, (px(end), middle), beside))?;
    }
    Ok(())
}

/// A value with three digits that count.
pub(crate) fn three_digits(value: f64) -> String {
    match value.abs() {
        v if v == 0.0 || v >= 99.95 => format!("{value:.0}"),
        v if v >= 9.995 => format!("{value:.1}"),
        v if v >= 0.9995 => format!("{value:.2}"),
        v if v >= 0.009_995 => format!("{value:.3}"),
        _ => format!("{value:.1e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_three_digits() {
        for (value, text) in [
            (0.0, "0"),
            (0.000_123, "1.2e-4"),
            (0.0125, "0.013"),
            (0.5, "0.500"),
            (0.9999, "1.00"),
            (2.345, "2.35"),
            (9.999, "10.0"),
            (42.04, "42.0"),
            (99.99, "100"),
            (12345.6, "12346"),
        ] {
            assert_eq!(three_digits(value), text, "{value}");
        }
    }
}
