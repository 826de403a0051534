//! GPU collectives as data: all-reduce and its kin over P ranks, which can all share one device.
//!
//! A *schedule* is a value that says what every rank does, step by step. It is proved before it runs: it cannot hang, it cannot race,
//! and its result is right. Then an executor runs it, as WGSL kernels through wgpu or on worker threads of the CPU. Both agree with a
//! golden in every bit.
//!
//! # A collective in one call
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
//! There is a call for each collective, with NCCL's buffers.
#![cfg_attr(
    feature = "gpu",
    doc = "[`Communicator::new`] takes a GPU, [`Gpu::best`](gpu::Gpu::best) the best that there is."
)]
//! What a call prepares (proof, kernels, memory) is kept for the next call of the same shape.
//!
#![cfg_attr(
    feature = "gpu",
    doc = r#"
# A collective inside a wgpu program

[`Communicator::record`] records a collective into your encoder, over your buffers: one for each rank, or slices of one. It submits
nothing and waits for nothing. Here the gradients of four replicas are averaged between two passes of a training step:

```no_run
# use wgccl::collective::{Collective, Op};
# use wgccl::gpu::Gpu;
# use wgccl::wgpu;
# fn step(device: &wgpu::Device, queue: &wgpu::Queue, gradients: &[wgpu::BufferSlice<'_>]) -> Result<(), wgccl::error::Error> {
let comm = wgccl::Communicator::new(Gpu::adopt(device, queue), 4);
let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
// ... the backward pass ...
let mut averaged = comm.record::<f32>(&mut encoder, Collective::AllReduce, gradients, gradients, Op::Avg)?;
// ... the update ...
queue.submit([encoder.finish()]);
averaged.wait()?; // or check().await, or is_finished(), if you want to know
# Ok(())
# }
```

It needs no feature of the device and only wgpu's default limits. With `MEMORY_DECORATION_COHERENT` a hardware device may use
fused dispatch. `examples/sgd` is such a program.
"#
)]
//! # A schedule and its proof
//!
//! The calls run a [`Schedule`](schedule::Schedule). Proofs, golden and executors all read that one value:
//!
//! ```
//! use wgccl::collective::Collective;
//! use wgccl::proof::{self, prove};
//! use wgccl::schedule::{Algorithm, Recipe};
//!
//! let schedule = Recipe::new(Collective::AllReduce, 4).algorithm(Algorithm::Ring).build()?;
//! let proved = prove(schedule, proof::Options::default())?;
//! println!("{}", proved.report()); // six proofs, each with its verdict
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! You can write one yourself, from [instructions](schedule::Instruction) that wait, copy or reduce, and notify.
//! [`Communicator::prepare_schedule`] proves it before it runs it; `examples/custom_schedule.rs` shows what a proof says of a mistake.
//!
//! # Which type do I need?
//!
//! | I want to | type |
//! | --- | --- |
//! | call a collective over slices | [`Communicator`], and nothing else |
#![cfg_attr(feature = "gpu", doc = " | choose a GPU, or use the wgpu device that I have | [`Gpu`](gpu::Gpu) |")]
#![cfg_attr(
    feature = "gpu",
    doc = " | record a collective into my encoder, over my buffers | [`Communicator::record`] |
| know whether what I recorded has finished | [`Completion`](gpu::Completion), which `record` returns |
| launch without copies, over memory that stays on the device | [`Resident`](gpu::Resident), from [`Communicator::resident`] |"
)]
#![cfg_attr(not(feature = "gpu"), doc = " | choose a GPU | `gpu::Gpu`, with the feature `gpu` |")]
//! | keep what a call prepares, or time its launches | [`Ready`](backend::Ready), from [`Communicator::prepare`] |
//! | set channels, timeouts or a dispatch mode | [`Options`](backend::Options), for [`Communicator::options`] |
//! | get a schedule by collective, algorithm and ranks | [`Recipe`](schedule::Recipe) |
//! | write a schedule | [`Schedule`](schedule::Schedule), [`Lane`](schedule::Lane), [`Instruction`](schedule::Instruction) |
//! | store a schedule in a file | serde; [`format`](mod@format) documents the form |
//! | prove a schedule, and read why it is refused | [`prove`](proof::prove), [`check`](proof::check), [`Report`](proof::Report) |
//! | know how a chunk is made, what orders two instructions, how a race goes wrong | [`Run`](proof::Run) |
//! | break a schedule to see what then happens | [`Edit`](schedule::Edit), [`Effect`](proof::Effect), [`Harmless`](proof::Harmless) |
//! | know the exact bits that a result must have | [`golden`] |
//! | know why a launch did not finish | [`Hang`](hang::Hang), from [`Error::hang`](error::Error::hang) |
//! | tell failures apart | [`PrepareError`](error::PrepareError) before a launch, [`RunError`](error::RunError) after it, [`Error`](error::Error) for a call that does both |
//! | run schedules in my own way | [`Backend`](backend::Backend) and [`Ready`](backend::Ready), which an executor implements |
//!
//! `Communicator`, `Backend` and `Ready` are three stages of one thing. A communicator has a backend and a number of ranks. The backend
//! prepares a proved schedule for one shape of data, which makes a `Ready`. A `Ready` runs it, as often as you like.
//!
//! # Features
//!
//! `gpu`, on by default, is the executor for Vulkan, Metal, DX12 and OpenGL, through wgpu, which the crate re-exports in the
//! version that it needs. Without it the crate has no GPU dependency: schedules, proofs, golden and the CPU executor.
//!
//! # What is stable
//!
//! Names of collectives, algorithms and types are those of NCCL where it has them. Enums and structs that will grow are
//! `#[non_exhaustive]`. The module [`low_level`] is for this project's own program and tests: it promises nothing and may change in
//! any version.

pub mod backend;
mod buffers;
pub mod collective;
mod communicator;
mod cores;
pub mod cpu;
pub mod element;
pub mod error;
pub mod fault;
pub mod format;
pub mod golden;
#[cfg(feature = "gpu")]
pub mod gpu;
pub mod hang;
mod inputs;
pub mod low_level;
pub mod lower;
mod payload;
pub mod placed;
pub mod proof;
pub mod schedule;
pub mod show;
pub mod trace;
mod window;

pub use communicator::Communicator;

/// The version that [`gpu`] speaks.
#[cfg(feature = "gpu")]
pub use wgpu;

/// README's examples, compiled and run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
