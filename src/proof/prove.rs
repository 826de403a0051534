//! All six proofs of a schedule, one after the other, each on what the one before has made safe.
//!
//! What they derive on the way is kept: a proved schedule carries it to whoever executes it.

use super::memory::{Memory, Short};
use super::proved::{Options, Parts, Proved};
use super::report::{Finding, Findings, Proof, Report};
use super::symmetric::{self, Size, Source};
use super::{order, result, structure};
use crate::collective::Collective;
use crate::schedule::{AddressMap, BuildError, Draft, Graph, Origin, Schedule};

/// A schedule that was refused, with the proofs that failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the schedule '{origin}' is not safe to run:\n{}", report.failures())]
#[non_exhaustive]
pub struct Refused {
    /// Whose schedule it is.
    pub origin: Origin,
    /// All six outcomes.
    pub report: Report,
}

/// Tries all six proofs and says how each ended.
pub fn check(schedule: &Schedule, options: Options) -> Report {
    match symmetric::holds(Source::Schedule(schedule), options, enough(schedule.ranks)) {
        Some(_) => Report::all_hold(),
        None => rank_by_rank(schedule, options),
    }
}

/// As [`check`], whether or not all ranks do the same.
pub(super) fn rank_by_rank(schedule: &Schedule, options: Options) -> Report {
    analyse(schedule, options, false).0
}

/// The report of a schedule that need not be written out for it, and how large that is.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Checked {
    /// All six outcomes.
    pub report: Report,
    /// Lanes of all ranks.
    pub lanes: usize,
    /// Instructions of all ranks.
    pub instructions: usize,
}

/// As [`check`]. Where every rank does what rank 0 does, turned, and all of it holds, one rank's lanes are there at a time.
///
/// # Errors
/// [`BuildError::Memory`] when they must be there together and the machine has no room for them.
pub fn check_draft(draft: Draft, options: Options) -> Result<Checked, BuildError> {
    let source = draft.written().map_or(Source::Draft(&draft), Source::Schedule);
    if let Some(size) = symmetric::holds(source, options, enough(draft.head().ranks)) {
        let Size { lanes, instructions } = size;
        return Ok(Checked { report: Report::all_hold(), lanes, instructions });
    }
    let schedule = draft.build()?;
    let (lanes, instructions) = (schedule.lanes.len(), schedule.instructions());
    Ok(Checked { report: rank_by_rank(&schedule, options), lanes, instructions })
}

/// Whether a rank of so many does enough that it is worth seeing whether all do the same.
fn enough(ranks: u32) -> impl Fn(u64) -> bool {
    const PARTS: u64 = 1 << 12;
    move |of_one| of_one.saturating_mul(ranks.into()) >= PARTS
}

/// Proves a schedule, which makes it executable.
///
/// # Errors
/// [`Refused`] with the failed proofs.
pub fn prove(schedule: Schedule, options: Options) -> Result<Proved, Box<Refused>> {
    let holds = symmetric::holds(Source::Schedule(&schedule), options, enough(schedule.ranks)).is_some();
    let (report, derived) = analyse(&schedule, options, holds);
    match derived {
        Some(Derived { graph, map, order, terms, effective }) if report.ok() => {
            let schedule = effective.unwrap_or(schedule);
            let (terms, report) = (terms.into(), report.into());
            Ok(Proved::new(Parts { schedule, options, graph, map, order, terms, report, epochs: None }))
        }
        _ => Err(Box::new(Refused { origin: schedule.origin, report })),
    }
}

/// What proofs leave behind for executors.
struct Derived {
    graph: Graph,
    map: AddressMap,
    order: Vec<u32>,
    terms: result::Terms,
    /// The schedule as it is in effect, if that differs.
    effective: Option<Schedule>,
}

/// What is known to be `ordered` need not be shown to be.
fn analyse(schedule: &Schedule, options: Options, ordered: bool) -> (Report, Option<Derived>) {
    let (map, size) = match structure::ranges(schedule, options) {
        Ok(found) => found,
        Err(findings) => return (Report::of_structure(findings), None),
    };
    // What does not fit is told like every other number that is too large.
    let mut memory = Memory::new(&size, options.memory);
    let derived =
        memory.ask(&size, options.in_place).and_then(|()| derive(schedule, options, map, ordered, &mut memory));
    derived.unwrap_or_else(|short| {
        let mut findings = Findings::default();
        findings.push(|| Finding::new(short.to_string()));
        (Report::of_structure(findings), None)
    })
}

fn derive(
    schedule: &Schedule,
    options: Options,
    map: AddressMap,
    ordered: bool,
    memory: &mut Memory,
) -> Result<(Report, Option<Derived>), Short> {
    let mut report = Report::new();
    let effective = if options.in_place { structure::without_idle_copies(schedule, &map) } else { None };
    let schedule = effective.as_ref().unwrap_or(schedule);
    let graph = Graph::new(schedule);
    report.add(Proof::Structure, Some(structure::signals(schedule, &graph)));

    let (order, stuck) = order::simulate(schedule, &graph);
    let finished = stuck.is_empty();
    report.add(Proof::DeadlockFree, Some(stuck));
    if !finished {
        return Ok((report.end(), None));
    }
    let ordered = match ordered {
        true => order::Ordered::default(),
        false => order::races(schedule, &map, &graph, &order, memory)?,
    };
    let raced = !ordered.races.is_empty();
    report.add(Proof::RaceFree, Some(ordered.races));
    if raced {
        // The simulated run is one of several that may end otherwise.
        return Ok((report.end(), None));
    }

    let symbolic = result::evaluate(schedule, &map, &graph, &order, memory, |_, _| {})?;
    let barrier = schedule.task.collective == Collective::Barrier;
    report.add(Proof::Result, Some(if barrier { ordered.early } else { symbolic.wrong }));
    report.add(Proof::BitIdentical, Some(symbolic.differing));
    report.add(Proof::Initialised, Some(symbolic.uninitialised));
    Ok((report, Some(Derived { graph, map, order, terms: symbolic.terms, effective })))
}
