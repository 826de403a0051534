//! One-phase all-reduce: every rank reduces the whole payload from everybody's contribution itself.
//!
//! Inputs are staged in a slot, as the upstream kernels do it, so that a rank whose output is its input can overwrite it
//! while others still read. Every rank reads all contributions: P times the reads of [`super::two_phase`] in one step.

use super::phase::{MOVE, STAGE_IN};
use crate::collective::Collective;
use crate::schedule::{Address, Algorithm, Draft, Instruction, Lane, Schedule};

/// In which order a rank adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Ascending ranks, the same everywhere: all ranks agree in every bit.
    Ranks,
    /// The own contribution, then the peers' in ascending order, as the upstream kernels do it: inexact sums of
    /// different ranks may differ.
    OwnFirst,
}

pub(super) fn all_reduce(name: Algorithm, ranks: u32, order: Order) -> Draft {
    let alone = ranks == 1;
    let schedule =
        Schedule::new(name, Collective::AllReduce, ranks, 1).slots(u32::from(!alone)).signal_rows(u32::from(!alone));
    Draft::new(schedule, move |rank| [lane(rank, ranks, order)])
}

fn lane(rank: u32, ranks: u32, order: Order) -> Lane {
    let mut lane = Lane::new(rank);
    let peers = || (0..ranks).filter(move |&peer| peer != rank);
    let input = Address::input(rank, 0);
    if ranks > 1 {
        let stage_in = Instruction::new(STAGE_IN).copy(input).to(Address::slot(rank, 0));
        lane.push(peers().fold(stage_in, |stage_in, peer| stage_in.notify(peer, 0)));
    }
    let contribution = |from: u32| if from == rank { input } else { Address::slot(from, 0) };
    let reduce = Instruction::new(MOVE).to(Address::output(rank, 0));
    let reduce = match order {
        Order::Ranks => reduce.reduce_all((0..ranks).map(contribution)),
        Order::OwnFirst => reduce.reduce_all([rank].into_iter().chain(peers()).map(contribution)),
    };
    lane.with(peers().fold(reduce, |reduce, peer| reduce.wait(0, peer)))
}
