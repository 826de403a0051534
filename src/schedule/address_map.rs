//! Where every chunk of every rank lies in one row of all chunks: the one place that knows what is the same memory.
//!
//! In place, part of a rank's input is part of its output. Proofs, device arena, CPU executor and the checks of a user's
//! buffers all ask this, so that NCCL's in-place rule is written once.

use std::ops::Range;

use super::{Address, Buffer, MAX_RANKS, Schedule};

/// Chunks in a row: the inputs of all ranks, their outputs, their slots; in place, one buffer for each rank and the slots.
/// Consecutive chunks of a buffer have consecutive places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressMap {
    /// Chunks of a part.
    chunks: u32,
    ranks: Vec<Rank>,
    /// Where the outputs of all ranks begin; in place, their buffers.
    first_output: u32,
    /// Where the slots of all ranks begin.
    first_slot: u32,
    /// How many places there are.
    len: u32,
    in_place: bool,
}

/// The first places of a rank's buffers, and their lengths in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Rank {
    input: u32,
    output: u32,
    slot: u32,
    input_parts: u32,
    output_parts: u32,
    /// In place: where input and output begin in the rank's one buffer, in parts.
    input_at: u32,
    output_at: u32,
}

impl AddressMap {
    /// The map of `schedule`, or none if its chunks and slots are more than 2^32, or its ranks more than [`MAX_RANKS`].
    pub fn new(schedule: &Schedule, in_place: bool) -> Option<Self> {
        if schedule.ranks > MAX_RANKS {
            return None;
        }
        let task = &schedule.task;
        let mut next = 0_u32;
        let mut take = |chunks: Option<u32>| {
            let first = next;
            next = next.checked_add(chunks?)?;
            Some(first)
        };
        let chunks_of = |parts: u32| parts.checked_mul(schedule.chunks);
        let mut ranks: Vec<Rank> = (0..schedule.ranks)
            .map(|rank| Rank {
                input_parts: task.input_parts(rank, schedule.ranks),
                output_parts: task.output_parts(rank, schedule.ranks),
                input_at: if in_place { task.input_in_place(rank) } else { 0 },
                output_at: if in_place { task.output_in_place(rank) } else { 0 },
                ..Rank::default()
            })
            .collect();
        let mut first_output = 0;
        if in_place {
            for rank in &mut ranks {
                let first = take(chunks_of(rank.input_parts.max(rank.output_parts)))?;
                rank.input = first.checked_add(chunks_of(rank.input_at)?)?;
                rank.output = first.checked_add(chunks_of(rank.output_at)?)?;
            }
        } else {
            for rank in &mut ranks {
                rank.input = take(chunks_of(rank.input_parts))?;
            }
            first_output = take(Some(0))?;
            for rank in &mut ranks {
                rank.output = take(chunks_of(rank.output_parts))?;
            }
        }
        let first_slot = take(Some(0))?;
        for (number, rank) in (0..).zip(&mut ranks) {
            rank.slot = take(Some(schedule.slots_of(number)))?;
        }
        Some(Self { chunks: schedule.chunks, ranks, first_output, first_slot, len: next, in_place })
    }

    /// How many places there are.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there is none, as in a barrier.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Participants.
    pub fn ranks(&self) -> u32 {
        self.ranks.len() as u32
    }

    /// Whether every rank's input and output are one buffer.
    pub fn in_place(&self) -> bool {
        self.in_place
    }

    /// The place of `address`.
    pub fn index(&self, address: Address) -> usize {
        let rank = &self.ranks[address.rank as usize];
        let first = match address.buffer {
            Buffer::Input => rank.input,
            Buffer::Output => rank.output,
            Buffer::Slot => rank.slot,
        };
        first as usize + address.chunk as usize
    }

    /// Whether proof 1 lets nobody write there.
    pub(crate) fn is_only_read(&self, buffer: Buffer) -> bool {
        buffer == Buffer::Input && !self.in_place
    }

    /// Parts of the buffer that a user gives for `rank`'s input or output. In place it is one, as long as the longer.
    pub fn user_parts(&self, buffer: Buffer, rank: u32) -> u32 {
        let rank = &self.ranks[rank as usize];
        match buffer {
            Buffer::Slot => 0,
            _ if self.in_place => rank.input_parts.max(rank.output_parts),
            Buffer::Input => rank.input_parts,
            Buffer::Output => rank.output_parts,
        }
    }

    /// The parts of the buffer that a user gives for `rank`'s input or output which are that input or output.
    pub fn parts(&self, buffer: Buffer, rank: u32) -> Range<u32> {
        let rank = &self.ranks[rank as usize];
        let (first, parts) = match buffer {
            Buffer::Slot => (0, 0),
            Buffer::Input => (rank.input_at, rank.input_parts),
            Buffer::Output => (rank.output_at, rank.output_parts),
        };
        first..first + parts
    }

    /// The buffer that a user gives for what lies at `address`, and part and chunk in it: in place inputs lie in the one
    /// buffer, which counts as output. Of a slot: itself, in part 0.
    pub(crate) fn in_user_buffer(&self, address: Address) -> (Buffer, u32, u32) {
        match address.buffer {
            Buffer::Slot => (Buffer::Slot, 0, address.chunk),
            buffer => {
                let part = self.parts(buffer, address.rank).start + address.chunk / self.chunks;
                let buffer = if self.in_place { Buffer::Output } else { buffer };
                (buffer, part, address.chunk % self.chunks)
            }
        }
    }

    /// First place of the buffer that a user gives for `rank`'s input or output: in place it is one.
    pub fn user(&self, buffer: Buffer, rank: u32) -> usize {
        let Rank { input, output, .. } = self.ranks[rank as usize];
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
        let (start, output) = (self.index(address), self.ranks[address.rank as usize].output as usize);
        start >= output && start + chunks as usize <= output + output_chunks as usize
    }
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
            let places = AddressMap::new(&schedule, false).unwrap();
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
            let places = AddressMap::new(&schedule(collective, 1), true).unwrap();
            for (a, b) in same {
                assert_eq!(places.index(a), places.index(b), "{collective}");
            }
            assert_eq!(places.all(Buffer::Output), 0..2 * len, "{collective}");
            assert_eq!(places.len(), 2 * len + 3, "{collective}");
        }
    }
}
