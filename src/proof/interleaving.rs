//! A race as a story: the steps of a run that goes wrong, what is then read, and what was meant.
//!
//! A finding names two accesses that nothing orders. One order is the one that its author had in mind; the other goes wrong. Both
//! are run to the end here, and the one that leaves more outputs wrong is told.

use std::fmt;

use serde::Serialize;

use super::between::{AccessKind, Steps};
use super::made::{Equal, Made};
use super::memory::Memory;
use super::report::Finding;
use super::result;
use super::run::Run;
use super::simulate::Lanes;
use crate::schedule::{Address, Signal, Site};

/// A run in which two instructions come in the order that goes wrong. Each runs as a whole: where they overlap, more can happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Interleaving {
    /// What runs before, as little as must.
    pub before: Vec<Site>,
    /// What comes first of the two.
    pub first: Site,
    /// What comes second.
    pub second: Site,
    /// Over what they race.
    pub over: Over,
    /// What that order makes of it: an expression of what is read or left there; of a signal what it is.
    pub yields: String,
    /// What the other order makes of it, in which fewer outputs are wrong.
    pub meant: String,
    /// Output chunks that are wrong in the end and right with the other order, as far as they are among the first eight. Where
    /// more races, that is so in the run that was looked at.
    pub wrong: Vec<Address>,
}

/// What two instructions race over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Over {
    /// A chunk, as the finding calls it.
    Chunk {
        /// The chunk.
        place: Address,
        /// What the first does with it.
        first: AccessKind,
        /// What the second does with it.
        second: AccessKind,
    },
    /// A signal that one notifies and the other erases.
    Signal {
        /// The signal.
        signal: Signal,
    },
}

/// How a run ended.
struct Ended {
    order: Vec<u32>,
    /// Outputs that are wrong, the first eight.
    wrong: Vec<Address>,
    count: usize,
}

impl Run<'_> {
    /// The story of a race, from a finding of [`Proof::RaceFree`](super::Proof::RaceFree) about the same schedule. None of any
    /// other finding.
    pub fn interleaving(&self, finding: &Finding) -> Option<Interleaving> {
        let later = self.id(finding.site.as_ref()?)?;
        let earlier = self.id(finding.with.first()?)?;
        let before = self.before_either(earlier, later)?;
        let sites = before.iter().map(|&id| self.site(id)).collect();
        if let Some(signal) = finding.signal {
            // The eraser comes second, and takes the notify with it.
            let told = |text: &str| format!("{signal} {text}");
            return Some(Interleaving {
                before: sites,
                first: self.site(later),
                second: self.site(earlier),
                over: Over::Signal { signal },
                yields: told("is 0, for the notify is erased"),
                meant: told("has the notify"),
                wrong: Vec::new(),
            });
        }
        let place = *finding.places.first().filter(|&&place| self.exists(place))?;
        let [there, back] = [[earlier, later], [later, earlier]].map(|pair| self.ended(&before, pair));
        let bad = match there.count.cmp(&back.count) {
            std::cmp::Ordering::Greater => [earlier, later],
            std::cmp::Ordering::Less => [later, earlier],
            std::cmp::Ordering::Equal => self.unwritten(&before, earlier, later, place).unwrap_or([later, earlier]),
        };
        let [first, second] = bad;
        let (bad, good) = if first == earlier { (there, back) } else { (back, there) };
        let yields = self.yields(&before, first, second, place);
        let wrong = bad.wrong.into_iter().filter(|&place| self.is_right(&good.order, place)).collect();
        let over = Over::Chunk { place, first: self.access(first, place), second: self.access(second, place) };
        let (first, second) = (self.site(first), self.site(second));
        Some(Interleaving { before: sites, first, second, over, yields: yields.a_first, meant: yields.b_first, wrong })
    }

    /// Runs `before`, then these two, then all else.
    fn ended(&self, before: &[u32], pair: [u32; 2]) -> Ended {
        let mut lanes = Lanes::new(&self.graph);
        before.iter().chain(&pair).for_each(|&id| lanes.execute(id));
        lanes.run(|_| false);
        let mut memory = Memory::new(&Default::default(), self.options.memory);
        match result::evaluate(&self.schedule, &self.map, &self.graph, &lanes.order, &mut memory, |_, _| {}) {
            Ok(symbolic) => {
                // Those without a site are of the end, not of the way there.
                let ends = symbolic.wrong.kept().iter().filter(|finding| finding.site.is_none());
                let wrong = ends.flat_map(|finding| finding.places.iter().copied()).collect();
                Ended { order: lanes.order, wrong, count: symbolic.wrong_outputs }
            }
            // Then neither order is known to be better.
            Err(_) => Ended { order: lanes.order, wrong: Vec::new(), count: 0 },
        }
    }

    /// The order in which one reads what nobody wrote.
    fn unwritten(&self, before: &[u32], a: u32, b: u32, place: Address) -> Option<[u32; 2]> {
        let reader = [a, b].into_iter().find(|&id| self.access(id, place) != AccessKind::Writes)?;
        let writer = if reader == a { b } else { a };
        let found = Equal::default().number(&Made::of(self, before, place));
        (found == Equal::UNKNOWN).then_some([reader, writer])
    }
}

impl fmt::Display for Interleaving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { before, first, second, over, yields, meant, wrong } = self;
        f.write_str("a run that goes wrong:")?;
        write!(f, "{}", Steps(before))?;
        match over {
            Over::Signal { signal } => {
                write!(f, "\n  {first} notifies {signal}")?;
                write!(f, "\n  {second} zeroes its signals")?;
                write!(f, "\n  {yields}, so whoever waits for it waits for ever")
            }
            Over::Chunk { place, first: by_first, second: by_second } => {
                let (one, other) = match (by_first, by_second) {
                    (AccessKind::Reads, _) => (format!(": it finds {yields}, not {meant}"), String::new()),
                    (_, AccessKind::Reads) => (String::new(), format!(": it finds {yields}, not {meant}")),
                    _ => (String::new(), format!(": what is left there is {yields}, not {meant}")),
                };
                write!(f, "\n  {first} {by_first} {place}{one}")?;
                write!(f, "\n  {second} {by_second} {place}{other}")?;
                for (i, place) in wrong.iter().enumerate() {
                    write!(f, "{}{place}", if i == 0 { "\n  in the end these are wrong: " } else { ", " })?;
                }
                Ok(())
            }
        }
    }
}
