//! Ring all-reduce: P-1 reduce-scatter rounds, then P-1 all-gather rounds, each reading from the left neighbour.
//!
//! Round k of 0..2(P-1) waits on signal row k and, when done, notifies row k+1; row 0 says that staging is done.
//! After RS rank r holds chunk r complete; every chunk is summed in one place, so all ranks agree in every bit.

use super::{Address, Instruction, Lane, Phase, Schedule, Sync};
use crate::collective::Collective;

/// How chunks get from the input through the window to the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Staging {
    /// Not at all: RS reads inputs, its last round and AG write outputs.
    None,
    /// Copied into slots before RS and out of them after AG.
    Slots,
    /// As `Slots`, and every round publishes its chunk in one more slot, which the right neighbour reads.
    Exchange,
}

struct Ring {
    ranks: u32,
    staging: Staging,
    sync: Sync,
}

pub(super) fn all_reduce(name: &str, ranks: u32, staging: Staging, sync: Sync) -> Schedule {
    let ring = Ring { ranks, staging, sync };
    let slots = if staging == Staging::Exchange { ranks + 1 } else { ranks };
    let mut schedule = Schedule::new(name, Collective::AllReduce, ranks, ranks).slots(slots).signal_rows(ring.rounds());
    schedule.lanes = (0..ranks).map(|rank| ring.lane(rank)).collect();
    schedule
}

impl Ring {
    fn rounds(&self) -> u32 {
        2 * (self.ranks - 1)
    }

    fn left(&self, rank: u32) -> u32 {
        (rank + self.ranks - 1) % self.ranks
    }

    fn right(&self, rank: u32) -> u32 {
        (rank + 1) % self.ranks
    }

    /// Phase and round (from 1) of round k.
    fn phase(&self, k: u32) -> (Phase, u32) {
        if k < self.ranks - 1 { (Phase::ReduceScatter, k + 1) } else { (Phase::AllGather, k + 2 - self.ranks) }
    }

    /// The chunk that `rank` works on in round k: r-1-s in RS round s, r-s in AG round s.
    fn chunk(&self, rank: u32, k: u32) -> u32 {
        let back = match self.phase(k) {
            (Phase::ReduceScatter, s) => s + 1,
            (_, s) => s,
        };
        (rank + 2 * self.ranks - back) % self.ranks
    }

    fn lane(&self, rank: u32) -> Lane {
        let mut lane = Lane::new(rank);
        match self.staging {
            Staging::None if self.ranks == 1 => {
                lane.push(Instruction::new(Phase::Move, 0).copy(Address::input(0, 0)).to(Address::output(0, 0)));
            }
            Staging::None => {}
            Staging::Slots | Staging::Exchange => {
                let stage_in = Instruction::new(Phase::StageIn, 0)
                    .copy(Address::input(rank, 0))
                    .to(Address::slot(rank, 0))
                    .chunks(self.ranks);
                lane.push(if self.staging == Staging::Slots { self.announce(stage_in, rank, 0) } else { stage_in });
            }
        }
        for k in 0..self.rounds() {
            if self.staging == Staging::Exchange {
                lane.push(self.publish(rank, k));
            }
            lane.push(self.round(rank, k));
        }
        if self.staging != Staging::None {
            lane.push(
                Instruction::new(Phase::StageOut, 0)
                    .copy(Address::slot(rank, 0))
                    .to(Address::output(rank, 0))
                    .chunks(self.ranks),
            );
        }
        lane
    }

    /// One round: reduce the left neighbour's chunk with the own one (RS), or take it over (AG).
    fn round(&self, rank: u32, k: u32) -> Instruction {
        let (phase, s) = self.phase(k);
        let (left, chunk) = (self.left(rank), self.chunk(rank, k));
        let (first, last_rs) = (k == 0, k == self.ranks - 2);
        let (theirs, own, to) = match self.staging {
            Staging::Slots => (Address::slot(left, chunk), Address::slot(rank, chunk), Address::slot(rank, chunk)),
            Staging::Exchange => {
                (Address::slot(left, self.ranks), Address::slot(rank, chunk), Address::slot(rank, chunk))
            }
            Staging::None => match phase {
                Phase::ReduceScatter => (
                    if first { Address::input(left, chunk) } else { Address::slot(left, chunk) },
                    Address::input(rank, chunk),
                    if last_rs { Address::output(rank, chunk) } else { Address::slot(rank, chunk) },
                ),
                _ => (Address::output(left, chunk), Address::output(rank, chunk), Address::output(rank, chunk)),
            },
        };
        let instruction = Instruction::new(phase, s).to(to);
        let instruction =
            if phase == Phase::ReduceScatter { instruction.reduce(theirs, own) } else { instruction.copy(theirs) };
        let more = k + 1 < self.rounds();
        match self.staging {
            // The first round reads inputs, which nobody writes: nothing to wait for.
            Staging::None if first => self.announce_if(more, instruction, rank, k + 1),
            Staging::None | Staging::Slots => {
                let instruction = self.await_ready(instruction, rank, k, 1);
                self.announce_if(more, instruction, rank, k + 1)
            }
            Staging::Exchange => {
                let instruction = self.await_ready(instruction, rank, k, self.ready_count(k));
                if more { self.announce_free(instruction, rank, k + 1) } else { instruction }
            }
        }
    }

    /// Exchange only: put the chunk that the right neighbour reads in round k into the exchange slot. From round 1 on
    /// the slot must be free first: the reader says so on row k.
    fn publish(&self, rank: u32, k: u32) -> Instruction {
        let (_, s) = self.phase(k);
        let chunk = self.chunk(self.right(rank), k);
        let instruction = Instruction::new(Phase::Publish, if k < self.ranks - 1 { s } else { s + self.ranks - 1 })
            .copy(Address::slot(rank, chunk))
            .to(Address::slot(rank, self.ranks));
        let instruction = if k == 0 { instruction } else { self.await_free(instruction, rank, k) };
        self.announce(instruction, rank, k)
    }

    /// Which notify of (row k, left) says "ready". It is the second where the same peer has already said "free" there.
    fn ready_count(&self, k: u32) -> u32 {
        if k > 0 && (self.sync == Sync::Barrier || self.ranks == 2) { 2 } else { 1 }
    }

    fn peers(&self, rank: u32) -> impl Iterator<Item = u32> + use<> {
        (0..self.ranks).filter(move |&peer| peer != rank)
    }

    /// Tell whoever waits for this rank that its chunk of the round on `row` can be read.
    fn announce(&self, instruction: Instruction, rank: u32, row: u32) -> Instruction {
        match self.sync {
            _ if self.ranks == 1 => instruction,
            Sync::Neighbor => instruction.notify(self.right(rank), row),
            Sync::Barrier => self.peers(rank).fold(instruction, |i, peer| i.notify(peer, row)),
        }
    }

    fn announce_if(&self, more: bool, instruction: Instruction, rank: u32, row: u32) -> Instruction {
        if more { self.announce(instruction, rank, row) } else { instruction }
    }

    fn await_ready(&self, instruction: Instruction, rank: u32, row: u32, at_least: u32) -> Instruction {
        match self.sync {
            Sync::Neighbor => instruction.wait_for(row, self.left(rank), at_least),
            Sync::Barrier => self.peers(rank).fold(instruction, |i, peer| i.wait_for(row, peer, at_least)),
        }
    }

    /// Exchange only: tell the left neighbour that its exchange slot has been read.
    fn announce_free(&self, instruction: Instruction, rank: u32, row: u32) -> Instruction {
        match self.sync {
            Sync::Neighbor => instruction.notify(self.left(rank), row),
            Sync::Barrier => self.announce(instruction, rank, row),
        }
    }

    fn await_free(&self, instruction: Instruction, rank: u32, row: u32) -> Instruction {
        match self.sync {
            Sync::Neighbor => instruction.wait_for(row, self.right(rank), 1),
            Sync::Barrier => self.await_ready(instruction, rank, row, 1),
        }
    }
}
