//! Ring all-reduce: P-1 reduce-scatter rounds, then P-1 all-gather rounds, each reading from the left neighbour; either
//! half is a collective of its own.
//!
//! Round k of 0..2(P-1) waits on signal row k and, when done, notifies row k+1; row 0 says that staging is done. Of
//! half a ring rows count from its second round: the first one reads inputs.
//! After RS rank r holds chunk r complete; every chunk is summed in one place, so all ranks agree in every bit.
//! A bidirectional ring is two such rings over half the payload each, the second with left and right exchanged.

use std::ops::Range;

use super::phase::{AG, MOVE, PUBLISH, RS, STAGE_IN, STAGE_OUT};
use crate::collective::Collective;
use crate::schedule::{Address, Algorithm, Draft, Instruction, Lane, Notify, Schedule, SyncStyle, Wait};

/// How chunks get from the input through the window to the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Staging {
    /// Not at all: RS reads inputs, its last round and AG write outputs.
    None,
    /// As `None`, and partial sums lie in the outputs, too, which nobody needs before AG overwrites them.
    Outputs,
    /// Copied into slots before RS and out of them after AG.
    Slots,
    /// As `Slots`, and every round publishes its chunk in one more slot, which the right neighbour reads.
    Exchange,
}

/// Which way chunks travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Right,
    Left,
}

#[derive(Debug, Clone, Copy)]
struct Ring {
    collective: Collective,
    ranks: u32,
    staging: Staging,
    sync: SyncStyle,
    direction: Direction,
    /// Where its chunks begin in the payload.
    first_chunk: u32,
    /// Where its signals begin in the matrix.
    first_row: u32,
}

/// All-reduce; without staging also reduce-scatter and all-gather.
pub(super) fn build(name: Algorithm, collective: Collective, ranks: u32, staging: Staging, sync: SyncStyle) -> Draft {
    let ring = Ring { collective, ranks, staging, sync, direction: Direction::Right, first_chunk: 0, first_row: 0 };
    let slots = match staging {
        Staging::Exchange => ranks + 1,
        _ if ring.reduces() => ranks,
        _ => 0,
    };
    let chunks = if ring.reduces() && ring.gathers() { ranks } else { 1 };
    let schedule = Schedule::new(name, collective, ranks, chunks).slots(slots).signal_rows(ring.rows());
    Draft::new(schedule, move |rank| [ring.lane(rank)])
}

/// Two rings in opposite directions, a lane of each rank for either.
pub(super) fn bidirectional(name: Algorithm, ranks: u32, sync: SyncStyle) -> Draft {
    let collective = Collective::AllReduce;
    let (staging, direction) = (Staging::Outputs, Direction::Right);
    let right = Ring { collective, ranks, staging, sync, direction, first_chunk: 0, first_row: 0 };
    // A row has room for both where they notify different peers.
    let apart = ranks == 2 || sync == SyncStyle::Barrier;
    let first_row = if apart { right.rows() } else { 0 };
    let left = Ring { direction: Direction::Left, first_chunk: ranks, first_row, ..right };
    let schedule = Schedule::new(name, collective, ranks, 2 * ranks).signal_rows(first_row + right.rows());
    Draft::new(schedule, move |rank| [right.lane(rank), left.lane(rank)])
}

/// Instructions, waits and notifies of such a schedule, of `lanes` lanes a rank, told without building it.
///
/// It has those of neighbours, but for each of their signals one for every peer.
pub(super) fn barrier_parts(collective: Collective, ranks: u32, staging: Staging, lanes: u64) -> u64 {
    let (sync, direction) = (SyncStyle::Neighbor, Direction::Right);
    let ring = Ring { collective, ranks, staging, sync, direction, first_chunk: 0, first_row: 0 };
    let lane = ring.lane(0).instructions;
    let signals: usize = lane.iter().map(|instruction| instruction.waits.len() + instruction.notifies.len()).sum();
    u64::from(ranks) * lanes * (lane.len() as u64 + signals as u64 * u64::from(ranks - 1))
}

impl Ring {
    fn reduces(&self) -> bool {
        self.collective.reduces()
    }

    fn gathers(&self) -> bool {
        self.collective.gives_all_the_same()
    }

    fn rounds(&self) -> Range<u32> {
        let half = self.ranks - 1;
        (if self.reduces() { 0 } else { half })..(if self.gathers() { 2 * half } else { half })
    }

    /// Rounds without a row of their own: half a ring reads inputs in its first, and waits for nobody.
    fn unawaited(&self) -> u32 {
        u32::from(!(self.reduces() && self.gathers()))
    }

    fn rows(&self) -> u32 {
        (self.rounds().len() as u32).saturating_sub(self.unawaited())
    }

    /// The signal row on which round k waits.
    fn row(&self, k: u32) -> u32 {
        self.first_row + k - self.unawaited() - self.rounds().start
    }

    /// The rank `n` places back, against the way in which chunks travel; `n` is at most 2P.
    fn back(&self, rank: u32, n: u32) -> u32 {
        // Less than three times round: no division, of which a large ring would have a hundred million.
        let once = |place: u32| if place < self.ranks { place } else { place - self.ranks };
        once(once(match self.direction {
            Direction::Right => rank + 2 * self.ranks - n,
            Direction::Left => rank + n,
        }))
    }

    /// The neighbour that chunks come from: the left one, in the words of a ring that travels to the right.
    fn left(&self, rank: u32) -> u32 {
        self.back(rank, 1)
    }

    /// The neighbour that chunks go to.
    fn right(&self, rank: u32) -> u32 {
        self.back(rank, self.ranks - 1)
    }

    /// Phase and round (from 1) of round k.
    fn phase(&self, k: u32) -> (&'static str, u32) {
        if k < self.ranks - 1 { (RS, k + 1) } else { (AG, k + 2 - self.ranks) }
    }

    /// The chunk that `rank` works on in round k: r-1-s in RS round s, r-s in AG round s.
    fn chunk(&self, rank: u32, k: u32) -> u32 {
        let back = match self.phase(k) {
            (RS, s) => s + 1,
            (_, s) => s,
        };
        self.first_chunk + self.back(rank, back)
    }

    fn lane(&self, rank: u32) -> Lane {
        // A round publishes at most, and there are ends.
        let of_round = if self.staging == Staging::Exchange { 2 } else { 1 };
        let instructions = Vec::with_capacity(of_round * self.rounds().len() + self.at_ends());
        let mut lane = Lane { rank, instructions };
        match self.staging {
            // The own part: no other rank writes it to this output.
            Staging::None | Staging::Outputs if self.ranks == 1 || !self.reduces() => {
                let (from, to) = (self.first_chunk, self.first_chunk + rank);
                lane.push(Instruction::new(MOVE).copy(Address::input(rank, from)).to(Address::output(rank, to)));
            }
            Staging::None | Staging::Outputs => {}
            Staging::Slots | Staging::Exchange => {
                let mut stage_in = Instruction::new(STAGE_IN)
                    .copy(Address::input(rank, 0))
                    .to(Address::slot(rank, 0))
                    .chunks(self.ranks);
                if self.staging == Staging::Slots {
                    self.announce(&mut stage_in, rank, 0);
                }
                lane.push(stage_in);
            }
        }
        for k in self.rounds() {
            if self.staging == Staging::Exchange {
                lane.push(self.publish(rank, k));
            }
            lane.push(self.round(rank, k));
        }
        if matches!(self.staging, Staging::Slots | Staging::Exchange) {
            lane.push(
                Instruction::new(STAGE_OUT)
                    .copy(Address::slot(rank, 0))
                    .to(Address::output(rank, 0))
                    .chunks(self.ranks),
            );
        }
        lane
    }

    /// Instructions before and after the rounds.
    fn at_ends(&self) -> usize {
        match self.staging {
            Staging::Slots | Staging::Exchange => 2,
            Staging::None | Staging::Outputs => usize::from(self.ranks == 1 || !self.reduces()),
        }
    }

    /// One round: reduce the left neighbour's chunk with the own one (RS), or take it over (AG).
    fn round(&self, rank: u32, k: u32) -> Instruction {
        let (phase, s) = self.phase(k);
        let (left, chunk) = (self.left(rank), self.chunk(rank, k));
        let (first, last_rs) = (k == self.rounds().start, k == self.ranks - 2);
        let (theirs, own, to) = match self.staging {
            Staging::Slots => (Address::slot(left, chunk), Address::slot(rank, chunk), Address::slot(rank, chunk)),
            Staging::Exchange => {
                (Address::slot(left, self.ranks), Address::slot(rank, chunk), Address::slot(rank, chunk))
            }
            Staging::None | Staging::Outputs => {
                let partial = if self.staging == Staging::None { Address::slot } else { Address::output };
                let complete = Address::output(rank, if self.gathers() { chunk } else { 0 });
                match phase {
                    RS => (
                        if first { Address::input(left, chunk) } else { partial(left, chunk) },
                        Address::input(rank, chunk),
                        if last_rs { complete } else { partial(rank, chunk) },
                    ),
                    _ if first => (Address::input(left, 0), complete, complete),
                    _ => (Address::output(left, chunk), complete, complete),
                }
            }
        };
        let mut instruction = Instruction::new((phase, s)).to(to);
        instruction.from.push(theirs);
        if phase == RS {
            instruction.from.push(own);
        }
        let more = k + 1 < self.rounds().end;
        match self.staging {
            // The first round reads inputs, which nobody writes: nothing to wait for.
            Staging::None | Staging::Outputs if first => {}
            Staging::None | Staging::Outputs | Staging::Slots => self.await_ready(&mut instruction, rank, k, 1),
            Staging::Exchange => self.await_ready(&mut instruction, rank, k, self.ready_count(k)),
        }
        match self.staging {
            _ if !more => {}
            Staging::Exchange => self.announce_free(&mut instruction, rank, k + 1),
            Staging::None | Staging::Outputs | Staging::Slots => self.announce(&mut instruction, rank, k + 1),
        }
        instruction
    }

    /// Exchange only: put the chunk that the right neighbour reads in round k into the exchange slot. From round 1 on
    /// the slot must be free first: the reader says so on row k.
    fn publish(&self, rank: u32, k: u32) -> Instruction {
        let (_, s) = self.phase(k);
        let chunk = self.chunk(self.right(rank), k);
        let mut instruction = Instruction::new((PUBLISH, if k < self.ranks - 1 { s } else { s + self.ranks - 1 }))
            .copy(Address::slot(rank, chunk))
            .to(Address::slot(rank, self.ranks));
        if k > 0 {
            self.await_free(&mut instruction, rank, k);
        }
        self.announce(&mut instruction, rank, k);
        instruction
    }

    /// Which notify of (row k, left) says "ready". It is the second where the same peer has already said "free" there.
    fn ready_count(&self, k: u32) -> u32 {
        if k > 0 && (self.sync == SyncStyle::Barrier || self.ranks == 2) { 2 } else { 1 }
    }

    fn peers(&self, rank: u32) -> impl Iterator<Item = u32> + use<> {
        (0..rank).chain(rank + 1..self.ranks)
    }

    /// Tell whoever waits for this rank that its chunk of round `k` can be read.
    fn announce(&self, instruction: &mut Instruction, rank: u32, k: u32) {
        let row = self.row(k);
        match self.sync {
            _ if self.ranks == 1 => {}
            SyncStyle::Neighbor => instruction.notifies.push(Notify { peer: self.right(rank), row }),
            SyncStyle::Barrier => instruction.notifies.extend(self.peers(rank).map(|peer| Notify { peer, row })),
        }
    }

    fn await_ready(&self, instruction: &mut Instruction, rank: u32, k: u32, at_least: u32) {
        let row = self.row(k);
        let wait = |sender| Wait { row, sender, at_least };
        match self.sync {
            SyncStyle::Neighbor => instruction.waits.push(wait(self.left(rank))),
            SyncStyle::Barrier => instruction.waits.extend(self.peers(rank).map(wait)),
        }
    }

    /// Exchange only: tell the left neighbour that its exchange slot has been read.
    fn announce_free(&self, instruction: &mut Instruction, rank: u32, row: u32) {
        match self.sync {
            SyncStyle::Neighbor => instruction.notifies.push(Notify { peer: self.left(rank), row }),
            SyncStyle::Barrier => self.announce(instruction, rank, row),
        }
    }

    fn await_free(&self, instruction: &mut Instruction, rank: u32, row: u32) {
        match self.sync {
            SyncStyle::Neighbor => instruction.waits.push(Wait { row, sender: self.right(rank), at_least: 1 }),
            SyncStyle::Barrier => self.await_ready(instruction, rank, row, 1),
        }
    }
}
