//! The two types of 8 bits: codes, and what they stand for.
//!
//! The `half` crate has none, and others disagree about what is beyond the largest number. Their arithmetic is in `small.rs`.

use std::fmt;

use super::format::{E4M3, E5M2};

macro_rules! fp8 {
    ($type:ident: $format:ident, infinity $infinity:literal, max $max:literal, nan $nan:literal) => {
        impl $type {
            /// The largest number.
            pub const MAX: Self = Self($max);
            /// The NaN that arithmetic gives.
            pub const NAN: Self = Self($nan);

            /// With this code.
            pub const fn from_bits(bits: u8) -> Self {
                Self(bits)
            }

            /// Its code.
            pub const fn to_bits(self) -> u8 {
                self.0
            }

            /// The nearest, of two the even one; beyond the largest number, infinity too, the largest. NaN stays NaN.
            #[inline(always)]
            pub fn from_f32(value: f32) -> Self {
                Self($format.narrow(value) as u8)
            }

            /// Exactly this value.
            #[inline(always)]
            pub fn to_f32(self) -> f32 {
                $format.widen(self.0.into())
            }

            /// Whether it is no number.
            pub const fn is_nan(self) -> bool {
                self.0 & 0x7f > $infinity
            }

            /// Whether it is a number, and no infinity.
            pub const fn is_finite(self) -> bool {
                self.0 & 0x7f <= $max
            }
        }

        impl std::ops::Neg for $type {
            type Output = Self;

            fn neg(self) -> Self {
                Self(self.0 ^ 0x80)
            }
        }

        /// As numbers are: -0 equals 0, and NaN nothing.
        impl PartialEq for $type {
            fn eq(&self, other: &Self) -> bool {
                self.to_f32() == other.to_f32()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.to_f32().fmt(f)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.to_f32().fmt(f)
            }
        }
    };
}

/// OCP's e4m3: 1 sign, 4 bits of exponent, 3 of mantissa; up to 448, no infinities, one NaN of either sign. Others call it
/// e4m3fn. [`DataType::F8E4M3`](super::DataType::F8E4M3) says what is beyond.
#[derive(Clone, Copy, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
#[allow(non_camel_case_types)]
pub struct f8e4m3(u8);

/// OCP's e5m2, the upper byte of an f16: 1 sign, 5 bits of exponent, 2 of mantissa; up to 57344, with infinities and NaN.
/// [`DataType::F8E5M2`](super::DataType::F8E5M2) says what is beyond.
#[derive(Clone, Copy, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
#[allow(non_camel_case_types)]
pub struct f8e5m2(u8);

fp8!(f8e4m3: E4M3, infinity 0x7e, max 0x7e, nan 0x7f);
fp8!(f8e5m2: E5M2, infinity 0x7c, max 0x7b, nan 0x7e);
