//! What is computed: the collective and the reduction operation, by the names that NCCL and MPI users type.
//!
//! Kept apart from the algorithms, because a proof and a golden are about *what*, never about *how*.

mod task;

use std::fmt;
use std::str::FromStr;

pub use task::{Holds, Task, TaskError};

/// A name that is not one of the names that exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} '{name}' does not exist here; choose one of: {known}")]
#[non_exhaustive]
pub struct UnknownName {
    /// What was being named: "collective", "algorithm", "type", ...
    pub kind: &'static str,
    /// The name that was given.
    pub name: String,
    /// The names that exist, separated by commas.
    pub known: String,
}

/// An enum whose values have one stable, lower-case name each: what is printed is parsed again.
pub(crate) trait Named: Sized + Copy + 'static {
    const KIND: &'static str;
    const ALL: &'static [Self];
    fn name(self) -> &'static str;

    /// What others call it.
    fn aliases(self) -> &'static [&'static str];

    /// In any case, and with `-`, `_`, a space or nothing between words.
    fn parse(name: &str) -> Result<Self, UnknownName> {
        find(name, same_name)
    }

    /// Letter for letter, as files have it.
    fn exactly(name: &str) -> Result<Self, UnknownName> {
        find(name, |a, b| a == b)
    }
}

fn find<T: Named>(name: &str, same: impl Fn(&str, &str) -> bool) -> Result<T, UnknownName> {
    let is = |value: &T| same(value.name(), name) || value.aliases().iter().any(|alias| same(alias, name));
    T::ALL.iter().copied().find(is).ok_or_else(|| UnknownName {
        kind: T::KIND,
        name: name.to_owned(),
        known: T::ALL.iter().map(|value| value.name()).collect::<Vec<_>>().join(", "),
    })
}

/// Whether two names differ in no more than case and what stands between words.
pub(crate) fn same_name(a: &str, b: &str) -> bool {
    fn letters(name: &str) -> impl Iterator<Item = char> {
        name.chars().filter(|c| !['-', '_', ' '].contains(c)).map(|c| c.to_ascii_lowercase())
    }
    letters(a).eq(letters(b))
}

/// Gives a [`Named`] enum its public `name`, `ALL`, `Display`, `FromStr` and serde form.
macro_rules! named {
    ($type:ident, $kind:literal, { $($value:ident => $name:literal $(| $alias:literal)*),+ $(,)? }) => {
        impl $crate::collective::Named for $type {
            const KIND: &'static str = $kind;
            const ALL: &'static [Self] = &[$(Self::$value),+];
            fn name(self) -> &'static str {
                match self { $(Self::$value => $name),+ }
            }
            fn aliases(self) -> &'static [&'static str] {
                match self { $(Self::$value => &[$($alias),*]),+ }
            }
        }
        impl $type {
            /// Every value, in the order in which they are listed to a user.
            pub const ALL: &'static [Self] = <Self as $crate::collective::Named>::ALL;
            /// The name on the command line and in records.
            pub fn name(self) -> &'static str {
                $crate::collective::Named::name(self)
            }
        }
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }
        impl std::str::FromStr for $type {
            type Err = $crate::collective::UnknownName;
            fn from_str(name: &str) -> Result<Self, Self::Err> {
                $crate::collective::Named::parse(name)
            }
        }
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let name = <String as serde::Deserialize>::deserialize(deserializer)?;
                $crate::collective::Named::exactly(&name).map_err(serde::de::Error::custom)
            }
        }
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }
    };
}
pub(crate) use named;

/// A collective operation over all ranks, as NCCL defines it. `count` elements are one *part* of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Collective {
    /// Every rank gives `count` elements; every rank gets their reduction, `count` elements.
    AllReduce,
    /// Every rank gives `count` elements; every rank gets those of all ranks, in rank order.
    AllGather,
    /// Every rank gives `count` elements for each rank; every rank gets the reduction of those for it.
    ReduceScatter,
    /// The root gives `count` elements; every rank gets them.
    Broadcast,
    /// Every rank gives `count` elements; the root gets their reduction.
    Reduce,
    /// Every rank gives `count` elements; the root gets those of all ranks, in rank order.
    Gather,
    /// The root gives `count` elements for each rank; every rank gets those for it.
    Scatter,
    /// Every rank gives `count` elements for each rank; every rank gets those for it from all ranks, in rank order.
    AllToAll,
    /// Every rank gives `count` elements; every rank gets those of one rank.
    SendRecv,
    /// Nobody gives or gets anything; no rank goes on before all have arrived.
    Barrier,
}

named!(Collective, "collective", {
    AllReduce => "all-reduce",
    AllGather => "all-gather",
    ReduceScatter => "reduce-scatter",
    Broadcast => "broadcast" | "bcast",
    Reduce => "reduce",
    Gather => "gather",
    Scatter => "scatter",
    AllToAll => "all-to-all",
    SendRecv => "send-recv",
    Barrier => "barrier",
});

impl Collective {
    /// Whether one rank differs from the others.
    pub fn has_root(self) -> bool {
        matches!(self, Self::Broadcast | Self::Reduce | Self::Gather | Self::Scatter)
    }

    /// Whether elements are combined, and not only moved.
    pub fn reduces(self) -> bool {
        matches!(self, Self::AllReduce | Self::ReduceScatter | Self::Reduce)
    }

    /// `op` where elements are combined; where they are only moved, the one that does nothing to them.
    pub(crate) fn op(self, op: Op) -> Op {
        if self.reduces() { op } else { Op::Sum }
    }

    /// Whether a rank's input and output can be the same memory.
    pub fn has_in_place(self) -> bool {
        !matches!(self, Self::AllToAll | Self::SendRecv | Self::Barrier)
    }

    /// Whether all ranks get the same.
    pub fn gives_all_the_same(self) -> bool {
        matches!(self, Self::AllReduce | Self::AllGather | Self::Broadcast)
    }

    /// What nccl-tests multiplies its algorithm bandwidth with to get the bus bandwidth.
    pub fn bus_factor(self, ranks: u32) -> f64 {
        let others = f64::from(ranks.max(1) - 1) / f64::from(ranks.max(1));
        match self {
            Self::AllReduce => 2.0 * others,
            Self::AllGather | Self::ReduceScatter | Self::AllToAll | Self::Gather | Self::Scatter => others,
            Self::Barrier => 0.0,
            Self::Broadcast | Self::Reduce | Self::SendRecv => 1.0,
        }
    }

    /// Parts of which nccl-tests' size consists: it is that of a rank's largest buffer.
    pub fn size_parts(self, ranks: u32) -> u32 {
        match self {
            Self::AllGather | Self::ReduceScatter | Self::AllToAll | Self::Gather | Self::Scatter => ranks,
            Self::Barrier => 0,
            Self::AllReduce | Self::Broadcast | Self::Reduce | Self::SendRecv => 1,
        }
    }

    /// Whether the root is the only rank with an input.
    pub fn only_root_gives(self) -> bool {
        matches!(self, Self::Broadcast | Self::Scatter)
    }
}

/// A reduction operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Op {
    /// Addition in the element's own precision, rounded to nearest even after every step.
    Sum,
    /// Multiplication, likewise.
    Prod,
    /// The smaller one; a NaN only where all are NaN, and -0 below +0.
    Min,
    /// The greater one, likewise.
    Max,
    /// NCCL's average of floats: every contribution is multiplied by 1/ranks, then they are summed.
    Avg,
}

named!(Op, "operation", {
    Sum => "sum" | "add",
    Prod => "prod" | "product",
    Min => "min" | "minimum",
    Max => "max" | "maximum",
    Avg => "avg" | "average" | "mean",
});

impl Op {
    /// What it is over so many ranks: an average over one is the contribution itself, as NCCL's is.
    pub(crate) fn over(self, ranks: u32) -> Self {
        if self == Self::Avg && ranks == 1 { Self::Sum } else { self }
    }
}

/// Prints a list of ranks as `0, 2, 5`, cut after eight.
pub(crate) struct Ranks<'a>(pub &'a [u32]);

impl fmt::Display for Ranks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        for (i, rank) in self.0.iter().take(SHOWN).enumerate() {
            write!(f, "{}{rank}", if i == 0 { "" } else { ", " })?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// Parses `name` and says what exists if it does not.
///
/// # Errors
/// [`UnknownName`] with the list of names.
pub fn parse<T: FromStr<Err = UnknownName>>(name: &str) -> Result<T, UnknownName> {
    name.parse()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::element::DataType;
    use crate::lower::{Mode, Protocol};
    use crate::schedule::{Algorithm, Selection, SyncStyle};

    fn read<T: FromStr<Err = UnknownName> + ToString>(name: &str) -> String {
        parse::<T>(name).map_or_else(|error| error.to_string(), |value| value.to_string())
    }

    #[test]
    fn names_are_read_as_hands_type_them() {
        for (read, name, value) in [
            (read::<Collective> as fn(&str) -> String, "allreduce", "all-reduce"),
            (read::<Collective>, "all_reduce", "all-reduce"),
            (read::<Collective>, "AllReduce", "all-reduce"),
            (read::<Collective>, "ALL REDUCE", "all-reduce"),
            (read::<Collective>, "alltoall", "all-to-all"),
            (read::<Collective>, "sendrecv", "send-recv"),
            (read::<Collective>, "ReduceScatter", "reduce-scatter"),
            (read::<Collective>, "bcast", "broadcast"),
            (read::<Op>, "SUM", "sum"),
            (read::<Op>, "Average", "avg"),
            (read::<DataType>, "FP32", "f32"),
            (read::<DataType>, "Float16", "f16"),
            (read::<DataType>, "half", "f16"),
            (read::<DataType>, "BFloat16", "bf16"),
            (read::<DataType>, "double", "f64"),
            (read::<DataType>, "UINT8", "u8"),
            (read::<Algorithm>, "one_phase_own_first", "one-phase-own-first"),
            (read::<Selection>, "Auto", "auto"),
            (read::<Selection>, "HalvingDoubling", "halving-doubling"),
            (read::<SyncStyle>, "Neighbor", "neighbor"),
            (read::<SyncStyle>, "neighbour", "neighbor"),
            (read::<Mode>, "perStep", "per-step"),
            (read::<Protocol>, "LL", "ll"),
        ] {
            assert_eq!(read(name), value, "{name}");
        }
        for name in ["", "-", "all", "reduces", "all.reduce"] {
            assert!(parse::<Collective>(name).is_err(), "{name}");
        }
    }

    /// So tolerance never chooses.
    #[test]
    fn no_two_values_have_the_same_name() {
        fn check<T: Named>() {
            let names = |value: &T| [&[value.name()], value.aliases()].concat();
            let every: Vec<&str> = T::ALL.iter().flat_map(names).collect();
            for (i, name) in every.iter().enumerate() {
                assert!(every[..i].iter().all(|other| !same_name(other, name)), "{} {name}", T::KIND);
            }
        }
        check::<Collective>();
        check::<Op>();
        check::<DataType>();
        check::<Algorithm>();
        check::<SyncStyle>();
        check::<Mode>();
        check::<Protocol>();
    }

    #[test]
    fn bandwidths_are_those_of_nccl_tests() {
        for (ranks, factor) in [(1, 0.0), (2, 1.0), (4, 1.5), (8, 1.75)] {
            assert_eq!(Collective::AllReduce.bus_factor(ranks), factor);
            for collective in [
                Collective::AllGather,
                Collective::ReduceScatter,
                Collective::AllToAll,
                Collective::Gather,
                Collective::Scatter,
            ] {
                assert_eq!((collective.bus_factor(ranks), collective.size_parts(ranks)), (factor / 2.0, ranks));
            }
            for collective in [Collective::Broadcast, Collective::Reduce, Collective::SendRecv] {
                assert_eq!((collective.bus_factor(ranks), collective.size_parts(ranks)), (1.0, 1));
            }
        }
    }

    #[test]
    fn files_have_the_names_and_no_other_spelling() {
        let read = |name: &str| serde_json::from_str::<Collective>(&format!("\"{name}\""));
        assert_eq!(read("all-reduce").ok(), Some(Collective::AllReduce));
        assert!(read("AllReduce").is_err() && read("all_reduce").is_err());
    }
}
