//! Integers: everything wraps and is exact, so any order gives the same bits. The reference does not wrap: it says what did.

use super::data_type::DataType;
use super::numeric::{Numeric, sealed::Sealed};
use crate::collective::Op;

/// The bytes of the poison. Sums of small numbers are nowhere near it; a byte may well be it, which only makes a stale one
/// go unnoticed.
const POISON: u8 = 0xa5;

macro_rules! integer {
    ($($type:ident: $name:ident),+) => {$(
        impl Sealed for $type {}

impl Numeric for $type {
            const TYPE: DataType = DataType::$name;
            // Sums of all ranks fit. Products stop at its ends, and so stay beyond every type's.
            type Wide = i128;

            #[inline(always)]
            fn combine(op: Op, a: Self, b: Self) -> Self {
                match op {
                    Op::Sum | Op::Avg => a.wrapping_add(b),
                    Op::Prod => a.wrapping_mul(b),
                    Op::Min => a.min(b),
                    Op::Max => a.max(b),
                }
            }

            fn combine_flushed(op: Op, a: Self, b: Self) -> Self {
                Self::combine(op, a, b)
            }

            fn flush(self) -> Self {
                self
            }

            #[inline]
            fn agrees(self, other: Self) -> bool {
                self == other
            }

            fn poison() -> Self {
                Self::from_ne_bytes([POISON; size_of::<Self>()])
            }

            fn reciprocal(_: u32) -> Self {
                0
            }

            fn to_f64(self) -> f64 {
                self as f64
            }

            fn from_f64(value: f64) -> Self {
                // `as` saturates, so the way goes through a type that is wide enough to wrap first.
                value as i128 as Self
            }

            fn scaled(multiple: i64, _: i32) -> Self {
                multiple as Self
            }

            fn widen(self) -> i128 {
                self.into()
            }

            fn combine_wide(op: Op, a: i128, b: i128) -> i128 {
                match op {
                    Op::Sum | Op::Avg => a.saturating_add(b),
                    Op::Prod => a.saturating_mul(b),
                    Op::Min => a.min(b),
                    Op::Max => a.max(b),
                }
            }

            fn mean_wide(sum: i128, _: u32) -> i128 {
                sum
            }

            fn holds(reference: i128) -> bool {
                Self::try_from(reference).is_ok()
            }

            fn wide_to_f64(reference: i128) -> f64 {
                reference as f64
            }

            fn error(self, reference: i128) -> f64 {
                i128::from(self).abs_diff(reference) as f64
            }

            fn ulp_error(self, reference: i128) -> f64 {
                self.error(reference)
            }
        }
    )+};
}

integer!(i32: I32, u32: U32, i64: I64, u64: U64, i8: I8, u8: U8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_wrap() {
        assert_eq!(i8::combine(Op::Sum, 127, 1), -128);
        assert_eq!(u8::combine(Op::Prod, 16, 17), 16);
        assert_eq!(i32::combine(Op::Prod, i32::MIN, -1), i32::MIN);
        assert_eq!(u64::combine(Op::Sum, u64::MAX, 2), 1);
        assert_eq!(i64::combine(Op::Min, -1, 1), -1);
        assert_eq!(u64::combine(Op::Min, u64::MAX, 1), 1);
        assert_eq!((u8::from_f64(-1.0), i8::from_f64(300.0), u64::from_f64(-1.0)), (255, 44, u64::MAX));
        assert_eq!((i8::MIN.ulp_error(Numeric::widen(i8::MAX)), 5_u8.ulp_error(5)), (255.0, 0.0));
    }
}
