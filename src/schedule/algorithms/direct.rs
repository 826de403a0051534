//! Direct all-reduce: each rank reduces its chunk from all inputs and writes it to all outputs.
//!
//! Every input is read once and every output written once, the least traffic that there is on one device; nobody waits
//! for anybody. All chunks are added in rank order, so all ranks agree in every bit.

use super::phase::MOVE;
use crate::collective::Collective;
use crate::schedule::{Address, Algorithm, Draft, Instruction, Lane, Schedule};

pub(super) fn all_reduce(name: Algorithm, ranks: u32) -> Draft {
    let schedule = Schedule::new(name, Collective::AllReduce, ranks, ranks);
    Draft::new(schedule, move |rank| [lane(rank, ranks)])
}

fn lane(rank: u32, ranks: u32) -> Lane {
    let reduce = Instruction::new(MOVE).reduce_all((0..ranks).map(|peer| Address::input(peer, rank)));
    Lane::new(rank).with((0..ranks).fold(reduce, |reduce, peer| reduce.to(Address::output(peer, rank))))
}
