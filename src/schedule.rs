//! A schedule is data: what every rank does, step by step, and nothing about how it is executed.
//!
//! Proof, golden, executors and pictures all read this one value, so no formula of an algorithm is written twice.
//! Addresses may name a peer's memory: reading from it (pull) and writing to it (push) are the same instruction.
//! Instructions have no branches and signals only grow, so a schedule has one outcome whatever the timing.

mod algorithms;
mod choose;
mod graph;
mod places;
mod site;

use std::fmt;

use rustc_hash::FxHashSet;
use smallvec::{SmallVec, smallvec};

use crate::collective::{Holds, Task};
pub use algorithms::{Algorithm, BuildError, SyncStyle, build};
pub use choose::{DeviceKind, Selection};
pub(crate) use graph::{Graph, Sources};
pub use places::Places;
pub use site::{Signal, Site};

/// Most ranks that a schedule may have; executors have limits of their own below it.
pub const MAX_RANKS: u32 = 4096;

/// A schedule of one collective over `ranks` ranks.
///
/// Built by [`build`] for the known algorithms, or by hand:
/// ```
/// use wgccl::collective::Collective;
/// use wgccl::schedule::{Address, Instruction, Lane, Phase, Schedule};
///
/// // Two ranks, one chunk: each adds the other's input to its own, in the same order on both.
/// let (a, b) = (Address::input(0, 0), Address::input(1, 0));
/// let lane = |rank| Lane::new(rank).with(
///     Instruction::new(Phase::Move, 1).reduce(a, b).to(Address::output(rank, 0)));
/// let schedule = Schedule::new("pair", Collective::AllReduce, 2, 1).lane(lane(0)).lane(lane(1));
/// assert!(wgccl::proof::check(&schedule, Default::default()).ok());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Schedule {
    /// The algorithm's name, for people.
    pub name: String,
    /// What it claims to compute; [`crate::proof`] holds it to that.
    pub task: Task,
    /// Participants, 1 to [`MAX_RANKS`].
    pub ranks: u32,
    /// Equal pieces that each part of a buffer is cut into.
    pub chunks: u32,
    /// Chunk slots in each rank's window.
    pub slots: u32,
    /// Rows of each rank's signal matrix.
    pub signal_rows: u32,
    /// Instruction streams; a rank may have several.
    pub lanes: Vec<Lane>,
}

/// One instruction stream of a rank, executed in order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lane {
    /// The rank whose signal matrix this lane waits on and in whose name it notifies.
    pub rank: u32,
    /// In program order.
    pub instructions: Vec<Instruction>,
}

/// Wait for signals, copy or reduce chunks, notify peers: in that order, blocking.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Instruction {
    /// Where in the algorithm this is, for people.
    pub label: Label,
    /// All must hold before the action begins.
    pub waits: SmallVec<[Wait; 1]>,
    /// Operands, reduced from left to right. One is a copy; none only waits and notifies.
    pub from: SmallVec<[Address; 2]>,
    /// Destinations of the result, all of the same value.
    pub to: SmallVec<[Address; 2]>,
    /// Length of every operand and destination, in consecutive chunks.
    pub chunks: u32,
    /// Sent once the result is in memory.
    pub notifies: SmallVec<[Notify; 1]>,
    /// The rank zeroes its own signal matrix. A fault: it erases a faster peer's notify. It exists so that
    /// [`crate::proof`] can be shown to find it; no schedule that does it is proved.
    pub zeroes_signals: bool,
}

/// A place for a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// Whose memory.
    pub rank: u32,
    /// Which of its buffers.
    pub buffer: Buffer,
    /// Index of the (first) chunk in that buffer: of an input or output, part * [`Schedule::chunks`] + chunk in the part.
    pub chunk: u32,
}

/// The three memories that a rank has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Buffer {
    /// What the rank contributes. Never written, but for what is also output in place.
    Input,
    /// What the rank gets.
    Output,
    /// The chunk slots of its window.
    Slot,
}

/// Go on once this rank's signal at `[row][sender]` is at least `at_least`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Wait {
    /// Row of the waiting rank's own matrix.
    pub row: u32,
    /// The rank that notifies it.
    pub sender: u32,
    /// Number of notifies that must have arrived, from 1.
    pub at_least: u32,
}

/// Add 1 to `peer`'s signal at `[row][this rank]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Notify {
    /// Whose matrix.
    pub peer: u32,
    /// Row of that matrix.
    pub row: u32,
}

/// Phase and round of an instruction, the name by which reports call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Label {
    /// Part of the algorithm.
    pub phase: Phase,
    /// Round within the phase, from 1; 0 where the phase has no rounds.
    pub round: u32,
}

/// Part of an algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Input to window.
    StageIn,
    /// Chunk to exchange slot.
    Publish,
    /// Reduce-scatter.
    ReduceScatter,
    /// All-gather.
    AllGather,
    /// Window to output.
    StageOut,
    /// Anything else that moves or reduces data.
    Move,
}

impl Schedule {
    /// A schedule without lanes, slots and signals.
    pub fn new(name: impl Into<String>, task: impl Into<Task>, ranks: u32, chunks: u32) -> Self {
        let (name, task) = (name.into(), task.into());
        Self { name, task, ranks, chunks, slots: 0, signal_rows: 0, lanes: Vec::new() }
    }

    /// Sets the number of chunk slots in each rank's window.
    #[must_use]
    pub fn slots(mut self, slots: u32) -> Self {
        self.slots = slots;
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

    /// Chunks in that buffer of `rank`.
    pub fn buffer_chunks(&self, buffer: Buffer, rank: u32) -> u32 {
        match buffer {
            Buffer::Input => self.task.input_parts(rank, self.ranks).saturating_mul(self.chunks),
            Buffer::Output => self.task.output_parts(rank, self.ranks).saturating_mul(self.chunks),
            Buffer::Slot => self.slots,
        }
    }

    /// Parts of the buffer that a user gives for `rank`'s input or output. In place it is one, as long as the longer.
    pub fn user_parts(&self, buffer: Buffer, rank: u32, in_place: bool) -> u32 {
        let input = self.task.input_parts(rank, self.ranks);
        let output = self.task.output_parts(rank, self.ranks);
        match buffer {
            Buffer::Slot => 0,
            _ if in_place => input.max(output),
            Buffer::Input => input,
            Buffer::Output => output,
        }
    }

    /// What part `part` of `rank`'s output must hold.
    pub fn holds(&self, rank: u32, part: u32) -> Holds {
        self.task.holds(rank, part, self.ranks)
    }

    /// `address` for people: in buffers of several parts, part and chunk.
    pub(crate) fn show(&self, address: Address) -> String {
        let Address { rank, buffer, chunk } = address;
        // Ranks and chunks out of range are shown as well.
        let parts = if buffer == Buffer::Slot { 0 } else { self.user_parts(buffer, rank, false) };
        match self.chunks {
            _ if parts < 2 => address.to_string(),
            1 => format!("rank {rank} {buffer}[part {chunk}]"),
            chunks => format!("rank {rank} {buffer}[part {}, chunk {}]", chunk / chunks, chunk % chunks),
        }
    }

    /// Number of instructions of all lanes.
    pub fn instructions(&self) -> usize {
        self.lanes.iter().map(|lane| lane.instructions.len()).sum()
    }

    /// Slots of one rank that some instruction really writes, at most: what of the window is in use.
    pub fn slots_written(&self) -> u32 {
        let mut written = vec![false; self.ranks as usize * self.slots as usize];
        for instruction in self.lanes.iter().flat_map(|lane| &lane.instructions) {
            for to in instruction.to.iter().filter(|to| to.buffer == Buffer::Slot) {
                for chunk in to.chunk..to.chunk.saturating_add(instruction.chunks).min(self.slots) {
                    if let Some(slot) = written.get_mut(to.rank as usize * self.slots as usize + chunk as usize) {
                        *slot = true;
                    }
                }
            }
        }
        let per_rank = written.chunks(self.slots.max(1) as usize);
        per_rank.map(|slots| slots.iter().filter(|&&written| written).count()).max().unwrap_or(0) as u32
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
}

impl Instruction {
    /// An instruction of one chunk that does nothing yet.
    pub fn new(phase: Phase, round: u32) -> Self {
        Self {
            label: Label { phase, round },
            waits: SmallVec::new(),
            from: SmallVec::new(),
            to: SmallVec::new(),
            chunks: 1,
            notifies: SmallVec::new(),
            zeroes_signals: false,
        }
    }

    /// Wait for the first notify from `sender` at `row`.
    #[must_use]
    pub fn wait(self, row: u32, sender: u32) -> Self {
        self.wait_for(row, sender, 1)
    }

    /// Wait until `sender` has notified `row` `at_least` times.
    #[must_use]
    pub fn wait_for(mut self, row: u32, sender: u32, at_least: u32) -> Self {
        self.waits.push(Wait { row, sender, at_least });
        self
    }

    /// Copy `from`.
    #[must_use]
    pub fn copy(mut self, from: Address) -> Self {
        self.from = smallvec![from];
        self
    }

    /// Combine `a` with `b`, in that order.
    #[must_use]
    pub fn reduce(self, a: Address, b: Address) -> Self {
        self.reduce_all([a, b])
    }

    /// Combine all of `operands`, from left to right.
    #[must_use]
    pub fn reduce_all(mut self, operands: impl IntoIterator<Item = Address>) -> Self {
        self.from = operands.into_iter().collect();
        self
    }

    /// Adds a destination.
    #[must_use]
    pub fn to(mut self, to: Address) -> Self {
        self.to.push(to);
        self
    }

    /// Makes every operand and destination `chunks` consecutive chunks long.
    #[must_use]
    pub fn chunks(mut self, chunks: u32) -> Self {
        self.chunks = chunks;
        self
    }

    /// Notify `peer` at `row` afterwards.
    #[must_use]
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

impl fmt::Display for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Input => "input",
            Self::Output => "output",
            Self::Slot => "slot",
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rank {} {}[{}]", self.rank, self.buffer, self.chunk)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StageIn => "stage-in",
            Self::Publish => "publish",
            Self::ReduceScatter => "RS",
            Self::AllGather => "AG",
            Self::StageOut => "stage-out",
            Self::Move => "move",
        })
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.round {
            0 => write!(f, "{}", self.phase),
            round => write!(f, "{} round {round}", self.phase),
        }
    }
}
