//! What several tests share: the ring variants, the ways to break a schedule, an oracle, and the devices under test.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub(crate) mod behind;
pub(crate) mod cover;
#[cfg(feature = "gpu")]
pub(crate) mod devices;
pub(crate) mod edit;
pub(crate) mod lanes;
pub(crate) mod nccl;
pub(crate) mod oracle;
pub(crate) mod placed;
pub(crate) mod schedules;
pub(crate) mod traces;

use std::fmt;

use nccl::Nccl;
use wgccl::collective::{Collective, Task};
use wgccl::proof::Options;
use wgccl::schedule::{Algorithm, Schedule, SyncStyle, build};

/// A schedule that must be proved, and all that names it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Variant {
    pub(crate) collective: Collective,
    pub(crate) root: u32,
    pub(crate) algorithm: Algorithm,
    pub(crate) sync: SyncStyle,
    pub(crate) ranks: u32,
    pub(crate) in_place: bool,
}

impl Variant {
    pub(crate) fn schedule(self) -> Schedule {
        build(Task::from(self.collective).root(self.root), self.algorithm, self.ranks, self.sync).unwrap()
    }

    pub(crate) fn nccl(self) -> Nccl {
        Nccl { collective: self.collective, root: self.root, ranks: self.ranks }
    }

    /// The all-reduces of neighbour rounds, in which everything is needed, in either place.
    pub(crate) fn is_ring(self) -> bool {
        use Algorithm::{BidirectionalRing, Ring, RingExchange, RingStaged};
        matches!(self.algorithm, Ring | RingStaged | RingExchange | BidirectionalRing)
    }

    pub(crate) fn options(self) -> Options {
        Options::default().in_place(self.in_place)
    }

    /// Without the number of ranks, the root and the place.
    pub(crate) fn family(self) -> String {
        match self.collective {
            Collective::AllReduce => format!("{} {}", self.algorithm, self.sync),
            other => format!("{other} {} {}", self.algorithm, self.sync),
        }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.in_place { "in place" } else { "out of place" };
        write!(f, "{} of {} ranks, root {}, {place}", self.family(), self.ranks, self.root)
    }
}

/// Every variant of the all-reduce, in and out of place, for those of `ranks` that it is defined for.
pub(crate) fn variants(ranks: impl IntoIterator<Item = u32> + Clone) -> Vec<Variant> {
    variants_of(Collective::AllReduce, ranks)
}

/// Every variant of every other collective, for every root, in and out of place.
pub(crate) fn other_variants(ranks: impl IntoIterator<Item = u32> + Clone) -> Vec<Variant> {
    let others = Collective::ALL.iter().filter(|&&collective| collective != Collective::AllReduce);
    others.flat_map(|&collective| variants_of(collective, ranks.clone())).collect()
}

fn variants_of(collective: Collective, ranks: impl IntoIterator<Item = u32> + Clone) -> Vec<Variant> {
    let mut variants = Vec::new();
    for (algorithm, sync) in algorithms_of(collective) {
        for ranks in ranks.clone().into_iter().filter(|&ranks| defined(algorithm, ranks)) {
            for root in 0..if collective.has_root() { ranks } else { 1 } {
                for in_place in [false, true] {
                    let variant = Variant { collective, root, algorithm, sync, ranks, in_place };
                    if !in_place || variant.nccl().in_place(0).is_some() {
                        variants.push(variant);
                    }
                }
            }
        }
    }
    variants
}

/// Every algorithm of the all-reduce with every way of synchronising that it has.
pub(crate) fn algorithms() -> Vec<(Algorithm, SyncStyle)> {
    algorithms_of(Collective::AllReduce)
}

fn algorithms_of(collective: Collective) -> Vec<(Algorithm, SyncStyle)> {
    let all = Algorithm::ALL.iter().flat_map(|&algorithm| SyncStyle::ALL.iter().map(move |&sync| (algorithm, sync)));
    all.filter(|&(algorithm, sync)| build(collective, algorithm, 2, sync).is_ok()).collect()
}

/// Whether the algorithm has a schedule of so many ranks; a test says that there is none elsewhere.
pub(crate) fn defined(algorithm: Algorithm, ranks: u32) -> bool {
    ranks.is_power_of_two() || !algorithm.needs_power_of_two()
}
