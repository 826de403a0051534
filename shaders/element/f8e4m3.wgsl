// OCP's e4m3. Joined with order.wgsl, format.wgsl and quads.wgsl.

const BITS: u32 = 8u;
const MANTISSA: u32 = 3u;
const BIAS: u32 = 7u;
// 2^-9, of which subnormals are multiples; and a number whose last place that is.
const UNIT: f32 = 0.001953125;
const STEP: f32 = 16384.0;
// Magnitudes from here on are no finite numbers.
const SPECIAL: u32 = 0x7fu;
// f32 beyond it, infinity too, is rounded as this: 448, the largest number.
const MOST: u32 = 0x43e00000u;
// In a word. There is no infinity: NaN is beyond the largest number.
const INFINITY: u32 = 0x7e000000u;
const NAN: u32 = 0x7f000000u;
