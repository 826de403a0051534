//! The two axes of a launch on a device: how it is cut into dispatches, and how lanes know that data has arrived.

use crate::collective::named;

/// How a schedule is cut into dispatches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// One rank a dispatch, as far as earlier dispatches allow, sweeping over the ranks until all are done.
    PerRank,
    /// All ranks a dispatch, one link of the longest chain of notify -> wait edges.
    PerStep,
    /// Everything in one dispatch, with waits inside the kernel; repeated for lanes that were not scheduled together.
    Fused,
}

named!(Mode, "dispatch mode", { PerRank => "per-rank", PerStep => "per-step", Fused => "fused" });

/// How a lane knows that what it reads of another has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Protocol {
    /// By signals: notify and wait.
    #[default]
    Simple,
    /// By the data: every word carries its own flag, as in NCCL's LL protocol. For fused dispatch.
    Ll,
}

named!(Protocol, "protocol", { Simple => "simple", Ll => "ll" });
