//! The lanes of all ranks, as far as the machine has memory for them.
//!
//! A number of ranks is four characters of input; what they ask for must not end the process.

use super::BuildError;
use crate::schedule::room::is_there;
use crate::schedule::{Lane, Schedule};

/// What a builder makes, or that there is no memory for it.
pub(super) type Built = Result<Schedule, BuildError>;

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
                let (origin, collective) = (schedule.origin, schedule.task.collective);
                return Err(BuildError::Memory { origin, collective, ranks, bytes: whole });
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
        let long = |rank| [Lane { rank, instructions: Vec::with_capacity(1 << 20) }];
        let made = assemble(Schedule::new("", Collective::AllReduce, u32::MAX, 1), |rank| {
            assert!(rank < 4, "the first of them say that there is no room");
            long(rank)
        });
        let Err(BuildError::Memory { ranks: u32::MAX, bytes, .. }) = made else { panic!("{made:?}") };
        let lane = ((size_of::<Instruction>() << 20) + size_of::<Lane>()) as u64;
        assert_eq!(bytes, lane * u64::from(u32::MAX));
        assert_eq!(
            assemble(Schedule::new("", Collective::AllReduce, 5, 1), |rank| [Lane::new(rank)]).unwrap().lanes.len(),
            5
        );
    }
}
