//! The expected result: each output chunk's own tree of additions, evaluated on the CPU in the element's precision.
//!
//! Because the order comes from the schedule's proof, a device must agree in every bit. Stated exceptions: payloads of
//! NaN, and devices that flush subnormals to zero. A second golden, of higher precision, has no order and gives the
//! rounding error.

use std::cell::OnceCell;
use std::ops::Range;

use rustc_hash::FxHashMap;

use crate::buffers::{BufferError, UserBuffer};
use crate::collective::{Holds, Op};
use crate::element::{Element, scale, with_op};
use crate::payload::Payload;
use crate::proof::{Node, Proved, Term, Terms};

/// Elements that are evaluated together: small enough for the first-level cache, large enough to amortise the tree walk.
const BLOCK: usize = 1024;

/// Data that a launch of the schedule would not take, or not give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what each field is")]
#[non_exhaustive]
pub enum GoldenError {
    /// Not one input, or output, for each rank, or one of another length.
    #[error(transparent)]
    Buffers(#[from] BufferError),
    /// A payload that was cut for another schedule or another type.
    #[error(
        "a payload of {count} elements of {element_bytes} bytes is cut otherwise by this schedule; let Proved::payload cut it"
    )]
    Payload { count: usize, element_bytes: usize },
}

/// Whether these are inputs of a launch of `proved` over `payload`.
fn check_inputs<T: Element>(proved: &Proved, payload: &Payload, inputs: &[&[T]]) -> Result<(), GoldenError> {
    let &Payload { count, element_bytes, .. } = payload;
    if proved.payload(count, T::TYPE).as_ref() != Ok(payload) {
        return Err(GoldenError::Payload { count, element_bytes });
    }
    Ok(proved.extents(count).check(UserBuffer::Input, inputs.iter().map(|input| input.len()))?)
}

/// Expected outputs of all ranks; ranks that expect the same share it.
#[derive(Debug, Clone)]
pub struct Golden<T> {
    distinct: Vec<Vec<T>>,
    of_rank: Vec<usize>,
}

/// How subnormal numbers are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subnormals {
    Kept,
    Flushed,
}

impl<T: Element> Golden<T> {
    /// Evaluates what every rank must get from `inputs`, one slice per rank, empty where it has none.
    ///
    /// # Errors
    /// [`GoldenError`].
    pub fn new(proved: &Proved, payload: &Payload, op: Op, inputs: &[&[T]]) -> Result<Self, GoldenError> {
        check_inputs(proved, payload, inputs)?;
        Ok(Self::evaluate(proved, payload, op, inputs, Subnormals::Kept))
    }

    /// The same on a device that reads and writes subnormals as zero.
    ///
    /// # Errors
    /// [`GoldenError`].
    pub fn flushed(proved: &Proved, payload: &Payload, op: Op, inputs: &[&[T]]) -> Result<Self, GoldenError> {
        check_inputs(proved, payload, inputs)?;
        Ok(Self::evaluate(proved, payload, op, inputs, Subnormals::Flushed))
    }

    fn evaluate(proved: &Proved, payload: &Payload, op: Op, inputs: &[&[T]], subnormals: Subnormals) -> Self {
        let op = proved.schedule().task.collective.op(op);
        let terms = proved.terms();
        let mut known = FxHashMap::<&[Term], usize>::default();
        let mut distinct = Vec::new();
        let of_rank = (0..proved.schedule().ranks)
            .map(|rank| {
                let outputs = terms.outputs(rank);
                *known.entry(outputs).or_insert_with(|| {
                    distinct.push(output(terms, outputs, payload, op, inputs, subnormals));
                    distinct.len() - 1
                })
            })
            .collect();
        Self { distinct, of_rank }
    }

    /// What `rank` must get; nothing where there is no such rank.
    pub fn expected(&self, rank: u32) -> &[T] {
        self.of_rank.get(rank as usize).map_or(&[], |&index| &self.distinct[index])
    }

    /// Every different output once, with the ranks that must get it: at least one.
    pub fn distinct(&self) -> impl Iterator<Item = (&[T], Vec<u32>)> {
        self.distinct.iter().enumerate().map(|(index, output)| {
            let ranks = (0..).zip(&self.of_rank).filter(|&(_, &of_rank)| of_rank == index);
            (output.as_slice(), ranks.map(|(rank, _)| rank).collect())
        })
    }

    /// How many elements each rank must get.
    pub fn lengths(&self) -> impl ExactSizeIterator<Item = usize> {
        self.of_rank.iter().map(|&index| self.distinct[index].len())
    }
}

fn output<T: Element>(
    terms: &Terms,
    outputs: &[Term],
    payload: &Payload,
    op: Op,
    inputs: &[&[T]],
    subnormals: Subnormals,
) -> Vec<T> {
    let mut expected = vec![T::poison(); outputs.len() / payload.chunks as usize * payload.count];
    for (chunk, &term) in (0..).zip(outputs) {
        let elements = in_buffer(payload, chunk);
        let postfix = terms.evaluation(term);
        let mut start = elements.start;
        while start < elements.end {
            let end = (start + BLOCK).min(elements.end);
            let offset = start - elements.start;
            block(&postfix, payload, op, inputs, offset, subnormals, &mut expected[start..end]);
            start = end;
        }
    }
    expected
}

/// Elements of chunk `chunk` in a user's buffer, counted through all its parts.
fn in_buffer(payload: &Payload, chunk: u32) -> Range<usize> {
    let (part, elements) = (chunk / payload.chunks, payload.elements(chunk % payload.chunks));
    let start = part as usize * payload.count;
    start + elements.start..start + elements.end
}

/// Evaluates `into.len()` elements, `offset` elements into the chunk.
fn block<T: Element>(
    postfix: &[Node],
    payload: &Payload,
    op: Op,
    inputs: &[&[T]],
    offset: usize,
    subnormals: Subnormals,
    into: &mut [T],
) {
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
    for node in postfix {
        match *node {
            Node::Unknown => return,
            Node::Input { rank, chunk } => {
                let start = in_buffer(payload, chunk).start + offset;
                let input = &inputs[rank as usize][start..start + into.len()];
                stack.push(match scale::<T>(op, inputs.len() as u32) {
                    None => Value::Input(input),
                    Some(by) => Value::Computed(input.iter().map(|&x| product(subnormals, x, by)).collect()),
                });
            }
            Node::Reduce(..) => {
                let (Some(b), Some(a)) = (stack.pop(), stack.pop()) else { return };
                let mut sum = spare.pop().unwrap_or_default();
                sum.clear();
                let pairs = a.elements().iter().zip(b.elements());
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

fn product<T: Element>(subnormals: Subnormals, a: T, b: T) -> T {
    match subnormals {
        Subnormals::Kept => T::combine(Op::Prod, a, b),
        Subnormals::Flushed => T::combine_flushed(Op::Prod, a, b),
    }
}

/// How outputs compare with what they must be.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct Comparison {
    /// Elements that differ, over all ranks.
    pub wrong: u64,
    /// The first of them: rank and index.
    pub first_wrong: Option<(u32, usize)>,
    /// Elements that agree only with the golden of a device that flushes subnormals.
    pub flushed: u64,
    /// Ranks that must hold the same hold the same bits.
    pub bit_identical: bool,
    /// Largest error against the order-free reference of higher precision, in units of the last place.
    pub max_ulp: f64,
}

/// What outputs are held against: the golden, and where they differ from it, what flushing subnormals makes of it.
#[derive(Debug)]
pub struct Goldens<'a, T> {
    proved: &'a Proved,
    payload: &'a Payload,
    op: Op,
    inputs: &'a [&'a [T]],
    golden: Golden<T>,
    flushed: OnceCell<Golden<T>>,
}

impl<'a, T: Element> Goldens<'a, T> {
    /// Evaluates what every rank must get from `inputs`, one slice per rank, empty where it has none.
    ///
    /// # Errors
    /// [`GoldenError`].
    pub fn new(proved: &'a Proved, payload: &'a Payload, op: Op, inputs: &'a [&'a [T]]) -> Result<Self, GoldenError> {
        let golden = Golden::new(proved, payload, op, inputs)?;
        Ok(Self { proved, payload, op, inputs, golden, flushed: OnceCell::new() })
    }

    /// What every rank must get.
    pub fn golden(&self) -> &Golden<T> {
        &self.golden
    }

    /// The same of a device that flushes subnormals. Evaluated on first use: most devices never need it.
    pub fn flushed(&self) -> &Golden<T> {
        let flushed = || Golden::evaluate(self.proved, self.payload, self.op, self.inputs, Subnormals::Flushed);
        self.flushed.get_or_init(flushed)
    }

    /// Compares every rank's output, bit for bit. `outputs` are outputs alone, also of a launch in place.
    ///
    /// # Errors
    /// [`GoldenError`] where they are not one for each rank, of the length that it must have.
    pub fn compare(&self, outputs: &[&[T]]) -> Result<Comparison, GoldenError> {
        let lengths = outputs.iter().map(|output| output.len());
        self.proved.extents(self.payload.count).check(UserBuffer::Output, lengths)?;
        let mut comparison = Comparison { bit_identical: true, ..Comparison::default() };
        for (rank, output) in (0..).zip(outputs) {
            let expected = self.golden.expected(rank);
            for (i, (got, expected)) in output.iter().zip(expected).enumerate() {
                if got.agrees(*expected) {
                    continue;
                }
                if got.agrees(self.flushed().expected(rank)[i]) {
                    comparison.flushed += 1;
                } else {
                    comparison.wrong += 1;
                    comparison.first_wrong.get_or_insert((rank, i));
                }
            }
        }
        let count = self.payload.count;
        let mut first = FxHashMap::<Holds, &[T]>::default();
        for (rank, output) in (0..).zip(outputs) {
            for (part, elements) in (0..).zip(output.chunks_exact(count.max(1))) {
                let holds = self.proved.schedule().holds(rank, part);
                if let Some(same) = first.get(&holds) {
                    comparison.bit_identical &=
                        bytemuck::cast_slice::<T, u8>(elements) == bytemuck::cast_slice::<T, u8>(same);
                    continue;
                }
                first.insert(holds, elements);
                if let Holds::Reduction { part } = holds {
                    let start = part as usize * count;
                    let parts: Vec<&[T]> = self.inputs.iter().map(|input| &input[start..start + count]).collect();
                    comparison.max_ulp = comparison.max_ulp.max(max_ulp(self.op, &parts, elements));
                }
            }
        }
        Ok(comparison)
    }
}

/// Compares every rank's output with the golden, bit for bit. `outputs` are outputs alone, also of a launch in place.
///
/// # Errors
/// [`GoldenError`] where inputs, outputs and payload are not those of a launch of `proved`.
pub fn compare<T: Element>(
    proved: &Proved,
    payload: &Payload,
    op: Op,
    inputs: &[&[T]],
    outputs: &[&[T]],
) -> Result<Comparison, GoldenError> {
    Goldens::new(proved, payload, op, inputs)?.compare(outputs)
}

/// Against the type's own reference of higher precision, in rank order: f64 has room for the sum of some 2^29 f32 of
/// like size without an error here.
fn max_ulp<T: Element>(op: Op, inputs: &[&[T]], output: &[T]) -> f64 {
    let Some((first, rest)) = inputs.split_first() else { return 0.0 };
    let mut most = 0.0_f64;
    let mut reference: Vec<T::Wide> = Vec::with_capacity(BLOCK);
    for (block, output) in output.chunks(BLOCK).enumerate() {
        let elements = block * BLOCK..block * BLOCK + output.len();
        reference.clear();
        reference.extend(first[elements.clone()].iter().map(|x| x.widen()));
        for input in rest {
            let pairs = reference.iter_mut().zip(&input[elements.clone()]);
            with_op!(op, OP => pairs.for_each(|(all, x)| *all = T::combine_wide(OP, *all, x.widen())));
        }
        for (got, &all) in output.iter().zip(&reference) {
            let exact = if op == Op::Avg { T::mean_wide(all, inputs.len() as u32) } else { all };
            most = most.max(got.ulp_error(exact));
        }
    }
    most
}
