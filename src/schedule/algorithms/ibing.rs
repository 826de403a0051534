//! Interleaved bidirectional ring all-reduce in P-1 steps, half of a ring's: every rank reads from both neighbours in
//! each of them.
//!
//! The idea is that of IBing (Zong et al., ACM TACO 2025, doi 10.1145/3711818), as far as its abstract tells: a ring in
//! both directions at once and half the steps. The schedule is this crate's own; the formulas of the upstream kernel of
//! that name are right for two ranks only.
//!
//! Chunk c belongs to rank c. Its sum grows in two arms, one along the left half of the ring and one along the right half,
//! until they meet; then it goes back along both. An odd number of ranks has (P-1)/2 on either side: the arms meet at
//! rank c, after (P-1)/2 steps, and as many bring the sum back. An even number has two halves of P/2 ranks, whose ends c
//! and c+1 are neighbours: they exchange their halves in step P/2 and so both have the sum, of the same two terms and
//! thus of the same bits; P/2-1 more steps bring it back. There the halves wait in two slots, because in the
//! output one would be overwritten while the other end still reads it; all other partial sums lie in outputs.
//! For two ranks the halves are copies of the inputs, which takes a step more.

use std::ops::Range;

use super::phase::{AG, RS};
use crate::collective::Collective;
use crate::schedule::{Address, Algorithm, Draft, Instruction, Lane, Schedule};

pub(super) fn all_reduce(name: Algorithm, ranks: u32) -> Draft {
    let even = ranks.is_multiple_of(2);
    let ring = Ring { ranks, even, side: (ranks - 1) / 2 };
    let schedule = Schedule::new(name, Collective::AllReduce, ranks, ranks)
        .slots(if even { 2 } else { 0 })
        .signal_rows(u32::from(ranks > 1));
    Draft::new(schedule, move |rank| [ring.lane(rank)])
}

/// Which way a partial or complete sum travels; the number is that of its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Right,
    Left,
}

impl Way {
    const BOTH: [Self; 2] = [Self::Right, Self::Left];

    fn back(self) -> Self {
        match self {
            Self::Right => Self::Left,
            Self::Left => Self::Right,
        }
    }
}

struct Ring {
    ranks: u32,
    even: bool,
    /// Ranks on either side of a chunk's owner; with an even number of ranks one more on the right.
    side: u32,
}

impl Ring {
    /// The rank, or the chunk of the rank, `n` places on; `n` is at most P.
    fn ahead(&self, rank: u32, way: Way, n: u32) -> u32 {
        match way {
            Way::Right => (rank + n) % self.ranks,
            Way::Left => (rank + self.ranks - n) % self.ranks,
        }
    }

    fn behind(&self, rank: u32, way: Way, n: u32) -> u32 {
        self.ahead(rank, way.back(), n)
    }

    /// How far the last rank of the arm that travels `way` is from the owner of its chunk.
    fn short(&self, way: Way) -> u32 {
        u32::from(self.even && way == Way::Left)
    }

    /// Where the last rank of an arm keeps its half.
    fn half(rank: u32, way: Way) -> Address {
        Address::slot(rank, way as u32)
    }

    /// Steps in which an arm grows. Two ranks have a step 0, which copies the input.
    fn growth(&self) -> Range<u32> {
        match self.even {
            true => u32::from(self.side > 0)..self.side + 1,
            false => 1..self.side.max(1),
        }
    }

    /// Two ranks are each other's neighbours on both sides: what one of them announces last stands for all before it.
    fn is_announced(&self, way: Way) -> bool {
        self.ranks > 2 || way == Way::Left
    }

    fn announce(&self, instruction: Instruction, rank: u32, way: Way) -> Instruction {
        if self.is_announced(way) { instruction.notify(self.ahead(rank, way, 1), 0) } else { instruction }
    }

    /// Wait for the `n`-th announcement that comes `way`.
    fn await_nth(&self, instruction: Instruction, rank: u32, way: Way, n: usize) -> Instruction {
        if n > 0 && self.is_announced(way) {
            instruction.wait_for(0, self.behind(rank, way, 1), n as u32)
        } else {
            instruction
        }
    }

    fn lane(&self, rank: u32) -> Lane {
        let grow = self.growth().flat_map(|s| Way::BOTH.map(|way| self.grow(rank, way, s)));
        let meet = match self.even {
            true => Way::BOTH.map(|way| self.exchange(rank, way)).to_vec(),
            false => vec![self.meet(rank)],
        };
        let spread = (1..=self.side).flat_map(|s| Way::BOTH.map(|way| self.spread(rank, way, s)));
        Lane { rank, instructions: grow.chain(meet).chain(spread).collect() }
    }

    /// Step s of the reduce-scatter: add the own contribution to what came `way`.
    fn grow(&self, rank: u32, way: Way, s: u32) -> Instruction {
        let before = self.behind(rank, way, 1);
        let chunk = self.ahead(rank, way, self.side - s + self.short(way));
        let own = Address::input(rank, chunk);
        let last = self.even && s == self.side;
        let instruction = Instruction::new((RS, s)).to(match last {
            true => Self::half(rank, way),
            false => Address::output(rank, chunk),
        });
        let instruction = match s {
            0 => instruction.copy(own),
            1 => instruction.reduce(Address::input(before, chunk), own),
            _ => instruction.reduce(Address::output(before, chunk), own),
        };
        let instruction = self.await_nth(instruction, rank, way, (self.growth().start..s).len());
        self.announce(instruction, rank, way)
    }

    /// An odd number of ranks: both arms end next to the owner, who adds them to its contribution and sends the sum back.
    fn meet(&self, rank: u32) -> Instruction {
        let arm = match self.side {
            0 | 1 => Address::input,
            _ => Address::output,
        };
        let [left, right] = Way::BOTH.map(|way| arm(self.behind(rank, way, 1), rank));
        let own = Address::input(rank, rank);
        let instruction = Instruction::new((RS, self.side)).to(Address::output(rank, rank));
        if self.side == 0 {
            return instruction.copy(own);
        }
        Way::BOTH.into_iter().fold(instruction.reduce_all([left, own, right]), |instruction, way| {
            let instruction = self.await_nth(instruction, rank, way, self.growth().len());
            self.announce(instruction, rank, way)
        })
    }

    /// An even number: the last rank of the arm that travels `way` adds the half of the other arm, which ends next to it.
    fn exchange(&self, rank: u32, way: Way) -> Instruction {
        let back = way.back();
        let chunk = self.ahead(rank, way, self.short(way));
        let instruction = Instruction::new((RS, self.side + 1))
            .reduce(Self::half(rank, way), Self::half(self.behind(rank, back, 1), back))
            .to(Address::output(rank, chunk));
        let instruction = self.await_nth(instruction, rank, back, self.growth().len());
        if self.side > 0 { self.announce(instruction, rank, back) } else { instruction }
    }

    /// Step s of the all-gather: take over the sum that comes `way`.
    fn spread(&self, rank: u32, way: Way, s: u32) -> Instruction {
        let chunk = self.behind(rank, way, s + self.short(way.back()));
        let instruction = Instruction::new((AG, s))
            .copy(Address::output(self.behind(rank, way, 1), chunk))
            .to(Address::output(rank, chunk));
        let instruction = self.await_nth(instruction, rank, way, self.growth().len() + s as usize);
        if s < self.side { self.announce(instruction, rank, way) } else { instruction }
    }
}
