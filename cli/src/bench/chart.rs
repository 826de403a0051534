//! What all pictures have in common: the file, the colours, the font, logarithmic axes.
//!
//! The font is compiled in, so that a machine without any, a CI say, draws the same picture.

use std::ops::Range;
use std::path::Path;

use epaint_default_fonts::UBUNTU_LIGHT;
use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::register_font;

use crate::error::BenchError;
use crate::whole;

/// What the end of a file's name asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Text stays text.
    Svg,
    /// Twice as many pixels as the SVG has units.
    Png,
}

impl Format {
    /// The format of `path`.
    ///
    /// # Errors
    /// [`BenchError::Plot`].
    pub fn of(path: &Path) -> Result<Self, BenchError> {
        match path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase).as_deref() {
            Some("svg") => Ok(Self::Svg),
            Some("png") => Ok(Self::Png),
            _ => Err(failed(path, "the name must end in .svg or .png")),
        }
    }
}

fn failed(path: &Path, why: impl ToString) -> BenchError {
    BenchError::Plot { path: path.to_owned(), why: why.to_string() }
}

/// Distinct also for most who see few colours (Okabe and Ito).
pub const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(60, 60, 60),
];
/// Of text and axes.
pub const INK: RGBColor = RGBColor(40, 40, 40);
/// Of what is said beside.
pub const QUIET: RGBColor = RGBColor(95, 95, 95);
/// Of grids.
pub const FAINT: RGBColor = RGBColor(225, 225, 225);
/// The name by which plotters knows the font.
pub const FONT: &str = "sans-serif";

/// How much of its size a character of text is wide, on average and in the widest of the usual fonts: an SVG is shown in
/// whichever there is.
const WIDEST: f64 = 0.6;

/// How wide `text` is at most, in units.
pub fn width_of(text: &str, size: f64) -> f64 {
    text.chars().count() as f64 * size * WIDEST
}

/// `text` in lines that are no wider than `width`, broken between words.
pub fn wrapped(text: &str, size: f64, width: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if width_of(line, size) + width_of(word, size) + size * WIDEST <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Why a backend could not draw.
pub type Failure<B> = DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>;

/// A picture that is drawn alike to every kind of file.
pub trait Drawing {
    /// `scale` is pixels by the unit of the picture's size.
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, scale: f64) -> Result<(), Failure<B>>;
}

/// Refuses a name that no picture could be written to, and one that exists.
///
/// # Errors
/// [`BenchError::Plot`], [`BenchError::Target`] and [`BenchError::Write`].
pub fn check_new(path: &Path) -> Result<(), BenchError> {
    Format::of(path)?;
    whole::check(path).map_err(|error| BenchError::unwritten(path, error))
}

/// Draws to `path`, which does not exist.
///
/// # Errors
/// As [`check_new`]; then no file is there.
pub fn to_new_file(path: &Path, size: (u32, u32), drawing: &impl Drawing) -> Result<(), BenchError> {
    check_new(path)?;
    whole::create(path, &drawn(path, size, drawing)?).map_err(|error| BenchError::unwritten(path, error))
}

/// Draws to `path`, in place of what is there.
///
/// # Errors
/// [`BenchError::Plot`] and [`BenchError::Write`].
pub fn to_file(path: &Path, size: (u32, u32), drawing: &impl Drawing) -> Result<(), BenchError> {
    whole::replace(path, &drawn(path, size, drawing)?).map_err(|error| BenchError::unwritten(path, error))
}

/// The bytes of the file.
fn drawn(path: &Path, (width, height): (u32, u32), drawing: &impl Drawing) -> Result<Vec<u8>, BenchError> {
    let format = Format::of(path)?;
    register_font(FONT, FontStyle::Normal, UBUNTU_LIGHT).map_err(|_| failed(path, "its font is broken"))?;
    match format {
        Format::Svg => {
            let mut text = String::new();
            let area = SVGBackend::with_string(&mut text, (width, height)).into_drawing_area();
            drawing.draw(&area, 1.0).map_err(|why| failed(path, why))?;
            drop(area);
            Ok(text.into_bytes())
        }
        Format::Png => {
            let (width, height) = (2 * width, 2 * height);
            let mut pixels = vec![0; 3 * width as usize * height as usize];
            let area = BitMapBackend::with_buffer(&mut pixels, (width, height)).into_drawing_area();
            drawing.draw(&area, 2.0).map_err(|why| failed(path, why))?;
            drop(area);
            png(width, height, &pixels).map_err(|why| failed(path, why))
        }
    }
}

fn png(width: u32, height: u32, pixels: &[u8]) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(bytes)
}

/// An axis of exponents with labels at given ones only.
pub struct Axis {
    /// First and last exponent.
    pub range: Range<f64>,
    /// Exponents with a label.
    pub marks: Vec<f64>,
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let share = (value - self.range.start) / (self.range.end - self.range.start);
        // What is far off, or nowhere, is so in any picture.
        let share = share.clamp(-2.0, 3.0);
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

/// The whole exponents of `base` around all positive values.
pub fn decades(values: impl Iterator<Item = f64>, base: f64) -> Option<Range<f64>> {
    let logs = values.filter(|value| *value > 0.0 && value.is_finite()).map(|value| value.log(base));
    let (low, high) = logs.fold((f64::MAX, f64::MIN), |(low, high), log| (low.min(log), high.max(log)));
    let (low, high) = ((low + 1e-9).floor(), (high - 1e-9).ceil());
    (low <= high).then_some(if low == high { low - 1.0..high + 1.0 } else { low..high })
}

/// Whole exponents of a range, at most `most` of them and evenly apart.
pub fn exponents(range: &Range<f64>, most: usize) -> Vec<f64> {
    let (start, end) = (range.start.round() as i64, range.end.round() as i64);
    let step = ((end - start + 1) as usize).div_ceil(most).max(1);
    (start..=end).step_by(step).map(|exponent| exponent as f64).collect()
}

/// A size as a label: whole powers of 1024 by their letter.
pub fn bytes(value: f64) -> String {
    match value {
        v if v >= 1024.0 * 1024.0 * 1024.0 => format!("{}G", v / (1024.0 * 1024.0 * 1024.0)),
        v if v >= 1024.0 * 1024.0 => format!("{}M", v / (1024.0 * 1024.0)),
        v if v >= 1024.0 => format!("{}K", v / 1024.0),
        v => format!("{v}"),
    }
}

/// A number as a label, without digits that say nothing.
pub fn plain(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{v:.0e}"),
        v if v >= 1.0 => format!("{v:.0}"),
        v => {
            let text = format!("{v:.6}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words() {
        for (text, width, lines) in [
            ("one two three", 1000.0, vec!["one two three"]),
            ("one two three", 42.0, vec!["one two", "three"]),
            ("one two three", 1.0, vec!["one", "two", "three"]),
            ("  ", 42.0, vec![]),
        ] {
            assert_eq!(wrapped(text, 10.0, width), lines, "{text} {width}");
            assert!(wrapped(text, 10.0, 42.0).iter().all(|line| width_of(line, 10.0) <= 42.0));
        }
    }

    #[test]
    fn axes_end_at_whole_exponents() {
        for (values, base, range) in [
            (vec![1024.0, 4096.0], 2.0, Some(10.0..12.0)),
            (vec![0.5, 30.0], 10.0, Some(-1.0..2.0)),
            (vec![1.0], 10.0, Some(-1.0..1.0)),
            (vec![0.0, f64::NAN], 10.0, None),
        ] {
            assert_eq!(decades(values.iter().copied(), base), range, "{values:?}");
        }
        assert_eq!(exponents(&(0.0..20.0), 8), [0.0, 3.0, 6.0, 9.0, 12.0, 15.0, 18.0]);
    }
}
