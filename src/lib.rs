//! x
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
#[cfg(feature = "cli")]
pub mod cli;
pub mod collective;
pub mod cpu;
pub mod element;
#[cfg(feature = "cli")]
pub mod error;
pub mod golden;
#[cfg(feature = "gpu")]
pub mod gpu;
pub mod hang;
pub mod inputs;
pub mod plan;
#[cfg(feature = "cli")]
pub mod run;
pub mod schedule;
#[cfg(feature = "cli")]
pub mod tensor;
pub mod verify;
pub mod window;
