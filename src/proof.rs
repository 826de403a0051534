//! Proofs about a schedule before any device sees it: what goes wrong is named by rank, round, instruction and signal.
//!
//! It can be proved because instructions are blocking, without branches, and signals only grow: one simulated run
//! decides deadlock for every timing, and one happens-before graph decides races. Every proof is close to linear in
//! the number of instructions; a vector clock adds a factor of the number of lanes, over contiguous memory. Where every rank
//! does the same, one rank's lanes are all that is proved.
//!
//! A report says what is wrong. A [`Run`] answers why, of any schedule whose names exist: [`Run::why`] shows how a chunk came to
//! hold what it holds, [`Run::between`] what orders two instructions, [`Run::interleaving`] how a race goes wrong; [`Effect`]
//! says what a launch would do, and [`Harmless`] why an edit does nothing.
//!
//! ```
//! use wgccl::collective::Collective;
//! use wgccl::proof::{Effect, Options, Run};
//! use wgccl::schedule::{Algorithm, Edit, Recipe};
//!
//! let ring = Recipe::new(Collective::AllReduce, 4).algorithm(Algorithm::Ring).build()?;
//! let broken = Edit::parse("drop-wait:rank 1 RS round 3", &ring)?.apply(&ring)?;
//! assert!(matches!(Effect::of(&broken, Options::default()), Effect::MayBeWrong { .. }));
//! let run = Run::of(&broken, Options::default())?;
//! println!("{}", run.why(broken.place("2:1")?)?);
//! println!("{}", run.between(&broken.find("rank 0 RS round 2")?, &broken.find("rank 1 RS round 3")?)?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod between;
mod clocks;
mod contribution;
mod effect;
mod epochs;
mod harmless;
mod hints;
mod interleaving;
mod lost;
mod made;
mod memory;
mod orbits;
mod order;
mod part;
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

pub use between::{AccessKind, Between, BetweenError, Edge, Order, Shared, Yields};
pub use contribution::Unscalable;
pub use effect::Effect;
pub use harmless::{Harmless, Reason};
pub use hints::{Barriers, Hints, Redundant};
pub use interleaving::{Interleaving, Over};
pub use lost::{End, How, Lost, Missed};
pub use part::PartTooLarge;
pub use prove::{Checked, Refused, check, check_draft, prove};
pub use proved::{Options, Proved};
pub(crate) use replay::Replay;
pub use report::{Finding, Outcome, Proof, Report, Verdict};
pub(crate) use result::{Node, Term};
pub use run::Run;
pub use why::{Made, Why, WhyError};
