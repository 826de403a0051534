//! Schedules as files: one module a format.
//!
//! A format only says what stands where; whether a schedule is right is for the proofs to say.

#[cfg(feature = "formats")]
pub mod chakra;
mod document;
#[cfg(feature = "formats")]
pub mod goal;
#[cfg(feature = "formats")]
pub mod msccl;

pub use document::FORMAT;
