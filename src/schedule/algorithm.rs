//! The algorithms by name, and the one function that builds any of them.

use super::{MAX_RANKS, Schedule, ring};
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
}

named!(Algorithm, "algorithm", {
    Ring => "ring",
    RingStaged => "ring-staged",
    RingExchange => "ring-exchange",
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
}

/// Builds the schedule of `algorithm` for `collective` over `ranks` ranks.
///
/// # Errors
/// [`BuildError`] when the algorithm is not defined for that number of ranks.
pub fn build(collective: Collective, algorithm: Algorithm, ranks: u32, sync: Sync) -> Result<Schedule, BuildError> {
    if !(1..=MAX_RANKS).contains(&ranks) {
        return Err(BuildError::Ranks(ranks));
    }
    let staging = match algorithm {
        Algorithm::Ring => ring::Staging::None,
        Algorithm::RingStaged => ring::Staging::Slots,
        Algorithm::RingExchange => ring::Staging::Exchange,
    };
    match collective {
        Collective::AllReduce => Ok(ring::all_reduce(algorithm.name(), ranks, staging, sync)),
    }
}
