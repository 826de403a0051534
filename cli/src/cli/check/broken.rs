//! `--break EDIT`: a schedule with one thing wrong, to see what the proofs find.
//!
//! Apart from the proofs, which know nothing of it.

use std::fmt::Write;

use serde::Serialize;
use wgccl::schedule::{Edit, Schedule};

use super::super::output::named;
use crate::error::Error;

/// What was done to a schedule.
#[derive(Debug, Serialize)]
pub(super) struct Broken {
    pub(super) edit: Edit,
    what: String,
    /// As it was.
    #[serde(skip)]
    pub(super) whole: Schedule,
}

impl Broken {
    /// Breaks `schedule`.
    pub(super) fn new(edit: &str, schedule: &mut Schedule) -> Result<Self, Error> {
        let usage = |error: wgccl::schedule::EditError| Error::Usage(format!("{error}; wgccl check --break help"));
        let edit = Edit::parse(edit, schedule).map_err(usage)?;
        let what = edit.explain(schedule).map_err(usage)?;
        let broken = edit.apply(schedule).map_err(usage)?;
        Ok(Self { edit, what, whole: std::mem::replace(schedule, broken) })
    }

    /// A line for people.
    pub(super) fn text(&self) -> String {
        named("broken", &self.what)
    }
}

/// All ways.
pub(super) fn help() -> String {
    let mut text = String::from("Ways to break a schedule, for wgccl check --break:\n\n");
    let width = Edit::forms().iter().map(|form| form.name.len() + form.takes.len() + 1).max().unwrap_or(0);
    for form in Edit::forms() {
        let _ = writeln!(text, "  {:width$}  {}", format!("{}:{}", form.name, form.takes), form.does);
    }
    text.push_str("\nAn INSTRUCTION is named as reports call it, such as 'rank 2 AG round 1' or r2-ag-1, or by numbers: lane.instruction.");
    text
}
