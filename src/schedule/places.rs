//! Where every chunk of every rank lies in one row of all chunks: the one place that knows what is the same memory.
//!
//! In place, part of a rank's input is part of its output. Proofs, arena and CPU executor all address through this, so
//! that none of them has an opinion of its own on that.

use std::ops::Range;

use super::{Address, Buffer, Schedule};

/// Chunks in a row: the inputs of all ranks, their outputs, their slots; in place, one buffer for each rank and the slots.
/// Consecutive chunks of a buffer have consecutive places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// First place of each rank's input.
    inputs: Vec<u32>,
    /// First place of each rank's output.
    outputs: Vec<u32>,
    /// Where the outputs of all ranks begin; in place, their buffers.
    first_output: u32,
    /// Where the slots of all ranks begin.
    first_slot: u32,
    slots: u32,
    in_place: bool,
}

impl Places {
    /// Of `schedule`, which has been checked to have fewer than 2^32 chunks and slots.
    pub fn new(schedule: &Schedule, in_place: bool) -> Self {
        let mut next = 0;
        let chunks = |buffer| move |rank| schedule.chunks * schedule.user_parts(buffer, rank, in_place);
        let mut inputs = row(&mut next, schedule.ranks, chunks(Buffer::Input));
        let (mut outputs, mut first_output) = (inputs.clone(), 0);
        if in_place {
            for rank in 0..schedule.ranks {
                inputs[rank as usize] += schedule.chunks * schedule.task.input_in_place(rank);
                outputs[rank as usize] += schedule.chunks * schedule.task.output_in_place(rank);
            }
        } else {
            first_output = next;
            outputs = row(&mut next, schedule.ranks, chunks(Buffer::Output));
        }
        Self { inputs, outputs, first_output, first_slot: next, slots: schedule.slots, in_place }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.first_slot as usize + self.inputs.len() * self.slots as usize
    }

    /// Whether there is none, as in a barrier.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The place of `address`.
    pub fn index(&self, address: Address) -> usize {
        let rank = address.rank as usize;
        let first = match address.buffer {
            Buffer::Input => self.inputs[rank],
            Buffer::Output => self.outputs[rank],
            Buffer::Slot => self.first_slot + address.rank * self.slots,
        };
        first as usize + address.chunk as usize
    }

    /// Whether proof 1 lets nobody write there.
    pub(crate) fn is_only_read(&self, buffer: Buffer) -> bool {
        buffer == Buffer::Input && !self.in_place
    }

    /// First place of the buffer that a user gives for `rank`'s input or output: in place it is one.
    pub fn user(&self, buffer: Buffer, rank: u32) -> usize {
        let (input, output) = (self.inputs[rank as usize], self.outputs[rank as usize]);
        match buffer {
            // Whichever of the two is longer begins with the buffer.
            _ if self.in_place => input.min(output) as usize,
            Buffer::Output => output as usize,
            Buffer::Input | Buffer::Slot => input as usize,
        }
    }

    /// The places of all ranks' inputs, outputs or slots; in place, inputs and outputs are the same places.
    pub fn all(&self, buffer: Buffer) -> Range<usize> {
        let (first_output, first_slot) = (self.first_output as usize, self.first_slot as usize);
        match buffer {
            Buffer::Input if self.in_place => 0..first_slot,
            Buffer::Input => 0..first_output,
            Buffer::Output => first_output..first_slot,
            Buffer::Slot => first_slot..self.len(),
        }
    }

    /// Whether chunk `address`, and the `chunks` - 1 after it, are part of the rank's output, which has `output_chunks`.
    pub(crate) fn is_output(&self, address: Address, chunks: u32, output_chunks: u32) -> bool {
        let (start, output) = (self.index(address), self.outputs[address.rank as usize] as usize);
        start >= output && start + chunks as usize <= output + output_chunks as usize
    }
}

/// Takes as many places from `next` on for each rank as `chunks` says; returns the first of each.
fn row(next: &mut u32, ranks: u32, chunks: impl Fn(u32) -> u32) -> Vec<u32> {
    (0..ranks).map(|rank| std::mem::replace(next, *next + chunks(rank))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collective::{Collective, Task};

    fn schedule(collective: Collective, root: u32) -> Schedule {
        Schedule::new("", Task::from(collective).root(root), 3, 2).slots(1)
    }

    #[test]
    fn apart_every_chunk_has_a_place_of_its_own() {
        for &collective in Collective::ALL {
            let schedule = schedule(collective, 1);
            let places = Places::new(&schedule, false);
            let mut all: Vec<usize> = (0..3)
                .flat_map(|rank| [Buffer::Input, Buffer::Output, Buffer::Slot].map(|buffer| (rank, buffer)))
                .flat_map(|(rank, buffer)| {
                    let chunks = schedule.buffer_chunks(buffer, rank);
                    (0..chunks).map(move |chunk| Address { rank, buffer, chunk })
                })
                .map(|address| places.index(address))
                .collect();
            all.sort_unstable();
            assert!(all.into_iter().eq(0..places.len()), "{collective}");
        }
    }

    /// NCCL's rules: the part of the longer buffer that the shorter one is.
    #[test]
    fn in_place_inputs_and_outputs_meet() {
        let (i, o) = (|rank| Address::input(rank, 0), |rank| Address::output(rank, 0));
        let part = |address: Address, part: u32| Address { chunk: 2 * part, ..address };
        for (collective, same, len) in [
            (Collective::AllReduce, [(i(0), o(0)), (i(2), o(2))], 3),
            (Collective::AllGather, [(i(0), o(0)), (i(2), part(o(2), 2))], 9),
            (Collective::ReduceScatter, [(i(0), o(0)), (part(i(2), 2), o(2))], 9),
            (Collective::Broadcast, [(i(1), o(1)), (i(1), o(1))], 3),
            (Collective::Reduce, [(i(1), o(1)), (i(1), o(1))], 3),
            (Collective::Gather, [(i(1), part(o(1), 1)), (i(1), part(o(1), 1))], 5),
            (Collective::Scatter, [(part(i(1), 1), o(1)), (part(i(1), 1), o(1))], 5),
        ] {
            let places = Places::new(&schedule(collective, 1), true);
            for (a, b) in same {
                assert_eq!(places.index(a), places.index(b), "{collective}");
            }
            assert_eq!(places.all(Buffer::Output), 0..2 * len, "{collective}");
            assert_eq!(places.len(), 2 * len + 3, "{collective}");
        }
    }
}
