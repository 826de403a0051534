//! What a protocol makes of a proved schedule: the one seam between those who know signals or lines and all others.
//!
//! Everything that differs between protocols on the host is a method here; nobody else asks which one it is.

use std::fmt;
use std::ops::Range;

use super::arena::Arena;
use super::error::LowerError;
use super::kernel::Moves;
use super::mode::Mode;
use super::plan::{Plan, TooLong};
use super::source::Interpreter;
use super::tuning::Tuning;
use super::words::Progress;
use crate::fault::Fault;
use crate::hang::Hang;

/// A schedule in the words of a protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words {
    /// Instructions of all lanes, and one that nobody runs, for who reads ahead.
    pub(super) instructions: Vec<u32>,
    /// What instructions refer to.
    pub(super) links: Vec<u32>,
    /// Instructions of every lane, in the plan's order.
    pub(super) lanes: Vec<Range<u32>>,
}

/// What an explanation of a hang starts from.
pub(super) struct Trace<'a> {
    pub(super) arena: &'a Arena,
    /// Signals of all channels, as the device has left them.
    pub(super) signals: &'a [u32],
    /// Progress of whatever was launched last.
    pub(super) last: &'a [Progress],
    pub(super) fault: Option<Fault>,
}

/// A schedule as a protocol carries it out, before anything is laid out. All lanes are those of the schedule.
pub(super) trait Code: fmt::Debug + Send + Sync {
    /// Which kernel runs it.
    fn interpreter(&self, mode: Mode, software: bool) -> Interpreter;

    /// Which ways of moving data its kernel must have.
    fn moves(&self) -> Moves;

    /// Signals of a channel.
    fn signals(&self) -> u32;

    /// Most vectors of a chunk's slice, if what lanes share beside the payload may take `bytes` bytes.
    fn most_vectors(&self, bytes: u64) -> Result<usize, LowerError>;

    /// Bytes of the larger of both buffers of words.
    fn word_bytes(&self) -> u64;

    /// Lays out the memory.
    fn arena(&self, vectors: usize, channels: u32) -> Arena;

    /// Plans dispatches in which no invocation makes more than `limit` loop turns for a lane.
    fn plan(&self, mode: Mode, tuning: &Tuning, slice_vectors: u64, limit: u64) -> Result<Plan, TooLong>;

    /// Encodes it for `plan` over `arena`. Every index fits 32 bits, because a binding is below 4 GiB.
    fn words(&self, plan: &Plan, arena: &Arena, tuning: &Tuning, fault: Option<Fault>) -> Words;

    /// Words that an invocation remembers of each of its lanes from one dispatch to the next.
    fn remembered(&self) -> u32;

    /// Whether launches over a shorter last piece go over its whole length all the same.
    fn whole_pieces(&self) -> bool;

    /// Instructions of schedule lane `lane` that are over with its first `done` instructions or moves.
    fn instructions_done(&self, lane: u32, done: u32) -> u32;

    /// Explains these channels, each with the index of every lane's next instruction.
    fn explain(&self, trace: &Trace<'_>, stuck: Vec<(u32, Vec<u32>)>) -> Hang;
}
