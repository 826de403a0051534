#![doc = include_str!("../README.md")]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
pub mod buffers;
pub mod collective;
pub mod cpu;
pub mod element;
pub mod golden;
#[cfg(feature = "gpu")]
pub mod gpu;
pub mod hang;
pub mod inputs;
pub mod low_level;
pub mod plan;
pub mod proof;
pub mod schedule;
pub mod window;

/// The version that [`gpu`] speaks.
#[cfg(feature = "gpu")]
pub use wgpu;
