//! How proofs end, as data and as text: verdicts, and findings that name rank, round, instruction and signal.
//!
//! Apart from the proofs, because the program, records and pictures only read this.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::schedule::{Address, Signal, Site};

/// One of the six proofs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Proof {
    /// Addresses and signals in range; every notify has its wait and the reverse; no ambiguous wait. Sizes for which all
    /// proofs can be made in the memory that they may take.
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

    /// What a failure of the proof says.
    pub fn negation(self) -> &'static str {
        match self {
            Self::Structure => {
                "an address or a signal is out of range, a notify or a wait has no counterpart, or a size is too large"
            }
            Self::DeadlockFree => "a lane never reaches its end",
            Self::RaceFree => "conflicting accesses are not ordered, or a notify can be lost",
            Self::Result => "an output chunk does not hold what it must",
            Self::BitIdentical => "ranks add in different orders, so they may differ in the last bits",
            Self::Initialised => "something is read that nobody wrote",
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
    /// It could not be tried, because an earlier one failed: after a deadlock there is nothing to look at, and after a race
    /// one interleaving says nothing of the others.
    NotReached,
}

/// One thing that is wrong, and where. Written out, it has at most 64 of `with`, and says in `with_left_out` how many more there are.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// The sentence for people; it repeats the names below.
    pub message: String,
    /// The instruction, where there is one.
    pub site: Option<Site>,
    /// The signal, where there is one.
    pub signal: Option<Signal>,
    /// The other instructions. Of a wait cycle all of them, in turn as each waits for the next one's lane; the last waits for
    /// that of `site`. Of a race the earlier access of the run that was looked at, of a notify that may be erased the eraser. Of
    /// a wait that is not met who should notify, at most 64 of them; none if nobody ever does.
    pub with: Vec<Site>,
    /// Chunks that it is about, in the words of `site`: what a race is over, what is read and was never written, which output
    /// is wrong; where ranks add in unlike orders, the first rank's output and then those that differ. All of them exist.
    pub places: Vec<Address>,
    /// Ranks whose contribution the place lacks, as far as that is known; of a barrier, those that may not have come.
    pub lacks: Vec<u32>,
    /// Ranks whose contribution the place holds more than once.
    pub twice: Vec<u32>,
}

/// As it is written out.
#[derive(Serialize)]
struct Written<'a> {
    message: &'a str,
    site: &'a Option<Site>,
    signal: &'a Option<Signal>,
    #[serde(skip_serializing_if = "<[Site]>::is_empty")]
    with: &'a [Site],
    #[serde(skip_serializing_if = "Option::is_none")]
    with_left_out: Option<usize>,
    #[serde(skip_serializing_if = "<[Address]>::is_empty")]
    places: &'a [Address],
    #[serde(skip_serializing_if = "<[u32]>::is_empty")]
    lacks: &'a [u32],
    #[serde(skip_serializing_if = "<[u32]>::is_empty")]
    twice: &'a [u32],
}

impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // A cycle goes through as many lanes as there are.
        const MOST: usize = 64;
        let Self { message, site, signal, with, places, lacks, twice } = self;
        let (with, left_out) = with.split_at(with.len().min(MOST));
        let with_left_out = (!left_out.is_empty()).then_some(left_out.len());
        Written { message, site, signal, with, with_left_out, places, lacks, twice }.serialize(serializer)
    }
}

impl Finding {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            site: None,
            signal: None,
            with: Vec::new(),
            places: Vec::new(),
            lacks: Vec::new(),
            twice: Vec::new(),
        }
    }

    pub(super) fn at(mut self, site: Site) -> Self {
        self.site = Some(site);
        self
    }

    pub(super) fn on(mut self, signal: Signal) -> Self {
        self.signal = Some(signal);
        self
    }

    pub(super) fn with(mut self, others: impl IntoIterator<Item = Site>) -> Self {
        self.with.extend(others);
        self
    }

    pub(super) fn over(mut self, places: impl IntoIterator<Item = Address>) -> Self {
        self.places.extend(places);
        self
    }

    pub(super) fn lacks(mut self, ranks: impl IntoIterator<Item = u32>) -> Self {
        self.lacks.extend(ranks);
        self
    }

    pub(super) fn twice(mut self, ranks: impl IntoIterator<Item = u32>) -> Self {
        self.twice.extend(ranks);
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The findings of one proof: the first few, and how many there were.
#[derive(Debug, Clone, Default)]
pub(super) struct Findings {
    kept: Vec<Finding>,
    count: usize,
}

impl Findings {
    /// A broken schedule tends to be broken in every round; nobody reads more than this.
    const KEPT: usize = 8;

    pub(super) fn push(&mut self, finding: impl FnOnce() -> Finding) {
        if self.count < Self::KEPT {
            self.kept.push(finding());
        }
        self.count += 1;
    }

    pub(super) fn append(&mut self, other: Self) {
        self.kept.extend(other.kept.into_iter().take(Self::KEPT.saturating_sub(self.kept.len())));
        self.count += other.count;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn kept(&self) -> &[Finding] {
        &self.kept
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Whether further findings are only counted.
    pub(super) fn is_full(&self) -> bool {
        self.count >= Self::KEPT
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
    /// What was proved or, after a failure, what is the case instead.
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
    /// The proofs that failed, with their findings; empty where the schedule may be run.
    pub fn failures(&self) -> impl fmt::Display + '_ {
        Failures(self)
    }

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

    pub(super) fn new() -> Self {
        Self { proofs: Vec::with_capacity(Proof::ALL.len()) }
    }

    /// The report of a schedule with which nothing is wrong.
    pub(super) fn all_hold() -> Self {
        let mut report = Self::new();
        Proof::ALL.into_iter().for_each(|proof| report.add(proof, Some(Findings::default())));
        report
    }

    /// The report of a schedule whose structure forbids all further proofs.
    pub(super) fn of_structure(findings: Findings) -> Self {
        let mut report = Self::new();
        report.add(Proof::Structure, Some(findings));
        report.end()
    }

    /// All further proofs were not reached.
    pub(super) fn end(mut self) -> Self {
        let made = self.proofs.len();
        Proof::ALL.into_iter().skip(made).for_each(|proof| self.add(proof, None));
        self
    }

    /// How `proof` ended: with these findings, or it was not reached.
    pub(super) fn add(&mut self, proof: Proof, findings: Option<Findings>) {
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
            statement: if verdict == Verdict::Fails { proof.negation() } else { proof.statement() },
            findings: findings.kept,
            count: findings.count,
        });
    }
}

impl Outcome {
    /// The findings, each on a line of its own behind `indent`.
    fn list(&self, f: &mut fmt::Formatter<'_>, indent: &str) -> fmt::Result {
        for finding in &self.findings {
            write!(f, "\n{indent}{finding}")?;
        }
        match self.count - self.findings.len() {
            0 => Ok(()),
            more => write!(f, "\n{indent}and {more} more"),
        }
    }
}

/// Verdict, name and statement; the findings follow, each on a line of its own.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Holds => "holds",
            Verdict::Fails if self.proof.is_information() => "no",
            Verdict::Fails => "FAILS",
            Verdict::NotReached => "not reached",
        };
        write!(f, "{verdict:<11} {:<13} {}", self.proof, self.statement)?;
        self.list(f, "            ")
    }
}

/// The six outcomes, a line each; findings follow their proof.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, outcome) in self.proofs.iter().enumerate() {
            write!(f, "{}{outcome}", if i == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

/// What of a report forbids to run the schedule.
struct Failures<'a>(&'a Report);

impl fmt::Display for Failures<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed = self.0.proofs.iter().filter(|o| o.verdict == Verdict::Fails && !o.proof.is_information());
        for (i, outcome) in failed.enumerate() {
            write!(f, "{}{} does not hold", if i == 0 { "" } else { "\n" }, outcome.proof)?;
            outcome.list(f, "  ")?;
        }
        Ok(())
    }
}
