//! Everything that can end a command, and the exit code that a script sees.
//!
//! The areas have enums of their own; this one only joins them, so that codes are decided in one place.

mod bench;

use wgccl::collective::UnknownName;
use wgccl::cpu::CpuError;
use wgccl::element::Unsupported;
use wgccl::gpu::{GpuError, LaunchError, SelectError};
use wgccl::hang::Hang;
use wgccl::payload::PayloadError;
use wgccl::proof::Refused;
use wgccl::schedule::BuildError;
use wgccl::window::StrideError;

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
    /// No such window.
    #[error(transparent)]
    Stride(#[from] StrideError),
    /// Nothing to do. A library call does just that; who types a command meant something else.
    #[error("a count of 0 elements leaves nothing to do; give at least 1")]
    Empty,
    /// A tensor file.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// No such device.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// The GPU.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// A launch on the GPU.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// A launch on the CPU.
    #[error(transparent)]
    Cpu(#[from] CpuError),
    /// A benchmark.
    #[error(transparent)]
    Bench(#[from] BenchError),
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
            Self::Select(_) => exit::DEVICE,
            Self::Gpu(error) | Self::Launch(LaunchError::Gpu(error)) => match error {
                GpuError::Absent | GpuError::Open { .. } | GpuError::Lost { .. } => exit::DEVICE,
                GpuError::Deadline { .. } => exit::HANG,
                GpuError::Memory { .. } => exit::USAGE,
                _ => exit::INTERNAL,
            },
            Self::Launch(LaunchError::Hang(_)) | Self::Cpu(CpuError::Hang(_)) => exit::HANG,
            Self::Launch(
                LaunchError::Buffers(_)
                | LaunchError::Placement { .. }
                | LaunchError::NotLaunched
                | LaunchError::InPieces { .. },
            )
            | Self::Print(_) => exit::INTERNAL,
            Self::Bench(BenchError::Timeout { .. }) => exit::HANG,
            Self::Wrong { .. }
            | Self::Bench(BenchError::Wrong(_) | BenchError::Slow { .. } | BenchError::Regressed { .. }) => exit::WRONG,
            Self::Name(_)
            | Self::Unsupported(_)
            | Self::Build(_)
            | Self::Refused(_)
            | Self::Payload(_)
            | Self::Stride(_)
            | Self::Empty
            | Self::Tensor(_)
            | Self::Launch(_)
            | Self::Cpu(_)
            | Self::Bench(_)
            | Self::Usage(_) => exit::USAGE,
        }
    }

    /// The report of a launch that did not finish.
    pub fn hang(&self) -> Option<&Hang> {
        match self {
            Self::Launch(LaunchError::Hang(hang)) => Some(hang),
            Self::Cpu(CpuError::Hang(hang)) => Some(hang),
            _ => None,
        }
    }
}
