//! All six proofs of a schedule, one after the other, each on what the one before has made safe.
//!
//! What they derive on the way is kept: a proved schedule carries it to whoever executes it.

use super::memory::{Memory, Short};
use super::proved::{Options, Parts, Proved};
use super::report::{Finding, Findings, Proof, Report};
use super::{order, result, structure};
use crate::collective::Collective;
use crate::schedule::{Address, AddressMap, Graph, Instruction, Origin, Schedule};

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
    analyse(schedule, options).0
}

/// Proves a schedule, which makes it executable.
///
/// # Errors
/// [`Refused`] with the failed proofs.
pub fn prove(schedule: Schedule, options: Options) -> Result<Proved, Box<Refused>> {
    let (report, derived) = analyse(&schedule, options);
    match derived {
        Some(Derived { graph, map, order, terms, effective }) if report.ok() => {
            let schedule = effective.unwrap_or(schedule);
            Ok(Proved::new(Parts { schedule, options, graph, map, order, terms, report }))
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

fn analyse(schedule: &Schedule, options: Options) -> (Report, Option<Derived>) {
    let (map, size) = match structure::ranges(schedule, options) {
        Ok(found) => found,
        Err(findings) => return (Report::of_structure(findings), None),
    };
    // What does not fit is told like every other number that is too large.
    let mut memory = Memory::new(&size, options.memory);
    let derived = memory.ask(&size, options.in_place).and_then(|()| derive(schedule, options, map, &mut memory));
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
    memory: &mut Memory,
) -> Result<(Report, Option<Derived>), Short> {
    let mut report = Report::new();
    let effective = if options.in_place { without_idle_copies(schedule, &map) } else { None };
    let schedule = effective.as_ref().unwrap_or(schedule);
    let graph = Graph::new(schedule);
    report.add(Proof::Structure, Some(structure::signals(schedule, &graph)));

    let (order, stuck) = order::simulate(schedule, &graph);
    let finished = stuck.is_empty();
    report.add(Proof::DeadlockFree, Some(stuck));
    if !finished {
        return Ok((report.end(), None));
    }
    let ordered = order::races(schedule, &map, &graph, &order, memory)?;
    let raced = !ordered.races.is_empty();
    report.add(Proof::RaceFree, Some(ordered.races));
    if raced {
        // The simulated run is one of several that may end otherwise.
        return Ok((report.end(), None));
    }

    let symbolic = result::evaluate(schedule, &map, &graph, &order, memory)?;
    let barrier = schedule.task.collective == Collective::Barrier;
    report.add(Proof::Result, Some(if barrier { ordered.early } else { symbolic.wrong }));
    report.add(Proof::BitIdentical, Some(symbolic.differing));
    report.add(Proof::Initialised, Some(symbolic.uninitialised));
    Ok((report, Some(Derived { graph, map, order, terms: symbolic.terms, effective })))
}

/// In place, a copy from input to output may find its operand where it is to go. Then it does nothing: executors leave it
/// out, so that nobody has to wait for it, and it is no access here either. None where there is no such copy.
fn without_idle_copies(schedule: &Schedule, map: &AddressMap) -> Option<Schedule> {
    let idle = |instruction: &Instruction| -> Option<usize> {
        let [from] = instruction.from[..] else { return None };
        let same = |to: &Address| to.buffer != from.buffer && map.index(*to) == map.index(from);
        instruction.to.iter().position(same)
    };
    let mut effective: Option<Schedule> = None;
    for (l, lane) in schedule.lanes.iter().enumerate() {
        for (i, instruction) in lane.instructions.iter().enumerate() {
            // Destinations do not coincide, so there is one at most.
            let Some(destination) = idle(instruction) else { continue };
            let changed = &mut effective.get_or_insert_with(|| schedule.clone()).lanes[l].instructions[i];
            changed.to.remove(destination);
            if changed.to.is_empty() {
                changed.from.clear();
            }
        }
    }
    effective
}
