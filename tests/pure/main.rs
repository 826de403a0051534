//! What needs no device: schedules, proofs, golden, the CPU executor and its communicator.
//!
//! One binary, one module a subject, so that shared code is compiled and linked once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../oracle/mod.rs"]
mod oracle;

mod algorithms;
mod collectives;
mod cpu;
mod cpu_communicator;
mod custom;
mod erratic;
#[cfg(feature = "formats")]
mod goal;
mod golden;
mod hang;
mod hostile;
mod layers;
mod model;
#[cfg(feature = "formats")]
mod msccl;
mod pages;
mod placed;
mod proof_answers;
mod proof_findings;
mod proof_hints;
mod proof_mutants;
mod security;
mod soak;
mod split;
mod trace;
