//! Names of what stands in a schedule, an instruction or a signal, as findings and hang reports call them.
//!
//! Proofs, plans and executors speak of both, so the words belong to the schedule and not to any of these.

use std::fmt;

use serde::Serialize;

use super::{Label, Schedule};

/// An instruction by all its names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub struct Site {
    /// The rank whose lane it is in.
    pub rank: u32,
    /// Index into the schedule's lanes.
    pub lane: u32,
    /// Index into the lane's instructions.
    pub instruction: u32,
    /// What the schedule calls it.
    pub label: Label,
}

impl Site {
    pub(crate) fn of(schedule: &Schedule, lane: usize, instruction: usize) -> Self {
        let in_lane = &schedule.lanes[lane];
        Self {
            rank: in_lane.rank,
            lane: lane as u32,
            instruction: instruction as u32,
            label: in_lane.instructions[instruction].label.clone(),
        }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rank, lane, instruction, label } = self;
        write!(f, "rank {rank} {label} (lane {lane}, instruction {instruction})")
    }
}

/// A signal by its full name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Signal {
    /// Whose matrix.
    pub rank: u32,
    /// Row.
    pub row: u32,
    /// Column: the rank that notifies it.
    pub sender: u32,
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "signal [row {}][sender {}] of rank {}", self.row, self.sender, self.rank)
    }
}
