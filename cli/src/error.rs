//! Everything that can end a command, and the exit code that a script sees.
//!
//! The areas have enums of their own; this one only joins them, so that codes are decided in one place.

mod bench;

use wgccl::collective::UnknownName;
use wgccl::element::Unsupported;
use wgccl::error::{DeviceError, PayloadError, PrepareError, RunError, TransportError};
use wgccl::golden::GoldenError;
use wgccl::gpu::SelectError;
use wgccl::hang::Hang;
use wgccl::low_level::window::WindowError;
use wgccl::proof::{Proof, Refused, Report, Verdict};
use wgccl::schedule::BuildError;

use crate::file::FileError;
use crate::tensor::TensorError;

pub use bench::BenchError;

/// Exit codes, as nccl-tests numbers them where they mean the same.
pub mod exit {
    /// All is well.
    pub const OK: u8 = 0;
    /// A defect of wgccl or of a driver.
    pub const INTERNAL: u8 = 1;
    /// No such device, or it was lost.
    pub const DEVICE: u8 = 2;
    /// It did not finish; a report says why.
    pub const HANG: u8 = 4;
    /// Usage or bad input.
    pub const USAGE: u8 = 6;
    /// The result is wrong, or slower than was demanded.
    pub const WRONG: u8 = 7;
}

/// What did not come in time.
macro_rules! late {
    () => {
        TransportError::Deadline { .. } | TransportError::Silent { .. } | TransportError::Unheard { .. }
    };
}

/// What ended a command.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name that does not exist.
    #[error(transparent)]
    Name(#[from] UnknownName),
    /// An operation that a type does not have.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// No such schedule.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A schedule that is not safe to run.
    #[error(transparent)]
    Refused(#[from] Box<Refused>),
    /// No such payload.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// Data of another launch.
    #[error(transparent)]
    Golden(#[from] GoldenError),
    /// No such window.
    #[error(transparent)]
    Window(#[from] WindowError),
    /// Nothing to do. A library call does just that; who types a command meant something else.
    #[error("a count of 0 elements leaves nothing to do; give at least 1")]
    Empty,
    /// A schedule file.
    #[error(transparent)]
    File(#[from] Box<FileError>),
    /// A tensor file.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// No such device.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// No such device, or one that the environment hides.
    #[error("{error}\n{why}")]
    Narrowed {
        /// What there is.
        error: SelectError,
        /// What hides others.
        why: String,
    },
    /// A launch cannot be prepared.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// A launch did not succeed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A benchmark.
    #[error(transparent)]
    Bench(#[from] BenchError),
    /// What the first of several processes says.
    #[cfg(feature = "mpi")]
    #[error("the first process says it")]
    Told,
    /// Processes that cannot work together.
    #[cfg(feature = "mpi")]
    #[error(transparent)]
    Mpi(#[from] wgccl_mpi::MpiError),
    /// One tensor of several.
    #[error("tensor '{name}': {error}")]
    OfTensor {
        /// Its name.
        name: String,
        /// What is wrong with it.
        error: Box<Error>,
    },
    /// Options that do not go together.
    #[error("{0}")]
    Usage(String),
    /// The result differs from the golden.
    #[error("{wrong} of {elements} elements differ from the golden, first element {index} of rank {rank}")]
    Wrong {
        /// How many.
        wrong: u64,
        /// Of how many.
        elements: u64,
        /// Rank of the first.
        rank: u32,
        /// Index of the first.
        index: usize,
    },
    /// The result could not be printed.
    #[error("cannot write the result: {0}")]
    Print(#[from] std::io::Error),
}

impl Error {
    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::OfTensor { error, .. } => error.exit_code(),
            #[cfg(feature = "mpi")]
            Self::Told => exit::OK,
            #[cfg(feature = "mpi")]
            Self::Mpi(wgccl_mpi::MpiError::Transport(late!())) => exit::HANG,
            #[cfg(feature = "mpi")]
            Self::Mpi(_) => exit::DEVICE,
            Self::File(_) => exit::USAGE,
            Self::Select(_) | Self::Narrowed { .. } => exit::DEVICE,
            Self::Device(error) | Self::Prepare(PrepareError::Device(error)) | Self::Run(RunError::Device(error)) => {
                of_device(error)
            }
            Self::Refused(refused) | Self::Prepare(PrepareError::Refused(refused)) => of_report(&refused.report),
            Self::Run(RunError::Hang(_) | RunError::Transport(late!()))
            | Self::Prepare(PrepareError::Transport(late!())) => exit::HANG,
            Self::Run(RunError::Transport(_))
            | Self::Prepare(PrepareError::Transport(_) | PrepareError::Peer { .. }) => exit::DEVICE,
            Self::Run(RunError::Memory(_)) => exit::USAGE,
            Self::Run(_) | Self::Golden(_) | Self::Print(_) => exit::INTERNAL,
            Self::Bench(BenchError::Timeout { .. }) => exit::HANG,
            Self::Wrong { .. }
            | Self::Bench(BenchError::Wrong(_) | BenchError::Slow { .. } | BenchError::Regressed { .. }) => exit::WRONG,
            Self::Name(_)
            | Self::Unsupported(_)
            | Self::Build(_)
            | Self::Payload(_)
            | Self::Window(_)
            | Self::Empty
            | Self::Tensor(_)
            | Self::Prepare(_)
            | Self::Bench(_)
            | Self::Usage(_) => exit::USAGE,
        }
    }

    /// The report of a launch that did not finish.
    pub fn hang(&self) -> Option<&Hang> {
        match self {
            Self::Run(error) => error.hang(),
            _ => None,
        }
    }
}

fn of_device(error: &DeviceError) -> u8 {
    match error {
        DeviceError::Absent | DeviceError::Open { .. } | DeviceError::Lost { .. } => exit::DEVICE,
        DeviceError::Deadline { .. } => exit::HANG,
        DeviceError::Memory { .. } => exit::USAGE,
        _ => exit::INTERNAL,
    }
}

/// What the proofs of a schedule say: that it hangs is told apart from that its result is wrong, or that it is none.
pub fn of_report(report: &Report) -> u8 {
    let fails = |proof| report.outcome(proof).is_some_and(|outcome| outcome.verdict == Verdict::Fails);
    if fails(Proof::Structure) {
        exit::USAGE
    } else if fails(Proof::DeadlockFree) {
        exit::HANG
    } else if report.ok() {
        exit::OK
    } else {
        exit::WRONG
    }
}

#[cfg(test)]
mod tests {
    use wgccl::collective::Collective;
    use wgccl::proof::check;
    use wgccl::schedule::{Address, Instruction, Lane, Schedule};

    use super::*;

    /// Two ranks: each adds both inputs and tells the other.
    fn pair(change: impl Fn(&mut Schedule)) -> u8 {
        let (a, b) = (Address::input(0, 0), Address::input(1, 0));
        let lane = |rank: u32| {
            Lane::new(rank)
                .with(Instruction::new("add").reduce(a, b).to(Address::output(rank, 0)).notify(1 - rank, 0))
                .with(Instruction::new("end").wait(0, 1 - rank))
        };
        let mut schedule =
            Schedule::new("pair", Collective::AllReduce, 2, 1).signal_rows(1).lane(lane(0)).lane(lane(1));
        change(&mut schedule);
        of_report(&check(&schedule, Default::default()))
    }

    #[test]
    fn a_schedule_that_hangs_is_told_from_one_that_is_wrong() {
        assert_eq!(pair(|_| {}), exit::OK);
        // Each waits before it tells.
        let deadlock = pair(|schedule| {
            for lane in &mut schedule.lanes {
                let wait = std::mem::take(&mut lane.instructions[1].waits);
                lane.instructions[0].waits = wait;
            }
        });
        assert_eq!(deadlock, exit::HANG);
        let race = pair(|schedule| schedule.lanes[1].instructions[0].to[0] = Address::output(0, 0));
        assert_eq!(race, exit::WRONG);
        let wrong = pair(|schedule| schedule.lanes[1].instructions[0].from[1] = Address::input(0, 0));
        assert_eq!(wrong, exit::WRONG);
        let structure = pair(|schedule| schedule.lanes[1].instructions[0].to[0] = Address::output(2, 0));
        assert_eq!(structure, exit::USAGE);
    }
}
