//! One run of a schedule, right or wrong, with the value that every instruction makes.
//!
//! Pictures show what a schedule does up to where it hangs or goes wrong; a proof ends at the first thing that fails.

use super::memory::Memory;
use super::proved::Options;
use super::report::{Finding, Findings, Report};
use super::result::{self, Term, Terms};
use super::{order, prove, structure};
use crate::schedule::{AddressMap, Graph, Schedule};

/// A run in one order that is allowed. In a schedule that races there are others, which may end otherwise.
#[derive(Debug)]
pub(crate) struct Replay {
    /// In place, copies from a place to itself are left out.
    pub(crate) schedule: Schedule,
    pub(crate) graph: Graph,
    pub(crate) map: AddressMap,
    /// Instructions, by their number in the graph; those that never get their turn are missing.
    pub(crate) order: Vec<u32>,
    pub(crate) terms: Terms,
    /// What is made, chunk by chunk, in that order.
    values: Vec<Term>,
    /// By instruction: the first of its values, and how many it has.
    of: Vec<(u32, u32)>,
    pub(crate) report: Report,
}

impl Replay {
    /// Runs `schedule` as far as it goes.
    ///
    /// # Errors
    /// The report of a schedule that cannot be followed: it names what does not exist, or is too large.
    pub(crate) fn new(schedule: &Schedule, options: Options) -> Result<Self, Report> {
        let (map, size) = structure::ranges(schedule, options).map_err(Report::of_structure)?;
        let mut memory = Memory::new(&size, options.memory);
        let effective = options.in_place.then(|| structure::without_idle_copies(schedule, &map)).flatten();
        let schedule = effective.unwrap_or_else(|| schedule.clone());
        let graph = Graph::new(&schedule);
        let (order, _) = order::simulate(&schedule, &graph);
        let mut values = Vec::new();
        let mut of = vec![(0, 0); graph.instructions() as usize];
        let made = |id: u32, value: Term| {
            let (first, count) = &mut of[id as usize];
            if *count == 0 {
                *first = values.len() as u32;
            }
            *count += 1;
            values.push(value);
        };
        let too_large = |short: super::memory::Short| {
            let mut findings = Findings::default();
            findings.push(|| Finding::new(short.to_string()));
            Report::of_structure(findings)
        };
        memory.ask(&size, options.in_place).map_err(too_large)?;
        let symbolic = result::evaluate(&schedule, &map, &graph, &order, &mut memory, made).map_err(too_large)?;
        let report = prove::rank_by_rank(&schedule, options);
        Ok(Self { schedule, graph, map, order, terms: symbolic.terms, values, of, report })
    }

    /// What instruction `id` makes, by chunk; nothing where it only waits and notifies, or never gets its turn.
    pub(crate) fn values(&self, id: u32) -> &[Term] {
        let (first, count) = self.of[id as usize];
        &self.values[first as usize..][..count as usize]
    }
}
