//! The algorithms by name, and the one function that builds any of them.

use super::{MAX_RANKS, Schedule, direct, mesh, ring};
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
    /// Each rank reduces its chunk from all inputs and writes it to all outputs. The least traffic on one device.
    Direct,
    /// Each rank takes what it needs from its peers, one step; in an all-to-all it gives what they need. In a barrier it
    /// notifies and awaits every peer.
    Mesh,
}

named!(Algorithm, "algorithm", {
    Ring => "ring",
    RingStaged => "ring-staged",
    RingExchange => "ring-exchange",
    Direct => "direct",
    Mesh => "mesh",
});

/// Who waits for whom between two rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
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
    /// The algorithm has no rounds between which ranks could synchronise in that way.
    #[error("{0} has no rounds that a {1} could stand between; leave --sync out")]
    Sync(Algorithm, Sync),
    /// A root or a source that is no rank.
    #[error("{0}")]
    Task(String),
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
    let name = algorithm.name();
    let ring = |staging| ring::all_reduce(name, ranks, staging, sync);
    match (task.collective, algorithm) {
        (Collective::AllReduce, Algorithm::Ring) => Ok(ring(ring::Staging::None)),
        (Collective::AllReduce, Algorithm::RingStaged) => Ok(ring(ring::Staging::Slots)),
        (Collective::AllReduce, Algorithm::RingExchange) => Ok(ring(ring::Staging::Exchange)),
        (Collective::AllReduce, Algorithm::Direct) if sync != Sync::Neighbor => Err(BuildError::Sync(algorithm, sync)),
        (Collective::AllReduce, Algorithm::Direct) => Ok(direct::all_reduce(name, ranks)),
        (Collective::AllReduce, Algorithm::Mesh) => Err(BuildError::Pair { collective: task.collective, algorithm }),
        (_, Algorithm::Mesh) if sync != Sync::Neighbor => Err(BuildError::Sync(algorithm, sync)),
        (_, Algorithm::Mesh) => Ok(mesh::build(name, task, ranks)),
        (collective, _) => Err(BuildError::Pair { collective, algorithm }),
    }
}
