//! Dissemination barrier (Hensgen, Finkel and Manber 1988): in round k every rank tells the rank 2^k on that it has come, and
//! with it all ranks it has heard of.
//!
//! After ceil(log2 P) rounds every rank has heard of all, for any number of ranks, with one signal a rank and round where
//! the mesh has P-1.

use super::phase::MOVE;
use crate::collective::Collective;
use crate::schedule::{Algorithm, Draft, Instruction, Lane, Schedule};

pub(super) fn barrier(name: Algorithm, ranks: u32) -> Draft {
    let schedule = Schedule::new(name, Collective::Barrier, ranks, 1).signal_rows(u32::from(ranks > 1));
    Draft::new(schedule, move |rank| [lane(rank, ranks)])
}

/// Instruction k hears of round k and speaks in round k+1. Distances differ, so every round has a signal of its own.
fn lane(rank: u32, ranks: u32) -> Lane {
    let rounds = ranks.next_power_of_two().ilog2();
    let step = |round: u32| {
        let step = Instruction::new((MOVE, round));
        let step = match round {
            0 => step,
            _ => step.wait(0, (rank + ranks - (1 << (round - 1))) % ranks),
        };
        if round < rounds { step.notify((rank + (1 << round)) % ranks, 0) } else { step }
    };
    Lane { rank, instructions: (0..=rounds).map(step).collect() }
}
