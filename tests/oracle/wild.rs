//! Tiny schedules wholly at random: what no edit of something sensible leads to.

use wgccl::collective::{Collective, Task};
use wgccl::schedule::{Address, Buffer, Granularity, Instruction, Lane, Notify, Schedule, Wait};

use super::mutate::address;
use super::promise::Promise;
use super::random::Random;

/// A schedule, and whether it is for launches in place.
pub(crate) fn wild(random: &mut Random) -> (Schedule, bool) {
    let collective = *random.pick(Collective::ALL);
    let ranks = random.between(1, 3).min(random.between(1, 3));
    let task = Task::from(collective).root(if collective.has_root() { random.below(ranks) } else { 0 });
    let mut schedule = Schedule::new("wild", task, ranks, if random.percent(80) { 1 } else { 2 });
    schedule.signal_rows = random.between(0, 2);
    if random.percent(50) {
        schedule.slots = (0..ranks).map(|_| random.between(0, 2)).collect();
    }
    if random.percent(30) {
        schedule.granularity = Granularity::DivisibleBy(schedule.chunks);
    }
    let promise = Promise::new(&schedule.task, ranks);
    let lanes = random.between(1, ranks + 1);
    for lane in 0..lanes {
        let rank = if lane < ranks { lane } else { random.below(ranks) };
        let mut lane = Lane::new(rank);
        for _ in 0..random.between(0, 3) {
            let mut instruction = Instruction::new("wild");
            if schedule.signal_rows > 0 && random.percent(35) {
                let (row, at_least) =
                    (random.below(schedule.signal_rows), random.between(1, 2).min(random.between(1, 2)));
                instruction.waits.push(Wait { row, sender: random.below(ranks), at_least });
            }
            if random.percent(85) {
                move_something(random, &schedule, &promise, &mut instruction);
            }
            while schedule.signal_rows > 0 && random.percent(30) {
                let row = random.below(schedule.signal_rows);
                instruction.notifies.push(Notify { peer: random.below(ranks), row });
            }
            lane.push(instruction);
        }
        schedule.lanes.push(lane);
    }
    let in_place = if promise.in_place(0).is_some() { random.percent(50) } else { random.percent(2) };
    (schedule, in_place)
}

/// Rarely an input, which is not written.
fn destination(random: &mut Random, schedule: &Schedule) -> Address {
    let at = address(random, schedule);
    if at.buffer == Buffer::Input && random.percent(90) { address(random, schedule) } else { at }
}

/// Often what is wanted, to where it is wanted: else hardly any would be right.
fn move_something(random: &mut Random, schedule: &Schedule, promise: &Promise, instruction: &mut Instruction) {
    let rank = random.below(schedule.ranks);
    let outputs = promise.gets(rank) * schedule.chunks;
    if outputs > 0 && random.percent(60) {
        let chunk = random.below(outputs);
        let terms = promise.terms(rank, chunk / schedule.chunks);
        let input = |(rank, part)| Address::input(rank, part * schedule.chunks + chunk % schedule.chunks);
        instruction.from = terms.into_iter().map(input).collect();
        instruction.to.push(Address::output(rank, chunk));
    } else {
        for _ in 0..random.between(1, 2) {
            instruction.from.push(address(random, schedule));
        }
        instruction.to.push(destination(random, schedule));
    }
    if random.percent(20) {
        instruction.to.push(destination(random, schedule));
    }
    if random.percent(10) {
        instruction.chunks = 2;
    }
}
