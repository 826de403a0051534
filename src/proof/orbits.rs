//! Proofs 4 to 6 where the lanes of rank 0 stand for all: what its output is made of, up to turns.
//!
//! Apart from `result`, which makes the trees that executors and golden need, one for every rank. Here a tree and all that it
//! becomes by turning are one number, and only whether everything holds is told: what does not is looked at rank by rank.

use rustc_hash::FxHashMap;

use super::memory::{Memory, Short};
use super::turn::{Turn, Turns};
use crate::collective::{Collective, Holds};
use crate::schedule::{Address, AddressMap, Buffer, Granularity, Graph, Schedule};

/// A tree, and by how much it is turned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Value {
    tree: u32,
    turn: u32,
}

/// What nobody wrote.
const UNKNOWN: Value = Value { tree: u32::MAX, turn: 0 };

struct Tree {
    /// The chunk of an input that all of it is made of, where it is not turned.
    chunk: u32,
    /// Its operands, in `Values::operands`; of a contribution none.
    first: u32,
    count: u32,
}

struct Values<'a> {
    turn: &'a Turn,
    /// First those of rank 0's input, chunk by chunk.
    trees: Vec<Tree>,
    operands: Vec<Value>,
    /// Reductions of two, by both and how far the second is turned against the first.
    pairs: FxHashMap<(u32, u32, u32), u32>,
    /// Whether a tree has each rank's contribution once.
    complete: FxHashMap<u32, bool>,
}

const VALUES: &str = "chunks and slots";
const TREES: &str = "reductions of chunks";
/// Bytes that an entry of a map takes at most, while it grows.
const ENTRY: u64 = 64;

/// Whether all three proofs hold. `schedule` has the lanes of rank 0; `alike` says, by instruction, whether all ranks take its
/// operands in the same turned order.
///
/// # Errors
/// [`Short`] of memory.
pub(super) fn hold(
    schedule: &Schedule,
    map: &AddressMap,
    graph: &Graph,
    order: &[u32],
    turn: &Turn,
    alike: &[bool],
    memory: &mut Memory,
) -> Result<bool, Short> {
    let inputs = schedule.buffer_chunks(Buffer::Input, 0);
    let contribution = |chunk| Tree { chunk, first: 0, count: 0 };
    memory.take(VALUES, u64::from(inputs) * size_of::<Tree>() as u64)?;
    let trees = (0..inputs).map(contribution).collect();
    let (operands, pairs, complete) = (Vec::new(), FxHashMap::default(), FxHashMap::default());
    let mut values = Values { turn, trees, operands, pairs, complete };
    let mut held = memory.filled(VALUES, UNKNOWN, turn.places())?;
    for chunk in 0..inputs {
        held[turn.place(map, Address::input(0, chunk)).0] = Value { tree: chunk, turn: 0 };
    }
    let ragged = schedule.granularity == Granularity::Ragged;
    let mut read = Vec::new();
    for &id in order {
        let instruction = graph.instruction(schedule, id);
        for k in 0..instruction.chunks {
            let at = |start: Address| Address { chunk: start.chunk + k, ..start };
            read.clear();
            for &from in &instruction.from {
                let (place, by) = turn.place(map, at(from));
                if held[place] == UNKNOWN {
                    return Ok(false);
                }
                read.push(values.turned(held[place], by));
            }
            let Some(&first) = read.first() else { continue };
            // Whoever mixes chunks may be right, but is not turned as one.
            let chunk = values.chunk(first);
            if read.iter().any(|&operand| values.chunk(operand) != chunk) {
                return Ok(false);
            }
            let value = match alike[id as usize] {
                true => read[1..].iter().try_fold(first, |sum, &operand| values.pair(memory, sum, operand))?,
                false => values.list(memory, &read)?,
            };
            for &to in &instruction.to {
                let to = at(to);
                // Then no chunk goes where one is shorter.
                if ragged && to.buffer != Buffer::Slot && to.chunk % schedule.chunks != chunk % schedule.chunks {
                    return Ok(false);
                }
                let (place, by) = turn.place(map, to);
                held[place] = values.turned(value, turn.back(by));
            }
        }
    }
    let output = |chunk| held[turn.place(map, Address::output(0, chunk)).0];
    for part in 0..schedule.task.output_parts(0, schedule.ranks) {
        let holds = schedule.holds(0, part);
        for c in 0..schedule.chunks {
            let value = output(part * schedule.chunks + c);
            let right = value != UNKNOWN
                && match holds {
                    Holds::Copy { rank, part } => {
                        let copied = values.trees[value.tree as usize].count == 0 && value.turn == rank;
                        copied && values.chunk(value) == part * schedule.chunks + c
                    }
                    Holds::Reduction { part } => {
                        values.chunk(value) == part * schedule.chunks + c
                            && values.is_complete(memory, value.tree, schedule.ranks)?
                    }
                };
            if !right {
                return Ok(false);
            }
        }
    }
    // Of the other reductions nobody but one rank holds a chunk. What the next rank holds is what this one does, turned by
    // one: if that is the same, so it is all around.
    let several = schedule.task.collective == Collective::AllReduce;
    let same = |c: u32| values.turned(output(c), 1) == output(turn.chunk(Buffer::Output, c, 1));
    Ok(!several || (0..schedule.chunks).all(same))
}

impl Values<'_> {
    fn turned(&self, value: Value, by: u32) -> Value {
        Value { turn: self.turn.rank(value.turn, by), ..value }
    }

    /// The chunk of an input that all of `value` is made of.
    fn chunk(&self, value: Value) -> u32 {
        self.turn.chunk(Buffer::Input, self.trees[value.tree as usize].chunk, value.turn)
    }

    /// How far `b` is turned against `a`.
    fn between(&self, a: Value, b: Value) -> u32 {
        self.turn.rank(b.turn, self.turn.back(a.turn))
    }

    /// The reduction of two. As in `result`, either way round it is the same.
    fn pair(&mut self, memory: &mut Memory, a: Value, b: Value) -> Result<Value, Short> {
        let ways = [(a.tree, b.tree, self.between(a, b)), (b.tree, a.tree, self.between(b, a))];
        let (key, [a, b]) = if ways[0] <= ways[1] { (ways[0], [a, b]) } else { (ways[1], [b, a]) };
        if let Some(&tree) = self.pairs.get(&key) {
            return Ok(Value { tree, turn: a.turn });
        }
        memory.take(TREES, ENTRY)?;
        let back = self.turn.back(a.turn);
        let operands = [self.turned(a, back), self.turned(b, back)];
        let Value { tree, .. } = self.tree(memory, &operands)?;
        self.pairs.insert(key, tree);
        Ok(Value { tree, turn: a.turn })
    }

    /// A reduction of which another rank's is not this one turned, since it has another order: equal to itself only.
    fn list(&mut self, memory: &mut Memory, operands: &[Value]) -> Result<Value, Short> {
        self.tree(memory, operands)
    }

    fn tree(&mut self, memory: &mut Memory, operands: &[Value]) -> Result<Value, Short> {
        let (chunk, first, tree) = (self.chunk(operands[0]), self.operands.len() as u32, self.trees.len() as u32);
        for &operand in operands {
            memory.push(TREES, &mut self.operands, operand)?;
        }
        memory.push(TREES, &mut self.trees, Tree { chunk, first, count: operands.len() as u32 })?;
        Ok(Value { tree, turn: 0 })
    }

    /// Whether `tree` has the contribution of each rank once. Then it has so, whatever the turn.
    fn is_complete(&mut self, memory: &mut Memory, tree: u32, ranks: u32) -> Result<bool, Short> {
        if let Some(&known) = self.complete.get(&tree) {
            return Ok(known);
        }
        memory.take(TREES, ENTRY)?;
        let mut seen = vec![false; ranks as usize];
        let (mut stack, mut all, mut once) = (vec![Value { tree, turn: 0 }], 0, true);
        while let Some(value) = stack.pop() {
            let Tree { first, count, .. } = self.trees[value.tree as usize];
            if count == 0 {
                once &= !std::mem::replace(&mut seen[value.turn as usize], true);
                all += 1;
            }
            if !once {
                break;
            }
            let operands = &self.operands[first as usize..(first + count) as usize];
            stack.extend(operands.iter().map(|&operand| self.turned(operand, value.turn)));
        }
        let complete = once && all == ranks;
        self.complete.insert(tree, complete);
        Ok(complete)
    }
}
