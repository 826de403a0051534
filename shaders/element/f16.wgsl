// f16. Joined with order.wgsl, format.wgsl and pairs.wgsl.

const BITS: u32 = 16u;
const MANTISSA: u32 = 10u;
const BIAS: u32 = 15u;
// 2^-24, of which subnormals are multiples; and a number whose last place that is.
const UNIT: f32 = 5.9604644775390625e-8;
const STEP: f32 = 0.5;
// Magnitudes from here on are no finite numbers.
const SPECIAL: u32 = 0x7c00u;
// f32 beyond it, infinity too, is rounded as this: 2^16, where infinity is.
const MOST: u32 = 0x47800000u;
// In a word.
const INFINITY: u32 = 0x7c000000u;
const NAN: u32 = 0x7e000000u;
