//! The algorithms by name, and the one function that builds any of them.

mod direct;
mod dissemination;
mod forwarding;
mod halving_doubling;
mod ibing;
mod mesh;
mod one_phase;
mod recursive_doubling;
mod ring;
mod tree;
mod two_phase;

use super::{MAX_RANKS, Schedule};
use crate::collective::{Collective, Task, named};

/// A way to carry out a collective. One file each; a name never stands for another algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// Each rank takes what it needs from its peers, one step; in an all-to-all it gives what they need. In a barrier it
    /// notifies and awaits every peer.
    Mesh,
    /// What moves goes from neighbour to neighbour. Without staging: round 1 reads inputs, the last round of an
    /// all-reduce's RS and its AG write outputs. Broadcast and reduce are pipelined, an all-to-all stores and forwards.
    Ring,
    /// Ring in four phases: stage-in, RS, AG, stage-out; peers read each other's chunk slots directly.
    RingStaged,
    /// The staged ring with an extra exchange slot into which every round's chunk is published. History.
    RingExchange,
    /// Two rings over half the payload each, in opposite directions, on a lane each.
    BidirectionalRing,
    /// One ring in both directions: every rank reads from both neighbours in each of P-1 steps.
    Ibing,
    /// Each rank reduces its chunk from all inputs and writes it to all outputs. The least traffic on one device.
    Direct,
    /// Every rank reduces everything from all ranks, in rank order.
    OnePhase,
    /// The same in the upstream kernels' order: the own contribution first. Ranks may differ in the last bits.
    OnePhaseOwnFirst,
    /// Each rank reduces its chunk from all inputs, then copies the other chunks from their owners.
    TwoPhase,
    /// log2 P exchanges with partners 1, 2, 4, ... away, of the whole payload; in an all-gather of all that the partner has
    /// by then. Powers of two only.
    RecursiveDoubling,
    /// log2 P exchanges with partners P/2, P/4, ... away, each half as long as the one before. Powers of two only.
    Halving,
    /// Rabenseifner: exchanges of P/2, P/4, ... chunks and back. Powers of two only.
    HalvingDoubling,
    /// NCCL's double binary tree: half of the chunks up and down each of two trees, pipelined. Broadcast and reduce: the
    /// first of these trees, numbered from the root on, in one direction.
    Tree,
    /// ceil(log2 P) rounds, in which every rank notifies the one 1, 2, 4, ... places on.
    Dissemination,
}

named!(Algorithm, "algorithm", {
    Mesh => "mesh",
    Ring => "ring",
    RingStaged => "ring-staged",
    RingExchange => "ring-exchange",
    BidirectionalRing => "bidirectional-ring",
    Ibing => "ibing",
    Direct => "direct",
    OnePhase => "one-phase",
    OnePhaseOwnFirst => "one-phase-own-first",
    TwoPhase => "two-phase",
    RecursiveDoubling => "recursive-doubling",
    Halving => "halving",
    HalvingDoubling => "halving-doubling",
    Tree => "tree",
    Dissemination => "dissemination",
});

impl Algorithm {
    /// Whether it is defined for powers of two only.
    pub fn needs_power_of_two(self) -> bool {
        matches!(self, Self::RecursiveDoubling | Self::Halving | Self::HalvingDoubling)
    }

    /// Whether it has rounds that all ranks go through together, so that ranks can synchronise in several ways.
    fn has_rounds(self, collective: Collective) -> bool {
        let halves = matches!(collective, Collective::AllReduce | Collective::ReduceScatter | Collective::AllGather);
        halves && matches!(self, Self::Ring | Self::RingStaged | Self::RingExchange | Self::BidirectionalRing)
    }
}

/// Who waits for whom between two rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum SyncStyle {
    /// Notify the reader on the right, wait for the writer on the left: O(1) signals a round.
    #[default]
    Neighbor,
    /// Notify every peer and wait for every peer each round: O(P).
    Barrier,
}

named!(SyncStyle, "sync", { Neighbor => "neighbor", Barrier => "barrier" });

/// Why a schedule cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Outside 1..=[`MAX_RANKS`].
    #[error("{0} ranks: a schedule has 1 to {MAX_RANKS} ranks")]
    Ranks(u32),
    /// The algorithm does not carry out that collective.
    #[error("there is no {collective} by {algorithm}; choose one of: {}", names(&Algorithm::of(*.collective)))]
    Pair {
        /// What was to be computed.
        collective: Collective,
        /// How.
        algorithm: Algorithm,
    },
    /// The algorithm synchronises in one way only.
    #[error("{collective} by {algorithm} has no rounds that a {sync} could stand between; leave --sync out")]
    Sync {
        /// What was to be computed.
        collective: Collective,
        /// How.
        algorithm: Algorithm,
        /// How ranks were to synchronise.
        sync: SyncStyle,
    },
    /// A root or a source that is no rank.
    #[error("{0}")]
    Task(String),
    /// The algorithm pairs ranks off by the bits of their numbers.
    #[error(
        "{algorithm} needs a power of two: take {} or {} ranks instead of {ranks}, or an algorithm for any number of \
         ranks, such as ring",
        .ranks.next_power_of_two() / 2,
        .ranks.next_power_of_two()
    )]
    PowerOfTwo {
        /// The algorithm.
        algorithm: Algorithm,
        /// Not a power of two.
        ranks: u32,
    },
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
    name: &'static str,
    task: Task,
    ranks: u32,
    sync: SyncStyle,
}

impl Order {
    fn ring(self, staging: ring::Staging) -> Schedule {
        ring::build(self.name, self.task.collective, self.ranks, staging, self.sync)
    }
}

/// What carries out which collective how, if anything does.
fn builder(collective: Collective, algorithm: Algorithm) -> Option<fn(Order) -> Schedule> {
    use Algorithm as A;
    use Collective as C;
    Some(match (collective, algorithm) {
        (C::AllReduce, A::Mesh) => return None,
        (_, A::Mesh) => |o| mesh::build(o.name, o.task, o.ranks),
        (C::AllReduce | C::ReduceScatter | C::AllGather, A::Ring) => |o| o.ring(ring::Staging::None),
        (C::Broadcast | C::Reduce, A::Ring) => |o| tree::ring(o.name, o.task, o.ranks),
        (C::AllToAll, A::Ring) => |o| forwarding::all_to_all(o.name, o.ranks),
        (C::AllReduce, A::RingStaged) => |o| o.ring(ring::Staging::Slots),
        (C::AllReduce, A::RingExchange) => |o| o.ring(ring::Staging::Exchange),
        (C::AllReduce, A::BidirectionalRing) => |o| ring::bidirectional(o.name, o.ranks, o.sync),
        (C::AllReduce, A::Ibing) => |o| ibing::all_reduce(o.name, o.ranks),
        (C::AllReduce, A::Direct) => |o| direct::all_reduce(o.name, o.ranks),
        (C::AllReduce, A::OnePhase) => |o| one_phase::all_reduce(o.name, o.ranks, one_phase::Order::Ranks),
        (C::AllReduce, A::OnePhaseOwnFirst) => |o| one_phase::all_reduce(o.name, o.ranks, one_phase::Order::OwnFirst),
        (C::AllReduce, A::TwoPhase) => |o| two_phase::all_reduce(o.name, o.ranks),
        (C::AllReduce, A::RecursiveDoubling) => |o| recursive_doubling::all_reduce(o.name, o.ranks),
        (C::AllReduce, A::HalvingDoubling) | (C::ReduceScatter, A::Halving) | (C::AllGather, A::RecursiveDoubling) => {
            |o| halving_doubling::build(o.name, o.task.collective, o.ranks)
        }
        (C::AllReduce, A::Tree) => |o| tree::all_reduce(o.name, o.ranks),
        (C::Broadcast | C::Reduce, A::Tree) => |o| tree::tree(o.name, o.task, o.ranks),
        (C::Barrier, A::Dissemination) => |o| dissemination::barrier(o.name, o.ranks),
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
    if let Some(mistake) = task.mistake(ranks) {
        return Err(BuildError::Task(mistake));
    }
    let collective = task.collective;
    // Before what depends on ranks, so that the list of algorithms does not.
    let builder = builder(collective, algorithm).ok_or(BuildError::Pair { collective, algorithm })?;
    if sync != SyncStyle::Neighbor && !algorithm.has_rounds(collective) {
        return Err(BuildError::Sync { collective, algorithm, sync });
    }
    if algorithm.needs_power_of_two() && !ranks.is_power_of_two() {
        return Err(BuildError::PowerOfTwo { algorithm, ranks });
    }
    Ok(builder(Order { name: algorithm.name(), task, ranks, sync }))
}
