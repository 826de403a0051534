//! Proofs 4 to 6: what every output chunk is made of, symbolically and in exact order.
//!
//! Values are hash-consed trees of reductions over contributions, so that two ranks agree in every bit exactly when
//! their trees are the same number, and the golden can evaluate the same trees on real data.

use rustc_hash::FxHashMap;

use super::memory::{Memory, Short};
use super::report::{Finding, Findings};
use crate::collective::{Holds, Ranks};
use crate::schedule::{Address, AddressMap, Buffer, Granularity, Graph, Schedule};

/// A value: an index into [`Terms`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Term(u32);

impl Term {
    /// What nobody wrote, and whatever is made of it.
    const UNKNOWN: Self = Self(0);

    /// Its number: 0 is unknown, then come contributions, then reductions.
    pub(crate) fn number(self) -> u32 {
        self.0
    }
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
    /// Chunks of a part.
    chunks: u32,
    inputs: Inputs,
    reductions: Vec<(Term, Term)>,
    /// Registers that evaluating a reduction needs, deeper operand first.
    registers: Vec<u8>,
    /// First of each rank's outputs, and the end.
    first_output: Vec<u32>,
    outputs: Vec<Term>,
}

/// Contributions, which have the lowest numbers but for that of the unknown.
#[derive(Debug, Clone, Copy)]
struct Inputs {
    ranks: u32,
    /// Chunks of the input of every rank that has one.
    chunks: u32,
    /// The only rank that has an input, if it is only one.
    only: Option<u32>,
}

impl Inputs {
    fn new(schedule: &Schedule) -> Self {
        let only = schedule.task.collective.only_root_gives().then_some(schedule.task.root);
        let chunks = schedule.buffer_chunks(Buffer::Input, only.unwrap_or(0));
        Self { ranks: schedule.ranks, chunks, only }
    }

    fn len(&self) -> u32 {
        if self.only.is_some() { self.chunks } else { self.ranks * self.chunks }
    }

    fn term(&self, rank: u32, chunk: u32) -> Term {
        Term(1 + if self.only.is_some() { 0 } else { rank * self.chunks } + chunk)
    }

    /// Rank and chunk of a term that is a contribution.
    fn of(&self, term: Term) -> Option<(u32, u32)> {
        let number = term.0.checked_sub(1).filter(|&number| number < self.len())?;
        let (rank, chunk) = (number / self.chunks, number % self.chunks);
        Some((self.only.unwrap_or(rank), chunk))
    }
}

impl Terms {
    fn new(schedule: &Schedule) -> Self {
        let outputs = (0..schedule.ranks).map(|rank| schedule.buffer_chunks(Buffer::Output, rank));
        let mut first_output = vec![0];
        first_output.extend(outputs.scan(0, |end, chunks| {
            *end += chunks;
            Some(*end)
        }));
        Self {
            chunks: schedule.chunks,
            inputs: Inputs::new(schedule),
            reductions: Vec::new(),
            registers: Vec::new(),
            first_output,
            outputs: Vec::new(),
        }
    }

    /// How many terms are contributions, the chunks of one rank's, and the only rank that gives if it is one.
    pub(crate) fn contributions(&self) -> (u32, u32, Option<u32>) {
        (self.inputs.len(), self.inputs.chunks, self.inputs.only)
    }

    /// The numbers of the operands of every reduction, in order.
    pub(crate) fn reductions(&self) -> impl Iterator<Item = [u32; 2]> {
        self.reductions.iter().map(|&(a, b)| [a.0, b.0])
    }

    /// What `term` is.
    pub fn node(&self, term: Term) -> Node {
        match term.0.checked_sub(1 + self.inputs.len()) {
            Some(index) => {
                let (a, b) = self.reductions[index as usize];
                Node::Reduce(a, b)
            }
            None => self.inputs.of(term).map_or(Node::Unknown, |(rank, chunk)| Node::Input { rank, chunk }),
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
        match term.0.checked_sub(1 + self.inputs.len()) {
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
    /// Output chunks that are not what they must be.
    pub(super) wrong_outputs: usize,
    pub(super) differing: Findings,
    pub(super) uninitialised: Findings,
}

const CHUNKS: &str = "chunks and slots";
const TERMS: &str = "reductions of chunks";

/// `made` sees what every instruction makes, chunk by chunk, in the order of execution.
///
/// # Errors
/// [`Short`] of memory.
pub(super) fn evaluate(
    schedule: &Schedule,
    map: &AddressMap,
    graph: &Graph,
    order: &[u32],
    memory: &mut Memory,
    mut made: impl FnMut(u32, Term),
) -> Result<Symbolic, Short> {
    let mut terms = Terms::new(schedule);
    let mut known = Known::new(&terms, memory)?;
    let mut values = Values::new(schedule, map, terms.inputs, memory)?;
    let ragged = schedule.granularity == Granularity::Ragged;
    let (mut uninitialised, mut cut_short) = (Findings::default(), Findings::default());
    for &id in order {
        let instruction = graph.instruction(schedule, id);
        for k in 0..instruction.chunks {
            let mut read = |start: Address| {
                let address = Address { chunk: start.chunk + k, ..start };
                let value = values.at(map, address);
                if value == Term::UNKNOWN {
                    uninitialised.push(|| {
                        let (site, shown) = (graph.site(schedule, id), schedule.show(address));
                        let text = format!("{site} reads {shown}, which holds nothing that anybody wrote");
                        Finding::new(text).at(site).over([address])
                    });
                }
                value
            };
            let Some((&first, rest)) = instruction.from.split_first() else { continue };
            let mut value = read(first);
            for &operand in rest {
                let operand = read(operand);
                value = reduce(&mut terms, &mut known, memory, value, operand)?;
            }
            made(id, value);
            let index = known.index_in_part(&terms, value).unwrap_or_default();
            for &to in &instruction.to {
                let to = Address { chunk: to.chunk + k, ..to };
                values.set(map, to, value);
                // The last chunks of a payload may be shorter, and in user memory there is nothing behind them.
                if ragged && value != Term::UNKNOWN && to.buffer != Buffer::Slot && to.chunk % schedule.chunks > index {
                    cut_short.push(|| {
                        let (site, shown) = (graph.site(schedule, id), schedule.show(to));
                        let text = format!(
                            "{site} puts a chunk {index} into {shown}, which may be shorter and would cut it; use a chunk slot"
                        );
                        Finding::new(text).at(site).over([to])
                    });
                }
            }
        }
    }
    drop(known);
    terms.outputs = memory.filled(CHUNKS, Term::UNKNOWN, *terms.first_output.last().unwrap_or(&0) as usize)?;
    let addresses = (0..schedule.ranks).flat_map(|rank| {
        (0..schedule.buffer_chunks(Buffer::Output, rank)).map(move |chunk| Address::output(rank, chunk))
    });
    for (at, address) in addresses.enumerate() {
        terms.outputs[at] = values.at(map, address);
    }
    drop(values);
    let mut wrong = postcondition(schedule, &terms, memory)?;
    let wrong_outputs = wrong.count();
    wrong.append(cut_short);
    let differing = differences(schedule, &terms);
    Ok(Symbolic { terms, wrong, wrong_outputs, differing, uninitialised })
}

/// What every place holds. Inputs that nobody may write hold what they are.
struct Values {
    inputs: Inputs,
    first_place: usize,
    held: Vec<Term>,
}

impl Values {
    fn new(schedule: &Schedule, map: &AddressMap, inputs: Inputs, memory: &mut Memory) -> Result<Self, Short> {
        let first_place = if map.is_only_read(Buffer::Input) { map.all(Buffer::Input).end } else { 0 };
        let held = memory.filled(CHUNKS, Term::UNKNOWN, map.len() - first_place)?;
        let mut values = Self { inputs, first_place, held };
        if !map.is_only_read(Buffer::Input) {
            for rank in 0..schedule.ranks {
                for chunk in 0..schedule.buffer_chunks(Buffer::Input, rank) {
                    values.set(map, Address::input(rank, chunk), inputs.term(rank, chunk));
                }
            }
        }
        Ok(values)
    }

    fn at(&self, map: &AddressMap, address: Address) -> Term {
        match map.is_only_read(address.buffer) {
            true => self.inputs.term(address.rank, address.chunk),
            false => self.held[map.index(address) - self.first_place],
        }
    }

    fn set(&mut self, map: &AddressMap, address: Address, value: Term) {
        self.held[map.index(address) - self.first_place] = value;
    }
}

fn reduce(terms: &mut Terms, known: &mut Known, memory: &mut Memory, a: Term, b: Term) -> Result<Term, Short> {
    if a == Term::UNKNOWN || b == Term::UNKNOWN {
        return Ok(Term::UNKNOWN);
    }
    let next = Term(1 + terms.inputs.len() + terms.reductions.len() as u32);
    let term = known.entry(terms, memory, a.min(b), a.max(b), next)?;
    if term == next {
        let (left, right) = (terms.registers(a), terms.registers(b));
        let registers = if left == right { left + 1 } else { left.max(right) };
        memory.push(TERMS, &mut terms.reductions, (a, b))?;
        // Every further register doubles the tree, so 64 is out of reach.
        memory.push(TERMS, &mut terms.registers, registers.min(u8::MAX.into()) as u8)?;
    }
    Ok(term)
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
    chain: Vec<Link>,
    /// Those in chains that are full, by lesser and greater operand.
    more: FxHashMap<(Term, Term), Term>,
}

/// What is known of a reduction.
struct Link {
    /// Its lesser operand.
    lesser: Term,
    /// The reduction before it of the same greater one.
    before: Term,
    /// Index, within its part, of a chunk that it is made of: that of the lesser operand. As a rule this is an input.
    index: u32,
}

/// Bytes that an entry of a map or a set takes at most, while it grows.
const ENTRY: u64 = 64;

impl Known {
    /// Longest chain.
    const MOST: usize = 8;

    fn new(terms: &Terms, memory: &mut Memory) -> Result<Self, Short> {
        let first = 1 + terms.inputs.len();
        let latest = memory.filled(CHUNKS, Term::UNKNOWN, first as usize)?;
        Ok(Self { first, latest, chain: Vec::new(), more: FxHashMap::default() })
    }

    /// The reduction of these two; if there is none yet, it is `next`, which has not been given before.
    fn entry(
        &mut self,
        terms: &Terms,
        memory: &mut Memory,
        lesser: Term,
        greater: Term,
        next: Term,
    ) -> Result<Term, Short> {
        let latest = self.latest[greater.0 as usize];
        let (mut at, mut length) = (latest, 0);
        while at != Term::UNKNOWN {
            let Link { lesser: other, before, .. } = self.chain[(at.0 - self.first) as usize];
            if other == lesser {
                return Ok(at);
            }
            (at, length) = (before, length + 1);
        }
        let full = length >= Self::MOST;
        if full {
            if let Some(&known) = self.more.get(&(lesser, greater)) {
                return Ok(known);
            }
            memory.take(TERMS, ENTRY)?;
            self.more.insert((lesser, greater), next);
        } else {
            self.latest[greater.0 as usize] = next;
        }
        // Every reduction has its place in both, so that numbers are indices.
        let index = self.index_in_part(terms, lesser).unwrap_or_default();
        let before = if full { Term::UNKNOWN } else { latest };
        memory.push(TERMS, &mut self.chain, Link { lesser, before, index })?;
        memory.push(TERMS, &mut self.latest, Term::UNKNOWN)?;
        Ok(next)
    }

    /// Index, within its part, of the chunk that `term` is made of; of one that is made of several, any of them.
    fn index_in_part(&self, terms: &Terms, term: Term) -> Option<u32> {
        match term.0.checked_sub(self.first) {
            Some(reduction) => Some(self.chain[reduction as usize].index),
            None => terms.inputs.of(term).map(|(_, chunk)| chunk % terms.chunks),
        }
    }
}

/// Proof 4: every part of every output holds what the task says.
fn postcondition(schedule: &Schedule, terms: &Terms, memory: &mut Memory) -> Result<Findings, Short> {
    let mut findings = Findings::default();
    // Whether a term is the reduction of a chunk, so that each is walked through once.
    let mut judged = FxHashMap::<(Term, u32), bool>::default();
    // The last right one in this place of a part, looked at first: nearly always all ranks hold the same.
    let chunks = if schedule.task.collective.reduces() { schedule.chunks as usize } else { 0 };
    let mut last = memory.filled(CHUNKS, (Term::UNKNOWN, 0), chunks)?;
    let mut times = vec![0_u32; schedule.ranks as usize];
    for rank in 0..schedule.ranks {
        for part in 0..schedule.task.output_parts(rank, schedule.ranks) {
            let holds = schedule.holds(rank, part);
            for (c, &root) in (0..).zip(terms.part(rank, part)) {
                let found = |what: &str| {
                    let address = Address::output(rank, part * schedule.chunks + c);
                    Finding::new(format!("{} {what}", schedule.show(address))).over([address])
                };
                match holds {
                    _ if root == Term::UNKNOWN => findings.push(|| found("was never written")),
                    Holds::Copy { rank, part } => {
                        let chunk = part * schedule.chunks + c;
                        if terms.node(root) != (Node::Input { rank, chunk }) {
                            findings.push(|| {
                                let wrong = found(&instead_of_copy(schedule, terms, root, rank, chunk));
                                if matches!(terms.node(root), Node::Input { .. }) { wrong.lacks([rank]) } else { wrong }
                            });
                        }
                    }
                    Holds::Reduction { part } => {
                        let chunk = part * schedule.chunks + c;
                        let last = &mut last[c as usize];
                        let known =
                            if *last == (root, chunk) { Some(true) } else { judged.get(&(root, chunk)).copied() };
                        match known {
                            Some(true) => {}
                            // Only counted, so it need not be looked at again.
                            Some(false) if findings.is_full() => findings.push(|| found("is wrong")),
                            _ => {
                                let reduced = reduced(schedule, terms, root, chunk, &mut times);
                                if known.is_none() {
                                    memory.take(TERMS, ENTRY)?;
                                    judged.insert((root, chunk), reduced.is_ok());
                                }
                                match reduced {
                                    Ok(()) => *last = (root, chunk),
                                    Err(wrong) => {
                                        findings.push(|| found(&wrong.what).lacks(wrong.lacks).twice(wrong.twice));
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    Ok(findings)
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

/// What `root` is, which must be chunk `chunk` of `rank`'s input and is not.
fn instead_of_copy(schedule: &Schedule, terms: &Terms, root: Term, rank: u32, chunk: u32) -> String {
    let must = contribution(schedule, rank, chunk);
    match terms.node(root) {
        Node::Input { rank, chunk } => format!("holds {}, not {must}", contribution(schedule, rank, chunk)),
        Node::Reduce(..) => format!("holds a reduction, not {must}"),
        Node::Unknown => "was never written".to_owned(),
    }
}

/// What is wrong with a reduction, and the ranks whose contributions are: none where that is not known.
struct Wrong {
    what: String,
    lacks: Vec<u32>,
    twice: Vec<u32>,
}

impl From<String> for Wrong {
    fn from(what: String) -> Self {
        Self { what, lacks: Vec::new(), twice: Vec::new() }
    }
}

/// Whether `root` is the reduction of chunk `chunk` of every rank's input, each once.
fn reduced(schedule: &Schedule, terms: &Terms, root: Term, chunk: u32, times: &mut [u32]) -> Result<(), Wrong> {
    times.fill(0);
    let mut stack = vec![root];
    // A tree of more nodes than this is wrong, however it goes on: this also bounds the walk of a shared one.
    let mut budget = 4 * u64::from(schedule.ranks);
    while let Some(term) = stack.pop() {
        match terms.node(term) {
            Node::Unknown => return Err("is made of memory that nobody wrote".to_owned().into()),
            Node::Input { rank, chunk: from } if from != chunk => {
                return Err(format!("holds {}", contribution(schedule, rank, from)).into());
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
        return Err("holds more contributions than there are ranks".to_owned().into());
    }
    let missing = if stack.is_empty() { missing } else { Vec::new() };
    let what = match (missing.is_empty(), twice.is_empty()) {
        (true, true) => return Ok(()),
        (false, true) => format!("lacks the contribution of rank {}", Ranks(&missing)),
        (true, false) => format!("holds the contribution of rank {} more than once", Ranks(&twice)),
        (false, false) => format!(
            "lacks the contribution of rank {} and holds that of rank {} more than once",
            Ranks(&missing),
            Ranks(&twice)
        ),
    };
    Err(Wrong { what, lacks: missing, twice })
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
            let others = others.iter().filter(|&&(rank, part)| terms.part(rank, part)[c] != expected);
            let differing: Vec<u32> = others.clone().map(|&(rank, _)| rank).collect();
            if !differing.is_empty() {
                let (s, verb) = if differing.len() == 1 { ("", "adds") } else { ("s", "add") };
                let ranks = Ranks(&differing);
                let of = if several { format!("part {of}, ") } else { String::new() };
                let output = |(rank, part)| Address::output(rank, part * schedule.chunks + c as u32);
                findings.push(|| {
                    Finding::new(format!("{of}chunk {c}: rank{s} {ranks} {verb} in another order than rank {first}"))
                        .over([output((first, first_part))])
                        .over(others.copied().map(output))
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

    fn memory() -> Memory {
        Memory::new(&Default::default(), None)
    }

    /// One term with more partners than a chain holds: each pair is one reduction, whichever way round and however often.
    #[test]
    fn a_pair_of_terms_is_one_reduction() {
        let ranks = 3 * Known::MOST as u32;
        let mut terms = Terms::new(&Schedule::new("", Collective::AllReduce, ranks, 1));
        let mut known = Known::new(&terms, &mut memory()).unwrap();
        let mut reduce = |terms: &mut Terms, a, b| reduce(terms, &mut known, &mut memory(), a, b).unwrap();
        let last = terms.inputs.term(ranks - 1, 0);
        let others: Vec<Term> = (0..ranks - 1).map(|rank| terms.inputs.term(rank, 0)).collect();
        let made: Vec<Term> = others.iter().map(|&other| reduce(&mut terms, other, last)).collect();
        for (&other, &term) in others.iter().zip(&made) {
            assert_eq!(terms.node(term), Node::Reduce(other, last));
            assert_eq!(reduce(&mut terms, last, other), term);
            let higher = reduce(&mut terms, term, last);
            assert_eq!((terms.node(higher), terms.registers(higher)), (Node::Reduce(term, last), 2));
            assert_eq!(reduce(&mut terms, last, term), higher);
        }
        assert_eq!(terms.reductions.len(), 2 * made.len());
        assert_eq!(reduce(&mut terms, Term::UNKNOWN, last), Term::UNKNOWN);
    }

    /// What a term is made of is known when it is made: nothing is walked through again, however deep it is.
    #[test]
    fn the_chunk_of_a_deep_term_is_known() {
        const DEEP: usize = 500_000;
        let (chunks, mut memory) = (2, memory());
        let mut terms = Terms::new(&Schedule::new("", Collective::AllReduce, 2, chunks));
        let mut known = Known::new(&terms, &mut memory).unwrap();
        for chunk in 0..chunks {
            let mut term = terms.inputs.term(1, chunk);
            for _ in 0..DEEP {
                term = reduce(&mut terms, &mut known, &mut memory, term, term).unwrap();
                // Would not come back if it walked: the sum of all depths is 250 milliards.
                assert_eq!(known.index_in_part(&terms, term), Some(chunk));
            }
        }
        assert_eq!((known.chain.len(), known.index_in_part(&terms, Term::UNKNOWN)), (chunks as usize * DEEP, None));
    }
}
