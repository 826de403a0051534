//! The one function that builds any built-in schedule; one file an algorithm.
//!
//! Which algorithm carries out which collective stands in one table, so that names, help and errors agree with it.

mod direct;
mod dissemination;
mod forwarding;
mod grouped;
mod halving_doubling;
mod hierarchical;
mod ibing;
mod mesh;
mod one_phase;
mod phase;
mod recursive_doubling;
mod ring;
mod tree;
mod two_phase;

pub(super) use grouped::{stages, whole_is_cheaper};

use super::draft::Missing;
use super::{Algorithm, Draft, Groups, MAX_RANKS, Schedule, SyncStyle};
use crate::collective::{Collective, Task, TaskError};

/// Why a schedule cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what each field is")]
#[non_exhaustive]
pub enum BuildError {
    /// Outside 1..=[`MAX_RANKS`].
    #[error("{0} ranks: a schedule has 1 to {MAX_RANKS} ranks")]
    Ranks(u32),
    /// The algorithm does not carry out that collective.
    #[error("there is no {collective} by {algorithm}; choose one of: {}", names(&Algorithm::of(*.collective)))]
    Pair { collective: Collective, algorithm: Algorithm },
    /// The algorithm synchronises in one way only.
    #[error("{collective} by {algorithm} has no rounds that a {sync} could stand between; leave --sync out")]
    Sync { collective: Collective, algorithm: Algorithm, sync: SyncStyle },
    /// Ranks that meet in every round have signals that grow with the cube of their number.
    #[error(
        "{collective} by {algorithm} with --sync barrier has {parts} instructions, waits and notifies for {ranks} ranks, \
         more than the {MOST_PARTS} that are built: use up to {fit} ranks, or leave --sync out"
    )]
    Barrier { collective: Collective, algorithm: Algorithm, ranks: u32, parts: u64, fit: u32 },
    /// More than the machine has.
    #[error(
        "{collective} by {algorithm} of {ranks} ranks takes {bytes} bytes of memory, which are not there: use fewer ranks"
    )]
    Memory { collective: Collective, algorithm: Algorithm, ranks: u32, bytes: u64 },
    /// Groups of an algorithm that has none.
    #[error("{collective} by {algorithm} has no groups; leave --groups out, or name an algorithm such as hierarchical")]
    NoGroups { collective: Collective, algorithm: Algorithm },
    /// Groups of other ranks.
    #[error("groups of {groups} are {} ranks, and there are {ranks}; give sizes whose sum is {ranks}", .groups.ranks())]
    Groups { groups: Groups, ranks: u32 },
    /// A root or a source that is no rank.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// The algorithm pairs ranks off by the bits of their numbers.
    #[error(
        "{algorithm} needs a power of two: take {} or {} ranks instead of {ranks}, or an algorithm for any number of \
         ranks, such as ring",
        .ranks.next_power_of_two() / 2,
        .ranks.next_power_of_two()
    )]
    PowerOfTwo { algorithm: Algorithm, ranks: u32 },
}

/// Most instructions, waits and notifies of a schedule in which all ranks meet in every round. Others stay below twice as
/// many at [`MAX_RANKS`].
const MOST_PARTS: u64 = 1 << 27;

fn names(algorithms: &[Algorithm]) -> String {
    algorithms.iter().map(|algorithm| algorithm.name()).collect::<Vec<_>>().join(", ")
}

impl Algorithm {
    /// Those that carry out `collective`, the default one first.
    pub fn of(collective: Collective) -> Vec<Self> {
        Self::ALL.iter().copied().filter(|&algorithm| builder(collective, algorithm).is_some()).collect()
    }

    /// What carries out `collective` where nobody chose: the mesh, which has the fewest steps; of an all-reduce the ring.
    pub fn default_of(collective: Collective) -> Self {
        Self::of(collective).first().copied().unwrap_or(Self::Mesh)
    }
}

/// What a schedule is to be; all of it has been checked.
struct Order {
    algorithm: Algorithm,
    task: Task,
    ranks: u32,
    sync: SyncStyle,
    /// If somebody said some.
    groups: Option<Groups>,
}

impl Order {
    fn ring(self, staging: ring::Staging) -> Draft {
        ring::build(self.algorithm, self.task.collective, self.ranks, staging, self.sync)
    }

    fn grouped(self, exchange: grouped::Exchange) -> Draft {
        grouped::all_reduce(self.algorithm, self.in_groups(), exchange)
    }

    fn in_groups(&self) -> Groups {
        self.groups.clone().unwrap_or_else(|| Groups::usual(self.ranks))
    }
}

/// What carries out which collective how, if anything does.
fn builder(collective: Collective, algorithm: Algorithm) -> Option<fn(Order) -> Draft> {
    use Algorithm as A;
    use Collective as C;
    Some(match (collective, algorithm) {
        (C::AllReduce, A::Mesh) => return None,
        (_, A::Mesh) => |o| mesh::build(o.algorithm, o.task, o.ranks),
        (C::AllReduce | C::ReduceScatter | C::AllGather, A::Ring) => |o| o.ring(ring::Staging::None),
        (C::Broadcast | C::Reduce, A::Ring) => |o| tree::ring(o.algorithm, o.task, o.ranks),
        (C::AllToAll, A::Ring) => |o| forwarding::all_to_all(o.algorithm, o.ranks),
        (C::AllReduce, A::RingStaged) => |o| o.ring(ring::Staging::Slots),
        (C::AllReduce, A::RingExchange) => |o| o.ring(ring::Staging::Exchange),
        (C::AllReduce, A::BidirectionalRing) => |o| ring::bidirectional(o.algorithm, o.ranks, o.sync),
        (C::AllReduce, A::Ibing) => |o| ibing::all_reduce(o.algorithm, o.ranks),
        (C::AllReduce, A::Direct) => |o| direct::all_reduce(o.algorithm, o.ranks),
        (C::AllReduce, A::OnePhase) => |o| one_phase::all_reduce(o.algorithm, o.ranks, one_phase::Order::Ranks),
        (C::AllReduce, A::OnePhaseOwnFirst) => {
            |o| one_phase::all_reduce(o.algorithm, o.ranks, one_phase::Order::OwnFirst)
        }
        (C::AllReduce, A::TwoPhase) => |o| two_phase::all_reduce(o.algorithm, o.ranks),
        (C::AllReduce, A::RecursiveDoubling) => |o| recursive_doubling::all_reduce(o.algorithm, o.ranks),
        (C::AllReduce, A::HalvingDoubling) | (C::ReduceScatter, A::Halving) | (C::AllGather, A::RecursiveDoubling) => {
            |o| halving_doubling::build(o.algorithm, o.task.collective, o.ranks)
        }
        (C::AllReduce, A::Tree) => |o| tree::all_reduce(o.algorithm, o.ranks),
        (C::Broadcast | C::Reduce, A::Tree) => |o| tree::tree(o.algorithm, o.task, o.ranks),
        (C::AllReduce | C::AllGather | C::ReduceScatter | C::Broadcast, A::Hierarchical) => {
            |o| hierarchical::build(o.algorithm, o.task.clone(), o.in_groups())
        }
        (C::AllReduce, A::HierarchicalOnePhase) => |o| o.grouped(grouped::Exchange::OnePhase),
        (C::AllReduce, A::HierarchicalDoubling) => |o| o.grouped(grouped::Exchange::Doubling),
        (C::AllReduce, A::HierarchicalTwoPhase) => |o| o.grouped(grouped::Exchange::TwoPhase),
        (C::Barrier, A::Dissemination) => |o| dissemination::barrier(o.algorithm, o.ranks),
        _ => return None,
    })
}

/// Builds the schedule of `algorithm` for `task` over `ranks` ranks.
///
/// # Errors
/// [`BuildError`] when the algorithm is not defined for that task or number of ranks.
pub fn build(task: impl Into<Task>, algorithm: Algorithm, ranks: u32, sync: SyncStyle) -> Result<Schedule, BuildError> {
    draft(task, algorithm, ranks, sync)?.build()
}

impl Draft {
    /// The schedule with all its lanes.
    ///
    /// # Errors
    /// [`BuildError::Memory`] when the machine has no room for them.
    pub fn build(self) -> Result<Schedule, BuildError> {
        let Schedule { ranks, task: Task { collective, .. }, ref origin, .. } = *self.head();
        let algorithm = origin.algorithm().unwrap_or_else(|| Algorithm::default_of(collective));
        self.write_out().map_err(|Missing(bytes)| BuildError::Memory { collective, algorithm, ranks, bytes })
    }
}

/// As [`build`], but for its lanes, which are made when they are asked for.
///
/// # Errors
/// [`BuildError`] when the algorithm is not defined for that task or number of ranks.
pub fn draft(task: impl Into<Task>, algorithm: Algorithm, ranks: u32, sync: SyncStyle) -> Result<Draft, BuildError> {
    draft_in_groups(task.into(), algorithm, ranks, sync, None)
}

/// As [`draft`], in these groups if the algorithm has any.
pub(super) fn draft_in_groups(
    task: Task,
    algorithm: Algorithm,
    ranks: u32,
    sync: SyncStyle,
    groups: Option<Groups>,
) -> Result<Draft, BuildError> {
    if !(1..=MAX_RANKS).contains(&ranks) {
        return Err(BuildError::Ranks(ranks));
    }
    task.check(ranks)?;
    let collective = task.collective;
    // Before what depends on ranks, so that the list of algorithms does not.
    let builder = builder(collective, algorithm).ok_or(BuildError::Pair { collective, algorithm })?;
    if sync != SyncStyle::Neighbor && !algorithm.has_rounds(collective) {
        return Err(BuildError::Sync { collective, algorithm, sync });
    }
    if algorithm.needs_power_of_two() && !ranks.is_power_of_two() {
        return Err(BuildError::PowerOfTwo { algorithm, ranks });
    }
    if let Some(groups) = &groups {
        if !algorithm.has_groups() {
            return Err(BuildError::NoGroups { collective, algorithm });
        }
        if groups.ranks() != ranks {
            return Err(BuildError::Groups { groups: groups.clone(), ranks });
        }
    }
    if sync == SyncStyle::Barrier {
        check_barrier(collective, algorithm, ranks)?;
    }
    Ok(builder(Order { algorithm, task, ranks, sync, groups }))
}

/// Refuses what would be too large, before any of it is there.
fn check_barrier(collective: Collective, algorithm: Algorithm, ranks: u32) -> Result<(), BuildError> {
    let (staging, lanes) = match algorithm {
        Algorithm::RingStaged => (ring::Staging::Slots, 1),
        Algorithm::RingExchange => (ring::Staging::Exchange, 1),
        Algorithm::BidirectionalRing => (ring::Staging::Outputs, 2),
        _ => (ring::Staging::None, 1),
    };
    let parts = |ranks| ring::barrier_parts(collective, ranks, staging, lanes);
    if parts(ranks) <= MOST_PARTS {
        return Ok(());
    }
    let (mut fit, mut over) = (1, ranks);
    while over - fit > 1 {
        let middle = fit.midpoint(over);
        if parts(middle) <= MOST_PARTS { fit = middle } else { over = middle }
    }
    Err(BuildError::Barrier { collective, algorithm, ranks, parts: parts(ranks), fit })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(schedule: &Schedule) -> u64 {
        let instructions = schedule.lanes.iter().flat_map(|lane| &lane.instructions);
        instructions.map(|instruction| 1 + instruction.waits.len() as u64 + instruction.notifies.len() as u64).sum()
    }

    const RINGS: [(Collective, Algorithm, ring::Staging, u64); 6] = [
        (Collective::AllReduce, Algorithm::Ring, ring::Staging::None, 1),
        (Collective::AllGather, Algorithm::Ring, ring::Staging::None, 1),
        (Collective::ReduceScatter, Algorithm::Ring, ring::Staging::None, 1),
        (Collective::AllReduce, Algorithm::RingStaged, ring::Staging::Slots, 1),
        (Collective::AllReduce, Algorithm::RingExchange, ring::Staging::Exchange, 1),
        (Collective::AllReduce, Algorithm::BidirectionalRing, ring::Staging::Outputs, 2),
    ];

    #[test]
    fn a_barrier_is_as_large_as_was_told() {
        for (collective, algorithm, staging, lanes) in RINGS {
            for ranks in (1..=9).chain([16, 33]) {
                let built = build(collective, algorithm, ranks, SyncStyle::Barrier).unwrap();
                let told = ring::barrier_parts(collective, ranks, staging, lanes);
                assert_eq!(told, parts(&built), "{collective} by {algorithm} of {ranks}");
            }
        }
        // No other schedule has rounds in which all meet.
        let barrier = |collective, algorithm| build(collective, algorithm, 2, SyncStyle::Barrier).is_ok();
        let all = Collective::ALL.iter().flat_map(|&c| Algorithm::ALL.iter().map(move |&a| (c, a)));
        assert_eq!(all.filter(|&(collective, algorithm)| barrier(collective, algorithm)).count(), RINGS.len());
    }

    #[test]
    fn a_barrier_that_is_too_large_says_what_fits() {
        for (collective, algorithm, staging, lanes) in RINGS {
            let Err(error) = build(collective, algorithm, MAX_RANKS, SyncStyle::Barrier) else { panic!("{algorithm}") };
            let BuildError::Barrier { parts, fit, .. } = error else { panic!("{error}") };
            let told = |ranks| ring::barrier_parts(collective, ranks, staging, lanes);
            assert!(told(fit) <= MOST_PARTS && told(fit + 1) > MOST_PARTS && fit >= 256, "{algorithm}: {fit}");
            assert_eq!(parts, told(MAX_RANKS));
            assert_eq!(check_barrier(collective, algorithm, fit), Ok(()));
            assert!(error.to_string().contains(&format!("use up to {fit} ranks")), "{error}");
        }
    }

    /// Twice as many ranks never have more than some four times the parts, so that the largest stay within twice the bound.
    #[test]
    fn other_schedules_stay_below_twice_the_bound() {
        for (&collective, algorithm) in
            Collective::ALL.iter().flat_map(|c| Algorithm::of(*c).into_iter().map(move |a| (c, a)))
        {
            let of = |ranks| parts(&build(collective, algorithm, ranks, SyncStyle::Neighbor).unwrap());
            let (half, whole) = (of(64), of(128));
            let growth = whole as f64 / half as f64;
            let largest = whole as f64 * growth.powi((MAX_RANKS / 128).ilog2() as i32);
            assert!(largest <= 2.0 * MOST_PARTS as f64, "{collective} by {algorithm}: {largest}");
        }
    }
}
