//! A run with the value that every instruction makes.
//!
//! Pictures show what a schedule does up to where it hangs or goes wrong; a proof ends at the first thing that fails.

use super::memory::{Memory, Short};
use super::prove;
use super::proved::Options;
use super::report::{Finding, Findings, Report};
use super::result::{self, Term, Terms};
use super::run::Run;
use super::structure;
use crate::schedule::Schedule;

/// A run in one order that is allowed. In a schedule that races there are others, which may end otherwise.
#[derive(Debug)]
pub(crate) struct Replay<'s> {
    pub(crate) run: Run<'s>,
    pub(crate) terms: Terms,
    /// What is made, chunk by chunk, in the order of execution.
    values: Vec<Term>,
    /// By instruction: the first of its values, and how many it has.
    of: Vec<(u32, u32)>,
    pub(crate) report: Report,
}

impl<'s> Replay<'s> {
    /// Runs `schedule` as far as it goes.
    ///
    /// # Errors
    /// The report of a schedule that cannot be followed: it names what does not exist, or is too large.
    pub(crate) fn new(schedule: &'s Schedule, options: Options) -> Result<Self, Report> {
        let run = Run::of(schedule, options).map_err(|refused| refused.report)?;
        let (_, size) = structure::ranges(schedule, options).map_err(Report::of_structure)?;
        let mut values = Vec::new();
        let mut of = vec![(0, 0); run.graph.instructions() as usize];
        let made = |id: u32, value: Term| {
            let (first, count) = &mut of[id as usize];
            if *count == 0 {
                *first = values.len() as u32;
            }
            *count += 1;
            values.push(value);
        };
        let too_large = |short: Short| {
            let mut findings = Findings::default();
            findings.push(|| Finding::new(short.to_string()));
            Report::of_structure(findings)
        };
        let mut memory = Memory::new(&size, options.memory);
        let symbolic = result::evaluate(&run.schedule, &run.map, &run.graph, &run.order, &mut memory, made);
        let terms = symbolic.map_err(too_large)?.terms;
        let report = prove::rank_by_rank(&run.schedule, options);
        Ok(Self { terms, values, of, report, run })
    }

    /// What instruction `id` makes, by chunk; nothing where it only waits and notifies, or never gets its turn.
    pub(crate) fn values(&self, id: u32) -> &[Term] {
        let (first, count) = self.of[id as usize];
        &self.values[first as usize..][..count as usize]
    }
}
