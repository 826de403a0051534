//! A schedule over real elements, in the plainest way: lane after lane, as far as each goes, chunk by chunk.
//!
//! What executors and golden must give in every bit, by arithmetic and by a way of cutting payloads of its own.

use wgccl::collective::Op;
use wgccl::element::DataType;
use wgccl::schedule::{Address, Buffer, Granularity, Schedule};

use super::arithmetic::{bytes, combine, reciprocal};
use super::promise::Places;

/// Elements of a part in chunks: all equal where counts are divisible, else each as many whole vectors of 16 bytes as the
/// first needs, so that the last are shorter or empty.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    pub(crate) count: usize,
    step: usize,
}

impl Cut {
    pub(crate) fn new(schedule: &Schedule, count: usize, data_type: DataType) -> Self {
        let (chunks, vector) = (schedule.chunks as usize, 16 / bytes(data_type));
        let step = match schedule.granularity {
            Granularity::Ragged => count.div_ceil(chunks).next_multiple_of(vector),
            _ => count / chunks,
        };
        Self { count, step }
    }

    /// Elements of chunk `chunk` of a buffer, counted through all its parts, in the buffer.
    fn elements(self, chunk: u32, chunks: u32) -> std::ops::Range<usize> {
        let (part, chunk) = ((chunk / chunks) as usize * self.count, (chunk % chunks) as usize);
        part + (chunk * self.step).min(self.count)..part + ((chunk + 1) * self.step).min(self.count)
    }
}

/// The outputs of all ranks, by the bits of elements.
pub(crate) fn evaluate(
    schedule: &Schedule,
    places: &Places,
    in_place: bool,
    (data_type, op): (DataType, Op),
    cut: Cut,
    inputs: &[Vec<u64>],
) -> Vec<Vec<u64>> {
    let op = if places.promise.reduces() { op } else { Op::Sum };
    let scale = (op == Op::Avg && schedule.ranks > 1).then(|| reciprocal(data_type, schedule.ranks));
    let chunks = schedule.chunks;
    let mut memory = vec![Vec::new(); places.len as usize];
    for (rank, input) in (0..).zip(inputs) {
        for chunk in 0..places.chunks_of(rank, Buffer::Input) {
            let mut elements = input[cut.elements(chunk, chunks)].to_vec();
            elements.resize(cut.step, 0);
            memory[places.of(Address::input(rank, chunk)) as usize] = elements;
        }
    }
    let (rows, ranks) = (schedule.signal_rows, schedule.ranks);
    let cell = |rank: u32, row: u32, sender: u32| ((rank * rows + row) * ranks + sender) as usize;
    let mut signals = vec![0; (ranks * rows * ranks) as usize];
    let mut next = vec![0; schedule.lanes.len()];
    let mut moved = true;
    while std::mem::take(&mut moved) {
        for (lane, next) in schedule.lanes.iter().zip(&mut next) {
            while let Some(instruction) = lane.instructions.get(*next) {
                if instruction.waits.iter().any(|wait| signals[cell(lane.rank, wait.row, wait.sender)] < wait.at_least)
                {
                    break;
                }
                let from = &instruction.from;
                for k in 0..instruction.chunks {
                    let place = |at: &Address| (places.of(*at) + k) as usize;
                    let read = |at: &Address| -> Vec<u64> {
                        match scale.filter(|_| at.buffer == Buffer::Input) {
                            None => memory[place(at)].clone(),
                            Some(by) => {
                                memory[place(at)].iter().map(|&x| combine(data_type, Op::Prod, x, by)).collect()
                            }
                        }
                    };
                    let Some((first, rest)) = from.split_first() else { break };
                    let idle = |to: &Address| {
                        in_place && rest.is_empty() && to.buffer != first.buffer && place(to) == place(first)
                    };
                    let mut value = read(first);
                    for operand in rest {
                        let operand = read(operand);
                        value.iter_mut().zip(operand).for_each(|(a, b)| *a = combine(data_type, op, *a, b));
                    }
                    for to in instruction.to.iter().filter(|to| !idle(to)) {
                        memory[place(to)].clone_from(&value);
                    }
                }
                for notify in &instruction.notifies {
                    signals[cell(notify.peer, notify.row, lane.rank)] += 1;
                }
                *next += 1;
                moved = true;
            }
        }
    }
    let output = |rank: u32| {
        let all = 0..places.chunks_of(rank, Buffer::Output);
        let chunk = |chunk| {
            let elements = &memory[places.of(Address::output(rank, chunk)) as usize];
            elements[..cut.elements(chunk, chunks).len()].to_vec()
        };
        all.flat_map(chunk).collect()
    };
    (0..ranks).map(output).collect()
}
