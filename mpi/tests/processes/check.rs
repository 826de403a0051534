//! Launches over this process's ranks, held against the golden in every bit.

use std::sync::Arc;

use mpi::topology::SimpleCommunicator;
use wgccl::backend::{Options, Shape};
use wgccl::cpu::Cpu;
use wgccl::proof::Proved;
use wgccl_mpi::{MpiBackend, mpi};

use crate::common::placed::{self, Over};

/// All processes, each with its CPU cores.
pub(crate) fn over(world: &SimpleCommunicator) -> MpiBackend {
    MpiBackend::over(world, Arc::new(Cpu::new())).unwrap()
}

/// Elements of this process's ranks that are wrong, of three launches by each of the two ways.
pub(crate) fn wrong(backend: &MpiBackend, proved: &Proved, shape: Shape, options: Options) -> u64 {
    placed::wrong(backend, proved, Over { shape, launches: 3 }, options)
}
