//! The CPU executor: a proved schedule's lanes as resumable tasks on worker threads.
//!
//! It runs the same instructions as a device, so it needs no driver to try a schedule, and it is the second witness of
//! every result. A task runs until it would wait; then its worker takes another, so ranks may outnumber cores freely.

mod contain;
pub(crate) mod copy;
mod cut;
mod executor;
mod gate;
mod haste;
mod hot;
mod kernel;
mod memory;
mod part;
mod processor;
mod program;
mod ready;
mod recorder;
mod rest;
mod short;
mod signal;
mod stall;
mod straight;
mod team;
mod worker;

use std::fmt;
use std::sync::Arc;

use crate::backend::{Backend, Options, Shape};
use crate::communicator::Communicator;
pub use crate::cores::cores;
use crate::element::dispatch;
use crate::error::PrepareError;
use crate::lower::mode::Protocol;
use crate::proof::Proved;
use crate::schedule::DeviceKind;
pub use executor::Executor;
pub use processor::Processor;
pub use ready::Ready;
use team::Team;

/// Most ranks that this executor runs.
pub const MAX_RANKS: u32 = 1024;

/// The name of this executor in errors.
const NAME: &str = "the CPU executor";

/// The processor's cores as a backend. Clones share worker threads, which start when a launch is
/// prepared that needs them or, for small ones, when several follow each other closely. They run where the thread that starts them may.
#[derive(Clone, Default)]
pub struct Cpu {
    team: Arc<Team>,
}

impl Cpu {
    /// With worker threads of its own.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Backend for Cpu {
    type Ready = Ready;

    fn kind(&self) -> DeviceKind {
        DeviceKind::Cpu
    }

    fn admit(&self, ranks: u32, options: &Options) -> Result<(), PrepareError> {
        admit(ranks, options)
    }

    fn prepare(&self, proved: &Proved, shape: Shape, options: &Options) -> Result<Ready, PrepareError> {
        if proved.is_part() {
            return Err(PrepareError::Part);
        }
        let Shape { count, data_type, op } = shape;
        let team = self.team.clone();
        dispatch!(data_type, T => Executor::<T>::with_team(team, proved, count, op, options).map(Ready::new))
    }
}

impl Communicator<Cpu> {
    /// A communicator of `ranks` ranks on this process's cores.
    pub fn cpu(ranks: u32) -> Self {
        Self::new(Cpu::new(), ranks)
    }
}

/// Refuses what this executor does not have, rather than ignore it.
fn admit(ranks: u32, options: &Options) -> Result<(), PrepareError> {
    if ranks > MAX_RANKS {
        return Err(PrepareError::Ranks { ranks, most: MAX_RANKS, executor: NAME, instead: "fewer ranks" });
    }
    let foreign = [
        (options.dispatch.is_some(), "dispatch modes"),
        (options.protocol != Protocol::Simple, "protocol but simple"),
        (options.arena_bytes.is_some(), "arenas"),
        (options.workgroups.is_some(), "workgroups"),
        (options.timeout.is_some(), "timeout"),
    ];
    match foreign.into_iter().find(|(given, _)| *given) {
        Some((_, option)) => Err(PrepareError::NoSuchOption { executor: NAME, option }),
        None => Ok(()),
    }
}

impl fmt::Debug for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cpu").finish_non_exhaustive()
    }
}
