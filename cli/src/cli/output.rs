//! What commands print, and how: text, one object, errors, colours, and a sign of life on a terminal.

use std::time::Duration;

use anstyle::{AnsiColor, Style};
use indicatif::ProgressBar;
use serde::Serialize;
use wgccl::schedule::{Origin, SyncStyle};

use crate::error::Error;

pub(super) const GOOD: Style = AnsiColor::Green.on_default().bold();
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(super) const DIM: Style = Style::new().dimmed();

pub(super) fn print_error(error: &Error) {
    anstream::eprintln!("{BAD}error:{BAD:#} {error}");
}

/// One object, and a broken pipe is no reason to panic.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(value).map_err(std::io::Error::from)?;
    print(&text)
}

pub(super) fn print(text: &str) -> Result<(), Error> {
    match print_or_fail(text) {
        // Whoever has read enough has no use for an error.
        Err(Error::Print(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}

/// As [`print`], and a reader that has gone is an error: nothing is measured for nobody.
pub(super) fn print_or_fail(text: &str) -> Result<(), Error> {
    use std::io::Write;
    Ok(writeln!(anstream::stdout().lock(), "{text}")?)
}

/// What a task is beyond its collective, for people.
pub(super) fn details(root: Option<u32>, sources: &[u32]) -> String {
    let mut text = root.map_or_else(String::new, |root| format!(", root {root}"));
    if !sources.is_empty() {
        let ranks: Vec<String> = sources.iter().map(u32::to_string).collect();
        text += &format!(", from {}", ranks.join(","));
    }
    text
}

/// Algorithm and synchronisation, and whether the former was chosen: `direct (auto, neighbor)`.
pub(super) fn how(origin: &Origin, auto: bool, sync: SyncStyle) -> String {
    format!("{origin} ({}{sync})", if auto { "auto, " } else { "" })
}

/// A number of things, for people.
pub(super) fn plural(n: u64, what: &str) -> String {
    let many = if what.ends_with("ch") { "es" } else { "s" };
    format!("{n} {what}{}", if n == 1 { "" } else { many })
}

/// Shows on a terminal that something goes on, if it takes longer than a tick; gone when dropped.
pub(super) struct Spinner(ProgressBar);

impl Spinner {
    pub(super) fn new(what: &'static str) -> Self {
        let bar = ProgressBar::new_spinner().with_message(what);
        bar.enable_steady_tick(TICK);
        Self(bar)
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// What takes less needs no spinner.
pub(super) const TICK: Duration = Duration::from_millis(250);
