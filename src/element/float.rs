//! f32 and f64, and what all floats share: the order of min and max, and units of the last place.

use super::data_type::DataType;
use super::numeric::{Numeric, sealed::Sealed};
use crate::collective::Op;

/// The smaller and the greater of two floats by their bits; see the rules in [`super`].
macro_rules! extremes {
    ($float:ty, $bits:ty, $signed:ty, infinity $infinity:expr, nan $nan:expr) => {
        /// Negative numbers count down, so their magnitude is turned round: the order of integers is then that of floats.
        #[inline(always)]
        fn key(bits: $bits) -> $signed {
            let signed = bits as $signed;
            signed ^ ((signed >> (<$bits>::BITS - 1)) as $bits >> 1) as $signed
        }

        #[inline(always)]
        fn is_nan(bits: $bits) -> bool {
            bits << 1 > $infinity << 1
        }

        #[inline(always)]
        fn choose(a: $bits, b: $bits, a_wins: bool) -> $float {
            let number = if a_wins { a } else { b };
            let or_a = if is_nan(b) { a } else { number };
            let or_b = if is_nan(a) { b } else { or_a };
            <$float>::from_bits(if is_nan(a) & is_nan(b) { $nan } else { or_b })
        }

        #[inline(always)]
        pub(super) fn least(a: $float, b: $float) -> $float {
            let (a, b) = (a.to_bits(), b.to_bits());
            choose(a, b, key(a) < key(b))
        }

        #[inline(always)]
        pub(super) fn greatest(a: $float, b: $float) -> $float {
            let (a, b) = (a.to_bits(), b.to_bits());
            choose(a, b, key(a) > key(b))
        }
    };
}
pub(super) use extremes;

mod order32 {
    super::extremes!(f32, u32, i32, infinity 0x7f80_0000_u32, nan 0x7fc0_0000);
}

mod order64 {
    super::extremes!(f64, u64, i64, infinity 0x7ff0_0000_0000_0000_u64, nan 0x7ff8_0000_0000_0000);
}

/// 2^`exponent`, down to the smallest subnormal.
pub(super) fn power_of_two(exponent: i32) -> f64 {
    match exponent {
        1024.. => f64::INFINITY,
        -1022.. => f64::from_bits(((exponent + 1023) as u64) << 52),
        _ => f64::from_bits(1_u64.checked_shl((exponent + 1074).max(0) as u32).unwrap_or(1)),
    }
}

/// The unit of the last place at `reference` of a type with this precision and this least exponent of normal numbers.
pub(super) fn ulp(reference: f64, precision: u32, least_exponent: i32) -> f64 {
    let exponent = ((reference.to_bits() >> 52) & 0x7ff) as i32 - 1023;
    power_of_two(exponent.max(least_exponent) - (precision as i32 - 1))
}

/// A NaN that arithmetic does not produce by itself.
const POISON: u32 = 0x7fc0_dead;
const POISON_64: u64 = 0xfff8_dead_fff8_dead;

impl Sealed for f32 {}

impl Numeric for f32 {
    const TYPE: DataType = DataType::F32;
    type Wide = f64;

    #[inline(always)]
    fn combine(op: Op, a: Self, b: Self) -> Self {
        match op {
            Op::Sum | Op::Avg => a + b,
            Op::Prod => a * b,
            Op::Min => order32::least(a, b),
            Op::Max => order32::greatest(a, b),
        }
    }

    fn combine_flushed(op: Op, a: Self, b: Self) -> Self {
        match op {
            // Compared as integers on every device.
            Op::Min | Op::Max => Self::combine(op, a, b),
            // Sums that are subnormal are exact.
            Op::Sum | Op::Avg => Self::combine(op, a.flush(), b.flush()).flush(),
            // Products are judged before they are rounded to what a subnormal can hold: with 24 bits of any exponent.
            Op::Prod => {
                let (a, b) = (a.flush(), b.flush());
                let raised = (f64::from(a) * f64::from(b) * power_of_two(64)) as f32;
                let is_tiny = f64::from(raised.abs()) < power_of_two(64 - 126);
                if is_tiny { (a * b) * 0.0 } else { a * b }
            }
        }
    }

    fn flush(self) -> Self {
        if self.is_subnormal() { 0.0_f32.copysign(self) } else { self }
    }

    #[inline]
    fn agrees(self, other: Self) -> bool {
        self.to_bits() == other.to_bits() || (self.is_nan() && other.is_nan())
    }

    fn poison() -> Self {
        Self::from_bits(POISON)
    }

    fn reciprocal(ranks: u32) -> Self {
        (1.0 / f64::from(ranks)) as f32
    }

    fn to_f64(self) -> f64 {
        self.into()
    }

    fn from_f64(value: f64) -> Self {
        value as f32
    }

    fn scaled(multiple: i64, exponent: i32) -> Self {
        (multiple as f64 * power_of_two(exponent)) as f32
    }

    fn widen(self) -> f64 {
        self.into()
    }

    fn combine_wide(op: Op, a: f64, b: f64) -> f64 {
        f64::combine(op, a, b)
    }

    fn mean_wide(sum: f64, ranks: u32) -> f64 {
        sum / f64::from(ranks)
    }

    fn holds(reference: f64) -> bool {
        (reference as f32).is_finite()
    }

    fn wide_to_f64(reference: f64) -> f64 {
        reference
    }

    fn error(self, reference: f64) -> f64 {
        (f64::from(self) - reference).abs()
    }

    fn ulp_error(self, reference: f64) -> f64 {
        if !self.is_finite() || !Self::holds(reference) {
            return 0.0;
        }
        self.error(reference) / ulp(reference, Self::TYPE.precision(), -126)
    }
}

/// A sum of two f64, the second below the last place of the first: the reference of f64.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair(f64, f64);

impl Sealed for f64 {}

impl Numeric for f64 {
    const TYPE: DataType = DataType::F64;
    type Wide = Pair;

    #[inline(always)]
    fn combine(op: Op, a: Self, b: Self) -> Self {
        match op {
            Op::Sum | Op::Avg => a + b,
            Op::Prod => a * b,
            Op::Min => order64::least(a, b),
            Op::Max => order64::greatest(a, b),
        }
    }

    fn combine_flushed(op: Op, a: Self, b: Self) -> Self {
        // Devices compute it with integers, or keep subnormals.
        Self::combine(op, a, b)
    }

    fn flush(self) -> Self {
        self
    }

    #[inline]
    fn agrees(self, other: Self) -> bool {
        self.to_bits() == other.to_bits() || (self.is_nan() && other.is_nan())
    }

    fn poison() -> Self {
        Self::from_bits(POISON_64)
    }

    fn reciprocal(ranks: u32) -> Self {
        1.0 / f64::from(ranks)
    }

    fn to_f64(self) -> f64 {
        self
    }

    fn from_f64(value: f64) -> Self {
        value
    }

    fn scaled(multiple: i64, exponent: i32) -> Self {
        multiple as f64 * power_of_two(exponent)
    }

    fn widen(self) -> Pair {
        Pair(self, 0.0)
    }

    fn combine_wide(op: Op, a: Pair, b: Pair) -> Pair {
        match op {
            Op::Sum | Op::Avg => {
                // Knuth's two-sum: `sum + error` is exact.
                let sum = a.0 + b.0;
                let of_b = sum - a.0;
                let error = (a.0 - (sum - of_b)) + (b.0 - of_b);
                Pair(sum, error + a.1 + b.1)
            }
            Op::Prod => {
                let product = a.0 * b.0;
                let error = a.0.mul_add(b.0, -product);
                Pair(product, error + a.0 * b.1 + a.1 * b.0)
            }
            Op::Min | Op::Max => Pair(Self::combine(op, a.0, b.0), 0.0),
        }
    }

    fn mean_wide(sum: Pair, ranks: u32) -> Pair {
        let ranks = f64::from(ranks);
        let quotient = sum.0 / ranks;
        let rest = (-quotient).mul_add(ranks, sum.0);
        Pair(quotient, (rest + sum.1) / ranks)
    }

    fn holds(reference: Pair) -> bool {
        reference.0.is_finite()
    }

    fn wide_to_f64(reference: Pair) -> f64 {
        reference.0 + reference.1
    }

    fn error(self, reference: Pair) -> f64 {
        ((self - reference.0) - reference.1).abs()
    }

    fn ulp_error(self, reference: Pair) -> f64 {
        if !self.is_finite() || !Self::holds(reference) {
            return 0.0;
        }
        self.error(reference) / ulp(reference.0, Self::TYPE.precision(), -1022)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ulp_error_counts_in_the_last_place() {
        for (got, reference, ulps) in [
            (1.0_f32, 1.0, 0.0),
            (1.0 + f32::EPSILON, 1.0, 1.0),
            (0.0, 0.0, 0.0),
            (f32::INFINITY, 1.0, 0.0),
            (f32::from_bits(1), 0.0, 1.0),
            (f32::MAX, f64::from(f32::MAX), 0.0),
        ] {
            assert_eq!(got.ulp_error(reference), ulps, "{got} against {reference}");
        }
        for (got, reference, ulps) in [
            (1.0_f64, Pair(1.0, 0.0), 0.0),
            (1.0 + f64::EPSILON, Pair(1.0, 0.0), 1.0),
            (1.0, Pair(1.0, f64::EPSILON / 2.0), 0.5),
            (f64::from_bits(1), Pair(0.0, 0.0), 1.0),
        ] {
            assert_eq!(got.ulp_error(reference), ulps, "{got} against {reference:?}");
        }
    }

    #[test]
    fn flushing_keeps_the_sign_of_zero_and_normal_numbers() {
        assert_eq!((-1e-40_f32).flush().to_bits(), (-0.0_f32).to_bits());
        assert_eq!(f32::combine_flushed(Op::Sum, 1e-40, 2.0), 2.0);
        assert_eq!(f32::combine_flushed(Op::Max, 1e-40, 0.0), 1e-40);
        // Rounded as a subnormal this would be the least normal number.
        assert_eq!(f32::combine_flushed(Op::Prod, f32::MIN_POSITIVE, -1.0 + f32::EPSILON / 2.0).to_bits(), 1 << 31);
        assert_eq!(f32::combine_flushed(Op::Prod, f32::MIN_POSITIVE, 1.0), f32::MIN_POSITIVE);
        assert!(f32::poison().is_nan() && f32::poison().agrees(f32::NAN));
    }

    #[test]
    fn references_of_f64_hold_what_f64_drops() {
        let sum = [1.0, 1e-30, -1.0].into_iter().map(f64::widen).reduce(|a, b| f64::combine_wide(Op::Sum, a, b));
        assert_eq!(sum, Some(Pair(0.0, 1e-30)));
        let third = f64::mean_wide(1.0_f64.widen(), 3);
        assert!(third.1 != 0.0 && (1.0_f64 / 3.0).ulp_error(third) <= 0.5);
    }
}
