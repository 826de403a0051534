//! Double binary tree all-reduce, after NCCL: two trees, each over half the chunks; sums go up and come down again.
//!
//! A leaf of one tree is an inner rank of the other, but for the ends, so that both halves together keep all ranks busy.
//! A tree has as many chunks as levels below its root: then all levels work at once, on chunks one behind the other,
//! and each has a lane of its own for either direction, so that a sum that comes down waits for none that goes up.
//! Inner ranks keep partial sums in their output, which nobody else needs before the complete one comes down.

use std::ops::Range;

use super::{Address, Instruction, Lane, Phase, Schedule};
use crate::collective::Collective;

pub(super) fn all_reduce(name: &str, ranks: u32) -> Schedule {
    let trees = [Shape::Plain, Shape::Twin].map(|shape| Tree::new(ranks, shape));
    let chunks = trees[0].height.max(1);
    let rows = if ranks == 1 { 0 } else { 2 };
    let mut schedule = Schedule::new(name, Collective::AllReduce, ranks, 2 * chunks).signal_rows(rows);
    for rank in 0..ranks {
        for (row, tree) in (0..).zip(&trees) {
            schedule.lanes.extend(tree.lanes(rank, row, row * chunks..(row + 1) * chunks));
        }
    }
    schedule
}

/// Which of the two trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// NCCL's `ncclGetBtree`: leaves are the odd ranks.
    Plain,
    /// NCCL's `ncclGetDtree`: its mirror image for an even number of ranks, else the same, one rank on.
    Twin,
}

impl Shape {
    /// The rank at `rank`'s place in the plain tree.
    fn place(self, rank: u32, ranks: u32) -> u32 {
        match self {
            Self::Plain => rank,
            Self::Twin if ranks.is_multiple_of(2) => ranks - 1 - rank,
            Self::Twin => (rank + ranks - 1) % ranks,
        }
    }

    fn rank_at(self, rank: u32, ranks: u32) -> u32 {
        match self {
            Self::Twin if !ranks.is_multiple_of(2) => (rank + 1) % ranks,
            _ => self.place(rank, ranks),
        }
    }

    fn parent(self, rank: u32, ranks: u32) -> Option<u32> {
        let rank = self.place(rank, ranks);
        if rank == 0 {
            return None;
        }
        let lowest_bit = rank & rank.wrapping_neg();
        let without = rank ^ lowest_bit;
        let up = without | lowest_bit << 1;
        Some(self.rank_at(if up < ranks { up } else { without }, ranks))
    }
}

struct Tree {
    parent: Vec<Option<u32>>,
    children: Vec<Vec<u32>>,
    /// Levels below the root.
    height: u32,
}

impl Tree {
    fn new(ranks: u32, shape: Shape) -> Self {
        let parent: Vec<Option<u32>> = (0..ranks).map(|rank| shape.parent(rank, ranks)).collect();
        let mut children = vec![Vec::new(); ranks as usize];
        let mut height = 0;
        for rank in 0..ranks {
            if let Some(parent) = parent[rank as usize] {
                children[parent as usize].push(rank);
            }
            let ancestors = std::iter::successors(parent[rank as usize], |&ancestor| parent[ancestor as usize]);
            height = height.max(ancestors.count() as u32);
        }
        Self { parent, children, height }
    }

    fn is_leaf(&self, rank: u32) -> bool {
        self.children[rank as usize].is_empty()
    }

    /// A lane for what goes up, but not of a leaf, and a lane for what comes down, but not of the root.
    fn lanes(&self, rank: u32, row: u32, chunks: Range<u32>) -> impl Iterator<Item = Lane> {
        let lane = |step: &dyn Fn(u32, u32) -> Instruction| {
            let steps = (0..).zip(chunks.clone()).map(|(n, chunk)| step(chunk, n));
            Lane { rank, instructions: steps.collect() }
        };
        let parent = self.parent[rank as usize];
        let goes_up = !self.is_leaf(rank) || parent.is_none();
        let up = goes_up.then(|| lane(&|chunk, n| self.up(rank, row, chunk, n)));
        let down = parent.map(|parent| lane(&|chunk, n| self.down(rank, parent, row, chunk, n)));
        up.into_iter().chain(down)
    }

    /// Reduce the children's n-th chunk with the own one.
    fn up(&self, rank: u32, row: u32, chunk: u32, n: u32) -> Instruction {
        let children = &self.children[rank as usize];
        let partial = |&child: &u32| match self.is_leaf(child) {
            true => Address::input(child, chunk),
            false => Address::output(child, chunk),
        };
        let own = Address::input(rank, chunk);
        let up = Instruction::new(Phase::ReduceScatter, n + 1)
            .reduce_all([own].into_iter().chain(children.iter().map(partial)))
            .to(Address::output(rank, chunk));
        let inner = children.iter().filter(|&&child| !self.is_leaf(child));
        let up = inner.fold(up, |up, &child| up.wait_for(row, child, n + 1));
        match self.parent[rank as usize] {
            Some(parent) => up.notify(parent, row),
            None => self.announce(up, rank, row),
        }
    }

    /// Take the n-th complete chunk over from the parent.
    fn down(&self, rank: u32, parent: u32, row: u32, chunk: u32, n: u32) -> Instruction {
        let down = Instruction::new(Phase::AllGather, n + 1)
            .wait_for(row, parent, n + 1)
            .copy(Address::output(parent, chunk))
            .to(Address::output(rank, chunk));
        self.announce(down, rank, row)
    }

    fn announce(&self, instruction: Instruction, rank: u32, row: u32) -> Instruction {
        self.children[rank as usize].iter().fold(instruction, |instruction, &child| instruction.notify(child, row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The trees that NCCL draws in its source.
    #[test]
    fn trees_are_those_of_nccl() {
        let none = u32::MAX;
        let parents = |shape: Shape, ranks| -> Vec<u32> {
            (0..ranks).map(|rank| shape.parent(rank, ranks).unwrap_or(none)).collect()
        };
        assert_eq!(parents(Shape::Plain, 14), [none, 2, 4, 2, 8, 6, 4, 6, 0, 10, 12, 10, 8, 12]);
        assert_eq!(parents(Shape::Plain, 12), [none, 2, 4, 2, 8, 6, 4, 6, 0, 10, 8, 10]);
        assert_eq!(parents(Shape::Twin, 12), [1, 3, 1, 11, 5, 7, 5, 3, 9, 7, 9, none]);
        assert_eq!(parents(Shape::Plain, 13), [none, 2, 4, 2, 8, 6, 4, 6, 0, 10, 12, 10, 8]);
        assert_eq!(parents(Shape::Twin, 13), [9, none, 3, 5, 3, 9, 7, 5, 7, 1, 11, 0, 11]);
        assert_eq!(parents(Shape::Plain, 1), [none]);
        assert_eq!(parents(Shape::Twin, 2), [1, none]);
    }

    #[test]
    fn both_trees_are_as_high_as_a_binary_tree_must_be_and_share_the_work() {
        for ranks in 1..=130_u32 {
            let trees = [Shape::Plain, Shape::Twin].map(|shape| Tree::new(ranks, shape));
            let height = ranks.next_power_of_two().ilog2();
            assert_eq!(trees.each_ref().map(|tree| tree.height), [height; 2], "{ranks}");
            let inner_twice = (0..ranks).filter(|&rank| trees.iter().all(|tree| !tree.is_leaf(rank))).count();
            assert!(inner_twice <= 2, "{ranks}: {inner_twice}");
        }
    }
}
