//! The small ways to break a schedule, by kind.

use std::fmt;

use wgccl::schedule::{Edit, Instruction, Schedule};

/// What kinds of edit there are, for counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Wait,
    Notify,
    Pair,
    Row,
    RowWaits,
    Chunk,
    Rank,
    Operands,
    Order,
    Zero,
    Slot,
}

impl Kind {
    pub(crate) const ALL: [Self; 11] = [
        Self::Wait,
        Self::Notify,
        Self::Pair,
        Self::Row,
        Self::RowWaits,
        Self::Chunk,
        Self::Rank,
        Self::Operands,
        Self::Order,
        Self::Zero,
        Self::Slot,
    ];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Wait => "drop a wait",
            Self::Notify => "drop a notify",
            Self::Pair => "drop wait and notify",
            Self::Row => "drop a row's pairs",
            Self::RowWaits => "drop a row's waits",
            Self::Chunk => "next chunk",
            Self::Rank => "next rank",
            Self::Operands => "swap operands",
            Self::Order => "swap instructions",
            Self::Zero => "zero in-kernel",
            Self::Slot => "share a slot",
        })
    }
}

/// Of which kind an edit is.
pub(crate) trait Kinds {
    fn kind(&self) -> Kind;
}

impl Kinds for Edit {
    fn kind(&self) -> Kind {
        match self {
            Self::DropWait(..) => Kind::Wait,
            Self::DropNotify(..) => Kind::Notify,
            Self::DropPair(..) => Kind::Pair,
            Self::DropRow(_) => Kind::Row,
            Self::DropRowWaits(_) => Kind::RowWaits,
            Self::ShiftRead(..) | Self::ShiftWrite(..) => Kind::Chunk,
            Self::NextRankRead(..) | Self::NextRankWrite(..) | Self::NextSender(..) | Self::NextPeer(..) => Kind::Rank,
            Self::SwapOperands(_) => Kind::Operands,
            Self::SwapWithNext(_) => Kind::Order,
            Self::ZeroSignals(_) => Kind::Zero,
            Self::ShareSlot { .. } => Kind::Slot,
            _ => panic!("{self} is of no kind"),
        }
    }
}

pub(crate) fn instructions(schedule: &Schedule) -> impl Iterator<Item = &Instruction> {
    schedule.lanes.iter().flat_map(|lane| &lane.instructions)
}
