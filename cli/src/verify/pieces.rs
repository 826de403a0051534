//! Inputs and outputs in files, piece by piece: each piece of output is evaluated once and held against every rank's.

use std::sync::Arc;

use wgccl::collective::Op;
use wgccl::element::Element;
use wgccl::error::UserBuffer;
use wgccl::golden::{Accuracy, Differences, Stretch, Subnormals, Tolerance, stretches};
use wgccl::proof::Proved;

use crate::error::Error;
use crate::tensor::Rows;

/// Bytes of all pieces that are in memory at a time, at most, but for small ones of many ranks.
const BYTES: usize = 64 << 20;
/// Elements of a piece: reading less at a time takes longer, reading more no less.
const MOST: usize = 1 << 16;
const LEAST: usize = 1 << 10;

/// Is told how many bytes of how many have been read.
pub type Watch = Arc<dyn Fn(u64, u64) + Send + Sync>;

/// Inputs and outputs.
pub(super) struct Files<T> {
    inputs: Rows<T>,
    outputs: Rows<T>,
    /// The row of each rank's input and output, if it has one.
    input_row: Vec<Option<usize>>,
    output_row: Vec<Option<usize>>,
    count: usize,
    piece: usize,
}

/// Pieces that are read again and again.
struct Buffers<T> {
    inputs: Vec<Vec<T>>,
    expected: Vec<T>,
    found: Vec<T>,
}

impl<T: Element> Files<T> {
    /// # Errors
    /// [`Error::Usage`] where files are not what the collective gives.
    pub(super) fn new(proved: &Proved, count: usize, inputs: Rows<T>, outputs: Rows<T>) -> Result<Self, Error> {
        let collective = proved.schedule().task.collective;
        let (ranks, extents) = (proved.schedule().ranks, proved.extents(count));
        let rows = |what| {
            let mut next = 0..;
            let row = move |rank| if extents.len(what, rank) == 0 { None } else { next.next() };
            (0..ranks).map(row).collect::<Vec<Option<usize>>>()
        };
        let input_row = rows(UserBuffer::Input);
        let mut output_row = rows(UserBuffer::Output);
        let having = output_row.iter().flatten().count();
        let lengths = outputs.lengths();
        if lengths.len() == 1 && collective.gives_all_the_same() {
            // One stands for all.
            output_row.iter_mut().flatten().for_each(|row| *row = 0);
        } else if lengths.len() != having {
            let files = if having == 1 { "output is" } else { "outputs are" };
            return Err(Error::Usage(format!(
                "{collective} over {ranks} ranks: {having} {files} wanted, one of each rank that has one, and {} were given",
                lengths.len()
            )));
        }
        let input_lengths = inputs.lengths();
        for (what, rows, lengths) in
            [(UserBuffer::Input, &input_row, &input_lengths), (UserBuffer::Output, &output_row, &lengths)]
        {
            for (rank, row) in (0..).zip(rows) {
                let (wanted, Some(row)) = (extents.len(what, rank), *row) else { continue };
                if lengths[row] != wanted {
                    return Err(Error::Usage(format!(
                        "{collective}: the {what} of rank {rank} has {} elements, and must have {wanted} of these inputs",
                        lengths[row]
                    )));
                }
            }
        }
        let of_all = BYTES / (ranks as usize + 2) / size_of::<T>();
        Ok(Self { inputs, outputs, input_row, output_row, count, piece: of_all.clamp(LEAST, MOST) })
    }

    /// Whether every output is, in every bit, what `proved` gives. Ends at the first that is not.
    pub(super) fn agree(&mut self, proved: &Proved, op: Op, watch: &Watch) -> Result<bool, Error> {
        let differs = self.each(proved, op, watch, |differing| differing.is_none())?;
        Ok(!differs)
    }

    /// What differs from what `proved` gives, and how near it is to exact.
    pub(super) fn compare(
        &mut self,
        proved: &Proved,
        op: Op,
        tolerance: Option<Tolerance>,
        watch: &Watch,
    ) -> Result<(Differences, Accuracy), Error> {
        let (mut differences, mut accuracy) = (Differences::default(), Accuracy::default());
        let reduces = proved.schedule().task.collective.reduces();
        self.each(proved, op, watch, |differing| {
            let Some(Differing { stretch, inputs, expected, found, rank, first }) = differing else { return true };
            let mut flushed = Vec::new();
            for (i, (&expected, &found)) in expected.iter().zip(found).enumerate() {
                if found.agrees(expected) {
                    continue;
                }
                if flushed.is_empty() {
                    flushed = vec![T::poison(); inputs.first().map_or(0, |input| input.len())];
                    stretch.evaluate(inputs, Subnormals::Flushed, &mut flushed);
                }
                match found.agrees(flushed[i]) {
                    true => differences.flushed += 1,
                    false => differences.add((rank, first + i), expected, found, tolerance),
                }
            }
            if reduces {
                accuracy.add(op, inputs, found, rank, first);
            }
            true
        })?;
        Ok((differences.sorted(), accuracy))
    }

    /// Shows `look` every piece that differs, and nothing after each that does not; until it says no. Whether it did.
    fn each(
        &mut self,
        proved: &Proved,
        op: Op,
        watch: &Watch,
        mut look: impl FnMut(Option<Differing<'_, T>>) -> bool,
    ) -> Result<bool, Error> {
        let payload = proved.payload(self.count, T::TYPE)?;
        let stretches = stretches(proved, &payload, op)?;
        let of = |stretch: &Stretch| {
            (stretch.elements.len() * (stretch.inputs.len() + stretch.ranks.len()) * size_of::<T>()) as u64
        };
        let (mut done, all) = (0, stretches.iter().map(of).sum());
        let mut buffers = Buffers { inputs: Vec::new(), expected: Vec::new(), found: Vec::new() };
        for stretch in &stretches {
            for start in stretch.elements.clone().step_by(self.piece) {
                watch(done, all);
                let length = self.piece.min(stretch.elements.end - start);
                self.evaluate(stretch, start, length, &mut buffers)?;
                let Buffers { inputs, expected, found } = &mut buffers;
                let inputs: Vec<&[T]> = inputs[..stretch.inputs.len()].iter().map(Vec::as_slice).collect();
                for &rank in &stretch.ranks {
                    let Some(row) = self.output_row[rank as usize] else { continue };
                    found.resize(length, T::poison());
                    self.outputs.read(row, start, found)?;
                    let same = bytemuck::cast_slice::<T, u8>(found) == bytemuck::cast_slice::<T, u8>(expected);
                    // A NaN agrees with any other.
                    if same || found.iter().zip(&*expected).all(|(found, expected)| found.agrees(*expected)) {
                        continue;
                    }
                    if !look(Some(Differing { stretch, inputs: &inputs, expected, found, rank, first: start })) {
                        return Ok(true);
                    }
                }
                done += (length * (stretch.inputs.len() + stretch.ranks.len()) * size_of::<T>()) as u64;
            }
        }
        watch(done, all);
        Ok(false)
    }

    fn evaluate(
        &mut self,
        stretch: &Stretch,
        start: usize,
        length: usize,
        buffers: &mut Buffers<T>,
    ) -> Result<(), Error> {
        let offset = start - stretch.elements.start;
        buffers.inputs.resize_with(buffers.inputs.len().max(stretch.inputs.len()), Vec::new);
        for (&(rank, first), into) in stretch.inputs.iter().zip(&mut buffers.inputs) {
            let Some(row) = self.input_row[rank as usize] else { continue };
            into.resize(length, T::poison());
            self.inputs.read(row, first + offset, into)?;
        }
        let inputs: Vec<&[T]> = buffers.inputs[..stretch.inputs.len()].iter().map(Vec::as_slice).collect();
        buffers.expected.resize(length, T::poison());
        stretch.evaluate(&inputs, Subnormals::Kept, &mut buffers.expected);
        Ok(())
    }
}

/// A piece of a rank's output that is not what was expected.
struct Differing<'a, T> {
    stretch: &'a Stretch,
    inputs: &'a [&'a [T]],
    expected: &'a [T],
    found: &'a [T],
    rank: u32,
    /// Its first element.
    first: usize,
}
