#![doc = include_str!("../README.md")]
pub mod backend;
pub mod buffers;
pub mod collective;
mod communicator;
pub mod cpu;
pub mod element;
pub mod error;
pub mod fault;
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
