//! Which algorithm is best for a collective, a number of ranks, a payload and a kind of device: a table of measured
//! thresholds.
//!
//! Choosing is data, so that a measurement changes a row and no code. All-reduce was measured by
//! `wgccl bench --algorithm all`, medians of one run:
//!
//! - CPU executor, 2 x86-64 cores: P = 2, 4, 8, 16 from 1 KiB to 4 MiB, 32 to 1024 ranks from 1 KiB to 256 KiB, 256 also
//!   with 2 MiB. `direct` is best or within noise but where the table says otherwise: there every rank of it reads every
//!   other's input, P² operands that show where there is little to move. `tree` is 1.4 to 9 times faster from 128 ranks
//!   to 256 KiB; `direct` 1.5 times at 256 ranks of 2 MiB, and twice where a launch is so small (512 KiB of all ranks)
//!   that the executor joins its steps to one.
//! - Software adapter, lavapipe on the same cores: the same P up to 16, and 64 and 256 ranks from 1 to 256 KiB. `direct`,
//!   throughout; 256 KiB at 64 ranks and above, where `tree` was faster, is one size and no threshold.
//! - GPU: an H200, `direct` against `ring` only, in every dispatch mode: P = 2, 4, 8 from 1 KiB to 64 MiB, P = 2, 4 of 1 GiB.
//!   `direct` is faster throughout, 1.2 to 3.5 times where `ring` is fused. Of the others the traffic decides: `direct`
//!   reads P·N and writes P·N elements, and nothing less is possible.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::Serialize;

use super::algorithms::{stages, whole_is_cheaper};
use super::{Algorithm, Groups};
use crate::collective::{Collective, Task, UnknownName, same_name};

/// What executes a schedule, as far as the choice of an algorithm depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeviceKind {
    /// The CPU executor.
    Cpu,
    /// A graphics adapter that is a program, such as lavapipe, SwiftShader or WARP.
    Software,
    /// Any other graphics adapter.
    Gpu,
}

impl DeviceKind {
    /// Every value.
    pub const ALL: &'static [Self] = &[Self::Cpu, Self::Software, Self::Gpu];
}

/// An algorithm by name, or `auto`: whichever the table says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Selection {
    /// By [`Algorithm::choose`].
    Auto,
    /// This one and no other.
    Named(Algorithm),
}

/// A row of the table: the algorithm where all of the rest holds.
struct Row {
    collective: Collective,
    device: DeviceKind,
    ranks: RangeInclusive<u32>,
    /// Most bytes of a rank's longest buffer.
    bytes: u64,
    algorithm: Algorithm,
}

const KIB: u64 = 1 << 10;

/// Bytes that move from process to process while a message is begun and ended. Four processes of two virtual cores of an EPYC, Open MPI
/// through shared memory, beside sums by hand: of 64 KiB `hierarchical-doubling` takes 1.08 of their time and `-two-phase` 1.19, of
/// 256 KiB 1.14 and 0.99.
const OF_A_MESSAGE: u64 = 16 * KIB;
/// Bytes and groups up to which three messages at once take less than two one after the other: of 1 KiB 18 us, and not 22; but of
/// 16 KiB a tenth more.
const AT_ONCE: (u64, u32) = (8 * KIB, 4);
/// Groups of which each exchanges with all others at once; more have two neighbours each, in a ring.
const MOST_AT_ONCE: u32 = 64;

/// The first row that fits decides; one whose algorithm is for powers of two fits those only. Where none does:
/// [`fallback`].
const TABLE: &[Row] = &[
    all_reduce_on_cpu(128..=180, 2 * KIB, Algorithm::Direct),
    all_reduce_on_cpu(128..=u32::MAX, 256 * KIB, Algorithm::Tree),
];

const fn all_reduce_on_cpu(ranks: RangeInclusive<u32>, bytes: u64, algorithm: Algorithm) -> Row {
    Row { collective: Collective::AllReduce, device: DeviceKind::Cpu, ranks, bytes, algorithm }
}

/// The least traffic that there is on one device.
fn fallback(collective: Collective) -> Algorithm {
    match collective {
        Collective::AllReduce => Algorithm::Direct,
        _ => Algorithm::Mesh,
    }
}

impl Algorithm {
    /// The algorithm that is presumed to be the fastest for `collective` over `ranks` ranks on such a device, where a part
    /// (NCCL's count) has `part_bytes` bytes. It is always defined for that number of ranks, and for neighbour
    /// synchronisation. A later version may choose another one, and so sum floats in another order.
    pub fn choose(collective: Collective, ranks: u32, part_bytes: u64, device: DeviceKind) -> Self {
        let task = Task::from(collective);
        let parts = task.input_parts(0, ranks).max(task.output_parts(0, ranks));
        let bytes = part_bytes.saturating_mul(parts.into());
        let fits = |row: &&Row| {
            (row.collective, row.device) == (collective, device)
                && row.ranks.contains(&ranks)
                && bytes <= row.bytes
                && (ranks.is_power_of_two() || !row.algorithm.needs_power_of_two())
        };
        TABLE.iter().find(fits).map_or_else(|| fallback(collective), |row| row.algorithm)
    }

    /// As [`choose`](Self::choose), where each group of ranks has a device of its own and data between devices is dear.
    pub fn choose_placed(collective: Collective, groups: &Groups, part_bytes: u64, device: DeviceKind) -> Self {
        match (collective, groups.count()) {
            (Collective::AllReduce, 2) => Self::HierarchicalOnePhase,
            (Collective::AllReduce, count) if whole_is_cheaper(count, part_bytes, OF_A_MESSAGE) => {
                let at_once = part_bytes <= AT_ONCE.0 && count <= AT_ONCE.1;
                match stages(count).len() {
                    2.. if !at_once => Self::HierarchicalDoubling,
                    _ => Self::HierarchicalOnePhase,
                }
            }
            (Collective::AllReduce, ..=MOST_AT_ONCE) => Self::HierarchicalTwoPhase,
            _ if Self::of(collective).contains(&Self::Hierarchical) => Self::Hierarchical,
            _ => Self::choose(collective, groups.ranks(), part_bytes, device),
        }
    }
}

impl Selection {
    /// The word for [`Selection::Auto`].
    pub const AUTO: &str = "auto";

    /// Whether it is left to the table.
    pub fn is_auto(self) -> bool {
        self == Self::Auto
    }

    /// The named algorithm, or that of [`Algorithm::choose`].
    pub fn algorithm(self, collective: Collective, ranks: u32, part_bytes: u64, device: DeviceKind) -> Algorithm {
        match self {
            Self::Auto => Algorithm::choose(collective, ranks, part_bytes, device),
            Self::Named(algorithm) => algorithm,
        }
    }
}

impl From<Algorithm> for Selection {
    fn from(algorithm: Algorithm) -> Self {
        Self::Named(algorithm)
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.pad(Self::AUTO),
            Self::Named(algorithm) => algorithm.fmt(f),
        }
    }
}

impl FromStr for Selection {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        match name {
            name if same_name(name, Self::AUTO) => Ok(Self::Auto),
            name => name.parse().map(Self::Named).map_err(|error: UnknownName| UnknownName {
                known: format!("{}, {}", error.known, Self::AUTO),
                ..error
            }),
        }
    }
}

impl Serialize for Selection {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{MAX_RANKS, SyncStyle, build};

    const MIB: u64 = 1 << 20;

    #[test]
    fn the_table_says_what_was_measured() {
        use Algorithm::{Direct, Mesh, Tree};
        use DeviceKind::{Cpu, Gpu, Software};
        for (collective, device, ranks, bytes, algorithm) in [
            (Collective::AllReduce, Cpu, 2, KIB, Direct),
            (Collective::AllReduce, Cpu, 8, 4 * MIB, Direct),
            (Collective::AllReduce, Cpu, 127, 16 * KIB, Direct),
            (Collective::AllReduce, Cpu, 128, 2 * KIB, Direct),
            (Collective::AllReduce, Cpu, 128, 2 * KIB + 4, Tree),
            (Collective::AllReduce, Cpu, 180, KIB, Direct),
            (Collective::AllReduce, Cpu, 181, KIB, Tree),
            (Collective::AllReduce, Cpu, 1000, 256 * KIB, Tree),
            (Collective::AllReduce, Cpu, 256, 2 * MIB, Direct),
            (Collective::AllReduce, Cpu, 4, u64::MAX, Direct),
            (Collective::AllReduce, Software, 4, KIB, Direct),
            (Collective::AllReduce, Software, 256, KIB, Direct),
            (Collective::AllReduce, Gpu, 8, KIB, Direct),
            (Collective::AllReduce, Gpu, 2, 1 << 30, Direct),
            (Collective::AllGather, Cpu, 4, KIB, Mesh),
            (Collective::AllToAll, Gpu, 1024, u64::MAX, Mesh),
            (Collective::Barrier, Cpu, 4, 0, Mesh),
        ] {
            assert_eq!(
                Algorithm::choose(collective, ranks, bytes, device),
                algorithm,
                "{collective}, {device:?}, {ranks} ranks, {bytes} bytes"
            );
        }
    }

    /// As docs/algorithms.md has it.
    #[test]
    fn groups_with_devices_of_their_own_exchange_by_size_and_number() {
        use Algorithm::{Hierarchical, HierarchicalDoubling, HierarchicalOnePhase, HierarchicalTwoPhase};
        for (groups, bytes, algorithm) in [
            (2, KIB, HierarchicalOnePhase),
            (2, 64 * MIB, HierarchicalOnePhase),
            (3, 48 * KIB, HierarchicalOnePhase),
            (3, 49 * KIB, HierarchicalTwoPhase),
            (4, 8 * KIB, HierarchicalOnePhase),
            (4, 8 * KIB + 4, HierarchicalDoubling),
            (4, 128 * KIB, HierarchicalDoubling),
            (4, 129 * KIB, HierarchicalTwoPhase),
            (8, KIB, HierarchicalDoubling),
            (8, 140 * KIB, HierarchicalDoubling),
            (8, 141 * KIB, HierarchicalTwoPhase),
            (64, 64 * MIB, HierarchicalTwoPhase),
            (65, 64 * MIB, Hierarchical),
            (65, u64::MAX, Hierarchical),
        ] {
            let placed = Groups::new(std::iter::repeat_n(2, groups)).unwrap();
            let chosen = Algorithm::choose_placed(Collective::AllReduce, &placed, bytes, DeviceKind::Cpu);
            assert_eq!(chosen, algorithm, "{groups} groups, {bytes} bytes");
        }
    }

    #[test]
    fn whatever_is_chosen_can_be_built() {
        for (&collective, device) in
            Collective::ALL.iter().flat_map(|c| DeviceKind::ALL.iter().map(move |&device| (c, device)))
        {
            for ranks in [1, 2, 3, 4, 5, 16, 64, 65, 128, 200, MAX_RANKS] {
                for bytes in [0, KIB, 4 * KIB, 256 * KIB, u64::MAX] {
                    let algorithm = Algorithm::choose(collective, ranks, bytes, device);
                    // Building is slow for many ranks, and then depends only on what `of` says.
                    assert!(Algorithm::of(collective).contains(&algorithm), "{collective} by {algorithm}");
                    if ranks <= 200 && bytes % KIB == 0 {
                        build(collective, algorithm, ranks, SyncStyle::default()).unwrap();
                    }
                }
            }
        }
    }

    #[test]
    fn every_row_can_decide() {
        for (at, row) in TABLE.iter().enumerate() {
            let ranks = row.ranks.start().next_power_of_two();
            assert!(row.ranks.contains(&ranks) && Algorithm::of(row.collective).contains(&row.algorithm), "row {at}");
            let hides = |earlier: &Row| {
                (earlier.collective, earlier.device) == (row.collective, row.device)
                    && earlier.ranks.contains(&ranks)
                    && row.bytes <= earlier.bytes
            };
            assert!(!TABLE[..at].iter().any(hides), "row {at} is never reached");
        }
    }

    #[test]
    fn selections_have_names() {
        for (name, selection) in [
            ("auto", Some(Selection::Auto)),
            ("tree", Some(Algorithm::Tree.into())),
            ("Auto", Some(Selection::Auto)),
            ("", None),
        ] {
            assert_eq!(name.parse().ok(), selection, "{name}");
            assert!(selection.is_none_or(|selection: Selection| selection.to_string() == name.to_lowercase()));
        }
        let error = "trees".parse::<Selection>().unwrap_err().to_string();
        assert!(error.contains("'trees'") && error.ends_with(", auto"), "{error}");
    }
}
