//! Proofs about a schedule before any device sees it: what goes wrong is named by rank, round, instruction and signal.
//!
//! It can be proved because instructions are blocking, without branches, and signals only grow: one simulated run
//! decides deadlock for every timing, and one happens-before graph decides races. Every proof is close to linear in
//! the number of instructions; a vector clock adds a factor of the number of lanes, over contiguous memory. Where every rank
//! does the same, one rank's lanes are all that is proved.

mod between;
mod clocks;
mod contribution;
mod effect;
mod harmless;
mod interleaving;
mod lost;
mod made;
mod memory;
mod orbits;
mod order;
mod prove;
mod proved;
mod replay;
mod report;
pub(crate) mod result;
mod run;
mod simulate;
mod structure;
mod symmetric;
mod turn;
mod why;

pub use between::{Access, Between, BetweenError, Edge, Order, Shared, Yields};
pub use contribution::Unscalable;
pub use effect::Effect;
pub use harmless::{Harmless, Reason};
pub use interleaving::{Interleaving, Over};
pub use lost::{End, How, Lost, Missed};
pub use prove::{Checked, Refused, check, check_draft, prove};
pub use proved::{Options, Proved};
pub(crate) use replay::Replay;
pub use report::{Finding, Outcome, Proof, Report, Verdict};
pub(crate) use result::{Node, Term};
pub use run::Run;
pub use why::{Made, Why, WhyError};
