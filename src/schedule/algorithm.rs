//! The algorithms by name, and the one function that builds any of them.

use super::{MAX_RANKS, Schedule, direct, ring};
use crate::collective::{Collective, named};

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
}

named!(Algorithm, "algorithm", {
    Ring => "ring",
    RingStaged => "ring-staged",
    RingExchange => "ring-exchange",
    Direct => "direct",
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
    /// The algorithm has no rounds between which ranks could synchronise in that way.
    #[error("{0} has no rounds that a {1} could stand between; leave --sync out")]
    Sync(Algorithm, Sync),
}

/// Builds the schedule of `algorithm` for `collective` over `ranks` ranks.
///
/// # Errors
/// [`BuildError`] when the algorithm is not defined for that number of ranks.
pub fn build(collective: Collective, algorithm: Algorithm, ranks: u32, sync: Sync) -> Result<Schedule, BuildError> {
    if !(1..=MAX_RANKS).contains(&ranks) {
        return Err(BuildError::Ranks(ranks));
    }
    let name = algorithm.name();
    let ring = |staging| ring::all_reduce(name, ranks, staging, sync);
    match (collective, algorithm) {
        (Collective::AllReduce, Algorithm::Ring) => Ok(ring(ring::Staging::None)),
        (Collective::AllReduce, Algorithm::RingStaged) => Ok(ring(ring::Staging::Slots)),
        (Collective::AllReduce, Algorithm::RingExchange) => Ok(ring(ring::Staging::Exchange)),
        (Collective::AllReduce, Algorithm::Direct) if sync != Sync::Neighbor => Err(BuildError::Sync(algorithm, sync)),
        (Collective::AllReduce, Algorithm::Direct) => Ok(direct::all_reduce(name, ranks)),
    }
}
