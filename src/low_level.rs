//! What the program, the tests and the benchmarks need beyond a user's API, re-exported. It promises nothing: it may change
//! in any version.
//!
//! Apart, so that everything outside of this module is meant for users.

pub use crate::cpu::copy::copy_past;
pub use crate::element::numeric::Numeric;
pub use crate::element::numeric::sealed::Sealed;
pub use crate::element::typed::{Typed, typed};
pub use crate::proof::result::{Node, Term, Terms};
pub use crate::schedule::address_map::AddressMap;

/// Lengths of users' buffers.
pub mod buffers {
    pub use crate::buffers::*;
}

/// Generated inputs.
pub mod inputs {
    pub use crate::inputs::*;
}

/// How a payload is cut into chunks.
pub mod payload {
    pub use crate::payload::*;
}

/// A rank's window, byte by byte.
pub mod window {
    pub use crate::window::*;
}

/// The parts of a package.
pub mod lower {
    pub use crate::lower::arena::*;
    pub use crate::lower::arithmetic::*;
    pub use crate::lower::kernel::*;
    pub use crate::lower::plan::*;
    pub use crate::lower::source::*;
    pub use crate::lower::words::*;
}

/// Measurements on a device.
#[cfg(feature = "gpu")]
pub mod gpu {
    pub use crate::gpu::clock::Timed;
    pub use crate::gpu::copy::CopyBy;
}
