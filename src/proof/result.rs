//! Proofs 4 to 6: what every output chunk is made of, symbolically and in exact order.
//!
//! Values are hash-consed trees of reductions over contributions, so that two ranks agree in every bit exactly when
//! their trees are the same number, and the golden can evaluate the same trees on real data.

use rustc_hash::{FxHashMap, FxHashSet};

use super::report::{Finding, Findings};
use crate::collective::{Holds, Ranks};
use crate::schedule::{Address, AddressMap, Buffer, Granularity, Graph, Schedule};

/// A value: an index into [`Terms`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Term(u32);

impl Term {
    /// What nobody wrote, and whatever is made of it.
    const UNKNOWN: Self = Self(0);
}

/// What a term is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Node {
    /// Memory that nobody wrote went into it.
    Unknown,
    /// Chunk `chunk` of `rank`'s input, counted through all its parts.
    Input {
        /// Whose contribution.
        rank: u32,
        /// Which chunk of it.
        chunk: u32,
    },
    /// The first combined with the second.
    Reduce(Term, Term),
}

/// All values of a run, and which of them the outputs hold.
///
/// Reduction is commutative in every bit (NaN payloads aside), so `a op b` and `b op a` are one term.
#[derive(Debug, Clone)]
pub struct Terms {
    ranks: u32,
    chunks: u32,
    /// Chunks of the input of every rank that has one.
    input_chunks: u32,
    /// The only rank that has an input, if it is only one.
    only: Option<u32>,
    reductions: Vec<(Term, Term)>,
    /// Registers that evaluating a reduction needs, deeper operand first.
    registers: Vec<u8>,
    /// First of each rank's outputs, and the end.
    first_output: Vec<u32>,
    outputs: Vec<Term>,
}

impl Terms {
    fn new(schedule: &Schedule) -> Self {
        let only = schedule.task.collective.only_root_gives().then_some(schedule.task.root);
        let outputs = (0..schedule.ranks).map(|rank| schedule.buffer_chunks(Buffer::Output, rank));
        let mut first_output = vec![0];
        first_output.extend(outputs.scan(0, |end, chunks| {
            *end += chunks;
            Some(*end)
        }));
        Self {
            ranks: schedule.ranks,
            chunks: schedule.chunks,
            input_chunks: schedule.buffer_chunks(Buffer::Input, only.unwrap_or(0)),
            only,
            reductions: Vec::new(),
            registers: Vec::new(),
            first_output,
            outputs: Vec::new(),
        }
    }

    fn leaf(&self, rank: u32, chunk: u32) -> Term {
        Term(1 + if self.only.is_some() { 0 } else { rank * self.input_chunks } + chunk)
    }

    fn leaves(&self) -> u32 {
        if self.only.is_some() { self.input_chunks } else { self.ranks * self.input_chunks }
    }

    /// What `term` is.
    pub fn node(&self, term: Term) -> Node {
        match term.0.checked_sub(1) {
            None => Node::Unknown,
            Some(leaf) if leaf < self.leaves() => match self.only {
                Some(rank) => Node::Input { rank, chunk: leaf },
                None => Node::Input { rank: leaf / self.input_chunks, chunk: leaf % self.input_chunks },
            },
            Some(index) => {
                let (a, b) = self.reductions[(index - self.leaves()) as usize];
                Node::Reduce(a, b)
            }
        }
    }

    /// Index, within its part, of the chunk that `term` is made of; of one that is made of several, any of them.
    fn index_in_part(&self, mut term: Term) -> Option<u32> {
        loop {
            match self.node(term) {
                Node::Unknown => return None,
                Node::Input { chunk, .. } => return Some(chunk % self.chunks),
                // As a rule one of the two is an input, and inputs have the lower numbers.
                Node::Reduce(a, b) => term = a.min(b),
            }
        }
    }

    /// The value of chunk `chunk` of `rank`'s output, counted through all its parts.
    pub fn output(&self, rank: u32, chunk: u32) -> Term {
        self.outputs[(self.first_output[rank as usize] + chunk) as usize]
    }

    /// The values of all chunks of `rank`'s output.
    pub fn outputs(&self, rank: u32) -> &[Term] {
        let (first, end) = (self.first_output[rank as usize], self.first_output[rank as usize + 1]);
        &self.outputs[first as usize..end as usize]
    }

    /// The values of the chunks of part `part` of `rank`'s output.
    pub fn part(&self, rank: u32, part: u32) -> &[Term] {
        &self.outputs(rank)[(part * self.chunks) as usize..][..self.chunks as usize]
    }

    /// Values that must be held at once to evaluate `term`, operands in [`evaluation`](Self::evaluation)'s order.
    pub fn registers(&self, term: Term) -> usize {
        match term.0.checked_sub(1 + self.leaves()) {
            None => 1,
            Some(index) => self.registers[index as usize].into(),
        }
    }

    /// `term` in postfix order: operands before their reduction, the one that needs more registers first.
    pub fn evaluation(&self, term: Term) -> Vec<Node> {
        let mut postfix = Vec::new();
        let mut stack = vec![term];
        // Root first and the deeper operand last, reversed.
        while let Some(term) = stack.pop() {
            let node = self.node(term);
            if let Node::Reduce(a, b) = node {
                let deeper_first = self.registers(a) >= self.registers(b);
                stack.extend(if deeper_first { [a, b] } else { [b, a] });
            }
            postfix.push(node);
        }
        postfix.reverse();
        postfix
    }
}

pub(super) struct Symbolic {
    pub(super) terms: Terms,
    pub(super) wrong: Findings,
    pub(super) differing: Findings,
    pub(super) uninitialised: Findings,
}

pub(super) fn evaluate(schedule: &Schedule, map: &AddressMap, graph: &Graph, order: &[u32]) -> Symbolic {
    let mut terms = Terms::new(schedule);
    let mut known = Known::new(&terms);
    let mut values = vec![Term::UNKNOWN; map.len()];
    for rank in 0..schedule.ranks {
        for chunk in 0..schedule.buffer_chunks(Buffer::Input, rank) {
            values[map.index(Address::input(rank, chunk))] = terms.leaf(rank, chunk);
        }
    }
    let ragged = schedule.granularity == Granularity::Ragged;
    let (mut uninitialised, mut cut_short) = (Findings::default(), Findings::default());
    for &id in order {
        let instruction = graph.instruction(schedule, id);
        for k in 0..instruction.chunks {
            let mut read = |start: Address| {
                let address = Address { chunk: start.chunk + k, ..start };
                let value = values[map.index(address)];
                if value == Term::UNKNOWN {
                    uninitialised.push(|| {
                        let (site, address) = (graph.site(schedule, id), schedule.show(address));
                        let text = format!("{site} reads {address}, which holds nothing that anybody wrote");
                        Finding::new(text).at(site)
                    });
                }
                value
            };
            let Some((&first, rest)) = instruction.from.split_first() else { continue };
            let mut value = read(first);
            for &operand in rest {
                let operand = read(operand);
                value = reduce(&mut terms, &mut known, value, operand);
            }
            let index = terms.index_in_part(value).unwrap_or_default();
            for &to in &instruction.to {
                let to = Address { chunk: to.chunk + k, ..to };
                values[map.index(to)] = value;
                // The last chunks of a payload may be shorter, and in user memory there is nothing behind them.
                if ragged && to.buffer != Buffer::Slot && to.chunk % schedule.chunks > index {
                    cut_short.push(|| {
                        let (site, to) = (graph.site(schedule, id), schedule.show(to));
                        let text = format!(
                            "{site} puts a chunk {index} into {to}, which may be shorter and would cut it; use a chunk slot"
                        );
                        Finding::new(text).at(site)
                    });
                }
            }
        }
    }
    for rank in 0..schedule.ranks {
        for chunk in 0..schedule.buffer_chunks(Buffer::Output, rank) {
            terms.outputs.push(values[map.index(Address::output(rank, chunk))]);
        }
    }
    let mut wrong = postcondition(schedule, &terms);
    wrong.append(cut_short);
    let differing = differences(schedule, &terms);
    Symbolic { terms, wrong, differing, uninitialised }
}

fn reduce(terms: &mut Terms, known: &mut Known, a: Term, b: Term) -> Term {
    if a == Term::UNKNOWN || b == Term::UNKNOWN {
        return Term::UNKNOWN;
    }
    let next = Term(1 + terms.leaves() + terms.reductions.len() as u32);
    let term = known.entry(a.min(b), a.max(b), next);
    if term == next {
        let (left, right) = (terms.registers(a), terms.registers(b));
        let registers = if left == right { left + 1 } else { left.max(right) };
        terms.reductions.push((a, b));
        // Every further register doubles the tree, so 64 is out of reach.
        terms.registers.push(registers.min(u8::MAX.into()) as u8);
    }
    term
}

/// The reductions that exist, by their operands.
///
/// Each term lists the reductions in which it is the greater operand: mostly one or two, and the term has just been made, so
/// all of it is in a cache, where a map of many millions of pairs is not. Only what goes beyond is in a map.
struct Known {
    /// Number of the first reduction.
    first: u32,
    /// By term: the latest reduction of which it is the greater operand.
    latest: Vec<Term>,
    /// By reduction: its lesser operand, and the reduction before it of the same greater one.
    chain: Vec<(Term, Term)>,
    /// Those in chains that are full, by lesser and greater operand.
    more: FxHashMap<(Term, Term), Term>,
}

impl Known {
    /// Longest chain.
    const MOST: usize = 8;

    fn new(terms: &Terms) -> Self {
        let first = 1 + terms.leaves();
        Self { first, latest: vec![Term::UNKNOWN; first as usize], chain: Vec::new(), more: FxHashMap::default() }
    }

    /// The reduction of these two; if there is none yet, it is `next`, which has not been given before.
    fn entry(&mut self, lesser: Term, greater: Term, next: Term) -> Term {
        let latest = self.latest[greater.0 as usize];
        let (mut at, mut length) = (latest, 0);
        while at != Term::UNKNOWN {
            let (other, before) = self.chain[(at.0 - self.first) as usize];
            if other == lesser {
                return at;
            }
            (at, length) = (before, length + 1);
        }
        let full = length >= Self::MOST;
        if full {
            let known = *self.more.entry((lesser, greater)).or_insert(next);
            if known != next {
                return known;
            }
        } else {
            self.latest[greater.0 as usize] = next;
        }
        // Every reduction has its place in both, so that numbers are indices.
        self.chain.push((lesser, if full { Term::UNKNOWN } else { latest }));
        self.latest.push(Term::UNKNOWN);
        next
    }
}

/// Proof 4: every part of every output holds what the task says.
fn postcondition(schedule: &Schedule, terms: &Terms) -> Findings {
    let mut findings = Findings::default();
    let mut right = FxHashSet::default();
    // The last of them in this place of a part, looked at first: nearly always all ranks hold the same.
    let mut last = vec![(Term::UNKNOWN, 0); schedule.chunks as usize];
    let mut times = vec![0_u32; schedule.ranks as usize];
    for rank in 0..schedule.ranks {
        for part in 0..schedule.task.output_parts(rank, schedule.ranks) {
            let holds = schedule.holds(rank, part);
            for (c, &root) in (0..).zip(terms.part(rank, part)) {
                let judged = match holds {
                    Holds::Copy { rank, part } => copied(schedule, terms, root, rank, part * schedule.chunks + c),
                    Holds::Reduction { part } => {
                        let chunk = part * schedule.chunks + c;
                        let last = &mut last[c as usize];
                        if (root != Term::UNKNOWN && *last == (root, chunk)) || right.contains(&(root, chunk)) {
                            continue;
                        }
                        let judged = reduced(schedule, terms, root, chunk, &mut times);
                        if judged.is_ok() {
                            right.insert((root, chunk));
                            *last = (root, chunk);
                        }
                        judged
                    }
                };
                if let Err(what) = judged {
                    let address = schedule.show(Address::output(rank, part * schedule.chunks + c));
                    findings.push(|| Finding::new(format!("{address} {what}")));
                }
            }
        }
    }
    findings
}

/// A chunk of an input in a user's words.
fn contribution(schedule: &Schedule, rank: u32, chunk: u32) -> String {
    let (part, c) = (chunk / schedule.chunks, chunk % schedule.chunks);
    match schedule.task.input_parts(rank, schedule.ranks) {
        0 | 1 => format!("chunk {chunk} of rank {rank}'s input"),
        _ if schedule.chunks == 1 => format!("part {part} of rank {rank}'s input"),
        _ => format!("chunk {c} of part {part} of rank {rank}'s input"),
    }
}

/// Whether `root` is chunk `chunk` of `rank`'s input and nothing else.
fn copied(schedule: &Schedule, terms: &Terms, root: Term, rank: u32, chunk: u32) -> Result<(), String> {
    let must = || contribution(schedule, rank, chunk);
    match terms.node(root) {
        Node::Input { rank: from, chunk: got } if (from, got) == (rank, chunk) => Ok(()),
        Node::Input { rank: from, chunk: got } => {
            Err(format!("holds {}, not {}", contribution(schedule, from, got), must()))
        }
        Node::Reduce(..) => Err(format!("holds a reduction, not {}", must())),
        Node::Unknown => Err("was never written".to_owned()),
    }
}

/// Whether `root` is the reduction of chunk `chunk` of every rank's input, each once.
fn reduced(schedule: &Schedule, terms: &Terms, root: Term, chunk: u32, times: &mut [u32]) -> Result<(), String> {
    times.fill(0);
    let mut stack = vec![root];
    // A tree of more nodes than this is wrong, however it goes on: this also bounds the walk of a shared one.
    let mut budget = 4 * u64::from(schedule.ranks);
    while let Some(term) = stack.pop() {
        match terms.node(term) {
            Node::Unknown if term == root => return Err("was never written".to_owned()),
            Node::Unknown => return Err("is made of memory that nobody wrote".to_owned()),
            Node::Input { rank, chunk: from } if from != chunk => {
                return Err(format!("holds {}", contribution(schedule, rank, from)));
            }
            Node::Input { rank, .. } => times[rank as usize] += 1,
            Node::Reduce(a, b) => stack.extend([a, b]),
        }
        budget -= 1;
        if budget == 0 {
            break;
        }
    }
    let those = |wanted: fn(u32) -> bool| -> Vec<u32> {
        (0..schedule.ranks).filter(|&rank| wanted(times[rank as usize])).collect()
    };
    let (missing, twice) = (those(|n| n == 0), those(|n| n > 1));
    // Cut short, so that nothing is known to be missing.
    if !stack.is_empty() && twice.is_empty() {
        return Err("holds more contributions than there are ranks".to_owned());
    }
    let missing = if stack.is_empty() { missing } else { Vec::new() };
    match (missing.is_empty(), twice.is_empty()) {
        (true, true) => Ok(()),
        (false, true) => Err(format!("lacks the contribution of rank {}", Ranks(&missing))),
        (true, false) => Err(format!("holds the contribution of rank {} more than once", Ranks(&twice))),
        (false, false) => Err(format!(
            "lacks the contribution of rank {} and holds that of rank {} more than once",
            Ranks(&missing),
            Ranks(&twice)
        )),
    }
}

/// Proof 5: ranks that hold the same reduction formed it alike. Copies cannot differ.
fn differences(schedule: &Schedule, terms: &Terms) -> Findings {
    let mut findings = Findings::default();
    let several = schedule.task.input_parts(0, schedule.ranks) > 1;
    let mut holders = FxHashMap::<u32, Vec<(u32, u32)>>::default();
    for rank in 0..schedule.ranks {
        for part in 0..schedule.task.output_parts(rank, schedule.ranks) {
            if let Holds::Reduction { part: of } = schedule.holds(rank, part) {
                holders.entry(of).or_default().push((rank, part));
            }
        }
    }
    let mut holders: Vec<_> = holders.into_iter().collect();
    holders.sort_unstable();
    for (of, holders) in holders {
        let Some((&(first, first_part), others)) = holders.split_first() else { continue };
        let expected = terms.part(first, first_part);
        // Whole parts first: a walk chunk by chunk through all ranks is slow where there are many.
        let others: Vec<(u32, u32)> =
            others.iter().copied().filter(|&(rank, part)| terms.part(rank, part) != expected).collect();
        if others.is_empty() {
            continue;
        }
        for (c, &expected) in expected.iter().enumerate() {
            let differing: Vec<u32> = others
                .iter()
                .filter(|&&(rank, part)| terms.part(rank, part)[c] != expected)
                .map(|&(rank, _)| rank)
                .collect();
            if !differing.is_empty() {
                let (s, verb) = if differing.len() == 1 { ("", "adds") } else { ("s", "add") };
                let ranks = Ranks(&differing);
                let of = if several { format!("part {of}, ") } else { String::new() };
                findings.push(|| {
                    Finding::new(format!("{of}chunk {c}: rank{s} {ranks} {verb} in another order than rank {first}"))
                });
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collective::Collective;

    /// One term with more partners than a chain holds: each pair is one reduction, whichever way round and however often.
    #[test]
    fn a_pair_of_terms_is_one_reduction() {
        let ranks = 3 * Known::MOST as u32;
        let mut terms = Terms::new(&Schedule::new("", Collective::AllReduce, ranks, 1));
        let mut known = Known::new(&terms);
        let last = terms.leaf(ranks - 1, 0);
        let others: Vec<Term> = (0..ranks - 1).map(|rank| terms.leaf(rank, 0)).collect();
        let made: Vec<Term> = others.iter().map(|&other| reduce(&mut terms, &mut known, other, last)).collect();
        for (&other, &term) in others.iter().zip(&made) {
            assert_eq!(terms.node(term), Node::Reduce(other, last));
            assert_eq!(reduce(&mut terms, &mut known, last, other), term);
            let higher = reduce(&mut terms, &mut known, term, last);
            assert_eq!((terms.node(higher), terms.registers(higher)), (Node::Reduce(term, last), 2));
            assert_eq!(reduce(&mut terms, &mut known, last, term), higher);
        }
        assert_eq!(terms.reductions.len(), 2 * made.len());
        assert_eq!(reduce(&mut terms, &mut known, Term::UNKNOWN, last), Term::UNKNOWN);
    }
}
