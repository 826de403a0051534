//! Why a proved schedule cannot be lowered for a device: a mode or protocol that would be wrong there, or a limit.

use super::mode::{Mode, Protocol};
use super::plan::TooLong;
use crate::element::Unsupported;
use crate::payload::PayloadError;
use crate::proof::Unscalable;
use crate::schedule::Address;

/// Why there is no package of a schedule for a device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what each field is")]
#[non_exhaustive]
pub enum LowerError {
    /// No such payload.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// An operation that the type does not have.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// An average in place of a schedule that reads contributions as outputs.
    #[error(transparent)]
    Unscalable(#[from] Unscalable),
    /// A number of something that is zero.
    #[error("0 {0} can do nothing; give at least 1")]
    Nothing(&'static str),
    /// A device that can run nothing at all.
    #[error("a device with 0 {0} can run nothing; use the CPU executor")]
    Limit(&'static str),
    /// The named mode and protocol would be wrong there.
    #[error("dispatch mode {mode} with protocol {protocol} is refused: {reason}; use {}", instead(*.mode, *.protocol))]
    Unsound { mode: Mode, protocol: Protocol, reason: Unsound },
    /// Not even one vector of every chunk fits a binding.
    #[error("{places} chunk slices do not fit a binding of {bytes} bytes; use fewer ranks or the CPU executor")]
    Places { places: usize, bytes: u64 },
    /// Devices of one launch must cut chunks alike.
    #[error("it takes pieces of {found} vectors of a chunk, and the other devices of {wanted}; set fewer arena bytes")]
    OtherPieces { wanted: usize, found: usize },
    /// Not even one vector of every line fits a binding.
    #[error("{lines} lines do not fit a binding of {bytes} bytes; use fewer ranks or the simple protocol")]
    Lines { lines: u32, bytes: u64 },
    /// Not even one channel's signals or lanes fit.
    #[error("{signals} signals in {lanes} lanes are above the device's limits; use fewer ranks or the CPU executor")]
    Signals { signals: u32, lanes: u32 },
    /// The program's words do not fit a binding.
    #[error("its program takes {words} bytes, a binding holds {bytes}; use fewer ranks or the CPU executor")]
    Words { words: u64, bytes: u64 },
    /// A protocol that looks at every chunk, for a schedule that moves too many.
    #[error(
        "protocol ll lists {moves} moves of single chunks, more than {most}; use the simple protocol or the CPU executor"
    )]
    Moves { moves: u64, most: u64 },
    /// One instruction is more than a dispatch may do.
    #[error("{0}; use fewer ranks or the CPU executor")]
    TooLong(#[from] TooLong),
}

/// Why a mode and protocol would be wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what each field is")]
#[non_exhaustive]
pub enum Unsound {
    /// By what the device or its interface promises.
    #[error("{0}")]
    Device(&'static str),
    /// By what its check in this process saw.
    #[error("its in-process check failed: {0}")]
    SelfCheck(String),
    /// By the schedule: it is one device's part, and what moves between devices moves between dispatches.
    #[error("a schedule on several devices needs the host between dispatches; use per-step or per-rank")]
    Part,
    /// By the protocol: `ll` is for fused dispatch.
    #[error("data that carries its own flag is for fused dispatch")]
    Stepped,
    /// By the schedule: lanes share more than results.
    #[error("lanes of rank {} and rank {} both write {address}, which needs signals", .ranks.0, .ranks.1)]
    Shared { address: Address, ranks: (u32, u32) },
}

fn instead(mode: Mode, protocol: Protocol) -> &'static str {
    match (mode, protocol) {
        (Mode::Fused, Protocol::Simple) => "protocol ll, or per-step",
        _ => "per-step or per-rank, with protocol simple",
    }
}
