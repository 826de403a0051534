//! Why an edit that the proofs let pass does no harm.
//!
//! Not every wait is needed in every place, and who breaks a schedule to see it fail deserves to know why it did not. Each reason
//! is looked up in the edited schedule; where none is found, it is said that the proofs hold and no more.

use std::fmt;

use rustc_hash::FxHashSet;
use serde::Serialize;

use super::between::{Chain, Edge};
use super::made::{Equal, Made, nth, reads, writes};
use super::prove::check;
use super::proved::Options;
use super::run::Run;
use crate::schedule::{Address, At, Buffer, Edit, EditError, Schedule, Signal, Site, Sources};

/// An edit that does no harm, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Harmless {
    /// The edit.
    pub edit: Edit,
    /// Why, one for each thing that it takes away, up to eight.
    pub reasons: Vec<Reason>,
    /// How many more there are.
    pub more: usize,
}

/// Why something is not needed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "because", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Reason {
    /// The edge is gone, but others order the same two instructions.
    Implied {
        /// What comes first.
        first: Site,
        /// What comes later.
        then: Site,
        /// How that is still so.
        chain: Vec<Edge>,
    },
    /// The edge is gone and the two are no longer ordered, but no two accesses of a chunk need it.
    Unneeded {
        /// What came first.
        first: Site,
        /// What came later.
        then: Site,
    },
    /// No edge is gone: another wait is for the same.
    Repeated,
    /// `a + b` and `b + a` are equal in every bit.
    Commutes {
        /// Who adds.
        site: Site,
    },
    /// Neither of two instructions writes what the other touches.
    Independent {
        /// What came first.
        first: Site,
        /// What came later.
        then: Site,
    },
    /// What is read now is equal to what was read before.
    SameValue {
        /// Who reads.
        site: Site,
        /// What it read.
        was: Address,
        /// What it reads now.
        now: Address,
        /// The value, as an expression.
        value: String,
    },
    /// What the instruction wrote in that place was read by nobody, and is no output.
    Unread {
        /// Who writes.
        site: Site,
        /// Where it wrote.
        place: Address,
    },
    /// The two slots never hold something at once that is still to be read.
    NotAtOnce {
        /// Whose.
        rank: u32,
        /// The slots.
        slots: [u32; 2],
    },
    /// All proofs hold: every output holds what it must, whatever the timing.
    SameResult,
}

const SHOWN: usize = 8;

impl Harmless {
    /// Why `edit` does `schedule` no harm; none if it does: then a proof fails, and its findings say where.
    ///
    /// # Errors
    /// [`EditError`] where the schedule has nothing of the kind.
    pub fn of(schedule: &Schedule, edit: Edit, options: Options) -> Result<Option<Self>, EditError> {
        let edited = edit.apply(schedule)?;
        if !check(&edited, options).ok() {
            return Ok(None);
        }
        let (Ok(before), Ok(after)) = (Run::of(schedule, options), Run::of(&edited, options)) else { return Ok(None) };
        let mut reasons = match edit {
            Edit::SwapOperands(at) => vec![Reason::Commutes { site: site(&before, at) }],
            Edit::SwapWithNext(at) => vec![independent(&before, at)],
            Edit::ShareSlot { rank, keep, give_up } => vec![Reason::NotAtOnce { rank, slots: [keep, give_up] }],
            Edit::ShiftRead(at, n) | Edit::NextRankRead(at, n) => vec![same_value(&before, &after, at, n as usize)],
            Edit::ShiftWrite(at, n) | Edit::NextRankWrite(at, n) => vec![unread(&before, at, n as usize)],
            _ => edges(&before, &after),
        };
        let more = reasons.len().saturating_sub(SHOWN);
        reasons.truncate(SHOWN);
        Ok(Some(Self { edit, reasons, more }))
    }
}

fn site(run: &Run<'_>, at: At) -> Site {
    Site::of(&run.schedule, at.lane as usize, at.instruction as usize)
}

fn id(run: &Run<'_>, at: At) -> u32 {
    run.graph.lane(at.lane).start + at.instruction
}

/// What became of every edge that is gone. The edits that take edges away leave instructions where they are.
fn edges(before: &Run<'_>, after: &Run<'_>) -> Vec<Reason> {
    let all = |run: &Run<'_>| -> Vec<(u32, u32, Signal)> {
        let mut all = Vec::new();
        for id in 0..run.graph.instructions() {
            for &wait in run.graph.waits_of(id) {
                if let Sources::Known(sources) = run.graph.sources(wait) {
                    let signal = run.graph.signal(wait.cell);
                    all.extend(sources.iter().map(|&source| (source, id, signal)));
                }
            }
        }
        all
    };
    let left: FxHashSet<(u32, u32, Signal)> = all(after).into_iter().collect();
    let gone: Vec<(u32, u32, Signal)> = all(before).into_iter().filter(|edge| !left.contains(edge)).collect();
    let reason = |(n, (first, then, _)): (usize, (u32, u32, Signal))| {
        // Beyond what is shown they are only counted.
        let chain = if n < SHOWN { after.chain(first, then) } else { None };
        let [first, then] = [first, then].map(|id| before.site(id));
        match chain {
            Some(chain) => Reason::Implied { first, then, chain },
            None => Reason::Unneeded { first, then },
        }
    };
    match gone.is_empty() {
        true => vec![Reason::Repeated],
        false => gone.into_iter().enumerate().map(reason).collect(),
    }
}

fn independent(run: &Run<'_>, at: At) -> Reason {
    let first = id(run, at);
    let [a, b] = [first, first + 1].map(|id| run.graph.instruction(&run.schedule, id));
    let places = |addresses: Vec<Address>| -> FxHashSet<usize> {
        addresses.into_iter().map(|address| run.map.index(address)).collect()
    };
    let touched = |instruction| places(reads(instruction).chain(writes(instruction)).collect());
    let clash = |a, b| !places(writes(a).collect()).is_disjoint(&touched(b));
    match clash(a, b) || clash(b, a) {
        true => Reason::SameResult,
        false => Reason::Independent { first: run.site(first), then: run.site(first + 1) },
    }
}

/// Whether the operand is equal in both schedules.
fn same_value(before: &Run<'_>, after: &Run<'_>, at: At, n: usize) -> Reason {
    let operand = |run: &Run<'_>| {
        let id = id(run, at);
        let instruction = run.graph.instruction(&run.schedule, id);
        let order: Vec<u32> = run.order.iter().copied().take_while(|&other| other != id).collect();
        let address = instruction.from[n];
        let made: Vec<Made> = (0..instruction.chunks).map(|k| Made::of(run, &order, nth(address, k))).collect();
        (address, made)
    };
    let ((was, old), (now, new)) = (operand(before), operand(after));
    let mut equal = Equal::default();
    let mut is_same = |a: &Made, b: &Made| {
        let (a, b) = (equal.number(a), equal.number(b));
        a == b && a != Equal::UNKNOWN
    };
    match old.iter().zip(&new).all(|(old, new)| is_same(old, new)) {
        true => {
            Reason::SameValue { site: site(before, at), was, now, value: new[0].expression(Made::chunk(&[&new[0]])) }
        }
        false => Reason::SameResult,
    }
}

/// Whether nobody reads what the instruction wrote there.
fn unread(run: &Run<'_>, at: At, n: usize) -> Reason {
    let id = id(run, at);
    let instruction = run.graph.instruction(&run.schedule, id);
    let to = instruction.to[n];
    let mut left: FxHashSet<usize> = (0..instruction.chunks).map(|k| run.map.index(nth(to, k))).collect();
    for &later in run.order.iter().skip_while(|&&other| other != id).skip(1) {
        let later = run.graph.instruction(&run.schedule, later);
        if reads(later).any(|address| left.contains(&run.map.index(address))) {
            return Reason::SameResult;
        }
        writes(later).for_each(|address| _ = left.remove(&run.map.index(address)));
    }
    // What lies in an output at the end is read by the user.
    match to.buffer == Buffer::Slot || left.is_empty() {
        true => Reason::Unread { site: site(run, at), place: to },
        false => Reason::SameResult,
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Implied { first, then, chain } => {
                write!(f, "{first} comes before {then} all the same:{}", Chain(chain))
            }
            Self::Unneeded { first, then } => write!(
                f,
                "{first} need not come before {then}: no two accesses of a chunk, one of them a write, are ordered by that alone"
            ),
            Self::Repeated => f.write_str("another wait is for the same notify"),
            Self::Commutes { site } => write!(f, "{site} adds two values, and a + b is b + a in every bit"),
            Self::Independent { first, then } => {
                write!(f, "neither of {first} and {then} writes what the other touches")
            }
            Self::SameValue { site, was, now, value } => {
                write!(f, "{site} finds in {now} what it found in {was}: {value}")
            }
            Self::Unread { site, place } => {
                write!(f, "nobody reads what {site} writes to {place}; where it writes now it disturbs nobody")
            }
            Self::NotAtOnce { rank, slots: [a, b] } => {
                write!(f, "slots {a} and {b} of rank {rank} never hold at once what is still to be read")
            }
            Self::SameResult => f.write_str("all proofs hold: every output holds what it must, whatever the timing"),
        }
    }
}

impl fmt::Display for Harmless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} does no harm:", self.edit)?;
        for reason in &self.reasons {
            write!(f, "\n  {}", reason.to_string().replace('\n', "\n  "))?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}
