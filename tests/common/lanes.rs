//! A schedule with many more lanes than a device runs workgroups, which wait for each other across ranks and within one.

use wgccl::collective::Collective;
use wgccl::schedule::{Address, Instruction, Lane, Schedule};

/// Lanes of a rank that wait for one another in a row.
const GROUP: u32 = 8;

/// Two ranks of `lanes` lanes, a chunk each. The next lane of its group stages a lane's chunk, and the lane waits for that,
/// for the peer's, and until the next lane of its group is through: so of a group the last lane goes first.
pub(crate) fn crowded(lanes: u32) -> Schedule {
    let mut schedule = Schedule::new("crowded", Collective::AllReduce, 2, lanes).slots(lanes).signal_rows(3 * lanes);
    let next = |lane: u32| if (lane + 1).is_multiple_of(GROUP) || lane + 1 == lanes { None } else { Some(lane + 1) };
    let first_of = |lane: u32| lane - lane % GROUP;
    for rank in 0..2 {
        let peer = 1 - rank;
        for lane in 0..lanes {
            // Whose chunk this lane stages: that of the lane before, or of the last of the group.
            let last = (first_of(lane) + GROUP - 1).min(lanes - 1);
            let staged = if lane == first_of(lane) { last } else { lane - 1 };
            let stage = Instruction::new("stage-in").copy(Address::input(rank, staged)).to(Address::slot(rank, staged));
            let stage = stage.notify(peer, staged).notify(rank, lanes + staged);
            let mut sum = Instruction::new("RS").wait(lane, peer).wait(lanes + lane, rank);
            if let Some(next) = next(lane) {
                sum = sum.wait(2 * lanes + next, rank);
            }
            sum = sum.reduce(Address::slot(0, lane), Address::slot(1, lane)).to(Address::output(rank, lane));
            if lane != first_of(lane) {
                sum = sum.notify(rank, 2 * lanes + lane);
            }
            schedule = schedule.lane(Lane::new(rank).with(stage).with(sum));
        }
    }
    schedule
}
