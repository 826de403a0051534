// OCP's e5m2. Joined with order.wgsl, format.wgsl and quads.wgsl.

const BITS: u32 = 8u;
const MANTISSA: u32 = 2u;
const BIAS: u32 = 15u;
// 2^-16, of which subnormals are multiples; and a number whose last place that is.
const UNIT: f32 = 1.52587890625e-5;
const STEP: f32 = 128.0;
// Magnitudes from here on are no finite numbers.
const SPECIAL: u32 = 0x7cu;
// f32 beyond it, infinity too, is rounded as this: 57344, the largest number.
const MOST: u32 = 0x47600000u;
// In a word.
const INFINITY: u32 = 0x7c000000u;
const NAN: u32 = 0x7e000000u;
