//! Schedules as files: one module a format.
//!
//! A format only says what stands where; whether a schedule is right is for the proofs to say.

pub mod chakra;
mod document;
pub mod goal;
pub mod msccl;

pub use document::FORMAT;
