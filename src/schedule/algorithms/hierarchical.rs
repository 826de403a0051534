//! Hierarchical algorithms: within groups directly, between groups by a ring, so that little crosses from group to group.
//!
//! Of each group one rank stands for a chunk (its holder): between two groups a chunk crosses once in each half of an
//! all-reduce. What a holder works on lies in slots of its own and nothing is written twice, so readers are never waited for.
//! Notifies from one rank to another come in one order on both sides, and waits count them: two rows are enough.

use rustc_hash::FxHashMap;

use super::phase::MOVE;
use crate::collective::{Collective, Task};
use crate::schedule::{Address, Algorithm, Draft, Groups, Instruction, Lane, Schedule};

/// Signals from group to group.
const BETWEEN: u32 = 0;
/// Signals within a group.
const INSIDE: u32 = 1;
const ROWS: u32 = 2;

const RS_INSIDE: &str = "RS inside";
const RS_BETWEEN: &str = "RS between";
const AG_BETWEEN: &str = "AG between";
const AG_INSIDE: &str = "AG inside";

/// Any of the four collectives.
pub(super) fn build(name: Algorithm, task: Task, groups: Groups) -> Draft {
    match task.collective {
        Collective::AllGather => all_gather(name, groups),
        Collective::ReduceScatter => reduce_scatter(name, groups),
        Collective::Broadcast => broadcast(name, task, groups),
        _ => all_reduce(name, groups),
    }
}

/// How many notifies a rank has awaited of each other.
#[derive(Default)]
pub(super) struct Awaited(FxHashMap<(u32, u32), u32>);

impl Awaited {
    /// `instruction`, which waits for the next notify of `sender`.
    pub(super) fn next(&mut self, instruction: Instruction, row: u32, sender: u32) -> Instruction {
        let count = self.0.entry((row, sender)).or_insert(0);
        *count += 1;
        instruction.wait_for(row, sender, *count)
    }
}

/// `instruction`, which notifies the others of a group.
fn told(groups: &Groups, group: u32, rank: u32, instruction: Instruction) -> Instruction {
    let others = groups.members(group).filter(|&member| member != rank);
    others.fold(instruction, |instruction, member| instruction.notify(member, INSIDE))
}

/// Groups in a ring.
fn ring(groups: &Groups, group: u32, back: u32) -> u32 {
    (group + groups.count() - back % groups.count()) % groups.count()
}

/// Columns of the payload: column c is held by place c of each group, and is cut into a chunk for each group.
pub(super) struct Columns {
    pub(super) groups: Groups,
    pub(super) count: u32,
}

impl Columns {
    pub(super) fn new(groups: Groups) -> Self {
        /// Of groups of unlike sizes: more columns would be cut too short.
        const MOST: u32 = 64;
        let sizes = (0..groups.count()).map(|group| groups.size(group));
        let largest = sizes.clone().max().unwrap_or(1);
        let common = sizes.fold(1_u32, |a, b| a.saturating_mul(b / gcd(a, b)));
        Self { count: if common <= MOST.max(largest) { common } else { largest }, groups }
    }

    /// Columns of a place of a group.
    pub(super) fn held(&self, group: u32, index: u32) -> impl Iterator<Item = u32> + use<> {
        (index..self.count).step_by(self.groups.size(group) as usize)
    }

    /// Where `rank`'s group's sum of a chunk lies.
    fn own(&self, rank: u32, column: u32, chunk: u32) -> Address {
        let (group, _) = self.groups.of(rank);
        Address::slot(rank, column / self.groups.size(group) * self.groups.count() + chunk)
    }

    /// Where the sum of several groups lies.
    fn partial(&self, rank: u32, column: u32, chunk: u32) -> Address {
        let (group, index) = self.groups.of(rank);
        let Address { chunk: own, .. } = self.own(rank, column, chunk);
        Address::slot(rank, self.held(group, index).count() as u32 * self.groups.count() + own)
    }

    fn output(&self, rank: u32, column: u32, chunk: u32) -> Address {
        Address::output(rank, column * self.groups.count() + chunk)
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn all_reduce(name: Algorithm, groups: Groups) -> Draft {
    let ranks = groups.ranks();
    let columns = Columns::new(groups);
    let count = columns.groups.count();
    let mut schedule = Schedule::new(name, Collective::AllReduce, ranks, columns.count * count).signal_rows(ROWS);
    if count > 1 {
        let slots = |rank| {
            let (group, index) = columns.groups.of(rank);
            2 * count * columns.held(group, index).count() as u32
        };
        schedule = schedule.slots_of_ranks((0..ranks).map(slots));
    }
    Draft::new(schedule, move |rank| [columns.lane(rank)])
}

impl Columns {
    fn lane(&self, rank: u32) -> Lane {
        let groups = &self.groups;
        let (group, index) = groups.of(rank);
        let count = groups.count();
        let (left, right) = (ring(groups, group, 1), ring(groups, group, count - 1));
        let mut lane = Lane::new(rank);
        let mut awaited = Awaited::default();
        for column in self.held(group, index) {
            let inputs = groups.members(group).map(|member| Address::input(member, column * count));
            let sum = Instruction::new(RS_INSIDE).reduce_all(inputs).chunks(count);
            lane.push(match count {
                1 => told(groups, group, rank, sum.to(self.output(rank, column, 0))),
                _ => sum.to(self.own(rank, column, 0)).notify(groups.holder(right, column), BETWEEN),
            });
        }
        for round in 1..count {
            for column in self.held(group, index) {
                let (from, to) = (groups.holder(left, column), groups.holder(right, column));
                let chunk = ring(groups, group, 1 + round);
                let theirs = match round {
                    1 => self.own(from, column, chunk),
                    _ => self.partial(from, column, chunk),
                };
                let into = match round == count - 1 {
                    true => self.output(rank, column, chunk),
                    false => self.partial(rank, column, chunk),
                };
                let add = Instruction::new((RS_BETWEEN, round)).reduce(theirs, self.own(rank, column, chunk)).to(into);
                lane.push(awaited.next(add, BETWEEN, from).notify(to, BETWEEN));
            }
        }
        for round in 1..count {
            for column in self.held(group, index) {
                let (from, to) = (groups.holder(left, column), groups.holder(right, column));
                let chunk = ring(groups, group, round);
                let take = Instruction::new((AG_BETWEEN, round)).copy(self.output(from, column, chunk));
                let take = awaited.next(take.to(self.output(rank, column, chunk)), BETWEEN, from);
                lane.push(match round == count - 1 {
                    true => told(groups, group, rank, take),
                    false => take.notify(to, BETWEEN),
                });
            }
        }
        for column in 0..self.count {
            let holder = groups.holder(group, column);
            if holder != rank {
                let take = Instruction::new(AG_INSIDE).copy(self.output(holder, column, 0)).chunks(count);
                lane.push(awaited.next(take.to(self.output(rank, column, 0)), INSIDE, holder));
            }
        }
        lane
    }
}

/// Parts go round the ring of groups, from holder to holder; each group's members take them from theirs.
fn all_gather(name: Algorithm, groups: Groups) -> Draft {
    let schedule = Schedule::new(name, Collective::AllGather, groups.ranks(), 1).signal_rows(ROWS);
    Draft::new(schedule, move |rank| [gather(&groups, rank)])
}

/// The parts of `group` for which place `index` of a group of `size` stands.
fn held_of(groups: &Groups, group: u32, index: u32, size: u32) -> impl Iterator<Item = (u32, u32)> + use<> {
    let first = groups.members(group).start;
    (index..groups.size(group)).step_by(size as usize).map(move |place| (place, first + place))
}

fn gather(groups: &Groups, rank: u32) -> Lane {
    let (group, index) = groups.of(rank);
    let (count, size) = (groups.count(), groups.size(group));
    let (left, right) = (ring(groups, group, 1), ring(groups, group, count - 1));
    let mut lane = Lane::new(rank);
    let mut awaited = Awaited::default();
    // A part is there from the beginning where it is an input.
    let source =
        |from: u32, part: u32| if from == part { Address::input(from, 0) } else { Address::output(from, part) };
    lane.push(Instruction::new(MOVE).copy(source(rank, rank)).to(Address::output(rank, rank)));
    for step in 1..count {
        for (place, part) in held_of(groups, ring(groups, group, step), index, size) {
            let from = groups.holder(left, place);
            let mut take =
                Instruction::new((AG_BETWEEN, step)).copy(source(from, part)).to(Address::output(rank, part));
            if from != part {
                take = awaited.next(take, BETWEEN, from);
            }
            if step + 1 < count {
                take = take.notify(groups.holder(right, place), BETWEEN);
            }
            lane.push(told(groups, group, rank, take));
        }
    }
    // As each holder gets them.
    for step in 0..count {
        let of = ring(groups, group, step);
        for (place, part) in groups.members(of).enumerate() {
            let holder = groups.holder(group, place as u32);
            if holder != rank {
                let take = Instruction::new(AG_INSIDE).copy(source(holder, part)).to(Address::output(rank, part));
                lane.push(if holder == part { take } else { awaited.next(take, INSIDE, holder) });
            }
        }
    }
    lane
}

/// The sum for a rank goes round the ring of groups and ends in its own; each holder adds its group's inputs to it.
fn reduce_scatter(name: Algorithm, groups: Groups) -> Draft {
    let ranks = groups.ranks();
    let slots = |rank| {
        let (group, index) = groups.of(rank);
        held_before(&groups, group, index, groups.count())
    };
    let schedule = Schedule::new(name, Collective::ReduceScatter, ranks, 1).signal_rows(ROWS);
    let schedule = schedule.slots_of_ranks((0..ranks).map(slots));
    Draft::new(schedule, move |rank| [scatter(&groups, rank)])
}

/// Parts of the groups 1 to `step` - 1 steps back for which place `index` of `group` stands.
fn held_before(groups: &Groups, group: u32, index: u32, step: u32) -> u32 {
    let size = groups.size(group);
    let held = |step| held_of(groups, ring(groups, group, step), index, size).count() as u32;
    (1..step).map(held).sum()
}

fn scatter(groups: &Groups, rank: u32) -> Lane {
    let (group, index) = groups.of(rank);
    let (count, size) = (groups.count(), groups.size(group));
    let (left, right) = (ring(groups, group, 1), ring(groups, group, count - 1));
    let slot = |rank: u32, step: u32, place: u32| {
        let (group, index) = groups.of(rank);
        Address::slot(rank, held_before(groups, group, index, step) + place / groups.size(group))
    };
    let mut lane = Lane::new(rank);
    let mut awaited = Awaited::default();
    for step in 1..=count {
        for (place, part) in held_of(groups, ring(groups, group, step), index, size) {
            let from = groups.holder(left, place);
            let theirs = (step > 1).then(|| slot(from, step - 1, place));
            let inputs = groups.members(group).map(|member| Address::input(member, part));
            let mut sum = Instruction::new((RS_BETWEEN, step)).reduce_all(theirs.into_iter().chain(inputs));
            if step > 1 {
                sum = awaited.next(sum, BETWEEN, from);
            }
            lane.push(match step == count {
                true => sum.to(Address::output(rank, 0)),
                false => sum.to(slot(rank, step, place)).notify(groups.holder(right, place), BETWEEN),
            });
        }
    }
    lane
}

/// Along a chain of holders, chunk by chunk; each group's members take it from theirs.
fn broadcast(name: Algorithm, task: Task, groups: Groups) -> Draft {
    let (root, chunks) = (task.root, groups.count());
    let schedule = Schedule::new(name, task, groups.ranks(), chunks).signal_rows(ROWS);
    Draft::new(schedule, move |rank| [cast(&groups, root, chunks, rank)])
}

fn cast(groups: &Groups, root: u32, chunks: u32, rank: u32) -> Lane {
    let ((group, _), (first, place)) = (groups.of(rank), groups.of(root));
    let count = groups.count();
    let step = (group + count - first) % count;
    let holder = groups.holder(group, place);
    let mut lane = Lane::new(rank);
    if step == 0 {
        // The root's input is there from the beginning.
        let take = Instruction::new(MOVE).copy(Address::input(root, 0)).to(Address::output(rank, 0));
        lane.push(take.chunks(chunks));
        return lane;
    }
    let mut awaited = Awaited::default();
    let before = groups.holder(ring(groups, group, 1), place);
    let after = groups.holder(ring(groups, group, count - 1), place);
    for chunk in 0..chunks {
        let (from, row) = if rank == holder { (before, BETWEEN) } else { (holder, INSIDE) };
        let source = if from == root { Address::input(root, chunk) } else { Address::output(from, chunk) };
        let mut take = Instruction::new((MOVE, chunk + 1)).copy(source).to(Address::output(rank, chunk));
        if from != root {
            take = awaited.next(take, row, from);
        }
        if rank == holder {
            take = told(groups, group, rank, take);
            if step + 1 < count {
                take = take.notify(after, BETWEEN);
            }
        }
        lane.push(take);
    }
    lane
}

/// Groups that algorithms in groups are proved for.
#[cfg(test)]
pub(super) const SIZES: [&[u32]; 14] = [
    &[1],
    &[4],
    &[1, 1],
    &[1, 1, 1, 1],
    &[2, 2],
    &[3, 1],
    &[1, 3],
    &[2, 3],
    &[4, 4, 4],
    &[3, 5, 2],
    &[1, 2, 3, 4],
    &[5, 1, 1, 5],
    &[7, 6],
    &[2, 2, 2, 2, 2, 2, 2, 2],
];

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::proof::{Options, check};
    use crate::schedule::Recipe;

    fn schedule(task: impl Into<Task>, groups: &Groups) -> Schedule {
        Recipe::new(task, groups.ranks()).algorithm(Algorithm::Hierarchical).groups(groups.clone()).build().unwrap()
    }

    #[test]
    fn groups_of_any_sizes_are_proved() {
        for sizes in SIZES {
            let groups = Groups::new(sizes.iter().copied()).unwrap();
            let tasks = [Collective::AllReduce, Collective::AllGather, Collective::ReduceScatter].map(Task::from);
            let broadcasts = (0..groups.ranks()).map(|root| Task::from(Collective::Broadcast).root(root));
            for task in tasks.into_iter().chain(broadcasts) {
                let schedule = schedule(task, &groups);
                for in_place in [false, true] {
                    let report = check(&schedule, Options::default().in_place(in_place));
                    assert!(report.ok(), "{groups} in place {in_place}: {schedule}\n{report}");
                    assert!(report.proofs.iter().all(|proof| proof.ok), "{groups}: {report}");
                }
            }
        }
    }

    /// Chunks that are read from another group, by reading group.
    fn crossing(schedule: &Schedule, groups: &Groups) -> Vec<u32> {
        let mut crossing = vec![0; groups.count() as usize];
        for lane in &schedule.lanes {
            let (group, _) = groups.of(lane.rank);
            for instruction in &lane.instructions {
                let far = instruction.from.iter().filter(|from| groups.of(from.rank).0 != group).count() as u32;
                crossing[group as usize] += far * instruction.chunks;
            }
        }
        crossing
    }

    #[test]
    fn no_more_crosses_than_must() {
        for sizes in SIZES {
            let groups = Groups::new(sizes.iter().copied()).unwrap();
            let (count, ranks) = (groups.count(), groups.ranks());
            let of = |collective: Collective| crossing(&schedule(collective, &groups), &groups);
            let all_reduce = schedule(Collective::AllReduce, &groups);
            // 2(G-1)/G of the payload into every group.
            let expected = vec![2 * (count - 1) * all_reduce.chunks / count; count as usize];
            assert_eq!(crossing(&all_reduce, &groups), expected, "{groups}");
            let others: Vec<u32> = (0..count).map(|group| ranks - groups.size(group)).collect();
            assert_eq!(of(Collective::AllGather), others, "{groups}");
            let all_but_one = if count > 1 { ranks } else { 0 };
            let sums: u32 = of(Collective::ReduceScatter).iter().sum();
            assert_eq!(sums, all_but_one * (count - 1), "{groups}");
        }
    }
}
