#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
// Hidden modules are the program's: public for its own tests and benchmarks, no part of the API.
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod bench;
pub mod buffers;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
pub mod collective;
pub mod cpu;
pub mod element;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod error;
pub mod golden;
#[cfg(feature = "gpu")]
pub mod gpu;
pub mod hang;
pub mod inputs;
pub mod lower;
pub mod payload;
pub mod proof;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod run;
pub mod schedule;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod tensor;
pub mod window;

/// The version that [`gpu`] speaks.
#[cfg(feature = "gpu")]
pub use wgpu;
