//! The parts of the program `wgccl`: commands, tensor files and benchmarks.
//!
//! A library only so that tests, xtask and benches/peers can reach in. It promises nothing and may change in any version.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod amount;
pub mod bench;
pub mod cli;
pub mod device;
pub mod dispatch;
pub mod error;
pub mod file;
mod identity;
mod memory;
mod names;
pub mod plan;
mod protocol;
pub mod run;
mod signals;
pub mod tensor;
mod text;
pub mod trace;
pub mod verify;
pub mod views;
mod whole;
