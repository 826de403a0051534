//! The value itself: lanes of instructions over addresses, waits and notifies.
//!
//! Everything else in this crate reads it, so it holds what a rank does and nothing derived from that.

use rustc_hash::FxHashSet;

use super::few::Few;
use super::{Label, Origin};
use crate::collective::{Holds, Task};

/// Most ranks that a schedule may have; executors have limits of their own below it.
pub const MAX_RANKS: u32 = 4096;

/// A schedule of one collective over `ranks` ranks.
///
/// Built by [`build`](super::build) for the known algorithms, or by hand:
/// ```
/// use wgccl::collective::Collective;
/// use wgccl::schedule::{Address, Instruction, Lane, Schedule};
///
/// // Two ranks, one chunk: each adds the other's input to its own, in the same order on both.
/// let (a, b) = (Address::input(0, 0), Address::input(1, 0));
/// let lane = |rank| Lane::new(rank).with(
///     Instruction::new("add").reduce(a, b).to(Address::output(rank, 0)));
/// let schedule = Schedule::new("pair", Collective::AllReduce, 2, 1).lane(lane(0)).lane(lane(1));
/// assert!(wgccl::proof::check(&schedule, Default::default()).ok());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Schedule {
    /// Who made it.
    pub origin: Origin,
    /// What it claims to compute; [`crate::proof`] holds it to that.
    pub task: Task,
    /// Participants, 1 to [`MAX_RANKS`].
    pub ranks: u32,
    /// Equal pieces that each part of a buffer is cut into.
    pub chunks: u32,
    /// Which counts of elements it can be launched over.
    pub granularity: Granularity,
    /// Chunk slots in the window of each rank, in rank order; a rank beyond the end has none.
    pub slots: Vec<u32>,
    /// Rows of each rank's signal matrix.
    pub signal_rows: u32,
    /// Instruction streams; a rank may have several.
    pub lanes: Vec<Lane>,
}

/// Which counts of elements a schedule can be launched over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Granularity {
    /// Any count: the last chunks of a part may be shorter than the others, or empty.
    #[default]
    Ragged,
    /// Multiples of this number of elements, itself a multiple of [`Schedule::chunks`]: all chunks are equally long.
    /// Any chunk may then take the place of any other, also in inputs and outputs.
    DivisibleBy(u32),
}

/// One instruction stream of a rank, executed in order.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lane {
    /// The rank whose signal matrix this lane waits on and in whose name it notifies.
    pub rank: u32,
    /// In program order.
    pub instructions: Vec<Instruction>,
}

/// Wait for signals, copy or reduce chunks, notify peers: in that order, blocking.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Instruction {
    /// Where in the algorithm this is, for people.
    pub label: Label,
    /// All must hold before the action begins.
    pub waits: Few<Wait, 1>,
    /// Operands, reduced from left to right. One is a copy; none only waits and notifies.
    pub from: Few<Address, 2>,
    /// Destinations of the result, all of the same value.
    pub to: Few<Address, 2>,
    /// Length of every operand and destination, in consecutive chunks.
    pub chunks: u32,
    /// Sent once the result is in memory.
    pub notifies: Few<Notify, 1>,
    /// The rank zeroes its own signal matrix. A fault: it erases a faster peer's notify. It exists so that
    /// [`crate::proof`] can be shown to find it; no schedule that does it is proved.
    pub zeroes_signals: bool,
}

/// A place for a chunk.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Address {
    /// Whose memory.
    pub rank: u32,
    /// Which of its buffers.
    pub buffer: Buffer,
    /// Index of the (first) chunk in that buffer: of an input or output, part * [`Schedule::chunks`] + chunk in the part.
    pub chunk: u32,
}

/// The three memories that a rank has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Buffer {
    /// What the rank contributes. Never written, but for what is also output in place.
    #[default]
    Input,
    /// What the rank gets.
    Output,
    /// The chunk slots of its window.
    Slot,
}

/// Go on once this rank's signal at `[row][sender]` is at least `at_least`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Wait {
    /// Row of the waiting rank's own matrix.
    pub row: u32,
    /// The rank that notifies it.
    pub sender: u32,
    /// Number of notifies that must have arrived, from 1.
    pub at_least: u32,
}

/// Add 1 to `peer`'s signal at `[row][this rank]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Notify {
    /// Whose matrix.
    pub peer: u32,
    /// Row of that matrix.
    pub row: u32,
}

impl Schedule {
    /// A schedule without lanes, slots and signals.
    pub fn new(origin: impl Into<Origin>, task: impl Into<Task>, ranks: u32, chunks: u32) -> Self {
        let (origin, task) = (origin.into(), task.into());
        let granularity = Granularity::default();
        Self { origin, task, ranks, chunks, granularity, slots: Vec::new(), signal_rows: 0, lanes: Vec::new() }
    }

    /// Gives every rank's window this number of chunk slots.
    #[must_use]
    pub fn slots(mut self, slots: u32) -> Self {
        // A number of ranks that is refused later must not take memory here.
        self.slots = vec![slots; if slots == 0 { 0 } else { self.ranks.min(MAX_RANKS) as usize }];
        self
    }

    /// Gives each rank's window its own number of chunk slots, in rank order; those at the end that have none are left out.
    #[must_use]
    pub fn slots_of_ranks(mut self, slots: impl IntoIterator<Item = u32>) -> Self {
        self.slots = slots.into_iter().collect();
        // So that one meaning is one value, whoever wrote it.
        self.slots.truncate(self.slots.iter().rposition(|&slots| slots > 0).map_or(0, |last| last + 1));
        self
    }

    /// Sets the counts that it can be launched over.
    #[must_use]
    pub fn granularity(mut self, granularity: Granularity) -> Self {
        self.granularity = granularity;
        self
    }

    /// Sets the number of rows of each rank's signal matrix.
    #[must_use]
    pub fn signal_rows(mut self, rows: u32) -> Self {
        self.signal_rows = rows;
        self
    }

    /// Adds a lane.
    #[must_use]
    pub fn lane(mut self, lane: Lane) -> Self {
        self.lanes.push(lane);
        self
    }

    /// Chunk slots in the window of `rank`.
    pub fn slots_of(&self, rank: u32) -> u32 {
        self.slots.get(rank as usize).copied().unwrap_or(0)
    }

    /// Chunk slots in the largest window.
    pub fn most_slots(&self) -> u32 {
        self.slots.iter().copied().max().unwrap_or(0)
    }

    /// Chunks in that buffer of `rank`.
    pub fn buffer_chunks(&self, buffer: Buffer, rank: u32) -> u32 {
        match buffer {
            Buffer::Input => self.task.input_parts(rank, self.ranks).saturating_mul(self.chunks),
            Buffer::Output => self.task.output_parts(rank, self.ranks).saturating_mul(self.chunks),
            Buffer::Slot => self.slots_of(rank),
        }
    }

    /// What part `part` of `rank`'s output must hold.
    pub fn holds(&self, rank: u32, part: u32) -> Holds {
        self.task.holds(rank, part, self.ranks)
    }

    /// Number of instructions of all lanes.
    pub fn instructions(&self) -> usize {
        self.lanes.iter().map(|lane| lane.instructions.len()).sum()
    }

    /// Slots of one rank that some instruction really writes, at most: what of the window is in use.
    pub fn slots_written(&self) -> u32 {
        // Ranges and not slots: a schedule that nobody has proved may claim any number of them.
        let mut written: Vec<(u32, u32, u32)> = Vec::new();
        for instruction in self.lanes.iter().flat_map(|lane| &lane.instructions) {
            for to in instruction.to.iter().filter(|to| to.buffer == Buffer::Slot) {
                let end = to.chunk.saturating_add(instruction.chunks).min(self.slots_of(to.rank));
                written.push((to.rank, to.chunk, end));
            }
        }
        written.sort_unstable();
        let of_rank = |ranges: &[(u32, u32, u32)]| {
            let mut reached = 0;
            let new = ranges.iter().map(|&(_, start, end)| {
                let new = end.saturating_sub(start.max(reached));
                reached = reached.max(end);
                new
            });
            new.sum::<u32>()
        };
        written.chunk_by(|a, b| a.0 == b.0).map(of_rank).max().unwrap_or(0)
    }

    /// Signals of one rank's matrix that its lanes wait for, at most: what of the matrix is in use, since a schedule that
    /// notifies what nobody awaits is not proved.
    pub fn signals_used(&self) -> u32 {
        let mut lanes: Vec<&Lane> = self.lanes.iter().collect();
        lanes.sort_by_key(|lane| lane.rank);
        let of_rank = |lanes: &[&Lane]| {
            let waits = lanes.iter().flat_map(|lane| &lane.instructions).flat_map(|instruction| &instruction.waits);
            waits.map(|wait| (wait.row, wait.sender)).collect::<FxHashSet<_>>().len() as u32
        };
        lanes.chunk_by(|a, b| a.rank == b.rank).map(of_rank).max().unwrap_or(0)
    }
}

impl Lane {
    /// An empty lane of `rank`.
    pub fn new(rank: u32) -> Self {
        Self { rank, instructions: Vec::new() }
    }

    /// Appends an instruction.
    pub fn push(&mut self, instruction: Instruction) {
        self.instructions.push(instruction);
    }

    /// Appends an instruction, in a chain.
    #[must_use]
    pub fn with(mut self, instruction: Instruction) -> Self {
        self.push(instruction);
        self
    }

    /// Bytes of its allocations.
    pub(crate) fn heap_bytes(&self) -> usize {
        let lists = self.instructions.iter().map(Instruction::heap_bytes).sum::<usize>();
        self.instructions.capacity() * size_of::<Instruction>() + lists
    }
}

impl Instruction {
    /// Bytes of its lists, as far as they do not lie in it.
    pub(crate) fn heap_bytes(&self) -> usize {
        let Self { waits, from, to, notifies, .. } = self;
        waits.heap_bytes() + from.heap_bytes() + to.heap_bytes() + notifies.heap_bytes()
    }

    /// An instruction of one chunk that does nothing yet.
    #[inline]
    pub fn new(label: impl Into<Label>) -> Self {
        Self {
            label: label.into(),
            waits: Few::new(),
            from: Few::new(),
            to: Few::new(),
            chunks: 1,
            notifies: Few::new(),
            zeroes_signals: false,
        }
    }

    /// Wait for the first notify from `sender` at `row`.
    #[must_use]
    #[inline]
    pub fn wait(self, row: u32, sender: u32) -> Self {
        self.wait_for(row, sender, 1)
    }

    /// Wait until `sender` has notified `row` `at_least` times.
    #[must_use]
    #[inline]
    pub fn wait_for(mut self, row: u32, sender: u32, at_least: u32) -> Self {
        self.waits.push(Wait { row, sender, at_least });
        self
    }

    /// Copy `from`.
    #[must_use]
    #[inline]
    pub fn copy(mut self, from: Address) -> Self {
        self.from.clear();
        self.from.push(from);
        self
    }

    /// Combine `a` with `b`, in that order.
    #[must_use]
    #[inline]
    pub fn reduce(mut self, a: Address, b: Address) -> Self {
        self.from.clear();
        self.from.push(a);
        self.from.push(b);
        self
    }

    /// Combine all of `operands`, from left to right.
    #[must_use]
    #[inline]
    pub fn reduce_all(mut self, operands: impl IntoIterator<Item = Address>) -> Self {
        self.from = operands.into_iter().collect();
        self
    }

    /// Adds a destination.
    #[must_use]
    #[inline]
    pub fn to(mut self, to: Address) -> Self {
        self.to.push(to);
        self
    }

    /// Makes every operand and destination `chunks` consecutive chunks long.
    #[must_use]
    #[inline]
    pub fn chunks(mut self, chunks: u32) -> Self {
        self.chunks = chunks;
        self
    }

    /// Notify `peer` at `row` afterwards.
    #[must_use]
    #[inline]
    pub fn notify(mut self, peer: u32, row: u32) -> Self {
        self.notifies.push(Notify { peer, row });
        self
    }
}

impl Address {
    /// Chunk `chunk` of `rank`'s input.
    pub fn input(rank: u32, chunk: u32) -> Self {
        Self { rank, buffer: Buffer::Input, chunk }
    }

    /// Chunk `chunk` of `rank`'s output.
    pub fn output(rank: u32, chunk: u32) -> Self {
        Self { rank, buffer: Buffer::Output, chunk }
    }

    /// Slot `chunk` of `rank`'s window.
    pub fn slot(rank: u32, chunk: u32) -> Self {
        Self { rank, buffer: Buffer::Slot, chunk }
    }
}

// Longer ones are moved by calls of `memcpy`: building a schedule then takes half as long again.
const _: () = assert!(size_of::<Instruction>() <= 128);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collective::Collective;

    #[test]
    fn slots_are_counted_once_and_only_where_there_are_any() {
        let to = |rank, slot, chunks| Instruction::new("move").to(Address::slot(rank, slot)).chunks(chunks);
        let schedule = Schedule::new("", Collective::AllReduce, 3, 1).slots_of_ranks([9, u32::MAX]);
        let written = |all: &[Instruction]| {
            let lane = all.iter().cloned().fold(Lane::new(0), Lane::with);
            schedule.clone().lane(lane).slots_written()
        };
        for (all, expected) in [
            (&[][..], 0),
            (&[to(0, 2, 3), to(0, 3, 3), to(0, 2, 1), to(0, 7, 1)], 5),
            (&[to(0, 8, 5), to(0, 9, 1), to(2, 0, 1), to(7, 0, 1)], 1),
            (&[to(0, 0, 4), to(1, 4_000_000_000, u32::MAX), to(1, 1, 5)], u32::MAX - 4_000_000_000 + 5),
        ] {
            assert_eq!(written(all), expected, "{all:?}");
        }
    }
}
