//! A proved schedule as a device runs it: pieces, channels, dispatches, words. Pure: it knows no device.
//!
//! What runs a package only loads it, so that a host without a device, a viewer or a test can have it as well.

pub mod arena;
mod error;
pub mod mode;
pub mod plan;

pub use error::{LowerError, Unsound};
