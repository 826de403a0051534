//! A schedule flattened for execution: lanes as runs of small steps, signals as dense cells.
//!
//! A launch walks this a few million steps a second and more; the nested schedule is several times larger.

use std::ops::Range;

use rustc_hash::FxHashSet;

use crate::fault::Fault;
use crate::proof::Proved;
use crate::schedule::{Address, AddressMap, Buffer, Instruction, Schedule};

/// The executable form of a proved schedule.
pub(super) struct Program {
    /// First step of each lane, and the total.
    first: Vec<u32>,
    /// Of a part, epoch by epoch: where the epoch's steps of each lane end.
    ends: Vec<u32>,
    pub(super) steps: Vec<Step>,
    /// Operands, then destinations, of every step.
    pub(super) operands: Vec<Operand>,
    pub(super) waits: Vec<Wait>,
    /// Cells.
    pub(super) notifies: Vec<u32>,
    /// Signals in use, out of all matrices of one channel.
    pub(super) cells: usize,
}

/// An instruction. Its waits and notifies begin where those of the step before end.
pub(super) struct Step {
    first_operand: u32,
    from: u32,
    to: u32,
    /// No instruction reads its destinations: they are results, and may bypass the caches.
    pub(super) last: bool,
    pub(super) chunks: u32,
    pub(super) waits_end: u32,
    pub(super) notifies_end: u32,
}

/// An address in eight bytes. In place, inputs have become parts of the one buffer, which counts as output.
#[derive(Clone, Copy)]
pub(super) struct Operand {
    /// Buffer, rank and part, in 2, 10 and 10 bits: `Executor::new` admits no more than 1024 ranks, hence parts. The
    /// topmost bit is set for an input, also in place.
    packed: u32,
    chunk: u32,
}

impl Operand {
    fn new(map: &AddressMap, address: Address) -> Self {
        let contribution = u32::from(address.buffer == Buffer::Input) << 31;
        let (buffer, part, chunk) = map.in_user_buffer(address);
        // Slots lie one after the other, those of all ranks.
        let chunk = match buffer {
            Buffer::Slot => (map.index(address) - map.all(Buffer::Slot).start) as u32,
            Buffer::Input | Buffer::Output => chunk,
        };
        Self { packed: contribution | (buffer as u32) << 20 | address.rank << 10 | part, chunk }
    }

    pub(super) fn buffer(self) -> Buffer {
        match self.packed >> 20 & 3 {
            0 => Buffer::Input,
            1 => Buffer::Output,
            _ => Buffer::Slot,
        }
    }

    pub(super) fn rank(self) -> usize {
        (self.packed >> 10 & 0x3ff) as usize
    }

    /// Whether it is an input, also in place.
    pub(super) fn is_contribution(self) -> bool {
        self.packed >> 31 == 1
    }

    /// Part and chunk in it of the `k`-th chunk from here on, in parts of `chunks` chunks.
    pub(super) fn at(self, k: u32, chunks: u32) -> (usize, usize) {
        let (part, chunk) = (self.packed & 0x3ff, self.chunk + k);
        // A division costs as much as all the rest, and hardly ever is there more than one part.
        let (part, chunk) = if chunk < chunks { (part, chunk) } else { (part + chunk / chunks, chunk % chunks) };
        (part as usize, chunk as usize)
    }

    /// The slot, among those of all ranks.
    pub(super) fn slot(self, k: u32) -> usize {
        self.chunk as usize + k as usize
    }
}

pub(super) struct Wait {
    pub(super) cell: u32,
    pub(super) at_least: u32,
}

/// Where a lane's steps, waits and notifies begin.
#[derive(Clone, Copy)]
pub(super) struct Start {
    pub(super) step: u32,
    pub(super) wait: u32,
    pub(super) notify: u32,
}

impl Program {
    pub(super) fn new(proved: &Proved, fault: Option<Fault>) -> Self {
        let schedule = proved.schedule();
        let (graph, map, in_place) = (proved.graph(), proved.address_map(), proved.in_place());
        let mut program = Self {
            first: (0..graph.lanes()).map(|lane| graph.lane(lane).start).chain([graph.instructions()]).collect(),
            ends: ends(proved),
            steps: Vec::with_capacity(graph.instructions() as usize),
            operands: Vec::new(),
            waits: Vec::new(),
            notifies: Vec::new(),
            cells: graph.cells() as usize,
        };
        let read = outputs_read(schedule, in_place);
        for id in 0..graph.instructions() {
            let instruction = graph.instruction(schedule, id);
            let operand = |address: Address| Operand::new(map, address);
            let first_operand = program.operands.len() as u32;
            program.operands.extend(instruction.from.iter().chain(&instruction.to).copied().map(operand));
            let waits = graph.waits_of(id).iter();
            program.waits.extend(waits.map(|wait| Wait { cell: wait.cell, at_least: wait.at_least }));
            let sent = graph.notifies_of(id).iter().copied().filter(|&cell| {
                let signal = graph.signal(cell);
                !fault.is_some_and(|fault| fault.drops(signal.sender, signal.row))
            });
            program.notifies.extend(sent);
            program.steps.push(Step {
                first_operand,
                from: instruction.from.len() as u32,
                to: instruction.to.len() as u32,
                last: !in_place
                    && results(instruction).all(|result| result.is_some_and(|place| !read.contains(&place))),
                chunks: instruction.chunks,
                waits_end: program.waits.len() as u32,
                notifies_end: program.notifies.len() as u32,
            });
        }
        program
    }

    pub(super) fn lanes(&self) -> usize {
        self.first.len() - 1
    }

    /// Numbers of the lane's steps.
    pub(super) fn lane(&self, lane: u32) -> Range<u32> {
        self.first[lane as usize]..self.first[lane as usize + 1]
    }

    /// What the step reads and what it writes.
    pub(super) fn operands(&self, step: &Step) -> (&[Operand], &[Operand]) {
        let (from, to) = (step.from as usize, step.to as usize);
        self.operands[step.first_operand as usize..][..from + to].split_at(from)
    }

    /// Where the lane's steps of an epoch begin, and where they end. A whole schedule is one epoch.
    pub(super) fn span(&self, lane: u32, epoch: u32) -> (Start, u32) {
        let end = |epoch: u32| self.ends[epoch as usize * self.lanes() + lane as usize];
        let first = epoch.checked_sub(1).map_or(self.first[lane as usize], end);
        (self.start(first), end(epoch))
    }

    fn start(&self, step: u32) -> Start {
        match step.checked_sub(1) {
            None => Start { step, wait: 0, notify: 0 },
            Some(before) => {
                let before = &self.steps[before as usize];
                Start { step, wait: before.waits_end, notify: before.notifies_end }
            }
        }
    }
}

/// [`Program::ends`].
fn ends(proved: &Proved) -> Vec<u32> {
    let graph = proved.graph();
    let of_epoch = |epoch: u32| {
        (0..graph.lanes()).map(move |lane| {
            let ids = graph.lane(lane);
            // Along a lane epochs do not fall.
            let later = ids.clone().find(|&id| proved.epoch(id) > epoch);
            later.unwrap_or(ids.end)
        })
    };
    (0..proved.epochs()).flat_map(of_epoch).collect()
}

/// Rank and chunk of every destination that is in an output.
fn results(instruction: &Instruction) -> impl Iterator<Item = Option<(u32, u32)>> + '_ {
    let chunks = move |to: Address| (to.chunk..to.chunk + instruction.chunks).map(move |chunk| (to.rank, chunk));
    instruction
        .to
        .iter()
        .flat_map(move |&to| chunks(to).map(move |place| (to.buffer == Buffer::Output).then_some(place)))
}

/// Rank and chunk of every part of an output that some instruction reads.
fn outputs_read(schedule: &Schedule, in_place: bool) -> FxHashSet<(u32, u32)> {
    if in_place {
        return FxHashSet::default();
    }
    let instructions = schedule.lanes.iter().flat_map(|lane| &lane.instructions);
    let reads = instructions.flat_map(|i| i.from.iter().map(move |&from| (from, i.chunks)));
    reads
        .filter(|(from, _)| from.buffer == Buffer::Output)
        .flat_map(|(from, chunks)| (from.chunk..from.chunk + chunks).map(move |chunk| (from.rank, chunk)))
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::collective::Collective;
    use crate::proof::{Options, prove};
    use crate::schedule::{Algorithm, SyncStyle, build};

    #[test]
    fn every_wait_and_notify_is_there_but_for_dropped_ones() {
        for (sync, sent) in [(SyncStyle::Neighbor, 1), (SyncStyle::Barrier, 3)] {
            let schedule = build(Collective::AllReduce, Algorithm::Ring, 4, sync).unwrap();
            let proved = prove(schedule, Options::default()).unwrap();
            let program = Program::new(&proved, None);
            assert_eq!((program.steps.len(), program.lanes()), (4 * 6, 4));
            assert_eq!((program.waits.len(), program.notifies.len()), (4 * 5 * sent, 4 * 5 * sent));
            let faulty = Program::new(&proved, Some(Fault::DropNotify { rank: 1, row: 2 }));
            assert_eq!(faulty.notifies.len(), program.notifies.len() - sent);
            assert_eq!(faulty.span(3, 0).0.wait as usize, 3 * 5 * sent);
        }
    }
}
