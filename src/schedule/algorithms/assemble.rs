//! The lanes of all ranks, as far as the machine has memory for them.
//!
//! A number of ranks is four characters of input; what they ask for must not end the process.

use crate::schedule::room::is_there;
use crate::schedule::{Lane, Schedule};

/// Bytes that a schedule takes, and that are not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Missing(pub(super) u64);

/// What a builder makes.
pub(super) type Built = Result<Schedule, Missing>;

/// `schedule` with the lanes of every rank.
///
/// Ranks of a collective do much the same, so those that are there tell what the others will take: it is asked for at once,
/// and given back before they are made.
pub(super) fn assemble<L: IntoIterator<Item = Lane>>(mut schedule: Schedule, lanes: impl Fn(u32) -> L) -> Built {
    let ranks = schedule.ranks;
    let mut bytes = 0;
    for rank in 0..ranks {
        if rank.is_power_of_two() {
            let whole = bytes / u64::from(rank) * u64::from(ranks);
            if !is_there(whole - bytes) {
                return Err(Missing(whole));
            }
        }
        for lane in lanes(rank) {
            bytes += (size_of::<Lane>() + lane.heap_bytes()) as u64;
            schedule.lanes.push(lane);
        }
    }
    Ok(schedule)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collective::Collective;
    use crate::schedule::Instruction;

    /// Told of the first lanes, of which there are few, and by size and not by number.
    #[test]
    fn what_nobody_has_is_not_begun() {
        let of = |ranks| Schedule::new("", Collective::AllReduce, ranks, 1);
        let made = assemble(of(u32::MAX), |rank| {
            assert!(rank < 4, "the first of them say that there is no room");
            [Lane { rank, instructions: Vec::with_capacity(1 << 20) }]
        });
        let lane = ((size_of::<Instruction>() << 20) + size_of::<Lane>()) as u64;
        assert_eq!(made, Err(Missing(lane * u64::from(u32::MAX))));
        assert_eq!(assemble(of(5), |rank| [Lane::new(rank)]).unwrap().lanes.len(), 5);
    }
}
