//! Halving-doubling all-reduce (Rabenseifner): reduce-scatter by recursive halving, then all-gather by recursive doubling.
//!
//! The partner of a step is the rank whose number differs in one bit, the highest first, and each keeps the half of the
//! block that holds its own chunk. Partial sums lie in that half of the output, which no partner reads as input, so no
//! slot is needed, in place neither. Each chunk is summed in one place, so all ranks agree in every bit.

use super::{Address, Instruction, Lane, Phase, Schedule};
use crate::collective::Collective;

/// `ranks` is a power of two.
pub(super) fn all_reduce(name: &str, ranks: u32) -> Schedule {
    let mut schedule = Schedule::new(name, Collective::AllReduce, ranks, ranks).signal_rows(u32::from(ranks > 1));
    schedule.lanes = (0..ranks).map(|rank| lane(rank, ranks)).collect();
    schedule
}

fn lane(rank: u32, ranks: u32) -> Lane {
    let mut lane = Lane::new(rank);
    if ranks == 1 {
        let (input, output) = (Address::input(rank, 0), Address::output(rank, 0));
        return lane.with(Instruction::new(Phase::Move, 0).copy(input).to(output));
    }
    let steps = ranks.ilog2();
    let partner = |distance: u32| rank ^ distance;
    // The block of `distance` chunks that holds the chunk of `owner`.
    let block = |owner: u32, distance: u32| owner & !(distance - 1);
    for k in 1..=steps {
        let distance = ranks >> k;
        let (partner, chunk) = (partner(distance), block(rank, distance));
        let half = Instruction::new(Phase::ReduceScatter, k).to(Address::output(rank, chunk)).chunks(distance);
        let half = match k {
            // Inputs are ready from the beginning.
            1 => half.reduce(Address::input(rank, chunk), Address::input(partner, chunk)),
            _ => half.wait(0, partner).reduce(Address::output(rank, chunk), Address::output(partner, chunk)),
        };
        // To the partner of the next step; the last one is also the first of the all-gather.
        lane.push(half.notify(rank ^ (distance / 2).max(1), 0));
    }
    for k in 1..=steps {
        let distance = 1 << (k - 1);
        let owner = partner(distance);
        // All partners but the first have notified once in the reduce-scatter.
        let at_least = if k == steps { 1 } else { 2 };
        let gather = Instruction::new(Phase::AllGather, k)
            .wait_for(0, owner, at_least)
            .copy(Address::output(owner, block(owner, distance)))
            .to(Address::output(rank, block(owner, distance)))
            .chunks(distance);
        lane.push(if k < steps { gather.notify(partner(2 * distance), 0) } else { gather });
    }
    lane
}
