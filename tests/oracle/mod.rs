//! A standing oracle: random schedules, judged and executed without any code of the library's proofs, golden or executors,
//! and held against what these say.
//!
//! A case is a seed. It gives a schedule: right by construction ([`grow`]), that with a few edits ([`mutate`]), or a tiny one
//! wholly at random ([`wild`]). The [`judge`] executes it in several interleavings over symbols. What the proof accepts must
//! go right in all of them; what is right by construction must be accepted; what the proof refuses goes wrong, or its reason
//! is on the list of [`explain`]. What is accepted is launched on the CPU, and a sample on every GPU, over all types and
//! operations, and every output is held against [`evaluate`] and the golden in every bit ([`launch`]).
//!
//! The short form is a test; the long form is `cargo run -p xtask --release -- soak`, which includes this folder. Of the
//! library only values are used: schedules, tasks, names of types and operations, and what is under test.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub(crate) mod arithmetic;
pub(crate) mod case;
pub(crate) mod evaluate;
pub(crate) mod explain;
pub(crate) mod grow;
pub(crate) mod judge;
pub(crate) mod launch;
pub(crate) mod mutate;
pub(crate) mod promise;
pub(crate) mod random;
pub(crate) mod shrink;
pub(crate) mod tally;
pub(crate) mod wild;
