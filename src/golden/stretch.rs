//! Stretches of output: elements that one tree of reductions gives, each from the same elements of its inputs.
//!
//! A golden is had stretch by stretch, and of a stretch piece by piece, so data may be larger than memory.

use std::ops::Range;

use rustc_hash::FxHashMap;

use crate::collective::Op;
use crate::element::{Element, scale, with_op};
use crate::payload::Payload;
use crate::proof::{Node, Proved, Term};

/// How subnormal numbers are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Subnormals {
    /// As numbers.
    Kept,
    /// As a device does that reads and writes them as zero.
    Flushed,
}

/// Elements of an output that one tree of reductions gives.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stretch {
    /// Ranks that must get it.
    pub ranks: Vec<u32>,
    /// Which elements of their outputs.
    pub elements: Range<usize>,
    /// What goes in: a rank, and which element of its input goes into the first one here.
    pub inputs: Vec<(u32, usize)>,
    /// Operands before their reduction.
    postfix: Vec<Step>,
    op: Op,
    /// Of an average.
    contributions: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// One of the inputs.
    Input(usize),
    /// The last two.
    Reduce,
}

/// Ranks with the same outputs, for each of those once; and where each rank is among them.
pub(super) fn alike(proved: &Proved) -> (Vec<Vec<u32>>, Vec<usize>) {
    let mut known = FxHashMap::<&[Term], usize>::default();
    let mut ranks_of = Vec::<Vec<u32>>::new();
    let of_rank = (0..proved.schedule().ranks).map(|rank| {
        let group = *known.entry(proved.terms().outputs(rank)).or_insert(ranks_of.len());
        if group == ranks_of.len() {
            ranks_of.push(Vec::new());
        }
        ranks_of[group].push(rank);
        group
    });
    let of_rank = of_rank.collect();
    (ranks_of, of_rank)
}

/// The stretches that `ranks`, which get the same, must get.
pub(super) fn of_ranks<'a>(
    proved: &'a Proved,
    payload: &'a Payload,
    op: Op,
    ranks: &'a [u32],
) -> impl Iterator<Item = Stretch> + 'a {
    let (schedule, terms) = (proved.schedule(), proved.terms());
    let outputs = ranks.first().map_or(&[][..], |&rank| terms.outputs(rank));
    (0..).zip(outputs).map(move |(chunk, &term)| {
        let mut inputs = Vec::new();
        let mut postfix = Vec::new();
        for node in terms.evaluation(term) {
            match node {
                // Proofs leave none of these.
                Node::Unknown => {}
                Node::Input { rank, chunk } => {
                    postfix.push(Step::Input(inputs.len()));
                    inputs.push((rank, in_buffer(payload, chunk).start));
                }
                Node::Reduce(..) => postfix.push(Step::Reduce),
            }
        }
        let (op, contributions) = (schedule.task.collective.op(op).over(schedule.ranks), schedule.ranks);
        Stretch { ranks: ranks.to_vec(), elements: in_buffer(payload, chunk), inputs, postfix, op, contributions }
    })
}

/// Elements of chunk `chunk` in a user's buffer, counted through all its parts.
fn in_buffer(payload: &Payload, chunk: u32) -> Range<usize> {
    let (part, elements) = (chunk / payload.chunks, payload.elements(chunk % payload.chunks));
    let start = part as usize * payload.count;
    start + elements.start..start + elements.end
}

impl Stretch {
    /// Writes what comes of `inputs`, as many elements of each of [`Self::inputs`] as `into` has: a piece of the stretch, the
    /// same of all.
    ///
    /// Nothing is written where an input is missing or shorter.
    pub fn evaluate<T: Element>(&self, inputs: &[&[T]], subnormals: Subnormals, into: &mut [T]) {
        enum Value<'a, T> {
            Input(&'a [T]),
            Computed(Vec<T>),
        }
        impl<T> Value<'_, T> {
            fn elements(&self) -> &[T] {
                match self {
                    Self::Input(elements) => elements,
                    Self::Computed(elements) => elements,
                }
            }
        }
        let mut stack: Vec<Value<'_, T>> = Vec::new();
        let mut spare: Vec<Vec<T>> = Vec::new();
        for step in &self.postfix {
            match *step {
                Step::Input(index) => {
                    let Some(input) = inputs.get(index).and_then(|input| input.get(..into.len())) else { return };
                    stack.push(match scale::<T>(self.op, self.contributions) {
                        None => Value::Input(input),
                        Some(by) => Value::Computed(input.iter().map(|&x| product(subnormals, x, by)).collect()),
                    });
                }
                Step::Reduce => {
                    let (Some(b), Some(a)) = (stack.pop(), stack.pop()) else { return };
                    let mut sum = spare.pop().unwrap_or_default();
                    sum.clear();
                    let (op, pairs) = (self.op, a.elements().iter().zip(b.elements()));
                    match subnormals {
                        Subnormals::Kept => with_op!(op, OP => sum.extend(pairs.map(|(&a, &b)| T::combine(OP, a, b)))),
                        Subnormals::Flushed => sum.extend(pairs.map(|(&a, &b)| T::combine_flushed(op, a, b))),
                    }
                    spare.extend([a, b].into_iter().filter_map(|value| match value {
                        Value::Computed(elements) => Some(elements),
                        Value::Input(_) => None,
                    }));
                    stack.push(Value::Computed(sum));
                }
            }
        }
        if let Some(value) = stack.pop() {
            into.copy_from_slice(value.elements());
        }
    }
}

fn product<T: Element>(subnormals: Subnormals, a: T, b: T) -> T {
    match subnormals {
        Subnormals::Kept => T::combine(Op::Prod, a, b),
        Subnormals::Flushed => T::combine_flushed(Op::Prod, a, b),
    }
}
