//! wgccl over MPI: one schedule, proved once, on the devices of several processes, on one host or many.
//!
//! An MPI process is a device of the placement. Ranks are spread over processes in blocks, and each process carries out its
//! part; what crosses goes as MPI messages between epochs of the schedule. So the proof, the golden and every bit are those of
//! one device.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use mpi::topology::SimpleCommunicator;
//! use wgccl::Communicator;
//! use wgccl::collective::Op;
//! use wgccl::cpu::Cpu;
//! use wgccl_mpi::{MpiBackend, mpi};
//!
//! let Some(universe) = mpi::initialize() else { panic!("MPI was initialised before") };
//! let backend = MpiBackend::over(&universe.world(), Arc::new(Cpu::new()))?;
//!
//! // Eight ranks, in blocks. A process gives the buffers of its own ranks, and empty ones for those of the others.
//! let ranks = 8;
//! let placement = backend.placement_of(ranks);
//! let mut inputs = vec![Vec::new(); 8];
//! for rank in placement.ranks_of(backend.process()) {
//!     inputs[rank as usize] = vec![rank as f32; 1000];
//! }
//! let mut outputs: Vec<Vec<f32>> = inputs.clone();
//!
//! let comm = Communicator::new(backend, ranks);
//! let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
//! let mut outputs: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
//! comm.all_reduce(&inputs, &mut outputs, Op::Sum)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What has to hold
//! All processes make the same calls, in the same order, as with MPI's own collectives. Each call that prepares something
//! compares what all of them are about to run; nothing moves if it differs.
//!
//! # When something fails
//! A launch that fails on one process fails on all others that still wait for it: the process says so, or it is not heard of
//! within [`Options::timeout`](wgccl::backend::Options::timeout), 60 s by default. Messages of that launch may still be on
//! their way, so the backend launches nothing any more. If the processes live, make a new one by [`MpiBackend::over`]; if one
//! of them died, end all by `MPI_Abort`, for `MPI_Finalize` waits for the dead.

mod agree;
mod backend;
mod collect;
mod courier;
mod error;
mod line;
mod patience;
mod ready;
mod suspect;
mod world;

pub use backend::MpiBackend;
pub use error::MpiError;
pub use ready::MpiReady;

/// The bindings whose communicators [`MpiBackend::over`] takes.
pub use mpi;
