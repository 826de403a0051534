//! Two-phase all-reduce: rank r reduces chunk r of all inputs, then everybody copies every chunk from its owner.
//!
//! Between the phases stands no barrier: a copy waits only for the owner of its chunk, who by then has also read what
//! the copy overwrites in place. Chunks are added in rank order in one place, so all ranks agree in every bit.

use super::phase::{AG, RS};
use crate::collective::Collective;
use crate::schedule::{Address, Algorithm, Draft, Instruction, Lane, Schedule};

pub(super) fn all_reduce(name: Algorithm, ranks: u32) -> Draft {
    let schedule = Schedule::new(name, Collective::AllReduce, ranks, ranks).signal_rows(u32::from(ranks > 1));
    Draft::new(schedule, move |rank| [lane(rank, ranks)])
}

fn lane(rank: u32, ranks: u32) -> Lane {
    // Every rank begins with its right neighbour, so that not all of them read one owner's memory at a time.
    let peers = || (1..ranks).map(move |s| (rank + s) % ranks);
    let reduce = Instruction::new(RS)
        .reduce_all((0..ranks).map(|peer| Address::input(peer, rank)))
        .to(Address::output(rank, rank));
    let reduce = peers().fold(reduce, |reduce, peer| reduce.notify(peer, 0));
    peers().fold(Lane::new(rank).with(reduce), |lane, owner| {
        let gather = Instruction::new((AG, (owner + ranks - rank) % ranks));
        lane.with(gather.wait(0, owner).copy(Address::output(owner, owner)).to(Address::output(rank, owner)))
    })
}
