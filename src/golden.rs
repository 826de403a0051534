//! The expected result: each output chunk's own tree of additions, evaluated on the CPU in the element's precision.
//!
//! Because the order comes from the schedule's proof, a device must agree in every bit. Stated exceptions: payloads of
//! NaN, and devices that flush subnormals to zero. What such a result is worth is told by [`Accuracy`].

mod accuracy;
mod differences;
mod stretch;

use std::cell::OnceCell;

use rustc_hash::FxHashMap;

use crate::buffers::{BufferError, UserBuffer};
use crate::collective::{Holds, Op};
use crate::element::Element;
use crate::payload::Payload;
use crate::proof::Proved;
pub use accuracy::{Accuracy, Tolerance, Worst};
pub use differences::{Difference, Differences, OfRank};
pub use stretch::{Stretch, Subnormals};

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
        let (ranks_of, of_rank) = stretch::alike(proved);
        let distinct = ranks_of.iter().map(|ranks| {
            let chunks = proved.terms().outputs(ranks[0]).len();
            let mut expected = vec![T::poison(); chunks / payload.chunks as usize * payload.count];
            for stretch in stretch::of_ranks(proved, payload, op, ranks) {
                let mut views = Vec::with_capacity(stretch.inputs.len());
                for (number, into) in expected[stretch.elements.clone()].chunks_mut(BLOCK).enumerate() {
                    views.clear();
                    let starts = stretch.inputs.iter().map(|&(rank, start)| (rank, start + number * BLOCK));
                    views.extend(starts.map(|(rank, start)| &inputs[rank as usize][start..start + into.len()]));
                    stretch.evaluate(&views, subnormals, into);
                }
            }
            expected
        });
        Self { distinct: distinct.collect(), of_rank }
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

/// The stretches of all outputs, each of which one tree of reductions gives: a golden of data that is not in memory.
///
/// # Errors
/// [`GoldenError::Payload`].
///
/// ```
/// use wgccl::collective::{Collective, Op};
/// use wgccl::element::DataType;
/// use wgccl::golden::{Subnormals, stretches};
/// use wgccl::proof::prove;
/// use wgccl::schedule::Recipe;
///
/// let proved = prove(Recipe::new(Collective::AllReduce, 2).build()?, Default::default())?;
/// let inputs = [[1.0_f32, 2.0], [10.0, 20.0]];
/// let mut expected = [0.0; 2];
/// for stretch in stretches(&proved, &proved.payload(2, DataType::F32)?, Op::Sum)? {
///     let into = &mut expected[stretch.elements.clone()];
///     let part = |&(rank, start): &(u32, usize)| &inputs[rank as usize][start..start + into.len()];
///     let parts: Vec<&[f32]> = stretch.inputs.iter().map(part).collect();
///     stretch.evaluate(&parts, Subnormals::Kept, into);
/// }
/// assert_eq!(expected, [11.0, 22.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn stretches(proved: &Proved, payload: &Payload, op: Op) -> Result<Vec<Stretch>, GoldenError> {
    let &Payload { count, element_bytes, .. } = payload;
    if Payload::new(proved.schedule(), count, element_bytes).as_ref() != Ok(payload) {
        return Err(GoldenError::Payload { count, element_bytes });
    }
    let (ranks_of, _) = stretch::alike(proved);
    Ok(ranks_of.iter().flat_map(|ranks| stretch::of_ranks(proved, payload, op, ranks)).collect())
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
    /// How near reductions are to exact ones.
    pub accuracy: Accuracy,
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
            for (number, elements) in output.chunks_exact(count.max(1)).enumerate() {
                let holds = self.proved.schedule().holds(rank, number as u32);
                if let Some(same) = first.get(&holds) {
                    comparison.bit_identical &=
                        bytemuck::cast_slice::<T, u8>(elements) == bytemuck::cast_slice::<T, u8>(same);
                    continue;
                }
                first.insert(holds, elements);
                if let Holds::Reduction { part } = holds {
                    let start = part as usize * count;
                    let parts: Vec<&[T]> = self.inputs.iter().map(|input| &input[start..start + count]).collect();
                    comparison.accuracy.add(self.op, &parts, elements, rank, number * count);
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
