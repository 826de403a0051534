//! Schedules that no built-in algorithm is like: unlike windows, and counts that are divisible.

use wgccl::collective::Collective;
use wgccl::schedule::{Address, Granularity, Instruction, Lane, Schedule};

/// An all-reduce of two chunks in which rank 0 alone has slots, one for each peer, and adds what the others push there.
pub(crate) fn star(ranks: u32) -> Schedule {
    let slots = (0..ranks).map(|rank| if rank == 0 { 2 * (ranks - 1) } else { 0 });
    let mut schedule = Schedule::new("star", Collective::AllReduce, ranks, 2).slots_of_ranks(slots).signal_rows(2);
    let (mut sum, mut copies) = (Lane::new(0), Vec::new());
    for chunk in 0..2 {
        let of_peers = (1..ranks).map(|peer| Address::slot(0, 2 * (peer - 1) + chunk));
        let mut add = Instruction::new(("sum", chunk + 1)).to(Address::output(0, chunk));
        for peer in 1..ranks {
            add = add.wait_for(0, peer, chunk + 1).notify(peer, 1);
        }
        sum.push(add.reduce_all([Address::input(0, chunk)].into_iter().chain(of_peers)));
    }
    for peer in 1..ranks {
        let mut lane = Lane::new(peer);
        for chunk in 0..2 {
            let push = Instruction::new(("push", chunk + 1)).copy(Address::input(peer, chunk));
            lane.push(push.to(Address::slot(0, 2 * (peer - 1) + chunk)).notify(0, 0));
        }
        for chunk in 0..2 {
            let take = Instruction::new(("take", chunk + 1)).wait_for(1, 0, chunk + 1);
            lane.push(take.copy(Address::output(0, chunk)).to(Address::output(peer, chunk)));
        }
        copies.push(lane);
    }
    schedule.lanes = [vec![sum], copies].concat();
    schedule
}

/// An all-reduce of three chunks by two ranks in which chunks lie in each other's places on the way: chunk c of the sum is
/// made in place c + 1 of rank 0's output, and brought home by rank 1. Only equal chunks may do so.
pub(crate) fn turned(granularity: Granularity) -> Schedule {
    let mut schedule =
        Schedule::new("turned", Collective::AllReduce, 2, 3).slots(3).signal_rows(4).granularity(granularity);
    let next = |chunk: u32| (chunk + 1) % 3;
    let (mut first, mut second) = (Lane::new(0), Lane::new(1));
    for chunk in 0..3 {
        let add = Instruction::new(("add", chunk + 1)).reduce(Address::input(0, chunk), Address::input(1, chunk));
        first.push(add.to(Address::output(0, next(chunk))).notify(1, chunk));
    }
    for chunk in 0..3 {
        let fetch = Instruction::new(("fetch", chunk + 1)).wait(chunk, 0).copy(Address::output(0, next(chunk)));
        let fetch = fetch.to(Address::output(1, chunk)).to(Address::slot(1, chunk));
        second.push(if chunk == 2 { fetch.notify(0, 3) } else { fetch });
    }
    let home = Instruction::new("home").wait(3, 1).copy(Address::slot(1, 0)).to(Address::output(0, 0)).chunks(3);
    schedule.lanes = vec![first.with(home), second];
    schedule
}
