//! The algorithms by name, and the one function that builds any of them.

use super::{
    MAX_RANKS, Schedule, direct, halving_doubling, ibing, mesh, one_phase, recursive_doubling, ring, tree, two_phase,
};
use crate::collective::{Collective, Task, named};

/// A way to carry out a collective. One file each; a name never stands for another algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// Ring without staging: round 1 reads inputs, the last RS round and AG write outputs. About half the traffic.
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
    /// log2 P exchanges of the whole payload with partners 1, 2, 4, ... away. Powers of two only.
    RecursiveDoubling,
    /// Rabenseifner: exchanges of P/2, P/4, ... chunks and back. Powers of two only.
    HalvingDoubling,
    /// NCCL's double binary tree: half of the chunks up and down each of two trees, pipelined.
    Tree,
    /// Each rank takes what it needs from its peers, one step; in an all-to-all it gives what they need. In a barrier it
    /// notifies and awaits every peer.
    Mesh,
}

named!(Algorithm, "algorithm", {
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
    HalvingDoubling => "halving-doubling",
    Tree => "tree",
    Mesh => "mesh",
});

impl Algorithm {
    /// Whether it is defined for powers of two only.
    pub fn needs_power_of_two(self) -> bool {
        matches!(self, Self::RecursiveDoubling | Self::HalvingDoubling)
    }

    /// Whether it has rounds that all ranks go through together, so that ranks can synchronise in several ways.
    fn has_rounds(self) -> bool {
        matches!(self, Self::Ring | Self::RingStaged | Self::RingExchange | Self::BidirectionalRing)
    }
}

/// Who waits for whom between two rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Sync {
    /// Notify the reader on the right, wait for the writer on the left: O(1) signals a round.
    #[default]
    Neighbor,
    /// Notify every peer and wait for every peer each round: O(P).
    Barrier,
}

named!(Sync, "sync", { Neighbor => "neighbor", Barrier => "barrier" });

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
    #[error("{0} has no rounds that a {1} could stand between; leave --sync out")]
    Sync(Algorithm, Sync),
    /// A root or a source that is no rank.
    #[error("{0}")]
    Task(String),
    /// The algorithm pairs ranks off by the bits of their numbers.
    #[error(
        "{algorithm} needs a power of two: take {} or {} ranks instead of {ranks}, or an algorithm for any number of \
         ranks, such as tree or ring",
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
        let exists = |&algorithm: &Self| {
            let built = build(collective, algorithm, 2, Sync::default());
            !matches!(built, Err(BuildError::Pair { .. }))
        };
        Self::ALL.iter().copied().filter(exists).collect()
    }

    /// What carries out `collective` where nobody chose.
    pub fn default_of(collective: Collective) -> Self {
        Self::of(collective).first().copied().unwrap_or(Self::Mesh)
    }
}

/// Builds the schedule of `algorithm` for `task` over `ranks` ranks.
///
/// # Errors
/// [`BuildError`] when the algorithm is not defined for that task or number of ranks.
pub fn build(task: impl Into<Task>, algorithm: Algorithm, ranks: u32, sync: Sync) -> Result<Schedule, BuildError> {
    let task = task.into();
    if !(1..=MAX_RANKS).contains(&ranks) {
        return Err(BuildError::Ranks(ranks));
    }
    if let Some(mistake) = task.mistake(ranks) {
        return Err(BuildError::Task(mistake));
    }
    let (collective, name) = (task.collective, algorithm.name());
    // Before what depends on ranks, so that the list of algorithms does not.
    let all_reduce = algorithm != Algorithm::Mesh;
    if all_reduce != (collective == Collective::AllReduce) {
        return Err(BuildError::Pair { collective, algorithm });
    }
    if sync != Sync::Neighbor && !algorithm.has_rounds() {
        return Err(BuildError::Sync(algorithm, sync));
    }
    if algorithm.needs_power_of_two() && !ranks.is_power_of_two() {
        return Err(BuildError::PowerOfTwo { algorithm, ranks });
    }
    let ring = |staging| ring::all_reduce(name, ranks, staging, sync);
    Ok(match algorithm {
        Algorithm::Ring => ring(ring::Staging::None),
        Algorithm::RingStaged => ring(ring::Staging::Slots),
        Algorithm::RingExchange => ring(ring::Staging::Exchange),
        Algorithm::BidirectionalRing => ring::bidirectional(name, ranks, sync),
        Algorithm::Ibing => ibing::all_reduce(name, ranks),
        Algorithm::Direct => direct::all_reduce(name, ranks),
        Algorithm::OnePhase => one_phase::all_reduce(name, ranks, one_phase::Order::Ranks),
        Algorithm::OnePhaseOwnFirst => one_phase::all_reduce(name, ranks, one_phase::Order::OwnFirst),
        Algorithm::TwoPhase => two_phase::all_reduce(name, ranks),
        Algorithm::RecursiveDoubling => recursive_doubling::all_reduce(name, ranks),
        Algorithm::HalvingDoubling => halving_doubling::all_reduce(name, ranks),
        Algorithm::Tree => tree::all_reduce(name, ranks),
        Algorithm::Mesh => mesh::build(name, task, ranks),
    })
}
