//! Mesh: every rank deals with every peer directly, in one step, whatever the collective.
//!
//! What an output must hold says whom to read from, so one function builds nearly all collectives. Only ordinary inputs are
//! read and every chunk is written once, so nobody waits; reductions are in rank order. The least rounds there are.

use super::phase::MOVE;
use crate::collective::{Collective, Holds, Task};
use crate::schedule::{Address, Algorithm, Draft, Instruction, Lane, Schedule};

pub(super) fn build(name: Algorithm, task: Task, ranks: u32) -> Draft {
    let barrier = task.collective == Collective::Barrier;
    let schedule = Schedule::new(name, task, ranks, 1).signal_rows(barrier.into());
    let without_lanes = schedule.clone();
    Draft::new(schedule, move |rank| {
        [match without_lanes.task.collective {
            Collective::Barrier => meet(rank, ranks),
            Collective::AllToAll => push(rank, ranks),
            _ => pull(&without_lanes, rank),
        }]
    })
}

/// Every part of the own output, from where it is. Of several it begins with the right neighbour's, so that not all read from
/// one rank, and every rank does the same, turned.
fn pull(schedule: &Schedule, rank: u32) -> Lane {
    let ranks = schedule.ranks;
    let number = schedule.task.output_parts(rank, ranks);
    let parts = (1..=number).map(|distance| (rank + distance) % number);
    parts.fold(Lane::new(rank), |lane, part| {
        let step = Instruction::new(MOVE).to(Address::output(rank, part));
        lane.with(match schedule.holds(rank, part) {
            Holds::Reduction { part } => step.reduce_all((0..ranks).map(|peer| Address::input(peer, part))),
            Holds::Copy { rank: from, part } => step.copy(Address::input(from, part)),
        })
    })
}

/// All-to-all: part d of the own input to rank d, beginning with the right neighbour so that not all write to one rank.
fn push(rank: u32, ranks: u32) -> Lane {
    let peers = (1..=ranks).map(|distance| (rank + distance) % ranks);
    peers.fold(Lane::new(rank), |lane, peer| {
        let step = Instruction::new(MOVE);
        lane.with(step.copy(Address::input(rank, peer)).to(Address::output(peer, rank)))
    })
}

/// Barrier: tell every peer, then wait for every peer.
fn meet(rank: u32, ranks: u32) -> Lane {
    let peers = || (0..ranks).filter(move |&peer| peer != rank);
    let arrive = peers().fold(Instruction::new((MOVE, 1)), |arrive, peer| arrive.notify(peer, 0));
    let leave = peers().fold(Instruction::new((MOVE, 2)), |leave, peer| leave.wait(0, peer));
    Lane::new(rank).with(arrive).with(leave)
}
