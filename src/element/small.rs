//! f16, bf16 and the two fp8 types: computed in f32, then rounded to nearest even.
//!
//! One macro for all four; how they are converted is in `format.rs`.

use super::data_type::DataType;
use super::format::F16;
use super::fp8::{f8e4m3, f8e5m2};
use super::numeric::{Numeric, sealed::Sealed};
use crate::collective::Op;
use crate::element::float::{power_of_two, ulp};
use ::half::{bf16, f16};

mod order_f16 {
    use super::f16;
    super::super::float::extremes!(f16, u16, i16, infinity 0x7c00_u16, nan 0x7e00);
}

mod order_bf16 {
    use super::bf16;
    super::super::float::extremes!(bf16, u16, i16, infinity 0x7f80_u16, nan 0x7fc0);
}

mod order_f8e4m3 {
    use super::f8e4m3;
    super::super::float::extremes!(f8e4m3, u8, i8, infinity 0x7e_u8, nan 0x7f);
}

mod order_f8e5m2 {
    use super::f8e5m2;
    super::super::float::extremes!(f8e5m2, u8, i8, infinity 0x7c_u8, nan 0x7e);
}

#[inline(always)]
fn widen_bf16(value: bf16) -> f32 {
    f32::from_bits(u32::from(value.to_bits()) << 16)
}

/// To nearest even; a carry out of the largest number makes infinity by itself.
#[inline(always)]
fn narrow_bf16(value: f32) -> bf16 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    let is_nan = bits << 1 > 0x7f80_0000 << 1;
    bf16::from_bits(if is_nan { 0x7fc0 } else { rounded as u16 })
}

#[inline(always)]
fn widen_f16(value: f16) -> f32 {
    F16.widen(value.to_bits().into())
}

#[inline(always)]
fn narrow_f16(value: f32) -> f16 {
    f16::from_bits(F16.narrow(value) as u16)
}

macro_rules! small {
    ($type:ident $name:ident: $widen:expr, $narrow:expr, $order:ident, least exponent $exponent:literal, poison $poison:literal) => {
        impl Sealed for $type {}

        impl Numeric for $type {
            type Wide = f64;
            const TYPE: DataType = DataType::$name;

            #[inline(always)]
            fn combine(op: Op, a: Self, b: Self) -> Self {
                match op {
                    Op::Sum | Op::Avg => $narrow($widen(a) + $widen(b)),
                    Op::Prod => $narrow($widen(a) * $widen(b)),
                    Op::Min => $order::least(a, b),
                    Op::Max => $order::greatest(a, b),
                }
            }

            fn combine_flushed(op: Op, a: Self, b: Self) -> Self {
                match op {
                    Op::Min | Op::Max => Self::combine(op, a, b),
                    // Of bf16. No other is a subnormal of f32, nor is a sum or product of two: this is then the same.
                    Op::Sum | Op::Prod | Op::Avg => $narrow(f32::combine_flushed(op, $widen(a), $widen(b))),
                }
            }

            fn flush(self) -> Self {
                $narrow($widen(self).flush())
            }

            #[inline]
            fn agrees(self, other: Self) -> bool {
                self.to_bits() == other.to_bits() || (self.is_nan() && other.is_nan())
            }

            fn poison() -> Self {
                Self::from_bits($poison)
            }

            fn reciprocal(ranks: u32) -> Self {
                // Through f32, as NCCL does it.
                $narrow(f32::reciprocal(ranks))
            }

            fn to_f64(self) -> f64 {
                $widen(self).into()
            }

            fn from_f64(value: f64) -> Self {
                // Through f32 on every machine; the crate's own takes that way on some only.
                $narrow(value as f32)
            }

            fn scaled(multiple: i64, exponent: i32) -> Self {
                <Self as Numeric>::from_f64(multiple as f64 * power_of_two(exponent))
            }

            fn widen(self) -> f64 {
                $widen(self).into()
            }

            fn combine_wide(op: Op, a: f64, b: f64) -> f64 {
                f64::combine(op, a, b)
            }

            fn mean_wide(sum: f64, ranks: u32) -> f64 {
                sum / f64::from(ranks)
            }

            fn holds(reference: f64) -> bool {
                // Halved, what is beyond the largest number is seen before it saturates.
                let half = <Self as Numeric>::from_f64(reference / 2.0);
                2.0 * Numeric::to_f64(half).abs() <= Numeric::to_f64(Self::MAX)
            }

            fn wide_to_f64(reference: f64) -> f64 {
                reference
            }

            fn error(self, reference: f64) -> f64 {
                (Numeric::to_f64(self) - reference).abs()
            }

            fn ulp_error(self, reference: f64) -> f64 {
                if !self.is_finite() || !Self::holds(reference) {
                    return 0.0;
                }
                self.error(reference) / ulp(reference, Self::TYPE.precision(), $exponent)
            }
        }
    };
}

small!(f16 F16: widen_f16, narrow_f16, order_f16, least exponent -14, poison 0x7ead);
small!(bf16 BF16: widen_bf16, narrow_bf16, order_bf16, least exponent -126, poison 0x7fad);
small!(f8e4m3 F8E4M3: f8e4m3::to_f32, f8e4m3::from_f32, order_f8e4m3, least exponent -6, poison 0xff);
small!(f8e5m2 F8E5M2: f8e5m2::to_f32, f8e5m2::from_f32, order_f8e5m2, least exponent -14, poison 0xfd);

#[cfg(test)]
mod tests {
    use super::*;

    fn same(ours: u16, theirs: u16, is_nan: bool, what: &str) {
        assert!(ours == theirs || is_nan, "{what}: {ours:04x}, not {theirs:04x}");
    }

    #[test]
    fn conversions_are_those_of_the_crate() {
        for bits in 0..=u16::MAX {
            let (half, brain) = (f16::from_bits(bits), bf16::from_bits(bits));
            assert!(widen_f16(half).agrees(half.to_f32()), "{bits:04x}");
            assert!(widen_bf16(brain).agrees(brain.to_f32()), "{bits:04x}");
            same(narrow_f16(widen_f16(half)).to_bits(), bits, half.is_nan(), "there and back");
            same(narrow_bf16(widen_bf16(brain)).to_bits(), bits, brain.is_nan(), "there and back");
        }
        // Every sign and exponent, with significands around every rounding boundary.
        for high in 0..1_u32 << 16 {
            for low in [0, 1, 0x0fff, 0x1000, 0x1001, 0x7fff, 0x8000, 0x8001, 0xffff] {
                let value = f32::from_bits(high << 16 | low);
                let (half, brain) = (narrow_f16(value), narrow_bf16(value));
                same(half.to_bits(), f16::from_f32_const(value).to_bits(), value.is_nan(), "f16");
                same(brain.to_bits(), bf16::from_f32_const(value).to_bits(), value.is_nan(), "bf16");
                let canonical = half.to_bits() & 0x7fff == 0x7e00 && brain.to_bits() == 0x7fc0;
                assert!(!value.is_nan() || canonical);
            }
        }
    }

    /// Held against f64, which has every sum and product of two of these exactly, rounded once.
    #[test]
    fn sums_and_products_are_rounded_once() {
        fn check(bits: u16, got: u16, exact: f64, least: f64, value: fn(u16) -> f64) {
            let (below, above) = (got.wrapping_sub(1), got.wrapping_add(1));
            let distance = |bits: u16| (value(bits) - exact).abs();
            if !value(got).is_finite() || exact.abs() < least {
                return;
            }
            for other in [below, above] {
                let (near, far) = (distance(got), distance(other));
                let finite = value(other).is_finite();
                assert!(!finite || near < far || (near == far && got & 1 == 0), "{bits:04x}: {got:04x} for {exact:e}");
            }
        }
        for a in (0..=u16::MAX).step_by(7) {
            for b in (0..=u16::MAX).step_by(509) {
                let (x, y) = (f16::from_bits(a), f16::from_bits(b));
                let value = |bits| f16::from_bits(bits).to_f64_const();
                check(a, f16::combine(Op::Sum, x, y).to_bits(), value(a) + value(b), 0.0, value);
                check(a, f16::combine(Op::Prod, x, y).to_bits(), value(a) * value(b), 0.0, value);
                let (x, y) = (bf16::from_bits(a), bf16::from_bits(b));
                let value = |bits| bf16::from_bits(bits).to_f64_const();
                check(a, bf16::combine(Op::Prod, x, y).to_bits(), value(a) * value(b), 2.0_f64.powi(-126), value);
            }
        }
    }

    /// To the middle between the largest number and what would be next, which e4m3 rounds down and e5m2 up, to even.
    #[test]
    fn a_type_holds_what_is_rounded_to_its_numbers() {
        fn of<T: Numeric<Wide = f64>>(values: [f64; 3]) -> [bool; 6] {
            let [a, b, c] = values.map(T::holds);
            let [d, e, f] = values.map(|value| T::holds(-value));
            [a, b, c, d, e, f]
        }
        let ends = [true, true, false, true, true, false];
        assert_eq!(of::<f8e4m3>([448.0, 464.0, 464.001]), ends);
        assert_eq!(of::<f8e5m2>([57344.0, 61439.0, 61440.0]), ends);
        assert_eq!(of::<f16>([65504.0, 65519.0, 65520.0]), ends);
        assert_eq!(of::<bf16>([3.38e38, 3.39e38, 3.4e38]), ends);
        assert!(!f8e4m3::holds(f64::NAN) && !f8e5m2::holds(f64::INFINITY) && f8e4m3::holds(1e-30));
    }
}
