//! What the program, the tests and the benchmarks need beyond a user's API, re-exported. It promises nothing: it may change
//! in any version.
//!
//! Apart, so that everything outside of this module is meant for users.

pub use crate::cpu::copy::copy_past;
pub use crate::element::numeric::Numeric;
pub use crate::element::numeric::sealed::Sealed;
pub use crate::element::typed::{Typed, typed};
