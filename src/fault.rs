//! Defects that are put into a launch on purpose.
//!
//! They show what an unfinished launch looks like, and that its report names the cause.

use serde::Serialize;

/// A defect put into a launch on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum Fault {
    /// The notifies that `rank` sends to signal row `row` of its peers get lost.
    DropNotify {
        /// The rank that falls silent.
        rank: u32,
        /// The row on which it does.
        row: u32,
    },
}

impl Fault {
    /// Whether the fault swallows a notify from `sender` on `row`.
    pub fn drops(self, sender: u32, row: u32) -> bool {
        match self {
            Self::DropNotify { rank, row: dropped } => sender == rank && row == dropped,
        }
    }
}
