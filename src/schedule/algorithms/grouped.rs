//! All-reduce in groups of ranks whose sums all groups exchange with all others at once, and not in a ring.
//!
//! A ring of G groups waits 2(G-1) times for a message, this once or twice, and what it moves is read and written fewer times.
//! Sums of groups are added in the groups' order in either, so both give the same bits. Holders, as in [`super::hierarchical`],
//! write what is finished to all ranks of their group: nobody but they has read there.

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
    /// Every group adds a G-th of all, then takes the rest from the others: two waits, and 2(G-1)/G payloads.
    TwoPhase,
}

pub(super) fn all_reduce(name: Algorithm, groups: Groups, exchange: Exchange) -> Draft {
    let (ranks, count) = (groups.ranks(), groups.count());
    let columns = Columns::new(groups);
    // Chunks of a column.
    let cuts = if exchange == Exchange::TwoPhase { count } else { 1 };
    let alone = count == 1;
    let mut schedule = Schedule::new(name, Collective::AllReduce, ranks, columns.count * cuts);
    if !alone {
        let slots = |rank| {
            let (group, index) = columns.groups.of(rank);
            cuts * columns.held(group, index).count() as u32
        };
        schedule = schedule.slots_of_ranks((0..ranks).map(slots)).signal_rows(1);
    }
    Draft::new(schedule, move |rank| [lane(&columns, rank, cuts)])
}

fn lane(columns: &Columns, rank: u32, cuts: u32) -> Lane {
    let groups = &columns.groups;
    let (group, index) = groups.of(rank);
    let count = groups.count();
    // From the next one on, so that not all read from one group at a time.
    let others = || (1..count).map(move |step| (group + step) % count);
    let members = || groups.members(group);
    let sum_of = |rank: u32, column: u32| {
        let (group, _) = groups.of(rank);
        Address::slot(rank, column / groups.size(group) * cuts)
    };
    let mut lane = Lane::new(rank);
    let mut awaited = Awaited::default();
    for column in columns.held(group, index) {
        let inputs = members().map(|member| Address::input(member, column * cuts));
        let sum = Instruction::new(INSIDE).reduce_all(inputs).chunks(cuts);
        lane.push(match count {
            1 => members().fold(sum, |sum, member| sum.to(Address::output(member, column * cuts))),
            _ => others().fold(sum.to(sum_of(rank, column)), |sum, other| sum.notify(groups.holder(other, column), 0)),
        });
    }
    for column in columns.held(group, index).filter(|_| count > 1) {
        let chunk = if cuts > 1 { group } else { 0 };
        let sums = (0..count).map(|of| {
            let sum = sum_of(groups.holder(of, column), column);
            Address { chunk: sum.chunk + chunk, ..sum }
        });
        let add = Instruction::new(BETWEEN).reduce_all(sums);
        let add = members().fold(add, |add, member| add.to(Address::output(member, column * cuts + chunk)));
        let add = others().fold(add, |add, other| awaited.next(add, 0, groups.holder(other, column)));
        lane.push(match cuts {
            1 => add,
            _ => others().fold(add, |add, other| add.notify(groups.holder(other, column), 0)),
        });
    }
    for column in columns.held(group, index).filter(|_| cuts > 1) {
        for (step, other) in (1..).zip(others()) {
            let (holder, chunk) = (groups.holder(other, column), column * cuts + other);
            let take = Instruction::new((AG, step)).copy(Address::output(holder, chunk));
            let take = members().fold(take, |take, member| take.to(Address::output(member, chunk)));
            lane.push(awaited.next(take, 0, holder));
        }
    }
    lane
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
