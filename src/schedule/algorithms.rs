//! The one function that builds any built-in schedule; one file an algorithm.
//!
//! Which algorithm carries out which collective stands in one table, so that names, help and errors agree with it.

mod direct;
mod dissemination;
mod forwarding;
mod halving_doubling;
mod ibing;
mod mesh;
mod one_phase;
mod phase;
mod recursive_doubling;
mod ring;
mod tree;
mod two_phase;

use super::{Algorithm, MAX_RANKS, Schedule, SyncStyle};
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
}

impl Order {
    fn ring(self, staging: ring::Staging) -> Schedule {
        ring::build(self.algorithm, self.task.collective, self.ranks, staging, self.sync)
    }
}

/// What carries out which collective how, if anything does.
fn builder(collective: Collective, algorithm: Algorithm) -> Option<fn(Order) -> Schedule> {
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
        (C::Barrier, A::Dissemination) => |o| dissemination::barrier(o.algorithm, o.ranks),
        _ => return None,
    })
}

/// Builds the schedule of `algorithm` for `task` over `ranks` ranks.
///
/// # Errors
/// [`BuildError`] when the algorithm is not defined for that task or number of ranks.
pub fn build(task: impl Into<Task>, algorithm: Algorithm, ranks: u32, sync: SyncStyle) -> Result<Schedule, BuildError> {
    let task = task.into();
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
    Ok(builder(Order { algorithm, task, ranks, sync }))
}
