//! The arithmetic of an element type, as golden, inputs and executors use it.
//!
//! Apart from [`Element`](super::Element), which is all that a user needs of it: methods here may change in any version.

use super::data_type::DataType;
use crate::collective::Op;

/// Only the types of this crate are elements.
pub(crate) mod sealed {
    /// What is sealed.
    pub trait Sealed {}
}

use sealed::Sealed;

/// The arithmetic of an element type.
pub trait Numeric: bytemuck::Pod + Send + Sync + PartialEq + std::fmt::Display + Sealed {
    /// Its run-time name.
    const TYPE: DataType;

    /// A type in which an order-free reference is computed: of higher precision, or exact.
    type Wide: Copy;

    /// `a op b`, rounded as the type rounds. Commutative in every bit but a NaN's payload. An average combines as a sum.
    fn combine(op: Op, a: Self, b: Self) -> Self;

    /// As [`combine`](Self::combine), on hardware that reads and writes f32 subnormals as zero.
    fn combine_flushed(op: Op, a: Self, b: Self) -> Self;

    /// What a device that reads subnormals as zero makes of a value that takes part in arithmetic.
    fn flush(self) -> Self;

    /// Whether a device's result agrees: the same bits, or both NaN (payloads are not compared).
    fn agrees(self, other: Self) -> bool;

    /// What outputs hold before a run so that nothing stale can pass: a NaN that arithmetic does not produce by itself, or
    /// an integer pattern that is unlikely by its width. Its bytes repeat after four at most.
    fn poison() -> Self;

    /// 1/`ranks` in this type, which an average multiplies by; 0 for integers, which have none.
    fn reciprocal(ranks: u32) -> Self;

    /// The nearest (or the exact) f64.
    fn to_f64(self) -> f64;

    /// The element nearest to `value`; integers wrap.
    fn from_f64(value: f64) -> Self;

    /// `multiple` * 2^`exponent`, rounded; integers wrap and have no exponent.
    fn scaled(multiple: i64, exponent: i32) -> Self;

    /// Exactly this value.
    fn widen(self) -> Self::Wide;

    /// `a op b` of references.
    fn combine_wide(op: Op, a: Self::Wide, b: Self::Wide) -> Self::Wide;

    /// A reference divided by `ranks`.
    fn mean_wide(sum: Self::Wide, ranks: u32) -> Self::Wide;

    /// Whether the type can hold a value near `reference`: an integer the value itself, a float one that is finite.
    fn holds(reference: Self::Wide) -> bool;

    /// The f64 nearest to a reference.
    fn wide_to_f64(reference: Self::Wide) -> f64;

    /// Distance from `reference`.
    fn error(self, reference: Self::Wide) -> f64;

    /// Distance from `reference` in units of the last place of this type at `reference`; 0 where either is not finite.
    fn ulp_error(self, reference: Self::Wide) -> f64;
}
