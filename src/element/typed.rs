//! Work that is generic over the element type, for a type that is known only when the program runs.
//!
//! A trait and no closure, because closures cannot be generic.

use super::{DataType, Element, dispatch};

/// Work for any element type.
pub trait Typed {
    /// What it gives.
    type Output;
    /// Does it for `T`.
    fn run<T: Element>(self) -> Self::Output;
}

/// Does `work` for the Rust type of `data_type`.
pub fn typed<W: Typed>(data_type: DataType, work: W) -> W::Output {
    dispatch!(data_type, T => work.run::<T>())
}
