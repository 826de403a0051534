//! Floats of fewer bits than f32, by the numbers of their format, and how they become f32 and come back.
//!
//! Written out in integer arithmetic, as in `shaders/element/format.wgsl`: without branches it vectorises, which the `half`
//! crate's element by element does not, and a device's result can be argued line by line.

/// A float of fewer bits than f32, and of a smaller range: nothing of it is a subnormal of f32.
pub(super) struct Format {
    /// All of its bits.
    bits: u32,
    mantissa: u32,
    bias: u32,
    /// Codes from here on are no finite numbers.
    special: u32,
    nan: u32,
    /// Magnitudes beyond it, infinity too, are rounded as this one is.
    most: f32,
}

/// Beyond its numbers is infinity, which is where 2^16 would be.
pub(super) const F16: Format =
    Format { bits: 16, mantissa: 10, bias: 15, special: 0x7c00, nan: 0x7e00, most: 65_536.0 };
pub(super) const E4M3: Format = Format { bits: 8, mantissa: 3, bias: 7, special: 0x7f, nan: 0x7f, most: 448.0 };
pub(super) const E5M2: Format = Format { bits: 8, mantissa: 2, bias: 15, special: 0x7c, nan: 0x7e, most: 57_344.0 };

impl Format {
    /// By how much the exponents of f32 are larger, in their place.
    const fn rebias(&self) -> u32 {
        (127 - self.bias) << 23
    }

    /// Of which subnormals are multiples.
    const fn unit(&self) -> f32 {
        f32::from_bits((128 - self.bias - self.mantissa) << 23)
    }

    #[inline(always)]
    pub(super) fn widen(&self, code: u32) -> f32 {
        let sign = 1 << (self.bits - 1);
        let magnitude = code & (sign - 1);
        // Between the special exponents is twice what is between the biases.
        let normal = (magnitude << (23 - self.mantissa)) + self.rebias();
        let special = if magnitude >= self.special { normal + self.rebias() } else { normal };
        // As f32 they are normal.
        let subnormal = (magnitude as i32 as f32 * self.unit()).to_bits();
        let widened = if magnitude < 1 << self.mantissa { subnormal } else { special };
        f32::from_bits(widened | (code & sign) << (32 - self.bits))
    }

    /// To nearest even. There is one NaN.
    #[inline(always)]
    pub(super) fn narrow(&self, value: f32) -> u32 {
        let bits = value.to_bits();
        let magnitude = bits & 0x7fff_ffff;
        let held = magnitude.min(self.most.to_bits());
        let dropped = 23 - self.mantissa;
        let odd = (held >> dropped) & 1;
        let normal = held.wrapping_sub(self.rebias()).wrapping_add((1 << (dropped - 1)) - 1 + odd) >> dropped;
        // Added to a number whose last place is the unit of subnormals, it is rounded to what a subnormal can hold.
        let step = self.unit() * (1 << 23) as f32;
        let subnormal = (f32::from_bits(held) + step).to_bits().wrapping_sub(step.to_bits());
        let rounded = if held < self.rebias() + (1 << 23) { subnormal } else { normal };
        let signed = rounded | (bits >> (32 - self.bits)) & (1 << (self.bits - 1));
        if magnitude > 0x7f80_0000 { self.nan } else { signed }
    }
}
