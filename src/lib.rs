//! GPU collectives anyone can run: all-reduce and its kin over P ranks that share one device.
//!
//! A collective runs by a *schedule*, a value that says what every rank does, step by step. It is proved before it runs: it cannot hang,
//! it cannot race, and its result is right. Then an executor runs it: WGSL kernels through wgpu, or worker threads on the CPU. Both
//! agree with a golden in every bit.
//!
//! Three uses:
//!
//! * **Collectives in a program**, over slices or over wgpu buffers: [`Communicator`].
//! * **A witness** for kernels of your own: the expected result in the exact order of a schedule's additions, from [`golden`].
//! * **Schedules of your own**: built from [instructions](schedule::Instruction), [proved](proof::prove), run on every device.
//!
//! ```
//! use wgccl::Communicator;
//! use wgccl::collective::Op;
//!
//! let comm = Communicator::cpu(2);
//! let (mut a, mut b) = ([0.0_f32; 2], [0.0; 2]);
//! comm.all_reduce(&[&[1.0, 2.0], &[3.0, 4.0]], &mut [&mut a, &mut b], Op::Sum)?;
//! assert_eq!((a, b), ([4.0, 6.0], [4.0, 6.0]));
//! # Ok::<(), wgccl::error::Error>(())
//! ```
//!
//! # Which type for what
//!
//! | to | take |
//! | --- | --- |
//! | call a collective | [`Communicator`] |
#![cfg_attr(feature = "gpu", doc = " | choose a GPU, or use wgpu's device that you have | [`gpu::Gpu`] |")]
#![cfg_attr(
    feature = "gpu",
    doc = " | record a collective into your encoder, over your buffers | `Communicator::record`, [`gpu::Completion`] |"
)]
#![cfg_attr(not(feature = "gpu"), doc = " | choose a GPU | `gpu::Gpu`, with the feature `gpu` |")]
//! | keep what a call prepares, or measure its launches | [`Ready`](backend::Ready), from [`Communicator::prepare`] |
//! | write an executor | [`Backend`](backend::Backend) and [`Ready`](backend::Ready) |
//! | get a schedule by collective, algorithm and ranks | [`Recipe`](schedule::Recipe) |
//! | write one | [`Schedule`](schedule::Schedule), [`Lane`](schedule::Lane), [`Instruction`](schedule::Instruction) |
//! | write one to a file, or read it | serde; [`format`](mod@format) says in which form |
//! | prove it, and read why it is refused | [`prove`](proof::prove), [`check`](proof::check), [`Report`](proof::Report) |
//! | know why a launch did not finish | [`Hang`](hang::Hang), from [`Error::hang`](error::Error::hang) |
//! | tell failures apart | [`PrepareError`](error::PrepareError) before a launch, [`RunError`](error::RunError) after it, [`DeviceError`](error::DeviceError); [`Error`](error::Error) for a call that does both |
//!
//! # Features
//!
//! `gpu`, on by default, is the executor for Vulkan, Metal, DX12 and OpenGL, over wgpu. Without it the crate has no GPU dependency:
//! schedules, proofs, golden and the CPU executor.
//!
//! # What is stable
//!
//! Names of collectives, algorithms and types are those of NCCL where it has them. Enums and structs that will grow are
//! `#[non_exhaustive]`. The module [`low_level`] is for this project's own program and tests: it promises nothing and may change in
//! any version.

pub mod backend;
pub mod buffers;
pub mod collective;
mod communicator;
pub mod cpu;
pub mod element;
pub mod error;
pub mod fault;
pub mod format;
pub mod golden;
#[cfg(feature = "gpu")]
pub mod gpu;
pub mod hang;
pub mod inputs;
pub mod low_level;
pub mod lower;
pub mod payload;
pub mod proof;
pub mod schedule;
pub mod window;

pub use communicator::Communicator;

/// The version that [`gpu`] speaks.
#[cfg(feature = "gpu")]
pub use wgpu;

/// README's examples, compiled and run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
