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
    /// Of one device's part.
    ghosts: Vec<Ghost>,
}

/// Where a device keeps its copy of what it reads and writes of a rank on another device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ghost {
    pub(crate) rank: u32,
    /// Of inputs and outputs, the buffer that the rank's user gives: in place it is one, which counts as output.
    pub(crate) buffer: Buffer,
    /// Chunks of that buffer, from the first to the last that is touched.
    pub(crate) chunks: Range<u32>,
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
    /// It is on another device: the first places are those of chunk 0, which may lie before its ghosts.
    absent: bool,
}

impl AddressMap {
    /// The map of `schedule`, or none if its chunks and slots are more than 2^32, or its ranks more than [`MAX_RANKS`].
    pub fn new(schedule: &Schedule, in_place: bool) -> Option<Self> {
        if schedule.ranks > MAX_RANKS {
            return None;
        }
        let task = &schedule.task;
        let rank = |rank| Rank {
            input_parts: task.input_parts(rank, schedule.ranks),
            output_parts: task.output_parts(rank, schedule.ranks),
            input_at: if in_place { task.input_in_place(rank) } else { 0 },
            output_at: if in_place { task.output_in_place(rank) } else { 0 },
            ..Rank::default()
        };
        let map = Self {
            chunks: schedule.chunks,
            ranks: (0..schedule.ranks).map(rank).collect(),
            first_output: 0,
            first_slot: 0,
            len: 0,
            in_place,
            ghosts: Vec::new(),
        };
        let whole = |map: &Self, rank, buffer| match buffer {
            Buffer::Slot => Some(0..schedule.slots_of(rank)),
            buffer => Some(0..map.user_parts(buffer, rank).checked_mul(map.chunks)?),
        };
        map.lay(whole)
    }

    /// The map of one device: of ranks that are not on it there is only what the lanes of `part` touch. None if these are more
    /// than 2^32 chunks.
    pub(crate) fn of_part(&self, part: &Schedule, is_on_it: impl Fn(u32) -> bool) -> Option<Self> {
        let mut touched = vec![[(u32::MAX, 0_u32); 3]; self.ranks.len()];
        for instruction in part.lanes.iter().flat_map(|lane| &lane.instructions) {
            for &address in instruction.from.iter().chain(&instruction.to) {
                let (buffer, part, chunk) = self.in_user_buffer(address);
                let first = part * self.chunks + chunk;
                let (start, end) = &mut touched[address.rank as usize][buffer as usize];
                *start = first.min(*start);
                *end = (first + instruction.chunks).max(*end);
            }
        }
        let mut map = self.clone();
        for (number, rank) in (0..).zip(&mut map.ranks) {
            rank.absent = !is_on_it(number);
        }
        map.lay(|map, rank, buffer| match (touched[rank as usize][buffer as usize], buffer) {
            ((start, end), _) if map.ranks[rank as usize].absent => Some(if start < end { start..end } else { 0..0 }),
            (_, Buffer::Slot) => Some(0..part.slots_of(rank)),
            (_, buffer) => Some(0..self.user_parts(buffer, rank) * self.chunks),
        })
    }

    /// Gives every buffer its places, which `chunks` says of it: all, or of an absent rank those that are touched.
    fn lay(mut self, chunks: impl Fn(&Self, u32, Buffer) -> Option<Range<u32>>) -> Option<Self> {
        let mut next = 0_u32;
        let mut firsts = [0; 3];
        for buffer in [Buffer::Input, Buffer::Output, Buffer::Slot] {
            firsts[buffer as usize] = next;
            if self.in_place && buffer == Buffer::Input {
                continue;
            }
            for number in 0..self.ranks() {
                let places = chunks(&self, number, buffer)?;
                // Where its first chunk would be, if it were there.
                let first = next.wrapping_sub(places.start);
                next = next.checked_add(places.end - places.start)?;
                let chunks_of = |parts: u32| parts.checked_mul(self.chunks);
                let rank = &mut self.ranks[number as usize];
                match buffer {
                    Buffer::Slot => rank.slot = first,
                    Buffer::Input => rank.input = first,
                    Buffer::Output if self.in_place => {
                        rank.input = first.wrapping_add(chunks_of(rank.input_at)?);
                        rank.output = first.wrapping_add(chunks_of(rank.output_at)?);
                    }
                    Buffer::Output => rank.output = first,
                }
                if rank.absent && !places.is_empty() {
                    self.ghosts.push(Ghost { rank: number, buffer, chunks: places });
                }
            }
        }
        [_, self.first_output, self.first_slot] = firsts;
        self.len = next;
        Some(self)
    }

    /// What it keeps of ranks on other devices.
    pub(crate) fn ghosts(&self) -> &[Ghost] {
        &self.ghosts
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
        first.wrapping_add(address.chunk) as usize
    }

    /// Whether proof 1 lets nobody write there.
    pub(crate) fn is_only_read(&self, buffer: Buffer) -> bool {
        buffer == Buffer::Input && !self.in_place
    }

    /// Parts of the buffer that a user gives for `rank`'s input or output. In place it is one, as long as the longer. None for a
    /// rank on another device.
    pub fn user_parts(&self, buffer: Buffer, rank: u32) -> u32 {
        let rank = &self.ranks[rank as usize];
        match buffer {
            _ if rank.absent => 0,
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
            _ if rank.absent => (0, 0),
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
                let rank = &self.ranks[address.rank as usize];
                let at = if buffer == Buffer::Input { rank.input_at } else { rank.output_at };
                let part = at + address.chunk / self.chunks;
                let buffer = if self.in_place { Buffer::Output } else { buffer };
                (buffer, part, address.chunk % self.chunks)
            }
        }
    }

    /// First place of the buffer that a user gives for `rank`'s input or output: in place it is one.
    pub fn user(&self, buffer: Buffer, rank: u32) -> usize {
        let Rank { input, output, absent, .. } = self.ranks[rank as usize];
        match buffer {
            _ if absent => self.all(buffer).start,
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
