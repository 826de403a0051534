//! What is computed: the collective and the reduction operation, by the names that NCCL and MPI users type.
//!
//! Kept apart from the algorithms, because a proof and a golden are about *what*, never about *how*.

use std::fmt;
use std::str::FromStr;

/// A name that is not one of the names that exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} '{name}' does not exist here; choose one of: {known}")]
pub struct UnknownName {
    /// What was being named: "collective", "algorithm", "type", ...
    pub kind: &'static str,
    /// The name that was given.
    pub name: String,
    /// The names that exist, separated by commas.
    pub known: String,
}

/// An enum whose values have one stable, lower-case name each; parsing and printing are each other's inverse.
pub(crate) trait Named: Sized + Copy + 'static {
    const KIND: &'static str;
    const ALL: &'static [Self];
    fn name(self) -> &'static str;

    /// What others call it.
    fn aliases(self) -> &'static [&'static str];

    fn parse(name: &str) -> Result<Self, UnknownName> {
        let is = |value: &Self| value.name() == name || value.aliases().contains(&name);
        Self::ALL.iter().copied().find(is).ok_or_else(|| UnknownName {
            kind: Self::KIND,
            name: name.to_owned(),
            known: Self::ALL.iter().map(|value| value.name()).collect::<Vec<_>>().join(", "),
        })
    }
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
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }
    };
}
pub(crate) use named;

/// A collective operation over all ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Collective {
    /// Every rank gives `count` elements; every rank gets their reduction, `count` elements.
    AllReduce,
}

named!(Collective, "collective", { AllReduce => "all-reduce" });

impl Collective {
    /// Chunks of one rank's input, for a schedule that cuts the payload into `chunks`.
    pub fn input_chunks(self, chunks: u32) -> u32 {
        match self {
            Self::AllReduce => chunks,
        }
    }

    /// Chunks of one rank's output, for a schedule that cuts the payload into `chunks`.
    pub fn output_chunks(self, chunks: u32) -> u32 {
        match self {
            Self::AllReduce => chunks,
        }
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

named!(Op, "operation", { Sum => "sum", Prod => "prod", Min => "min", Max => "max", Avg => "avg" });

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
