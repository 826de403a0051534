//! Proofs about a schedule before any device sees it: what goes wrong is named by rank, round, instruction and signal.
//!
//! It can be proved because instructions are blocking, without branches, and signals only grow: one simulated run
//! decides deadlock for every timing, and one happens-before graph decides races. Every proof is close to linear in
//! the number of instructions; a vector clock adds a factor of the number of lanes, over contiguous memory.

mod contribution;
mod order;
mod result;
mod structure;

use std::fmt;

use serde::Serialize;

use crate::collective::Collective;
use crate::schedule::{Address, Graph, Instruction, Places, Schedule, Signal, Site};
pub use contribution::Unscalable;
pub use result::{Node, Term, Terms};

/// What is presumed about a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Options {
    /// Every rank's input and output are the same memory, by NCCL's rules: of buffers of unlike length, the shorter is
    /// the rank's part of the longer.
    pub in_place: bool,
}

impl Options {
    /// With every rank's input and output in one memory, or apart.
    #[must_use]
    pub fn in_place(mut self, in_place: bool) -> Self {
        self.in_place = in_place;
        self
    }
}

/// One of the six proofs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Proof {
    /// Addresses and signals in range; every notify has its wait and the reverse; no ambiguous wait.
    Structure,
    /// Every lane reaches its end.
    DeadlockFree,
    /// Any two overlapping accesses, one of them a write, are ordered; no notify can be erased.
    RaceFree,
    /// Every output chunk holds each contribution that it must exactly once, and no value went through user memory that
    /// may be too short for it. In a barrier: nobody leaves early.
    Result,
    /// All ranks form each chunk by the same tree of operations. Information: a schedule may differ and be right.
    BitIdentical,
    /// Nothing is read that nobody wrote.
    Initialised,
}

impl Proof {
    /// All proofs, in the order in which they are made and printed.
    pub const ALL: [Self; 6] =
        [Self::Structure, Self::DeadlockFree, Self::RaceFree, Self::Result, Self::BitIdentical, Self::Initialised];

    /// What the proof says when it holds.
    pub fn statement(self) -> &'static str {
        match self {
            Self::Structure => "addresses and signals in range, every notify has its wait",
            Self::DeadlockFree => "every lane reaches its end, whatever the timing",
            Self::RaceFree => "conflicting accesses are ordered, no notify can be lost",
            Self::Result => "every output chunk holds what it must, each contribution exactly once",
            Self::BitIdentical => "all ranks add in the same order, so they agree in every bit",
            Self::Initialised => "nothing is read that nobody wrote",
        }
    }

    /// Whether a schedule may be run although this does not hold.
    pub fn is_information(self) -> bool {
        self == Self::BitIdentical
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Structure => "structure",
            Self::DeadlockFree => "deadlock-free",
            Self::RaceFree => "race-free",
            Self::Result => "result",
            Self::BitIdentical => "bit-identical",
            Self::Initialised => "initialised",
        })
    }
}

/// How a proof ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Verdict {
    /// It holds.
    Holds,
    /// It does not; the findings say where.
    Fails,
    /// It could not be tried, because an earlier one failed.
    NotReached,
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// The sentence for people; it repeats the names below.
    pub message: String,
    /// The instruction, where there is one.
    pub site: Option<Site>,
    /// The signal, where there is one.
    pub signal: Option<Signal>,
}

impl Finding {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), site: None, signal: None }
    }

    fn at(mut self, site: Site) -> Self {
        self.site = Some(site);
        self
    }

    fn on(mut self, signal: Signal) -> Self {
        self.signal = Some(signal);
        self
    }
}

/// The findings of one proof: the first few, and how many there were.
#[derive(Debug, Clone, Default)]
struct Findings {
    kept: Vec<Finding>,
    count: usize,
}

impl Findings {
    /// A broken schedule tends to be broken in every round; nobody reads more than this.
    const KEPT: usize = 8;

    fn push(&mut self, finding: impl FnOnce() -> Finding) {
        if self.count < Self::KEPT {
            self.kept.push(finding());
        }
        self.count += 1;
    }

    fn append(&mut self, other: Self) {
        self.kept.extend(other.kept.into_iter().take(Self::KEPT.saturating_sub(self.kept.len())));
        self.count += other.count;
    }

    fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// The outcome of one proof.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Outcome {
    /// Which proof.
    pub proof: Proof,
    /// How it ended.
    pub verdict: Verdict,
    /// `verdict` is [`Verdict::Holds`].
    pub ok: bool,
    /// What was proved or, after a failure, what was to be.
    pub statement: &'static str,
    /// Up to eight findings.
    pub findings: Vec<Finding>,
    /// All findings, also those not listed.
    pub count: usize,
}

/// The six outcomes.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// In the order of [`Proof::ALL`].
    pub proofs: Vec<Outcome>,
}

impl Report {
    /// Whether the schedule may be run: every proof holds, information aside.
    pub fn ok(&self) -> bool {
        self.proofs.iter().all(|outcome| outcome.ok || outcome.proof.is_information())
    }

    /// The outcome of one proof.
    pub fn outcome(&self, proof: Proof) -> Option<&Outcome> {
        self.proofs.iter().find(|outcome| outcome.proof == proof)
    }

    /// Whether one proof holds.
    pub fn holds(&self, proof: Proof) -> bool {
        self.outcome(proof).is_some_and(|outcome| outcome.ok)
    }

    fn add(&mut self, proof: Proof, findings: Option<Findings>) {
        let verdict = match &findings {
            None => Verdict::NotReached,
            Some(findings) if findings.is_empty() => Verdict::Holds,
            Some(_) => Verdict::Fails,
        };
        let findings = findings.unwrap_or_default();
        self.proofs.push(Outcome {
            proof,
            verdict,
            ok: verdict == Verdict::Holds,
            statement: proof.statement(),
            findings: findings.kept,
            count: findings.count,
        });
    }
}

impl fmt::Display for Report {
    /// One line a failed proof and one a finding; nothing where all hold.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed = self.proofs.iter().filter(|o| o.verdict == Verdict::Fails && !o.proof.is_information());
        for (i, outcome) in failed.enumerate() {
            write!(f, "{}{} does not hold", if i == 0 { "" } else { "\n" }, outcome.proof)?;
            for finding in &outcome.findings {
                write!(f, "\n  {}", finding.message)?;
            }
            if outcome.count > outcome.findings.len() {
                write!(f, "\n  and {} more", outcome.count - outcome.findings.len())?;
            }
        }
        Ok(())
    }
}

/// A schedule that was refused, with the proofs that failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the schedule '{name}' is not safe to run:\n{report}")]
#[non_exhaustive]
pub struct Refused {
    /// The schedule's name.
    pub name: String,
    /// All six outcomes.
    pub report: Report,
}

/// A schedule with its proofs. Executors take nothing else.
#[derive(Debug, Clone)]
pub struct Proved {
    schedule: Schedule,
    options: Options,
    /// Instructions, by their number in a the graph, in an order in which they may execute.
    order: Vec<u32>,
    terms: Terms,
    report: Report,
}

impl Proved {
    /// The schedule.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// What was presumed.
    pub fn options(&self) -> Options {
        self.options
    }

    /// The proofs.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// What every output chunk is made of, in exact order.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    pub(crate) fn order(&self) -> &[u32] {
        &self.order
    }
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
    let (report, artefacts) = analyse(&schedule, options);
    match artefacts {
        Some(Artefacts { order, terms, effective }) if report.ok() => {
            Ok(Proved { schedule: effective.unwrap_or(schedule), options, order, terms, report })
        }
        _ => Err(Box::new(Refused { name: schedule.name, report })),
    }
}

/// What proofs leave behind for executors.
struct Artefacts {
    order: Vec<u32>,
    terms: Terms,
    /// The schedule as it is in effect, if that differs.
    effective: Option<Schedule>,
}

fn analyse(schedule: &Schedule, options: Options) -> (Report, Option<Artefacts>) {
    let mut report = Report { proofs: Vec::with_capacity(Proof::ALL.len()) };
    let ranges = structure::ranges(schedule, options);
    if !ranges.is_empty() {
        report.add(Proof::Structure, Some(ranges));
        Proof::ALL.into_iter().skip(1).for_each(|proof| report.add(proof, None));
        return (report, None);
    }
    let places = Places::new(schedule, options.in_place);
    let effective = if options.in_place { without_idle_copies(schedule, &places) } else { None };
    let schedule = effective.as_ref().unwrap_or(schedule);
    let graph = Graph::new(schedule);
    report.add(Proof::Structure, Some(structure::signals(schedule, &graph)));

    let (order, stuck) = order::simulate(schedule, &graph);
    let finished = stuck.is_empty();
    report.add(Proof::DeadlockFree, Some(stuck));
    if !finished {
        Proof::ALL.into_iter().skip(2).for_each(|proof| report.add(proof, None));
        return (report, None);
    }
    let ordered = order::races(schedule, &places, &graph, &order);
    report.add(Proof::RaceFree, Some(ordered.races));

    let symbolic = result::evaluate(schedule, &places, &graph, &order);
    let barrier = schedule.task.collective == Collective::Barrier;
    report.add(Proof::Result, Some(if barrier { ordered.early } else { symbolic.wrong }));
    report.add(Proof::BitIdentical, Some(symbolic.differing));
    report.add(Proof::Initialised, Some(symbolic.uninitialised));
    (report, Some(Artefacts { order, terms: symbolic.terms, effective }))
}

/// In place, a copy from input to output may find its operand where it is to go. Then it does nothing: executors leave it
/// out, so that nobody has to wait for it, and it is no access here either. None where there is no such copy.
fn without_idle_copies(schedule: &Schedule, places: &Places) -> Option<Schedule> {
    let idle = |instruction: &Instruction| -> Option<usize> {
        let [from] = instruction.from[..] else { return None };
        let same = |to: &Address| to.buffer != from.buffer && places.index(*to) == places.index(from);
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
