//! Halving-doubling (Rabenseifner): reduce-scatter by recursive halving, then all-gather by recursive doubling; either half
//! is a collective of its own.
//!
//! The partner of a step is the rank whose number differs in one bit: the highest first in the reduce-scatter, where each
//! keeps the half of the block that holds its own chunk, the lowest first in the all-gather. Partial sums of an all-reduce
//! lie in that half of the output, which no partner reads as input, so no slot is needed, in place neither. Each chunk is
//! summed in one place, so all ranks agree in every bit.

use super::phase::{AG, MOVE, RS};
use crate::collective::Collective;
use crate::schedule::{Address, Algorithm, Draft, Instruction, Lane, Schedule};

/// All-reduce, reduce-scatter or all-gather. `ranks` is a power of two.
pub(super) fn build(name: Algorithm, collective: Collective, ranks: u32) -> Draft {
    let halves = Halves { reduces: collective.reduces(), gathers: collective.gives_all_the_same(), ranks };
    let chunks = if halves.reduces && halves.gathers { ranks } else { 1 };
    // The first step of either half reads inputs, which are ready from the beginning.
    let first = if halves.reduces && halves.gathers { 1 } else { 2 };
    let mut schedule = Schedule::new(name, collective, ranks, chunks).signal_rows(u32::from(ranks > first));
    if !halves.gathers && ranks > 2 {
        schedule = schedule.slots(ranks / 2);
    }
    Draft::new(schedule, move |rank| [halves.lane(rank)])
}

struct Halves {
    reduces: bool,
    gathers: bool,
    ranks: u32,
}

/// The first chunk of the block of `distance` chunks that holds the chunk of `rank`.
fn block(rank: u32, distance: u32) -> u32 {
    rank & !(distance - 1)
}

impl Halves {
    fn steps(&self) -> u32 {
        self.ranks.ilog2()
    }

    fn lane(&self, rank: u32) -> Lane {
        let mut lane = Lane::new(rank);
        if self.ranks == 1 || !self.reduces {
            let (input, output) = (Address::input(rank, 0), Address::output(rank, rank));
            lane.push(Instruction::new(MOVE).copy(input).to(output));
        }
        if self.reduces {
            (1..=self.steps()).for_each(|k| lane.push(self.halve(rank, k)));
        }
        if self.gathers {
            (1..=self.steps()).for_each(|k| lane.push(self.double(rank, k)));
        }
        lane
    }

    /// Where `rank` keeps its partial sum of `chunk`. Without a whole output, in as many slots as the first step needs.
    fn partial(&self, rank: u32, chunk: u32) -> Address {
        match self.gathers {
            true => Address::output(rank, chunk),
            false => Address::slot(rank, chunk % (self.ranks / 2)),
        }
    }

    /// Step k of the reduce-scatter: add the partner's sums of the half that this rank keeps.
    fn halve(&self, rank: u32, k: u32) -> Instruction {
        let (distance, last) = (self.ranks >> k, k == self.steps());
        let (partner, chunk) = (rank ^ distance, block(rank, distance));
        let to = if last && !self.gathers { Address::output(rank, 0) } else { self.partial(rank, chunk) };
        let half = Instruction::new((RS, k)).to(to).chunks(distance);
        let half = match k {
            1 => half.reduce(Address::input(rank, chunk), Address::input(partner, chunk)),
            _ => half.wait(0, partner).reduce(self.partial(rank, chunk), self.partial(partner, chunk)),
        };
        match last {
            // To the partner of the next step, which after the last one is the first of the all-gather.
            true if self.gathers => half.notify(partner, 0),
            true => half,
            false => half.notify(rank ^ (distance / 2), 0),
        }
    }

    /// Step k of the all-gather: take over the partner's block.
    fn double(&self, rank: u32, k: u32) -> Instruction {
        let (distance, last) = (1 << (k - 1), k == self.steps());
        let owner = rank ^ distance;
        let chunk = block(owner, distance);
        let gather = Instruction::new((AG, k)).to(Address::output(rank, chunk)).chunks(distance);
        let gather = match k {
            1 if !self.reduces => gather.copy(Address::input(owner, 0)),
            // In an all-reduce all partners but the first have notified once before.
            _ => {
                gather.wait_for(0, owner, if self.reduces && !last { 2 } else { 1 }).copy(Address::output(owner, chunk))
            }
        };
        if last { gather } else { gather.notify(rank ^ (2 * distance), 0) }
    }
}
