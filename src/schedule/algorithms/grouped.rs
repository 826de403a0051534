//! All-reduce in groups of ranks whose sums groups exchange with several others at once, and not in a ring.
//!
//! A ring of G groups waits 2(G-1) times for a message, this once, twice, or once in each stage, and what it moves is read and written
//! fewer times.
//! In one phase and in two, sums of groups are added in the groups' order, so both give the same bits. Holders, as in [`super::hierarchical`],
//! write what is finished to all ranks of their group: nobody but they has read there.
//!
//! What one group takes of another lies in one stretch of slots, those of the other's first rank, and is written once: between
//! processes it is sent from there, and not copied into a message first.

use super::hierarchical::{Awaited, Columns};
use super::phase::AG;
use crate::collective::Collective;
use crate::schedule::{Address, Algorithm, Draft, Groups, Instruction, Lane, Schedule};

const INSIDE: &str = "RS inside";
const BETWEEN: &str = "RS between";

/// How groups exchange their sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exchange {
    /// Every group takes every other's and adds all of them: one wait, and G-1 payloads into each group.
    OnePhase,
    /// The same among few groups, then among few of what these have: of 2ⁿ groups n waits, and n payloads into each.
    Doubling,
    /// Every group adds a G-th of all, then takes the rest from the others: two waits, and 2(G-1)/G payloads.
    TwoPhase,
}

pub(super) fn all_reduce(name: Algorithm, groups: Groups, exchange: Exchange) -> Draft {
    let (ranks, count) = (groups.ranks(), groups.count());
    let grouped = Grouped::new(groups, exchange);
    let mut schedule = Schedule::new(name, Collective::AllReduce, ranks, grouped.columns.count * grouped.cuts);
    if count > 1 {
        let slots = |rank| grouped.slots(rank);
        schedule = schedule.slots_of_ranks((0..ranks).map(slots)).signal_rows(1);
    }
    Draft::new(schedule, move |rank| [grouped.lane(rank)])
}

/// In which numbers so many groups exchange with each other, stage by stage: the prime factors of how many there are.
pub(in crate::schedule) fn stages(groups: u32) -> Vec<u32> {
    let (mut stages, mut left, mut factor) = (Vec::new(), groups, 2);
    while factor * factor <= left {
        while left.is_multiple_of(factor) {
            stages.push(factor);
            left /= factor;
        }
        factor += 1;
    }
    stages.extend((left > 1).then_some(left));
    stages
}

/// Whether whole sums in stages cost a group less than a G-th of them at a time, where each message costs as much as so many bytes
/// more.
pub(in crate::schedule) fn whole_is_cheaper(groups: u32, part_bytes: u64, of_a_message: u64) -> bool {
    let [count, part, message]: [u128; 3] = [groups.max(1).into(), part_bytes.into(), of_a_message.into()];
    let messages: u128 = stages(groups).into_iter().map(|among| u128::from(among) - 1).sum();
    messages * (message + part) <= 2 * (count - 1) * (message + part / count)
}

struct Grouped {
    columns: Columns,
    /// Chunks of a column: where each group adds one of them, one a group.
    cuts: u32,
    /// How many groups exchange with each other, stage by stage.
    stages: Vec<u32>,
}

impl Grouped {
    fn new(groups: Groups, exchange: Exchange) -> Self {
        let count = groups.count();
        let stages = match exchange {
            _ if count == 1 => Vec::new(),
            Exchange::Doubling => stages(groups.count()),
            _ => vec![count],
        };
        let cuts = if exchange == Exchange::TwoPhase { count } else { 1 };
        Self { columns: Columns::new(groups), cuts, stages }
    }

    fn groups(&self) -> &Groups {
        &self.columns.groups
    }

    /// A group's first rank has its own sums, then those of every stage but the last, whose go to outputs. In two phases its last
    /// rank has these as well: apart, because devices keep copies from the first to the last slot of a rank that they read.
    fn slots(&self, rank: u32) -> u32 {
        let (group, index) = self.groups().of(rank);
        let sums = if index == 0 { self.cuts + self.stages.len() as u32 - 1 } else { 0 };
        let finished = u32::from(self.finished(group, 0).is_some_and(|slot| slot.rank == rank));
        self.columns.count * (sums + finished)
    }

    /// A sum of a group; chunks of a cut or a stage follow each other.
    fn sum(&self, group: u32, of: u32, column: u32) -> Address {
        Address::slot(self.groups().holder(group, 0), of * self.columns.count + column)
    }

    /// In two phases, where others find what a group has finished; of a group of one rank, in its output.
    fn finished(&self, group: u32, column: u32) -> Option<Address> {
        let apart = self.cuts > 1 && self.groups().size(group) > 1;
        apart.then(|| Address::slot(self.groups().holder(group, self.groups().size(group) - 1), column))
    }

    /// The groups that exchange in a stage with this one, itself included, in order.
    fn among(&self, stage: usize, group: u32) -> impl Iterator<Item = u32> + use<> {
        let (apart, radix) = (self.stages[..stage].iter().product::<u32>(), self.stages[stage]);
        let first = group - group / apart % radix * apart;
        (0..radix).map(move |place| first + place * apart)
    }

    /// The others of them, from the next one on, so that not all read from one group at a time.
    fn others(&self, stage: usize, group: u32) -> impl Iterator<Item = u32> + Clone + use<> {
        let before: Vec<u32> = self.among(stage, group).filter(|&other| other < group).collect();
        let after: Vec<u32> = self.among(stage, group).filter(|&other| other > group).collect();
        after.into_iter().chain(before)
    }

    /// `instruction`, which tells others that it has written a column.
    fn tell(&self, instruction: Instruction, column: u32, others: impl Iterator<Item = u32>) -> Instruction {
        others.fold(instruction, |told, other| told.notify(self.groups().holder(other, column), 0))
    }

    /// To the outputs of a group: `instruction`, which makes a chunk of all that they hold of a column.
    fn finish(&self, instruction: Instruction, group: u32, cut: u32, column: u32) -> Instruction {
        let chunk = cut * self.columns.count + column;
        self.groups().members(group).fold(instruction, |to, member| to.to(Address::output(member, chunk)))
    }

    fn lane(&self, rank: u32) -> Lane {
        let (group, index) = self.groups().of(rank);
        let held = || self.columns.held(group, index);
        let mut lane = Lane::new(rank);
        let mut awaited = Awaited::default();
        for column in held() {
            // The own cut last: others wait for theirs.
            for cut in (1..=self.cuts).map(|step| (group + step) % self.cuts) {
                let chunk = cut * self.columns.count + column;
                let inputs = self.groups().members(group).map(|member| Address::input(member, chunk));
                let sum = Instruction::new(INSIDE).reduce_all(inputs);
                lane.push(match self.stages.is_empty() {
                    true => self.finish(sum, group, cut, column),
                    false => {
                        let readers = self.others(0, group).filter(|&other| self.cuts == 1 || other == cut);
                        self.tell(sum.to(self.sum(group, cut, column)), column, readers)
                    }
                });
            }
        }
        let own = if self.cuts > 1 { group } else { 0 };
        for stage in 0..self.stages.len() {
            let last = stage + 1 == self.stages.len();
            for column in held() {
                let from = if self.cuts > 1 { group } else { stage as u32 };
                let sums = self.among(stage, group).map(|other| self.sum(other, from, column));
                let round = if self.stages.len() > 1 { stage as u32 + 1 } else { 0 };
                let add = Instruction::new((BETWEEN, round)).reduce_all(sums);
                let add = match last {
                    true => self.finished(group, column).into_iter().fold(add, Instruction::to),
                    false => add.to(self.sum(group, stage as u32 + 1, column)),
                };
                let add = if last { self.finish(add, group, own, column) } else { add };
                let add = self
                    .others(stage, group)
                    .fold(add, |add, other| awaited.next(add, 0, self.groups().holder(other, column)));
                lane.push(match last {
                    true if self.cuts == 1 => add,
                    true => self.tell(add, column, self.others(stage, group)),
                    false => self.tell(add, column, self.others(stage + 1, group)),
                });
            }
        }
        for column in held().filter(|_| self.cuts > 1) {
            for (step, other) in (1..).zip(self.others(0, group)) {
                let output = Address::output(self.groups().holder(other, column), other * self.columns.count + column);
                let take = Instruction::new((AG, step)).copy(self.finished(other, column).unwrap_or(output));
                let take = self.finish(take, group, other, column);
                lane.push(awaited.next(take, 0, self.groups().holder(other, column)));
            }
        }
        lane
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::hierarchical::SIZES;
    use super::*;
    use crate::proof::{Options, check};
    use crate::schedule::Recipe;

    #[test]
    fn groups_of_any_sizes_are_proved_and_no_more_crosses_than_is_said() {
        for sizes in SIZES {
            let groups = Groups::new(sizes.iter().copied()).unwrap();
            let count = groups.count();
            // Chunks that cross into each group, for each chunk of one payload in G.
            for (algorithm, crosses) in [
                (Algorithm::HierarchicalOnePhase, count * (count - 1)),
                (
                    Algorithm::HierarchicalDoubling,
                    count * stages(groups.count()).iter().map(|among| among - 1).sum::<u32>(),
                ),
                (Algorithm::HierarchicalTwoPhase, 2 * (count - 1)),
            ] {
                let recipe = Recipe::new(Collective::AllReduce, groups.ranks()).algorithm(algorithm);
                let schedule = recipe.groups(groups.clone()).build().unwrap();
                for in_place in [false, true] {
                    let report = check(&schedule, Options::default().in_place(in_place));
                    assert!(report.ok(), "{groups} in place {in_place}: {schedule}\n{report}");
                    assert!(report.proofs.iter().all(|proof| proof.ok), "{groups}: {report}");
                }
                let mut crossing = vec![0; count as usize];
                for lane in &schedule.lanes {
                    let (group, _) = groups.of(lane.rank);
                    for instruction in &lane.instructions {
                        let far = instruction.from.iter().filter(|from| groups.of(from.rank).0 != group).count();
                        crossing[group as usize] += far as u32 * instruction.chunks;
                    }
                }
                let expected = crosses * schedule.chunks / count;
                assert_eq!(crossing, vec![expected; count as usize], "{algorithm} {groups}");
            }
        }
    }
}
