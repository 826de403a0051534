//! What runs on the devices of this machine, and the shaders that they run.
//!
//! One binary, one module a subject: devices are opened once, and only one test at a time uses them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../oracle/gpus.rs"]
mod gpus;
#[path = "../oracle/mod.rs"]
mod oracle;

mod communicator;
mod custom;
mod devices;
mod elements;
mod examples;
mod gpu;
mod gpu_launch;
mod lanes;
mod matrix;
mod misuse;
mod placed;
mod shaders;
mod soak;
mod trace;
