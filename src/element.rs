//! The element types and the one place where two elements are combined on the CPU.
//!
//! The golden and the CPU executor share this arithmetic; the WGSL of `shaders/element/` must agree with it in every bit.

use crate::collective::{Op, named};

/// The type of one element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DataType {
    /// IEEE 754 binary32.
    F32,
}

named!(DataType, "type", { F32 => "f32" });

impl DataType {
    /// Bytes of one element.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
        }
    }
}

/// A Rust type that can be an element.
pub trait Element: bytemuck::Pod + Send + Sync + PartialEq + std::fmt::Display {
    /// Its run-time name.
    const TYPE: DataType;

    /// `a op b`, rounded as the type rounds. Commutative in every bit but a NaN's payload.
    fn combine(op: Op, a: Self, b: Self) -> Self;

    /// As [`combine`](Self::combine), on hardware that reads and writes subnormals as zero.
    fn combine_flushed(op: Op, a: Self, b: Self) -> Self;

    /// What a device that reads subnormals as zero makes of a value that takes part in arithmetic.
    fn flush(self) -> Self;

    /// Whether a device's result agrees: the same bits, or both NaN (payloads are not compared).
    fn agrees(self, other: Self) -> bool;

    /// A value that no sum of ordinary inputs gives; outputs hold it before a run so that nothing stale can pass.
    fn poison() -> Self;

    /// The nearest (or the exact) f64, for the order-free reference.
    fn to_f64(self) -> f64;

    /// The element nearest to `value`.
    fn from_f64(value: f64) -> Self;

    /// Distance from `reference` in units of the last place of this type at `reference`; 0 where either is not finite.
    fn ulp_error(self, reference: f64) -> f64;
}

/// The 32 bits of the poison: a NaN that arithmetic does not produce by itself.
pub const POISON_BITS: u32 = 0x7fc0_dead;

impl Element for f32 {
    const TYPE: DataType = DataType::F32;

    #[inline(always)]
    fn combine(op: Op, a: Self, b: Self) -> Self {
        match op {
            Op::Sum => a + b,
        }
    }

    fn combine_flushed(op: Op, a: Self, b: Self) -> Self {
        Self::combine(op, a.flush(), b.flush()).flush()
    }

    fn flush(self) -> Self {
        if self.is_subnormal() { 0.0_f32.copysign(self) } else { self }
    }

    #[inline]
    fn agrees(self, other: Self) -> bool {
        self.to_bits() == other.to_bits() || (self.is_nan() && other.is_nan())
    }

    fn poison() -> Self {
        Self::from_bits(POISON_BITS)
    }

    fn to_f64(self) -> f64 {
        self.into()
    }

    fn from_f64(value: f64) -> Self {
        value as f32
    }

    fn ulp_error(self, reference: f64) -> f64 {
        let rounded = reference as f32;
        if !self.is_finite() || !rounded.is_finite() {
            return 0.0;
        }
        let magnitude = rounded.abs().max(f32::MIN_POSITIVE);
        let ulp = f64::from(f32::from_bits(magnitude.to_bits() + 1)) - f64::from(magnitude);
        // `next up` of f32::MAX is infinite; its own ulp is that of the binade below.
        let ulp = if ulp.is_finite() { ulp } else { f64::from(f32::MAX) * f64::from(f32::EPSILON) };
        (f64::from(self) - reference).abs() / ulp
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_unknown_names_list_what_exists() {
        assert_eq!("f32".parse::<DataType>(), Ok(DataType::F32));
        let error = "f16".parse::<DataType>().unwrap_err().to_string();
        assert!(error.contains("'f16'") && error.contains("f32"), "{error}");
    }

    #[test]
    fn ulp_error_counts_in_the_last_place() {
        for (got, reference, ulps) in [
            (1.0_f32, 1.0, 0.0),
            (1.0 + f32::EPSILON, 1.0, 1.0),
            (0.0, 0.0, 0.0),
            (f32::INFINITY, 1.0, 0.0),
            (f32::from_bits(1), 0.0, 1.0),
        ] {
            assert_eq!(got.ulp_error(reference), ulps, "{got} against {reference}");
        }
        assert!(f32::MAX.ulp_error(f64::from(f32::MAX)) == 0.0);
    }

    #[test]
    fn flushing_keeps_the_sign_of_zero_and_normal_numbers() {
        assert_eq!((-1e-40_f32).flush().to_bits(), (-0.0_f32).to_bits());
        assert_eq!(f32::combine_flushed(Op::Sum, 1e-40, 2.0), 2.0);
        assert!(f32::poison().is_nan() && f32::poison().agrees(f32::NAN));
    }
}
