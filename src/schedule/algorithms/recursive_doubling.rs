//! Recursive-doubling all-reduce: in step k of log2 P every rank adds the running sum of the rank whose number differs in
//! bit k-1 to its own, over the whole payload.
//!
//! Both partners of a step add the same two sums, and addition commutes in every bit, so all ranks agree. The running
//! sum goes from the input through two slots in turn to the output, which in place is the input: before a place is
//! written for the second time, the one partner who reads it says that it has.

use super::phase::MOVE;
use crate::collective::Collective;
use crate::schedule::{Address, Algorithm, Draft, Instruction, Lane, Schedule};

/// `ranks` is a power of two.
pub(super) fn all_reduce(name: Algorithm, ranks: u32) -> Draft {
    let mut schedule = Schedule::new(name, Collective::AllReduce, ranks, 1);
    if ranks == 1 {
        let copy = || Instruction::new(MOVE).copy(Address::input(0, 0)).to(Address::output(0, 0));
        return Draft::new(schedule, move |rank| [Lane::new(rank).with(copy())]);
    }
    // Two ranks need a second step, without a partner: each must have read the other's input before it is overwritten.
    let exchanges = ranks.ilog2();
    let doubling = Doubling { exchanges, last: exchanges.max(2) };
    schedule = schedule.slots((doubling.last - 1).min(2)).signal_rows(1);
    Draft::new(schedule, move |rank| [doubling.lane(rank)])
}

struct Doubling {
    /// Steps with a partner.
    exchanges: u32,
    /// The step that writes the output.
    last: u32,
}

impl Doubling {
    /// Whose sum `rank` adds in step k, from 1.
    fn partner(rank: u32, k: u32) -> u32 {
        rank ^ (1 << (k - 1))
    }

    /// Where the sum lies that step k has made.
    fn sum(&self, rank: u32, k: u32) -> Address {
        match k {
            0 => Address::input(rank, 0),
            _ if k == self.last => Address::output(rank, 0),
            _ => Address::slot(rank, (k - 1) % 2),
        }
    }

    /// The step that reads the sum in whose place step k writes its own.
    fn reader(&self, k: u32) -> Option<u32> {
        match k {
            _ if k == self.last => Some(1),
            3.. => Some(k - 1),
            _ => None,
        }
    }

    fn lane(&self, rank: u32) -> Lane {
        let mut lane = Lane::new(rank);
        for k in 1..=self.last {
            let mut step = Instruction::new((MOVE, k)).to(self.sum(rank, k));
            let own = self.sum(rank, k - 1);
            if k <= self.exchanges {
                let partner = Self::partner(rank, k);
                step = step.reduce(own, self.sum(partner, k - 1));
                // Inputs are ready from the beginning.
                if k > 1 {
                    step = step.wait(0, partner);
                }
            } else {
                step = step.copy(own);
            }
            if let Some(reader) = self.reader(k) {
                // A partner whose sum was not an input has said that it was ready before.
                step = step.wait_for(0, Self::partner(rank, reader), reader.min(2));
            }
            if k < self.exchanges {
                step = step.notify(Self::partner(rank, k + 1), 0);
            }
            if (k + 1..=self.last).any(|later| self.reader(later) == Some(k)) {
                step = step.notify(Self::partner(rank, k), 0);
            }
            lane.push(step);
        }
        lane
    }
}
