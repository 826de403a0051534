//! The element types and the one place where two elements are combined on the CPU.
//!
//! The golden and the CPU executor share this arithmetic; the WGSL of `shaders/element/` must agree with it in every bit.
//!
//! # Rules
//! * `sum` and `prod` of floats round to nearest even in the element's own precision after every step. f16, bf16 and fp8 are
//!   computed in f32 and rounded then, which for sums and for f16 and fp8 products is the correctly rounded result, since
//!   f32 has twice their precision and two bits more. Only bf16 products below 2^-126, which f32 itself rounds, may be
//!   rounded twice; so NCCL does it, and so do all executors here.
//! * Sums and products of fp8 saturate: beyond the largest number, and of infinities of f8e5m2, they are the largest number
//!   with their sign; see [`DataType::F8E4M3`]. Nothing of fp8 is a subnormal of f32, so all devices agree in every bit.
//! * `min` and `max` of floats are IEEE 754-2019 minimumNumber and maximumNumber: a NaN loses against any number, as with
//!   NCCL's `fminf`, and -0 is below +0. Of two NaN comes the canonical quiet NaN. So they are commutative and associative
//!   in every bit, whatever the order of a schedule.
//! * `avg` of floats is NCCL's: every contribution is multiplied by 1/ranks when it is first read, both factors and the
//!   product rounded to the element type, and the products are summed. Integers have none, see [`Unsupported`].
//! * Integers wrap.

mod data_type;
mod float;
mod format;
mod fp8;
mod integer;
pub(crate) mod numeric;
mod small;
#[cfg(test)]
mod tests;
pub(crate) mod typed;

use crate::collective::Op;
use numeric::Numeric;

pub use ::half::{bf16, f16};
pub use data_type::{DataType, Unsupported, supported};
pub(crate) use data_type::{dispatch, with_op};
pub use fp8::{f8e4m3, f8e5m2};

/// A Rust type that can be an element: one for each [`DataType`], and no other, because devices compute no other.
///
/// What its arithmetic is stands in the rules of this module.
pub trait Element: Numeric {}

impl<T: Numeric> Element for T {}

/// What every contribution of `ranks` ranks is multiplied by when it is read, if anything.
pub fn scale<T: Element>(op: Op, ranks: u32) -> Option<T> {
    (op == Op::Avg).then(|| T::reciprocal(ranks))
}
