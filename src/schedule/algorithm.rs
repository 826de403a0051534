//! The algorithms by name, and the ways in which their ranks synchronise.
//!
//! Names only: identity of schedules, command line and records need no more.

use crate::collective::{Collective, named};

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
    /// Within groups of ranks directly, between groups by a ring: little crosses from group to group.
    Hierarchical,
    /// The same, but every group takes every other's sums and adds all of them: one exchange, of G-1 payloads for each of G
    /// groups.
    HierarchicalOnePhase,
    /// The same, but in stages: pairs of groups exchange sums, then pairs of pairs, and so on; where G is no power of two, by
    /// threes, fives and so on, as its prime factors say.
    HierarchicalDoubling,
    /// The same, but every group adds a G-th of all groups' sums, then takes the rest: two exchanges with all groups at once.
    HierarchicalTwoPhase,
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
    Hierarchical => "hierarchical",
    HierarchicalOnePhase => "hierarchical-one-phase",
    HierarchicalDoubling => "hierarchical-doubling",
    HierarchicalTwoPhase => "hierarchical-two-phase",
    Dissemination => "dissemination",
});

impl Algorithm {
    /// Whether it is defined for powers of two only.
    pub fn needs_power_of_two(self) -> bool {
        matches!(self, Self::RecursiveDoubling | Self::Halving | Self::HalvingDoubling)
    }

    /// Whether it tells apart ranks of which some are near each other.
    pub fn has_groups(self) -> bool {
        use Algorithm::{Hierarchical, HierarchicalDoubling, HierarchicalOnePhase, HierarchicalTwoPhase};
        matches!(self, Hierarchical | HierarchicalOnePhase | HierarchicalDoubling | HierarchicalTwoPhase)
    }

    /// Whether it has rounds that all ranks go through together, so that ranks can synchronise in several ways.
    pub(super) fn has_rounds(self, collective: Collective) -> bool {
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

named!(SyncStyle, "sync", { Neighbor => "neighbor" | "neighbour", Barrier => "barrier" });
