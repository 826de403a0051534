//! The program and its parts as scripts and files meet them.
//!
//! One binary, one module a subject.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../../tests/common/devices.rs"]
#[allow(dead_code, reason = "the library's tests use the rest")]
mod devices;

mod bench;
mod card;
mod cli;
mod files;
mod habits;
mod nccl;
mod pages;
mod placed;
#[cfg(feature = "mpi")]
mod processes;
mod schedules;
mod show;
mod tensor;
mod trace;
mod verify;
mod whole;

use std::path::Path;

/// Of the repository.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../"))
}
