//! Where a schedule comes from: the identity that reports, tables and records give it.
//!
//! Open, so that a schedule from a file or a program is named as well as a built-in one.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Algorithm;

/// Who made a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Origin {
    /// An algorithm of this library.
    Builtin(Algorithm),
    /// A file.
    File {
        /// The name that the file gives itself or, without one, that of the file.
        name: String,
        /// A hash of its bytes: two files of one name are two schedules.
        hash: u64,
    },
    /// A program, under a name of its choice.
    Custom(String),
}

impl Origin {
    /// A file of these bytes, by the name that it gives itself or is found under.
    pub fn file(name: impl Into<String>, bytes: &[u8]) -> Self {
        Self::File { name: name.into(), hash: hash(bytes) }
    }

    /// The name for people.
    pub fn name(&self) -> &str {
        match self {
            Self::Builtin(algorithm) => algorithm.name(),
            Self::File { name, .. } | Self::Custom(name) => name,
        }
    }

    /// The kind, as records and JSON call it: `builtin`, `file` or `custom`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Builtin(_) => "builtin",
            Self::File { .. } => "file",
            Self::Custom(_) => "custom",
        }
    }

    /// The algorithm, of a built-in schedule.
    pub fn algorithm(&self) -> Option<Algorithm> {
        match self {
            Self::Builtin(algorithm) => Some(*algorithm),
            _ => None,
        }
    }
}

/// FNV-1a, of 64 bits: the same everywhere, and no secret.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl From<Algorithm> for Origin {
    fn from(algorithm: Algorithm) -> Self {
        Self::Builtin(algorithm)
    }
}

impl From<&str> for Origin {
    fn from(name: &str) -> Self {
        Self::Custom(name.to_owned())
    }
}

impl From<String> for Origin {
    fn from(name: String) -> Self {
        Self::Custom(name)
    }
}
