//! What a launch of a schedule would do that is not proved: hang, give a wrong result, or give one or another.
//!
//! A report says which proofs fail. Who breaks a schedule to learn from it wants to know what would have happened.

use std::fmt;

use serde::Serialize;

use super::interleaving::{Interleaving, Over};
use super::prove::check;
use super::proved::Options;
use super::report::{Finding, Proof, Report};
use super::run::Run;
use crate::hang::Hang;
use crate::schedule::{Address, Schedule, Signal};

/// What a launch would do.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "effect", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Effect {
    /// It ends right, whatever the timing.
    Right,
    /// It ends right, and is refused all the same: a notify is left over that nobody waits for, or something is read that nobody
    /// wrote and that reaches no output.
    RightButRefused {
        /// Why it is refused.
        findings: Vec<Finding>,
    },
    /// It cannot be launched: something that it names does not exist.
    Impossible {
        /// What it names that does not exist.
        findings: Vec<Finding>,
    },
    /// It hangs, whatever the timing.
    Hangs {
        /// Who waits for what. One channel stands for all.
        hang: Hang,
    },
    /// It may hang: a notify may be erased.
    MayHang {
        /// A run in which it is, if one was found.
        run: Option<Interleaving>,
        /// Who notifies, and who erases; up to eight.
        findings: Vec<Finding>,
        /// Notifies that may be erased.
        count: usize,
    },
    /// It may end right or not: some accesses race.
    MayBeWrong {
        /// A run that goes wrong. None where several lanes notify a signal, so that a race cannot be seen in any.
        run: Option<Interleaving>,
        /// What races, up to eight pairs.
        findings: Vec<Finding>,
        /// Pairs of accesses that race.
        count: usize,
    },
    /// It ends, and the result is wrong.
    Wrong {
        /// Output chunks that are, up to eight of them.
        chunks: Vec<Address>,
        /// How so, of each of them; in a barrier, who can leave early.
        findings: Vec<Finding>,
        /// Number of findings, those beyond the first eight included.
        count: usize,
    },
}

impl Effect {
    /// What a launch of `schedule` would do.
    pub fn of(schedule: &Schedule, options: Options) -> Self {
        let report = check(schedule, options);
        let Ok(run) = Run::of(schedule, options) else {
            return Self::Impossible { findings: findings(&report, Proof::Structure) };
        };
        if !run.finished() {
            return Self::Hangs { hang: hang(&run) };
        }
        let failed = |proof| report.outcome(proof).filter(|outcome| outcome.count > 0);
        if let Some(outcome) = failed(Proof::RaceFree) {
            let (findings, count) = (outcome.findings.clone(), outcome.count);
            // One of each pair of instructions, and made one by one: each takes several runs.
            let one = |a: &Finding, b: &Finding| (&a.site, &a.with, a.signal) == (&b.site, &b.with, b.signal);
            let mut told = findings.chunk_by(one).filter_map(|alike| run.interleaving(alike.first()?));
            if findings.iter().any(|finding| finding.signal.is_some()) {
                let run = told.find(|told| matches!(told.over, Over::Signal { .. }));
                return Self::MayHang { run, findings, count };
            }
            // Whatever leaves something wrong in the end shows most.
            let first = told.next();
            let shows = |told: &Interleaving| !told.wrong.is_empty();
            let run = if first.as_ref().is_some_and(shows) { first } else { told.find(shows).or(first) };
            return Self::MayBeWrong { run, findings, count };
        }
        if let Some(outcome) = failed(Proof::Result) {
            let ends = outcome.findings.iter().filter(|finding| finding.site.is_none());
            let chunks = ends.flat_map(|finding| finding.places.iter().copied()).collect();
            return Self::Wrong { chunks, findings: outcome.findings.clone(), count: outcome.count };
        }
        match failed(Proof::Initialised).or_else(|| failed(Proof::Structure)) {
            None => Self::Right,
            Some(outcome) => Self::RightButRefused { findings: outcome.findings.clone() },
        }
    }
}

fn findings(report: &Report, proof: Proof) -> Vec<Finding> {
    report.outcome(proof).map_or_else(Vec::new, |outcome| outcome.findings.clone())
}

fn hang(run: &Run<'_>) -> Hang {
    let graph = &run.graph;
    let mut next = vec![0_u32; graph.lanes() as usize];
    let mut arrived = rustc_hash::FxHashMap::<Signal, u32>::default();
    for &id in run.order.iter() {
        next[graph.lane_of(id) as usize] += 1;
        graph.notifies_of(id).iter().for_each(|&cell| *arrived.entry(graph.signal(cell)).or_insert(0) += 1);
    }
    Hang::explain(run.schedule(), 0, &next, |signal| arrived.get(&signal).copied().unwrap_or(0))
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, findings: &[Finding]| {
            findings.iter().try_for_each(|finding| write!(f, "\n  {finding}"))
        };
        match self {
            Self::Right => f.write_str("a launch ends right, whatever the timing"),
            Self::RightButRefused { findings } => {
                f.write_str("a launch ends right, and is refused all the same:")?;
                list(f, findings)
            }
            Self::Impossible { findings } => {
                f.write_str("it cannot be launched:")?;
                list(f, findings)
            }
            Self::Hangs { hang } => write!(f, "a launch hangs, whatever the timing: {hang}"),
            Self::MayHang { run, findings, count } => {
                let ies = if *count == 1 { "y" } else { "ies" };
                write!(f, "a launch may hang: {count} notif{ies} can be erased")?;
                match run {
                    Some(run) => write!(f, "\n{run}"),
                    None => list(f, findings),
                }
            }
            Self::MayBeWrong { run, findings, count } => {
                let s = if *count == 1 { "" } else { "s" };
                write!(f, "a launch may end right or wrong: {count} race{s}")?;
                match run {
                    Some(run) => write!(f, "\n{run}"),
                    None => list(f, findings),
                }
            }
            Self::Wrong { findings, count, .. } => {
                // Only of a barrier no place is told.
                let early = findings.iter().all(|finding| finding.places.is_empty());
                f.write_str(if early { "a launch ends too early:" } else { "a launch ends with a wrong result:" })?;
                list(f, findings)?;
                match count - findings.len() {
                    0 => Ok(()),
                    more => write!(f, "\n  and {more} more"),
                }
            }
        }
    }
}
