//! A proved schedule as a device runs it: pieces, channels, dispatches, words. Pure: it knows no device.
//!
//! What runs a package only loads it, so that a host without a device, a viewer or a test can have it as well.

pub mod arena;
mod arithmetic;
mod code;
mod dataflow;
mod error;
mod explain;
pub mod kernel;
mod ll;
pub mod mode;
mod package;
mod partition;
pub mod plan;
mod request;
mod show;
mod simple;
pub mod source;
mod target;
#[cfg(test)]
mod tests;
mod tuning;
pub mod words;

pub use arithmetic::{Arithmetic, arithmetic};
pub use error::{LowerError, Unsound};
pub use package::{Binding, Contents, Package, Step, lower};
pub use request::Request;
pub use target::{DeviceClass, Limits, Target};
