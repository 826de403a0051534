//! A device in some fifteen lines: what fits a post, and compares with another's.
//!
//! Always the same measurements, so that two cards say the same of two devices, and always in less time than a minute, so that
//! people make one: what does not fit is left out, and the card says so.

mod measure;
mod picture;
mod text;
mod value;

use std::path::Path;

use super::chart::to_new_file;
use crate::error::BenchError;
use crate::whole;
pub use measure::measure;
pub use text::{markdown, text};
pub use value::{Best, Card, CopyRoof, Launch, LeftOut, SCHEMA};

/// How a card is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// As it is printed.
    Text,
    /// Tables.
    Markdown,
    /// SVG or PNG.
    Picture,
}

impl Format {
    /// What the end of a file's name asks for.
    ///
    /// # Errors
    /// [`BenchError::Target`].
    pub fn of(path: &Path) -> Result<Self, BenchError> {
        match path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase).as_deref() {
            Some("txt") => Ok(Self::Text),
            Some("md") => Ok(Self::Markdown),
            Some("svg" | "png") => Ok(Self::Picture),
            _ => {
                let why = "a card's name must end in .txt, .md, .svg or .png";
                Err(BenchError::Target { path: path.to_owned(), why })
            }
        }
    }
}

/// Refuses a name that no card could be written to, and one that exists.
///
/// # Errors
/// [`BenchError::Target`] and [`BenchError::Write`].
pub fn check_new(path: &Path) -> Result<(), BenchError> {
    Format::of(path)?;
    whole::check(path).map_err(|error| BenchError::unwritten(path, error))
}

/// Writes `card` to `path`, which does not exist.
///
/// # Errors
/// As [`check_new`], and [`BenchError::Plot`]; then no file is there.
pub fn write(path: &Path, card: &Card) -> Result<(), BenchError> {
    let text = match Format::of(path)? {
        Format::Text => text(card),
        Format::Markdown => markdown(card),
        Format::Picture => return to_new_file(path, picture::SIZE, &picture::Picture(card)),
    };
    whole::create(path, text.as_bytes()).map_err(|error| BenchError::unwritten(path, error))
}

#[cfg(test)]
mod tests;
