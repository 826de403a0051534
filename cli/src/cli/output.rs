//! What commands print, and how: text, one object, errors, colours, and a sign of life on a terminal.

use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use wgccl::lower::Link;
use wgccl::schedule::{Origin, SyncStyle};

use crate::error::Error;
use crate::text::{plain, plain_lines};

pub(super) const GOOD: Style = AnsiColor::Green.on_default().bold();
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(super) const DIM: Style = Style::new().dimmed();

/// What a signal says.
pub(super) const INTERRUPTED: &str = "interrupted before there was a result: nothing is kept";

/// `--quiet`: of the process, as colours are.
static QUIET: AtomicBool = AtomicBool::new(false);

pub(super) fn be_quiet(quiet: bool) {
    QUIET.store(quiet, Ordering::Relaxed);
}

/// Whether to leave out what is neither result nor error.
pub(super) fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// What a message quotes may come from a file. Who closes stderr wants to know nothing.
pub(super) fn print_error(error: &Error) {
    let _ = writeln!(anstream::stderr(), "{BAD}error:{BAD:#} {}", plain_lines(&error.to_string()));
}

/// One object, and a broken pipe is no reason to panic.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(value).map_err(std::io::Error::from)?;
    print(&text)
}

pub(super) fn print(text: &str) -> Result<(), Error> {
    unless_gone(print_or_fail(text))
}

/// Whoever has read enough has no use for an error.
pub(super) fn unless_gone(printed: Result<(), Error>) -> Result<(), Error> {
    match printed {
        Err(Error::Print(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}

/// As [`print`], and a reader that has gone is an error: nothing is measured for nobody.
pub(super) fn print_or_fail(text: &str) -> Result<(), Error> {
    Ok(writeln!(anstream::stdout().lock(), "{text}")?)
}

/// A line for each note.
pub(super) fn of_notes(notes: &[String]) -> String {
    notes.iter().filter(|_| !is_quiet()).map(|note| named("note", &plain(note))).collect()
}

/// A note beside a result that is alone on stdout. Who closes stderr wants to know nothing.
pub(super) fn note_aside(note: &str) {
    if !is_quiet() {
        let _ = writeln!(anstream::stderr(), "note: {}", plain(note));
    }
}

/// A line of a name and what it names.
pub(super) fn named(name: &str, value: &str) -> String {
    format!("{DIM}{name:<9}{DIM:#} {value}\n")
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
pub(super) fn how(origin: &Origin, auto: bool, sync: Option<SyncStyle>) -> String {
    let sync = sync.map_or("file", SyncStyle::name);
    format!("{origin} ({}{sync})", if auto { "auto, " } else { "" })
}

/// A number of things, for people.
pub(super) fn plural(n: u64, what: &str) -> String {
    let many = if what.ends_with("ch") { "es" } else { "s" };
    format!("{n} {what}{}", if n == 1 { "" } else { many })
}

/// What one device sends another.
pub(super) fn of_link(link: &Link) -> String {
    let Link { from, to, bytes, messages, .. } = *link;
    format!("{from} -> {to}: {} in {}", plural(bytes, "byte"), plural(messages as u64, "message"))
}

/// A progress bar on a terminal, drawn every tick until it is dropped, and never if that is before the first. Where no thread
/// can start there is none.
pub(super) struct Ticking {
    bar: ProgressBar,
    /// Ends the thread when dropped.
    drawing: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Ticking {
    pub(super) fn new() -> Self {
        Self::every(TICK)
    }

    /// One that is drawn so often.
    pub(super) fn every(tick: Duration) -> Self {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden());
        let drawn = !is_quiet() && std::io::stderr().is_terminal();
        let drawing = drawn.then(|| draw(bar.clone(), tick)).and_then(Result::ok);
        Self { bar, drawing }
    }

    /// One that says `what`.
    pub(super) fn spinner(what: &'static str) -> Self {
        let ticking = Self::new();
        ticking.bar.set_style(ProgressStyle::default_spinner());
        ticking.bar.set_message(what);
        ticking
    }

    /// What is drawn.
    pub(super) fn bar(&self) -> &ProgressBar {
        &self.bar
    }
}

fn draw(bar: ProgressBar, tick: Duration) -> std::io::Result<(Sender<()>, JoinHandle<()>)> {
    let (end, ended) = channel::<()>();
    let thread = Builder::new().spawn(move || {
        while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(tick) {
            if bar.is_hidden() {
                bar.set_draw_target(ProgressDrawTarget::stderr());
            }
            bar.tick();
        }
        bar.finish_and_clear();
    })?;
    Ok((end, thread))
}

impl Drop for Ticking {
    fn drop(&mut self) {
        if let Some((end, thread)) = self.drawing.take() {
            drop(end);
            let _ = thread.join();
        }
    }
}

/// What takes less needs no bar.
const TICK: Duration = Duration::from_millis(250);
