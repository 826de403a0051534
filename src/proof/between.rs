//! What orders two instructions: the shortest chain of edges, or a run in which either may come first.
//!
//! The proof of races knows only that a pair is ordered or is not. This shows it: by the edges, which a reader can follow, or by
//! what must come before both, after which nothing keeps either back.

use std::collections::VecDeque;
use std::fmt;

use rustc_hash::{FxHashMap, FxHashSet};
use serde::Serialize;

use super::made::{Made, nth, reads, writes};
use super::proved::Proved;
use super::run::Run;
use super::simulate::Lanes;
use crate::schedule::{Address, Instruction, Signal, Site, Sources};

/// How two instructions are ordered, and what they share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Between {
    /// One instruction.
    pub a: Site,
    /// The other.
    pub b: Site,
    /// Which comes first, and why.
    pub order: Order,
    /// What both access, if one of them writes it.
    pub shared: Option<Shared>,
}

/// Which of two instructions comes first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Order {
    /// `a` comes first, in every run.
    Before {
        /// Edges from `a` to `b`; none where several lanes notify one signal, so that no single chain shows it.
        chain: Vec<Edge>,
    },
    /// `b` comes first, in every run.
    After {
        /// Edges from `b` to `a`; none where several lanes notify one signal.
        chain: Vec<Edge>,
    },
    /// Each waits for the other: a deadlock.
    Both {
        /// Edges from `a` to `b`, then from `b` to `a`.
        cycle: Vec<Edge>,
    },
    /// Nothing orders them.
    Unordered {
        /// What must come before either, in an order in which it can run. After that both can, so either may come first.
        before: Vec<Site>,
    },
    /// One of them never runs, or neither does, so that nothing can be said.
    NeverRun {
        /// The instructions that never run: one or both.
        sites: Vec<Site>,
    },
}

/// One thing that orders two instructions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Edge {
    /// What comes first.
    pub from: Site,
    /// What comes later.
    pub to: Site,
    /// The signal that `from` notifies and `to` waits for; none if `to` stands later in the same lane.
    pub signal: Option<Signal>,
}

/// Chunks that two instructions access, one of them writing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Shared {
    /// The first of them, as `a` calls it.
    pub place: Address,
    /// How many there are.
    pub places: usize,
    /// What `a` does with it.
    pub a: AccessKind,
    /// What `b` does with it.
    pub b: AccessKind,
    /// What each order makes of it, where nothing orders them: this is a race.
    pub race: Option<Yields>,
}

/// What an instruction does with a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AccessKind {
    /// It only reads it.
    Reads,
    /// It only writes it.
    Writes,
    /// It reads it, then it writes it.
    Updates,
}

/// What each order of two instructions makes of a chunk, as expressions like [`Why::expression`](super::Why::expression): what is
/// read there if one of them reads; what is left there if both write. Both run as a whole; where they overlap there may be more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Yields {
    /// With `a` first.
    pub a_first: String,
    /// With `b` first.
    pub b_first: String,
}

/// A question that cannot be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BetweenError {
    /// An instruction of another schedule.
    #[error("the schedule has no lane {}, instruction {}", .0.lane, .0.instruction)]
    Absent(
        /// The instruction that was asked for.
        Site,
    ),
    /// Twice the same instruction.
    #[error("{0} is one instruction: name two")]
    Same(
        /// The instruction that was named twice.
        Site,
    ),
}

impl Run<'_> {
    /// What orders `a` and `b`.
    ///
    /// # Errors
    /// [`BetweenError`] for an instruction that the schedule does not have, or twice the same.
    pub fn between(&self, a: &Site, b: &Site) -> Result<Between, BetweenError> {
        let find = |site: &Site| self.id(site).ok_or_else(|| BetweenError::Absent(site.clone()));
        let (a, b) = (find(a)?, find(b)?);
        if a == b {
            return Err(BetweenError::Same(self.site(a)));
        }
        let (order, free) = match (self.chain(a, b), self.chain(b, a)) {
            (Some(there), Some(back)) => (Order::Both { cycle: [there, back].concat() }, None),
            (Some(chain), None) => (Order::Before { chain }, None),
            (None, Some(chain)) => (Order::After { chain }, None),
            (None, None) => match self.before_either(a, b) {
                Some(before) => {
                    let sites = before.iter().map(|&id| self.site(id)).collect();
                    (Order::Unordered { before: sites }, Some(before))
                }
                None => (self.by_count(a, b), None),
            },
        };
        let shared = self.shared(a, b).map(|(place, places)| {
            let race = free.map(|before| self.yields(&before, a, b, place));
            Shared { place, places, a: self.access(a, place), b: self.access(b, place), race }
        });
        Ok(Between { a: self.site(a), b: self.site(b), order, shared })
    }

    /// The chain from `first` to `then` of the fewest notifies.
    pub(super) fn chain(&self, first: u32, then: u32) -> Option<Vec<Edge>> {
        const UNSEEN: u32 = u32::MAX;
        let graph = &self.graph;
        // Of each instruction: how many notifies to `then`, and the next on the way there.
        let mut far = vec![(UNSEEN, 0); graph.instructions() as usize];
        let mut open = VecDeque::from([then]);
        far[then as usize] = (0, then);
        let mut done = FxHashSet::default();
        while let Some(id) = open.pop_front() {
            if id == first {
                break;
            }
            if !done.insert(id) {
                continue;
            }
            let (hops, _) = far[id as usize];
            if graph.index(id) > 0 && far[id as usize - 1].0 > hops {
                far[id as usize - 1] = (hops, id);
                open.push_front(id - 1);
            }
            for &wait in graph.waits_of(id) {
                let Sources::Known(sources) = graph.sources(wait) else { continue };
                for &source in sources {
                    if far[source as usize].0 > hops + 1 {
                        far[source as usize] = (hops + 1, id);
                        open.push_back(source);
                    }
                }
            }
        }
        if far[first as usize].0 == UNSEEN {
            return None;
        }
        let (mut chain, mut at) = (Vec::<Edge>::new(), first);
        while at != then {
            let (hops, next) = far[at as usize];
            let signal = (far[next as usize].0 < hops).then(|| self.signal_between(at, next)).flatten();
            match chain.last_mut() {
                // Steps within a lane are one.
                Some(last) if signal.is_none() && last.signal.is_none() => last.to = self.site(next),
                _ => chain.push(Edge { from: self.site(at), to: self.site(next), signal }),
            }
            at = next;
        }
        Some(chain)
    }

    /// The signal by which `from` ends a wait of `to`.
    fn signal_between(&self, from: u32, to: u32) -> Option<Signal> {
        let ends = |wait: &&_| matches!(self.graph.sources(**wait), Sources::Known(of) if of.contains(&from));
        self.graph.waits_of(to).iter().find(ends).map(|wait| self.graph.signal(wait.cell))
    }

    /// What must run before `a` and `b` can, in an order in which it can run; none if one of them cannot run without the other.
    pub(super) fn before_either(&self, a: u32, b: u32) -> Option<Vec<u32>> {
        let graph = &self.graph;
        // All that can run without either: signals only grow, so more never hinders.
        let mut lanes = Lanes::new(graph);
        lanes.run(|id| id == a || id == b);
        if !lanes.can(a) || !lanes.can(b) {
            return None;
        }
        let position: FxHashMap<u32, usize> = lanes.order.iter().enumerate().map(|(at, &id)| (id, at)).collect();
        let (mut needed, mut open) = (FxHashSet::default(), vec![a, b]);
        while let Some(id) = open.pop() {
            let mut need = |id: u32| {
                if needed.insert(id) {
                    open.push(id);
                }
            };
            if graph.index(id) > 0 {
                need(id - 1);
            }
            for &wait in graph.waits_of(id) {
                match graph.sources(wait) {
                    Sources::Known(sources) => sources.iter().for_each(|&source| need(source)),
                    // Any of them will do: those that came first.
                    Sources::Ambiguous | Sources::Never => {
                        let notifiers = graph.notifiers_of(wait.cell).iter();
                        let mut came: Vec<(usize, u32)> =
                            notifiers.filter_map(|id| Some((*position.get(id)?, *id))).collect();
                        came.sort_unstable();
                        came.iter().take(wait.at_least as usize).for_each(|&(_, source)| need(source));
                    }
                }
            }
        }
        lanes.order.retain(|id| needed.contains(id));
        Some(lanes.order)
    }

    /// The order of two that no chain orders and of which one cannot run without the other, or at all.
    fn by_count(&self, a: u32, b: u32) -> Order {
        let runs_without = |other: u32, id: u32| {
            let mut lanes = Lanes::new(&self.graph);
            lanes.run(|held| held == other);
            lanes.next[self.graph.lane_of(id) as usize] > id
        };
        let never: Vec<u32> = [a, b].into_iter().filter(|&id| !runs_without(u32::MAX, id)).collect();
        match never.is_empty() {
            false => Order::NeverRun { sites: never.into_iter().map(|id| self.site(id)).collect() },
            true if runs_without(b, a) => Order::Before { chain: Vec::new() },
            true => Order::After { chain: Vec::new() },
        }
    }

    /// The first place that both access and one writes, as `a` calls it, and how many there are.
    fn shared(&self, a: u32, b: u32) -> Option<(Address, usize)> {
        let [of_a, of_b] = [a, b].map(|id| self.graph.instruction(&self.schedule, id));
        let range = |instruction: &Instruction, &start: &Address| {
            let first = self.map.index(start);
            first..first + instruction.chunks as usize
        };
        // Ranges and not chunks: an instruction may be as long as a buffer.
        let (mut common, mut first) = (Vec::new(), None);
        let mut meet = |of_a_list: &[Address], of_b_list: &[Address]| {
            for start in of_a_list {
                let of_a = range(of_a, start);
                for of_b in of_b_list.iter().map(|start| range(of_b, start)) {
                    let both = of_a.start.max(of_b.start)..of_a.end.min(of_b.end);
                    if both.is_empty() {
                        continue;
                    }
                    first.get_or_insert(nth(*start, (both.start - of_a.start) as u32));
                    common.push(both);
                }
            }
        };
        meet(&of_a.to, &of_b.to);
        meet(&of_a.to, &of_b.from);
        meet(&of_a.from, &of_b.to);
        common.sort_unstable_by_key(|range| range.start);
        let mut reached = 0;
        let places = common.into_iter().map(|range| {
            let new = range.end.saturating_sub(range.start.max(reached));
            reached = reached.max(range.end);
            new
        });
        first.zip(Some(places.sum()))
    }

    pub(super) fn access(&self, id: u32, place: Address) -> AccessKind {
        let instruction = self.graph.instruction(&self.schedule, id);
        let place = self.map.index(place);
        let reads = reads(instruction).any(|address| self.map.index(address) == place);
        let writes = writes(instruction).any(|address| self.map.index(address) == place);
        match (reads, writes) {
            (true, true) => AccessKind::Updates,
            (_, true) => AccessKind::Writes,
            _ => AccessKind::Reads,
        }
    }

    /// What `place` yields with `a` first and with `b` first, after `before`.
    pub(super) fn yields(&self, before: &[u32], a: u32, b: u32, place: Address) -> Yields {
        let reader = [a, b].into_iter().find(|&id| self.access(id, place) == AccessKind::Reads);
        let yielded = |pair: [u32; 2]| {
            let run = pair.into_iter().take_while(|&id| Some(id) != reader);
            let order: Vec<u32> = before.iter().copied().chain(run).collect();
            Made::of(self, &order, place)
        };
        let (a_first, b_first) = (yielded([a, b]), yielded([b, a]));
        let chunk = Made::chunk(&[&a_first, &b_first]);
        Yields { a_first: a_first.expression(chunk), b_first: b_first.expression(chunk) }
    }
}

impl Proved {
    /// What orders `a` and `b`.
    ///
    /// # Errors
    /// [`BetweenError`] for an instruction that the schedule does not have, or twice the same.
    pub fn between(&self, a: &Site, b: &Site) -> Result<Between, BetweenError> {
        self.run().between(a, b)
    }
}

impl fmt::Display for AccessKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Reads => "reads",
            Self::Writes => "writes",
            Self::Updates => "reads and writes",
        })
    }
}

impl fmt::Display for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, signal } = self;
        match signal {
            Some(signal) => write!(f, "{from} notifies {signal}, for which {to} waits"),
            None => write!(f, "{from} stands before {to} in its lane"),
        }
    }
}

/// Edges, each on a line of its own.
pub(super) struct Chain<'a>(pub(super) &'a [Edge]);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 40;
        for edge in self.0.iter().take(SHOWN) {
            write!(f, "\n  {edge}")?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more edges"),
        }
    }
}

impl fmt::Display for Between {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { a, b, order, shared } = self;
        let ordered = |f: &mut fmt::Formatter<'_>, first: &Site, then: &Site, chain: &[Edge]| {
            write!(f, "{first} comes before {then}:{}", Chain(chain))?;
            match chain {
                [] => f.write_str("\n  of the notifies that it waits for, too few come without"),
                _ => Ok(()),
            }
        };
        match order {
            Order::Before { chain } => ordered(f, a, b, chain)?,
            Order::After { chain } => ordered(f, b, a, chain)?,
            Order::Both { cycle } => write!(f, "{a} and {b} wait for each other, so neither runs:{}", Chain(cycle))?,
            Order::NeverRun { sites } => {
                let never = |f: &mut fmt::Formatter<'_>, site: &Site| write!(f, "{site} never runs");
                for (i, site) in sites.iter().enumerate() {
                    f.write_str(if i == 0 { "" } else { ", and " })?;
                    never(f, site)?;
                }
                f.write_str(": nothing is known of their order")?;
            }
            Order::Unordered { before } => {
                write!(f, "nothing orders {a} and {b}: either may come first")?;
                if !before.is_empty() {
                    write!(f, "\n  once these have run:{}", Steps(before))?;
                }
            }
        }
        let Some(Shared { place, places, a: by_a, b: by_b, race }) = shared else {
            return f.write_str("\nthey touch no chunk in common of which one writes");
        };
        write!(f, "\n{a} {by_a} {place}, and {b} {by_b} it")?;
        if *places > 1 {
            write!(f, "; there are {} more such chunks", places - 1)?;
        }
        let Some(Yields { a_first, b_first }) = race else { return Ok(()) };
        let what = match (by_a, by_b) {
            (AccessKind::Reads, _) | (_, AccessKind::Reads) => "read",
            _ => "left there",
        };
        write!(f, ": a race\n  with {a} first, {a_first} is {what}\n  with {b} first, {b_first} is {what}")
    }
}

/// Instructions in a row, each on a line of its own; of many the last.
pub(super) struct Steps<'a>(pub(super) &'a [Site]);

impl fmt::Display for Steps<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 16;
        // One line more or less does not matter.
        let left_out = if self.0.len() > SHOWN + 1 { self.0.len() - SHOWN } else { 0 };
        if left_out > 0 {
            write!(f, "\n  {left_out} others")?;
        }
        self.0[left_out..].iter().try_for_each(|site| write!(f, "\n  {site}"))
    }
}
