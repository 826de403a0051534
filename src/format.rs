//! Schedules as files: one module a format.
//!
//! A format only says what stands where; whether a schedule is right is for the proofs to say.

mod document;
pub mod msccl;

pub use document::FORMAT;
