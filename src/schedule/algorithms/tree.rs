//! Trees and chains: NCCL's double binary tree all-reduce, one of these trees for reduce and broadcast, and the ring of either.
//!
//! Sums go up, complete ones come down. In an all-reduce each of two trees has half the chunks: a leaf of one is an inner
//! rank of the other, but for the ends, so that both halves together keep all ranks busy. Reduce and broadcast are one half
//! of one tree, whose ranks are numbered from the root on. (NCCL has them by ring only.) Its ring is a tree without branches.
//! Chunks follow each other through the tree, enough of them for all levels to work at once; in an all-reduce each has a lane
//! of its own for either direction, so that a sum that comes down waits for none that goes up.
//! Inner ranks keep partial sums in their output, which nobody else needs before the complete one comes down; where they
//! have none, in slots.

use std::ops::Range;

use super::phase::{AG, MOVE, RS};
use crate::collective::{Collective, Task};
use crate::schedule::{Address, Algorithm, Draft, Instruction, Lane, Schedule};

/// Chunks of a ring: NCCL_STEPS, what NCCL's rings have on the way at a time. The pipeline of P ranks is full for 8 of P+6 steps.
const PIPELINE: u32 = 8;

pub(super) fn all_reduce(name: Algorithm, ranks: u32) -> Draft {
    let collective = Collective::AllReduce;
    let trees = [Shape::Plain, Shape::Twin].map(|shape| Tree::new(collective, shape, 0, ranks));
    let chunks = trees[0].height().max(1);
    let rows = if ranks == 1 { 0 } else { 2 };
    let schedule = Schedule::new(name, collective, ranks, 2 * chunks).signal_rows(rows);
    Draft::new(schedule, move |rank| {
        let rows = (0..).zip(&trees);
        rows.flat_map(|(row, tree)| tree.lanes(rank, row, row * chunks..(row + 1) * chunks)).collect::<Vec<Lane>>()
    })
}

/// Reduce or broadcast by a tree.
pub(super) fn tree(name: Algorithm, task: Task, ranks: u32) -> Draft {
    let tree = Tree::new(task.collective, Shape::Plain, task.root, ranks);
    let chunks = tree.height().max(1);
    rooted(name, task, ranks, tree, chunks)
}

/// Reduce or broadcast by a ring.
pub(super) fn ring(name: Algorithm, task: Task, ranks: u32) -> Draft {
    let tree = Tree::new(task.collective, Shape::Chain, task.root, ranks);
    // Two ranks are no pipeline.
    rooted(name, task, ranks, tree, if ranks > 2 { PIPELINE } else { 1 })
}

fn rooted(name: Algorithm, task: Task, ranks: u32, tree: Tree, chunks: u32) -> Draft {
    // Next to the inputs nobody waits, and nobody keeps anything.
    let inner = ranks > 2;
    let slots = if inner && tree.collective.reduces() { chunks } else { 0 };
    let schedule = Schedule::new(name, task, ranks, chunks).slots(slots).signal_rows(inner.into());
    Draft::new(schedule, move |rank| tree.lanes(rank, 0, 0..chunks))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// NCCL's `ncclGetBtree`: leaves are the odd ranks.
    Plain,
    /// NCCL's `ncclGetDtree`: its mirror image for an even number of ranks, else the same, one rank on.
    Twin,
    /// A ring that is cut at the root: what goes up goes to the right, and so does what comes down.
    Chain,
}

impl Shape {
    /// The place in the tree of the rank `distance` to the right of the root.
    fn place(self, collective: Collective, distance: u32, ranks: u32) -> u32 {
        match self {
            Self::Chain if collective.reduces() => (ranks - distance) % ranks,
            Self::Plain | Self::Chain => distance,
            Self::Twin if ranks.is_multiple_of(2) => ranks - 1 - distance,
            Self::Twin => (distance + ranks - 1) % ranks,
        }
    }

    /// The place above `place`.
    fn parent(self, place: u32, ranks: u32) -> Option<u32> {
        let before = place.checked_sub(1)?;
        if self == Self::Chain {
            return Some(before);
        }
        let lowest_bit = place & place.wrapping_neg();
        let without = place ^ lowest_bit;
        let up = without | lowest_bit << 1;
        Some(if up < ranks { up } else { without })
    }
}

struct Tree {
    collective: Collective,
    parent: Vec<Option<u32>>,
    children: Vec<Vec<u32>>,
}

impl Tree {
    fn new(collective: Collective, shape: Shape, root: u32, ranks: u32) -> Self {
        let place = |rank: u32| shape.place(collective, (rank + ranks - root) % ranks, ranks);
        let mut rank_at = vec![0; ranks as usize];
        (0..ranks).for_each(|rank| rank_at[place(rank) as usize] = rank);
        let parent = |rank| shape.parent(place(rank), ranks).map(|place| rank_at[place as usize]);
        let parent: Vec<Option<u32>> = (0..ranks).map(parent).collect();
        let mut children = vec![Vec::new(); ranks as usize];
        for rank in 0..ranks {
            if let Some(parent) = parent[rank as usize] {
                children[parent as usize].push(rank);
            }
        }
        Self { collective, parent, children }
    }

    /// Levels below the root.
    fn height(&self) -> u32 {
        let above = |rank: Option<u32>| rank.and_then(|rank| self.parent[rank as usize]);
        let depth = |rank| std::iter::successors(above(Some(rank)), |&rank| above(Some(rank))).count();
        (0..self.parent.len() as u32).map(depth).max().unwrap_or(0) as u32
    }

    fn is_leaf(&self, rank: u32) -> bool {
        self.children[rank as usize].is_empty()
    }

    /// A lane for what goes up, but not of a leaf, and a lane for what comes down, but not of the root.
    fn lanes(&self, rank: u32, row: u32, chunks: Range<u32>) -> Vec<Lane> {
        let lane = |step: &dyn Fn(u32, u32) -> Instruction| {
            let steps = (0..).zip(chunks.clone()).map(|(n, chunk)| step(chunk, n));
            Lane { rank, instructions: steps.collect() }
        };
        let parent = self.parent[rank as usize];
        let goes_up = !self.is_leaf(rank) || parent.is_none();
        let up = match self.collective.reduces() {
            true => goes_up.then(|| lane(&|chunk, n| self.up(rank, row, chunk, n))),
            false => parent.is_none().then(|| {
                let (from, to) = (Address::input(rank, chunks.start), Address::output(rank, chunks.start));
                let keep = Instruction::new(MOVE).copy(from).to(to).chunks(chunks.len() as u32);
                Lane::new(rank).with(keep)
            }),
        };
        let parent = parent.filter(|_| self.collective.gives_all_the_same());
        let down = parent.map(|parent| lane(&|chunk, n| self.down(rank, parent, row, chunk, n)));
        up.into_iter().chain(down).collect()
    }

    /// What an all-reduce has of both, the others have one of.
    fn phase(&self, phase: &'static str) -> &'static str {
        if self.collective == Collective::AllReduce { phase } else { MOVE }
    }

    /// Where `rank` keeps the sum of what is below it.
    fn partial(&self, rank: u32, chunk: u32) -> Address {
        match self.collective {
            Collective::Reduce if self.parent[rank as usize].is_some() => Address::slot(rank, chunk),
            _ => Address::output(rank, chunk),
        }
    }

    /// Reduce the children's n-th chunk with the own one.
    fn up(&self, rank: u32, row: u32, chunk: u32, n: u32) -> Instruction {
        let children = &self.children[rank as usize];
        let below = |&child: &u32| match self.is_leaf(child) {
            true => Address::input(child, chunk),
            false => self.partial(child, chunk),
        };
        let own = Address::input(rank, chunk);
        let up = Instruction::new((self.phase(RS), n + 1))
            .reduce_all([own].into_iter().chain(children.iter().map(below)))
            .to(self.partial(rank, chunk));
        let inner = children.iter().filter(|&&child| !self.is_leaf(child));
        let up = inner.fold(up, |up, &child| up.wait_for(row, child, n + 1));
        match self.parent[rank as usize] {
            Some(parent) => up.notify(parent, row),
            None if self.collective.gives_all_the_same() => self.announce(up, rank, row),
            None => up,
        }
    }

    /// Take the n-th complete chunk over from the parent.
    fn down(&self, rank: u32, parent: u32, row: u32, chunk: u32, n: u32) -> Instruction {
        let down = Instruction::new((self.phase(AG), n + 1)).to(Address::output(rank, chunk));
        // A broadcast's root has it from the beginning.
        let given = !self.collective.reduces() && self.parent[parent as usize].is_none();
        let down = match given {
            true => down.copy(Address::input(parent, chunk)),
            false => down.wait_for(row, parent, n + 1).copy(Address::output(parent, chunk)),
        };
        self.announce(down, rank, row)
    }

    fn announce(&self, instruction: Instruction, rank: u32, row: u32) -> Instruction {
        self.children[rank as usize].iter().fold(instruction, |instruction, &child| instruction.notify(child, row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(shape: Shape, root: u32, ranks: u32) -> Tree {
        Tree::new(Collective::Reduce, shape, root, ranks)
    }

    /// The trees that NCCL draws in its source.
    #[test]
    fn trees_are_those_of_nccl() {
        let none = u32::MAX;
        let of_root = |shape, root, ranks| -> Vec<u32> {
            new(shape, root, ranks).parent.into_iter().map(|parent| parent.unwrap_or(none)).collect()
        };
        let parents = |shape, ranks| of_root(shape, 0, ranks);
        assert_eq!(parents(Shape::Plain, 14), [none, 2, 4, 2, 8, 6, 4, 6, 0, 10, 12, 10, 8, 12]);
        assert_eq!(parents(Shape::Plain, 12), [none, 2, 4, 2, 8, 6, 4, 6, 0, 10, 8, 10]);
        assert_eq!(parents(Shape::Twin, 12), [1, 3, 1, 11, 5, 7, 5, 3, 9, 7, 9, none]);
        assert_eq!(parents(Shape::Plain, 13), [none, 2, 4, 2, 8, 6, 4, 6, 0, 10, 12, 10, 8]);
        assert_eq!(parents(Shape::Twin, 13), [9, none, 3, 5, 3, 9, 7, 5, 7, 1, 11, 0, 11]);
        assert_eq!(parents(Shape::Plain, 1), [none]);
        assert_eq!(parents(Shape::Twin, 2), [1, none]);
        // Another root has the same tree, with ranks counted from the root on.
        assert_eq!(of_root(Shape::Plain, 2, 5), [4, 2, none, 4, 1]);
        // Both rings go to the right.
        assert_eq!(of_root(Shape::Chain, 1, 4), [1, none, 3, 0]);
        let broadcast = Tree::new(Collective::Broadcast, Shape::Chain, 1, 4);
        assert_eq!(broadcast.parent, [Some(3), None, Some(1), Some(2)]);
    }

    #[test]
    fn both_trees_are_as_high_as_a_binary_tree_must_be_and_share_the_work() {
        for ranks in 1..=130_u32 {
            let trees = [Shape::Plain, Shape::Twin].map(|shape| new(shape, 0, ranks));
            let height = ranks.next_power_of_two().ilog2();
            assert_eq!(trees.each_ref().map(Tree::height), [height; 2], "{ranks}");
            let inner_twice = (0..ranks).filter(|&rank| trees.iter().all(|tree| !tree.is_leaf(rank))).count();
            assert!(inner_twice <= 2, "{ranks}: {inner_twice}");
        }
    }
}
