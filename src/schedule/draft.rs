//! A schedule that is not written out: its lanes are made rank by rank, when somebody asks for them.
//!
//! Whoever looks at one rank after the other needs no memory for all of them: a ring of 4096 ranks takes 4 GB.

use std::fmt;

use super::room::is_there;
use super::{Lane, Schedule};

/// What [`draft`](super::draft) makes of an algorithm, and [`build`](super::build) writes out; or a schedule that is written
/// out already.
pub struct Draft {
    head: Schedule,
    lanes: Lanes,
}

/// Appends the lanes of a rank.
type Make = dyn Fn(u32, &mut Vec<Lane>) + Send + Sync;

enum Lanes {
    Made(Box<Make>),
    /// In the head.
    Written,
}

/// Bytes that a schedule takes, and that are not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Missing(pub(super) u64);

impl Draft {
    /// `head` with the lanes of every rank, which `lanes` makes.
    pub(super) fn new<L: IntoIterator<Item = Lane>>(
        head: Schedule,
        lanes: impl Fn(u32) -> L + Send + Sync + 'static,
    ) -> Self {
        Self { head, lanes: Lanes::Made(Box::new(move |rank, all| all.extend(lanes(rank)))) }
    }

    /// The schedule, which may be without its lanes.
    pub fn head(&self) -> &Schedule {
        &self.head
    }

    /// Appends the lanes of `rank`.
    pub fn lanes(&self, rank: u32, all: &mut Vec<Lane>) {
        match &self.lanes {
            Lanes::Made(lanes) => lanes(rank, all),
            Lanes::Written => all.extend(self.head.lanes.iter().filter(|lane| lane.rank == rank).cloned()),
        }
    }

    /// Number of instructions of all ranks, or none if they are more than `most`. One rank's lanes are there at a time, and no more
    /// are made than must be counted.
    pub fn instructions(&self, most: usize) -> Option<usize> {
        let Lanes::Made(lanes) = &self.lanes else { return Some(self.head.instructions()).filter(|&all| all <= most) };
        let (mut all, mut of_rank) = (0, Vec::new());
        for rank in 0..self.head.ranks {
            of_rank.clear();
            lanes(rank, &mut of_rank);
            all += of_rank.iter().map(|lane| lane.instructions.len()).sum::<usize>();
            if all > most {
                return None;
            }
        }
        Some(all)
    }

    /// The schedule, if it is written out.
    pub(crate) fn written(&self) -> Option<&Schedule> {
        matches!(self.lanes, Lanes::Written).then_some(&self.head)
    }

    /// Builds the lanes of all ranks. Estimates their total memory from the first ranks, and fails with [`Missing`] instead of
    /// aborting if the machine does not have it.
    ///
    /// The estimate is repeated whenever the number of built ranks is a power of two: the rest of the estimate is requested at once,
    /// and given back before it is used.
    pub(super) fn write_out(self) -> Result<Schedule, Missing> {
        let Self { head: mut schedule, lanes } = self;
        let Lanes::Made(lanes) = lanes else { return Ok(schedule) };
        let ranks = schedule.ranks;
        let mut bytes = 0;
        for rank in 0..ranks {
            if rank.is_power_of_two() {
                let whole = bytes / u64::from(rank) * u64::from(ranks);
                if !is_there(whole - bytes) {
                    return Err(Missing(whole));
                }
            }
            let before = schedule.lanes.len();
            lanes(rank, &mut schedule.lanes);
            let new = &schedule.lanes[before..];
            bytes += new.iter().map(|lane| (size_of::<Lane>() + lane.heap_bytes()) as u64).sum::<u64>();
        }
        Ok(schedule)
    }
}

impl From<Schedule> for Draft {
    fn from(schedule: Schedule) -> Self {
        Self { head: schedule, lanes: Lanes::Written }
    }
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft").field("head", &self.head).finish_non_exhaustive()
    }
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
        let made = Draft::new(of(u32::MAX), |rank| {
            assert!(rank < 4, "the first of them say that there is no room");
            [Lane { rank, instructions: Vec::with_capacity(1 << 20) }]
        });
        let lane = ((size_of::<Instruction>() << 20) + size_of::<Lane>()) as u64;
        assert_eq!(made.write_out(), Err(Missing(lane * u64::from(u32::MAX))));
        assert_eq!(Draft::new(of(5), |rank| [Lane::new(rank)]).write_out().unwrap().lanes.len(), 5);
    }

    #[test]
    fn instructions_are_counted_as_far_as_anybody_asks() {
        let of = |ranks| Schedule::new("", Collective::AllReduce, ranks, 1);
        let lane = |rank| Lane::new(rank).with(Instruction::new("a")).with(Instruction::new("b"));
        let made = Draft::new(of(u32::MAX), move |rank| {
            assert!(rank < 3, "two ranks have three instructions already");
            [lane(rank)]
        });
        assert_eq!(made.instructions(3), None);
        for draft in
            [Draft::new(of(5), move |rank| [lane(rank)]), Draft::from((0..5).map(lane).fold(of(5), Schedule::lane))]
        {
            assert_eq!([9, 10].map(|most| draft.instructions(most)), [None, Some(10)]);
        }
    }
}
