//! Pictures in a notebook: a drawing, and the page that plays it in a frame of its own.

use std::fs;
use std::path::PathBuf;

use pyo3::prelude::*;
use wgccl::proof::Options;
use wgccl::schedule::Schedule;
use wgccl::show::{Drawing, Picture, html, svg, text};

/// Text as HTML, in an attribute too.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn picture(schedule: &Schedule, in_place: bool) -> Result<Picture, String> {
    Picture::new(schedule, Options::default().in_place(in_place)).map_err(|error| error.to_string())
}

/// The space-time diagram.
pub(crate) fn drawing(schedule: &Schedule, in_place: bool, animated: bool) -> Result<String, String> {
    svg(&picture(schedule, in_place)?, &Drawing::default().animated(animated)).map_err(|error| error.to_string())
}

/// As a terminal shows it.
pub(crate) fn lines(schedule: &Schedule, in_place: bool) -> Result<String, String> {
    let lines: Vec<String> = text(&picture(schedule, in_place)?, &[]).iter().map(ToString::to_string).collect();
    Ok(lines.join("\n").trim_end().to_owned())
}

/// The page that plays it.
pub(crate) fn page(schedule: &Schedule, in_place: bool) -> Result<String, String> {
    let mut page = Vec::new();
    html(&picture(schedule, in_place)?, None, &mut page).map_err(|error| error.to_string())?;
    String::from_utf8(page).map_err(|error| error.to_string())
}

/// A page that plays a schedule: shown by a notebook, or saved as one file that needs nothing else.
#[pyclass(frozen, module = "wgccl", name = "Page")]
pub(crate) struct PyPage {
    /// The whole file.
    #[pyo3(get)]
    html: String,
    title: String,
    #[pyo3(get)]
    height: u32,
}

impl PyPage {
    pub(crate) fn new(html: String, title: String, height: u32) -> Self {
        Self { html, title, height }
    }
}

#[pymethods]
impl PyPage {
    /// Writes it to a new file or over an old one.
    fn save(&self, path: PathBuf) -> PyResult<()> {
        Ok(fs::write(path, &self.html)?)
    }

    /// In a frame, which keeps its styles and scripts apart from the notebook's.
    fn _repr_html_(&self) -> String {
        format!(
            "<iframe srcdoc=\"{}\" title=\"{}\" sandbox=\"allow-scripts\" width=\"100%\" height=\"{}\" \
             style=\"border:0\"></iframe>",
            escape(&self.html),
            escape(&self.title),
            self.height
        )
    }

    fn __repr__(&self) -> String {
        format!("<Page of {}: a notebook shows it, save(path) keeps it>", self.title)
    }
}
