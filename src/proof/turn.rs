//! Ranks that stand for each other: every rank turned by as much, and chunks and parts with it, as far as a schedule says so.
//!
//! Apart from the proofs, which walk the lanes of all ranks or of one rank alike and ask here whom that one stands for.

use crate::collective::Collective;
use crate::schedule::{Address, AddressMap, Buffer, Instruction, Schedule};

/// For whom the lanes that are walked stand. A *turn* is how far a rank is from the one whose lane it is; an *other* is a
/// lane and a turn in one number.
pub(super) trait Turns {
    /// Whether a lane stands for others, too.
    const FOLDED: bool;

    /// Ranks that a lane stands for.
    fn turns(&self) -> u32;

    /// How many places are told apart.
    fn places(&self) -> usize;

    /// The place of `address`, or the one that stands for it, and the turn from that to `address`.
    fn place(&self, map: &AddressMap, address: Address) -> (usize, u32);

    /// `lane`, as far back as the `turn` of a place that it takes: who is there at the place that stands for it.
    fn other(&self, lane: u32, turn: u32) -> u32;

    /// The lane of `other`.
    fn lane(&self, other: u32) -> u32;

    /// `other`, seen from one who is `turn` before.
    fn seen(&self, other: u32, turn: u32) -> u32;
}

/// Everybody for himself.
pub(super) struct Each {
    first_place: usize,
    places: usize,
}

impl Each {
    /// Places that nobody may write are none.
    pub(super) fn new(map: &AddressMap) -> Self {
        let first_place = if map.is_only_read(Buffer::Input) { map.all(Buffer::Input).end } else { 0 };
        Self { first_place, places: map.len() - first_place }
    }
}

impl Turns for Each {
    const FOLDED: bool = false;

    fn turns(&self) -> u32 {
        1
    }

    fn places(&self) -> usize {
        self.places
    }

    fn place(&self, map: &AddressMap, address: Address) -> (usize, u32) {
        (map.index(address) - self.first_place, 0)
    }

    fn other(&self, lane: u32, _turn: u32) -> u32 {
        lane
    }

    fn lane(&self, other: u32) -> u32 {
        other
    }

    fn seen(&self, other: u32, _turn: u32) -> u32 {
        other
    }
}

/// The lanes of rank 0 for all: those of rank r are the same, turned by r.
#[derive(Debug, Clone)]
pub(super) struct Turn {
    ranks: u32,
    inputs: Cycle,
    outputs: Cycle,
    slots: Cycle,
    in_place: bool,
    /// Chunks of rank 0's buffers: of its input and output, or of the one buffer that both are, and of its slots.
    lengths: [usize; 3],
}

/// Which chunks of a buffer change their places: runs of `unit`, round and round in blocks of as many runs as there are
/// ranks. What does not fill a block stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cycle {
    /// 0 where nothing changes its place.
    unit: u32,
    block: u32,
    /// Chunks in whole blocks.
    turning: u32,
}

impl Cycle {
    fn new(unit: u32, ranks: u32, chunks: u32) -> Self {
        match unit.checked_mul(ranks) {
            Some(block) if (1..=chunks).contains(&block) => Self { unit, block, turning: chunks - chunks % block },
            _ => Self { unit: 0, block: 0, turning: 0 },
        }
    }

    /// First chunk of the block of `chunk`, which turns.
    fn block(self, chunk: u32) -> u32 {
        if chunk < self.block { 0 } else { chunk - chunk % self.block }
    }

    /// Where `chunk` is after `by` ranks, which are fewer than there are.
    fn turned(self, chunk: u32, by: u32) -> u32 {
        if chunk >= self.turning {
            return chunk;
        }
        let first = self.block(chunk);
        let within = chunk - first + by * self.unit;
        first + if within < self.block { within } else { within - self.block }
    }

    /// Whether so many chunks from `chunk` on follow each other round one block, or stay.
    fn is_one(self, chunk: u32, chunks: u32) -> bool {
        chunks == 1 || chunk >= self.turning || chunk - self.block(chunk) + chunks <= self.block
    }

    /// Whether they are blocks, which turn in themselves.
    fn is_whole(self, chunk: u32, chunks: u32) -> bool {
        chunk + chunks <= self.turning && chunk.is_multiple_of(self.block) && chunks.is_multiple_of(self.block)
    }
}

/// How the chunks of an instruction turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moves {
    /// Those that follow an address still do, but for one step back from the end of a block to its beginning.
    Around,
    /// Each address is of whole blocks, which turn in themselves: the chunks of all of them alike.
    Within,
}

impl Turn {
    /// The turns under which a task means the same, so that a schedule of it may.
    pub(super) fn of(schedule: &Schedule, map: &AddressMap) -> Vec<Self> {
        let Schedule { ranks, chunks, task, slots, .. } = schedule;
        let (ranks, chunks) = (*ranks, *chunks);
        let alike = slots.is_empty() || slots.len() == ranks as usize && slots.iter().all(|&of| of == slots[0]);
        if ranks < 2 || !alike {
            return Vec::new();
        }
        // Units of inputs and outputs.
        let units: &[[u32; 2]] = match task.collective {
            Collective::AllReduce if chunks.is_multiple_of(ranks) => &[[1, 1], [0, 0]],
            Collective::AllReduce | Collective::Barrier => &[[0, 0]],
            Collective::AllGather => &[[0, chunks]],
            Collective::ReduceScatter => &[[chunks, 0]],
            Collective::AllToAll => &[[chunks, chunks]],
            // Whom one hears is as far from everybody.
            Collective::SendRecv => {
                let distance = |rank| (task.source(rank, ranks) + ranks - rank) % ranks;
                if (1..ranks).any(|rank| distance(rank) != distance(0)) {
                    return Vec::new();
                }
                &[[0, 0]]
            }
            _ => return Vec::new(),
        };
        let chunks_of = |buffer| schedule.buffer_chunks(buffer, 0);
        let [input, output, slot] = [Buffer::Input, Buffer::Output, Buffer::Slot].map(chunks_of);
        let in_place = map.in_place();
        let [first, second] = if in_place { [0, input.max(output)] } else { [input, output] };
        let with = |&[inputs, outputs]: &[u32; 2], slots| Self {
            ranks,
            inputs: Cycle::new(inputs, ranks, input),
            outputs: Cycle::new(outputs, ranks, output),
            slots: Cycle::new(slots, ranks, slot),
            in_place,
            lengths: [first, second, slot].map(|chunks| chunks as usize),
        };
        units.iter().flat_map(|units| [1, 0].map(|slots| with(units, slots))).collect()
    }

    fn cycle(&self, buffer: Buffer) -> Cycle {
        match buffer {
            Buffer::Input => self.inputs,
            Buffer::Output => self.outputs,
            Buffer::Slot => self.slots,
        }
    }

    /// The rank `by` further on; both are below the number of ranks.
    pub(super) fn rank(&self, rank: u32, by: u32) -> u32 {
        let rank = rank + by;
        if rank < self.ranks { rank } else { rank - self.ranks }
    }

    /// The turn that takes `turn` back.
    pub(super) fn back(&self, turn: u32) -> u32 {
        if turn == 0 { 0 } else { self.ranks - turn }
    }

    /// Chunk `chunk` of a rank's `buffer`, turned.
    pub(super) fn chunk(&self, buffer: Buffer, chunk: u32, by: u32) -> u32 {
        self.cycle(buffer).turned(chunk, by)
    }

    /// `address`, turned.
    pub(super) fn address(&self, address: Address, by: u32) -> Address {
        let Address { rank, buffer, chunk } = address;
        Address { rank: self.rank(rank, by), buffer, chunk: self.chunk(buffer, chunk, by) }
    }

    /// Whether so many chunks from `address` on still follow each other when they are turned.
    pub(super) fn keeps(&self, address: Address, chunks: u32, by: u32) -> bool {
        let turned = |chunk| self.chunk(address.buffer, chunk, by);
        turned(address.chunk + chunks - 1) == turned(address.chunk) + chunks - 1
    }

    /// How the chunks of `instruction` turn, if they do so alike.
    pub(super) fn moves(&self, instruction: &Instruction) -> Option<Moves> {
        let chunks = instruction.chunks;
        let addresses = || instruction.from.iter().chain(&instruction.to).map(|at| (self.cycle(at.buffer), at.chunk));
        let unit = addresses().next().map_or(0, |(cycle, _)| cycle.unit);
        if unit > 0 && addresses().all(|(cycle, chunk)| cycle.unit == unit && cycle.is_whole(chunk, chunks)) {
            return Some(Moves::Within);
        }
        addresses().all(|(cycle, chunk)| cycle.is_one(chunk, chunks)).then_some(Moves::Around)
    }
}

impl Turns for Turn {
    const FOLDED: bool = true;

    fn turns(&self) -> u32 {
        self.ranks
    }

    /// Those of rank 0.
    fn places(&self) -> usize {
        self.lengths.iter().sum()
    }

    fn place(&self, map: &AddressMap, address: Address) -> (usize, u32) {
        let home = self.address(address, self.back(address.rank));
        let index = map.index(home);
        let [first, second, _] = self.lengths;
        let place = match address.buffer {
            Buffer::Slot => first + second + index - map.all(Buffer::Slot).start,
            _ if self.in_place => index,
            Buffer::Input => index,
            Buffer::Output => first + index - map.all(Buffer::Output).start,
        };
        (place, address.rank)
    }

    fn other(&self, lane: u32, turn: u32) -> u32 {
        lane * self.ranks + self.back(turn)
    }

    fn lane(&self, other: u32) -> u32 {
        other / self.ranks
    }

    fn seen(&self, other: u32, turn: u32) -> u32 {
        let lane = other / self.ranks;
        lane * self.ranks + self.rank(other - lane * self.ranks, turn)
    }
}
