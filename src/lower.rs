//! A proved schedule as a device runs it: pieces, channels, dispatches, words. Pure: it knows no device.
//!
//! What runs a package only loads it, so that a host without a device, a viewer or a test can have it as well.

pub(crate) mod arena;
pub(crate) mod arithmetic;
mod code;
mod dataflow;
mod error;
mod explain;
pub(crate) mod kernel;
mod ll;
pub(crate) mod mode;
mod package;
mod partition;
mod pieced;
pub(crate) mod plan;
mod request;
mod show;
mod simple;
pub(crate) mod source;
mod split;
mod target;
#[cfg(test)]
#[cfg(not(any(loom, miri, sanitized)))]
mod tests;
#[cfg(any(test, feature = "gpu"))]
mod timeline;
mod tuning;
pub(crate) mod words;

#[cfg(feature = "gpu")]
pub(crate) use arithmetic::{Arithmetic, arithmetic};
pub use error::{LowerError, Unsound};
pub use mode::{Mode, Protocol};
pub use package::{Binding, Contents, Package, Step, lower};
pub use pieced::Pieced;
pub use request::Request;
pub use split::{Link, Part, Route, Run, Split, SplitError};
pub use target::{DeviceClass, Limits, Target};
#[cfg(feature = "gpu")]
pub(crate) use timeline::{Measured, Times};
