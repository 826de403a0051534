//! Ring all-to-all: parts travel from neighbour to neighbour until they are where they belong, P-1 rounds.
//!
//! It is the store-and-forward ring of machines whose links go to neighbours only. (In the pairwise exchange, which some
//! call a ring, too, every rank meets every other: that is what `mesh` does.) In each round every rank takes all that its
//! left neighbour still carries, keeps the part that is for itself and carries the others on: after round s those of
//! rank r-s for ranks r+1, r+2, ..., in this order. Two areas of slots take turns, and a rank fills one for the second time
//! only when its right neighbour has read it.

use super::phase::MOVE;
use crate::collective::Collective;
use crate::schedule::{Address, Algorithm, Draft, Instruction, Lane, Notify, Schedule};

pub(super) fn all_to_all(name: Algorithm, ranks: u32) -> Draft {
    let ring = Ring { ranks };
    let slots = ring.carried(1) + ring.carried(2);
    let schedule = Schedule::new(name, Collective::AllToAll, ranks, 1).slots(slots).signal_rows(u32::from(ranks > 2));
    Draft::new(schedule, move |rank| [ring.lane(rank)])
}

struct Ring {
    ranks: u32,
}

impl Ring {
    /// The rank `n` places to the right; `n` is less than P.
    fn right(&self, rank: u32, n: u32) -> u32 {
        (rank + n) % self.ranks
    }

    /// The rank `n` places to the left; `n` is at most P.
    fn left(&self, rank: u32, n: u32) -> u32 {
        (rank + self.ranks - n) % self.ranks
    }

    /// Parts that a rank carries on after round s.
    fn carried(&self, s: u32) -> u32 {
        (self.ranks - 1).saturating_sub(s)
    }

    /// Where `rank` carries, after round s, the n-th part.
    fn slot(&self, rank: u32, s: u32, n: u32) -> Address {
        Address::slot(rank, n + if s.is_multiple_of(2) { self.carried(1) } else { 0 })
    }

    fn lane(&self, rank: u32) -> Lane {
        let own = Instruction::new(MOVE).copy(Address::input(rank, rank)).to(Address::output(rank, rank));
        (1..self.ranks).fold(Lane::new(rank).with(own), |mut lane, s| {
            self.round(rank, s).into_iter().for_each(|instruction| lane.push(instruction));
            lane
        })
    }

    fn round(&self, rank: u32, s: u32) -> Vec<Instruction> {
        let (left, right, carried) = (self.left(rank, 1), self.right(rank, 1), self.carried(s));
        let step = || Instruction::new((MOVE, s));
        let keep = step().to(Address::output(rank, self.left(rank, s)));
        let mut round = match s {
            // From the left neighbour's input, where the parts that are carried on end at P and go on at 0.
            1 => {
                let first = self.right(rank, 1);
                let straight = carried.min(self.ranks - first);
                let carry = |n: u32, chunks: u32| {
                    let from = Address::input(left, self.right(first, n));
                    step().copy(from).to(self.slot(rank, s, n)).chunks(chunks)
                };
                let pieces = [(0, straight), (straight, carried - straight)].into_iter().filter(|&(_, n)| n > 0);
                let carry = pieces.map(|(n, chunks)| carry(n, chunks));
                [keep.copy(Address::input(left, rank))].into_iter().chain(carry).collect()
            }
            _ => {
                let keep = keep.wait_for(0, left, s - 1).copy(self.slot(left, s - 1, 0));
                let carry = step().copy(self.slot(left, s - 1, 1)).to(self.slot(rank, s, 0)).chunks(carried);
                // Filled before in round s-2, and read by the right neighbour in the round after that.
                let carry = if s > 2 { carry.wait_for(0, right, s - 2) } else { carry };
                if carried > 0 { vec![keep, carry] } else { vec![keep] }
            }
        };
        if let (Some(last), true) = (round.last_mut(), carried > 0) {
            last.notifies.push(Notify { peer: right, row: 0 });
            // The left neighbour fills its area of round s-1 again in round s+1, if there it carries anything.
            if s > 1 && self.carried(s + 1) > 0 {
                last.notifies.push(Notify { peer: left, row: 0 });
            }
        }
        round
    }
}
